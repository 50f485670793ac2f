//! Bound parameters, as each client binds them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, NullArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type, Schema, TimeUnit};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery, DoPutPreparedStatementResult,
    ProstMessageExt,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, PutResult};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::{Code, Status};

use super::fixture::*;
use super::prepared::{check_int, check_types, int, row, run};

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

const LOGS: [Log<'_>; 3] = [
    (1_000_000_000, "api", r#"{"http.route":"/a"}"#),
    (2_000_000_000, "web", r#"{"http.route":"/b"}"#),
    (120_000_000_000, "api", "{}"),
];

/// The calls of a client that does as it likes with handles.
pub(super) struct Raw<'a>(pub(super) &'a TestServer);

impl Raw<'_> {
    async fn act(&self, name: &str, body: Vec<u8>) -> Vec<arrow_flight::Result> {
        let action = Action { r#type: name.to_owned(), body: body.into() };
        let answer = self.0.client().into_inner().do_action(action).await.unwrap();
        answer.into_inner().try_collect().await.unwrap()
    }

    pub(super) async fn prepare(&self, sql: &str) -> Bytes {
        let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
        let results = self.act("CreatePreparedStatement", request.as_any().encode_to_vec()).await;
        let created = Any::decode(results[0].body.as_ref()).unwrap();
        created.unpack::<ActionCreatePreparedStatementResult>().unwrap().unwrap().prepared_statement_handle
    }

    /// The handle that binding answers with.
    pub(super) async fn bind(&self, handle: &Bytes, values: RecordBatch) -> Bytes {
        let messages = FlightDataEncoderBuilder::new()
            .with_flight_descriptor(Some(Self::descriptor(handle)))
            .build(futures::stream::iter([Ok(values)]));
        let answer = self.0.client().into_inner().do_put(messages.map(Result::unwrap)).await.unwrap();
        let results: Vec<PutResult> = answer.into_inner().try_collect().await.unwrap();
        let result = DoPutPreparedStatementResult::decode(results[0].app_metadata.as_ref()).unwrap();
        result.prepared_statement_handle.unwrap()
    }

    async fn close(&self, handle: &Bytes) {
        let request = ActionClosePreparedStatementRequest { prepared_statement_handle: handle.clone() };
        self.act("ClosePreparedStatement", request.as_any().encode_to_vec()).await;
    }

    fn descriptor(handle: &Bytes) -> FlightDescriptor {
        let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
        FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
    }

    pub(super) async fn info(&self, handle: &Bytes) -> Result<FlightInfo, Status> {
        let answer = self.0.client().into_inner().get_flight_info(Self::descriptor(handle)).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn number(&self, handle: &Bytes) -> i64 {
        let info = self.info(handle).await.unwrap();
        let (_, rows) = fetch(&mut self.0.client(), info).await;
        rows[0].column(0).as_primitive::<Int64Type>().value(0)
    }
}

/// flightsql-dbapi ignores the handle that binding answers with; ADBC and JDBC go on with it, and bind to it again.
#[tokio::test]
async fn the_old_handle_and_the_new_one_have_the_values() {
    let server = TestServer::start().await;
    let client = Raw(&server);
    let old = client.prepare("SELECT CAST(? AS BIGINT)").await;
    let same_statement = client.prepare("SELECT CAST(? AS BIGINT)").await;
    let new = client.bind(&old, row(vec![("0", int(1))])).await;
    assert_eq!((client.number(&old).await, client.number(&new).await), (1, 1));
    let newer = client.bind(&new, row(vec![("0", int(2))])).await;
    assert_eq!(
        (client.number(&old).await, client.number(&new).await, client.number(&newer).await),
        (1, 2, 2)
    );
    client.bind(&old, row(vec![("0", int(3))])).await;
    assert_eq!((client.number(&old).await, client.number(&newer).await), (3, 2));

    let unbound = client.info(&same_statement).await.unwrap_err();
    assert!(unbound.message().contains("$1 has no value"), "another client's: {unbound}");
    client.close(&old).await;
    let closed = client.info(&old).await.unwrap_err();
    assert_eq!((closed.code(), closed.message().contains("$1 has no value")), (Code::InvalidArgument, true));
    assert_eq!(client.number(&newer).await, 2, "which holds its values itself");
}

#[tokio::test]
async fn another_server_with_the_key_knows_what_the_new_handle_holds_and_not_what_was_bound_to_the_old() {
    let (here, there) = (TestServer::start().await, TestServer::start().await);
    let old = Raw(&here).prepare("SELECT CAST(? AS BIGINT)").await;
    let new = Raw(&here).bind(&old, row(vec![("0", int(7))])).await;
    assert_eq!(Raw(&there).number(&new).await, 7);
    let unknown = Raw(&there).info(&old).await.unwrap_err();
    assert!(unknown.message().contains("$1 has no value"), "{unknown}");
}

#[tokio::test]
async fn several_rows_of_values_give_their_results_one_after_the_other() {
    let server = server_with_logs(&LOGS, &[]).await;
    let values = row(vec![
        ("0", Arc::new(StringArray::from(vec![Some("web"), None, Some("api"), Some("web")])) as ArrayRef),
        ("1", Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None]))),
    ]);
    let rows =
        run(&server, "SELECT $2 AS n, body FROM logs WHERE service_name = $1 ORDER BY timestamp", values)
            .await;
    let rows = concat_batches(&rows[0].schema(), &rows).unwrap();
    let numbers: Vec<_> = rows.column(0).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(numbers, [Some(1), Some(3), Some(3), None]);
    let bodies: Vec<_> = rows.column(1).as_string::<i32>().iter().flatten().collect();
    assert_eq!(bodies, ["body 1", "body 0", "body 2", "body 1"]);

    let many: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200));
    let rows = run(&server, "SELECT ? AS n", row(vec![("0", many)])).await;
    let numbers: Vec<_> =
        rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());

    let none: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
    let rows = run(&server, "SELECT ? AS n", row(vec![("0", none)])).await;
    assert_eq!((rows[0].num_rows(), rows[0].schema().field(0).data_type()), (0, &DataType::Int64));
}

