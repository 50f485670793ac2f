//! Each mistake gets its own clear error, and the server stays up.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::fixture::otlp::{BASE_NS, log, logs};
use crate::fixture::{Client, Process, TestServer, alula, body_of, frame, run, signal, within_bound};

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GET_FLIGHT_INFO: &str = "/arrow.flight.protocol.FlightService/GetFlightInfo";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn garbage_on_the_port_ends_that_connection_alone() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let with_preface = |rest: &[u8]| [PREFACE, rest].concat();
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let silent = TcpStream::connect(server.addr()).await.unwrap();
    for garbage in [
        b"GET / HTTP/1.1\r\nhost: alula\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f".to_vec(),
        b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
        vec![0; 1000],
        every_byte,
        PREFACE[..10].to_vec(),
        with_preface(b""),
        with_preface(&[0xff; 100]),
        // A frame of 16 MiB is announced.
        with_preface(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
        // Headers that are not HPACK.
        with_preface(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 3, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff]),
    ] {
        let mut socket = TcpStream::connect(server.addr()).await.unwrap();
        // The server may have hung up before all of it is sent.
        let _ = socket.write_all(&garbage).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = within_bound("the server to hang up", socket.read_to_end(&mut answer)).await;
        client.assert_alive().await;
    }
    drop(silent);
}

async fn check_refused(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
    refusal: (Code, &str),
) {
    let (code, part) = refusal;
    let answer = client.post_raw(path, headers, body).await;
    assert_eq!(answer.status.code(), code, "{path}: {}", answer.status);
    assert!(answer.status.message().contains(part), "{path}: {part:?} is not in: {}", answer.status);
    assert!(answer.body.is_empty());
    client.assert_alive().await;
}

#[tokio::test]
async fn a_truncated_message_is_the_senders_fault() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let whole = frame(false, &logs("api", vec![log(BASE_NS, "never stored")]).encode_to_vec());
    for length in [1, 5, 6, whole.len() / 2, whole.len() - 1] {
        let part = whole.slice(..length);
        check_refused(&client, LOGS, &[], part, (Code::InvalidArgument, "not one whole gRPC message")).await;
    }
    check_refused(&client, LOGS, &[], Bytes::new(), (Code::InvalidArgument, "not one whole gRPC message"))
        .await;
    assert_eq!(client.count("SELECT count(*) FROM logs WHERE body <> 'alive'").await, 0);
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_message_stores_nothing_of_it() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let other = server.client("acme").await;
    let whole = frame(false, &logs("api", vec![log(BASE_NS, "never stored")]).encode_to_vec());
    let half = whole.slice(..whole.len() / 2);
    let body = body_of(futures::stream::iter([half]).chain(futures::stream::pending()));
    let sending = tokio::spawn(async move { other.post(LOGS, &[], body).await.status });
    // The half message is on its way once this connection's later calls are answered.
    client.assert_alive().await;
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    client.assert_alive().await;
    assert_eq!(client.count("SELECT count(*) FROM logs WHERE body <> 'alive'").await, 0);
}

#[tokio::test]
async fn bytes_that_are_no_request_of_the_signal_are_refused_by_its_name() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for (path, name) in [
        (LOGS, "ExportLogsServiceRequest"),
        (METRICS, "ExportMetricsServiceRequest"),
        (TRACES, "ExportTraceServiceRequest"),
    ] {
        for garbage in [&b"garbage"[..], &[0x0a, 0xff, 0xff], &[0xff; 40]] {
            check_refused(&client, path, &[], frame(false, garbage), (Code::InvalidArgument, name)).await;
        }
    }
    let status = client.call_empty(GET_FLIGHT_INFO).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn a_message_of_five_mebibytes_is_refused_with_the_limit_and_for_good() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let large = logs("api", vec![log(BASE_NS, &"x".repeat(5 << 20))]);
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let status = client.export_compressed(large.clone(), encoding).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{encoding:?}: {status}");
        for part in ["4194304", "ingest.max_message_bytes"] {
            assert!(status.message().contains(part), "{encoding:?}: {part} is not in: {status}");
        }
        // With retry info an exporter would send it again and again.
        assert!(
            status.details().is_empty() && status.metadata().get_bin("google.rpc.retryinfo-bin").is_none()
        );
        client.assert_alive().await;
    }
    // Just below the limit is fine.
    client.send(logs("api", vec![log(BASE_NS, &"x".repeat((4 << 20) - 1_000))])).await;
}

