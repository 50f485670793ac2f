//! Statements: what they answer and how they are refused.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use tonic::Code;

use super::fixture::*;

const LOGS: [Log<'_>; 3] = [
    (1_000_000_000, "api", r#"{"http.route":"/a","http.status":200,"nested":{"k":[1,2]}}"#),
    (2_000_000_000, "api", r#"{"http.route":"/b","http.status":500}"#),
    (3_000_000_000, "web", "{}"),
];

const FOREIGN: [Log<'_>; 1] = [(4_000_000_000, "secret", r#"{"http.route":"/secret"}"#)];

async fn check(server: &TestServer, sql: &str, expected: &[&str]) {
    let table = server.table(sql).await;
    assert_eq!(table.lines().collect::<Vec<_>>(), expected, "{sql}\n{table}");
}

async fn check_refused(server: &TestServer, sql: &str, code: Code, shown: &str) {
    let status = server.error(sql).await;
    assert_eq!(status.code(), code, "{sql}: {}", status.message());
    assert!(status.message().contains(shown), "{sql}: {}", status.message());
    for internal in ["DataFusion", "Plan(", "SchemaError", "src/", "panicked", "other", "secret"] {
        assert!(!status.message().contains(internal), "{sql}: {}", status.message());
    }
}

#[tokio::test]
async fn rows_come_in_order_and_only_the_callers() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    check(
        &server,
        "SELECT timestamp, service_name, attributes->>'http.route' AS route FROM logs ORDER BY timestamp",
        &[
            "+----------------------+--------------+-------+",
            "| timestamp            | service_name | route |",
            "+----------------------+--------------+-------+",
            "| 1970-01-01T00:00:01Z | api          | /a    |",
            "| 1970-01-01T00:00:02Z | api          | /b    |",
            "| 1970-01-01T00:00:03Z | web          |       |",
            "+----------------------+--------------+-------+",
        ],
    )
    .await;
}

#[tokio::test]
async fn attributes_are_reached_by_operator_subscript_and_function() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    check(
        &server,
        "SELECT attributes['http.route'] AS a, attributes->'http.status' AS b, attributes ? 'nested' AS c,
                json_get_int(attributes, 'http.status') AS d, attributes->'nested'->'k'->>0 AS e, attributes->'nested' AS f
         FROM logs WHERE attributes['http.route'] = '/a' AND attributes->>'http.route' = '/a'",
        &[
            "+----+-----+------+-----+---+-------------+",
            "| a  | b   | c    | d   | e | f           |",
            "+----+-----+------+-----+---+-------------+",
            "| /a | 200 | true | 200 | 1 | {\"k\":[1,2]} |",
            "+----+-----+------+-----+---+-------------+",
        ],
    )
    .await;
    let titles = server.rows("SELECT attributes['http.route'], attributes->>'http.route' FROM logs").await;
    let schema = titles[0].schema();
    let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["attributes['http.route']", "attributes ->> 'http.route'"]);
}

/// Text columns are dictionaries inside; some of DataFusion's functions take none.
#[tokio::test]
async fn every_aggregate_of_text_takes_every_text_column() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    for column in ["service_name", "attributes", "body"] {
        for aggregate in
            ["approx_distinct", "count", "min", "max", "array_agg", "first_value", "last_value", "any_value"]
        {
            let sql = format!("SELECT {aggregate}({column}) AS a FROM logs");
            assert_eq!(server.rows(&sql).await[0].num_rows(), 1, "{sql}");
        }
    }
    check(
        &server,
        "SELECT approx_distinct(service_name) AS n FROM logs",
        &["+---+", "| n |", "+---+", "| 2 |", "+---+"],
    )
    .await;
}

#[tokio::test]
async fn attributes_can_be_grouped_ordered_and_nested_deeply() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    for key in ["attributes['http.route']", "attributes->>'http.route'"] {
        check(
            &server,
            &format!("SELECT {key} AS r, count(*) AS n FROM logs WHERE {key} IS NOT NULL GROUP BY {key} ORDER BY {key} DESC"),
            &["+----+---+", "| r  | n |", "+----+---+", "| /b | 1 |", "| /a | 1 |", "+----+---+"],
        )
        .await;
    }
    let deep = "->'a'".repeat(200);
    assert_eq!(server.rows(&format!("SELECT attributes{deep} FROM logs")).await[0].num_rows(), 3);
}

#[tokio::test]
async fn recent_rows_are_found_with_now_and_intervals() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let count = "SELECT count(*) FROM logs WHERE timestamp > now() - INTERVAL '5 minutes'";
    assert_eq!(server.rows(count).await[0].column(0).as_primitive::<Int64Type>().value(0), 0);
    let old = "SELECT service_name, count(*) AS cnt FROM logs WHERE timestamp < now() - INTERVAL '5 minutes' \
               GROUP BY service_name ORDER BY cnt DESC";
    assert_eq!(server.rows(old).await[0].num_rows(), 2);
}

