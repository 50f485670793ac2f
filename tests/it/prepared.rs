//! Prepared statements: JDBC, ODBC and ADBC send every query through one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch,
    StringArray, TimestampNanosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, TimeUnit};
use arrow_flight::FlightDescriptor;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, CommandStatementIngest, ProstMessageExt as _,
    TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use arrow_flight::utils::batches_to_flight_data;
use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status};

use crate::fixture::otlp::{BASE_NS, log, logs};
use crate::fixture::{Client, Fetched, Process, TestServer, prepared};

/// One row of values, named by position as most clients name them.
fn values(columns: Vec<ArrayRef>) -> RecordBatch {
    let named =
        columns.into_iter().enumerate().map(|(position, column)| (position.to_string(), column, true));
    RecordBatch::try_from_iter_with_nullable(named).unwrap()
}

fn number(value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value]))
}

fn word(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

async fn run(client: &Client, sql: &str, columns: Vec<ArrayRef>) -> Result<Fetched, Status> {
    let statement = client.prepare(sql).await?;
    let handle = client.bind(&statement.handle, values(columns)).await?;
    client.run(prepared(&handle)).await
}

async fn check_count(client: &Client, filter: &str, columns: Vec<ArrayRef>, expected: i64) {
    let sql = format!("SELECT count(*) FROM logs WHERE {filter}");
    let rows = run(client, &sql, columns).await.unwrap_or_else(|status| panic!("{sql}: {status}")).rows();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[expected], "{sql}");
}

async fn with_logs() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for (service, body) in [("api", "one"), ("api", "two"), ("web", "three")] {
        client.send(logs(service, vec![log(BASE_NS, body)])).await;
    }
    (server, client)
}

#[tokio::test]
async fn question_marks_and_numbers_take_their_values_in_order() {
    let (_server, client) = with_logs().await;
    check_count(&client, "service_name = ? AND body = ?", vec![word("api"), word("two")], 1).await;
    check_count(&client, "service_name = ? AND body = ?", vec![word("two"), word("api")], 0).await;
    check_count(&client, "service_name = $1 AND body = $2", vec![word("api"), word("two")], 1).await;
    check_count(&client, "service_name = $2 AND body = $1", vec![word("two"), word("api")], 1).await;
    check_count(&client, "body IN ($1, $2) AND $1 <> service_name", vec![word("one"), word("three")], 2)
        .await;
}

