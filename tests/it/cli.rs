//! The command line as scripts use it: what is on which stream, and the exit codes.

use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use alula_auth::Role;
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::fixture::otlp::{BASE_NS, log, logs};
use crate::fixture::{Client, Output, Process, TestServer, alula, run};

const SQL: &str = "SELECT timestamp, body, severity_number AS n, trace_id FROM logs ORDER BY timestamp";

/// `alula sql` as a tenant of this server.
fn sql(server: &TestServer, arguments: &[&str]) -> Command {
    let token = server.token("acme", "cli", Role::Read);
    let mut command = alula(["sql", "--url", &server.url(), "--token", &token]);
    command.args(arguments);
    command
}

async fn with_logs() -> TestServer {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let records =
        vec![log(BASE_NS, "first, with \"quotes\""), log(BASE_NS + 1, "second\nline"), log(BASE_NS + 2, "")];
    client.send(logs("api", records)).await;
    server
}

async fn formatted(server: &TestServer, format: &str) -> Output {
    run(sql(server, &["--format", format, SQL])).await
}

#[tokio::test]
async fn sql_writes_csv_when_it_is_piped() {
    let server = with_logs().await;
    let expected = "timestamp,body,n,trace_id\n\
                    2025-01-01T00:00:00.000000000Z,\"first, with \"\"quotes\"\"\",9,\n\
                    2025-01-01T00:00:00.000000001Z,\"second\nline\",9,\n\
                    2025-01-01T00:00:00.000000002Z,,9,\n";
    for output in [run(sql(&server, &[SQL])).await, formatted(&server, "csv").await] {
        assert_eq!(output.expect_success(), expected);
        assert_eq!(output.stderr, "");
    }
}

#[tokio::test]
async fn sql_writes_json_and_json_lines() {
    let server = with_logs().await;
    let expected = json!([
        { "timestamp": "2025-01-01T00:00:00.000000000Z", "body": "first, with \"quotes\"", "n": 9, "trace_id": null },
        { "timestamp": "2025-01-01T00:00:00.000000001Z", "body": "second\nline", "n": 9, "trace_id": null },
        { "timestamp": "2025-01-01T00:00:00.000000002Z", "body": "", "n": 9, "trace_id": null },
    ]);
    let array: Value = serde_json::from_str(formatted(&server, "json").await.expect_success()).unwrap();
    assert_eq!(array, expected);
    let lines = formatted(&server, "jsonl").await;
    let lines = lines.expect_success().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(lines.collect::<Value>(), expected);
}

#[tokio::test]
async fn sql_writes_tables_for_people() {
    let server = with_logs().await;
    let markdown = formatted(&server, "markdown").await;
    let expected = "| timestamp | body | n | trace_id |\n| --- | --- | ---: | --- |\n\
                    | 2025-01-01T00:00:00.000000000Z | first, with \"quotes\" | 9 | NULL |\n";
    assert!(markdown.expect_success().starts_with(expected), "{}", markdown.text());
    let vertical = formatted(&server, "vertical").await;
    assert!(vertical.expect_success().contains("*** row 2 ***\n"), "{}", vertical.text());
    assert!(vertical.text().contains("     body: second\\nline\n"), "{}", vertical.text());
    let table = formatted(&server, "table").await;
    assert!(table.expect_success().contains("┆ second\\nline"), "{}", table.text());
}

fn bodies(batches: &[RecordBatch]) -> Vec<String> {
    let texts = |batch: &RecordBatch| {
        let column = batch.column_by_name("body").unwrap().as_string::<i32>();
        column.iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
    };
    batches.iter().flat_map(texts).collect()
}

