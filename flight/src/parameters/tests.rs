use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, NullArray, RecordBatch, RecordBatchOptions, RunArray, StringArray,
    StringViewArray, TimestampMicrosecondArray, UnionArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Int32Type, IntervalUnit, TimeUnit, UnionFields};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;

use super::*;
use crate::Error;

fn parameter(name: &str, data_type: Option<DataType>) -> Parameter {
    Parameter { name: name.to_owned(), data_type }
}

fn row(columns: Vec<(&str, ArrayRef)>) -> Vec<RecordBatch> {
    vec![RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()]
}

fn int(value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value]))
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

/// The value of the one parameter, after a journey in a handle.
fn check(expected: Option<DataType>, column: ArrayRef, bound: &ScalarValue) {
    let parameters = [parameter("1", expected)];
    let values = Bound::from_batches(&parameters, &row(vec![("0", column)])).unwrap();
    assert_eq!(values.row(0).unwrap().get("1"), Some(bound));
    assert_eq!(Bound::from_bytes(&values.to_bytes().unwrap()).unwrap(), values);
}

fn refused(expected: Option<DataType>, batches: &[RecordBatch]) -> Error {
    Bound::from_batches(&[parameter("1", expected)], batches).unwrap_err()
}

#[test]
fn values_take_the_type_the_statement_expects() {
    check(Some(DataType::Int32), int(5), &ScalarValue::Int32(Some(5)));
    check(None, int(5), &ScalarValue::Int64(Some(5)));
    check(Some(DataType::Utf8), text("a"), &ScalarValue::from("a"));
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let instant = ScalarValue::TimestampNanosecond(Some(1_500_000_000), Some("UTC".into()));
    check(Some(utc), text("1970-01-01T00:00:01.5Z"), &instant);
}

#[test]
fn null_dictionary_and_named_values_are_read() {
    check(Some(DataType::Int64), Arc::new(NullArray::new(1)), &ScalarValue::Int64(None));
    let dictionary: DictionaryArray<Int32Type> = ["a"].into_iter().collect();
    check(Some(DataType::Utf8), Arc::new(dictionary), &ScalarValue::from("a"));

    let parameters = [parameter("b", None), parameter("a", None)];
    let bound = Bound::from_batches(&parameters, &row(vec![("a", int(1)), ("b", int(2))])).unwrap();
    assert_eq!(bound.row(0).unwrap().get("b"), Some(&ScalarValue::from(2_i64)));
}

#[test]
fn a_number_that_does_not_fit_is_compared_as_it_is() {
    check(Some(DataType::Int64), Arc::new(Float64Array::from(vec![5.5])), &ScalarValue::from(5.5));
    check(Some(DataType::Int64), Arc::new(Float64Array::from(vec![5.0])), &ScalarValue::Int64(Some(5)));
    let decimal =
        |value| Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(3, 1).unwrap());
    check(Some(DataType::Int64), decimal(57), &ScalarValue::Decimal128(Some(57), 3, 1));
    check(Some(DataType::Int64), decimal(50), &ScalarValue::Int64(Some(5)));
    check(Some(DataType::Float64), decimal(57), &ScalarValue::from(5.7));
    check(Some(DataType::Int32), int(1 << 40), &ScalarValue::Int64(Some(1 << 40)));
}

#[test]
fn any_encoding_of_a_value_is_read() {
    check(Some(DataType::Utf8), Arc::new(LargeStringArray::from(vec!["a"])), &ScalarValue::from("a"));
    check(Some(DataType::Utf8), Arc::new(StringViewArray::from(vec!["a"])), &ScalarValue::from("a"));
    check(None, Arc::new(StringViewArray::from(vec!["a"])), &ScalarValue::Utf8View(Some("a".to_owned())));
    check(None, Arc::new(NullArray::new(1)), &ScalarValue::Null);
    let runs = RunArray::try_new(&Int32Array::from(vec![1]), &StringArray::from(vec!["a"])).unwrap();
    check(Some(DataType::Utf8), Arc::new(runs), &ScalarValue::from("a"));
    let moment = TimestampMicrosecondArray::from(vec![1_500_000]);
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let instant = ScalarValue::TimestampNanosecond(Some(1_500_000_000), Some("UTC".into()));
    check(Some(utc), Arc::new(moment), &instant);
}

