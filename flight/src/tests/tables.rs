//! Tables of the tenant's own, written with SQL.

use std::sync::Arc;

use alula_auth::AuthLayer;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionEndTransactionRequest, Any,
    CommandStatementIngest, EndTransaction, ProstMessageExt, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use bytes::Bytes;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::fixture::{Client, TestServer, act, as_status, fetch};

async fn write_in(mut client: Client, sql: &str, transaction: Option<&Bytes>) -> Result<i64, Status> {
    client.execute_update(sql.to_owned(), transaction.cloned()).await.map_err(as_status)
}

async fn write(server: &TestServer, sql: &str) -> i64 {
    write_in(server.client(), sql, None).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn refused(server: &TestServer, sql: &str, code: Code, part: &str) {
    let status = write_in(server.client(), sql, None).await.unwrap_err();
    assert_eq!(status.code(), code, "{sql}: {status}");
    assert!(status.message().contains(part), "{sql}: {status}");
}

async fn number_in(mut client: Client, sql: &str, transaction: Option<&Bytes>) -> i64 {
    let info = client.execute(sql.to_owned(), transaction.cloned()).await.unwrap();
    fetch(&mut client, info).await.1[0].column(0).as_primitive::<Int64Type>().value(0)
}

async fn number(server: &TestServer, sql: &str) -> i64 {
    number_in(server.client(), sql, None).await
}

pub(crate) async fn begin(server: &TestServer) -> Bytes {
    let request = ActionBeginTransactionRequest {}.as_any().encode_to_vec();
    let (body, _) = act(server.client(), "BeginTransaction", request, &MetadataMap::new()).await.unwrap();
    Any::decode(body).unwrap().unpack::<ActionBeginTransactionResult>().unwrap().unwrap().transaction_id
}

pub(crate) async fn end(server: &TestServer, id: &Bytes, action: EndTransaction) -> Result<(), Status> {
    let request = ActionEndTransactionRequest { transaction_id: id.clone(), action: action.into() };
    let body = request.as_any().encode_to_vec();
    act(server.client(), "EndTransaction", body, &MetadataMap::new()).await.map(drop)
}

#[tokio::test]
async fn tables_are_made_filled_joined_and_dropped() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", "{}"), (2, "web", "{}"), (3, "web", "{}")]).await;
    assert_eq!(write(&server, "CREATE TABLE owners (service TEXT NOT NULL, team TEXT, rank INT)").await, 0);
    assert_eq!(write(&server, "INSERT INTO owners VALUES ('api', 'core', 1), ('web', 'front', 2)").await, 2);
    assert_eq!(write(&server, "INSERT INTO owners (team, service) VALUES ('none', 'cli')").await, 1);
    let joined = "SELECT team, rank, count(*) AS n FROM logs JOIN owners ON service = service_name \
                  GROUP BY team, rank ORDER BY team";
    let expected = "\
+-------+------+---+
| team  | rank | n |
+-------+------+---+
| core  | 1    | 1 |
| front | 2    | 2 |
+-------+------+---+";
    assert_eq!(server.table(joined).await, expected);
    let made = "CREATE TABLE busy AS SELECT service_name, count(*) AS n FROM logs GROUP BY service_name";
    assert_eq!(write(&server, made).await, 2);
    assert_eq!(
        write(&server, "INSERT INTO busy SELECT service, rank FROM owners WHERE rank IS NULL").await,
        1
    );
    assert_eq!(number(&server, "SELECT sum(n) FROM alula.public.busy").await, 3);
    let rows = server.rows("SELECT * FROM busy").await;
    let schema = rows[0].schema();
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8, "a dictionary is no type of a table");
    assert!(schema.field(1).is_nullable(), "a count has no null, and later rows may");
    assert_eq!(write(&server, "CREATE OR REPLACE TABLE busy AS SELECT 7::BIGINT AS x").await, 1);
    assert_eq!(number(&server, "SELECT x FROM busy").await, 7);
    assert_eq!(write(&server, "DROP TABLE busy").await, 0);
    assert_eq!(server.error("SELECT * FROM busy").await.code(), Code::NotFound);
}

