use arrow::array::{
    DictionaryArray, Int8Array, Int64Array, ListArray, NullArray, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Field, Int8Type, Int64Type};

use super::*;

fn check(array: &dyn Array, target: &DataType, expected: u64) {
    assert_eq!(expanded_bytes(array, target), expected, "{} as {target}", array.data_type());
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

#[test]
fn what_is_said_once_counts_as_often_as_it_is_meant() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1_000)]));
    let keys = Int8Array::from(vec![Some(0), Some(0), None, Some(0)]);
    let dictionary = DictionaryArray::<Int8Type>::new(keys, Arc::clone(&text));
    check(&dictionary, &DataType::Utf8, 3 * 1_000 + 4 * REFERENCE_BYTES);
    check(&dictionary.slice(1, 2), &DataType::Utf8, 1_000 + 2 * REFERENCE_BYTES);
    let views = StringViewArray::from_iter_values(["y".repeat(100)]);
    let keys = Int8Array::from(vec![0; 5]);
    let dictionary = DictionaryArray::<Int8Type>::new(keys, Arc::new(views));
    assert!(expanded_bytes(&dictionary, &DataType::Utf8) >= 500);
    check(&text.slice(0, 0), &DataType::Utf8, 0);
}

#[test]
fn nulls_count_as_what_they_become() {
    let nulls = NullArray::new(1 << 40);
    check(&nulls, &DataType::Utf8, REFERENCE_BYTES << 40);
    check(&nulls, &DataType::FixedSizeBinary(i32::MAX), u64::MAX);
    let lists = ListArray::new(
        item(DataType::Null),
        OffsetBuffer::new(vec![0, 5, 1_000].into()),
        Arc::new(NullArray::new(1_000)),
        None,
    );
    let target = DataType::List(item(DataType::FixedSizeBinary(100)));
    check(&lists, &target, 100_000 + 2 * REFERENCE_BYTES);
    check(&lists.slice(0, 1), &target, 500 + REFERENCE_BYTES);
}

#[test]
fn nested_and_plain_values_count_by_their_bytes() {
    let numbers = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), Some(2)]), None]);
    check(&numbers, &DataType::List(item(DataType::Int64)), 16 + 2 * REFERENCE_BYTES);
    let field = Arc::new(Field::new("a", DataType::Int64, false));
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let structs = StructArray::from(vec![(field, column)]);
    // Counted as a part of the whole and once more as a column.
    check(&structs, structs.data_type(), 48);
    let wide = DataType::FixedSizeList(item(DataType::FixedSizeBinary(1 << 20)), 1 << 10);
    assert_eq!(value_bytes(&wide), 1 << 30);
}
