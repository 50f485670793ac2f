//! Bulk ingest into `metrics`, `logs` and `traces`: what a server sends of a table can be sent back, and little is enough.

use std::sync::Arc;

use alula_auth::Role;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionEndTransactionRequest, Any,
    CommandStatementIngest, EndTransaction, ProstMessageExt, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{Metric, Summary, SummaryDataPoint};
use prost::Message as _;
use tonic::{Code, Status};

use crate::fixture::otlp::{
    BASE_NS, SECOND_NS, attributes, double, double_point, gauge, int, int_point, log, logs, metrics, now_ns,
    span, text, traces, value,
};
use crate::fixture::{Client, Process, TestServer, signal};
use crate::metric_functions::send_examples;

const TABLES: [&str; 3] = ["metrics", "logs", "traces"];

/// All columns but those that a server makes itself.
const ALL_BUT_OWN: &str = "SELECT * EXCEPT (tenant_id, ingested_at, ingest_seq) FROM";

fn append(table: &str) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Fail.into(),
            if_exists: TableExistsOption::Append.into(),
        }),
        table: table.to_owned(),
        ..CommandStatementIngest::default()
    }
}

fn rows<'a>(columns: impl IntoIterator<Item = (&'a str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Log records of one second each, which say their number.
fn numbered(count: i64) -> RecordBatch {
    let times = (0..count).map(|number| BASE_NS as i64 + number * SECOND_NS as i64);
    let bodies: StringArray = (0..count).map(|number| Some(number.to_string())).collect();
    rows([
        ("timestamp", Arc::new(TimestampNanosecondArray::from_iter_values(times)) as ArrayRef),
        ("body", Arc::new(bodies)),
    ])
}

async fn send_logs(client: &Client) {
    let bodies = [
        value(Value::BoolValue(true)),
        int(i64::MIN),
        double(1.0),
        value(Value::DoubleValue(f64::NAN)),
        value(Value::BytesValue(vec![0, 255])),
        value(Value::ArrayValue(ArrayValue { values: vec![int(1), text("x")] })),
        value(Value::KvlistValue(KeyValueList { values: attributes([("$bytes", text("b"))]) })),
        text("say \"hi\"\n"),
    ];
    let records = bodies.into_iter().zip(0..).map(|(body, number)| LogRecord {
        body: Some(body),
        attributes: attributes([("n", int(number)), ("share", double(0.5))]),
        trace_id: vec![7; 16],
        flags: 1,
        ..log(BASE_NS + number as u64, "")
    });
    let observed = LogRecord { observed_time_unix_nano: BASE_NS, ..LogRecord::default() };
    let without_body = LogRecord { body: None, ..log(BASE_NS, "") };
    client.send(logs("shop", records.chain([observed, without_body]).collect())).await;
}

/// Rows of every kind in all three tables.
async fn send_all(client: &Client) {
    send_examples(client).await;
    send_logs(client).await;
    let summary = Summary {
        data_points: vec![SummaryDataPoint {
            time_unix_nano: BASE_NS,
            count: u64::MAX,
            sum: 2.5,
            quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: 0.25 }],
            ..SummaryDataPoint::default()
        }],
    };
    let summary =
        Metric { name: "summary".to_owned(), data: Some(Data::Summary(summary)), ..Metric::default() };
    let level = gauge("level", vec![double_point(BASE_NS, f64::NAN), int_point(BASE_NS + 1, (1 << 53) + 1)]);
    client.send(metrics("shop", vec![summary, level])).await;
    client.send(traces("shop", vec![span(9, 1, "GET /", BASE_NS, SECOND_NS)])).await;
}

/// The rows of a table in some order that does not depend on how they came.
async fn shown(client: &Client, table: &str) -> Vec<String> {
    let answer = client.query(&format!("{ALL_BUT_OWN} {table}")).await.unwrap().table();
    let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Scenario: everything is read from one tenant, as each kind of client is sent it, and ingested into another.
#[tokio::test]
async fn what_a_client_is_sent_can_be_sent_back_and_gives_the_same_rows() {
    let server = TestServer::start().await;
    let source = server.client("acme").await;
    send_all(&source).await;
    for profile in ["native", "safe", "jdbc", "jdbc-unzoned", "bi"] {
        let copy = server.client(profile).await;
        for table in TABLES {
            let read = source.with_profile(profile).query(&format!("SELECT * FROM {table}")).await.unwrap();
            let num_rows = read.rows().num_rows();
            assert!(num_rows > 1, "{table}");
            let stored = copy.ingest(append(table), read.batches).await;
            assert_eq!(
                stored.unwrap_or_else(|status| panic!("{profile} {table}: {status}")),
                num_rows as i64
            );
            assert_eq!(shown(&copy, table).await, shown(&source, table).await, "{profile} {table}");
        }
    }
}

#[tokio::test]
async fn a_few_columns_are_enough() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let time = || -> ArrayRef { Arc::new(TimestampNanosecondArray::from(vec![BASE_NS as i64])) };
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let value: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    let metrics = rows([("timestamp", time()), ("name", text("m")), ("value", value)]);
    assert_eq!(client.ingest(append("metrics"), vec![metrics]).await.unwrap(), 1);
    let logs = rows([("time", time()), ("body", text("b"))]);
    assert_eq!(client.ingest(append("logs"), vec![logs]).await.unwrap(), 1);
    let duration: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let traces = rows([
        ("timestamp", time()),
        ("trace_id", text(&"07".repeat(16))),
        ("span_id", text(&"01".repeat(8))),
        ("name", text("s")),
        ("duration_ns", duration),
    ]);
    assert_eq!(client.ingest(append("traces"), vec![traces]).await.unwrap(), 1);
    client
        .assert_rows(
            "SELECT timestamp, name, type, value FROM metrics",
            "timestamp | name | type | value
             2025-01-01T00:00:00Z | m | gauge | 1.5",
        )
        .await;
    client
        .assert_rows(
            "SELECT timestamp, body, body_type FROM logs",
            "timestamp | body | body_type
             2025-01-01T00:00:00Z | b | string",
        )
        .await;
    client
        .assert_rows(
            "SELECT name, end_timestamp, duration_ns FROM traces",
            "name | end_timestamp | duration_ns
             s | 2025-01-01T00:00:00.000000005Z | 5",
        )
        .await;
}

