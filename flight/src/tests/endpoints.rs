//! Several endpoints: that the parts of a query are the query, whatever happens between the calls.

use std::collections::BTreeSet;
use std::sync::Arc;

use alula_auth::AuthLayer;
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use arrow::util::pretty::pretty_format_batches;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{
    CancelFlightInfoRequest, FlightDescriptor, FlightEndpoint, FlightInfo, RenewFlightEndpointRequest,
};
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request as Call, Status};

use super::fixture::{Client, TestServer, act, fetch};
use super::sessions::{carried, set};
use super::transactions::begin;
use crate::session::messages::OptionValue;

const TENANT: &str = "default";
const ROWS: &str = "SELECT timestamp, service_name, body, ingest_seq FROM logs";
const NUM_ROWS: usize = 600;
const NUM_HOURS: usize = 10;

/// Where the rows are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Buffer,
    Files,
    Both,
    CompactedFiles,
}

/// Two requests with the same times in ten hours, one of them before 1970.
async fn append(server: &TestServer) {
    let services = ["a", "b", "c"];
    let row = |i: i64| ((i - 30) * 120_000_000_000, services[i as usize % 3], "{}");
    server.append_logs(TENANT, &(0..300).map(row).collect::<Vec<_>>()).await;
}

async fn server_with_rows(place: Place) -> TestServer {
    let server = TestServer::start().await;
    append(&server).await;
    if matches!(place, Place::Both | Place::CompactedFiles) {
        server.storage.flush().await.unwrap();
    }
    append(&server).await;
    if matches!(place, Place::Files | Place::CompactedFiles) {
        server.storage.flush().await.unwrap();
    }
    if place == Place::CompactedFiles {
        server.storage.compact(None, None).await.unwrap();
    }
    server
}

fn headers(endpoints: &str) -> MetadataMap {
    let mut headers = MetadataMap::new();
    headers.insert("x-alula-endpoints", endpoints.parse().unwrap());
    headers
}

fn command(sql: &str) -> FlightDescriptor {
    command_in(sql, None)
}

fn command_in(sql: &str, transaction_id: Option<Bytes>) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

async fn info_of(
    client: Client,
    command: FlightDescriptor,
    headers: &MetadataMap,
) -> Result<FlightInfo, Status> {
    let mut call = Call::new(command);
    *call.metadata_mut() = headers.clone();
    Ok(client.into_inner().get_flight_info(call).await?.into_inner())
}

async fn info(server: &TestServer, sql: &str, endpoints: usize) -> FlightInfo {
    let info = info_of(server.client(), command(sql), &headers(&endpoints.to_string())).await;
    info.unwrap_or_else(|status| panic!("{sql}: {status}"))
}

/// The rows as lines, in no order.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = |line: &str| line.split('|').map(str::trim).collect::<Vec<_>>().join("|");
    let mut lines: Vec<_> = rows.map(cells).collect();
    lines.sort_unstable();
    lines
}

/// The rows of each endpoint, fetched from the last to the first. Their schema is the one that was promised.
async fn parts(client: &mut Client, info: &FlightInfo) -> Vec<Vec<RecordBatch>> {
    let mut parts = Vec::new();
    for endpoint in info.endpoint.iter().rev() {
        let one = FlightInfo { endpoint: vec![endpoint.clone()], ..info.clone() };
        parts.push(fetch(client, one).await.1);
    }
    parts
}

async fn union(server: &TestServer, info: &FlightInfo) -> Vec<String> {
    lines(&parts(&mut server.client(), info).await.concat())
}

async fn execute(server: &TestServer, sql: &str) {
    server.client().execute_update(sql.to_owned(), None).await.unwrap();
}

async fn cancel(server: &TestServer, info: FlightInfo) -> Result<(), Status> {
    let request = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
    act(server.client(), "CancelFlightInfo", request, &MetadataMap::new()).await.map(|_| ())
}

#[tokio::test]
async fn the_parts_of_a_query_are_the_query_wherever_its_rows_are() {
    for place in [Place::Buffer, Place::Files, Place::Both, Place::CompactedFiles] {
        let server = server_with_rows(place).await;
        for sql in [
            ROWS,
            "SELECT * FROM logs",
            "SELECT upper(s.service_name) AS name, ingest_seq * 2, s.timestamp FROM
                (SELECT * FROM logs l WHERE l.service_name <> 'b') AS s WHERE timestamp < TIMESTAMP '1970-01-01T05:00:00Z'",
            "SELECT body FROM logs WHERE timestamp BETWEEN '1970-01-01T02:00:00Z' AND '1970-01-01T02:10:00Z'",
            "SELECT body FROM logs WHERE service_name = 'nobody'",
            "SELECT body FROM logs WHERE false",
        ] {
            let whole = lines(&server.rows(sql).await);
            let numbers: &[usize] = if sql == ROWS { &[1, 2, 3, 7, 64] } else { &[3, 7] };
            for &number in numbers {
                let info = info(&server, sql, number).await;
                assert!(info.endpoint.len() <= number, "{sql} of {place:?} in {number}");
                assert_eq!((info.ordered, info.total_records), (false, -1));
                assert!(union(&server, &info).await == whole, "{sql} of {place:?} in {number}");
            }
        }
    }
}

