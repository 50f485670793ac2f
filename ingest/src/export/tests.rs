//! The path of a request: bounds, hand-over, and the count of what was stored and what was not.

use std::num::NonZeroU64;
use std::pin::pin;
use std::task::Poll;

use futures::poll;
use prost::Message;

use super::*;
use crate::testing::{Store, logs};

fn payload(good: usize, bad: usize) -> Bytes {
    logs(good, bad).encode_to_vec().into()
}

async fn export(ingest: &Ingest, payload: Bytes) -> Result<Option<PartialSuccess>> {
    let body = async {
        let mut receiver = ingest.receiver(
            &TenantId::unauthenticated(),
            Transport::Grpc,
            Encoding::Identity,
            Some(payload.len()),
        )?;
        receiver.push(&mut payload.clone())?;
        receiver.finish()
    };
    ingest.export(&Principal::unauthenticated(), Signal::Logs, Format::Protobuf, body).await
}

/// A configuration whose largest request has this size.
fn limited(bytes: usize) -> Config {
    Config { max_message_bytes: bytes, max_http_message_bytes: bytes, ..Config::default() }
}

/// Waits until no request is under way.
async fn settle(ingest: &Ingest) {
    ingest.0.rooms.all().await;
}

#[tokio::test]
async fn sent_records_are_stored_or_reported_as_rejected() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    assert_eq!(export(&ingest, payload(3, 0)).await.unwrap(), None);
    let partial_success = export(&ingest, payload(5, 2)).await.unwrap().unwrap();
    assert_eq!(partial_success.rejected, 2);
    assert_eq!(
        partial_success.message,
        "2 log records were rejected: time_unix_nano is past 2262-04-11T23:47:16Z, \
         the last time that 64-bit nanoseconds can hold"
    );
    assert_eq!(store.stored_rows().await, 8);
}

#[tokio::test]
async fn a_request_without_good_records_stores_nothing() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    assert_eq!(export(&ingest, Bytes::new()).await.unwrap(), None);
    assert_eq!(export(&ingest, payload(0, 0)).await.unwrap(), None);
    assert_eq!(export(&ingest, payload(0, 1)).await.unwrap().unwrap().rejected, 1);
    assert_eq!(store.catalog.tenants().unwrap(), []);
    assert_eq!(store.stored_rows().await, 0);
}

#[tokio::test]
async fn a_large_request_is_stored_like_a_small_one() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    let large = payload(20_000, 1);
    assert!(large.len() > INLINE_BYTES);
    assert_eq!(export(&ingest, large).await.unwrap().unwrap().rejected, 1);
    assert_eq!(store.stored_rows().await, 20_000);
}

#[tokio::test]
async fn a_request_larger_than_the_limit_is_refused_by_name() {
    let store = Store::open();
    let bytes = payload(1, 0);
    let exact = store.ingest(limited(bytes.len()));
    assert_eq!(export(&exact, bytes.clone()).await.unwrap(), None);
    let limit = bytes.len() - 1;
    let smaller = store.ingest(limited(limit));
    let error = export(&smaller, bytes).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: named } if named.bytes == limit), "{error}");
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_names_its_message() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    let mut cut = payload(5, 0);
    cut.truncate(cut.len() - 1);
    let error = export(&ingest, cut).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { message: "ExportLogsServiceRequest", .. }), "{error}");
}

#[tokio::test]
async fn past_the_bytes_in_flight_requests_are_refused_at_once_and_taken_again_later() {
    let store = Store::open();
    let bytes = payload(1, 0);
    let ingest = store.ingest(Config { max_in_flight_bytes: bytes.len(), ..limited(bytes.len()) });
    let other = ingest.0.rooms.of(&"other".parse().unwrap()).take(1).unwrap();
    // One poll: it may not wait.
    let refused = pin!(export(&ingest, bytes.clone()));
    assert!(matches!(poll!(refused), Poll::Ready(Err(Error::Overloaded { .. }))));
    drop(other);
    assert_eq!(export(&ingest, bytes).await.unwrap(), None);
    assert_eq!(store.stored_rows().await, 1);
}

