use crate::tests::fixture::TestServer;
use crate::tests::long_queries::server_with_config;

/// 6,000 rows of which each would get the 6,000 texts of all.
#[tokio::test]
async fn values_that_grow_with_a_window_are_refused_once_they_are_too_much() {
    let server = TestServer::start().await;
    let rows: Vec<_> = (0..6_000).map(|row| (row, "api", "{}")).collect();
    server.append_logs("default", &rows).await;
    for over in
        ["PARTITION BY service_name", "ORDER BY timestamp", "PARTITION BY service_name ORDER BY timestamp"]
    {
        for function in ["array_agg(repeat(body, 5))", "string_agg(repeat(body, 5), ', ')"] {
            let sql = format!("SELECT {function} OVER ({over}) FROM logs");
            let status = server.error(&sql).await;
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{sql}: {status}");
            assert!(status.message().contains("more than 256 MiB"), "{sql}: {status}");
        }
    }
}

#[tokio::test]
async fn values_of_small_windows_are_those_of_groups() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", "{}"), (2, "api", "{}"), (3, "web", "{}")]).await;
    for (sql, expected) in [
        (
            "SELECT max(cardinality(a)) FROM (SELECT array_agg(body) OVER (PARTITION BY service_name) AS a FROM logs)",
            "2",
        ),
        (
            "SELECT string_agg(service_name, '+') OVER (ORDER BY timestamp) AS s FROM logs ORDER BY timestamp DESC LIMIT 1",
            "api+api+web",
        ),
        (
            "SELECT array_agg(service_name) OVER (ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s \
             FROM logs ORDER BY timestamp DESC LIMIT 1",
            "[api, web]",
        ),
    ] {
        let table = server.table(sql).await;
        assert!(table.contains(expected), "{sql}:\n{table}");
    }
}

/// The buffer has all rows in one piece, of which each batch is a slice.
#[tokio::test]
async fn rows_that_a_window_keeps_are_counted_once() {
    let sql = "SELECT max(n) AS n FROM (SELECT count(body) OVER () AS n FROM logs)";
    let server = server_with_config(50_000, |config| config.memory_limit_bytes = 24 << 20).await;
    assert!(server.table(sql).await.contains("| 50000 |"));

    let server = server_with_config(50_000, |config| config.memory_limit_bytes = 256 << 10).await;
    let status = server.error(sql).await;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
}