#[tokio::test]
async fn a_prefix_that_announces_four_gibibytes_takes_no_memory() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let body = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    check_refused(&client, LOGS, &[], body, (Code::ResourceExhausted, "ingest.max_message_bytes")).await;
}

#[tokio::test]
async fn an_unknown_compression_is_refused_with_those_that_are_known() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let body = frame(true, b"whatever");
    for encoding in ["br", "snappy", "deflate", "x"] {
        let headers = [("grpc-encoding", encoding)];
        check_refused(&client, LOGS, &headers, body.clone(), (Code::Unimplemented, encoding)).await;
    }
    let answer = client.post_raw(LOGS, &[("grpc-encoding", "br")], body).await;
    assert_eq!(answer.status.metadata().get("grpc-accept-encoding").unwrap(), "gzip,zstd,identity");
}

#[tokio::test]
async fn broken_compressed_bytes_are_the_senders_fault() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for encoding in ["gzip", "zstd"] {
        let headers = [("grpc-encoding", encoding)];
        let body = frame(true, b"this was never compressed");
        let refused = format!("the body is not valid {encoding}");
        check_refused(&client, LOGS, &headers, body, (Code::InvalidArgument, &refused)).await;
    }
}

#[tokio::test]
async fn a_syntax_error_has_its_position_and_a_hint() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for (sql, position, hint) in [
        ("SELEC 1", "line 1, column 1", "did you mean SELECT?"),
        ("SELECT *\nFORM logs", "line 2, column 1", "did you mean FROM?"),
        ("SELECT * FROM logs WHERE", "syntax error", "ends too early"),
        ("SELECT count( FROM logs", "line 1", "hint: "),
        ("SELECT 'abc FROM logs", "line 1, column 8", "close the quote"),
        ("SELECT * FROM logs GRUOP BY body", "line 1", "hint: "),
        ("SELECT * FROM logs WHERE body = 'a' AND", "syntax error", "ends too early"),
        ("SELECT (1 + 2 FROM logs", "line 1", "hint: "),
        ("\u{0}", "line 1", "hint: "),
    ] {
        let status = client.error(sql).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{sql}: {status}");
        for part in [position, hint] {
            assert!(status.message().contains(part), "{sql}: {part:?} is not in: {}", status.message());
        }
    }
    client.assert_error("SELECT 1; SELECT 2", Code::InvalidArgument, "one at a time").await;
    client.assert_error("", Code::InvalidArgument, "no statement").await;
    client.assert_error("-- nothing", Code::InvalidArgument, "no statement").await;
    client.assert_alive().await;
}

#[tokio::test]
async fn an_unknown_name_is_answered_with_the_names_there_are() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client
        .assert_error(
            "SELECT * FROM metric",
            Code::NotFound,
            "metric does not exist; the tables are: metrics, ",
        )
        .await;
    client.assert_error("SELECT * FROM span", Code::NotFound, "logs").await;
    client.assert_error("SELECT * FROM public.nothing", Code::NotFound, "traces").await;
    client.assert_error("SELECT servce_name FROM logs", Code::InvalidArgument, "did you mean").await;
    client.assert_error("SELECT servce_name FROM logs", Code::InvalidArgument, "service_name").await;
    client.assert_error("SELECT Body FROM logs WHERE nothing = 1", Code::InvalidArgument, "nothing").await;
    client.assert_error("SELECT contains_(body) FROM logs", Code::InvalidArgument, "contains").await;
    client.assert_alive().await;
}

