mod properties;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    Decimal256Array, DictionaryArray, DurationMillisecondArray, FixedSizeBinaryArray, Float16Array,
    Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeListArray, LargeStringArray, ListArray, MapArray,
    NullArray, RecordBatch, RecordBatchOptions, RunArray, StringArray, StringViewArray, StructArray,
    Time64NanosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, Float16Type, Int32Type, IntervalMonthDayNano, IntervalUnit, UInt8Type, i256,
};
use arrow::util::pretty::pretty_format_columns;
use datafusion::scalar::ScalarValue;
use datafusion_functions_json::JSON_UNION_DATA_TYPE;

use super::cast::to_wire;
use super::*;

fn column(array: &ArrayRef, profile: Profile) -> ArrayRef {
    let schema = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]);
    let promised = wire_schema(&schema, profile);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(array)]).unwrap();
    let sent = to_wire(&batch, &promised).unwrap();
    assert_eq!(sent.schema(), promised);
    Arc::clone(sent.column(0))
}

fn shown(column: &ArrayRef) -> Vec<String> {
    let lines = pretty_format_columns("c", std::slice::from_ref(column)).unwrap().to_string();
    let lines = lines.lines().skip(3).filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches(['|', ' ']).to_owned()).collect()
}

fn check_as(profile: Profile, array: impl Into<ArrayRef>, wire: &DataType, values: &[&str]) {
    let sent = column(&array.into(), profile);
    assert_eq!(sent.data_type(), wire);
    assert_eq!(shown(&sent), values);
}

fn check(array: ArrayRef, wire: &DataType, values: &[&str]) {
    check_as(Profile::Safe, array, wire, values);
}

fn dictionary_of(values: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The table at the head of the module.
#[test]
fn every_type_is_sent_as_the_table_says() {
    use DataType as T;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond};
    let text = |n: usize| vec![T::Utf8; n];
    let zoned = |unit, zone: &str| T::Timestamp(unit, Some(zone.into()));
    let runs = T::RunEndEncoded(
        Arc::new(Field::new("run_ends", T::Int32, false)),
        Arc::new(Field::new("values", T::LargeUtf8, true)),
    );
    let item = || Arc::new(Field::new_list_field(T::Int64, true));
    let same = |t: T| vec![t.clone(), t.clone(), t.clone(), t.clone(), t];
    let but_bi = |t: T, bi: T| vec![t.clone(), t.clone(), t.clone(), t, bi];
    // In the engine; then safe, native, jdbc, jdbc-unzoned, bi.
    let table: Vec<(T, Vec<T>)> = vec![
        (T::Utf8, text(5)),
        (dictionary_of(T::Utf8), [vec![T::Utf8, dictionary_of(T::Utf8)], text(3)].concat()),
        (
            T::Dictionary(Box::new(T::UInt8), Box::new(T::Utf8View)),
            [vec![T::Utf8, dictionary_of(T::Utf8)], text(3)].concat(),
        ),
        (dictionary_of(T::Int64), same(T::Int64)),
        (runs, [vec![T::Utf8, T::LargeUtf8], text(3)].concat()),
        (T::Utf8View, [vec![T::Utf8, T::Utf8View], text(3)].concat()),
        (T::LargeUtf8, [vec![T::Utf8, T::LargeUtf8], text(3)].concat()),
        (T::BinaryView, vec![T::Binary, T::BinaryView, T::Binary, T::Binary, T::Utf8]),
        (T::LargeBinary, vec![T::Binary, T::LargeBinary, T::Binary, T::Binary, T::Utf8]),
        (T::Binary, but_bi(T::Binary, T::Utf8)),
        (T::FixedSizeBinary(16), but_bi(T::FixedSizeBinary(16), T::Utf8)),
        (T::Null, [vec![T::Utf8, T::Null], text(3)].concat()),
        (T::Interval(IntervalUnit::MonthDayNano), text(5)),
        (JSON_UNION_DATA_TYPE.clone(), text(5)),
        (list_of(T::Int64), but_bi(list_of(T::Int64), T::Utf8)),
        (T::LargeList(item()), but_bi(list_of(T::Int64), T::Utf8)),
        (T::ListView(item()), but_bi(list_of(T::Int64), T::Utf8)),
        (T::FixedSizeList(item(), 2), but_bi(T::FixedSizeList(item(), 2), T::Utf8)),
        (list_of(dictionary_of(T::Utf8View)), but_bi(list_of(T::Utf8), T::Utf8)),
        (
            list_of(T::UInt64),
            vec![
                list_of(T::UInt64),
                list_of(T::UInt64),
                list_of(T::Decimal128(20, 0)),
                list_of(T::Decimal128(20, 0)),
                T::Utf8,
            ],
        ),
        (
            zoned(Microsecond, "+02:00"),
            vec![
                zoned(Microsecond, "UTC"),
                zoned(Microsecond, "UTC"),
                zoned(Microsecond, "UTC"),
                T::Timestamp(Microsecond, None),
                zoned(Nanosecond, "UTC"),
            ],
        ),
        (
            T::Timestamp(Millisecond, None),
            but_bi(T::Timestamp(Millisecond, None), T::Timestamp(Nanosecond, None)),
        ),
        (T::Date32, but_bi(T::Date32, T::Timestamp(Nanosecond, None))),
        (T::Date64, but_bi(T::Date32, T::Timestamp(Nanosecond, None))),
        (T::Time64(Nanosecond), but_bi(T::Time64(Microsecond), T::Utf8)),
        (T::Time32(Millisecond), but_bi(T::Time32(Millisecond), T::Utf8)),
        (T::Duration(Millisecond), but_bi(T::Duration(Millisecond), T::Int64)),
        (T::UInt8, vec![T::UInt8, T::UInt8, T::Int16, T::Int16, T::UInt8]),
        (T::UInt16, vec![T::UInt16, T::UInt16, T::Int32, T::Int32, T::UInt16]),
        (T::UInt32, vec![T::UInt32, T::UInt32, T::Int64, T::Int64, T::UInt32]),
        (T::UInt64, vec![T::UInt64, T::UInt64, T::Decimal128(20, 0), T::Decimal128(20, 0), T::UInt64]),
        (T::Float16, same(T::Float32)),
        (T::Decimal32(7, 2), but_bi(T::Decimal128(7, 2), T::Float64)),
        (T::Decimal64(12, 2), but_bi(T::Decimal128(12, 2), T::Float64)),
        (T::Decimal128(38, 4), but_bi(T::Decimal128(38, 4), T::Float64)),
        (T::Decimal256(38, 4), but_bi(T::Decimal128(38, 4), T::Float64)),
        (T::Decimal256(50, 4), but_bi(T::Utf8, T::Float64)),
        (T::Boolean, same(T::Boolean)),
        (T::Int64, same(T::Int64)),
        (T::Float64, same(T::Float64)),
    ];
    let profiles = [Profile::Safe, Profile::Native, Profile::Jdbc, Profile::JdbcUnzoned, Profile::Bi];
    for (engine, wire) in table {
        let sent: Vec<DataType> = profiles.iter().map(|profile| wire_type(&engine, *profile)).collect();
        assert_eq!(sent, wire, "{engine}");
    }
}

