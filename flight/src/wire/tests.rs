use arrow::array::{
    BooleanArray, Date64Array, Decimal256Array, DictionaryArray, Float16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, LargeListArray, LargeStringArray, NullArray, RunArray, StringArray,
    StringViewArray, TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ArrowPrimitiveType, Float16Type, Int32Type, IntervalMonthDayNano, i256};
use arrow::util::pretty::pretty_format_columns;
use datafusion::scalar::ScalarValue;
use datafusion_functions_json::JSON_UNION_DATA_TYPE;

use super::*;

fn check(array: ArrayRef, wire: &DataType, shown: &[&str]) {
    let schema = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]);
    let promised = wire_schema(&schema, Profile::Safe);
    assert_eq!(promised.field(0).data_type(), wire);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![array]).unwrap();
    let sent = to_wire(&batch, &promised).unwrap();
    let lines = pretty_format_columns("c", sent.columns()).unwrap().to_string();
    let values: Vec<_> =
        lines.lines().skip(3).filter(|l| l.starts_with('|')).map(|l| l.trim_matches(['|', ' '])).collect();
    assert_eq!(values, shown);
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
    let list = LargeListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(structs), None);

    let wire_struct = DataType::Struct(vec![Field::new("k", DataType::Utf8, false)].into());
    let wire = DataType::List(Arc::new(Field::new_list_field(wire_struct, false)));
    check(Arc::new(list), &wire, &["[{k: x}, {k: y}]", "[]", "[{k: x}]"]);
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
    check(array, &DataType::Utf8, &["true", "42", "\"say \\\"hi\\\"\"", "{\"a\":1}"]);
}

#[test]
fn plain_columns_are_passed_on_as_they_are() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("n", Arc::clone(&column))]).unwrap();
    let sent = to_wire(&batch, &wire_schema(&batch.schema(), Profile::Safe)).unwrap();
    assert!(Arc::ptr_eq(sent.column(0), &column));
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