#[tokio::test]
async fn if_not_exists_and_if_exists_change_nothing_and_are_no_error() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t AS SELECT 1::BIGINT AS x").await;
    assert_eq!(write(&server, "CREATE TABLE IF NOT EXISTS t AS SELECT 2::BIGINT AS y").await, 0);
    assert_eq!(number(&server, "SELECT x FROM t").await, 1);
    refused(&server, "CREATE TABLE t (x INT)", Code::AlreadyExists, "\"t\" already").await;
    write(&server, "DROP TABLE t").await;
    write(&server, "DROP TABLE IF EXISTS t").await;
    refused(&server, "DROP TABLE t", Code::NotFound, "no table \"t\"").await;
    refused(&server, "INSERT INTO t VALUES (1)", Code::NotFound, "t does not exist").await;
}

#[tokio::test]
async fn what_cannot_be_written_says_why() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t (x INT NOT NULL, y TEXT)").await;
    let invalid = Code::InvalidArgument;
    for (sql, code, part) in [
        ("INSERT INTO logs (body) VALUES ('x')", invalid, "OTLP"),
        ("INSERT INTO span_events VALUES (1)", invalid, "read-only"),
        ("INSERT INTO system.queries VALUES (1)", invalid, "read-only"),
        ("DROP TABLE metrics", invalid, "read-only"),
        ("CREATE TABLE Logs (x INT)", invalid, "reserved"),
        ("CREATE TABLE system.t (x INT)", invalid, "alula.public"),
        ("CREATE TABLE other.public.t (x INT)", invalid, "alula.public"),
        ("CREATE TABLE u (x INT PRIMARY KEY)", Code::Unimplemented, "constraint"),
        ("CREATE TABLE u (x INT DEFAULT 1)", Code::Unimplemented, "DEFAULT"),
        ("CREATE TEMPORARY TABLE u (x INT)", Code::Unimplemented, "Temporary"),
        ("CREATE TABLE u (x INT, x INT)", invalid, "x"),
        ("CREATE TABLE u AS SELECT nope FROM logs", invalid, "nope"),
        ("CREATE TABLE u AS SELECT * FROM nope", Code::NotFound, "nope does not exist"),
        ("CREATE TABLE u AS SELECT INTERVAL '1 day' AS i", invalid, "cast it"),
        ("INSERT INTO t (y) VALUES ('x')", invalid, "may not be null"),
        ("INSERT INTO t (z) VALUES (1)", invalid, "z"),
        ("INSERT INTO t VALUES (1)", invalid, ""),
        ("INSERT INTO t VALUES ('x', 'y')", invalid, ""),
        ("INSERT INTO t SELECT 1 / (severity_number - severity_number), '' FROM logs", Code::Ok, ""),
        ("INSERT OVERWRITE t VALUES (1, 'x')", Code::Unimplemented, "replaces"),
        ("UPDATE t SET x = 1", invalid, "read-only"),
        ("DELETE FROM t WHERE true", invalid, "cannot be deleted"),
    ] {
        match write_in(server.client(), sql, None).await {
            Ok(num_rows) => assert_eq!((code, num_rows), (Code::Ok, 0), "{sql}"),
            Err(status) if sql.starts_with("DELETE") => assert_eq!(status.code(), invalid, "{status}"),
            Err(status) => {
                assert_eq!(status.code(), code, "{sql}: {status}");
                assert!(status.message().contains(part), "{sql}: {status}");
            }
        }
    }
    assert_eq!(number(&server, "SELECT count(*) FROM t").await, 0);
    assert_eq!(server.error("SELECT * FROM u").await.code(), Code::NotFound);
}