#[test]
fn encodings_of_text_become_plain_text() {
    let dictionary: DictionaryArray<Int32Type> = [Some("a"), None, Some("a")].into_iter().collect();
    check(Arc::new(dictionary), &DataType::Utf8, &["a", "", "a"]);
    check(Arc::new(StringViewArray::from(vec![Some("a"), None])), &DataType::Utf8, &["a", ""]);
    check(Arc::new(LargeStringArray::from(vec!["a"])), &DataType::Utf8, &["a"]);
    check(Arc::new(NullArray::new(2)), &DataType::Utf8, &["", ""]);
    let runs = RunArray::try_new(&Int32Array::from(vec![2, 3]), &StringArray::from(vec!["a", "b"])).unwrap();
    check(Arc::new(runs), &DataType::Utf8, &["a", "a", "b"]);
}

#[test]
fn dictionaries_inside_lists_of_structs_are_hydrated() {
    let dictionary: DictionaryArray<Int32Type> = ["x", "y", "x"].into_iter().collect();
    let field = Arc::new(Field::new("k", dictionary.data_type().clone(), false));
    let structs = StructArray::new(vec![field].into(), vec![Arc::new(dictionary)], None);
    let item = Arc::new(Field::new_list_field(structs.data_type().clone(), false));
    let list: ArrayRef =
        Arc::new(LargeListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(structs), None));

    let wire_struct = DataType::Struct(vec![Field::new("k", DataType::Utf8, false)].into());
    let wire = DataType::List(Arc::new(Field::new_list_field(wire_struct, false)));
    for profile in [Profile::Safe, Profile::Native, Profile::Jdbc] {
        check_as(profile, Arc::clone(&list), &wire, &["[{k: x}, {k: y}]", "[]", "[{k: x}]"]);
    }
    check_as(Profile::Bi, list, &DataType::Utf8, &[r#"[{"k":"x"},{"k":"y"}]"#, "[]", r#"[{"k":"x"}]"#]);
}

#[test]
fn times_and_numbers_take_the_widely_read_type() {
    let zoned = TimestampNanosecondArray::from(vec![1_500_000_000]).with_timezone("+02:00");
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    check(Arc::new(zoned), &utc, &["1970-01-01T00:00:01.500Z"]);
    check(Arc::new(Date64Array::from(vec![86_400_000])), &DataType::Date32, &["1970-01-02"]);
    let half: Float16Array =
        [Some(<Float16Type as ArrowPrimitiveType>::default_value())].into_iter().collect();
    check(Arc::new(half), &DataType::Float32, &["0.0"]);
    let small = Decimal256Array::from(vec![i256::from(125)]).with_precision_and_scale(20, 2).unwrap();
    check(Arc::new(small), &DataType::Decimal128(20, 2), &["1.25"]);
    let large = Decimal256Array::from(vec![i256::from(125)]).with_precision_and_scale(60, 2).unwrap();
    check(Arc::new(large), &DataType::Utf8, &["1.25"]);
    let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(0, 1, 0)]);
    check(Arc::new(interval), &DataType::Utf8, &["1 days"]);
}