/// `$10` sorts before `$2` as text.
#[tokio::test]
async fn twelve_parameters_keep_their_order() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let places = |style: fn(usize) -> String| (1..=12).map(style).collect::<Vec<_>>().join(", ");
    for list in [places(|_| "CAST(? AS BIGINT)".to_owned()), places(|n| format!("CAST(${n} AS BIGINT)"))] {
        let columns = (1..=12).map(|n| number(n * 10)).collect();
        let rows = run(&client, &format!("SELECT {list}"), columns).await.unwrap().rows();
        let got: Vec<_> = rows.columns().iter().map(|c| c.as_primitive::<Int64Type>().value(0)).collect();
        assert_eq!(got, (1..=12).map(|n| n * 10).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_value_is_taken_as_the_type_it_is_compared_with() {
    let (_server, client) = with_logs().await;
    let nanoseconds = |time: u64| TimestampNanosecondArray::from(vec![time as i64]).with_timezone("UTC");
    check_count(&client, "timestamp = ?", vec![Arc::new(nanoseconds(BASE_NS))], 3).await;
    check_count(&client, "timestamp > ?", vec![Arc::new(nanoseconds(BASE_NS))], 0).await;
    check_count(&client, "timestamp >= ?", vec![word("2025-01-01T00:00:00Z")], 3).await;
    check_count(&client, "severity_number >= ?", vec![number(9)], 3).await;
    check_count(&client, "severity_number >= ?", vec![word("9")], 3).await;
    check_count(&client, "severity_number = ?", vec![Arc::new(Float64Array::from(vec![9.0]))], 3).await;
    check_count(&client, "severity_number = ?", vec![Arc::new(Float64Array::from(vec![9.5]))], 0).await;
    check_count(&client, "severity_number = ?", vec![number(i64::MAX)], 0).await;
    check_count(&client, "(severity_number = 9) = ?", vec![Arc::new(BooleanArray::from(vec![true]))], 3)
        .await;
    check_count(&client, "body LIKE ?", vec![word("t%")], 2).await;
}

#[tokio::test]
async fn a_null_is_bound_as_null() {
    let (_server, client) = with_logs().await;
    for null in [Arc::new(NullArray::new(1)) as ArrayRef, new_null_array(&DataType::Utf8, 1)] {
        check_count(&client, "service_name = ?", vec![Arc::clone(&null)], 0).await;
        check_count(&client, "service_name IS DISTINCT FROM ?", vec![Arc::clone(&null)], 3).await;
        check_count(&client, "coalesce(?, 'api') = service_name", vec![null], 2).await;
    }
    let answer =
        run(&client, "SELECT CAST(? AS BIGINT) AS n", vec![new_null_array(&DataType::Int64, 1)]).await;
    assert!(answer.unwrap().rows().column(0).is_null(0));
}

/// A value is data, whatever it looks like.
#[tokio::test]
async fn a_bound_text_is_never_read_as_sql() {
    let (_server, client) = with_logs().await;
    for text in ["' OR '1'='1", "api'; DROP TABLE logs; --", "?", "$1", "\\'"] {
        check_count(&client, "service_name = ?", vec![word(text)], 0).await;
        let answer = run(&client, "SELECT ? AS same", vec![word(text)]).await.unwrap();
        assert_eq!(answer.texts("same"), [Some(text.to_owned())]);
    }
}

#[tokio::test]
async fn preparing_tells_the_types_of_parameters_and_rows() {
    let (_server, client) = with_logs().await;
    let statement = client
        .prepare(
            "SELECT body, severity_number AS n FROM logs WHERE timestamp > ? AND severity_number = ? LIMIT ?",
        )
        .await
        .unwrap();
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let expected = [("1", utc), ("2", DataType::Int32), ("3", DataType::Int64)]
        .map(|(name, t)| Field::new(name, t, true));
    assert_eq!(statement.parameters, Schema::new(expected.to_vec()));
    let expected = [Field::new("body", DataType::Utf8, true), Field::new("n", DataType::Int32, false)];
    // Its metadata say which table a column is of.
    let plain = |field: &FieldRef| field.as_ref().clone().with_metadata(HashMap::new());
    let dataset: Vec<_> = statement.dataset.fields().iter().map(plain).collect();
    assert_eq!(dataset, expected);
    let nothing = client.prepare("SELECT 1 AS one").await.unwrap();
    assert!(nothing.parameters.fields().is_empty());
}

#[tokio::test]
async fn one_handle_serves_again_and_again_and_sees_new_rows() {
    let (_server, client) = with_logs().await;
    let statement = client.prepare("SELECT count(*) AS n FROM logs WHERE service_name = ?").await.unwrap();
    let count = async |bound: &Bytes| {
        client.run(prepared(bound)).await.unwrap().rows().column(0).as_primitive::<Int64Type>().value(0)
    };
    let api = client.bind(&statement.handle, values(vec![word("api")])).await.unwrap();
    let web = client.bind(&statement.handle, values(vec![word("web")])).await.unwrap();
    assert_eq!([count(&api).await, count(&web).await, count(&api).await], [2, 1, 2]);
    // A bound handle can be bound anew, by clients that keep only the latest.
    let rebound = client.bind(&api, values(vec![word("web")])).await.unwrap();
    assert_eq!(count(&rebound).await, 1);
    client.send(logs("web", vec![log(BASE_NS, "four")])).await;
    assert_eq!([count(&web).await, count(&api).await], [2, 2]);
}

#[tokio::test]
async fn a_handle_survives_a_restart_as_the_server_keeps_none() {
    let (server, client) = with_logs().await;
    let statement = client.prepare("SELECT count(*) FROM logs WHERE service_name = ?").await.unwrap();
    let bound = client.bind(&statement.handle, values(vec![word("api")])).await.unwrap();
    let server = server.restart().await;
    let client = server.client("acme").await;
    let rows = client.run(prepared(&bound)).await.unwrap().rows();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().value(0), 2);
}

#[tokio::test]
async fn closing_a_handle_succeeds_even_twice() {
    let (_server, client) = with_logs().await;
    let handle = client.prepare("SELECT 1").await.unwrap().handle;
    for _ in 0..2 {
        let close = ActionClosePreparedStatementRequest { prepared_statement_handle: handle.clone() };
        client.action("ClosePreparedStatement", close.as_any().encode_to_vec()).await.unwrap();
    }
}

/// Every byte matters: none of them can be changed, cut or added.
#[tokio::test]
async fn an_altered_handle_is_unknown() {
    let (_server, client) = with_logs().await;
    let handle = client.prepare("SELECT body FROM logs").await.unwrap().handle;
    let mut altered: Vec<Vec<u8>> = (0..handle.len())
        .step_by(3)
        .map(|position| {
            let mut bytes = handle.to_vec();
            bytes[position] ^= 1;
            bytes
        })
        .collect();
    altered.extend([handle[..handle.len() - 1].to_vec(), handle[1..].to_vec(), Vec::new(), b"x".to_vec()]);
    for bytes in altered {
        let status = client.run(prepared(&bytes.into())).await.map(|_| ()).unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status}");
        assert!(status.message().contains("unknown or has expired"), "{status}");
    }
    assert_eq!(client.run(prepared(&handle)).await.unwrap().rows().num_rows(), 3);
}

