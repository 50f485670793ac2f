//! Prepared statements, tickets, and what else clients call.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, NullArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    CommandPreparedStatementQuery, CommandStatementQuery, CommandStatementUpdate, ProstMessageExt,
    TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, IpcMessage, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::Code;

use super::fixture::*;

pub(super) fn row(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

pub(super) fn int(value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value]))
}

pub(super) async fn run(server: &TestServer, sql: &str, parameters: RecordBatch) -> Vec<RecordBatch> {
    let mut client = server.client();
    let mut statement = client.prepare(sql.to_owned(), None).await.unwrap();
    statement.set_parameters(parameters).unwrap();
    let info = statement.execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    fetch(&mut client, info).await.1
}

pub(super) async fn check_int(server: &TestServer, sql: &str, parameters: RecordBatch, expected: i64) {
    let rows = run(server, sql, parameters).await;
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().values(), &[expected], "{sql}");
}

pub(super) async fn check_types(server: &TestServer, sql: &str, expected: &[(&str, DataType)]) {
    let statement =
        server.client().prepare(sql.to_owned(), None).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let fields: Vec<_> = expected.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect();
    assert_eq!(statement.parameter_schema().unwrap(), &Schema::new(fields), "{sql}");
}

#[tokio::test]
async fn both_styles_of_parameters_are_bound_in_order() {
    let server = TestServer::start().await;
    let two = || row(vec![("0", int(30)), ("1", int(12))]);
    check_int(&server, "SELECT CAST(? AS BIGINT) - CAST(? AS BIGINT)", two(), 18).await;
    check_int(&server, "SELECT CAST($2 AS BIGINT) - CAST($1 AS BIGINT)", two(), -18).await;
    check_int(&server, "SELECT ? AS x", row(vec![("0", int(7))]), 7).await;
    check_int(&server, "SELECT CAST($b AS BIGINT)", row(vec![("b", int(9))]), 9).await;
    let many: Vec<String> = (1..=12).map(|i| format!("CAST(${i} AS BIGINT)")).collect();
    let names: Vec<String> = (0..12).map(|i| i.to_string()).collect();
    let values = row((0..12).map(|i| (names[i].as_str(), int(i as i64 + 1))).collect());
    let rows = run(&server, &format!("SELECT {}", many.join(", ")), values).await;
    let got: Vec<_> = rows[0].columns().iter().map(|c| c.as_primitive::<Int64Type>().value(0)).collect();
    assert_eq!(got, (1..=12).collect::<Vec<_>>());
    check_int(
        &server,
        "SELECT * FROM generate_series(1, 9) ORDER BY value DESC LIMIT ? OFFSET ?",
        row(vec![("0", int(1)), ("1", int(2))]),
        7,
    )
    .await;
}

#[tokio::test]
async fn values_are_cast_to_the_column_they_are_compared_with() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1_000_000_000, "api", "{}"), (2_000_000_000, "web", "{}")]).await;
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let count = "SELECT count(*) FROM logs WHERE ";
    check_int(&server, &format!("{count}timestamp > ?"), row(vec![("0", text("1970-01-01T00:00:01.5Z"))]), 1)
        .await;
    check_int(&server, &format!("{count}service_name = ?"), row(vec![("0", text("api"))]), 1).await;
    check_int(
        &server,
        &format!("{count}severity_number = $1 OR severity_number = $1"),
        row(vec![("0", int(0))]),
        2,
    )
    .await;
    check_int(
        &server,
        &format!("{count}service_name IN (?, ?)"),
        row(vec![("0", text("api")), ("1", text("x"))]),
        1,
    )
    .await;
    check_int(&server, &format!("{count}attributes->>'a' = ?"), row(vec![("0", text("api"))]), 0).await;
    let null: ArrayRef = Arc::new(NullArray::new(1));
    check_int(&server, &format!("{count}severity_number = ?"), row(vec![("0", null)]), 0).await;
}