#[tokio::test]
async fn sql_writes_arrow_and_parquet_that_other_programs_read() {
    let server = with_logs().await;
    let expected = ["first, with \"quotes\"", "second\nline", ""];

    let streamed = formatted(&server, "arrow").await;
    assert_eq!(streamed.code, Some(0), "{}", streamed.stderr);
    let reader = StreamReader::try_new(Cursor::new(&streamed.stdout), None).unwrap();
    assert_eq!(bodies(&reader.map(Result::unwrap).collect::<Vec<_>>()), expected);

    let file = server.scratch().join("answer");
    let to_file = async |format: &str| {
        let path = file.to_str().unwrap();
        let output = run(sql(&server, &["--format", format, "-o", path, SQL])).await;
        assert_eq!(output.expect_success(), "");
        std::fs::File::open(&file).unwrap()
    };
    let reader = FileReader::try_new(to_file("arrow").await, None).unwrap();
    assert_eq!(bodies(&reader.map(Result::unwrap).collect::<Vec<_>>()), expected);
    let reader = ParquetRecordBatchReaderBuilder::try_new(to_file("parquet").await).unwrap().build().unwrap();
    assert_eq!(bodies(&reader.map(Result::unwrap).collect::<Vec<_>>()), expected);
}

#[tokio::test]
async fn an_answer_without_rows_still_has_its_header() {
    let server = TestServer::start().await;
    let output = run(sql(&server, &["SELECT body, trace_id FROM logs"])).await;
    assert_eq!(output.expect_success(), "body,trace_id\n");
    let output = run(sql(&server, &["--format", "json", "SELECT body FROM logs"])).await;
    assert_eq!(serde_json::from_str::<Value>(output.expect_success()).unwrap(), json!([]));
}

#[tokio::test]
async fn a_query_comes_from_a_file_too() {
    let server = with_logs().await;
    let file = server.scratch().join("query.sql");
    std::fs::write(&file, "-- all of them\nSELECT count(*) AS n\nFROM logs\n").unwrap();
    let output = run(sql(&server, &["-f", file.to_str().unwrap()])).await;
    assert_eq!(output.expect_success(), "n\n3\n");
    let mut piped = sql(&server, &["-f", "-"]);
    piped.stdin(std::fs::File::open(&file).unwrap());
    assert_eq!(run(piped).await.expect_success(), "n\n3\n");
}

