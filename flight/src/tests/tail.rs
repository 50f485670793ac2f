//! Tails, as a client sees them.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightDescriptor, FlightInfo};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use serde_json::Value;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request as Call, Status};

use super::fixture::TestServer;

const TENANT: &str = "default";
const BODIES: &str = "SELECT body, service_name FROM logs";

/// A tail that is being read.
struct Reader {
    messages: FlightDataDecoder,
    cursor: u64,
    missed: u64,
}

fn headers(from: Option<u64>) -> MetadataMap {
    let mut headers = MetadataMap::new();
    headers.insert("x-alula-tail", "true".parse().unwrap());
    if let Some(from) = from {
        headers.insert("x-alula-tail-from", from.to_string().parse().unwrap());
    }
    headers
}

async fn info(server: &TestServer, sql: &str, from: Option<u64>) -> Result<FlightInfo, Status> {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    let mut call = Call::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    *call.metadata_mut() = headers(from);
    Ok(server.client().into_inner().get_flight_info(call).await?.into_inner())
}

async fn read(server: &TestServer, info: FlightInfo) -> Result<Reader, Status> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let messages = server.client().into_inner().do_get(ticket).await?.into_inner();
    let messages = FlightDataDecoder::new(messages.map_err(Into::into));
    Ok(Reader { messages, cursor: 0, missed: 0 })
}

async fn tail(server: &TestServer, sql: &str, from: Option<u64>) -> Reader {
    let info = info(server, sql, from).await.unwrap_or_else(|status| panic!("{sql}: {status}"));
    read(server, info).await.unwrap()
}

impl Reader {
    /// The next batch; it may be empty.
    async fn next(&mut self) -> Result<RecordBatch, arrow_flight::error::FlightError> {
        loop {
            let message = self.messages.next().await.expect("a tail ends with an error only")?;
            let DecodedPayload::RecordBatch(batch) = message.payload else { continue };
            let said: Value = serde_json::from_slice(&message.inner.app_metadata).unwrap();
            let cursor = said["cursor"].as_u64().unwrap();
            assert!(cursor >= self.cursor, "a cursor never goes back");
            self.cursor = cursor;
            self.missed += said["missed"].as_u64().unwrap_or(0);
            return Ok(batch);
        }
    }

    /// The first column of the next `count` rows.
    async fn rows(&mut self, count: usize) -> Vec<String> {
        let mut rows = Vec::new();
        while rows.len() < count {
            let batch = self.next().await.unwrap();
            let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            rows.extend(column.as_string::<i32>().iter().map(|value| value.unwrap_or_default().to_owned()));
        }
        assert_eq!(rows.len(), count, "{rows:?}");
        rows
    }
}

#[tokio::test]
async fn rows_come_as_they_are_acknowledged_and_not_those_from_before() {
    let server = TestServer::start().await;
    server.append_logs(TENANT, &[(1, "old", "{}")]).await;
    let mut tail = tail(&server, BODIES, None).await;
    assert_eq!(tail.next().await.unwrap().num_rows(), 0, "says where it begins");
    let begins = tail.cursor;
    server.append_logs("other", &[(1, "foreign", "{}")]).await;
    server.append_logs(TENANT, &[(1, "a", "{}"), (2, "b", "{}")]).await;
    assert_eq!(tail.rows(2).await, ["body 0", "body 1"]);
    assert!(tail.cursor > begins);
    server.storage.flush().await.unwrap();
    server.append_logs(TENANT, &[(3, "c", "{}")]).await;
    assert_eq!(tail.rows(1).await, ["body 0"]);
}

#[tokio::test]
async fn nothing_is_lost_between_asking_for_a_tail_and_reading_it() {
    let server = TestServer::start().await;
    let info = info(&server, BODIES, None).await.unwrap();
    server.append_logs(TENANT, &[(1, "a", "{}")]).await;
    let mut tail = read(&server, info).await.unwrap();
    assert_eq!(tail.rows(1).await, ["body 0"]);
}