#[tokio::test]
async fn a_value_that_cannot_be_computed_is_an_error_and_not_a_null() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client.send(logs("api", vec![log(BASE_NS, "word")])).await;
    for (sql, part) in [
        ("SELECT 1 / 0", "ivi"),
        ("SELECT severity_number / 0 FROM logs", "division by zero"),
        ("SELECT CAST(body AS BIGINT) FROM logs", "word"),
        ("SELECT CAST('2025-13-01' AS TIMESTAMP)", "2025-13-01"),
        ("SELECT (SELECT body FROM logs UNION ALL SELECT 'x')", "more than one row"),
    ] {
        client.assert_error(sql, Code::InvalidArgument, part).await;
    }
    client.assert_alive().await;
}

/// gRPC sends the message of an error as a header, and clients take headers of 8 KiB and up.
#[tokio::test]
async fn an_error_about_something_long_fits_into_a_header() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client.send(logs("api", vec![log(BASE_NS, &"word ".repeat(100_000))])).await;
    let name = "a".repeat(100_000);
    for (sql, code, first, last) in [
        (format!("SELECT {name} FROM logs"), Code::InvalidArgument, "there is no column", ")"),
        (
            format!("SELECT \"{}\" FROM logs", "é".repeat(50_000)),
            Code::InvalidArgument,
            "there is no column",
            ")",
        ),
        (
            format!("SELECT * FROM {name}"),
            Code::NotFound,
            "table aaa",
            "traces, system.data_loss, system.deletions",
        ),
        (format!("{name} 1"), Code::InvalidArgument, "syntax error at line 1", "hint: "),
        ("SELECT CAST(body AS BIGINT) FROM logs".to_owned(), Code::InvalidArgument, "annot cast", "Int64"),
        (format!("SELECT {name}(body) FROM logs"), Code::InvalidArgument, "nvalid function", ""),
    ] {
        let status = client.error(&sql).await;
        let message = status.message();
        assert_eq!(status.code(), code, "{message}");
        assert!(message.len() < 2_500, "{} bytes", message.len());
        assert!(message.contains(first) && message.contains(last), "{message}");
        client.assert_alive().await;
    }
}

#[tokio::test]
async fn a_statement_longer_than_the_limit_is_refused_with_the_limit() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let long = format!("SELECT '{}'", "x".repeat(300 << 10));
    client.assert_error(&long, Code::ResourceExhausted, "query.max_sql_bytes").await;
    let status = client.prepare(&long).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    client.assert_alive().await;
}

/// 300 terms overflow a stack of 2 MiB, and that ends the process.
#[tokio::test]
async fn a_sum_of_a_thousand_terms_is_computed() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let sum = format!("SELECT {} AS n", vec!["1"; 1_000].join("+"));
    assert_eq!(client.count(&sum).await, 1_000);
    client.assert_alive().await;
}