#[tokio::test]
async fn an_error_in_a_later_row_of_values_ends_the_stream_with_it() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let mut statement = client.prepare("SELECT 10 / CAST(? AS BIGINT)".to_owned(), None).await.unwrap();
    statement.set_parameters(row(vec![("0", Arc::new(Int64Array::from(vec![5, 0])))])).unwrap();
    let info = statement.execute().await.unwrap();
    let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let results: Vec<_> = stream.collect().await;
    assert_eq!(results[0].as_ref().unwrap().column(0).as_primitive::<Int64Type>().value(0), 2);
    let error = results.last().unwrap().as_ref().unwrap_err();
    assert!(error.to_string().contains("division by zero"), "{error}");
}

#[tokio::test]
async fn the_type_of_a_parameter_is_found_wherever_it_stands() {
    use DataType as T;
    let server = TestServer::start().await;
    let utc = || T::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let cases: [(&str, Vec<T>); 24] = [
        ("severity_number = $1 OR service_name = $1", vec![T::Utf8]),
        ("severity_number = $1 OR flags = $1", vec![T::Int64]),
        ("service_name = $2", vec![T::Utf8, T::Utf8]),
        ("severity_number IN (?, ?)", vec![T::Int32, T::Int32]),
        ("? IN (severity_number, 3)", vec![T::Int64]),
        ("timestamp BETWEEN ? AND ?", vec![utc(), utc()]),
        ("? BETWEEN timestamp AND observed_timestamp", vec![utc()]),
        ("timestamp > now() - ?", vec![T::Utf8]),
        ("timestamp > now() - INTERVAL ?", vec![T::Utf8]),
        ("timestamp > now() - INTERVAL ? MINUTE", vec![T::Utf8]),
        ("date_bin(?, timestamp) = timestamp", vec![T::Utf8]),
        ("date_bin(INTERVAL ?, timestamp, ?) < ?", vec![T::Utf8, utc(), utc()]),
        ("date_trunc(?, timestamp) = timestamp", vec![T::Utf8]),
        ("substr(body, ?, ?) = ?", vec![T::Int64, T::Int64, T::Utf8]),
        ("attributes->>? = ?", vec![T::Utf8, T::Utf8]),
        ("attributes[?] = ?", vec![T::Utf8, T::Utf8]),
        ("json_get_int(attributes, ?) = ?", vec![T::Utf8, T::Int64]),
        ("body LIKE ? AND ? LIKE body", vec![T::Utf8, T::Utf8]),
        ("severity_number + ? > 1.5", vec![T::Int32]),
        ("CASE WHEN ? THEN ? ELSE severity_number END = 1", vec![T::Boolean, T::Int32]),
        ("CASE severity_number WHEN ? THEN true ELSE ? END", vec![T::Int32, T::Boolean]),
        ("?", vec![T::Boolean]),
        ("NOT ? AND ? IS NULL", vec![T::Boolean, T::Utf8]),
        (
            "severity_number = (SELECT max(severity_number) FROM logs WHERE body = ?) AND TRY_CAST(? AS DOUBLE) > 1",
            vec![T::Utf8, T::Float64],
        ),
    ];
    let client = server.client();
    for (condition, expected) in cases {
        let sql = format!("SELECT body FROM logs WHERE {condition}");
        let statement = client.clone().prepare(sql, None).await;
        let statement = statement.unwrap_or_else(|error| panic!("{condition}: {error}"));
        let schema = statement.parameter_schema().unwrap();
        let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, expected, "{condition}");
    }
    check_types(&server, "SELECT 1 LIMIT ? OFFSET ?", &[("1", T::Int64), ("2", T::Int64)]).await;
    check_types(
        &server,
        "SELECT lag(severity_number, ?) OVER (ORDER BY timestamp), approx_percentile_cont(severity_number, ?) OVER () FROM logs",
        &[("1", T::Int64), ("2", T::Float64)],
    )
    .await;
}