#[test]
fn native_keeps_text_dictionaries_with_plain_keys_and_values() {
    let small: DictionaryArray<UInt8Type> = [Some("a"), None, Some("a")].into_iter().collect();
    let views = arrow::compute::cast(
        &small,
        &DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::Utf8View)),
    );
    check_as(Profile::Native, views.unwrap(), &dictionary_of(DataType::Utf8), &["a", "", "a"]);

    // The plan promised a dictionary, and it ran without.
    let promised = Arc::new(Schema::new(vec![Field::new("c", dictionary_of(DataType::Utf8), true)]));
    let plain = StringViewArray::from(vec![Some("a"), None]);
    let batch = RecordBatch::try_from_iter([("c", Arc::new(plain) as ArrayRef)]).unwrap();
    assert_eq!(shown(to_wire(&batch, &promised).unwrap().column(0)), ["a", ""]);
}

#[test]
fn jdbc_reads_unsigned_numbers_above_the_signed_ones() {
    let large = UInt64Array::from(vec![Some(u64::MAX), None]);
    check_as(
        Profile::Jdbc,
        Arc::new(large) as ArrayRef,
        &DataType::Decimal128(20, 0),
        &["18446744073709551615", ""],
    );
    let zoned: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1]).with_timezone("+02:00"));
    let unzoned = DataType::Timestamp(TimeUnit::Second, None);
    check_as(Profile::JdbcUnzoned, zoned, &unzoned, &["1970-01-01T00:00:01"]);
}

#[test]
fn bi_has_nanoseconds_numbers_and_text() {
    let bi = |array: ArrayRef, wire: &DataType, values: &[&str]| check_as(Profile::Bi, array, wire, values);
    let instant = DataType::Timestamp(TimeUnit::Nanosecond, None);
    bi(Arc::new(Date32Array::from(vec![1])), &instant, &["1970-01-02T00:00:00"]);
    bi(Arc::new(TimestampSecondArray::from(vec![1])), &instant, &["1970-01-01T00:00:01"]);
    bi(Arc::new(DurationMillisecondArray::from(vec![7])), &DataType::Int64, &["7000000"]);
    bi(Arc::new(Time64NanosecondArray::from(vec![1])), &DataType::Utf8, &["00:00:00.000000001"]);
    bi(Arc::new(BinaryArray::from_vec(vec![b"\x01\xff"])), &DataType::Utf8, &["01ff"]);
    let id = FixedSizeBinaryArray::try_from_iter([[0xab_u8, 0]].iter()).unwrap();
    bi(Arc::new(id), &DataType::Utf8, &["ab00"]);
    let decimal = Decimal128Array::from(vec![125]).with_precision_and_scale(20, 2).unwrap();
    bi(Arc::new(decimal), &DataType::Float64, &["1.25"]);
}

#[test]
fn bi_shows_nested_values_as_json() {
    let pairs = |fields: Vec<Field>, columns: Vec<ArrayRef>| StructArray::new(fields.into(), columns, None);
    let ids: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"\x01", b"\x02"]));
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(1), None]).with_timezone("UTC"));
    let structs = pairs(
        vec![
            Field::new("id", DataType::Binary, false),
            Field::new("at", times.data_type().clone(), true),
            Field::new("ok", DataType::Boolean, true),
        ],
        vec![ids, times, Arc::new(BooleanArray::from(vec![Some(true), None]))],
    );
    check_as(
        Profile::Bi,
        Arc::new(structs) as ArrayRef,
        &DataType::Utf8,
        &[
            r#"{"id":"01","at":"1970-01-01T00:00:00.000000001Z","ok":true}"#,
            r#"{"id":"02","at":null,"ok":null}"#,
        ],
    );

    let entries = pairs(
        vec![Field::new("keys", DataType::Int64, false), Field::new("values", DataType::Utf8, true)],
        vec![
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(StringArray::from(vec![Some("say \"hi\""), None])),
        ],
    );
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(field, OffsetBuffer::from_lengths([2, 0]), entries, None, false);
    check_as(
        Profile::Bi,
        Arc::new(map) as ArrayRef,
        &DataType::Utf8,
        &[r#"{"1":"say \"hi\"","2":null}"#, "{}"],
    );

    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    check_as(Profile::Bi, Arc::new(lists) as ArrayRef, &DataType::Utf8, &["[1,null]", ""]);
}