#[tokio::test]
async fn clients_learn_the_types_of_parameters_before_they_bind() {
    let server = TestServer::start().await;
    let utc = DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, Some("UTC".into()));
    check_types(
        &server,
        "SELECT * FROM logs WHERE timestamp BETWEEN ? AND ? AND severity_number = ? AND service_name LIKE ? LIMIT ?",
        &[("1", utc.clone()), ("2", utc), ("3", DataType::Int32), ("4", DataType::Utf8), ("5", DataType::Int64)],
    )
    .await;
    check_types(&server, "SELECT ?, CAST(? AS DOUBLE)", &[("1", DataType::Utf8), ("2", DataType::Float64)])
        .await;
    check_types(
        &server,
        "SELECT * FROM logs WHERE severity_number = $1 AND coalesce($1, 0) = 0",
        &[("1", DataType::Int32)],
    )
    .await;
    check_types(&server, "SELECT 1", &[]).await;
}

#[tokio::test]
async fn preparing_tells_the_rows_and_runs_nothing() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let statement = client.prepare("SELECT service_name, ? AS x FROM logs".to_owned(), None).await.unwrap();
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let dataset = statement.dataset_schema().unwrap().fields();
    let columns: Vec<_> =
        dataset.iter().map(|f| (f.name().as_str(), f.data_type(), f.is_nullable())).collect();
    assert_eq!(columns, [("service_name", &dictionary, true), ("x", &DataType::Utf8, true)]);
    let refused = client.prepare("CREATE VIEW v AS SELECT 1".to_owned(), None).await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    statement.close().await.unwrap();
}

#[tokio::test]
async fn wrong_binds_are_refused_with_a_reason() {
    let server = TestServer::start().await;
    for (sql, parameters, reason) in [
        ("SELECT ?", row(vec![("0", int(1)), ("1", int(2))]), "1 parameters, but 2 values"),
        (
            "SELECT CAST(? AS BIGINT)",
            row(vec![("0", Arc::new(StringArray::from(vec!["x"])))]),
            "is not a Int64",
        ),
        ("SELECT ?", row(vec![("0", Arc::new(NullArray::new(10_001)))]), "at most 10000 at a time"),
    ] {
        let mut client = server.client();
        let mut statement = client.prepare(sql.to_owned(), None).await.unwrap();
        statement.set_parameters(parameters).unwrap();
        let error = statement.execute().await.unwrap_err().to_string();
        assert!(error.contains(reason), "{sql}: {error}");
    }
}

#[tokio::test]
async fn garbage_in_tickets_commands_and_handles_is_refused_by_kind() {
    let server = TestServer::start().await;
    let client = server.client();
    let mut inner = client.into_inner();
    let forged =
        CommandPreparedStatementQuery { prepared_statement_handle: b"forged".as_ref().into() }.as_any();
    let ticket = TicketStatementQuery { statement_handle: b"forged".as_ref().into() }.as_any();
    for (bytes, code) in [
        (vec![], Code::InvalidArgument),
        (b"SELEC 1".to_vec(), Code::InvalidArgument),
        (vec![0xff; 100], Code::InvalidArgument),
        (forged.encode_to_vec(), Code::NotFound),
        (ticket.encode_to_vec(), Code::NotFound),
        (
            CommandStatementUpdate { query: "x".to_owned(), transaction_id: None }.as_any().encode_to_vec(),
            Code::Unimplemented,
        ),
    ] {
        let status = inner.do_get(Ticket::new(bytes.clone())).await.map(|_| ()).unwrap_err();
        assert_eq!(status.code(), code, "{}", status.message());
    }
    for (name, code) in [("BeginNothing", Code::Unimplemented), ("BeginTransaction", Code::InvalidArgument)] {
        let action = Action { r#type: name.to_owned(), body: vec![].into() };
        let status = inner.do_action(action).await.map(|_| ()).unwrap_err();
        assert_eq!((status.code(), status.message().contains(name)), (code, true), "{status}");
    }
}

#[tokio::test]
async fn a_ticket_can_be_read_again_and_outlives_its_statement() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let mut statement = client.prepare("SELECT CAST(? AS BIGINT)".to_owned(), None).await.unwrap();
    statement.set_parameters(row(vec![("0", int(7))])).unwrap();
    let info = statement.execute().await.unwrap();
    statement.close().await.unwrap();
    for _ in 0..2 {
        let (_, rows) = fetch(&mut client, info.clone()).await;
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 7);
    }
    let any = Any::decode(info.endpoint[0].ticket.as_ref().unwrap().ticket.as_ref()).unwrap();
    assert!(matches!(Command::try_from(any).unwrap(), Command::TicketStatementQuery(_)));
}

