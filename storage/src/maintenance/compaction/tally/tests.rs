use std::sync::Arc;

use alula_catalog::Signal;
use arrow::array::{UInt32Array, new_null_array};
use arrow::compute::{concat_batches, take, take_record_batch};
use proptest::prelude::*;

use super::super::testing::{Numbers, rows};
use super::*;

fn tally(batches: &[RecordBatch]) -> Tally {
    let mut tallier = Tallier::default();
    for batch in batches {
        tallier.add(batch).unwrap();
    }
    tallier.tally()
}

fn shuffled(count: usize, numbers: &mut Numbers) -> UInt32Array {
    let mut order: Vec<u32> = (0..count as u32).collect();
    for last in (1..count).rev() {
        order.swap(last, numbers.next(last as u64 + 1) as usize);
    }
    UInt32Array::from(order)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn rows_have_one_tally_in_any_order_and_any_batches(seed: u64, count in 1_usize..60) {
        let numbers = &mut Numbers(seed);
        for signal in Signal::ALL {
            let batch = rows(signal, count, numbers);
            let shuffled = take_record_batch(&batch, &shuffled(count, numbers)).unwrap();
            let cut = numbers.next(count as u64 + 1) as usize;
            let parts = [shuffled.slice(cut, count - cut), shuffled.slice(0, cut)];
            prop_assert_eq!(tally(std::slice::from_ref(&batch)).difference(&tally(&parts)), None);
        }
    }
}

#[test]
fn a_tally_does_not_depend_on_how_dictionaries_are_encoded() {
    let numbers = &mut Numbers(1);
    let (a, b) = (rows(Signal::Metrics, 40, numbers), rows(Signal::Metrics, 40, numbers));
    let together = concat_batches(&a.schema(), [&a, &b]).unwrap();
    assert_eq!(tally(&[a, b]).difference(&tally(&[together])), None);
}

/// Each cell in turn gets the value of another row, or none.
#[test]
fn a_tally_tells_of_a_change_in_any_column() {
    for signal in Signal::ALL {
        let batch = rows(signal, 12, &mut Numbers(5));
        let before = tally(std::slice::from_ref(&batch));
        for (index, field) in batch.schema().fields().iter().enumerate() {
            let column = batch.column(index);
            let mut others = vec![
                take(column, &UInt32Array::from_iter_values((0..12).map(|row| (row + 1) % 12)), None)
                    .unwrap(),
            ];
            if field.is_nullable() {
                others.push(new_null_array(field.data_type(), 12));
            }
            for other in others.into_iter().filter(|other| other.to_data() != column.to_data()) {
                let mut columns = batch.columns().to_vec();
                columns[index] = other;
                let changed = RecordBatch::try_new(batch.schema(), columns).unwrap();
                assert!(before.difference(&tally(&[changed])).is_some(), "{signal}.{}", field.name());
            }
        }
    }
}

#[test]
fn a_tally_tells_of_a_row_that_is_lost_or_doubled_and_of_swapped_columns() {
    let batch = rows(Signal::Metrics, 30, &mut Numbers(9));
    let before = tally(std::slice::from_ref(&batch));
    let lost = tally(&[batch.slice(0, 29)]);
    assert_eq!(before.difference(&lost), Some("the number of rows"));
    // The count stays right.
    let doubled = tally(&[batch.slice(0, 29), batch.slice(0, 1)]);
    assert_ne!(before.difference(&doubled), None);
    let mut columns = batch.columns().to_vec();
    let (value, sum) = (batch.schema().index_of("value").unwrap(), batch.schema().index_of("sum").unwrap());
    columns.swap(value, sum);
    let swapped = RecordBatch::try_new(batch.schema(), columns).unwrap();
    assert_eq!(before.difference(&tally(&[swapped])), Some("the hash of all rows"));
}

/// `[[x], []]` has the same items as `[[], [x]]`, and an empty list is not a missing one.
#[test]
fn a_tally_tells_in_which_row_an_item_is() {
    let batch = rows(Signal::Metrics, 2, &mut Numbers(2));
    let with_lists = |lengths: [usize; 2], is_valid: [bool; 2]| {
        let index = batch.schema().index_of("bucket_counts").unwrap();
        let DataType::List(item) = batch.schema().field(index).data_type().clone() else { unreachable!() };
        let items: ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![7; lengths.iter().sum()]));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
        let nulls = Some(arrow::buffer::NullBuffer::from(is_valid.to_vec()));
        let mut columns = batch.columns().to_vec();
        columns[index] = Arc::new(arrow::array::ListArray::new(item, offsets, items, nulls));
        tally(&[RecordBatch::try_new(batch.schema(), columns).unwrap()])
    };
    let tallies = [
        with_lists([1, 0], [true, true]),
        with_lists([0, 1], [true, true]),
        with_lists([0, 1], [false, true]),
        with_lists([0, 2], [true, true]),
    ];
    for (i, a) in tallies.iter().enumerate() {
        for b in &tallies[..i] {
            assert_ne!(a, b);
        }
    }
}
