use arrow::array::{DictionaryArray, Int32Array, Int64Array, ListArray, StringArray, StringViewArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::decode::FlightRecordBatchStream;
use futures::TryStreamExt;

use super::*;

fn messages(profile: Profile, batches: &[RecordBatch]) -> Vec<FlightData> {
    let mut encoder = Encoder::new(profile);
    let mut messages = vec![encoder.schema_message(&batches[0].schema())];
    for batch in batches {
        messages.extend(encoder.encode(batch).unwrap());
    }
    messages
}

fn sizes(messages: &[FlightData]) -> Vec<usize> {
    messages.iter().map(|message| message.data_header.len() + message.data_body.len()).collect()
}

fn kinds(messages: &[FlightData]) -> Vec<MessageHeader> {
    messages.iter().map(|message| root_as_message(&message.data_header).unwrap().header_type()).collect()
}

async fn decoded(messages: Vec<FlightData>) -> Vec<RecordBatch> {
    let messages = futures::stream::iter(messages.into_iter().map(Ok));
    FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await.unwrap()
}

async fn round_trip(batches: &[RecordBatch]) -> (Vec<usize>, Vec<RecordBatch>) {
    let messages = messages(Profile::Native, batches);
    (sizes(&messages), decoded(messages).await)
}

fn texts(batch: &RecordBatch) -> Vec<Option<String>> {
    let plain = arrow::compute::cast(batch.column(0), &DataType::Utf8).unwrap();
    plain.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

async fn check_texts(batches: &[RecordBatch]) -> Vec<FlightData> {
    let sent = messages(Profile::Native, batches);
    assert!(sizes(&sent).iter().all(|size| *size <= MAX_MESSAGE_BYTES), "{:?}", sizes(&sent));
    let got: Vec<_> = decoded(sent.clone()).await.iter().flat_map(texts).collect();
    assert_eq!(got, batches.iter().flat_map(texts).collect::<Vec<_>>());
    sent
}

fn dictionary(keys: Vec<Option<i32>>, values: &[&str]) -> RecordBatch {
    let values = Arc::new(StringArray::from(values.to_vec()));
    let column = DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), values).unwrap();
    RecordBatch::try_from_iter_with_nullable([("d", Arc::new(column) as ArrayRef, true)]).unwrap()
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

#[tokio::test]
async fn a_dictionary_is_sent_once_while_it_has_the_values() {
    use MessageHeader as M;
    let first = dictionary(vec![Some(0), Some(1), None], &["a", "b", "unused"]);
    let other_order = dictionary(vec![Some(1), Some(0)], &["b", "a"]);
    let with_more = dictionary(vec![Some(0), Some(1)], &["c", "a"]);
    let sent =
        check_texts(&[first.slice(0, 0), first.clone(), first.slice(1, 2), other_order, with_more]).await;
    assert_eq!(
        kinds(&sent),
        [
            M::Schema,
            // Go's reader wants one before the first batch, whatever is in it.
            M::DictionaryBatch,
            M::RecordBatch,
            M::DictionaryBatch,
            M::RecordBatch,
            M::RecordBatch,
            M::RecordBatch,
            M::DictionaryBatch,
            M::RecordBatch,
        ]
    );
}

#[tokio::test]
async fn every_column_with_a_dictionary_has_one_before_the_first_batch() {
    let one = || Arc::new(["a"].into_iter().collect::<DictionaryArray<Int32Type>>()) as ArrayRef;
    let rows = batch(vec![("a", one()), ("n", Arc::new(Int64Array::from(vec![1]))), ("b", one())]);
    let sent = messages(Profile::Native, &[rows.slice(0, 0), rows.clone()]);
    let first = kinds(&sent)[1..4].to_vec();
    assert_eq!(
        first,
        [MessageHeader::DictionaryBatch, MessageHeader::DictionaryBatch, MessageHeader::RecordBatch]
    );
    assert_eq!(decoded(sent).await[1], rows);
}

#[tokio::test]
async fn values_that_are_twice_or_null_in_a_dictionary_arrive_once_or_as_null() {
    let values = Arc::new(StringArray::from(vec![Some("a"), Some("a"), None]));
    let keys = Int32Array::from(vec![0, 1, 2]);
    let column = DictionaryArray::<Int32Type>::try_new(keys, values).unwrap();
    let rows = RecordBatch::try_from_iter_with_nullable([("d", Arc::new(column) as ArrayRef, true)]).unwrap();
    let got = decoded(messages(Profile::Native, std::slice::from_ref(&rows))).await;
    assert_eq!(texts(&got[0]), [Some("a".to_owned()), Some("a".to_owned()), None]);
    assert_eq!(got[0].column(0).as_any_dictionary().values().len(), 1);
}

#[tokio::test]
async fn dictionaries_of_many_long_or_different_values_stay_within_the_bound() {
    let long: Vec<String> = (0..400).map(|i| format!("{i}{}", "x".repeat(20_000))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let keys = || (0..8000).map(|i| (i % 7 != 0).then_some(i % 400)).collect::<Vec<_>>();
    check_texts(&[
        dictionary(keys(), &long),
        dictionary(vec![Some(0)], &["small"]),
        dictionary(keys(), &long),
    ])
    .await;

    let unique: Vec<RecordBatch> = (0..3)
        .map(|batch| {
            let values: Vec<String> = (0..8192).map(|i| format!("value {batch} {i}")).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            dictionary((0..8192).map(Some).collect(), &values)
        })
        .collect();
    check_texts(&unique).await;
}

#[tokio::test]
async fn views_are_sent_without_the_texts_of_other_rows() {
    let views: StringViewArray = (0..8192).map(|i| Some(format!("{i}{}", "x".repeat(2_000)))).collect();
    let rows = batch(vec![("v", Arc::new(views))]);
    let sent = check_texts(std::slice::from_ref(&rows)).await;
    let total: usize = sizes(&sent).iter().sum();
    assert!(total < 8192 * 2_100, "{total}");
    let few = messages(Profile::Native, &[rows.slice(10, 2)]);
    assert!(sizes(&few)[1] < 10_000, "{:?}", sizes(&few));
}

#[tokio::test]
async fn a_row_that_arrow_clients_would_refuse_is_compressed_for_them_alone() {
    let rows = batch(vec![("s", Arc::new(StringArray::from(vec!["x".repeat(17_000_000)])))]);
    let native = messages(Profile::Native, std::slice::from_ref(&rows));
    assert!(sizes(&native)[1] < 1 << 20, "{:?}", sizes(&native));
    assert_eq!(decoded(native).await, std::slice::from_ref(&rows));
    let safe = messages(Profile::Safe, &[rows]);
    assert!(sizes(&safe)[1] > 17_000_000);
}

#[test]
fn a_row_that_no_client_takes_is_refused_in_words() {
    assert!(check_row(MAX_ROW_BYTES).is_ok());
    let refused = check_row(3 << 30).unwrap_err();
    assert!(matches!(refused, Error::RowTooLarge { .. }));
    assert!(refused.to_string().contains("3072 MiB"), "{refused}");
}
