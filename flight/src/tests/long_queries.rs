//! Statements that take long: how they are ended, polled, listed and told of.
//!
//! That nothing works for a statement any more is read from the tasks of the query threads: the statements here would
//! run for minutes.

use std::sync::Arc;
use std::time::Duration;

use alula_auth::Principal;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, UInt64Type};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{ActionCancelQueryRequest, CommandGetTables, CommandStatementQuery, ProstMessageExt};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData, FlightDescriptor,
    FlightEndpoint, FlightInfo, PollInfo, RenewFlightEndpointRequest, Ticket,
};
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::fixture::*;
use crate::context::QueryContext;
use crate::plan::Planned;
use crate::settings::Settings;
use crate::stop::Stop;

/// A join of a thousand million rows, none of which passes.
pub(super) const ENDLESS: &str = "SELECT count(*) FROM logs a CROSS JOIN logs b CROSS JOIN logs c
    WHERE a.ingest_seq + b.ingest_seq * c.ingest_seq % 7 = 8";

/// As long as it takes on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn server_with(num_rows: usize) -> TestServer {
    server_with_config(num_rows, |_| ()).await
}

pub(crate) async fn server_with_config(
    num_rows: usize,
    change: impl FnOnce(&mut crate::Config),
) -> TestServer {
    let server = TestServer::start_with(change).await;
    let rows = vec![(1_000_000_000, "api", "{}"); num_rows];
    server.append_logs("default", &rows).await;
    server
}

/// But for the one that looks after transactions, which has no end.
fn num_tasks(server: &TestServer) -> usize {
    server.flight.service.runtime.num_tasks() - 1
}

pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looks = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

pub(super) async fn until_idle(server: &TestServer) {
    until("the query threads to be idle", || num_tasks(server) == 0).await;
}

pub(super) fn flight(server: &TestServer) -> FlightServiceClient<Channel> {
    server.client().inner().clone().max_decoding_message_size(64 << 20)
}