async fn check_refused(client: &Client, sql: &str, columns: Vec<ArrayRef>, part: &str) {
    let status = run(client, sql, columns).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{sql}: {status}");
    assert!(status.message().contains(part), "{sql}: {part:?} is not in: {status}");
}

#[tokio::test]
async fn a_wrong_bind_is_refused_with_the_reason() {
    let (_server, client) = with_logs().await;
    check_refused(&client, "SELECT ?, ?", vec![number(1)], "2 parameters, but 1 values").await;
    check_refused(&client, "SELECT 1", vec![number(1)], "0 parameters, but 1 values").await;
    check_refused(&client, "SELECT CAST(? AS BIGINT)", vec![word("x")], "parameter 1 is not a Int64").await;
    let many_rows: ArrayRef = Arc::new(NullArray::new(10_001));
    let status = run(&client, "SELECT ?", vec![many_rows]).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("at most 10000 at a time"), "{status}");
    check_refused(&client, "SELECT ? + $1", vec![number(1)], "not both").await;
    check_refused(&client, "SELECT $0", vec![number(1)], "$0 is not a parameter").await;
}

#[tokio::test]
async fn an_unbound_parameter_is_named() {
    let (_server, client) = with_logs().await;
    let statement =
        client.prepare("SELECT body FROM logs WHERE body = ? AND service_name = ?").await.unwrap();
    let status = client.run(prepared(&statement.handle)).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("parameter $1 has no value"), "{status}");
    client
        .assert_error("SELECT body FROM logs WHERE body = ?", Code::InvalidArgument, "$1 has no value")
        .await;
}

#[tokio::test]
async fn preparing_refuses_what_running_would_refuse() {
    let (_server, client) = with_logs().await;
    for (sql, code, part) in [
        ("SELEC 1", Code::InvalidArgument, "did you mean SELECT?"),
        ("SELECT * FROM nothing", Code::NotFound, "the tables are: "),
        ("UPDATE logs SET body = ''", Code::InvalidArgument, "read-only"),
        ("SELECT 1; SELECT 2", Code::InvalidArgument, "one at a time"),
        ("", Code::InvalidArgument, "no statement"),
    ] {
        let status = client.prepare(sql).await.map(|_| ()).unwrap_err();
        assert_eq!(status.code(), code, "{sql}: {status}");
        assert!(status.message().contains(part), "{sql}: {status}");
    }
}

/// Scenario: Arrow's reader panics over an integer of 24 bits, and over much else that no client sends by mistake.
#[tokio::test]
async fn arrow_data_that_cannot_be_read_is_one_line_in_the_log() {
    let server = Process::start(&["--no-auth"]).await;
    let client = Client::connect(server.addr(), None).await;
    let statement = client.prepare("SELECT CAST(? AS BIGINT)").await.unwrap();
    let values = values(vec![number(7)]);
    let mut messages = batches_to_flight_data(&values.schema(), vec![values]).unwrap();
    let mut header = messages[0].data_header.to_vec();
    for at in (0..header.len() - 3).step_by(4) {
        if header[at..at + 4] == 64_i32.to_le_bytes() {
            header[at] = 24;
        }
    }
    assert_ne!(header, messages[0].data_header);
    messages[0].data_header = header.into();
    let rows = CommandStatementIngest {
        table: "t".to_owned(),
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create.into(),
            if_exists: TableExistsOption::Append.into(),
        }),
        ..CommandStatementIngest::default()
    };
    for command in [prepared(&statement.handle).as_any(), rows.as_any()] {
        messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd(command.encode_to_vec()));
        let request = client.request(futures::stream::iter(messages.clone()));
        let refused = client.flight().do_put(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("is no Arrow data")).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("arrow-ipc")), "{log}");
    assert!(!log.contains("panicked at"), "{log}");
    client.assert_alive().await;
}