#[tokio::test]
async fn the_same_sql_filters_and_computes() {
    let server = TestServer::start().await;
    let sql = "SELECT upper(service_name) || coalesce(attributes->>'k', '-') AS x FROM \
               (SELECT * FROM logs l WHERE l.service_name <> 'b') AS s WHERE timestamp > TIMESTAMP '1970-01-01T00:00:00.000000001Z'";
    let mut tail = tail(&server, sql, None).await;
    server.append_logs(TENANT, &[(1, "a", "{}"), (2, "b", "{}")]).await;
    server.append_logs(TENANT, &[(2, "c", r#"{"k":"v"}"#), (3, "b", "{}"), (4, "d", "{}")]).await;
    assert_eq!(tail.rows(2).await, ["Cv", "D-"]);
}

/// Scenario: 40 entries, in files by other columns' order and in the buffer; the reader leaves after some and comes again.
/// Guarantees: every row once, in the order of the entries.
#[tokio::test]
async fn a_tail_is_resumed_at_a_cursor_with_every_row_once_and_in_order() {
    let server = TestServer::start().await;
    for entry in 0..40_i64 {
        // Later entries are of earlier times and services, so that files have another order.
        let service = format!("s{:02}", 40 - entry);
        server.append_logs(TENANT, &[(4_000_000_000_000 - entry, &service, "{}"), (1, &service, "{}")]).await;
        if entry % 15 == 14 {
            server.storage.flush().await.unwrap();
        }
    }
    server.storage.compact(None, None).await.unwrap();
    let sql = "SELECT service_name, ingest_seq FROM logs";
    let (mut rows, mut cursor) = (Vec::new(), 0);
    while rows.len() < 80 {
        let mut tail = tail(&server, sql, Some(cursor)).await;
        // Two batches each time: the one that says where it begins, and one with rows.
        for _ in 0..2 {
            let batch = tail.next().await.unwrap();
            let services = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            rows.extend(services.as_string::<i32>().iter().map(|service| service.unwrap().to_owned()));
        }
        cursor = tail.cursor;
    }
    let expected: Vec<String> = (0..40).flat_map(|entry| vec![format!("s{:02}", 40 - entry); 2]).collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn more_rows_than_are_looked_at_at_once_come_all_once_and_in_order() {
    let server = TestServer::start().await;
    let rows: Vec<(i64, &str, &str)> = (0..3_000).map(|i| (i, "s", "{}")).collect();
    for _ in 0..7 {
        server.append_logs(TENANT, &rows).await;
    }
    // One that alone is larger than a look.
    let large: Vec<(i64, &str, &str)> = (0..20_000).map(|i| (i, "large", "{}")).collect();
    server.append_logs(TENANT, &large).await;
    server.append_logs(TENANT, &[(1, "last", "{}")]).await;
    let mut tail = tail(&server, "SELECT service_name, ingest_seq FROM logs", Some(0)).await;
    let mut seqs: Vec<u64> = Vec::new();
    while seqs.len() < 41_001 {
        let before = tail.cursor;
        let batch = tail.next().await.unwrap();
        let column = arrow::compute::cast(batch.column(1), &arrow::datatypes::DataType::UInt64).unwrap();
        let column = column.as_primitive::<arrow::datatypes::UInt64Type>().values().to_vec();
        assert!(column.iter().all(|seq| *seq > before), "a cursor said that these had come");
        seqs.extend(column);
    }
    assert!(seqs.is_sorted());
    for entry in 1..=9 {
        let expected = match entry {
            8 => 20_000,
            9 => 1,
            _ => 3_000,
        };
        assert_eq!(seqs.iter().filter(|seq| **seq == entry).count(), expected, "entry {entry}");
    }
    assert_eq!(tail.cursor, 9);
}

/// Scenario: memory for a few thousand of the rows, of which there are more than a look is for.
#[tokio::test]
async fn wide_rows_come_all_once_and_in_order_in_little_memory() {
    let server = TestServer::start_with(|config| config.memory_limit_bytes = 8 << 20).await;
    let rows: Vec<(i64, &str, &str)> = (0..1_000).map(|i| (i, "s", "{}")).collect();
    for _ in 0..12 {
        server.append_logs(TENANT, &rows).await;
    }
    let sql = "SELECT arrow_cast(ingest_seq, 'Utf8') AS seq, repeat(body, 500) AS wide FROM logs";
    let mut tail = tail(&server, sql, Some(0)).await;
    let seqs: Vec<u64> = tail.rows(12_000).await.iter().map(|seq| seq.parse().unwrap()).collect();
    assert!(seqs.is_sorted());
    assert!((1..=12).all(|entry| seqs.iter().filter(|seq| **seq == entry).count() == 1_000));
}

#[tokio::test]
async fn a_tail_is_on_the_list_of_queries_with_what_it_has_sent() {
    let server = TestServer::start().await;
    let mut tail = tail(&server, BODIES, Some(0)).await;
    for _ in 0..3 {
        server.append_logs(TENANT, &[(1, "a", "{}"), (2, "b", "{}")]).await;
        tail.rows(2).await;
    }
    let listed = server.table(
        "SELECT state, rows, rows_scanned >= 6 AS scanned, progress < 0.1 AS endless, memory_peak_bytes > 0 AS counted
         FROM system.queries WHERE sql LIKE '%service_name FROM logs'",
    );
    let expected = "\
+-----------+------+---------+---------+---------+
| state     | rows | scanned | endless | counted |
+-----------+------+---------+---------+---------+
| streaming | 6    | true    | true    | true    |
+-----------+------+---------+---------+---------+";
    assert_eq!(listed.await, expected);
}

#[tokio::test]
async fn a_tail_is_described_alike_wherever_it_is_asked_for() {
    let server = TestServer::start().await;
    let promised = info(&server, BODIES, None).await.unwrap().schema;
    let schema = async |sql: &str| {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let mut call = Call::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
        *call.metadata_mut() = headers(None);
        server.client().into_inner().get_schema(call).await.map(|schema| schema.into_inner().schema)
    };
    assert_eq!(schema(BODIES).await.unwrap(), promised);
    let described = arrow::datatypes::Schema::try_from(arrow_flight::IpcMessage(promised)).unwrap();
    assert_eq!(described.field(0).metadata()["ARROW:FLIGHT:SQL:TABLE_NAME"], "logs");
    let refused = schema("SELECT count(*) FROM logs").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

#[tokio::test]
async fn tables_are_listed_where_queries_are_tails() {
    let server = TestServer::start().await;
    let mut call = Call::new(arrow_flight::Criteria::default());
    *call.metadata_mut() = headers(None);
    let flights = server.client().into_inner().list_flights(call).await.unwrap().into_inner();
    assert!(flights.try_collect::<Vec<_>>().await.unwrap().len() > 10);
}

#[tokio::test]
async fn deleted_rows_do_not_come() {
    let server = TestServer::start().await;
    server.append_logs(TENANT, &[(1, "a", "{}"), (2, "b", "{}")]).await;
    server
        .client()
        .execute_update("DELETE FROM logs WHERE service_name = 'a'".to_owned(), None)
        .await
        .unwrap();
    let mut tail = tail(&server, "SELECT service_name FROM logs", Some(0)).await;
    assert_eq!(tail.rows(1).await, ["b"]);
}

#[tokio::test]
async fn a_reader_that_is_too_far_behind_is_told_how_many_rows_it_missed() {
    let server = TestServer::start_with(|config| config.tail.max_backlog_rows = 5).await;
    server.append_logs(TENANT, &[(1, "a", "{}"); 4]).await;
    server.append_logs(TENANT, &[(1, "b", "{}"); 4]).await;
    // The filter counts: four rows are no more than five.
    let mut few = tail(&server, "SELECT service_name FROM logs WHERE service_name = 'b'", Some(0)).await;
    assert_eq!(few.rows(4).await, ["b"; 4]);
    assert_eq!(few.missed, 0);
    let mut all = tail(&server, "SELECT service_name FROM logs", Some(0)).await;
    for _ in 0..2 {
        assert_eq!(all.next().await.unwrap().num_rows(), 0);
    }
    assert_eq!((all.missed, all.cursor), (8, 2));
    server.append_logs(TENANT, &[(1, "c", "{}")]).await;
    assert_eq!(all.rows(1).await, ["c"]);
    assert_eq!(all.missed, 8);
}

#[tokio::test]
async fn a_silent_tail_shows_that_it_is_alive() {
    let server = TestServer::start_with(|config| config.tail.keep_alive = Duration::from_millis(1)).await;
    let mut tail = tail(&server, BODIES, None).await;
    for _ in 0..5 {
        assert_eq!(tail.next().await.unwrap().num_rows(), 0);
    }
}

#[tokio::test]
async fn views_can_be_followed() {
    let server = TestServer::start().await;
    for sql in ["SELECT * FROM span_events", "SELECT event_name, trace_id FROM span_events WHERE name = 'x'"]
    {
        let mut tail = tail(&server, sql, Some(0)).await;
        assert_eq!(tail.next().await.unwrap().num_rows(), 0);
    }
}

#[tokio::test]
async fn what_is_more_than_a_selection_of_rows_is_refused_with_its_name() {
    let server = TestServer::start().await;
    for (sql, name) in [
        ("SELECT body FROM logs ORDER BY timestamp", "ORDER BY"),
        ("SELECT body FROM logs LIMIT 1", "LIMIT"),
        ("SELECT count(*) FROM logs", "aggregate"),
        ("SELECT DISTINCT body FROM logs", "DISTINCT"),
        ("SELECT l.body FROM logs l JOIN traces t ON l.trace_id = t.trace_id", "a join"),
        ("SELECT body FROM logs UNION ALL SELECT body FROM logs", "UNION"),
        ("SELECT row_number() OVER (ORDER BY timestamp) FROM logs", "window"),
        ("SELECT body FROM logs WHERE trace_id IN (SELECT trace_id FROM traces)", "a subquery"),
        ("SELECT (SELECT max(timestamp) FROM traces) FROM logs", "a subquery"),
        ("SELECT 1", "no table"),
        ("SELECT * FROM system.deletions", "a table of another kind"),
        ("EXPLAIN SELECT body FROM logs", "this kind"),
        ("DELETE FROM logs WHERE true", "changes something"),
    ] {
        let refused = info(&server, sql, None).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{sql}: {refused}");
        assert!(refused.message().contains(name), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_tails_and_the_place_of_one_that_is_left_is_free() {
    let server = TestServer::start_with(|config| config.tail.max_per_tenant = 2).await;
    let first = tail(&server, BODIES, None).await;
    let _second = tail(&server, BODIES, None).await;
    let ticket = info(&server, BODIES, None).await.unwrap();
    let refused = read(&server, ticket.clone()).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let listed =
        server.table("SELECT state, error LIKE '%tails are open%' AS said FROM system.queries").await;
    assert!(listed.contains("| failed    | true"), "{listed}");
    drop(first);
    let freed = async {
        while read(&server, ticket.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_tails_with_an_error() {
    let server = TestServer::start().await;
    let mut tail = tail(&server, BODIES, None).await;
    tail.next().await.unwrap();
    server.flight.end_tails();
    let ended = super::fixture::as_status(tail.next().await.unwrap_err());
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
}
