//! The rules of the reader in Grafana's InfluxDB data source (SQL mode), replayed.
//!
//! It names itself as `grpc-go`, takes messages of 4 MiB and exactly one endpoint, knows the types that [`field`] lists,
//! takes the number in a timestamp for nanoseconds, and makes a time series only of a column `time`.
//!
//! Source: <https://github.com/grafana/grafana/tree/main/pkg/tsdb/influxdb/fsql>

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow_flight::IpcMessage;
use arrow_flight::sql::CommandGetTables;

use super::fixture::*;

const AGENT: &str = "grpc-go/1.79.3";

const FROM: &str = "cast('1970-01-01T00:00:00Z' as timestamp)";
const TO: &str = "cast('1970-01-01T00:00:10Z' as timestamp)";

/// What the reader makes of a column; it panics, prints and leaves out what it does not know.
fn field(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Utf8 => "string",
        DataType::Boolean => "bool",
        DataType::Float32 | DataType::Float64 => "float",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "int",
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => "uint",
        DataType::Timestamp(TimeUnit::Nanosecond, _) => "time",
        DataType::Duration(_) => "int64",
        _ => return None,
    })
}

struct Frame {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Frame {
    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn column(&self, name: &str) -> Option<&'static str> {
        field(self.schema.field_with_name(name).ok()?.data_type())
    }
}

/// A statement as Grafana sends it, read as Grafana reads it. [`fetch`] checks for one endpoint.
async fn query(server: &TestServer, sql: &str) -> Frame {
    let mut client = server.client_named(AGENT).await;
    let info = client.execute(sql.to_owned(), None).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let (schema, batches) = fetch(&mut client, info).await;
    for column in schema.fields() {
        assert!(field(column.data_type()).is_some(), "{sql}: {} is {}", column.name(), column.data_type());
    }
    Frame { schema, batches }
}

