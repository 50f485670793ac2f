//! Results that are kept for clients who poll: what they take, and when they go.

use std::time::Duration;

use alula_auth::Principal;
use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionEndTransactionRequest, Any,
    CommandStatementQuery, EndTransaction, ProstMessageExt,
};
use arrow_flight::{FlightDescriptor, FlightInfo};
use prost::Message;
use tonic::Code;
use tonic::metadata::MetadataMap;

use super::fixture::*;
use super::long_queries::*;

/// About 100 KiB in a server with 1,000 rows.
const SOME: &str = "SELECT repeat('x', 100) AS x FROM logs";

/// Several MiB there, in many messages.
const MUCH: &str = "SELECT repeat('x', 100) AS x FROM logs CROSS JOIN (SELECT body FROM logs LIMIT 50) AS l";

fn id(info: &FlightInfo) -> &str {
    str::from_utf8(&info.app_metadata).unwrap()
}

fn disk_used(server: &TestServer) -> u64 {
    server.flight.service.engine.disk().used_disk_space()
}

fn is_kept(server: &TestServer, info: &FlightInfo) -> bool {
    server.flight.service.polls.of(&Principal::unauthenticated(), id(info)).is_some()
}

#[tokio::test]
async fn the_results_of_a_tenant_take_a_quarter_of_the_disk_and_the_oldest_give_way() {
    let server = server_with_config(1_000, |config| config.spill_limit_bytes = 1 << 20).await;
    let mut infos = Vec::new();
    for _ in 0..3 {
        infos.push(polled(&server, SOME).await);
    }
    assert!(!is_kept(&server, &infos[0]) && is_kept(&server, &infos[1]) && is_kept(&server, &infos[2]));
    assert!(disk_used(&server) < 256 << 10);
    // One that is read takes its room until it has been read, on the list or not.
    let rows = started(&server, &infos[2]).await;
    let (messages, _) = drained(rows).await.unwrap();
    assert_eq!(messages.len(), 1);
}

#[tokio::test]
async fn a_cancelled_result_goes_even_if_somebody_has_stopped_reading_it() {
    let server = server_with(1_000).await;
    let info = polled(&server, MUCH).await;
    let rows = started(&server, &info).await;
    assert!(disk_used(&server) > 1 << 20);
    cancel(&server, &info).await.unwrap();
    until("the file to go", || disk_used(&server) == 0).await;
    assert_eq!(drained(rows).await.unwrap_err().code(), Code::Cancelled);
}

#[tokio::test]
async fn reading_a_result_has_a_time_limit_like_running_its_statement() {
    let limit = Duration::from_secs(5);
    let server = server_with_config(1_000, |config| config.statement_timeout = Some(limit)).await;
    let info = polled(&server, MUCH).await;
    let rows = started(&server, &info).await;
    server.flight.service.polls.forget(&"default".parse().unwrap(), id(&info));
    until("the file to go", || disk_used(&server) == 0).await;
    assert_eq!(drained(rows).await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_result_is_cancelled_by_the_id_of_its_query_alone() {
    let server = server_with(10).await;
    let info = polled(&server, SOME).await;
    let by_id = FlightInfo::new().with_app_metadata(info.app_metadata.clone());
    cancel(&server, &by_id).await.unwrap();
    assert!(!is_kept(&server, &info));
    until("the file to go", || disk_used(&server) == 0).await;
    let again = flight(&server).do_get(ticket(&info)).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    assert_eq!(cancel(&server, &by_id).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_changes_something_is_not_polled() {
    let server = server_with(1).await;
    let refused = poll(&server, command("CREATE TABLE t AS SELECT 1 AS x")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("done twice"), "{refused}");
    assert_eq!(server.error("SELECT * FROM t").await.code(), Code::NotFound);
}

#[tokio::test]
async fn the_figures_of_a_result_are_told_where_it_is_made_and_where_it_is_read() {
    let server = server_with(1_000).await;
    let info = polled(&server, SOME).await;
    let (_, trailers) = drained(started(&server, &info).await).await.unwrap();
    assert_eq!(trailers.get("alula-rows").unwrap(), "1000");
    let listed = server.rows("SELECT rows, bytes FROM system.queries ORDER BY started LIMIT 2").await;
    for row in 0..2 {
        let figure = |column: usize| listed[0].column(column).as_primitive::<UInt64Type>().value(row);
        assert_eq!(figure(0), 1_000, "run {row}");
        assert!(figure(1) > 100_000, "run {row}");
    }
}

#[tokio::test]
async fn the_result_of_a_transaction_that_has_ended_is_not_read() {
    let server = server_with(10).await;
    let begin = ActionBeginTransactionRequest {}.as_any().encode_to_vec();
    let (body, _) = act(server.client(), "BeginTransaction", begin, &MetadataMap::new()).await.unwrap();
    let begun: ActionBeginTransactionResult = Any::decode(body).unwrap().unpack().unwrap().unwrap();
    let transaction_id = Some(begun.transaction_id.clone());
    let command = CommandStatementQuery { query: SOME.to_owned(), transaction_id }.as_any();
    let answer = poll(&server, FlightDescriptor::new_cmd(command.encode_to_vec())).await.unwrap();
    let info = answer.info.filter(|info| !info.endpoint.is_empty()).expect("ten rows do not take long");
    drained(started(&server, &info).await).await.unwrap();
    let end = ActionEndTransactionRequest {
        transaction_id: begun.transaction_id,
        action: EndTransaction::Rollback.into(),
    };
    act(server.client(), "EndTransaction", end.as_any().encode_to_vec(), &MetadataMap::new()).await.unwrap();
    let refused = flight(&server).do_get(ticket(&info)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
}

#[tokio::test]
async fn a_polled_result_that_is_too_large_for_the_disk_is_refused_in_words() {
    let server = server_with_config(1_000, |config| config.spill_limit_bytes = 64 << 10).await;
    let sql = "SELECT a.body, b.body AS other FROM logs a CROSS JOIN logs b";
    let mut descriptor = command(sql);
    let refused = loop {
        match poll(&server, descriptor).await {
            Ok(answer) => descriptor = answer.flight_descriptor.expect("it cannot be finished"),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("polled statement"), "{refused}");
    until_idle(&server).await;
    assert_eq!(disk_used(&server), 0);
}
