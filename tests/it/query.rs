//! The queries people write; the same rows from the buffer and from files; streaming; what is refused.

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Int64Type};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use futures::{StreamExt as _, TryStreamExt as _};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::Code;

use crate::fixture::otlp::{
    BASE_NS, SECOND_NS, attributes, double, gauge, int, int_point, log, logs, metrics, now_ns, span, text,
    trace_id, traces, value,
};
use crate::fixture::{Client, TestServer, eventually, statement, ticket, within_bound};

#[tokio::test]
async fn the_two_queries_of_the_readme_work_as_written() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let now = now_ns();
    let recent = |count: u64| (0..count).map(|number| int_point(now - number * SECOND_NS, 1)).collect();
    let old = vec![int_point(now - 600 * SECOND_NS, 1)];
    let all = vec![gauge("cpu", recent(3)), gauge("memory", recent(2)), gauge("old", old)];
    client.send(metrics("api", all)).await;
    let recent = "SELECT count(*) FROM metrics WHERE timestamp > now() - INTERVAL '5 minutes'";
    let by_name = "SELECT name, count(*) AS cnt FROM metrics WHERE timestamp > now() - INTERVAL '5 minutes' \
                   GROUP BY name ORDER BY cnt DESC";
    let check = async |client: &Client| {
        assert_eq!(client.count(recent).await, 5);
        client.assert_rows(by_name, "name | cnt\ncpu | 3\nmemory | 2").await;
    };
    check(&client).await;
    check(&server.restart().await.client("acme").await).await;
}

fn point(number: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes([
            ("http.route", text(&format!("/{}", number % 3))),
            ("n", int(number as i64)),
        ]),
        ..int_point(BASE_NS + number * 600 * SECOND_NS, number as i64)
    }
}

fn span_of(number: u64) -> Span {
    let number = number as u8 + 1;
    let start = BASE_NS + u64::from(number) * 600 * SECOND_NS;
    Span {
        attributes: attributes([("http.route", text(&format!("/{}", number % 3)))]),
        ..span(number, number, &format!("op {number}"), start, u64::from(number) * 1_000_000)
    }
}

fn record(number: u64) -> LogRecord {
    LogRecord {
        trace_id: trace_id(number as u8 + 1),
        span_id: vec![number as u8 + 1; 8],
        ..log(BASE_NS + number * 600 * SECOND_NS, &format!("line {number}"))
    }
}

/// Records number `from` to `to` of every signal, from two services, spread over hours.
async fn send_range(client: &Client, from: u64, to: u64) {
    for number in from..to {
        let service = if number % 2 == 0 { "even" } else { "odd" };
        client.send(metrics(service, vec![gauge("g", vec![point(number)])])).await;
        client.send(traces(service, vec![span_of(number)])).await;
        client.send(logs(service, vec![record(number)])).await;
    }
}

/// Everything but the time of receipt.
const SAME_ANSWERS: [&str; 16] = [
    "SELECT * EXCLUDE (ingested_at) FROM metrics ORDER BY timestamp",
    "SELECT * EXCLUDE (ingested_at) FROM logs ORDER BY timestamp",
    "SELECT * EXCLUDE (ingested_at) FROM traces ORDER BY timestamp",
    "SELECT count(*) FROM metrics",
    "SELECT count(*), min(timestamp), max(timestamp), sum(value_int), avg(value) FROM metrics",
    "SELECT service_name, count(*) FROM logs GROUP BY service_name ORDER BY service_name",
    "SELECT * EXCLUDE (ingested_at) FROM metrics WHERE timestamp >= '2025-01-01T02:00:00Z' \
     AND timestamp < '2025-01-01T03:00:00Z' ORDER BY timestamp",
    "SELECT value_int FROM metrics WHERE attributes->>'http.route' = '/1' ORDER BY value_int",
    "SELECT value_int FROM metrics WHERE attributes['http.route'] = '/2' ORDER BY value_int",
    "SELECT json_get_int(attributes, 'n') AS n FROM metrics ORDER BY n DESC LIMIT 3",
    "SELECT t.name, l.body FROM logs l JOIN traces t ON l.trace_id = t.trace_id ORDER BY t.name",
    "SELECT t.name FROM traces t LEFT JOIN logs l ON l.trace_id = t.trace_id AND l.service_name = 'odd' \
     WHERE l.body IS NULL ORDER BY t.name",
    "SELECT name FROM traces WHERE trace_id = '05050505050505050505050505050505'",
    "SELECT date_bin(INTERVAL '1 hour', timestamp) AS hour, count(*) AS n FROM logs GROUP BY hour ORDER BY hour",
    "SELECT body, row_number() OVER (PARTITION BY service_name ORDER BY timestamp) AS rn FROM logs ORDER BY body",
    "SELECT count(*) FROM logs WHERE service_name IS NULL",
];

