//! No column of any type is more than an error that names it.

use arrow::array::{
    Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationSecondArray,
    Float32Array, Int8Array, Int32Array, ListArray, MapBuilder, NullArray, StringBuilder, StructArray,
    TimestampSecondArray, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type};
use proptest::prelude::*;

use alula_catalog::schema::table_schema;

use super::*;

/// One value of many types.
fn garbage() -> Vec<ArrayRef> {
    let structs = |name: &str, column: ArrayRef| {
        let field = Field::new(name, column.data_type().clone(), true);
        StructArray::new(vec![field].into(), vec![column], None)
    };
    let list_of = |items: ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        let lengths = arrow::buffer::OffsetBuffer::from_lengths([items.len()]);
        Arc::new(ListArray::new(field, lengths, items, None))
    };
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.append(true).unwrap();
    let null_struct = new_null_array(structs("name", texts(&["x"])).data_type(), 1);
    let texts_of = [
        "",
        "x",
        "{",
        "{}",
        "[]",
        "null",
        "[null]",
        "[1,",
        "{\"a\":}",
        "[{\"name\":1}]",
        "[{\"x\":1}]",
        "[]}{\"list\":[]",
        "{\"a\":99999999999999999999}",
        "{\"a\":1e999}",
        "{\"a\":{\"$bytes\":\"?\"}}",
        "{\"a\":{\"$double\":\"1\"}}",
        "{\"a\":\"\\ud800\"}",
        "[{\"schema_url\":1}]",
        "-",
        "1_0",
        "-1",
    ];
    let mut garbage: Vec<ArrayRef> = texts_of.iter().map(|text| texts(&[text])).collect();
    garbage.extend([
        texts(&[&"[".repeat(100_000)]),
        texts(&[&"{\"a\":".repeat(100_000)]),
        ints(&[-1]),
        ints(&[i64::MAX]),
        ints(&[0]),
        doubles(&[f64::NAN]),
        doubles(&[f64::INFINITY]),
        doubles(&[1.5]),
        Arc::new(Float32Array::from(vec![-0.0])) as ArrayRef,
        Arc::new(Int8Array::from(vec![-1])),
        Arc::new(UInt64Array::from(vec![u64::MAX])),
        Arc::new(Decimal128Array::from(vec![i128::MAX / 10]).with_precision_and_scale(38, 2).unwrap()),
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(BinaryArray::from_vec(vec![b"\xff"])),
        Arc::new(NullArray::new(1)),
        Arc::new(Date32Array::from(vec![1])),
        Arc::new(DurationSecondArray::from(vec![1])),
        Arc::new(TimestampSecondArray::from(vec![-1])),
        Arc::new(TimestampSecondArray::from(vec![0])),
        Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
        Arc::new(TimestampSecondArray::from(vec![i64::MIN])),
        list_of(ints(&[])),
        list_of(ints(&[1, -1])),
        list_of(Arc::new(Int64Array::from(vec![None::<i64>]))),
        list_of(texts(&["x"])),
        list_of(Arc::new(structs("name", ints(&[1])))),
        list_of(Arc::new(structs("quantile", doubles(&[0.5])))),
        list_of(Arc::new(structs("unknown", ints(&[1])))),
        list_of(Arc::new(structs("timestamp", Arc::new(TimestampSecondArray::from(vec![i64::MAX]))))),
        list_of(null_struct),
        list_of(list_of(ints(&[1]))),
        Arc::new(structs("name", texts(&["x"]))),
        Arc::new(map.finish()),
        Arc::new([None::<&str>].into_iter().collect::<DictionaryArray<Int32Type>>()),
        Arc::new(DictionaryArray::new(Int32Array::from(vec![0]), ints(&[-1]))),
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([Some([Some(f64::NAN)])])),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([None::<[Option<i64>; 0]>])),
    ]);
    garbage
}

