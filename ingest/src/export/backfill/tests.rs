//! Rows on the path of requests: stored once, whole or not at all, within the bounds of their tenant.

use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arrow::array::{ArrayRef, StringArray, TimestampNanosecondArray};
use futures::{TryStreamExt, poll};

use super::*;
use crate::Config;
use crate::testing::Store;

fn tenant() -> TenantId {
    TenantId::unauthenticated()
}

fn logs(times: impl IntoIterator<Item = Option<i64>>) -> RecordBatch {
    let times: ArrayRef = Arc::new(times.into_iter().collect::<TimestampNanosecondArray>());
    let bodies: ArrayRef = Arc::new(StringArray::from(vec!["b"; times.len()]));
    RecordBatch::try_from_iter([("timestamp", times), ("body", bodies)]).unwrap()
}

fn requests(ingest: &Ingest, batches: Vec<RecordBatch>) -> BoxStream<'static, Result<Restored>> {
    let schema = batches[0].schema();
    ingest.restore(Signal::Logs, schema, futures::stream::iter(batches.into_iter().map(Ok)).boxed())
}

/// Stores them as a stream, and says how many were stored before it failed.
async fn backfill(ingest: &Ingest, batches: Vec<RecordBatch>) -> (u64, Result<()>) {
    let mut requests = requests(ingest, batches);
    let mut num_stored = 0;
    loop {
        match requests.try_next().await {
            Ok(None) => return (num_stored, Ok(())),
            Err(error) => return (num_stored, Err(error)),
            Ok(Some(request)) => {
                let num_rows = request.num_rows;
                if let Err(error) = ingest.append(&tenant(), Signal::Logs, &request).await {
                    return (num_stored, Err(error));
                }
                num_stored += num_rows;
            }
        }
    }
}

#[tokio::test]
async fn rows_are_stored_in_order_and_any_number_of_them() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    let batches = vec![logs((1..=15_000).map(Some)), logs((15_001..=25_001).map(Some))];
    let parts: Vec<_> = requests(&ingest, batches.clone()).try_collect().await.unwrap();
    let bounds: Vec<_> = parts.iter().map(|part| (part.first_row, part.num_rows)).collect();
    assert_eq!(bounds, [(0, 10_000), (10_000, 10_000), (20_000, 5_001)]);
    let (num_stored, outcome) = backfill(&ingest, batches).await;
    outcome.unwrap();
    assert_eq!((num_stored, store.stored_rows().await), (25_001, 25_001));
}

#[tokio::test]
async fn the_same_stream_again_is_stored_once_and_equal_rows_within_it_are_not_one() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    for _ in 0..3 {
        // Both requests have the same bytes.
        let (num_stored, outcome) = backfill(&ingest, vec![logs(std::iter::repeat_n(Some(1), 20_000))]).await;
        outcome.unwrap();
        assert_eq!(num_stored, 20_000);
    }
    assert_eq!(store.stored_rows().await, 20_000);
}

#[tokio::test]
async fn a_row_that_cannot_be_stored_is_told_and_nothing_of_its_request_is_stored() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    let late = now_ns() + 7_200_000_000_000;
    let batch = logs((1..=10_003).map(Some).chain([Some(late)]));
    let (num_stored, outcome) = backfill(&ingest, vec![batch]).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, Error::RefusedRow { row: 10_004, reason } if reason.contains("ahead of")),
        "{error}"
    );
    assert_eq!((num_stored, store.stored_rows().await), (10_000, 10_000));
}

#[tokio::test]
async fn a_check_says_what_an_append_would_and_stores_nothing() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    let late = now_ns() + 7_200_000_000_000;
    for (time, is_good) in [(1, true), (late, false)] {
        let part = requests(&ingest, vec![logs([Some(time)])]).try_next().await.unwrap().unwrap();
        assert_eq!(ingest.check(&tenant(), Signal::Logs, &part).await.is_ok(), is_good);
    }
    assert_eq!(store.stored_rows().await, 0);
}

#[tokio::test]
async fn columns_are_looked_at_also_if_no_row_comes() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    let none = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
    let schema = none.schema();
    let batches = futures::stream::empty::<Result<RecordBatch>>().boxed();
    let refused = ingest.restore(Signal::Logs, schema, batches).try_next().await.unwrap_err();
    assert!(matches!(&refused, Error::BadColumn { column, .. } if column == "timestamp"), "{refused}");
}

#[tokio::test]
async fn a_row_larger_than_the_largest_request_is_refused_by_name() {
    let store = Store::open();
    let config = Config { max_message_bytes: 100, max_http_message_bytes: 60, ..Config::default() };
    let ingest = store.ingest(config);
    let (_, outcome) = backfill(&ingest, vec![logs((1..=50).map(Some))]).await;
    outcome.unwrap();
    let body: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100)]));
    let time: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1]));
    let row = RecordBatch::try_from_iter([("timestamp", time), ("body", body)]).unwrap();
    let error = backfill(&ingest, vec![row]).await.1.unwrap_err();
    assert_eq!(
        error.to_string(),
        "row 1 cannot be stored: as a request of its own it has more than 100 bytes (ingest.max_message_bytes)"
    );
}

#[tokio::test]
async fn what_a_tenant_owes_for_longer_than_a_stream_waits_is_refused() {
    let store = Store::open();
    let ingest = store.ingest(Config { tenant_bytes_per_second: NonZeroU64::new(1), ..Config::default() });
    let (num_stored, outcome) = backfill(&ingest, vec![logs((1..=20_000).map(Some))]).await;
    assert!(matches!(outcome, Err(Error::QuotaExceeded { .. })), "{outcome:?}");
    assert_eq!((num_stored, store.stored_rows().await), (10_000, 10_000));
}

#[tokio::test]
async fn a_request_waits_for_room() {
    let store = Store::open();
    let config = Config {
        max_in_flight_bytes: 100,
        max_message_bytes: 100,
        max_http_message_bytes: 100,
        ..Config::default()
    };
    let ingest = store.ingest(config);
    let part = requests(&ingest, vec![logs([Some(1)])]).try_next().await.unwrap().unwrap();
    let taken = ingest.0.rooms.of(&tenant()).take(100).unwrap();
    let none = tenant();
    let mut appending = pin!(ingest.append(&none, Signal::Logs, &part));
    assert!(matches!(poll!(&mut appending), Poll::Pending));
    drop(taken);
    appending.await.unwrap();
    assert_eq!(store.stored_rows().await, 1);
}

#[tokio::test]
async fn equal_rows_without_a_time_are_two() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    for _ in 0..2 {
        backfill(&ingest, vec![logs([Some(1), None])]).await.1.unwrap();
    }
    assert_eq!(store.stored_rows().await, 4);
}