#[test]
fn a_json_union_becomes_json_text() {
    let DataType::Union(fields, _) = JSON_UNION_DATA_TYPE.clone() else {
        panic!("the JSON union is a union")
    };
    let union = |id: i8, value: ScalarValue| {
        ScalarValue::Union(Some((id, Box::new(value))), fields.clone(), arrow::datatypes::UnionMode::Sparse)
    };
    let by_name = |name: &str| fields.iter().find(|(_, f)| f.name() == name).map(|(id, _)| id).unwrap();
    let values = [
        union(by_name("bool"), ScalarValue::from(true)),
        union(by_name("int"), ScalarValue::from(42_i64)),
        union(by_name("str"), ScalarValue::from("say \"hi\"")),
        union(by_name("object"), ScalarValue::from("{\"a\":1}")),
    ];
    let array = ScalarValue::iter_to_array(values).unwrap();
    for profile in [Profile::Safe, Profile::Native, Profile::Jdbc, Profile::Bi] {
        let shown = ["true", "42", "\"say \\\"hi\\\"\"", "{\"a\":1}"];
        check_as(profile, Arc::clone(&array), &DataType::Utf8, &shown);
    }
}

#[test]
fn plain_columns_are_passed_on_as_they_are() {
    let plain: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    assert!(Arc::ptr_eq(&column(&plain, Profile::Safe), &plain));
}

#[test]
fn metadata_stays_where_it_is_still_true() {
    let about =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let extension = |name| about(&[("ARROW:extension:name", name), ("ARROW:FLIGHT:SQL:REMARKS", "a title")]);
    let schema = Schema::new(vec![
        Field::new("json", DataType::Utf8View, true).with_metadata(extension("arrow.json")),
        Field::new("uuid", DataType::FixedSizeBinary(16), true).with_metadata(extension("arrow.uuid")),
    ]);
    let names = |profile| -> Vec<Vec<String>> {
        let wire = wire_schema(&schema, profile);
        wire.fields().iter().map(|field| field.metadata().values().cloned().collect()).collect()
    };
    assert_eq!(names(Profile::Safe), [vec!["arrow.json"], vec!["arrow.uuid"]]);
    assert_eq!(names(Profile::Bi), [vec!["arrow.json"], vec![]]);
}

#[test]
fn a_few_long_values_behind_many_keys_are_expanded_in_parts() {
    let values = StringArray::from(vec!["x".repeat(1 << 20)]);
    let keys = Int32Array::from(vec![0; 200]);
    let dictionary = DictionaryArray::try_new(keys, Arc::new(values)).unwrap();
    let batch = RecordBatch::try_from_iter([("s", Arc::new(dictionary) as ArrayRef)]).unwrap();
    let parts: Vec<RecordBatch> = to_wire_parts(&batch, &wire_schema(&batch.schema(), Profile::Safe))
        .collect::<Result<_, _>>()
        .unwrap();
    let lengths: Vec<usize> =
        parts.iter().map(|part| part.column(0).as_string::<i32>().value_data().len()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 200 << 20);
    assert!(lengths.iter().all(|bytes| *bytes <= 32 << 20), "{lengths:?}");
    let native = wire_schema(&batch.schema(), Profile::Native);
    assert_eq!(to_wire_parts(&batch, &native).count(), 1, "a dictionary that stays does not grow");
}

#[test]
fn a_batch_with_other_columns_than_promised_is_an_error() {
    let promised = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let none = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        vec![],
        &RecordBatchOptions::new().with_row_count(Some(1)),
    );
    assert!(to_wire(&none.unwrap(), &promised).is_err());
    let other =
        RecordBatch::try_from_iter([("n", Arc::new(BooleanArray::from(vec![None, Some(true)])) as ArrayRef)]);
    assert!(to_wire(&other.unwrap(), &promised).is_err());
}

/// A date of 64 bits may be so far away that its nanoseconds have no place.
#[test]
fn a_date_that_bi_tools_cannot_be_told_is_an_error() {
    let sent = |milliseconds: i64| {
        let dates: ArrayRef = Arc::new(Date64Array::from(vec![milliseconds]));
        let schema = Schema::new(vec![Field::new("c", DataType::Date64, true)]);
        let promised = wire_schema(&schema, Profile::Bi);
        to_wire(&RecordBatch::try_new(Arc::new(schema), vec![dates]).unwrap(), &promised)
    };
    assert_eq!(shown(sent(86_400_000).unwrap().column(0)), ["1970-01-02T00:00:00"]);
    assert!(sent(i64::MAX / 1_000_000 + 1).is_err());
}