/// Shapes that overflow a stack, or blow up a plan, in engines that do not bound them. Most may be answered or refused,
/// but at once and without an end of the process.
#[tokio::test]
async fn statements_of_hostile_shape_end_neither_the_server_nor_its_patience() {
    let server = TestServer::start_with(|config| {
        config.query.statement_timeout = alula::config::Period::seconds(20);
    })
    .await;
    let client = server.client("acme").await;
    let nested =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let joins = (0..60)
        .map(|n| format!(" JOIN logs t{n} ON t{n}.trace_id = logs.trace_id"))
        .collect::<Vec<_>>()
        .concat();
    let ctes = (1..12)
        .map(|n| format!(", c{n} AS (SELECT a.* FROM c{0} a, c{0} b)", n - 1))
        .collect::<Vec<_>>()
        .concat();
    for sql in [
        format!("SELECT {}", vec!["severity_number"; 300].join("*")) + " FROM logs",
        format!("SELECT {}", nested("(", ")", 10_000)),
        format!("SELECT {}", nested("abs(", ")", 2_000)),
        format!("SELECT {}", nested("-", "", 5_000)),
        format!("SELECT {}", nested("NOT ", "", 5_000)),
        format!("SELECT * FROM {}", nested("(SELECT * FROM ", ")", 500)),
        format!("SELECT 1 WHERE 1 IN ({})", vec!["2"; 5_000].join(",")),
        format!("SELECT {}", vec!["1"; 9_000].join(",")),
        format!("SELECT {}", vec!["CASE WHEN true THEN 1 END"; 500].join("+")),
        vec!["SELECT 1"; 500].join(" UNION ALL "),
        format!("SELECT count(*) FROM logs{joins}"),
        format!("WITH c0 AS (SELECT 1 AS a){ctes} SELECT count(*) FROM c6"),
        format!("SELECT {}", "a".repeat(100_000)),
        format!("SELECT '{}' LIKE '{}'", "a".repeat(1_000), "%a".repeat(1_000)),
        format!("SELECT 1 {}", "/*".repeat(10_000)),
        format!("SELECT body {} FROM logs", "->'a'".repeat(3_000)),
    ] {
        let shape: String = sql.chars().take(60).collect();
        let answer = within_bound(&shape, client.query(&sql)).await;
        if let Err(status) = answer {
            assert!(
                !matches!(
                    status.code(),
                    Code::Internal | Code::Unknown | Code::Unavailable | Code::Cancelled
                ),
                "{shape}: {status}"
            );
        }
        client.assert_alive().await;
    }
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_ended_with_the_limit() {
    let server = TestServer::start_with(|config| {
        config.query.statement_timeout = alula::config::Period::milliseconds(300);
    })
    .await;
    let client = server.client("acme").await;
    let sql = "SELECT count(*) FROM generate_series(1, 100000000000) AS a WHERE value % 7 = 8";
    let status = within_bound("the timeout", client.error(sql)).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("query.statement_timeout"), "{status}");
    client.assert_alive().await;
}

#[tokio::test]
async fn a_statement_that_needs_too_much_memory_is_ended_with_the_limit() {
    let server = TestServer::start_with(|config| config.query.memory_limit = "8MiB".parse().unwrap()).await;
    let client = server.client("acme").await;
    let sql = "SELECT count(*) FROM generate_series(1, 2000000) a JOIN generate_series(1, 2000000) b ON a.value = b.value";
    let status = within_bound("the refusal", client.error(sql)).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("query.memory_limit"), "{status}");
    client.assert_alive().await;
}