#[test]
fn every_column_of_every_type_is_taken_or_named() {
    for signal in Signal::ALL {
        for field in table_schema(signal).fields() {
            let name: &'static str = Box::leak(field.name().clone().into_boxed_str());
            for column in garbage() {
                let shown = column.data_type().clone();
                let column_name = match restore(signal, &least_with(signal, name, column)) {
                    Ok(_) => continue,
                    Err(Error::BadColumn { column, .. } | Error::BadValue { row: 1, column, .. }) => column,
                    Err(other) => panic!("{signal}.{name} of {shown}: {other}"),
                };
                let names = [name, "resource_attributes", "service_name", "body", "type"];
                let is_named = names.iter().any(|name| column_name.starts_with(name));
                assert!(is_named, "{signal}.{name} of {shown}: {column_name}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_json_or_refused(text in "[\\[\\]{}\",:0-9eE.\\-a$ntrufls \\\\]{0,40}") {
        let _ = parse(&text);
    }
}

#[test]
fn columns_that_are_missing_unknown_or_there_twice_are_named() {
    let check = |signal: Signal, columns: Vec<(&'static str, ArrayRef)>, expected: &str| {
        assert_eq!(refused(signal, &rows(columns)), expected);
    };
    for signal in Signal::ALL {
        let without_time = least(signal).into_iter().skip(1).collect();
        assert!(
            refused(signal, &rows::<'static>(Vec::from_iter::<Vec<_>>(without_time)))
                .starts_with("column timestamp is missing")
        );
    }
    let unknown = least(Signal::Logs).into_iter().chain([("host", texts(&["h"]))]).collect();
    check(
        Signal::Logs,
        unknown,
        "column host is none of the columns of logs: leave it out, or put its values into attributes (JSON text)",
    );
    let twice = least(Signal::Logs).into_iter().chain([("body", texts(&["h"]))]).collect();
    check(Signal::Logs, twice, "column body is there twice: give each column once");
    let both = least(Signal::Logs).into_iter().chain([("time", times(1))]).collect();
    check(
        Signal::Logs,
        both,
        "column time is none of the columns of logs: leave it out, or put its values into attributes (JSON text)",
    );
    let names: Vec<String> = (0..201).map(|number| format!("c{number}")).collect();
    let many = rows(names.iter().map(|name| (name.as_str(), times(1))));
    assert_eq!(
        refused(Signal::Logs, &many),
        "column c200 is one of more than 200 columns, which no table has"
    );
    let without_end = least(Signal::Traces).into_iter().filter(|(name, _)| *name != "duration_ns").collect();
    check(
        Signal::Traces,
        without_end,
        "column end_timestamp is missing; rows for traces need timestamp, end_timestamp, name, trace_id, span_id",
    );
}

#[test]
fn a_value_that_cannot_be_is_told_with_its_row() {
    let three = |name: &'static str, column: ArrayRef| {
        rows([("timestamp", times(3)), ("name", texts(&["a", "b", "c"])), (name, column)])
    };
    for (name, column, expected) in [
        (
            "type",
            texts(&["sum", "sum", "counter"]),
            "row 3: type is \"counter\" and must be gauge, sum, histogram, exponential_histogram or summary",
        ),
        ("flags", ints(&[0, -1, 0]), "row 2: flags does not fit UInt32"),
        ("flags", doubles(&[0.0, 1.0, 1.5]), "row 3: flags has no equal of the type UInt32"),
        ("flags", texts(&["0", "0", "0"]), "column flags has the type Utf8 and must be an integer: cast it"),
        ("value", texts(&["0", "0", "0"]), "column value has the type Utf8 and must be a number: cast it"),
        (
            "start_timestamp",
            ints(&[1, 2, 3]),
            "column start_timestamp has the type Int64 and must be a timestamp: cast it",
        ),
        (
            "attributes",
            texts(&["{}", "{} ", "{]"]),
            "row 3: attributes is not the JSON that belongs there, from \"]\" on",
        ),
        ("count", ints(&[1, 2, 3]), "row 1: type is null, and the row has a count: say which type it is"),
        (
            "positive_bucket_counts",
            texts(&["[1]", "[2]", "[x]"]),
            "column positive_bucket_counts is text and not the JSON of a list of this column",
        ),
    ] {
        assert_eq!(refused(Signal::Metrics, &three(name, column)), expected);
    }
    let keys = Int32Array::from(vec![1, 1, 0]);
    let dictionary: ArrayRef = Arc::new(DictionaryArray::new(keys, ints(&[-1, 1])));
    assert_eq!(refused(Signal::Metrics, &three("flags", dictionary)), "row 3: flags does not fit UInt32");
    let before_1970: ArrayRef = Arc::new(TimestampSecondArray::from(vec![-1]));
    let row = least_with(Signal::Logs, "timestamp", before_1970);
    assert_eq!(refused(Signal::Logs, &row), "row 1: timestamp is before 1970, which OTLP cannot say");
    assert_eq!(DataType::Utf8.to_string(), "Utf8", "types are named as above");
}