#[tokio::test]
async fn a_failed_query_is_exit_code_1_and_leaves_a_file_as_it_was() {
    let server = with_logs().await;
    let file = server.scratch().join("answer.csv");
    std::fs::write(&file, "precious").unwrap();
    for statement in
        ["SELEC 1", "SELECT * FROM nothing", "SELECT CAST(body AS BIGINT) FROM logs", "DROP TABLE logs"]
    {
        let output = run(sql(&server, &["-o", file.to_str().unwrap(), statement])).await;
        output.assert_failure(1, &["error: "]);
        assert_eq!(output.text(), "");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    run(sql(&server, &["SELEC 1"])).await.assert_failure(1, &["line 1, column 1", "did you mean SELECT?"]);
    run(sql(&server, &["--timeout", "200ms", "SELECT count(*) FROM generate_series(1, 1000000000000)"]))
        .await
        .assert_failure(1, &["--timeout"]);
}

#[tokio::test]
async fn a_wrong_command_line_is_exit_code_2() {
    let server = TestServer::start().await;
    for arguments in [
        &["sql", "--format", "xml", "SELECT 1"][..],
        &["sql", "--url", "https://127.0.0.1:1", "SELECT 1"],
        &["sql", "-f", "/does/not/exist"],
        &["sql", "SELECT 1", "extra"],
        &["sql", ""],
        &["nothing"],
        &["gen", "everything"],
        &["gen", "metrics", "--total", "0"],
        &["token", "create", "--role", "read"],
        &["token", "create", "--tenant", "../x", "--role", "read"],
        &["token", "create", "--tenant", "acme", "--role", "root"],
        &["serve", "--grpc-addr", "nowhere"],
        &["serve", "--config", "/does/not/exist"],
        &["demo", "--grpc-addr", "nowhere"],
    ] {
        let mut command = alula(arguments);
        command.current_dir(server.scratch());
        let output = run(command).await;
        output.assert_failure(2, &["error: "]);
        assert_eq!(output.text(), "", "{arguments:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_exit_code_3() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("grpc://{free}");
    for arguments in
        [&["sql", "--url", &url, "SELECT 1"][..], &["gen", "logs", "--url", &url, "--total", "1"]]
    {
        run(alula(arguments)).await.assert_failure(3, &["cannot connect", &free.to_string(), "hint: "]);
    }
}

#[tokio::test]
async fn a_credential_that_is_not_enough_is_exit_code_4() {
    let server = TestServer::start().await;
    let url = server.url();
    let writer = server.token("acme", "writer", Role::Write);
    let reader = server.token("acme", "reader", Role::Read);
    for arguments in [
        &["sql", "--url", &url, "SELECT 1"][..],
        &["sql", "--url", &url, "--token", "wrong", "SELECT 1"],
        &["sql", "--url", &url, "--token", &writer, "SELECT 1"],
        &["gen", "logs", "--url", &url, "--total", "1"],
        &["gen", "logs", "--url", &url, "--total", "1", "--token", &reader],
    ] {
        run(alula(arguments)).await.assert_failure(4, &["not authorised", "hint: "]);
    }
}

#[tokio::test]
async fn token_create_prints_a_token_that_opens_the_server_and_nothing_else() {
    let server = TestServer::start().await;
    let data_dir = server.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let arguments =
        ["token", "create", "--tenant", "acme", "--role", "read", "--role", "write", "--data-dir", data_dir];
    let output = run(alula(arguments)).await;
    let token = output.expect_success().strip_suffix('\n').unwrap();
    assert_eq!(output.stderr, "");
    assert!(token.split('.').count() == 3 && !token.contains(char::is_whitespace), "{token}");
    server.client_with(token).await.assert_alive().await;

    let file = server.scratch().join("token");
    std::fs::write(&file, output.text()).unwrap();
    let url = server.url();
    let arguments =
        ["sql", "--url", &url, "--token-file", file.to_str().unwrap(), "SELECT count(*) AS n FROM logs"];
    assert_eq!(run(alula(arguments)).await.expect_success(), "n\n1\n");
    let mut command = alula(["sql", "SELECT count(*) AS n FROM logs"]);
    command.env("ALULA_URL", &url).env("ALULA_TOKEN", token);
    assert_eq!(run(command).await.expect_success(), "n\n1\n");
}

/// Takes away what shows where a value came from.
fn values(shown: &str) -> Vec<String> {
    shown.lines().map(|line| line.split('#').next().unwrap().trim().to_owned()).collect()
}

#[tokio::test]
async fn the_default_configuration_is_a_configuration_and_says_the_defaults() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("alula.toml");
    let file = path.to_str().unwrap();
    let template = run(alula(["config", "default"])).await;
    let template = template.expect_success();
    std::fs::write(&path, template).unwrap();
    let checked = run(alula(["config", "check", "--config", file])).await;
    assert_eq!(checked.expect_success(), "");
    let defaults = run(alula(["config", "show"])).await;
    let shown = run(alula(["config", "show", "--config", file])).await;
    assert_eq!(values(shown.expect_success()), values(defaults.expect_success()));

    // With every line that sets a value put in force.
    let is_setting = |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.contains(" = "));
    let in_force = |line: &str| if is_setting(line) { line[1..].to_owned() } else { line.to_owned() };
    std::fs::write(&path, template.lines().map(in_force).collect::<Vec<_>>().join("\n")).unwrap();
    let shown = run(alula(["config", "show", "--config", file])).await;
    assert_eq!(values(shown.expect_success()), values(defaults.text()));
    let from_file = shown.text().lines().filter(|line| line.contains("# file ")).count();
    assert!(from_file > 15, "{}", shown.text());
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("alula.toml");
    std::fs::write(
        &path,
        "[storage]\nflush_bytes = \"1MiB\"\nflush_interval = \"7s\"\nmax_buffer_bytes = \"100MiB\"\n",
    )
    .unwrap();
    let mut command = alula(["config", "show", "--flush-bytes", "3MiB"]);
    command.env("ALULA_CONFIG", &path);
    command.env("ALULA_STORAGE_FLUSH_BYTES", "2MiB").env("ALULA_STORAGE_FLUSH_INTERVAL", "9s");
    let output = run(command).await;
    let shown = output.expect_success();
    for (line, source) in [
        ("flush_bytes = \"3MiB\"", "# flag --flush-bytes"),
        ("flush_interval = \"9s\"", "# environment ALULA_STORAGE_FLUSH_INTERVAL"),
        ("max_buffer_bytes = \"100MiB\"", "# file "),
        ("wal_queue_bytes = ", "# default"),
    ] {
        let found = shown.lines().any(|shown| shown.starts_with(line) && shown.contains(source));
        assert!(found, "{line} {source} is not in:\n{shown}");
    }
}

#[tokio::test]
async fn the_version_is_one_line() {
    let output = run(alula(["version"])).await;
    assert!(output.expect_success().starts_with(concat!("alula ", env!("CARGO_PKG_VERSION"), " (")));
    assert_eq!(output.text().lines().count(), 1);
    let output = run(alula(["version", "--json"])).await;
    let parsed: Value = serde_json::from_str(output.expect_success()).unwrap();
    assert_eq!(parsed["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn help_is_for_every_command_and_goes_to_standard_output() {
    for command in
        ["", "serve", "demo", "sql", "gen", "token", "token create", "config", "config show", "version"]
    {
        let output = run(alula(command.split_whitespace().chain(["--help"]))).await;
        assert!(output.expect_success().contains("Usage: alula"), "{command}");
        assert_eq!(output.stderr, "");
    }
}

#[tokio::test]
async fn the_demo_answers_five_questions_and_leaves_nothing() {
    let directory = tempfile::TempDir::new().unwrap();
    let mut command = alula(["demo", "--once", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]);
    command.env("TMPDIR", directory.path());
    let output = run(command).await;
    let answers = output.expect_success();
    for number in 1..=5 {
        assert!(answers.contains(&format!("-- {number}. ")), "{answers}");
    }
    // Box tables with a frame at the top of each.
    assert_eq!(answers.matches('┌').count(), 5, "{answers}");
    assert!(!answers.contains("-- 6. "));
    for part in ["SELECT", "adbc", "jdbc:arrow-flight-sql://", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        assert!(answers.contains(part), "{part} is not in: {answers}");
    }
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_demo_keeps_its_data_where_it_is_told_to() {
    let directory = tempfile::TempDir::new().unwrap();
    let data_dir = directory.path().join("kept");
    let path = data_dir.to_str().unwrap();
    run(alula(["demo", "--once", "--grpc-addr", ":0", "--http-addr", ":0", "--data-dir", path]))
        .await
        .expect_success();
    assert!(data_dir.join("catalog.db").exists());
    // The port is free again, and so is the directory.
    run(alula(["demo", "--once", "--grpc-addr", ":0", "--http-addr", ":0", "--data-dir", path]))
        .await
        .expect_success();
}

async fn generate(client: &Client, url: &str, token: &str, arguments: &[&str]) -> Value {
    let mut command = alula(["gen", "--url", url, "--token", token, "--format", "json", "--rate", "0"]);
    command.args(arguments);
    let output = run(command).await;
    let summary: Value = serde_json::from_str(output.expect_success()).unwrap();
    let table = summary["signal"].as_str().unwrap();
    let stored = client.count(&format!("SELECT count(*) FROM {table}")).await;
    assert_eq!(summary["accepted"], stored, "{summary}");
    assert_eq!(summary["sent"], stored);
    assert_eq!((&summary["rejected"], &summary["failed"]), (&json!(0), &json!(0)));
    summary
}

#[tokio::test]
async fn gen_stores_exactly_what_it_says() {
    let server = TestServer::start().await;
    for (arguments, total) in [
        (&["metrics", "--total", "1234", "--series", "50"][..], 1234),
        (&["metrics", "--total", "500", "--types", "gauge,sum,histogram,exponential-histogram,summary"], 500),
        (&["logs", "--total", "777", "--batch", "100", "--compression", "zstd"], 777),
        (
            &["traces", "--total", "505", "--connections", "2", "--in-flight", "3", "--compression", "gzip"],
            505,
        ),
        (&["logs", "--total", "10", "--batch", "1", "--attributes", "0"], 10),
    ] {
        // A tenant for each, so that the counts are of this run alone.
        let tenant = format!("t{total}");
        let client = server.client(&tenant).await;
        let token = server.token(&tenant, "gen", Role::Write);
        let summary = generate(&client, &server.url(), &token, arguments).await;
        assert_eq!(summary["accepted"], total, "{arguments:?}");
    }
    let client = server.client("t1234").await;
    assert_eq!(client.count("SELECT count(DISTINCT series_id) FROM metrics").await, 50);
    let client = server.client("t500").await;
    assert_eq!(client.count("SELECT count(DISTINCT type) FROM metrics").await, 5);
}

/// Equal seeds are equal records but for the time.
#[tokio::test]
async fn gen_repeats_itself_for_the_same_seed() {
    let server = TestServer::start().await;
    let sql = "SELECT string_agg(body || attributes, '' ORDER BY body, attributes) FROM logs";
    let mut answers = Vec::new();
    for (tenant, seed) in [("a", "7"), ("b", "7"), ("c", "8")] {
        let client = server.client(tenant).await;
        let token = server.token(tenant, "gen", Role::Write);
        generate(&client, &server.url(), &token, &["logs", "--total", "200", "--seed", seed]).await;
        let rows = client.rows(sql).await;
        answers.push(arrow::util::display::array_value_to_string(rows.column(0), 0).unwrap());
    }
    assert_eq!(answers[0], answers[1]);
    assert_ne!(answers[0], answers[2]);
    assert!(answers[0].len() > 200);
}

#[tokio::test]
async fn gen_fails_when_not_every_record_was_stored() {
    let server = TestServer::start_with(|config| {
        config.ingest.max_message_bytes = "1KiB".parse().unwrap();
    })
    .await;
    let token = server.token("acme", "gen", Role::Write);
    let arguments =
        ["gen", "logs", "--url", &server.url(), "--token", &token, "--total", "500", "--rate", "0"];
    let output = run(alula(arguments)).await;
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.text().contains("RESOURCE_EXHAUSTED 500"), "{}", output.text());
}

#[tokio::test]
async fn serve_says_where_it_listens_and_how_to_get_in() {
    let server = Process::start(&[]).await;
    let log = server.log();
    assert!(log.contains(&format!("listening on {}", server.addr())), "{log}");
    assert!(log.contains("alula token create"), "{log}");
    assert!(Path::new(&server.data_dir()).join("auth.db").exists());
}

/// The number of rows is that of the query, though a terminal would show fewer.
#[tokio::test]
async fn a_pipe_gets_every_row() {
    let server = TestServer::start().await;
    let output = run(sql(&server, &["SELECT value FROM generate_series(1, 25000)"])).await;
    assert_eq!(output.expect_success().lines().count(), 25_001);
    let table =
        run(sql(&server, &["--format", "arrow", "SELECT value FROM generate_series(1, 25000)"])).await;
    let reader = StreamReader::try_new(Cursor::new(&table.stdout), None).unwrap();
    let sum: i64 = reader
        .map(|batch| batch.unwrap().column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>())
        .sum();
    assert_eq!(sum, 25_000 * 25_001 / 2);
}