#[tokio::test]
async fn values_are_taken_wherever_a_parameter_stands() {
    let server = server_with_logs(&LOGS, &[]).await;
    let count = "SELECT count(*) FROM logs WHERE ";
    let cases: [(&str, Vec<ArrayRef>, i64); 16] = [
        ("severity_number = $1 OR service_name = $1", vec![text("0")], 3),
        ("service_name = $2", vec![int(0), text("api")], 2),
        ("timestamp < to_timestamp(0) + ?", vec![text("90 seconds")], 2),
        ("timestamp < to_timestamp(0) + INTERVAL ?", vec![text("1 minute 30 seconds")], 2),
        ("timestamp < to_timestamp(0) + INTERVAL ? SECOND", vec![int(90)], 2),
        ("timestamp < to_timestamp(0) + INTERVAL ? MINUTE", vec![Arc::new(Float64Array::from(vec![1.5]))], 2),
        ("date_bin(?, timestamp) = to_timestamp(0)", vec![text("1 minute")], 2),
        ("date_bin(INTERVAL ?, timestamp) = to_timestamp(0)", vec![text("1 hour")], 3),
        ("date_trunc(?, timestamp) = to_timestamp(0)", vec![text("minute")], 2),
        ("attributes->>? = ?", vec![text("http.route"), text("/a")], 1),
        ("attributes[?] IS NOT NULL", vec![text("http.route")], 2),
        ("timestamp = ?", vec![Arc::new(TimestampMicrosecondArray::from(vec![2_000_000]))], 1),
        ("severity_number < ?", vec![Arc::new(UInt64Array::from(vec![u64::MAX]))], 3),
        ("severity_number < ?", vec![Arc::new(Float64Array::from(vec![0.5]))], 3),
        ("service_name = ?", vec![Arc::new(NullArray::new(1))], 0),
        ("coalesce(?, service_name) = ?", vec![text("web"), text("web")], 3),
    ];
    for (condition, values, expected) in cases {
        let names: Vec<String> = (0..values.len()).map(|n| n.to_string()).collect();
        let values = row(names.iter().map(String::as_str).zip(values).collect());
        check_int(&server, &format!("{count}{condition}"), values, expected).await;
    }
}

#[tokio::test]
async fn a_statement_takes_the_type_of_an_untyped_value() {
    let server = TestServer::start().await;
    for value in [int(1), text("a"), Arc::new(Float64Array::from(vec![0.5])) as ArrayRef] {
        let rows = run(&server, "SELECT ? AS x", row(vec![("0", Arc::clone(&value))])).await;
        assert_eq!(rows[0].column(0), &value);
    }
    let statement = server.client().prepare("SELECT ? AS x, ? + 1 AS y".to_owned(), None).await.unwrap();
    let types: Vec<_> =
        statement.dataset_schema().unwrap().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(types, [DataType::Utf8, DataType::Int64]);
}

#[tokio::test]
async fn an_empty_bind_suits_a_statement_without_parameters() {
    let server = TestServer::start().await;
    let client = Raw(&server);
    let old = client.prepare("SELECT 7").await;
    let new = client.bind(&old, RecordBatch::new_empty(Arc::new(Schema::empty()))).await;
    assert_eq!((client.number(&old).await, client.number(&new).await), (7, 7));
}