#[tokio::test]
async fn a_request_larger_than_all_bytes_in_flight_goes_alone() {
    let store = Store::open();
    let ingest = store.ingest(Config { max_in_flight_bytes: 3, ..Config::default() });
    assert_eq!(export(&ingest, payload(4, 0)).await.unwrap(), None);
    settle(&ingest).await;
    assert_eq!(store.stored_rows().await, 4);
}

#[tokio::test]
async fn a_tenant_past_its_quota_is_told_when_to_come_back_before_its_body_is_read() {
    let store = Store::open();
    let ingest = store.ingest(Config { tenant_bytes_per_second: NonZeroU64::new(1), ..Config::default() });
    let bytes = payload(20, 0);
    assert_eq!(export(&ingest, bytes.clone()).await.unwrap(), None);
    let never = std::future::pending();
    let refused = ingest.export(&Principal::unauthenticated(), Signal::Logs, Format::Protobuf, never).await;
    let Err(Error::QuotaExceeded { retry_after, .. }) = refused else { panic!("{refused:?}") };
    assert!(retry_after <= Duration::from_secs(bytes.len() as u64), "{retry_after:?}");
    assert_eq!(store.stored_rows().await, 20);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_undo_its_request() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    {
        let request = pin!(export(&ingest, payload(7, 0)));
        assert!(poll!(request).is_pending());
    }
    settle(&ingest).await;
    assert_eq!(store.stored_rows().await, 7);
}

#[tokio::test]
async fn storage_that_is_closed_is_an_error_and_no_success() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    store.storage.close().await.unwrap();
    let error = export(&ingest, payload(1, 0)).await.unwrap_err();
    assert!(matches!(error, Error::Storage(alula_storage::Error::Closed)), "{error}");
}

#[tokio::test]
async fn a_request_that_comes_again_is_stored_once() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    for sent in 0..3 {
        assert_eq!(export(&ingest, payload(4, 0)).await.unwrap(), None, "sent {sent} times before");
    }
    assert_eq!(store.stored_rows().await, 4);
    assert_eq!(export(&ingest, payload(4, 0)).await.unwrap(), None);
    assert_eq!(store.stored_rows().await, 4, "also when the first is in a file");
}

#[tokio::test]
async fn equal_requests_with_a_record_without_time_are_two() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    let mut request = logs(3, 0);
    request.resource_logs[0].scope_logs[0].log_records[1].time_unix_nano = 0;
    for _ in 0..2 {
        export(&ingest, request.encode_to_vec().into()).await.unwrap();
    }
    assert_eq!(store.stored_rows().await, 6);
}

#[tokio::test]
async fn a_client_that_hangs_up_and_sends_again_has_its_request_stored_once() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());
    for _ in 0..5 {
        let request = pin!(export(&ingest, payload(7, 0)));
        assert!(poll!(request).is_pending());
    }
    assert_eq!(export(&ingest, payload(7, 0)).await.unwrap(), None);
    settle(&ingest).await;
    assert_eq!(store.stored_rows().await, 7);
}

/// Scenario: between two copies of a request `ingest.max_future` changes, or the clock passes a record's time.
/// Guarantees: both are told what became of the one copy that is stored, so what was sent is stored or reported.
#[tokio::test]
async fn a_request_that_comes_again_is_told_what_was_rejected_of_the_first() {
    let minutes = |count| Config { max_future: Duration::from_mins(count), ..Config::default() };
    let mut request = logs(2, 0);
    let soon_ns = now_ns() as u64 + 1_800_000_000_000;
    request.resource_logs[0].scope_logs[0].log_records[1].time_unix_nano = soon_ns;
    let request = Bytes::from(request.encode_to_vec());
    for (first, second, rejected) in [(1, 60, Some(1)), (60, 1, None)] {
        let store = Store::open();
        for config in [minutes(first), minutes(second), minutes(first)] {
            let partial_success = export(&store.ingest(config), request.clone()).await.unwrap();
            assert_eq!(partial_success.map(|told| told.rejected), rejected);
        }
        assert_eq!(store.stored_rows().await, 2 - rejected.unwrap_or(0));
    }
}
