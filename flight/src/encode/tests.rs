use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray, StringArray};
use arrow::datatypes::Int32Type;
use arrow_flight::decode::FlightRecordBatchStream;
use futures::TryStreamExt;

use super::*;

async fn round_trip(batches: &[RecordBatch]) -> (Vec<usize>, Vec<RecordBatch>) {
    let mut encoder = Encoder::new();
    let mut messages = vec![encoder.schema_message(&batches[0].schema())];
    for batch in batches {
        messages.extend(encoder.encode(batch).unwrap());
    }
    let sizes = messages.iter().map(|m| m.data_header.len() + m.data_body.len()).collect();
    let decoded =
        FlightRecordBatchStream::new_from_flight_data(futures::stream::iter(messages.into_iter().map(Ok)));
    (sizes, decoded.try_collect().await.unwrap())
}

async fn check_bounded(batches: Vec<RecordBatch>) {
    let (sizes, decoded) = round_trip(&batches).await;
    assert!(sizes.iter().all(|size| *size <= MAX_MESSAGE_BYTES), "{sizes:?}");
    let schema = batches[0].schema();
    let sent = arrow::compute::concat_batches(&schema, &batches).unwrap();
    assert_eq!(arrow::compute::concat_batches(&schema, &decoded).unwrap(), sent);
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test]
async fn a_few_large_rows_among_many_small_ones_stay_within_the_bound() {
    let text: StringArray =
        (0..8192).map(|i| Some(if i % 1000 == 0 { "x".repeat(1_000_000) } else { "y".to_owned() })).collect();
    check_bounded(vec![batch(vec![("s", Arc::new(text))])]).await;
}

#[tokio::test]
async fn wide_rows_and_then_narrow_ones_stay_within_the_bound() {
    let wide: StringArray = (0..400).map(|_| Some("x".repeat(20_000))).collect();
    let narrow: StringArray = (0..8192).map(|i| Some(i.to_string())).collect();
    check_bounded(vec![batch(vec![("s", Arc::new(wide))]), batch(vec![("s", Arc::new(narrow))])]).await;
}

#[tokio::test]
async fn slices_of_lists_are_not_sent_with_the_whole_list_behind_them() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..4096).map(|i| Some((0..i % 900).map(Some).collect::<Vec<_>>())),
    );
    check_bounded(vec![batch(vec![("l", Arc::new(lists))])]).await;
}

#[tokio::test]
async fn a_row_above_the_bound_is_sent_alone() {
    let text: StringArray = [1, 6_000_000, 1].iter().map(|n| Some("x".repeat(*n))).collect();
    let (sizes, decoded) = round_trip(&[batch(vec![("s", Arc::new(text))])]).await;
    assert_eq!(sizes.iter().filter(|size| **size > MAX_MESSAGE_BYTES).count(), 1, "{sizes:?}");
    let lengths: Vec<_> = decoded
        .iter()
        .flat_map(|b| b.column(0).as_string::<i32>().iter().map(|s| s.unwrap().len()))
        .collect();
    assert_eq!(lengths, [1, 6_000_000, 1]);
}

#[tokio::test]
async fn an_empty_batch_and_a_batch_without_columns_are_one_message_each() {
    let empty = batch(vec![("n", Arc::new(Int64Array::from(Vec::<i64>::new())))]);
    let (sizes, decoded) = round_trip(std::slice::from_ref(&empty)).await;
    assert_eq!((sizes.len(), decoded), (2, vec![empty]));
}
