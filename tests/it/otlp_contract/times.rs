//! What becomes of every kind of timestamp, in each signal: stored in its hour, replaced by another time and marked so,
//! or rejected with a reason. Never a panic, never a silent drop.

use std::path::Path;

use jiff::Timestamp;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::fixture::otlp::{
    BASE_NS, Export, Rejected, SECOND_NS, gauge, int_point, log, logs, metrics, now_ns, span, traces,
};
use crate::fixture::{Client, TestServer};

const YEAR_NS: u64 = 365 * 24 * 3600 * SECOND_NS;
const MAX_NS: u64 = i64::MAX as u64;

/// One record with this time, as each signal.
fn requests(time: u64) -> [Export; 3] {
    let span = Span { end_time_unix_nano: time, ..span(1, 1, "s", time, 0) };
    [
        metrics("api", vec![gauge("g", vec![int_point(time, 1)])]).into(),
        logs("api", vec![log(time, "x")]).into(),
        traces("api", vec![span]).into(),
    ]
}

async fn check_stored(client: &Client, time: u64, source: &str) {
    for request in requests(time) {
        let signal = request.signal();
        let before = now_ns();
        client.send(request).await;
        let (from, to) = if source == "received" { (before, now_ns()) } else { (time, time) };
        let stored = format!(
            "SELECT count(*) FROM {signal} WHERE CAST(timestamp AS BIGINT) BETWEEN {from} AND {to} \
             AND timestamp_source = '{source}'"
        );
        assert_eq!(client.count(&stored).await, 1, "{time} in {signal}");
    }
}

async fn check_rejected(client: &Client, time: u64, reason: &str) {
    for request in requests(time) {
        let signal = request.signal();
        let Rejected { count, message } = client.export(request).await.unwrap();
        assert_eq!(count, 1, "{time} in {signal}: {message}");
        assert!(message.contains(reason), "{time} in {signal}: {message}");
        let stored = format!("SELECT count(*) FROM {signal} WHERE CAST(timestamp AS BIGINT) > {}", now_ns());
        assert_eq!(client.count(&stored).await, 0, "{time} in {signal}");
        let listed = format!(
            "SELECT count(*) FROM system.ingest_rejections WHERE signal = '{signal}' AND reason LIKE '%{reason}%'"
        );
        assert_eq!(client.count(&listed).await, 1, "{time} in {signal}");
    }
}

/// The hours that hold files of a signal, as their directories name them.
fn hours(data_dir: &Path, signal: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![data_dir.join("data").join(signal)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).collect();
                found.push(parts[parts.len() - 5..parts.len() - 1].join("/"));
            }
        }
    }
    found.sort();
    found
}

fn hour_of(time: u64) -> String {
    Timestamp::from_nanosecond(i128::from(time)).unwrap().strftime("%Y/%m/%d/%H").to_string()
}

#[tokio::test]
async fn each_time_has_its_result_in_each_signal() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let last_year = now_ns() - YEAR_NS;
    check_stored(&client, 0, "received").await;
    let received = now_ns();
    check_stored(&client, 1, "record").await;
    check_stored(&client, last_year, "record").await;
    check_rejected(&client, now_ns() + 100 * YEAR_NS, "ingest.max_future").await;
    check_rejected(&client, u64::MAX, "2262-04-11T23:47:16Z").await;
    check_rejected(&client, MAX_NS + 1, "2262-04-11T23:47:16Z").await;
    let too_far = client.export(logs("api", vec![log(MAX_NS, "x")])).await.unwrap();
    assert!(too_far.count == 1 && too_far.message.contains("ingest.max_future"), "{too_far:?}");

    let directory = server.shutdown().await;
    for signal in ["metrics", "logs", "traces"] {
        let found = hours(&directory.path().join("data"), signal);
        assert_eq!(found[..2], ["1970/01/01/00".to_owned(), hour_of(last_year)], "{signal}");
        // The record without a time, unless the hour changed in between.
        let now = [hour_of(received - 3600 * SECOND_NS), hour_of(received)];
        assert!(found.len() == 3 && now.contains(&found[2]), "{signal}: {found:?}");
    }
}

/// The last nanosecond that a timestamp can hold, where the bound on the future lets it in.
#[tokio::test]
async fn the_last_nanosecond_is_stored_in_its_hour_and_read_back() {
    let server =
        TestServer::start_with(|config| config.ingest.max_future = "10000000000s".parse().unwrap()).await;
    check_stored(&server.client("acme").await, MAX_NS, "record").await;
    let server = server.restart().await;
    for signal in ["metrics", "logs", "traces"] {
        assert_eq!(hours(&server.data_dir(), signal), ["2262/04/11/23"], "{signal}");
        let sql =
            format!("SELECT timestamp FROM {signal} WHERE timestamp > TIMESTAMP '2262-01-01T00:00:00Z'");
        server.client("acme").await.assert_rows(&sql, "timestamp\n2262-04-11T23:47:16.854775807Z").await;
    }
}

#[tokio::test]
async fn an_observed_time_stands_in_for_a_missing_one_and_is_held_to_the_same_bounds() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let observed = |observed_time_unix_nano| LogRecord { observed_time_unix_nano, ..log(0, "observed") };
    client.send(logs("api", vec![observed(BASE_NS)])).await;
    client
        .assert_rows(
            "SELECT timestamp, timestamp_source FROM logs",
            "timestamp | timestamp_source
             2025-01-01T00:00:00Z | observed",
        )
        .await;
    for (time, reason) in
        [(u64::MAX, "observed_time_unix_nano is past 2262"), (now_ns() + YEAR_NS, "ingest.max_future")]
    {
        let rejected = client.export(logs("api", vec![observed(time), observed(1)])).await.unwrap();
        assert!(rejected.count == 1 && rejected.message.contains(reason), "{rejected:?}");
    }
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 3);
}

/// A record may be as late as it wants; only the future has a bound, and it is kept to the end.
#[tokio::test]
async fn a_time_within_the_bound_on_the_future_is_stored_and_one_past_it_is_not() {
    let server = TestServer::start_with(|config| config.ingest.max_future = "2h".parse().unwrap()).await;
    let client = server.client("acme").await;
    check_stored(&client, now_ns() + 7000 * SECOND_NS, "record").await;
    let late = client.export(logs("api", vec![log(now_ns() + 7300 * SECOND_NS, "x")])).await.unwrap();
    assert_eq!(late.count, 1);
    assert!(late.message.contains("7200s"), "{}", late.message);
}