pub(super) fn command(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

pub(super) async fn info(server: &TestServer, sql: &str) -> FlightInfo {
    flight(server).get_flight_info(command(sql)).await.unwrap().into_inner()
}

pub(super) fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

/// The stream of a statement that runs, behind its schema.
pub(super) async fn started(server: &TestServer, info: &FlightInfo) -> Streaming<FlightData> {
    let mut rows = flight(server).do_get(ticket(info)).await.unwrap().into_inner();
    assert!(!rows.message().await.unwrap().unwrap().data_header.is_empty());
    rows
}

async fn act(server: &TestServer, r#type: &str, body: impl Into<Bytes>) -> Result<Vec<Bytes>, Status> {
    let action = Action { r#type: r#type.to_owned(), body: body.into() };
    let results = flight(server).do_action(action).await?.into_inner();
    results.map_ok(|result| result.body).try_collect().await
}

pub(super) async fn cancel(server: &TestServer, info: &FlightInfo) -> Result<(), Status> {
    let request = CancelFlightInfoRequest { info: Some(info.clone()) };
    let results = act(server, "CancelFlightInfo", request.encode_to_vec()).await?;
    let result = CancelFlightInfoResult::decode(&*results[0]).unwrap();
    assert_eq!(result.status(), CancelStatus::Cancelled);
    Ok(())
}

pub(super) async fn poll(server: &TestServer, descriptor: FlightDescriptor) -> Result<PollInfo, Status> {
    Ok(flight(server).poll_flight_info(descriptor).await?.into_inner())
}

/// Polls to the end, and checks what holds for every answer.
pub(super) async fn polled(server: &TestServer, sql: &str) -> FlightInfo {
    let mut descriptor = command(sql);
    let (mut progress, mut num_endpoints) = (0.0, 0);
    loop {
        let answer = poll(server, descriptor).await.unwrap();
        assert!(answer.progress() >= progress && answer.progress() <= 1.0);
        let info = answer.info.unwrap();
        assert!(info.endpoint.len() >= num_endpoints);
        assert!(answer.expiration_time.is_some());
        (progress, num_endpoints) = (answer.progress.unwrap_or_default(), info.endpoint.len());
        match answer.flight_descriptor {
            Some(next) => descriptor = next,
            None => {
                assert_eq!((progress, num_endpoints), (1.0, 1));
                return info;
            }
        }
    }
}

/// What a stream gives, and its trailers.
pub(super) async fn drained(
    mut rows: Streaming<FlightData>,
) -> Result<(Vec<FlightData>, MetadataMap), Status> {
    let mut messages = Vec::new();
    while let Some(message) = rows.message().await? {
        messages.push(message);
    }
    Ok((messages, rows.trailers().await?.unwrap_or_default()))
}

#[tokio::test]
async fn dropping_a_stream_ends_a_join_that_sends_nothing() {
    let server = server_with(1_000).await;
    let rows = started(&server, &info(&server, ENDLESS).await).await;
    assert!(num_tasks(&server) > 0);
    drop(rows);
    until_idle(&server).await;
}

#[tokio::test]
async fn every_kind_of_work_that_may_not_yield_ends_with_its_stream() {
    let server = server_with(1_000).await;
    for sql in [
        // Pairs that pass, into an aggregate that sends nothing.
        "SELECT count(*) FROM logs a CROSS JOIN logs b CROSS JOIN logs c
         WHERE a.ingest_seq + b.ingest_seq * c.ingest_seq % 7 < 100",
        // One key for all rows, and a condition that no pair meets.
        "SELECT count(*) FROM logs a JOIN logs b USING (service_name) JOIN logs c USING (service_name)
         WHERE a.body || b.body || c.body = 'x'",
        "SELECT count(*) FROM logs a LEFT JOIN (logs b CROSS JOIN logs c) ON a.body || b.body = c.body || 'x'",
        "SELECT a.body FROM logs a CROSS JOIN logs b CROSS JOIN logs c ORDER BY a.body || b.body || c.body LIMIT 1",
        "SELECT count(DISTINCT a.body || b.body) OVER (ORDER BY c.timestamp) FROM logs a CROSS JOIN logs b CROSS JOIN logs c",
        "SELECT count(*) FROM generate_series(1, 100000000000)",
        "SELECT sum(x) FROM (SELECT unnest(range(1, 100000)) AS x FROM logs a CROSS JOIN logs b)",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x > 0) SELECT count(*) FROM n",
        "SELECT count(*) FROM logs a CROSS JOIN logs b WHERE repeat(a.body, 20000) ~ '(.*a){20}b'",
        "SELECT sum(length(a.body)) FROM logs a JOIN logs b ON repeat(a.body, 20000) LIKE '%' || b.body || '%z'",
        "SELECT sum(levenshtein(repeat(a.body, 200), repeat(b.body, 200))) FROM logs a CROSS JOIN logs b",
        "SELECT count(*) FROM logs a CROSS JOIN logs b WHERE EXISTS (SELECT 1 FROM logs c WHERE c.body > a.body || b.body || 'z')",
    ] {
        drop(started(&server, &info(&server, sql).await).await);
        let looks = async {
            while num_tasks(&server) > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looks).await.unwrap_or_else(|_| panic!("does not end: {sql}"));
    }
}

#[tokio::test]
async fn dropping_a_call_ends_its_planning() {
    let server = server_with(1).await;
    let join = |i| format!("JOIN logs l{i} ON a.ingest_seq = l{i}.ingest_seq");
    let joins: Vec<_> = (0..60).map(join).collect();
    let sql = format!("SELECT count(*) FROM logs a {}", joins.join(" "));
    let info = info(&server, &sql).await;
    let mut client = flight(&server);
    let call = tokio::spawn(async move { client.do_get(ticket(&info)).await.map(|_| ()) });
    until("the planning to begin", || num_tasks(&server) > 0 || call.is_finished()).await;
    call.abort();
    until_idle(&server).await;
}

#[tokio::test]
async fn a_statement_that_is_to_end_is_neither_planned_nor_started() {
    let server = server_with(1).await;
    let service = &server.flight.service;
    let context = || {
        let principal = Principal::unauthenticated();
        QueryContext::for_principal(&service.engine, &principal, Settings::default(), &service.transactions)
            .unwrap()
    };
    let stop = Stop::after(None);
    let planned = stop.scope(Planned::try_new(context(), "SELECT body FROM logs")).await.unwrap();
    stop.stop();
    let refused = stop.scope(Planned::try_new(context(), "SELECT body FROM logs")).await.map(|_| ());
    let ended = stop.scope(planned.execute()).await.map(|_| ());
    for error in [refused.unwrap_err(), ended.unwrap_err()] {
        assert_eq!(crate::status::status(&error).code(), Code::Cancelled, "{error:?}");
    }
}

#[tokio::test]
async fn a_statement_past_its_limit_ends_and_says_so() {
    let limit = Duration::from_millis(300);
    let server = server_with_config(1_000, |config| config.statement_timeout = Some(limit)).await;
    let status = server.error(ENDLESS).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("query.statement_timeout"), "{status}");
    until_idle(&server).await;
}