#[tokio::test]
async fn a_stream_that_is_sent_again_is_stored_once_and_nobody_else_sees_it() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for batches in
        [vec![numbered(25_000)], vec![numbered(25_000).slice(0, 7), numbered(25_000).slice(7, 24_993)]]
    {
        assert_eq!(client.ingest(append("logs"), batches).await.unwrap(), 25_000);
        let counted = "SELECT count(DISTINCT body) FROM logs WHERE (SELECT count(*) FROM logs) = 25000";
        assert_eq!(client.count(counted).await, 25_000);
    }
    assert_eq!(server.client("other").await.count("SELECT count(*) FROM logs").await, 0);
}

#[tokio::test]
async fn who_may_not_write_cannot_ingest() {
    let server = TestServer::start().await;
    let reader = server.client_with(&server.token("acme", "reader", Role::Read)).await;
    let refused = reader.ingest(append("logs"), vec![numbered(1)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert_eq!(reader.count("SELECT count(*) FROM logs").await, 0);
}

#[tokio::test]
async fn what_is_wrong_is_told_by_row_and_column() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let check = async |batches: Vec<RecordBatch>, expected: &str| {
        let refused = client.ingest(append("logs"), batches).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, expected));
    };
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    check(vec![rows([("n", number)])], "column timestamp is missing; rows for logs need timestamp").await;
    let late: ArrayRef =
        Arc::new(TimestampNanosecondArray::from(vec![(now_ns() + 7_200 * SECOND_NS) as i64]));
    check(
        vec![rows([("timestamp", late)])],
        "row 1 cannot be stored: timestamp is more than 3600s ahead of the server's clock; correct the sender's clock or \
         raise ingest.max_future",
    )
    .await;
    let attributes: StringArray =
        (0..15_000).map(|row| Some(if row < 14_999 { "{}" } else { "{" })).collect();
    let times = TimestampNanosecondArray::from(vec![BASE_NS as i64; 15_000]);
    let batch = rows([("timestamp", Arc::new(times) as ArrayRef), ("attributes", Arc::new(attributes))]);
    check(
        vec![batch],
        "the first 10000 rows are stored, and the others are not: row 15000: attributes is not the JSON that belongs there, \
         from \"\" on",
    )
    .await;
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 10_000);
}

async fn end(client: &Client, transaction_id: &Bytes, action: EndTransaction) -> Result<(), Status> {
    let request =
        ActionEndTransactionRequest { transaction_id: transaction_id.clone(), action: action.into() };
    client.action("EndTransaction", request.as_any().encode_to_vec()).await.map(drop)
}

#[tokio::test]
async fn rows_of_a_transaction_are_there_once_it_is_committed() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for (ending, expected) in [(EndTransaction::Rollback, 0), (EndTransaction::Commit, 30_000)] {
        let request = ActionBeginTransactionRequest {}.as_any().encode_to_vec();
        let begun = client.action("BeginTransaction", request).await.unwrap().remove(0);
        let begun: ActionBeginTransactionResult = Any::decode(begun).unwrap().unpack().unwrap().unwrap();
        for _ in 0..2 {
            let command = CommandStatementIngest {
                transaction_id: Some(begun.transaction_id.clone()),
                ..append("logs")
            };
            assert_eq!(client.ingest(command, vec![numbered(15_000)]).await.unwrap(), 15_000);
        }
        assert_eq!(client.count("SELECT count(*) FROM logs").await, 0);
        end(&client, &begun.transaction_id, ending).await.unwrap();
        assert_eq!(client.count("SELECT count(*) FROM logs").await, expected);
    }
}

/// Guarantees: rows that were ingested are in the log, whatever ends the process.
#[tokio::test]
async fn ingested_rows_survive_a_kill() {
    let mut server = Process::start(&[]).await;
    let stored = server.client("acme").await.ingest(append("logs"), vec![numbered(15_000)]).await;
    assert_eq!(stored.unwrap(), 15_000);
    signal("KILL", server.pid());
    server.exited().await;
    let server = server.start_again(&[]).await;
    assert_eq!(server.client("acme").await.count("SELECT count(DISTINCT body) FROM logs").await, 15_000);
}