#[tokio::test]
async fn a_statement_that_is_sent_as_a_query_is_run_once_its_rows_are_asked_for() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let mut prepared =
        client.prepare("CREATE TABLE t AS SELECT 1::BIGINT AS x".to_owned(), None).await.unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(server.error("SELECT * FROM t").await.code(), Code::NotFound, "nothing runs before");
    assert_eq!(fetch(&mut client, info).await.1[0].column(0).as_primitive::<Int64Type>().value(0), 1);
    assert_eq!(number(&server, "SELECT x FROM t").await, 1);
}

/// A client that has lost the answer may ask again.
#[tokio::test]
async fn a_ticket_of_a_statement_that_changes_something_is_good_for_one_run() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t (x BIGINT)").await;
    let mut client = server.client();
    let info = client.execute("INSERT INTO t VALUES (1)".to_owned(), None).await.unwrap();
    fetch(&mut client, info.clone()).await;
    let again = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.map(drop);
    assert_eq!(as_status(again.unwrap_err()).code(), Code::FailedPrecondition);
    assert_eq!(number(&server, "SELECT count(*) FROM t").await, 1);
    let mut prepared = client.prepare("INSERT INTO t VALUES (2)".to_owned(), None).await.unwrap();
    for _ in 0..2 {
        let info = prepared.execute().await.unwrap();
        fetch(&mut client, info).await;
    }
    assert_eq!(number(&server, "SELECT count(*) FROM t").await, 3, "each execution is a run");
}

fn parameters(numbers: Vec<Option<i64>>, texts: Vec<Option<String>>) -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] =
        [("0", Arc::new(Int64Array::from(numbers))), ("1", Arc::new(StringArray::from(texts)))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// As `executemany` does it.
#[tokio::test]
async fn many_rows_of_parameters_are_one_insert() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t (x BIGINT, y TEXT)").await;
    let mut client = server.client();
    let mut prepared = client.prepare("INSERT INTO t VALUES (?, ?)".to_owned(), None).await.unwrap();
    let types: Vec<_> =
        prepared.parameter_schema().unwrap().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Utf8]);
    let numbers = (0..3_000).map(|n| (n % 7 != 0).then_some(n)).collect();
    let texts = (0..3_000).map(|n| Some(format!("text {n}"))).collect();
    prepared.set_parameters(parameters(numbers, texts)).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 3_000);
    assert_eq!(number(&server, "SELECT count(*) FROM t WHERE x IS NULL").await, 429);
    assert_eq!(number(&server, "SELECT count(*) FROM t WHERE y = 'text ' || x").await, 3_000 - 429);
    let table = server.storage.user_tables(&"default".parse().unwrap());
    assert_eq!(table.get("t").unwrap().num_files(), 1, "one statement is one file");
    // Rows that are no plain VALUES.
    let sql = "INSERT INTO t SELECT ?, ? WHERE (SELECT count(*) FROM t) = 3000".to_owned();
    let mut prepared = client.prepare(sql, None).await.unwrap();
    prepared.set_parameters(parameters(vec![Some(1), None], vec![None, Some("z".to_owned())])).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 2, "each row sees the table as it was before");
}

#[tokio::test]
async fn one_bad_row_of_parameters_leaves_none() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t (x BIGINT NOT NULL, y TEXT)").await;
    let mut client = server.client();
    let mut prepared = client.prepare("INSERT INTO t VALUES (?, ?)".to_owned(), None).await.unwrap();
    prepared.set_parameters(parameters(vec![Some(1), None], vec![None, None])).unwrap();
    let refused = as_status(prepared.execute_update().await.unwrap_err());
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(number(&server, "SELECT count(*) FROM t").await, 0);
}

#[tokio::test]
async fn statements_that_get_in_each_others_way_are_all_done() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t (x BIGINT)").await;
    let inserts = (0..12).map(|n| {
        let client = server.client();
        async move { write_in(client, &format!("INSERT INTO t VALUES ({n})"), None).await }
    });
    for inserted in futures::future::join_all(inserts).await {
        assert_eq!(inserted.unwrap(), 1);
    }
    assert_eq!(number(&server, "SELECT sum(x) FROM t").await, 66);
}

