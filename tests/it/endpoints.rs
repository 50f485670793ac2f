//! A big result from several endpoints, by several clients at once.

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use arrow_flight::FlightInfo;
use futures::future::join_all;

use crate::fixture::otlp::{BASE_NS, SECOND_NS, log, logs};
use crate::fixture::{Client, Process, descriptor, statement};

const ROWS: &str = "SELECT timestamp, ingest_seq FROM logs";
const NUM_REQUESTS: u64 = 20;
const ROWS_OF_REQUEST: u64 = 500;

async fn send(client: &Client, request: u64) {
    let record = |number| log(BASE_NS + (number * NUM_REQUESTS + request) * SECOND_NS, "a record");
    client.send(logs("shop", (0..ROWS_OF_REQUEST).map(record).collect())).await;
}

async fn info(client: &Client, endpoints: &str) -> FlightInfo {
    let mut request = client.request(descriptor(&statement(ROWS)));
    request.metadata_mut().insert("x-alula-endpoints", endpoints.parse().unwrap());
    client.flight().get_flight_info(request).await.unwrap().into_inner()
}

/// What makes a row different from all others.
fn keys(rows: &RecordBatch) -> Vec<(i64, u64)> {
    let times = rows.column(0).as_primitive::<TimestampNanosecondType>().values();
    let entries = rows.column(1).as_primitive::<UInt64Type>().values();
    times.iter().copied().zip(entries.iter().copied()).collect()
}

/// Scenario: the binary, with a flush every second; each endpoint has a client and a connection of its own, all fetch at once
/// and several times, while rows come.
/// Guarantees: together they have every row that was there when the info was made, once, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_fetch_in_parallel_have_every_row_once_while_rows_come() {
    let server = Process::start(&["--flush-interval", "1s"]).await;
    let client = server.client("acme").await;
    for request in 0..NUM_REQUESTS / 2 {
        send(&client, request).await;
    }
    let mut expected = keys(&client.rows(ROWS).await);
    expected.sort_unstable();
    assert_eq!(expected.len() as u64, NUM_REQUESTS / 2 * ROWS_OF_REQUEST);
    let info = info(&client, "8").await;
    assert_eq!(info.endpoint.len(), 8);

    let sending = async {
        for request in NUM_REQUESTS / 2..NUM_REQUESTS {
            send(&client, request).await;
        }
    };
    let fetching = join_all(info.endpoint.iter().map(async |endpoint| {
        let one = FlightInfo { endpoint: vec![endpoint.clone()], ..info.clone() };
        let own = server.client("acme").await;
        let rows = keys(&own.fetch(&one).await.unwrap().rows());
        assert!(!rows.is_empty());
        assert_eq!(keys(&own.fetch(&one).await.unwrap().rows()).len(), rows.len());
        rows
    }));
    let (parts, ()) = futures::future::join(fetching, sending).await;
    let mut fetched = parts.concat();
    fetched.sort_unstable();
    assert!(fetched == expected);
    let all = client.count("SELECT count(*) FROM logs").await;
    assert_eq!(all as u64, NUM_REQUESTS * ROWS_OF_REQUEST);
}
