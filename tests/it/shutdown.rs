//! What a drain finishes, tells and leaves behind.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::fixture::otlp::{BASE_NS, gauge, int_point, metrics};
use crate::fixture::{
    Client, Process, TestServer, body_of, eventually, frame, signal, statement, ticket, within_bound,
};

/// Waits until the server says that it drains.
async fn told_to_go_away(mut watch: tonic::Streaming<tonic_health::pb::HealthCheckResponse>) {
    let told = within_bound("the health watch", watch.message()).await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
}

async fn watch(client: &Client) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(client.channel()).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    watch
}

fn parquet_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                assert_eq!(
                    path.extension().unwrap_or_default(),
                    "parquet",
                    "{} was left behind",
                    path.display()
                );
                files.push(path);
            }
        }
    }
    files
}

/// How often each `value_int` is in the metric files.
fn stored_values(data_dir: &Path) -> HashMap<i64, usize> {
    let mut found = HashMap::new();
    for path in parquet_files(&data_dir.join("data")) {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            for value in
                batch.column_by_name("value_int").unwrap().as_primitive::<Int64Type>().iter().flatten()
            {
                *found.entry(value).or_default() += 1;
            }
        }
    }
    found
}

#[tokio::test]
async fn a_running_query_is_read_to_its_end_during_the_drain() {
    const ROWS: usize = 2_000_000;
    let mut server = Process::start(&["--shutdown-grace", "100s"]).await;
    let client = server.client("acme").await;
    let watch = watch(&client).await;
    let sql = format!("SELECT * FROM generate_series(1, {ROWS})");
    let info = client.flight_info(statement(&sql)).await.unwrap();
    let messages = client.flight().do_get(client.request(ticket(&info))).await.unwrap().into_inner();
    let mut stream = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
    // Far more rows follow than are on their way now.
    let mut rows = stream.next().await.unwrap().unwrap().num_rows();

    server.terminate();
    told_to_go_away(watch).await;
    while let Some(batch) = within_bound("the rest of the rows", stream.next()).await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, ROWS);
    let status = server.exited().await;
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn an_export_on_its_way_is_stored_and_acknowledged_during_the_drain() {
    let mut server = Process::start(&["--shutdown-grace", "100s"]).await;
    let client = server.client("acme").await;
    let watch = watch(&client).await;
    let message = metrics("api", vec![gauge("g", vec![int_point(BASE_NS, 42)])]).encode_to_vec();
    let framed = frame(false, &message);
    let (first, second) = (framed.slice(..10), framed.slice(10..));
    let (parts, body) = mpsc::channel(1);
    let body = body_of(ReceiverStream::new(body));
    let sender = client.clone();
    let export = tokio::spawn(async move {
        sender.post("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", &[], body).await.status
    });
    parts.send(first).await.unwrap();
    // The call is open on the server once a later one on the same connection has been answered.
    assert_eq!(client.health().await, ServingStatus::Serving);

    server.terminate();
    told_to_go_away(watch).await;
    parts.send(second).await.unwrap();
    drop(parts);
    let status = within_bound("the acknowledgement", export).await.unwrap();
    assert_eq!(status.code(), Code::Ok, "{status}");
    assert_eq!(server.exited().await.code(), Some(0), "{}", server.log());
    assert_eq!(stored_values(&server.data_dir()), HashMap::from([(42, 1)]));
}

#[tokio::test]
async fn after_a_drain_under_load_all_that_was_acknowledged_is_in_files_once() {
    let mut server = Process::start(&[]).await;
    let client = server.client("acme").await;
    let next = Arc::new(AtomicI64::new(0));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let request = metrics("api", vec![gauge("g", vec![int_point(BASE_NS, number)])]);
                    match client.export(request).await {
                        Ok(_) => acknowledged.push(number),
                        Err(_) => return acknowledged,
                    }
                }
            })
        })
        .collect();
    eventually("some load", async || (next.load(Ordering::Relaxed) > 200).then_some(())).await;
    server.terminate();
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(within_bound("a sender", sender).await.unwrap());
    }
    assert_eq!(server.exited().await.code(), Some(0), "{}", server.log());
    let stored = stored_values(&server.data_dir());
    assert!(acknowledged.len() > 100);
    for number in acknowledged {
        assert_eq!(stored.get(&number), Some(&1), "{number}");
    }
    assert!(stored.values().all(|count| *count == 1));
}