#[tokio::test]
async fn there_are_as_many_endpoints_as_are_asked_for_and_they_are_of_similar_size() {
    for place in [Place::Buffer, Place::Files, Place::Both, Place::CompactedFiles] {
        let server = server_with_rows(place).await;
        for number in [1, 2, 3, 7, 64] {
            let info = info(&server, ROWS, number).await;
            assert_eq!(info.endpoint.len(), number, "{place:?}");
            for part in parts(&mut server.client(), &info).await {
                let rows: usize = part.iter().map(RecordBatch::num_rows).sum();
                let mean = NUM_ROWS / number;
                assert!(rows > mean / 3 && rows < mean * 2, "{rows} of {mean} in {place:?}");
            }
        }
        // The filter decides how many rows there are when.
        let filtered = format!("{ROWS} WHERE timestamp >= '1970-01-01T06:00:00Z'");
        for part in parts(&mut server.client(), &info(&server, &filtered, 3).await).await {
            let rows: usize = part.iter().map(RecordBatch::num_rows).sum();
            assert!(rows > 20 && rows < 90, "{rows} in {place:?}");
        }
    }
}

#[tokio::test]
async fn without_asking_there_is_one_endpoint_and_it_is_not_held_back() {
    let server = server_with_rows(Place::Buffer).await;
    let info = server.client().execute(ROWS.to_owned(), None).await.unwrap();
    append(&server).await;
    let (_, rows) = fetch(&mut server.client(), info).await;
    assert_eq!(lines(&rows).len(), NUM_ROWS + 300);
}

#[tokio::test]
async fn rows_that_come_after_the_info_are_in_no_part_and_those_from_before_in_one() {
    let server = server_with_rows(Place::Both).await;
    let whole = lines(&server.rows(ROWS).await);
    let info = info(&server, ROWS, 5).await;
    for step in 0..4 {
        match step {
            1 => server.storage.flush().await.unwrap(),
            2 => drop(server.storage.compact(None, None).await.unwrap()),
            _ => append(&server).await,
        }
        assert!(union(&server, &info).await == whole, "after step {step}");
    }
}

#[tokio::test]
async fn rows_that_are_deleted_after_the_info_are_gone() {
    let server = server_with_rows(Place::Both).await;
    let info = info(&server, ROWS, 3).await;
    execute(&server, "DELETE FROM logs WHERE service_name = 'a'").await;
    let rest = union(&server, &info).await;
    assert_eq!(rest.len(), NUM_ROWS * 2 / 3);
    assert!(rest == lines(&server.rows(ROWS).await));
}

#[tokio::test]
async fn an_empty_table_has_one_part_and_what_comes_after_the_info_is_not_in_it() {
    let server = TestServer::start().await;
    let info = info(&server, ROWS, 7).await;
    assert_eq!(info.endpoint.len(), 1);
    append(&server).await;
    assert!(union(&server, &info).await.is_empty());
}

#[tokio::test]
async fn what_is_more_than_a_selection_of_rows_of_one_table_has_one_endpoint() {
    let server = server_with_rows(Place::Both).await;
    server.client().execute_update("CREATE TABLE own (a BIGINT)".to_owned(), None).await.unwrap();
    for sql in [
        "SELECT count(*) FROM logs",
        "SELECT service_name, max(timestamp) FROM logs GROUP BY service_name",
        "SELECT body FROM logs ORDER BY timestamp",
        "SELECT body FROM logs LIMIT 10",
        "SELECT body FROM logs OFFSET 10",
        "SELECT DISTINCT body FROM logs",
        "SELECT l.body FROM logs l JOIN traces t ON l.trace_id = t.trace_id",
        "SELECT body FROM logs UNION ALL SELECT body FROM logs",
        "SELECT row_number() OVER (ORDER BY timestamp) FROM logs",
        "SELECT body FROM logs WHERE trace_id IN (SELECT trace_id FROM traces)",
        "SELECT (SELECT max(timestamp) FROM traces) FROM logs",
        "SELECT body FROM logs WHERE random() < 0.5",
        "SELECT uuid() FROM logs",
        "WITH l AS (SELECT * FROM logs) SELECT count(*) FROM l",
        "SELECT * FROM system.deletions",
        "SELECT * FROM own",
        "SELECT * FROM generate_series(1, 100)",
        "SELECT 1",
        "EXPLAIN SELECT body FROM logs",
    ] {
        let info = info(&server, sql, 4).await;
        assert_eq!(info.endpoint.len(), 1, "{sql}");
        fetch(&mut server.client(), info).await;
    }
}

