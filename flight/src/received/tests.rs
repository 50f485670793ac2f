use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, ListArray, NullArray, RecordBatchOptions, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::utils::batches_to_flight_data;

use super::*;

fn message(columns: Vec<ArrayRef>) -> FlightData {
    let columns = columns.into_iter().enumerate().map(|(n, column)| (n.to_string(), column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    encoded(&batch)
}

fn encoded(batch: &RecordBatch) -> FlightData {
    batches_to_flight_data(&batch.schema(), vec![batch.clone()]).unwrap().pop().unwrap()
}

/// Lists of nulls, of which there are so many.
fn nulls_inside(lengths: &[usize]) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(DataType::Null, true));
    let nulls = Arc::new(NullArray::new(lengths.iter().sum()));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(ListArray::try_new(item, offsets, nulls, None).unwrap())
}

fn is_taken(message: &FlightData) -> bool {
    match refuse_costly(message, "rows") {
        Ok(()) => true,
        Err(Error::MalformedMessage { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_clients_send_has_as_many_bytes_as_it_needs() {
    let num_rows = 300_000;
    let bits: ArrayRef = Arc::new(BooleanArray::from(vec![true; num_rows]));
    let nulls: ArrayRef = Arc::new(NullArray::new(num_rows));
    assert!(is_taken(&message(vec![Arc::clone(&bits)])));
    assert!(is_taken(&message([vec![bits], vec![nulls; 50]].concat())), "columns of nulls beside another");
    assert!(is_taken(&message(vec![Arc::new(NullArray::new(10_000))])));
    assert!(is_taken(&message(vec![nulls_inside(&[3, 0, 1_000])])));
    let inside: ArrayRef = Arc::new(Int64Array::from(vec![1; 100_000]));
    let fields = Schema::new(vec![Field::new("x", DataType::Int64, true)]).fields;
    let inside: ArrayRef = Arc::new(StructArray::try_new(fields, vec![inside], None).unwrap());
    let item = Arc::new(Field::new_list_field(inside.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([100_000]);
    assert!(is_taken(&message(vec![Arc::new(ListArray::try_new(item, offsets, inside, None).unwrap())])));
}

#[test]
fn values_that_nothing_came_of_are_refused() {
    assert!(!is_taken(&message(vec![Arc::new(NullArray::new(1 << 40))])));
    assert!(!is_taken(&message(vec![nulls_inside(&[1 << 20])])));
    let some = nulls_inside(&[40_000]);
    assert!(is_taken(&message(vec![Arc::clone(&some)])));
    assert!(!is_taken(&message(vec![some; 100])), "many columns with a few each");
    let options = RecordBatchOptions::new().with_row_count(Some(1 << 40));
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    assert!(!is_taken(&encoded(&nothing)));
}