#[tokio::test]
async fn the_senders_own_limit_ends_a_stream_too() {
    let server = server_with(1_000).await;
    let mut request = Request::new(ticket(&info(&server, ENDLESS).await));
    request.set_timeout(Duration::from_millis(500));
    let rows = flight(&server).do_get(request).await.unwrap().into_inner();
    let status = drained(rows).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.metadata().contains_key("alula-query-id"));
    until_idle(&server).await;
}

#[tokio::test]
async fn a_cancelled_query_ends_and_its_tickets_are_unknown() {
    let server = server_with(1_000).await;
    let info = info(&server, ENDLESS).await;
    let rows = started(&server, &info).await;
    cancel(&server, &info).await.unwrap();
    let status = drained(rows).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Cancelled, "the statement was cancelled"));
    until_idle(&server).await;
    let again = flight(&server).do_get(ticket(&info)).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    let renewed = renew(&server, &info.endpoint[0]).await.unwrap_err();
    assert_eq!(renewed.code(), Code::NotFound);
}

#[tokio::test]
async fn the_older_action_cancels_too() {
    let server = server_with(1_000).await;
    let info = info(&server, ENDLESS).await;
    let rows = started(&server, &info).await;
    let request = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
    act(&server, "CancelQuery", request.as_any().encode_to_vec()).await.unwrap();
    assert_eq!(drained(rows).await.unwrap_err().code(), Code::Cancelled);
    until_idle(&server).await;
}

#[tokio::test]
async fn a_query_is_cancelled_by_its_id_alone_only_while_it_runs() {
    let server = server_with(1_000).await;
    let info = info(&server, ENDLESS).await;
    let by_id = FlightInfo::new().with_app_metadata(info.app_metadata.clone());
    assert_eq!(cancel(&server, &by_id).await.unwrap_err().code(), Code::NotFound);
    let rows = started(&server, &info).await;
    cancel(&server, &by_id).await.unwrap();
    assert_eq!(drained(rows).await.unwrap_err().code(), Code::Cancelled);
    for forged in [FlightInfo::new(), FlightInfo::new().with_app_metadata("\u{0}")] {
        assert_eq!(cancel(&server, &forged).await.unwrap_err().code(), Code::NotFound);
    }
}

async fn renew(server: &TestServer, endpoint: &FlightEndpoint) -> Result<FlightEndpoint, Status> {
    let request = RenewFlightEndpointRequest { endpoint: Some(endpoint.clone()) };
    let results = act(server, "RenewFlightEndpoint", request.encode_to_vec()).await?;
    Ok(FlightEndpoint::decode(&*results[0]).unwrap())
}