async fn answers(client: &Client) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    for sql in SAME_ANSWERS {
        let answer = client.query(sql).await.unwrap_or_else(|status| panic!("{sql}: {status}"));
        answers.push(answer.to_bytes());
    }
    answers
}

fn assert_same(expected: &[Vec<u8>], found: &[Vec<u8>]) {
    for ((sql, expected), found) in SAME_ANSWERS.iter().zip(expected).zip(found) {
        assert!(expected == found, "another answer to {sql}");
    }
}

/// The sequence numbers are part of the comparison: the log goes on where it was before the restart.
#[tokio::test]
async fn the_same_rows_answer_the_same_before_and_after_a_flush_and_half_and_half() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_range(&client, 0, 24).await;
    assert_eq!(client.count("SELECT count(*) FROM metrics").await, 24);
    let from_buffer = answers(&client).await;
    let server = server.restart().await;
    assert_same(&from_buffer, &answers(&server.client("acme").await).await);

    let server = TestServer::start().await;
    send_range(&server.client("acme").await, 0, 13).await;
    let server = server.restart().await;
    let client = server.client("acme").await;
    send_range(&client, 13, 24).await;
    assert_same(&from_buffer, &answers(&client).await);
}

#[tokio::test]
async fn a_flush_while_queries_run_changes_no_answer() {
    // Every few requests start a flush.
    let server = TestServer::start_with(|config| config.storage.flush_bytes = "4KiB".parse().unwrap()).await;
    let client = server.client("acme").await;
    for number in 0..60 {
        client.send(metrics("api", vec![gauge("g", vec![point(number)])])).await;
        client
            .assert_rows(
                "SELECT count(*) AS n, count(DISTINCT value_int) AS d, max(value_int) AS last FROM metrics",
                &format!("n | d | last\n{0} | {0} | {number}", number + 1),
            )
            .await;
    }
}

#[tokio::test]
async fn logs_and_traces_join_on_the_trace_id() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_range(&client, 0, 4).await;
    client
        .assert_rows(
            "SELECT t.name, t.duration_ns, l.body, t.attributes->>'http.route' AS route \
             FROM logs AS l JOIN traces AS t ON l.trace_id = t.trace_id AND l.span_id = t.span_id ORDER BY t.name",
            "name | duration_ns | body | route
             op 1 | 1000000 | line 0 | /1
             op 2 | 2000000 | line 1 | /2
             op 3 | 3000000 | line 2 | /0
             op 4 | 4000000 | line 3 | /1",
        )
        .await;
}

#[tokio::test]
async fn attributes_keep_their_types_in_every_way_of_asking() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let nested = value(opentelemetry_proto::tonic::common::v1::any_value::Value::KvlistValue(
        opentelemetry_proto::tonic::common::v1::KeyValueList { values: attributes([("deep", int(7))]) },
    ));
    let record = LogRecord {
        attributes: attributes([
            ("http.route", text("/a/{b}")),
            ("n", int(42)),
            ("text.n", text("42")),
            ("ratio", double(0.1)),
            ("map", nested),
        ]),
        ..log(BASE_NS, "x")
    };
    client.send(logs("api", vec![record])).await;
    client
        .assert_rows(
            "SELECT attributes->>'http.route' AS a, attributes['http.route'] AS b, attributes->'n' = 42 AS c, \
             attributes->'text.n' = 42 AS d, attributes->>'n' AS e, json_get_int(attributes, 'n') + 1 AS f, \
             attributes->'map'->'deep' AS g, attributes->>'none' AS h, json_get_float(attributes, 'ratio') AS i FROM logs",
            "a | b | c | d | e | f | g | h | i
             /a/{b} | /a/{b} | true | NULL | 42 | 43 | 7 | NULL | 0.1",
        )
        .await;
}