#[tokio::test]
async fn an_empty_result_keeps_its_schema_and_names_keep_their_case() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    for sql in [
        "SELECT * FROM logs WHERE 1 = 0",
        "SELECT * FROM metrics",
        "SELECT service_name AS \"MyCol\", NULL AS n, 1 AS x, INTERVAL '1 day' AS i FROM LOGS WHERE false",
        "SELECT l.severity_number, r.severity_number FROM logs l LEFT JOIN logs r ON l.body = r.event_name WHERE 1 = 0",
        "SELECT attributes->'a' FROM logs WHERE false UNION ALL SELECT attributes->'b' FROM logs WHERE false",
    ] {
        assert_eq!(server.rows(sql).await[0].num_rows(), 0, "{sql}");
    }
}

#[tokio::test]
async fn streams_keep_their_promise_for_many_shapes_of_statement() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    for sql in [
        "SELECT 1 AS a; -- done",
        "SELECT count(*), sum(severity_number), avg(severity_number) FROM logs",
        "SELECT service_name, count(*) FROM logs GROUP BY service_name ORDER BY 2 DESC",
        "SELECT a.*, b.body FROM logs a LEFT JOIN logs b ON a.body = b.event_name",
        "SELECT * FROM logs a FULL JOIN traces b USING (trace_id)",
        "SELECT body FROM logs UNION SELECT NULL UNION ALL SELECT service_name FROM logs",
        "WITH t AS (SELECT body FROM logs) SELECT (SELECT max(body) FROM t) FROM t WHERE EXISTS (SELECT 1 FROM logs l WHERE l.body = t.body)",
        "SELECT row_number() OVER (ORDER BY timestamp), lag(body) OVER (ORDER BY timestamp) FROM logs",
        "SELECT date_bin(INTERVAL '1 minute', timestamp) AS t, count(*) FROM logs GROUP BY t",
        "SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY severity_number) FROM logs",
        "SELECT array_agg(service_name), [1, NULL], struct(body, service_name), map(['a'], [1]) FROM logs GROUP BY body, service_name",
        "SELECT arrow_cast('a', 'LargeUtf8'), arrow_cast(1, 'Float16'), arrow_cast('1.5', 'Decimal256(50, 2)')",
        "SELECT now(), current_date, INTERVAL '1 day', timestamp '2026-01-01', NULL",
        "EXPLAIN SELECT * FROM logs",
        "EXPLAIN ANALYZE SELECT * FROM logs",
        "DESCRIBE logs",
        "SHOW TABLES",
        "SHOW COLUMNS FROM logs",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM information_schema.schemata",
        "VALUES (1, 'a'), (2, NULL)",
        "SELECT * FROM generate_series(1, 3)",
        "SELECT * FROM LOGS WHERE Service_Name IS NOT NULL",
        "SELECT * FROM alula.public.logs",
    ] {
        assert!(server.rows(sql).await.iter().map(RecordBatch::num_rows).sum::<usize>() > 0, "{sql}");
    }
}

#[tokio::test]
async fn mistakes_get_an_error_that_helps() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    let invalid = Code::InvalidArgument;
    check_refused(&server, "SELEC 1", invalid, "line 1, column 1").await;
    check_refused(&server, "SELECT * FROM nosuch", Code::NotFound, "the tables are: ").await;
    check_refused(&server, "SELECT * FROM log", Code::NotFound, "the tables are: logs, ").await;
    for table in ["system.ingest_rejection", "ingest_rejections"] {
        let known = "the tables are: system.ingest_rejections, ";
        check_refused(&server, &format!("SELECT * FROM {table}"), Code::NotFound, known).await;
    }
    check_refused(
        &server,
        "SELECT * FROM nosuch.public.logs",
        Code::NotFound,
        "nosuch.public.logs does not exist",
    )
    .await;
    check_refused(&server, "SELECT servce_name FROM logs", invalid, "did you mean logs.service_name").await;
    check_refused(&server, "SELECT\n  nosuch FROM logs", invalid, "at line 2, column 3").await;
    check_refused(&server, "SELECT no_such_function(1)", invalid, "no_such_function").await;
    check_refused(
        &server,
        "SELECT 1 / (severity_number - severity_number) FROM logs",
        invalid,
        "division by zero",
    )
    .await;
    check_refused(&server, "SELECT CAST(body AS BIGINT) FROM logs", invalid, "body").await;
    check_refused(&server, "SELECT $1", invalid, "parameter $1 has no value").await;
    check_refused(&server, "CREATE VIEW v AS SELECT 1", invalid, "read-only").await;
    check_refused(&server, "SELECT 1 INTO t", Code::Unimplemented, "write CREATE TABLE ... AS").await;
    check_refused(
        &server,
        "SELECT EXISTS (SELECT 1)",
        Code::Unimplemented,
        "Exists cannot be used in this place",
    )
    .await;
    check_refused(&server, "SHOW ALL", Code::Unimplemented, "SHOW of settings").await;
    check_refused(&server, "SELECT version()", invalid, "version").await;
    check_refused(&server, "SELECT * FROM '/etc/passwd'", Code::NotFound, "does not exist").await;
}