const LOGS: [Log<'_>; 3] = [
    (1_000_000_000, "api", r#"{"a":1}"#),
    (2_000_000_000, "web", r#"{"a":2}"#),
    (4_000_000_000, "api", "{}"),
];

#[tokio::test]
async fn the_health_check_passes() {
    let server = TestServer::start().await;
    assert_eq!(query(&server, "select 1").await.rows(), 1);
}

/// Depends on the profile `bi`: lists as text.
#[tokio::test]
async fn tables_and_their_columns_are_found() {
    let server = TestServer::start().await;
    let mut client = server.client_named(AGENT).await;
    let command = CommandGetTables {
        table_types: vec!["BASE TABLE".to_owned(), "table".to_owned()],
        include_schema: true,
        ..CommandGetTables::default()
    };
    let info = client.get_tables(command).await.unwrap();
    let (_, batches) = fetch(&mut client, info).await;
    let names: Vec<_> = batches[0].column(2).as_string::<i32>().iter().flatten().collect();
    assert_eq!(names, ["logs", "metrics", "traces"]);
    for schema in batches[0].column(4).as_binary::<i32>().iter().flatten() {
        let schema = arrow::datatypes::Schema::try_from(IpcMessage(schema.to_vec().into())).unwrap();
        for column in schema.fields() {
            assert!(field(column.data_type()).is_some(), "{} is {}", column.name(), column.data_type());
        }
    }
    let schemas = "SELECT DISTINCT TABLE_SCHEMA from information_schema.TABLES \
                   where TABLE_TYPE != 'SYSTEM VIEW' ORDER BY TABLE_SCHEMA";
    assert!(query(&server, schemas).await.rows() >= 2);
    let tables =
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name";
    assert_eq!(query(&server, tables).await.rows(), 6);
    let columns = "SELECT column_name, data_type FROM information_schema.columns \
                   WHERE table_schema = 'public' AND table_name = 'logs' ORDER BY column_name";
    assert!(query(&server, columns).await.rows() > 20);
}

/// Depends on the profile `bi`: lists as text.
#[tokio::test]
async fn every_table_can_be_read_whole() {
    let server = server_with_logs(&LOGS, &[]).await;
    for table in ["logs", "metrics", "traces", "metric_exemplars", "span_events", "span_links"] {
        query(&server, &format!("SELECT * FROM {table}")).await;
    }
}

#[tokio::test]
async fn a_column_can_be_named_time_without_quotes() {
    let server = server_with_logs(&LOGS, &[]).await;
    for sql in [
        "SELECT timestamp AS time, 1.5 AS value FROM logs ORDER BY time",
        "SELECT timestamp time, 1.5 AS value FROM logs ORDER BY 1",
        "SELECT time, 1.5 AS value FROM logs ORDER BY time",
        "SELECT \"time\", 1.5 AS value FROM \"logs\" WHERE \"time\" >= timestamp '1970-01-01T00:00:00Z'",
    ] {
        let frame = query(&server, sql).await;
        assert_eq!((frame.column("time"), frame.rows()), (Some("time"), 3), "{sql}");
    }
}

#[tokio::test]
async fn the_query_builder_and_the_macros_are_understood() {
    let server = server_with_logs(&LOGS, &[]).await;
    let in_range = format!("\"time\" >= {FROM} AND \"time\" <= {TO}");
    let bin =
        |column: &str| format!("date_bin(interval '2 second', {column}, timestamp '1970-01-01T00:00:00Z')");
    let group = |column: &str| {
        let parts =
            ["minute", "hour", "day", "month", "year"].map(|part| format!("datepart('{part}', {column})"));
        parts.join(",")
    };
    let aliased = |column: &str| {
        let parts = ["minute", "hour", "day", "month", "year"]
            .map(|part| format!("datepart('{part}', {column}) as {column}_{part}"));
        parts.join(",")
    };
    for (sql, rows) in [
        (format!("SELECT \"service_name\", \"body\" FROM \"logs\" WHERE {in_range} LIMIT 50"), 3),
        (format!("SELECT count(\"body\") FROM \"logs\" WHERE {in_range} GROUP BY \"service_name\""), 2),
        (
            format!(
                "SELECT \"time\", \"body\" FROM \"logs\" WHERE {in_range} ORDER BY \"time\" DESC LIMIT 2"
            ),
            2,
        ),
        (
            format!(
                "SELECT {} as time, count(*) AS n FROM logs WHERE {in_range} GROUP BY 1 ORDER BY 1",
                bin("timestamp")
            ),
            3,
        ),
        (
            format!(
                "SELECT {} as time, count(*) AS n FROM logs WHERE {in_range} GROUP BY time ORDER BY time",
                bin("time")
            ),
            3,
        ),
        (format!("SELECT {} as timestamp_binned FROM logs GROUP BY timestamp_binned", bin("timestamp")), 3),
        (format!("SELECT count(*) AS n FROM logs GROUP BY {}", group("timestamp")), 1),
        (format!("SELECT count(*) AS n FROM logs GROUP BY {}", group("time")), 1),
        (
            format!(
                "SELECT {}, count(*) AS n FROM logs GROUP BY {}",
                aliased("timestamp"),
                group("timestamp")
            ),
            1,
        ),
        (format!("SELECT date_part('second', timestamp) AS s FROM logs WHERE timestamp <= {TO}"), 3),
        (format!("SELECT body FROM logs WHERE timestamp > {TO} - interval '8 second'"), 1),
    ] {
        assert_eq!(query(&server, &sql).await.rows(), rows, "{sql}");
    }
    let binned = format!("SELECT {} as time, count(*) AS n FROM logs GROUP BY 1", bin("timestamp"));
    assert_eq!(query(&server, &binned).await.column("time"), Some("time"));
}

#[tokio::test]
async fn large_rows_among_small_ones_fit_into_its_messages() {
    let server = TestServer::start().await;
    let sql = "SELECT CASE WHEN value % 1000 = 0 THEN arrow_cast(lpad('x', 100000, 'x'), 'Utf8') ELSE 'y' END AS text \
               FROM generate_series(1, 100000)";
    assert_eq!(query(&server, sql).await.rows(), 100_000);
}