fn serve(data_dir: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = alula(["serve", "--data-dir", data_dir.to_str().unwrap()]);
    command.args(arguments);
    command
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused_with_the_process_that_has_it() {
    let server = Process::start(&[]).await;
    let output =
        run(serve(&server.data_dir(), &["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"])).await;
    output.assert_failure(1, &[&format!("in use by process {}", server.pid()), "--data-dir"]);
    server.client("acme").await.assert_alive().await;
}

/// What a process left behind that died is no reason to refuse.
#[tokio::test]
async fn the_data_directory_of_a_killed_server_can_be_used_at_once() {
    let mut server = Process::start(&[]).await;
    let client = server.client("acme").await;
    client.send(logs("api", vec![log(BASE_NS, "acknowledged")])).await;
    signal("KILL", server.pid());
    assert!(!server.exited().await.success());
    let server = server.start_again(&[]).await;
    let client = server.client("acme").await;
    assert_eq!(client.count("SELECT count(*) FROM logs WHERE body = 'acknowledged'").await, 1);
    client.assert_alive().await;
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_the_option_that_changes_it() {
    let server = TestServer::start().await;
    let addr = server.addr().to_string();
    let other = server.scratch().join("other");
    let output = run(serve(&other, &["--grpc-addr", &addr, "--http-addr", "127.0.0.1:0"])).await;
    output.assert_failure(1, &[&format!("{addr} is in use"), "--grpc-addr"]);
    server.client("acme").await.assert_alive().await;
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_shown_with_its_place_and_what_would_be_right() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("alula.toml");
    let path = file.to_str().unwrap();
    for (text, place, parts) in [
        (
            "[server]\n\nno_auht = true\n",
            ":3:1: ",
            &["unknown key `no_auht`", "`no_auth`", "`grpc_addr`"][..],
        ),
        ("[storag]\nflush_bytes = \"1MiB\"\n", ":1:2: ", &["unknown key `storag`", "`storage`"]),
        ("[storage]\nflush_bytes = \"lots\"\n", ":2:15: ", &["lots", "64MiB"]),
        ("[server]\ngrpc_addr = \"nowhere\"\n", ":2:13: ", &["nowhere", "127.0.0.1:4317"]),
        ("[server\n", ":1:8: ", &[]),
        ("[server]\nno_auth = true\ngrpc_addr = \"0.0.0.0:0\"\n", "", &["server.no_auth", "loopback"]),
        ("[ingest]\nmax_message_bytes = \"1GiB\"\n", "", &["ingest.max_message_bytes"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let place = if place.is_empty() { String::new() } else { format!("{path}{place}") };
        for command in ["serve", "config check"] {
            let mut command = alula(command.split(' '));
            command.args(["--config", path]).current_dir(directory.path());
            let output = run(command).await;
            output.assert_failure(2, parts);
            assert!(output.stderr.contains(&place), "{place} is not in: {}", output.stderr);
            assert!(output.stdout.is_empty());
        }
    }
    assert!(
        !directory.path().join("alula-data").exists(),
        "nothing may be made before the settings are right"
    );
}

#[tokio::test]
async fn a_server_without_authentication_is_refused_on_an_address_that_others_reach() {
    let directory = tempfile::TempDir::new().unwrap();
    for addr in ["0.0.0.0:0", "[::]:0"] {
        let output = run(serve(
            &directory.path().join("data"),
            &["--no-auth", "--grpc-addr", addr, "--http-addr", "127.0.0.1:0"],
        ))
        .await;
        output.assert_failure(2, &["server.no_auth", "loopback"]);
    }
    assert!(!directory.path().join("data").exists());
}

#[tokio::test]
async fn without_authentication_everyone_on_this_machine_is_the_default_tenant() {
    let server = Process::start(&["--no-auth"]).await;
    let client = Client::connect(server.addr(), None).await;
    client.assert_alive().await;
    client.assert_rows("SELECT DISTINCT tenant_id FROM logs", "tenant_id\ndefault").await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_refused_by_name() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let output = run(serve(&path, &["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"])).await;
        output.assert_failure(1, &[path.to_str().unwrap(), "--data-dir"]);
    }
}

/// Overload is answered at once, with a time after which to try again, and passes.
#[tokio::test]
async fn a_full_buffer_pushes_back_and_recovers() {
    let server = TestServer::start_with(|config| {
        config.ingest.max_http_message_bytes = "4MiB".parse().unwrap();
        config.storage.max_buffer_bytes = "6MiB".parse().unwrap();
        config.storage.flush_bytes = "5MiB".parse().unwrap();
    })
    .await;
    let client = server.client("acme").await;
    let text = "x".repeat(3 << 20);
    let large = |number| logs("api", vec![log(BASE_NS + number, &text)]);
    let mut stored = 0;
    let mut refused = 0;
    for number in 0..12 {
        let sending = tokio::time::timeout(Duration::from_secs(60), client.export(large(number)));
        match sending.await.unwrap() {
            Ok(_) => stored += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                assert!(status.metadata().get_bin("google.rpc.retryinfo-bin").is_some());
                refused += 1;
            }
        }
    }
    assert_eq!(stored + refused, 12);
    crate::fixture::eventually("room again", async || client.export(large(12)).await.ok()).await;
    assert_eq!(client.count("SELECT count(*) FROM logs").await, stored + 1);
}