#[tokio::test]
async fn a_transaction_sees_what_it_wrote_and_others_do_not_until_it_is_committed() {
    let server = TestServer::start().await;
    let id = begin(&server).await;
    write_in(server.client(), "CREATE TABLE t (x BIGINT)", Some(&id)).await.unwrap();
    assert_eq!(write_in(server.client(), "INSERT INTO t VALUES (1), (2)", Some(&id)).await.unwrap(), 2);
    let copied = write_in(server.client(), "CREATE TABLE u AS SELECT x + 1 AS x FROM t", Some(&id)).await;
    assert_eq!(copied.unwrap(), 2);
    assert_eq!(number_in(server.client(), "SELECT sum(x) FROM u", Some(&id)).await, 5);
    assert_eq!(server.error("SELECT * FROM t").await.code(), Code::NotFound);
    // A statement that fails takes nothing of the others with it.
    let failed = "CREATE TABLE v AS SELECT 1 / (x - x) AS x FROM t";
    assert_eq!(write_in(server.client(), failed, Some(&id)).await.unwrap_err().code(), Code::InvalidArgument);
    end(&server, &id, EndTransaction::Commit).await.unwrap();
    assert_eq!(number(&server, "SELECT sum(x) FROM t").await, 3);
    assert_eq!(server.error("SELECT * FROM v").await.code(), Code::NotFound);
    let late = write_in(server.client(), "DROP TABLE t", Some(&id)).await.unwrap_err();
    assert_eq!(late.code(), Code::NotFound, "{late}");
}

#[tokio::test]
async fn a_transaction_sees_tables_as_they_were_when_it_began_or_not_at_all() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", "{}")]).await;
    write(&server, "CREATE TABLE t AS SELECT 1::BIGINT AS x").await;
    let id = begin(&server).await;
    assert_eq!(number_in(server.client(), "SELECT sum(x) FROM t", Some(&id)).await, 1);
    write(&server, "INSERT INTO t VALUES (2)").await;
    let mut client = server.client();
    let info = client.execute("SELECT sum(x) FROM t".to_owned(), Some(id.clone())).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let aborted = as_status(client.do_get(ticket).await.unwrap_err());
    assert_eq!(aborted.code(), Code::Aborted, "{aborted}");
    for sql in ["INSERT INTO t VALUES (3)", "CREATE TABLE u (x INT)", "DROP TABLE t"] {
        let aborted = write_in(server.client(), sql, Some(&id)).await.unwrap_err();
        assert_eq!(aborted.code(), Code::Aborted, "{sql}: {aborted}");
    }
    assert_eq!(number_in(server.client(), "SELECT count(*) FROM logs", Some(&id)).await, 1);
    end(&server, &id, EndTransaction::Rollback).await.unwrap();
    let id = begin(&server).await;
    assert_eq!(number_in(server.client(), "SELECT sum(x) FROM t", Some(&id)).await, 3);
}

#[tokio::test]
async fn a_transaction_that_could_not_be_committed_can_be_rolled_back_and_nothing_else() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t (x BIGINT)").await;
    let id = begin(&server).await;
    write_in(server.client(), "INSERT INTO t VALUES (1)", Some(&id)).await.unwrap();
    write(&server, "INSERT INTO t VALUES (2)").await;
    for _ in 0..2 {
        assert_eq!(end(&server, &id, EndTransaction::Commit).await.unwrap_err().code(), Code::Aborted);
    }
    let read = server.client().execute("SELECT * FROM t".to_owned(), Some(id.clone())).await;
    assert_eq!(as_status(read.unwrap_err()).code(), Code::Aborted);
    end(&server, &id, EndTransaction::Rollback).await.unwrap();
}