#[tokio::test]
async fn the_first_rows_arrive_while_the_query_still_runs() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    // More rows than anyone would wait for.
    let info =
        client.flight_info(statement("SELECT * FROM generate_series(1, 1000000000000)")).await.unwrap();
    let messages = client.flight().do_get(client.request(ticket(&info))).await.unwrap().into_inner();
    let mut stream = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
    for _ in 0..3 {
        let batch = within_bound("rows", stream.next()).await.unwrap().unwrap();
        assert!(batch.num_rows() > 0);
    }
    drop(stream);
    client.assert_alive().await;
}

/// A join holds its first table in memory. Two of these do not fit, so the second shows whether the first still runs.
#[tokio::test]
async fn a_stream_that_is_dropped_ends_its_query() {
    let server = TestServer::start_with(|config| config.query.memory_limit = "24MiB".parse().unwrap()).await;
    let client = server.client("acme").await;
    let sql = "SELECT a.value AS a, b.value AS b FROM generate_series(1, 1000000) AS a \
               JOIN generate_series(1, 100000000) AS b ON a.value = b.value";
    let open = async || {
        let info = client.flight_info(statement(sql)).await.unwrap();
        let messages = client.flight().do_get(client.request(ticket(&info))).await?.into_inner();
        let stream = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
        // The first rows come once the first table is in memory.
        let (first, rest) = stream.into_future().await;
        first.unwrap().map(|_| rest)
    };
    let running = within_bound("the first query", open()).await.unwrap();
    let Err(FlightError::Tonic(refused)) = within_bound("the second query", open()).await else {
        panic!("both queries fit into memory at once: the test shows nothing");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("query.memory_limit"), "{refused}");
    drop(running);
    eventually("the memory of the dropped query", async || open().await.ok()).await;
}

#[tokio::test]
async fn an_answer_without_rows_has_the_schema_that_was_promised() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let check = async |client: &Client, filter: &str| {
        for table in ["metrics", "logs", "traces"] {
            // The fixture compares the schemas.
            let answer = client.query(&format!("SELECT * FROM {table} {filter}")).await.unwrap();
            assert!(answer.schema.field_with_name("tenant_id").is_ok());
            assert_eq!(answer.rows().num_rows(), 0, "{table}");
        }
    };
    check(&client, "").await;
    send_range(&client, 0, 1).await;
    check(&client, "WHERE service_name = 'nobody'").await;
    check(&client, "LIMIT 0").await;
    let server = server.restart().await;
    check(&server.client("acme").await, "WHERE service_name = 'nobody'").await;
    check(&server.client("somebody-else").await, "").await;
}

/// Dictionaries, views and large types stay inside where nothing is known of the client: several drivers misread them.
#[tokio::test]
async fn the_safe_profile_has_only_types_that_every_driver_reads() {
    fn assert_plain(name: &str, data_type: &DataType) {
        match data_type {
            DataType::List(item) => assert_plain(name, item.data_type()),
            DataType::Struct(fields) => {
                fields.iter().for_each(|field| assert_plain(field.name(), field.data_type()));
            }
            DataType::Timestamp(_, zone) => assert_eq!(zone.as_deref(), Some("UTC"), "{name}"),
            DataType::Utf8
            | DataType::Boolean
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float64 => {}
            other => panic!("{name} is sent as {other}"),
        }
    }
    let server = TestServer::start().await;
    let client = server.client("acme").await.with_profile("safe");
    send_range(&client, 0, 2).await;
    for table in ["metrics", "logs", "traces"] {
        for field in client.query(&format!("SELECT * FROM {table}")).await.unwrap().schema.fields() {
            assert_plain(field.name(), field.data_type());
        }
    }
}

#[tokio::test]
async fn what_would_change_something_is_refused() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_range(&client, 0, 1).await;
    let out = server.scratch().join("out.csv");
    let copy = format!("COPY logs TO '{}'", out.display());
    for sql in [
        "CREATE VIEW v AS SELECT 1",
        "CREATE SCHEMA s",
        "CREATE DATABASE d",
        "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
        "DROP TABLE logs",
        "DROP VIEW v",
        "ALTER TABLE logs ADD COLUMN a INT",
        "TRUNCATE TABLE logs",
        "INSERT INTO logs SELECT * FROM logs",
        "UPDATE logs SET body = ''",
        &copy,
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "EXPLAIN DELETE FROM logs",
        "GRANT ALL ON logs TO public",
    ] {
        client.assert_error(sql, Code::InvalidArgument, "read-only").await;
    }
    for sql in ["BEGIN", "COMMIT", "ROLLBACK"] {
        client.assert_error(sql, Code::InvalidArgument, "transaction calls of the driver").await;
    }
    assert!(!out.exists());
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 1);
}

