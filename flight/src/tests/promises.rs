//! What a client was told of the columns of a statement: it gets rows with these, or is told that there are others.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow_flight::Ticket;
use arrow_flight::sql::{CommandPreparedStatementQuery, ProstMessageExt};
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;
use tonic::{Code, Status};

use super::fixture::*;
use super::long_queries::polled;
use super::parameters::Raw;
use super::prepared::{int, row};
use super::tables::begin;

const AS_IT_WAS: &str = "CREATE OR REPLACE TABLE t AS SELECT 1 AS a";
const ANOTHER: &str = "CREATE OR REPLACE TABLE t AS SELECT 'x' AS a, 2 AS b";

async fn change(server: &TestServer, sql: &str, transaction: Option<&Bytes>) {
    server.client().execute_update(sql.to_owned(), transaction.cloned()).await.unwrap();
}

async fn fetched(server: &TestServer, ticket: &Ticket) -> Result<SchemaRef, Status> {
    let mut rows = server.client().do_get(ticket.clone()).await.map_err(as_status)?;
    while rows.try_next().await.map_err(as_status)?.is_some() {}
    Ok(Arc::clone(rows.schema().unwrap()))
}

async fn ticket(server: &TestServer, sql: &str, transaction: Option<&Bytes>) -> Ticket {
    let info = server.client().execute(sql.to_owned(), transaction.cloned()).await.unwrap();
    info.endpoint[0].ticket.clone().unwrap()
}

fn handle_as_ticket(handle: &Bytes) -> Ticket {
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
    Ticket::new(command.as_any().encode_to_vec())
}

/// Each of these was said to have the columns of the table as it is.
async fn promised(server: &TestServer) -> Vec<(&'static str, Ticket)> {
    let sql = "SELECT * FROM t";
    let client = Raw(server);
    let unbound = client.prepare(sql).await;
    let of_handle = client.info(&unbound).await.unwrap().endpoint[0].ticket.clone().unwrap();
    let with_parameter = client.prepare("SELECT *, CAST($1 AS BIGINT) AS p FROM t").await;
    let bound = client.bind(&with_parameter, row(vec![("0", int(1))])).await;
    let of_bound = client.info(&bound).await.unwrap().endpoint[0].ticket.clone().unwrap();
    let kept = polled(server, sql).await;
    // It is not kept any more, so that its statement runs again.
    server
        .flight
        .service
        .polls
        .forget(&"default".parse().unwrap(), str::from_utf8(&kept.app_metadata).unwrap());
    vec![
        ("a ticket", ticket(server, sql, None).await),
        ("a handle", handle_as_ticket(&unbound)),
        ("the ticket of a handle", of_handle),
        ("a handle that was bound", handle_as_ticket(&bound)),
        ("the handle that it was bound to", handle_as_ticket(&with_parameter)),
        ("the ticket of a bound handle", of_bound),
        ("a polled statement", kept.endpoint[0].ticket.clone().unwrap()),
    ]
}

#[tokio::test]
async fn rows_have_the_columns_that_were_promised_or_are_refused() {
    let server = TestServer::start().await;
    change(&server, AS_IT_WAS, None).await;
    let promised = promised(&server).await;
    for (what, ticket) in &promised {
        assert_eq!(fetched(&server, ticket).await.unwrap().field(0).name(), "a", "{what}");
    }
    change(&server, ANOTHER, None).await;
    for (what, ticket) in &promised {
        let refused = fetched(&server, ticket).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{what}: {refused}");
        assert!(refused.message().contains("prepare it again"), "{what}: {refused}");
    }
    // Rows are those of the moment in any case.
    change(&server, AS_IT_WAS, None).await;
    for (what, ticket) in &promised {
        fetched(&server, ticket).await.unwrap_or_else(|refused| panic!("{what}: {refused}"));
    }
}

#[tokio::test]
async fn an_answer_that_tells_the_columns_of_a_handle_anew_is_a_new_promise() {
    let server = TestServer::start().await;
    change(&server, AS_IT_WAS, None).await;
    let handle = Raw(&server).prepare("SELECT * FROM t").await;
    change(&server, ANOTHER, None).await;
    let info = Raw(&server).info(&handle).await.unwrap();
    assert_eq!(fetch(&mut server.client(), info).await.0.fields().len(), 2);
}

#[tokio::test]
async fn the_tables_of_a_transaction_are_promised_too() {
    let server = TestServer::start().await;
    let id = begin(&server).await;
    change(&server, AS_IT_WAS, Some(&id)).await;
    let ticket = ticket(&server, "SELECT * FROM t", Some(&id)).await;
    assert_eq!(fetched(&server, &ticket).await.unwrap().fields().len(), 1);
    change(&server, ANOTHER, Some(&id)).await;
    assert_eq!(fetched(&server, &ticket).await.unwrap_err().code(), Code::FailedPrecondition);
}