#[tokio::test]
async fn calls_after_the_signal_are_turned_away_and_the_ready_file_is_gone() {
    let mut server = Process::start(&["--shutdown-grace", "100s"]).await;
    let client = server.client("acme").await;
    let watch = watch(&client).await;
    assert!(server.ready_file().exists());
    // Holds the drain up until this test is done with it.
    let info = client.flight_info(statement("SELECT * FROM generate_series(1, 2000000)")).await.unwrap();
    let stream = client.flight().do_get(client.request(ticket(&info))).await.unwrap();

    server.terminate();
    told_to_go_away(watch).await;
    assert!(!server.ready_file().exists());
    let refused = async || tokio::net::TcpStream::connect(server.addr()).await.err();
    let error = eventually("the port to close", refused).await;
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    drop(stream);
    assert_eq!(server.exited().await.code(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn a_query_that_outlasts_the_grace_period_ends_with_an_error_and_not_with_a_short_answer() {
    let mut server = Process::start(&["--shutdown-grace", "100ms"]).await;
    let client = server.client("acme").await;
    let sql = "SELECT * FROM generate_series(1, 1000000000000)";
    let info = client.flight_info(statement(sql)).await.unwrap();
    let mut messages = client.flight().do_get(client.request(ticket(&info))).await.unwrap().into_inner();
    messages.message().await.unwrap().unwrap();
    server.terminate();
    let reading = async {
        loop {
            match messages.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended as if it had all rows"),
                Err(status) => return status,
            }
        }
    };
    let status = within_bound("the end of the stream", reading).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(server.exited().await.code(), Some(0), "{}", server.log());
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_drain_up_no_longer_than_the_grace_period() {
    let mut server = Process::start(&["--shutdown-grace", "100ms"]).await;
    let client = server.client("acme").await;
    let info =
        client.flight_info(statement("SELECT * FROM generate_series(1, 1000000000000)")).await.unwrap();
    let unread = client.flight().do_get(client.request(ticket(&info))).await.unwrap();
    client.send(metrics("api", vec![gauge("g", vec![int_point(BASE_NS, 1)])])).await;
    server.terminate();
    assert_eq!(server.exited().await.code(), Some(0), "{}", server.log());
    assert_eq!(stored_values(&server.data_dir()), HashMap::from([(1, 1)]));
    drop(unread);
}

#[tokio::test]
async fn an_interrupt_drains_as_well() {
    let mut server = Process::start(&[]).await;
    let client = server.client("acme").await;
    client.send(metrics("api", vec![gauge("g", vec![int_point(BASE_NS, 7)])])).await;
    signal("INT", server.pid());
    assert_eq!(server.exited().await.code(), Some(0), "{}", server.log());
    assert_eq!(stored_values(&server.data_dir()), HashMap::from([(7, 1)]));
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once_and_loses_nothing() {
    let mut server = Process::start(&["--shutdown-grace", "1h"]).await;
    let client = server.client("acme").await;
    client.send(metrics("api", vec![gauge("g", vec![int_point(BASE_NS, 7)])])).await;
    let watch = watch(&client).await;
    let info =
        client.flight_info(statement("SELECT * FROM generate_series(1, 1000000000000)")).await.unwrap();
    let unread = client.flight().do_get(client.request(ticket(&info))).await.unwrap();
    server.terminate();
    told_to_go_away(watch).await;
    server.terminate();
    assert_eq!(server.exited().await.code(), Some(130), "{}", server.log());
    drop(unread);
    let server = server.start_again(&[]).await;
    assert_eq!(
        server.client("acme").await.count("SELECT count(*) FROM metrics WHERE value_int = 7").await,
        1
    );
}

#[tokio::test]
async fn rows_are_the_same_after_the_drain_and_a_new_start() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for number in 0..10 {
        client.send(metrics("api", vec![gauge("g", vec![int_point(BASE_NS + number, number as i64)])])).await;
    }
    let sql = "SELECT value_int, ingest_seq, ingested_at FROM metrics ORDER BY timestamp";
    let before = client.query(sql).await.unwrap().to_bytes();
    let server = server.restart().await;
    assert_eq!(stored_values(&server.data_dir()).len(), 10);
    assert!(before == server.client("acme").await.query(sql).await.unwrap().to_bytes());
    // New rows get new numbers.
    let client = server.client("acme").await;
    client.send(metrics("api", vec![gauge("g", vec![int_point(BASE_NS, 99)])])).await;
    let unique = "SELECT count(DISTINCT ingest_seq) FROM metrics";
    assert_eq!(client.count(unique).await, 11);
    let directory = server.shutdown().await;
    assert_eq!(stored_values(&directory.path().join("data")).len(), 11);
}