#[tokio::test]
async fn no_statement_reaches_a_file_or_tells_about_the_server() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_range(&client, 0, 1).await;
    let server = server.restart().await;
    let client = server.client("acme").await;
    let data_dir = server.data_dir();
    let file = data_dir.join("catalog.db").display().to_string();
    for sql in [
        format!("SELECT * FROM '{file}'"),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "SELECT * FROM \"s3://bucket/key.parquet\"".to_owned(),
        "SELECT * FROM read_parquet('/etc/passwd')".to_owned(),
        "SELECT * FROM parquet_metadata('x')".to_owned(),
        "SELECT input_file_name() FROM logs".to_owned(),
        "SELECT version()".to_owned(),
        "SHOW ALL".to_owned(),
        "SHOW datafusion.runtime.temp_directory".to_owned(),
        "EXPLAIN ANALYZE SELECT * FROM logs".to_owned(),
    ] {
        let status = client.error(&sql).await;
        assert!(
            matches!(
                status.code(),
                Code::NotFound | Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied
            ),
            "{sql}: {status}"
        );
        if !sql.contains(&file) {
            assert!(!status.message().contains(data_dir.to_str().unwrap()), "{sql}: {status}");
        }
    }
    let settings = "SELECT count(*) FROM information_schema.df_settings";
    assert_eq!(client.count(settings).await, 0);
    let path = data_dir.to_str().unwrap();
    for sql in
        ["EXPLAIN SELECT * FROM logs", "EXPLAIN VERBOSE SELECT * FROM logs", "EXPLAIN FORMAT TREE SELECT 1"]
    {
        if let Ok(plan) = client.query(sql).await {
            let plan = plan.table();
            assert!(!plan.contains(path) && !plan.contains(".parquet"), "{sql}: {plan}");
        }
    }
}

#[tokio::test]
async fn timestamps_compare_with_text_numbers_and_intervals() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_range(&client, 0, 12).await;
    for (filter, expected) in [
        ("timestamp < '2025-01-01T01:00:00Z'", 6),
        ("timestamp < TIMESTAMP '2025-01-01 01:00:00'", 6),
        ("timestamp < TIMESTAMP '2025-01-01 00:00:00' + INTERVAL '1 hour'", 6),
        ("timestamp BETWEEN '2025-01-01' AND '2025-01-01T00:10:00+00:00'", 2),
        ("timestamp >= to_timestamp_nanos(1735689600000000000)", 12),
        ("CAST(timestamp AS BIGINT) = 1735689600000000000", 1),
        ("timestamp < now()", 12),
        ("date_trunc('hour', timestamp) = '2025-01-01T01:00:00Z'", 6),
        ("extract(minute FROM timestamp) = 30", 2),
        ("timestamp AT TIME ZONE 'UTC' < '2025-01-01T01:00:00Z'", 6),
    ] {
        let sql = format!("SELECT count(*) FROM logs WHERE {filter}");
        assert_eq!(client.count(&sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn wide_and_long_answers_come_in_messages_that_default_clients_take() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let long = "x".repeat(200_000);
    for request in 0..4 {
        let records = (0..10).map(|n| log(BASE_NS + request * 10 + n, &long)).collect();
        client.send(logs("api", records)).await;
    }
    let info = client.flight_info(statement("SELECT timestamp, body FROM logs")).await.unwrap();
    // Without the raised limit of the other tests: 4 MiB is what gRPC clients take unless told otherwise.
    let mut flight = arrow_flight::flight_service_client::FlightServiceClient::new(client.channel());
    let messages = flight.do_get(client.request(ticket(&info))).await.unwrap().into_inner();
    let stream = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 40);
    assert!(batches.len() > 1);
}

#[tokio::test]
async fn numbers_past_what_a_double_holds_stay_exact() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let points = vec![int_point(BASE_NS, i64::MAX), int_point(BASE_NS + 1, i64::MIN)];
    client.send(metrics("api", vec![gauge("g", points)])).await;
    let rows = client.rows("SELECT value_int FROM metrics ORDER BY timestamp").await;
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[i64::MAX, i64::MIN]);
}