#[tokio::test]
async fn views_and_common_table_expressions_are_cut_like_tables() {
    let server = server_with_rows(Place::Both).await;
    let sql = "WITH l AS (SELECT body, timestamp FROM logs) SELECT body FROM l";
    assert_eq!(info(&server, sql, 4).await.endpoint.len(), 4);
    let view = info(&server, "SELECT event_name FROM span_events WHERE name = 'x'", 4).await;
    assert!(union(&server, &view).await.is_empty());
}

#[tokio::test]
async fn a_prepared_statement_is_cut_with_its_values_by_what_the_call_asks_for() {
    let server = server_with_rows(Place::Both).await;
    let mut client = server.client();
    let mut prepared = client.prepare(format!("{ROWS} WHERE service_name = ?"), None).await.unwrap();
    let values = StringArray::from(vec!["a"]);
    prepared.set_parameters(RecordBatch::try_from_iter([("0", Arc::new(values) as _)]).unwrap()).unwrap();
    // Binds, and asks for the one endpoint that it always asks for.
    let one = prepared.execute().await.unwrap();
    assert_eq!(one.endpoint.len(), 1);
    // The command with the handle that has the values.
    let command = one.flight_descriptor.clone().unwrap();
    let several = info_of(server.client(), command, &headers("4")).await.unwrap();
    assert_eq!(several.endpoint.len(), 4);
    let (_, whole) = fetch(&mut client, one).await;
    assert_eq!(union(&server, &several).await, lines(&whole));
}

#[tokio::test]
async fn in_a_transaction_the_parts_have_what_it_sees() {
    let server = server_with_rows(Place::Both).await;
    let whole = lines(&server.rows(ROWS).await);
    let id = begin(server.client()).await;
    append(&server).await;
    let info = info_of(server.client(), command_in(ROWS, Some(id)), &headers("3")).await.unwrap();
    assert_eq!(info.endpoint.len(), 3);
    assert!(union(&server, &info).await == whole);
}

#[tokio::test]
async fn a_session_can_ask_for_several_endpoints_for_all_of_its_calls() {
    let server = server_with_rows(Place::Both).await;
    let (errors, answer) =
        set(server.client(), &MetadataMap::new(), &[("endpoints", Some(OptionValue::Int64(3)))]).await;
    assert!(errors.is_empty());
    for mut headers in carried(&answer) {
        let info = info_of(server.client(), command(ROWS), &headers).await.unwrap();
        assert_eq!(info.endpoint.len(), 3);
        headers.insert("endpoints", "2".parse().unwrap());
        let info = info_of(server.client(), command(ROWS), &headers).await.unwrap();
        assert_eq!(info.endpoint.len(), 2, "the header of a call is heard first");
    }
}