#[test]
fn an_interval_is_bound_as_text_and_a_moment_in_its_place_stays_one() {
    let interval = || Some(DataType::Interval(IntervalUnit::MonthDayNano));
    let minute = arrow::datatypes::IntervalMonthDayNano::new(0, 0, 60_000_000_000);
    check(interval(), text("1 minute"), &ScalarValue::IntervalMonthDayNano(Some(minute)));
    let moment = TimestampMicrosecondArray::from(vec![7]);
    check(interval(), Arc::new(moment), &ScalarValue::TimestampMicrosecond(Some(7), None));
    assert!(matches!(refused(interval(), &row(vec![("0", text("soon"))])), Error::ParameterType { .. }));
}

fn union(dense: bool, rows: &[i8]) -> ArrayRef {
    let fields = [Field::new("int", DataType::Int64, true), Field::new("text", DataType::Utf8, true)];
    let fields = UnionFields::try_new([0, 1], fields).unwrap();
    let length = rows.len();
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..length as i64)),
        Arc::new((0..length).map(|row| Some(row.to_string())).collect::<StringArray>()),
    ];
    let offsets = dense.then(|| (0..length as i32).collect::<ScalarBuffer<i32>>());
    Arc::new(UnionArray::try_new(fields, rows.iter().copied().collect(), offsets, children).unwrap())
}

#[test]
fn unions_are_read_row_by_row() {
    for dense in [true, false] {
        check(None, union(dense, &[0]), &ScalarValue::from(0_i64));
        check(Some(DataType::Utf8), union(dense, &[0]), &ScalarValue::from("0"));
        check(Some(DataType::Int64), union(dense, &[1]), &ScalarValue::from(0_i64));
        let parameters = [parameter("1", Some(DataType::Utf8))];
        let bound = Bound::from_batches(&parameters, &row(vec![("0", union(dense, &[0, 1, 0]))])).unwrap();
        let values: Vec<_> = (0..3).map(|i| bound.row(i).unwrap().get("1").unwrap().to_string()).collect();
        assert_eq!(values, ["0", "1", "2"]);
    }
}

#[test]
fn several_rows_are_bound_in_order_and_come_back_from_a_handle() {
    let parameters = [parameter("1", Some(DataType::Int32)), parameter("2", None)];
    let batch = |from: i64| {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 2));
        row(vec![("0", numbers), ("1", Arc::new(StringArray::from(vec![Some("a"), None])))])
    };
    let bound = Bound::from_batches(&parameters, &[batch(0), batch(2)].concat()).unwrap();
    let bound = Bound::from_bytes(&bound.to_bytes().unwrap()).unwrap();
    let numbers: Vec<_> =
        (0..bound.num_rows()).map(|i| bound.row(i).unwrap().get("1").cloned().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3].map(|n| ScalarValue::Int32(Some(n))));
    assert_eq!(bound.row(3).unwrap().get("2"), Some(&ScalarValue::Utf8(None)));

    let none = Bound::from_batches(&parameters, &[batch(0)[0].slice(0, 0)]).unwrap();
    assert_eq!(Bound::from_bytes(&none.to_bytes().unwrap()).unwrap().num_rows(), 0);
    assert_eq!(none.missing(&parameters), None, "no rows are no runs, not missing values");
}

#[test]
fn wrong_values_and_wrong_counts_are_refused() {
    let number = || Some(DataType::Int64);
    assert!(matches!(refused(number(), &row(vec![("0", text("x"))])), Error::ParameterType { .. }));
    let two = refused(number(), &row(vec![("0", int(1)), ("1", int(1))]));
    assert!(matches!(two, Error::ParameterCount { found: 2, .. }));
    assert!(matches!(refused(number(), &[]), Error::ParameterCount { found: 0, .. }));
    let many: ArrayRef = Arc::new(NullArray::new(10_001));
    let many = refused(number(), &row(vec![("0", many)]));
    assert!(many.to_string().contains("at most 10000"), "{many}");
    let endless = RecordBatchOptions::new().with_row_count(Some(usize::MAX));
    let endless = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &endless).unwrap();
    assert!(matches!(refused(number(), &[endless.clone(), endless]), Error::ParameterRows { .. }));
}

