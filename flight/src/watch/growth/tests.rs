use std::sync::Arc;
use std::task::Poll;

use arrow::array::RecordBatch;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::Error;
use crate::status::status;
use crate::stop::Stop;
use crate::tests::fixture::TestServer;
use crate::watch::operator::WatchedRows;

async fn refused(server: &TestServer, sql: &str) {
    let status = server.error(sql).await;
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{sql}: {status}");
    let text = status.message();
    assert!(text.contains("one may have 64 MiB") || text.contains("that may be 256 MiB"), "{sql}: {status}");
}

#[tokio::test]
async fn a_call_that_would_make_too_much_is_refused_before_it_makes_any() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", "{}"), (2, "web", "{}")]).await;
    for sql in [
        "SELECT range(0, 10000000000)",
        "SELECT range(10000000000)",
        "SELECT generate_series(10000000000, 0, -1)",
        "SELECT cardinality(generate_series(1, 200000000))",
        "SELECT range(TIMESTAMP '1970-01-01T00:00:00', TIMESTAMP '2100-01-01T00:00:00', INTERVAL '1 microsecond')",
        "SELECT range(DATE '0001-01-01', DATE '9999-01-01', INTERVAL '1 second')",
        "SELECT repeat('x', 2000000000)",
        "SELECT length(repeat(body, 100000000)) FROM logs",
        "SELECT length(lpad(body, 2147483647, 'y')) FROM logs",
        "SELECT rpad('x', 2147483647)",
        "SELECT array_repeat(1, 1000000000)",
        "SELECT replace(repeat('a', 100000), 'a', repeat('b', 100000))",
        "SELECT array_resize([1], 2000000000, 2)",
        "SELECT array_resize(make_array(body), 100000000, body) FROM logs",
        "SELECT concat(repeat(body, 9000000), repeat(body, 9000001), repeat(body, 9000002), repeat(body, 9000003)) FROM logs",
    ] {
        refused(&server, sql).await;
    }
}

#[tokio::test]
async fn a_value_that_is_too_large_for_every_row_is_refused() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", "{}"), (2, "web", "{}")]).await;
    for (sql, expected) in [
        ("SELECT arrow_cast(NULL, 'FixedSizeBinary(2000000000)') FROM logs", "would have 2000000000 bytes"),
        (
            "SELECT arrow_cast(NULLIF(body, body), 'FixedSizeBinary(100000)') FROM logs",
            "ask for at most 65536",
        ),
        (
            "SELECT repeat('a', 60000000), repeat('b', 60000000), repeat('c', 60000000), repeat('d', 60000000), \
                    repeat('e', 60000000)",
            "the constants of a row have 286 MiB",
        ),
        ("SELECT count(*) OVER (PARTITION BY body || repeat('x', 10000)) FROM logs", "comes once a row"),
        ("SELECT max(repeat('x', 10000)) OVER (PARTITION BY service_name) FROM logs", "comes once a row"),
    ] {
        let status = server.error(sql).await;
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{sql}: {status}");
        assert!(status.message().contains(expected), "{sql}: {status}");
    }
}

/// 8 GB, if a batch of 8,192 rows had the value once for each.
#[tokio::test]
async fn batches_are_small_wherever_a_large_value_comes_once_a_row() {
    let server = TestServer::start().await;
    server.append_logs("default", &vec![(1, "api", "{}"); 1_000]).await;
    for (sql, expected) in [
        ("SELECT length(max(repeat('x', 8000000))) FROM logs", "8000000"),
        ("SELECT count(DISTINCT repeat('x', 8000000)) FROM logs", "1"),
        ("SELECT count(*) FROM logs GROUP BY repeat('x', 8000000), service_name", "1000"),
        ("SELECT cardinality(first_value(range(0, 1000000))) FROM logs", "1000000"),
    ] {
        assert!(server.table(sql).await.contains(expected), "{sql}");
    }
}

/// 2.4 GB of a batch of 8,192 rows, and more than any batch may have of what functions make.
#[tokio::test]
async fn few_rows_are_given_to_what_makes_much_of_each() {
    let server = TestServer::start().await;
    server.append_logs("default", &vec![(1, "api", "{}"); 3_000]).await;
    let columns: Vec<_> = (0..40).map(|n| format!("repeat(body, {})", 3_000 + n)).collect();
    let sql =
        format!("SELECT sum(length(c[1])) FROM (SELECT make_array({}) AS c FROM logs)", columns.join(", "));
    server.table(&sql).await;
    let sql = format!("SELECT count(*) FROM logs WHERE concat({}) <> ''", columns.join(", "));
    assert!(server.table(&sql).await.contains("3000"));
}

#[tokio::test]
async fn what_is_not_too_much_is_made() {
    let server = TestServer::start().await;
    server.append_logs("default", &[(1, "api", "{}")]).await;
    for (sql, expected) in [
        ("SELECT length(repeat('x', 17000000))", "17000000"),
        ("SELECT cardinality(range(0, 1000000))", "1000000"),
        ("SELECT cardinality(range(0, 10, -1))", "0"),
        ("SELECT cardinality(range(DATE '2026-01-01', DATE '2026-02-01', INTERVAL '1 day'))", "31"),
        ("SELECT cardinality(array_repeat('ab', 1000))", "1000"),
        ("SELECT length(lpad(body, 100)) FROM logs", "100"),
        ("SELECT length(repeat(body, -5)) FROM logs", "0"),
        ("SELECT replace('banana', 'an', 'ana')", "banaanaa"),
        ("SELECT repeat(NULL, 5) IS NULL", "true"),
    ] {
        let table = server.table(sql).await;
        assert!(table.contains(expected), "{sql}:\n{table}");
    }
}

#[tokio::test]
async fn a_large_literal_makes_small_batches_and_every_row_has_it() {
    let server = TestServer::start().await;
    server.append_logs("default", &vec![(1, "api", "{}"); 1_000]).await;
    let literal = "x".repeat(200_000);
    let rows = server.rows(&format!("SELECT '{literal}' AS literal, body FROM logs")).await;
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000);
    let sql = format!(
        "SELECT count(*) AS n, min(length(l)) AS low, max(length(l)) AS high FROM (SELECT '{literal}' || body AS l FROM logs)"
    );
    assert!(server.table(&sql).await.contains("| 1000 | 200006 | 200008 |"));
}

/// 2.2 GB of text, which is more than one batch can have.
#[tokio::test]
async fn batches_are_small_too_where_a_condition_appends_to_a_large_literal() {
    let server = TestServer::start().await;
    server.append_logs("default", &vec![(1, "api", "{}"); 2_200]).await;
    let sql = "SELECT count(*) AS n FROM logs WHERE repeat('x', 1000000) || body > 'x'";
    assert!(server.table(sql).await.contains("| 2200 |"));
}

#[tokio::test]
async fn a_kernel_without_offsets_for_its_text_ends_the_query_with_what_to_do() {
    let rows = futures::stream::poll_fn(|_| -> Poll<Option<Result<RecordBatch>>> {
        OffsetBuffer::<i32>::from_lengths([i32::MAX as usize, 1]);
        Poll::Ready(None)
    });
    let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::new(Schema::empty()), rows));
    let mut rows = WatchedRows::unlimited(rows, Stop::after(None));
    let error = rows.next().await.unwrap().unwrap_err();
    let status = status(&Error::Query(error));
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("2 GiB") && status.message().contains("substr"), "{status}");
}