#[tokio::test]
async fn a_number_of_endpoints_that_cannot_be_is_refused_with_those_that_can() {
    let server = TestServer::start().await;
    for value in ["0", "65", "-1", "many"] {
        let refused = info_of(server.client(), command(ROWS), &headers(value)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{value}: {refused}");
        assert!(refused.message().contains("a number from 1 to 64"), "{value}: {refused}");
    }
}

#[tokio::test]
async fn a_ticket_whose_part_was_altered_is_unknown() {
    let server = server_with_rows(Place::Files).await;
    let info = info(&server, ROWS, 2).await;
    let ticket = info.endpoint[1].ticket.clone().unwrap();
    let mut altered = 0;
    for index in 0..ticket.ticket.len() {
        let mut bytes = ticket.ticket.to_vec();
        bytes[index] ^= 1;
        let forged = arrow_flight::Ticket::new(bytes);
        // What is no ticket any more is another error.
        let refused = server.client().into_inner().do_get(forged).await.map(|_| ()).unwrap_err();
        altered += usize::from(refused.code() == Code::NotFound);
    }
    assert!(altered > ROWS.len(), "{altered}");
}

#[tokio::test]
async fn every_server_with_the_key_answers_a_part_and_one_that_is_renewed_stays_the_same() {
    let server = server_with_rows(Place::Both).await;
    let mut info = info(&server, ROWS, 3).await;
    append(&server).await;
    let expected = parts(&mut server.client(), &info).await;
    let mut other = server.other_server(AuthLayer::disabled()).await;
    assert_eq!(parts(&mut other, &info).await.concat().len(), expected.concat().len());
    for endpoint in &mut info.endpoint {
        let request = RenewFlightEndpointRequest { endpoint: Some(endpoint.clone()) }.encode_to_vec();
        let (renewed, _) =
            act(server.client(), "RenewFlightEndpoint", request, &MetadataMap::new()).await.unwrap();
        *endpoint = FlightEndpoint::decode(renewed).unwrap();
    }
    for client in [&mut server.client(), &mut other] {
        let again = parts(client, &info).await;
        for (again, expected) in again.iter().zip(&expected) {
            assert!(lines(again) == lines(expected));
        }
    }
}

#[tokio::test]
async fn cancelling_the_info_ends_all_parts_and_so_does_cancelling_one_of_them() {
    let server = TestServer::start().await;
    let rows: Vec<_> = (0..3_000).map(|i| (i, "s", "{}")).collect();
    server.append_logs(TENANT, &rows).await;
    for of_one in [false, true] {
        // More than is sent without being read.
        let info = info(&server, "SELECT repeat(body, 5000) FROM logs", 3).await;
        let mut streams = Vec::new();
        for endpoint in &info.endpoint[..2] {
            let ticket = endpoint.ticket.clone().unwrap();
            let mut stream = server.client().into_inner().do_get(ticket).await.unwrap().into_inner();
            stream.message().await.unwrap().unwrap();
            streams.push(stream);
        }
        let known = if of_one { vec![info.endpoint[2].clone()] } else { info.endpoint.clone() };
        cancel(&server, FlightInfo { endpoint: known, ..info.clone() }).await.unwrap();
        for stream in streams {
            let ended = stream.try_for_each(|_| std::future::ready(Ok(()))).await.unwrap_err();
            assert_eq!(ended.code(), Code::Cancelled, "{ended}");
        }
        for endpoint in &info.endpoint {
            let ticket = endpoint.ticket.clone().unwrap();
            let refused = server.client().into_inner().do_get(ticket).await.map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), Code::NotFound, "{refused}");
        }
    }
}

#[tokio::test]
async fn the_runs_of_the_parts_are_listed_by_one_id_and_each_reads_its_own_files() {
    let server = server_with_rows(Place::Files).await;
    let info = info(&server, ROWS, 5).await;
    parts(&mut server.client(), &info).await;
    let id = std::str::from_utf8(&info.app_metadata).unwrap();
    let sql = format!("SELECT files_read, rows FROM system.queries WHERE query_id = '{id}'");
    let listed = server.rows(&sql).await;
    let listed = concat_batches(&listed[0].schema(), &listed).unwrap();
    let sum = |column: usize| listed.column(column).as_primitive::<UInt64Type>().values().iter().sum::<u64>();
    assert_eq!(listed.num_rows(), 5);
    assert_eq!((sum(0), sum(1)), (NUM_HOURS as u64, NUM_ROWS as u64));
}

#[tokio::test]
async fn all_parts_have_the_time_at_which_the_info_was_made() {
    let server = server_with_rows(Place::Both).await;
    let info = info(&server, "SELECT now() FROM logs WHERE timestamp < now()", 4).await;
    let mut times: BTreeSet<i64> = BTreeSet::new();
    let mut num_rows = 0;
    for batch in parts(&mut server.client(), &info).await.concat() {
        num_rows += batch.num_rows();
        times.extend(batch.column(0).as_primitive::<TimestampNanosecondType>().values());
    }
    assert_eq!((times.len(), num_rows), (1, NUM_ROWS));
}

#[tokio::test]
async fn a_polled_statement_has_one_endpoint() {
    let server = server_with_rows(Place::Buffer).await;
    let mut next = Some(command(ROWS));
    let mut endpoints = Vec::new();
    while let Some(descriptor) = next {
        let mut call = Call::new(descriptor);
        *call.metadata_mut() = headers("4");
        let polled = server.client().into_inner().poll_flight_info(call).await.unwrap().into_inner();
        (next, endpoints) = (polled.flight_descriptor, polled.info.unwrap().endpoint);
    }
    assert_eq!(endpoints.len(), 1);
}

#[tokio::test]
async fn a_statement_that_is_too_long_for_many_tickets_in_one_message_gets_fewer() {
    let server = server_with_rows(Place::Buffer).await;
    let sql = format!("{ROWS} WHERE body <> '{}'", "x".repeat(200_000));
    let info = info(&server, &sql, 64).await;
    assert!((2..64).contains(&info.endpoint.len()));
    assert!(info.encode_to_vec().len() < 4 << 20);
    assert_eq!(union(&server, &info).await.len(), NUM_ROWS);
}