#[tokio::test]
async fn a_renewed_endpoint_expires_later_and_gives_the_same_rows() {
    let server = server_with(3).await;
    let info = info(&server, "SELECT body FROM logs").await;
    let renewed = renew(&server, &info.endpoint[0]).await.unwrap();
    let time = |endpoint: &FlightEndpoint| {
        let time = endpoint.expiration_time.unwrap();
        (time.seconds, time.nanos)
    };
    assert!(time(&renewed) > time(&info.endpoint[0]));
    let (messages, _) = drained(started(&server, &info.with_endpoint(renewed)).await).await.unwrap();
    assert_eq!(messages.len(), 1);
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_by_empty_batches_behind_its_schema() {
    let interval = Duration::from_millis(20);
    let server = server_with_config(1_000, |config| config.keep_alive_interval = interval).await;
    let mut rows = started(&server, &info(&server, ENDLESS).await).await;
    for _ in 0..3 {
        let message = rows.message().await.unwrap().unwrap();
        let header = arrow::ipc::root_as_message(&message.data_header).unwrap();
        assert_eq!(header.header_as_record_batch().unwrap().length(), 0);
    }
    drop(rows);
    // What a client reads the first batch of alone.
    let tables = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let ticket = Ticket::new(tables.as_any().encode_to_vec());
    let (messages, trailers) =
        drained(flight(&server).do_get(ticket).await.unwrap().into_inner()).await.unwrap();
    assert_eq!(messages.len(), 2);
    assert!(!trailers.contains_key("alula-query-id"));
}

#[tokio::test]
async fn an_empty_batch_brings_dictionaries_only_if_it_is_the_first() {
    let interval = Duration::from_millis(20);
    let server = server_with_config(1_000, |config| config.keep_alive_interval = interval).await;
    let sql = ENDLESS.replace("count(*)", "a.service_name");
    let mut rows = started(&server, &info(&server, &sql).await).await;
    for (nth, expected) in
        ["DictionaryBatch", "RecordBatch", "RecordBatch", "RecordBatch"].into_iter().enumerate()
    {
        let message = rows.message().await.unwrap().unwrap();
        let header = arrow::ipc::root_as_message(&message.data_header).unwrap();
        assert_eq!(header.header_type().variant_name(), Some(expected), "message {nth}");
    }
}

#[tokio::test]
async fn the_trailers_tell_what_a_query_did() {
    let server = server_with(1_000).await;
    server.storage.flush().await.unwrap();
    let info = info(&server, "SELECT body FROM logs ORDER BY body DESC").await;
    let (messages, trailers) = drained(started(&server, &info).await).await.unwrap();
    assert!(!messages.is_empty());
    let value = |name: &str| trailers.get(name).unwrap_or_else(|| panic!("{name}")).to_str().unwrap();
    let number = |name: &str| value(name).parse::<u64>().unwrap();
    assert_eq!(value("alula-query-id").as_bytes(), info.app_metadata);
    assert_eq!((number("alula-rows"), number("alula-rows-scanned")), (1_000, 1_000));
    assert_eq!((number("alula-files-read"), number("alula-files-pruned")), (1, 0));
    assert!(number("alula-bytes") > 1_000 && number("alula-memory-peak-bytes") > 1_000);
    number("alula-elapsed-ms");
}

#[tokio::test]
async fn the_trailers_tell_of_every_row_of_parameters() {
    let server = server_with(100).await;
    let mut client = server.client();
    let mut prepared =
        client.prepare("SELECT body FROM logs WHERE body <> ?".to_owned(), None).await.unwrap();
    let values: ArrayRef = Arc::new(StringArray::from(vec!["a", "body 1", "b"]));
    prepared.set_parameters(RecordBatch::try_from_iter([("0", values)]).unwrap()).unwrap();
    let info = prepared.execute().await.unwrap();
    let (_, trailers) = drained(started(&server, &info).await).await.unwrap();
    assert_eq!(trailers.get("alula-rows").unwrap(), "299");
    assert_eq!(trailers.get("alula-rows-scanned").unwrap(), "300");
}

#[tokio::test]
async fn the_trailers_count_the_files_that_statistics_rule_out() {
    let server = server_with(3).await;
    server.append_logs("default", &[(7_200_000_000_000, "api", "{}")]).await;
    server.storage.flush().await.unwrap();
    let sql = "SELECT body FROM logs WHERE timestamp > '1970-01-01T01:00:00Z'";
    let (_, trailers) = drained(started(&server, &info(&server, sql).await).await).await.unwrap();
    for (name, expected) in [
        ("alula-rows", "1"),
        ("alula-rows-scanned", "1"),
        ("alula-files-read", "1"),
        ("alula-files-pruned", "1"),
    ] {
        assert_eq!(trailers.get(name).unwrap(), expected, "{name}");
    }
}

#[tokio::test]
async fn an_error_names_its_query() {
    let server = server_with(1).await;
    let info = info(&server, "SELECT 1 / (ingest_seq - ingest_seq) FROM logs").await;
    let error = match flight(&server).do_get(ticket(&info)).await {
        Ok(rows) => drained(rows.into_inner()).await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.metadata().get("alula-query-id").unwrap().as_bytes(), info.app_metadata);
}

#[tokio::test]
async fn the_list_of_queries_has_what_runs_and_how_what_ran_has_ended() {
    let server = server_with(1_000).await;
    server.storage.flush().await.unwrap();
    server.rows("SELECT body FROM logs ORDER BY body").await;
    server.error("SELECT 1 / (ingest_seq - ingest_seq) FROM logs").await;
    drop(started(&server, &info(&server, ENDLESS).await).await);
    until_idle(&server).await;
    let endless = started(&server, &info(&server, ENDLESS).await).await;
    until("its rows to be read", || {
        let records = server.flight.service.engine.queries.visible(&"default".parse().unwrap(), None);
        records.last().is_some_and(|record| record.progress > 0.9)
    })
    .await;
    let listed = server.rows("SELECT * FROM system.queries ORDER BY started").await;
    let listed = &listed[0];
    let text =
        |column: &str, row| listed.column_by_name(column).unwrap().as_string::<i32>().value(row).to_owned();
    let states: Vec<_> = (0..listed.num_rows()).map(|row| text("state", row)).collect();
    assert_eq!(states, ["finished", "failed", "cancelled", "running", "planning"]);
    assert!(text("error", 1).contains("division by zero"));
    assert!(text("sql", 0).starts_with("SELECT body") && text("sql", 4).contains("system.queries"));
    let number =
        |column: &str, row| listed.column_by_name(column).unwrap().as_primitive::<UInt64Type>().value(row);
    assert_eq!((number("rows", 0), number("rows_scanned", 0), number("files_read", 0)), (1_000, 1_000, 1));
    assert!(number("bytes_scanned", 0) > 0 && number("memory_peak_bytes", 0) > 0);
    assert_eq!((number("row_groups_read", 0), number("row_groups_pruned", 0)), (1, 0));
    let progress = listed.column_by_name("progress").unwrap().as_primitive::<Float64Type>();
    assert!((progress.value(0) - 1.0).abs() < f64::EPSILON);
    assert!(progress.value(3) > 0.9 && progress.value(3) < 1.0);
    let joined = "SELECT count(*) FROM system.queries a JOIN system.queries b USING (query_id, started)";
    assert!(!server.table(joined).await.contains("| 0 "));
    drop(endless);
}

#[tokio::test]
async fn a_polled_statement_ends_with_one_endpoint_that_can_be_read_again() {
    let server = server_with(1_000).await;
    let sql = "SELECT body FROM logs ORDER BY body";
    let polled = polled(&server, sql).await;
    let promised = info(&server, sql).await;
    assert_eq!(polled.schema, promised.schema);
    let (expected, _) = drained(started(&server, &promised).await).await.unwrap();
    // Rows that come later are not in a result that is kept.
    server.append_logs("default", &[(2_000_000_000, "api", "{}")]).await;
    for _ in 0..2 {
        let (messages, trailers) = drained(started(&server, &polled).await).await.unwrap();
        assert_eq!(messages, expected);
        assert_eq!(trailers.get("alula-query-id").unwrap().as_bytes(), polled.app_metadata);
    }
    // Another server, which has no file of it, runs it.
    let id = str::from_utf8(&polled.app_metadata).unwrap();
    server.flight.service.polls.forget(&"default".parse().unwrap(), id);
    let (_, trailers) = drained(started(&server, &polled).await).await.unwrap();
    assert_eq!(trailers.get("alula-rows").unwrap(), "1001");
}

#[tokio::test]
async fn a_poll_comes_back_while_its_statement_runs_and_cancelling_ends_both() {
    let server = server_with(1_000).await;
    let first = poll(&server, command(ENDLESS)).await.unwrap();
    let next = first.flight_descriptor.unwrap();
    let info = first.info.unwrap();
    assert!(!info.schema.is_empty() && info.endpoint.is_empty());
    assert!(num_tasks(&server) > 0);
    cancel(&server, &info).await.unwrap();
    until_idle(&server).await;
    assert_eq!(poll(&server, next).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn giving_up_a_poll_ends_its_statement() {
    let server = server_with(1_000).await;
    let first = poll(&server, command(ENDLESS)).await.unwrap();
    let next = first.flight_descriptor.unwrap();
    let mut client = flight(&server);
    let call = tokio::spawn(async move { client.poll_flight_info(next).await.map(|_| ()) });
    // The call waits at the server, with a look at the state of the statement of its own.
    until("the poll to wait", || server.flight.service.polls.num_waiting() > 0).await;
    call.abort();
    until_idle(&server).await;
}

#[tokio::test]
async fn a_failed_statement_fails_every_poll_alike() {
    let server = server_with(1).await;
    let failed = poll(&server, command("SELECT 1 / (ingest_seq - ingest_seq) FROM logs")).await.unwrap_err();
    assert_eq!(failed.code(), Code::InvalidArgument);
    assert!(failed.message().contains("division by zero"), "{failed}");
    let wrong = poll(&server, command("SELECT nothing FROM logs")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let forged = FlightDescriptor::new_cmd(ticket(&info(&server, "SELECT 1").await).ticket);
    assert_eq!(poll(&server, forged).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_metadata_command_is_finished_by_its_first_poll() {
    let server = server_with(1).await;
    let tables = FlightDescriptor::new_cmd(CommandGetTables::default().as_any().encode_to_vec());
    let answer = poll(&server, tables).await.unwrap();
    assert!(answer.flight_descriptor.is_none());
    assert_eq!((answer.progress(), answer.info.unwrap().endpoint.len()), (1.0, 1));
}
