//! What a statement is refused with: the code, the words, and nothing of what is inside.

use tonic::Code::{self, InvalidArgument, NotFound, ResourceExhausted, Unimplemented};

use super::fixture::*;

async fn check(server: &TestServer, sql: &str, code: Code, shown: &str) {
    let status = server.error(sql).await;
    assert_eq!(status.code(), code, "{sql}: {}", status.message());
    assert!(status.message().contains(shown), "{sql}: {}", status.message());
    for internal in [
        "DataFusion",
        "Plan(",
        "SchemaError",
        "src/",
        "panicked",
        "Arrow error",
        "External",
        "::",
        "Union(",
        "Some(",
    ] {
        assert!(!status.message().contains(internal), "{sql}: {}", status.message());
    }
}

#[tokio::test]
async fn every_class_of_error_has_its_code_and_words() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", r#"{"k":"x"}"#), (2, "web", r#"{"k":0}"#)]).await;
    for (sql, code, shown) in [
        ("SELEC 1", InvalidArgument, "did you mean SELECT"),
        ("SELECT * FROM logs WHERE", InvalidArgument, "ends too early"),
        ("SELECT nope FROM logs", InvalidArgument, "there is no column nope"),
        ("SELECT time FROM system.deletions", InvalidArgument, "there is no column"),
        ("SELECT nope(1)", InvalidArgument, "nope"),
        ("SELECT body FROM logs GROUP BY service_name", InvalidArgument, "body"),
        ("SELECT abs('a', 'b')", InvalidArgument, "abs"),
        ("SELECT * FROM nope", NotFound, "table nope does not exist"),
        ("SELECT * FROM nope.public.logs", NotFound, "nope"),
        ("SELECT * FROM nope.logs", NotFound, "nope"),
        ("SELECT 1 / (severity_number - severity_number) FROM logs", InvalidArgument, "division by zero"),
        ("SELECT CAST(body AS BIGINT) FROM logs", InvalidArgument, "body 0"),
        ("SELECT CAST(attributes->>'k' AS BIGINT) FROM logs", InvalidArgument, "'x'"),
        ("SELECT arrow_cast(300 + severity_number, 'Int8') FROM logs", InvalidArgument, "300"),
        ("SELECT CAST(severity_number + 1e10 AS INTEGER) FROM logs", InvalidArgument, "10000000000"),
        ("SELECT to_timestamp(body) FROM logs", InvalidArgument, "body 0"),
        ("SELECT regexp_like(body, '(') FROM logs", InvalidArgument, "unclosed group"),
        ("SELECT regexp_replace(body, '[', 'x') FROM logs", InvalidArgument, "unclosed character class"),
        ("SELECT * FROM logs WHERE body ~ '('", InvalidArgument, "unclosed group"),
        ("INSERT INTO logs VALUES (1)", InvalidArgument, "read-only"),
        ("SET x = 1", InvalidArgument, "read-only"),
        ("SELECT 1; SELECT 2", InvalidArgument, "2 statements"),
        ("", InvalidArgument, "no statement"),
        ("SELECT ?", InvalidArgument, "bind"),
        ("SHOW ALL", Unimplemented, "SHOW"),
        ("SELECT * FROM logs TABLESAMPLE BERNOULLI (1)", Unimplemented, "random() < 0.01"),
        (&format!("SELECT 1{}", " + 1".repeat(3_000)), ResourceExhausted, "operators"),
        (&format!("SELECT '{}'", "x".repeat(300 << 10)), ResourceExhausted, "query.max_sql_bytes"),
    ] {
        check(&server, sql, code, shown).await;
    }
}

#[tokio::test]
async fn json_of_any_type_as_a_key_is_refused_with_what_to_write() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", r#"{"k":"x"}"#), (2, "web", r#"{"k":0}"#)]).await;
    for sql in [
        "SELECT attributes->'k', count(*) FROM logs GROUP BY attributes->'k'",
        "SELECT attributes->'k' AS k, count(*) FROM logs GROUP BY k",
        "SELECT DISTINCT attributes->'k' FROM logs",
        "SELECT attributes->'k' FROM logs UNION SELECT attributes->'k' FROM logs",
        "SELECT count(DISTINCT attributes->'k') FROM logs",
        "SELECT max(attributes->'k') FROM logs",
    ] {
        check(&server, sql, InvalidArgument, "write ->>").await;
    }
}