#[tokio::test]
async fn get_schema_agrees_with_flight_info() {
    let server = TestServer::start().await;
    let mut inner = server.client().into_inner();
    let command = CommandStatementQuery { query: "SELECT * FROM logs".to_owned(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let schema = inner.get_schema(descriptor.clone()).await.unwrap().into_inner();
    let info = inner.get_flight_info(descriptor).await.unwrap().into_inner();
    assert_eq!(schema.schema, info.schema);
    assert!(Schema::try_from(IpcMessage(schema.schema)).unwrap().field_with_name("service_name").is_ok());
}

#[tokio::test]
async fn handshake_gives_the_token_back_and_sessions_close() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let payload = client.handshake("user", "the-token").await.unwrap();
    assert_eq!(payload, "the-token");
    assert_eq!(client.token().map(String::as_str), Some("the-token"));

    let mut inner = server.client().into_inner();
    let action = Action { r#type: "CloseSession".to_owned(), body: vec![].into() };
    let results: Vec<_> = inner.do_action(action).await.unwrap().into_inner().try_collect().await.unwrap();
    assert_eq!(results[0].body.as_ref(), [0x08, 0x01]);
    let actions: Vec<_> =
        inner.list_actions(arrow_flight::Empty {}).await.unwrap().into_inner().try_collect().await.unwrap();
    let names: Vec<_> = actions.iter().map(|a| a.r#type.as_str()).collect();
    assert_eq!(
        names,
        [
            "CreatePreparedStatement",
            "ClosePreparedStatement",
            "BeginTransaction",
            "EndTransaction",
            "BeginSavepoint",
            "EndSavepoint",
            "CancelFlightInfo",
            "CancelQuery",
            "RenewFlightEndpoint",
            "SetSessionOptions",
            "GetSessionOptions",
            "CloseSession",
        ]
    );
}

#[tokio::test]
async fn compressed_parameters_are_refused_before_they_are_unpacked() {
    let server = TestServer::start().await;
    let mut inner = server.client().into_inner();
    let request =
        ActionCreatePreparedStatementRequest { query: "SELECT ? AS x".to_owned(), transaction_id: None };
    let action = Action {
        r#type: "CreatePreparedStatement".to_owned(),
        body: request.as_any().encode_to_vec().into(),
    };
    let results: Vec<_> = inner.do_action(action).await.unwrap().into_inner().try_collect().await.unwrap();
    let created = Any::decode(results[0].body.as_ref()).unwrap();
    let created: ActionCreatePreparedStatementResult = created.unpack().unwrap().unwrap();
    let prepared_statement_handle = created.prepared_statement_handle;

    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100_000)]));
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
    let command = CommandPreparedStatementQuery { prepared_statement_handle }.as_any();
    let descriptor = FlightDescriptor::new_cmd(command.encode_to_vec());
    let messages = FlightDataEncoderBuilder::new()
        .with_options(options)
        .with_flight_descriptor(Some(descriptor))
        .build(futures::stream::iter([Ok(row(vec![("0", text)]))]));
    let messages = messages.map(Result::unwrap);
    let status = inner.do_put(messages).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("compression of bound parameters"), "{status}");
}