#[tokio::test]
async fn the_list_of_queries_can_be_kept_in_a_table() {
    let server = TestServer::start().await;
    let made = "CREATE TABLE q AS SELECT query_id, state FROM system.queries";
    assert_eq!(write(&server, made).await, number(&server, "SELECT count(*) FROM q").await);
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_nothing() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t AS SELECT 1::BIGINT AS x").await;
    let id = begin(&server).await;
    write_in(server.client(), "INSERT INTO t VALUES (2)", Some(&id)).await.unwrap();
    write_in(server.client(), "CREATE TABLE u (x INT)", Some(&id)).await.unwrap();
    end(&server, &id, EndTransaction::Rollback).await.unwrap();
    assert_eq!(number(&server, "SELECT sum(x) FROM t").await, 1);
    assert_eq!(server.error("SELECT * FROM u").await.code(), Code::NotFound);
}

#[tokio::test]
async fn of_two_transactions_on_one_table_the_second_is_aborted() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t (x BIGINT)").await;
    let (first, second) = (begin(&server).await, begin(&server).await);
    for (id, number) in [(&first, 1), (&second, 2)] {
        write_in(server.client(), &format!("INSERT INTO t VALUES ({number})"), Some(id)).await.unwrap();
    }
    end(&server, &first, EndTransaction::Commit).await.unwrap();
    let aborted = end(&server, &second, EndTransaction::Commit).await.unwrap_err();
    assert_eq!(aborted.code(), Code::Aborted);
    assert!(aborted.message().contains("run this one again"), "{aborted}");
    assert_eq!(number(&server, "SELECT sum(x) FROM t").await, 1);
}

#[tokio::test]
async fn a_transaction_that_lost_a_part_of_a_statement_is_not_committed() {
    let server = TestServer::start().await;
    write(&server, "CREATE TABLE t AS SELECT 1::BIGINT AS x").await;
    let id = begin(&server).await;
    let replaced = "CREATE OR REPLACE TABLE t AS SELECT 1 / (x - x) AS x FROM t";
    assert!(write_in(server.client(), replaced, Some(&id)).await.is_err());
    assert_eq!(end(&server, &id, EndTransaction::Commit).await.unwrap_err().code(), Code::Aborted);
    assert_eq!(number(&server, "SELECT x FROM t").await, 1);
}

#[tokio::test]
async fn what_another_server_wrote_in_a_transaction_is_not_committed_here() {
    let server = TestServer::start().await;
    let id = begin(&server).await;
    let other = server.other_server(AuthLayer::disabled()).await;
    let refused = write_in(other, "CREATE TABLE t (x INT)", Some(&id)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
}

#[tokio::test]
async fn rows_that_are_ingested_in_a_transaction_come_with_its_commit() {
    let server = TestServer::start().await;
    let id = begin(&server).await;
    let options = TableDefinitionOptions {
        if_not_exist: TableNotExistOption::Create.into(),
        if_exists: TableExistsOption::Append.into(),
    };
    for batch in [vec![Some(1), Some(2)], vec![Some(3)]] {
        let num_rows = batch.len();
        let command = CommandStatementIngest {
            table_definition_options: Some(options),
            table: "t".to_owned(),
            transaction_id: Some(id.clone()),
            ..CommandStatementIngest::default()
        };
        let rows = parameters(batch, vec![None; num_rows]);
        let ingested = server.client().execute_ingest(command, futures::stream::iter([Ok(rows)])).await;
        assert_eq!(ingested.unwrap(), num_rows as i64);
    }
    let sum = "SELECT sum(\"0\") FROM t";
    assert_eq!(number_in(server.client(), sum, Some(&id)).await, 6);
    assert_eq!(server.error(sum).await.code(), Code::NotFound);
    end(&server, &id, EndTransaction::Commit).await.unwrap();
    assert_eq!(number(&server, sum).await, 6);
}