#[test]
fn a_few_bytes_that_stand_for_many_are_refused() {
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]));
    let keys = Int32Array::from(vec![0; 100]);
    let dictionary: ArrayRef = Arc::new(DictionaryArray::try_new(keys, Arc::clone(&long)).unwrap());
    let runs: ArrayRef = Arc::new(RunArray::try_new(&Int32Array::from(vec![100]), long.as_ref()).unwrap());
    let wide = FixedSizeBinaryArray::try_from_iter([vec![0_u8; 1 << 20]].into_iter()).unwrap();
    let wide: ArrayRef =
        Arc::new(DictionaryArray::try_new(Int32Array::from(vec![0; 100]), Arc::new(wide)).unwrap());
    for column in [dictionary, runs, wide] {
        let error = refused(None, &row(vec![("0", column)]));
        assert!(matches!(error, Error::ParametersTooLarge { .. }), "{error}");
    }
}

#[test]
fn nulls_that_would_become_many_bytes_are_refused_before_they_do() {
    let list = |length: usize| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(DataType::Null, true));
        let offsets = OffsetBuffer::from_lengths([length]);
        Arc::new(ListArray::try_new(item, offsets, Arc::new(NullArray::new(length)), None).unwrap())
    };
    let numbers = || Some(DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))));
    let error = refused(numbers(), &row(vec![("0", list(1 << 30))]));
    assert!(matches!(error, Error::ParametersTooLarge { .. }), "{error}");
    let bound = Bound::from_batches(&[parameter("1", numbers())], &row(vec![("0", list(3))])).unwrap();
    assert_eq!(bound.row(0).unwrap().get("1").unwrap().to_string(), "[, , ]");
}

#[test]
fn a_statement_without_parameters_takes_an_empty_bind() {
    let bound = Bound::from_batches(&[], &[RecordBatch::new_empty(Arc::new(Schema::empty()))]).unwrap();
    assert_eq!(bound, Bound::nothing());
    assert_eq!(bound.to_bytes().unwrap(), Bytes::new());
    assert_eq!(Bound::from_bytes(&Bytes::new()).unwrap(), bound);
}

#[test]
fn clients_are_told_plain_nullable_types_and_never_null() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let parameters =
        [parameter("1", None), parameter("2", Some(dictionary)), parameter("3", Some(DataType::UInt64))];
    let types = |profile| -> Vec<DataType> {
        let schema = parameter_schema(&parameters, profile);
        assert!(schema.fields().iter().all(|field| field.is_nullable() && field.metadata().is_empty()));
        schema.fields().iter().map(|field| field.data_type().clone()).collect()
    };
    assert_eq!(types(Profile::Native), [DataType::Utf8, DataType::Utf8, DataType::UInt64]);
    assert_eq!(types(Profile::Jdbc), [DataType::Utf8, DataType::Utf8, DataType::Decimal128(20, 0)]);
}

#[test]
fn java_is_asked_for_the_milliseconds_that_it_binds() {
    let timestamp = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let asked = |data_type, profile| {
        parameter_schema(&[parameter("1", Some(data_type))], profile).field(0).data_type().clone()
    };
    assert_eq!(asked(timestamp(TimeUnit::Nanosecond), Profile::Jdbc), timestamp(TimeUnit::Millisecond));
    assert_eq!(
        asked(timestamp(TimeUnit::Nanosecond), Profile::JdbcUnzoned),
        DataType::Timestamp(TimeUnit::Millisecond, None)
    );
    assert_eq!(
        asked(DataType::Time64(TimeUnit::Nanosecond), Profile::Jdbc),
        DataType::Time32(TimeUnit::Millisecond)
    );
    assert_eq!(asked(timestamp(TimeUnit::Nanosecond), Profile::Native), timestamp(TimeUnit::Nanosecond));
}
