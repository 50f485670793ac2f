use arrow::array::{Decimal128Array, DictionaryArray, Float64Array, Int64Array, NullArray, StringArray};
use arrow::datatypes::{Int32Type, TimeUnit};

use super::*;

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

fn check(expected: Option<DataType>, column: ArrayRef, bound: &ScalarValue) {
    let parameters = [parameter("1", expected)];
    let values = Bound::from_batches(&parameters, &row(vec![("0", column)])).unwrap();
    assert_eq!(values, Bound(vec![("1".to_owned(), bound.clone())]));
    assert_eq!(Bound::from_bytes(&values.to_bytes().unwrap()).unwrap(), values);
}

#[test]
fn values_take_the_type_the_statement_expects() {
    check(Some(DataType::Int32), int(5), &ScalarValue::Int32(Some(5)));
    check(None, int(5), &ScalarValue::Int64(Some(5)));
    check(Some(DataType::Utf8View), text("a"), &ScalarValue::from("a"));
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
    assert_eq!(bound.0[0], ("b".to_owned(), ScalarValue::from(2_i64)));
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
fn wrong_values_and_wrong_counts_are_refused() {
    let one = [parameter("1", Some(DataType::Int64))];
    let two_rows: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let refused = |batches: Vec<RecordBatch>| Bound::from_batches(&one, &batches).unwrap_err();
    assert!(matches!(refused(row(vec![("0", text("x"))])), Error::ParameterType { .. }));
    assert!(matches!(refused(row(vec![("0", two_rows)])), Error::ParameterRows { found: 2 }));
    assert!(matches!(
        refused(row(vec![("0", int(1)), ("1", int(1))])),
        Error::ParameterCount { found: 2, .. }
    ));
    assert!(matches!(refused(vec![]), Error::ParameterCount { found: 0, .. }));
}

#[test]
fn a_statement_without_parameters_takes_an_empty_bind() {
    let bound = Bound::from_batches(&[], &[RecordBatch::new_empty(Arc::new(Schema::empty()))]).unwrap();
    assert_eq!(Bound::from_bytes(&bound.to_bytes().unwrap()).unwrap(), bound);
    assert_eq!(Bound::from_bytes(&Bytes::new()).unwrap(), bound);
}

#[test]
fn clients_are_told_plain_nullable_types_and_never_null() {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let schema = parameter_schema(&[parameter("1", None), parameter("2", Some(dictionary))]);
    let expected = ["1", "2"].map(|name| Field::new(name, DataType::Utf8, true));
    assert_eq!(schema, Schema::new(expected.to_vec()));
}