#[tokio::test]
async fn information_schema_tells_of_this_tenant_and_no_settings() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    check(
        &server,
        "SELECT DISTINCT table_catalog, table_schema, table_name FROM information_schema.tables \
         WHERE table_schema <> 'information_schema' ORDER BY table_schema, table_name",
        &[
            "+---------------+--------------+-------------------+",
            "| table_catalog | table_schema | table_name        |",
            "+---------------+--------------+-------------------+",
            "| alula         | public       | logs              |",
            "| alula         | public       | metric_exemplars  |",
            "| alula         | public       | metrics           |",
            "| alula         | public       | span_events       |",
            "| alula         | public       | span_links        |",
            "| alula         | public       | traces            |",
            "| alula         | system       | data_loss         |",
            "| alula         | system       | deletions         |",
            "| alula         | system       | ingest_rejections |",
            "| alula         | system       | queries           |",
            "+---------------+--------------+-------------------+",
        ],
    )
    .await;
    assert_eq!(server.rows("SELECT * FROM information_schema.df_settings").await[0].num_rows(), 0);
}

#[tokio::test]
async fn long_chains_of_operators_do_not_overflow_a_stack() {
    let server = TestServer::start().await;
    let sum = format!("SELECT 1{}", "+1".repeat(500));
    assert_eq!(server.rows(&sum).await[0].column(0).as_primitive::<Int64Type>().value(0), 501);
}

/// Scenario: forty columns, each computed twice from the one before: 1.5 KB of SQL that the optimizer would blow up to 2^40
/// operations while it pushes the filter down.
#[tokio::test]
async fn expressions_that_double_at_each_step_are_refused_before_they_grow() {
    let server = server_with_logs(&LOGS, &FOREIGN).await;
    for step in ["v + v", "CASE WHEN v > 1 THEN v ELSE v + 1 END"] {
        let chain = |steps: usize| {
            let ctes: Vec<_> =
                (1..=steps).map(|i| format!("t{i} AS (SELECT {step} AS v FROM t{})", i - 1)).collect();
            let ctes = ctes.join(", ");
            format!(
                "WITH t0 AS (SELECT severity_number AS v FROM logs), {ctes} SELECT count(*) FROM t{steps} WHERE v > 0"
            )
        };
        check_refused(&server, &chain(40), Code::ResourceExhausted, "operations in one expression").await;
        assert_eq!(server.rows(&chain(6)).await[0].num_rows(), 1, "a short chain is fine");
    }
}

#[tokio::test]
async fn a_statement_that_is_too_long_or_runs_too_long_is_told_which_limit() {
    let server = TestServer::start_with(|config| {
        config.max_sql_bytes = 1000;
        config.statement_timeout = Some(std::time::Duration::from_millis(100));
    })
    .await;
    let long = format!("SELECT '{}'", "x".repeat(1000));
    check_refused(&server, &long, Code::ResourceExhausted, "query.max_sql_bytes").await;
    let endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value % 7 = b.value % 3";
    check_refused(&server, endless, Code::DeadlineExceeded, "query.statement_timeout").await;
}

#[tokio::test]
async fn a_query_past_its_memory_is_told_the_limit() {
    let server = TestServer::start_with(|config| {
        config.memory_limit_bytes = 1 << 20;
        config.spill_limit_bytes = 1 << 20;
    })
    .await;
    let large = "SELECT array_agg(value) FROM generate_series(1, 3000000)";
    check_refused(&server, large, Code::ResourceExhausted, "query.memory_limit").await;
}

#[tokio::test]
async fn shutdown_ends_a_running_stream_with_an_error_and_refuses_the_next() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let sql =
        "SELECT a.value, repeat('x', 1000) FROM generate_series(1, 100000) a, generate_series(1, 10000) b";
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    server.flight.shutdown();
    let last = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            last => break last,
        }
    };
    assert!(matches!(last, Some(Err(_))), "a stream that was cut off must not end cleanly");
    assert_eq!(server.error("SELECT 1").await.code(), Code::Unavailable);
}
