//! Functions over data points and the views, as a client uses them; and every statement of `docs/sql.md`.

use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as ExemplarValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use tonic::Code;

use crate::fixture::otlp::{
    BASE_NS, SECOND_NS, attributes, double_point, gauge, int_point, metrics, span, text, trace_id, traces,
};
use crate::fixture::{Client, TestServer};

const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), data: Some(data), ..Metric::default() }
}

fn at(seconds: u64) -> u64 {
    BASE_NS + seconds * SECOND_NS
}

fn durations(
    bounds: &[f64],
    counts: &[u64],
    extremes: Option<(f64, f64)>,
    exemplars: Vec<Exemplar>,
) -> Metric {
    let point = HistogramDataPoint {
        start_time_unix_nano: at(0),
        time_unix_nano: at(60),
        count: counts.iter().sum(),
        explicit_bounds: bounds.to_vec(),
        bucket_counts: counts.to_vec(),
        min: extremes.map(|(min, _)| min),
        max: extremes.map(|(_, max)| max),
        exemplars,
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![point], aggregation_temporality: DELTA };
    metric("http.server.request.duration", Data::Histogram(histogram))
}

/// Points of `(time, counts)` of a cumulative histogram with the bounds 0.1 and 0.2.
fn client_durations(points: &[(u64, [u64; 3])]) -> Metric {
    let point = |(time, counts): &(u64, [u64; 3])| HistogramDataPoint {
        start_time_unix_nano: at(0),
        time_unix_nano: at(*time),
        count: counts.iter().sum(),
        explicit_bounds: vec![0.1, 0.2],
        bucket_counts: counts.to_vec(),
        ..HistogramDataPoint::default()
    };
    let data_points = points.iter().map(point).collect();
    let histogram = Histogram { data_points, aggregation_temporality: CUMULATIVE };
    metric("http.client.request.duration", Data::Histogram(histogram))
}

fn sizes(scale: i32, offset: i32, counts: &[u64]) -> Metric {
    let point = ExponentialHistogramDataPoint {
        start_time_unix_nano: at(0),
        time_unix_nano: at(60),
        count: counts.iter().sum(),
        scale,
        positive: Some(Buckets { offset, bucket_counts: counts.to_vec() }),
        ..ExponentialHistogramDataPoint::default()
    };
    let histogram = ExponentialHistogram { data_points: vec![point], aggregation_temporality: DELTA };
    metric("rpc.size", Data::ExponentialHistogram(histogram))
}

/// Points of `(start, time, value)`.
fn requests(aggregation_temporality: i32, points: &[(u64, u64, i64)]) -> Metric {
    let point = |(start, time, value): &(u64, u64, i64)| NumberDataPoint {
        start_time_unix_nano: at(*start),
        ..int_point(at(*time), *value)
    };
    let data_points = points.iter().map(point).collect();
    metric("http.requests", Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }))
}

fn exemplar(value: ExemplarValue, number: u8) -> Exemplar {
    Exemplar {
        time_unix_nano: at(30),
        value: Some(value),
        trace_id: trace_id(number),
        span_id: vec![number; 8],
        filtered_attributes: attributes([("user", text("ann"))]),
    }
}

fn paying() -> Span {
    Span {
        events: vec![Event {
            time_unix_nano: at(1),
            name: "exception".to_owned(),
            attributes: attributes([("exception.type", text("Timeout"))]),
            dropped_attributes_count: 2,
        }],
        links: vec![Link {
            trace_id: trace_id(2),
            span_id: vec![2; 8],
            trace_state: "a=b".to_owned(),
            attributes: attributes([("why", text("retry"))]),
            dropped_attributes_count: 1,
            flags: 1,
        }],
        ..span(1, 1, "GET /pay", at(0), 750_000_000)
    }
}

/// The data that the examples of `docs/sql.md` are about.
pub(crate) async fn send_examples(client: &Client) {
    let slow = vec![exemplar(ExemplarValue::AsDouble(0.75), 1), exemplar(ExemplarValue::AsInt(0), 3)];
    let checkout = vec![
        durations(&[0.1, 0.5, 1.0], &[5, 3, 1, 1], None, slow),
        sizes(1, 2, &[1, 1, 1, 1, 1, 1]),
        requests(DELTA, &[(120, 180, 30), (0, 60, 30), (60, 120, 30)]),
    ];
    let cart = vec![
        durations(&[0.1, 0.2, 0.5], &[4, 4, 2, 0], Some((0.05, 0.3)), vec![]),
        sizes(0, 1, &[3, 1]),
        requests(CUMULATIVE, &[(0, 120, 34), (150, 180, 12), (0, 0, 10), (0, 60, 22)]),
        client_durations(&[(60, [1, 1, 0]), (180, [9, 5, 0]), (120, [5, 1, 0])]),
        gauge(
            "queue.depth",
            vec![double_point(at(10), 7.0), double_point(at(20), 9.0), double_point(at(30), 3.5)],
        ),
    ];
    client.send(metrics("checkout", checkout)).await;
    client.send(metrics("cart", cart)).await;
    client.send(traces("checkout", vec![paying(), span(2, 2, "GET /cart", at(0), 1)])).await;
}

/// The statements of a document, each with the answer that follows it, if one does.
fn examples(document: &str) -> Vec<(&str, Option<&str>)> {
    let mut blocks = document.split("```").skip(1).step_by(2).peekable();
    let mut examples = Vec::new();
    while let Some(block) = blocks.next() {
        let is_statement = |sql: &&str| sql.starts_with("SELECT") || sql.starts_with("WITH");
        let Some(sql) = block.strip_prefix("sql\n").filter(is_statement) else { continue };
        let answer = blocks.peek().and_then(|next| next.strip_prefix("text\n"));
        examples.push((sql, answer));
    }
    examples
}

#[tokio::test]
async fn every_statement_of_the_sql_document_gives_what_it_says_there_from_memory_and_from_files() {
    let examples = examples(include_str!("../../docs/sql.md"));
    let with_answer = examples.iter().filter(|(_, answer)| answer.is_some()).count();
    assert!(with_answer >= 12, "{with_answer} examples were found");
    let check = async |client: &Client| {
        for (sql, answer) in &examples {
            match answer {
                Some(answer) => client.assert_rows(sql, answer).await,
                None => drop(client.rows(sql).await),
            }
        }
    };
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_examples(&client).await;
    check(&client).await;
    check(&server.restart().await.client("acme").await).await;
}

#[tokio::test]
async fn each_exemplar_event_and_link_is_a_row_and_an_empty_list_is_none() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_examples(&client).await;
    client
        .assert_rows(
            "SELECT timestamp, service_name, name, type, attributes, exemplar_timestamp, exemplar_value, \
             exemplar_value_int, trace_id, span_id, exemplar_attributes FROM metric_exemplars ORDER BY exemplar_value",
            "timestamp | service_name | name | type | attributes | exemplar_timestamp | exemplar_value | \
             exemplar_value_int | trace_id | span_id | exemplar_attributes
             2025-01-01T00:01:00Z | checkout | http.server.request.duration | histogram | {} | 2025-01-01T00:00:30Z | 0.0 | \
             0 | 03030303030303030303030303030303 | 0303030303030303 | {\"user\":\"ann\"}
             2025-01-01T00:01:00Z | checkout | http.server.request.duration | histogram | {} | 2025-01-01T00:00:30Z | 0.75 | \
             NULL | 01010101010101010101010101010101 | 0101010101010101 | {\"user\":\"ann\"}",
        )
        .await;
    client
        .assert_rows(
            "SELECT timestamp, service_name, name, kind, trace_id, span_id, event_timestamp, event_name, event_attributes, \
             event_dropped_attributes_count AS dropped FROM span_events",
            "timestamp | service_name | name | kind | trace_id | span_id | event_timestamp | event_name | event_attributes | dropped
             2025-01-01T00:00:00Z | checkout | GET /pay | server | 01010101010101010101010101010101 | 0101010101010101 | \
             2025-01-01T00:00:01Z | exception | {\"exception.type\":\"Timeout\"} | 2",
        )
        .await;
    client
        .assert_rows(
            "SELECT name, span_id, linked_trace_id, linked_span_id, link_trace_state, link_attributes, \
             link_dropped_attributes_count AS dropped, link_flags FROM span_links",
            "name | span_id | linked_trace_id | linked_span_id | link_trace_state | link_attributes | dropped | link_flags
             GET /pay | 0101010101010101 | 02020202020202020202020202020202 | 0202020202020202 | a=b | {\"why\":\"retry\"} | 1 | 1",
        )
        .await;
    assert_eq!(client.count("SELECT count(*) FROM span_events").await, 1);
    assert_eq!(
        client
            .count("SELECT count(*) FROM alula.public.span_links AS l JOIN span_events USING (span_id)")
            .await,
        1
    );
}

#[tokio::test]
async fn a_bound_on_a_column_of_the_row_reaches_the_table_under_the_view() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for (view, list) in
        [("metric_exemplars", "exemplars"), ("span_events", "events"), ("span_links", "links")]
    {
        let sql = format!(
            "EXPLAIN SELECT service_name FROM {view} WHERE timestamp >= '2025-01-01T00:00:00Z' AND name = 'x'"
        );
        let plan = client.query(&sql).await.unwrap().table();
        let scan = plan.lines().find(|line| line.contains("TableScan")).unwrap();
        assert!(scan.contains("timestamp >= TimestampNanosecond(1735689600000000000"), "{plan}");
        assert!(scan.contains("name = "), "{plan}");
        // Of the other columns none is read.
        assert!(scan.contains(list) && !scan.contains("resource_attributes"), "{plan}");
    }
}

#[tokio::test]
async fn a_view_shows_the_rows_of_its_tenant_alone() {
    let server = TestServer::start().await;
    let (alpha, bravo) = (server.client("alpha").await, server.client("bravo").await);
    let exemplars = vec![exemplar(ExemplarValue::AsInt(100), 1)];
    bravo.send(metrics("secret", vec![durations(&[1.0], &[1, 0], None, exemplars)])).await;
    bravo.send(traces("secret", vec![paying()])).await;
    let views = ["metric_exemplars", "span_events", "span_links"];
    for view in views {
        assert_eq!(bravo.count(&format!("SELECT count(*) FROM {view}")).await, 1);
        assert_eq!(alpha.count(&format!("SELECT count(*) FROM {view}")).await, 0);
        let in_subquery =
            format!("SELECT count(*) FROM {view} WHERE name IN (SELECT name FROM {view}) OR true");
        assert_eq!(alpha.count(&in_subquery).await, 0);
    }
    // An error would tell of the other tenant's exemplar.
    let oracle = "SELECT sum(1 / (exemplar_value_int - 100)) AS s FROM metric_exemplars";
    bravo.assert_error(oracle, Code::InvalidArgument, "division by zero").await;
    alpha.assert_rows(oracle, "s\nNULL").await;
    send_examples(&alpha).await;
    let server = server.restart().await;
    let (alpha, bravo) = (server.client("alpha").await, server.client("bravo").await);
    for (view, own) in views.into_iter().zip([2, 1, 1]) {
        assert_eq!(
            alpha.count(&format!("SELECT count(*) FROM {view} WHERE service_name = 'checkout'")).await,
            own
        );
        assert_eq!(
            alpha.count(&format!("SELECT count(*) FROM {view} WHERE service_name = 'secret'")).await,
            0
        );
        assert_eq!(bravo.count(&format!("SELECT count(*) FROM {view}")).await, 1);
    }
}

#[tokio::test]
async fn views_and_functions_are_described() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client
        .assert_rows(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_name LIKE 'span%' ORDER BY 1",
            "table_name | table_type\nspan_events | VIEW\nspan_links | VIEW",
        )
        .await;
    let described = client.query("DESCRIBE metric_exemplars").await.unwrap();
    assert_eq!(described.texts("column_name")[9].as_deref(), Some("exemplar_timestamp"));
    client
        .assert_error("INSERT INTO span_events SELECT * FROM span_events", Code::InvalidArgument, "read-only")
        .await;
    client.assert_error("SELECT * FROM span_event", Code::NotFound, "span_events").await;
}

#[tokio::test]
async fn a_merged_histogram_is_a_struct_on_the_wire() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_examples(&client).await;
    client
        .assert_rows(
            "SELECT histogram_merge(explicit_bounds, bucket_counts) AS m FROM metrics WHERE type = 'histogram' \
             AND temporality = 'delta' GROUP BY name",
            "m\n{bounds: [0.1, 0.5], counts: [9, 9, 2]}",
        )
        .await;
    client
        .assert_rows(
            "SELECT service_name, exp_histogram_merge(scale, zero_count, zero_threshold, positive_offset, \
             positive_bucket_counts, negative_offset, negative_bucket_counts) AS m FROM metrics \
             GROUP BY service_name, type HAVING type IN ('gauge', 'exponential_histogram') ORDER BY service_name, m IS NULL",
            "service_name | m
             cart | {scale: 0, zero_count: 0, zero_threshold: 0.0, positive_offset: 1, positive_bucket_counts: [3, 1], \
             negative_offset: 0, negative_bucket_counts: []}
             cart | NULL
             checkout | {scale: 1, zero_count: 0, zero_threshold: 0.0, positive_offset: 2, \
             positive_bucket_counts: [1, 1, 1, 1, 1, 1], negative_offset: 0, negative_bucket_counts: []}",
        )
        .await;
}

#[tokio::test]
async fn a_mistake_in_a_call_is_answered_with_what_to_pass() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    send_examples(&client).await;
    for (sql, part) in [
        (
            "SELECT histogram_quantile(0.5, explicit_bounds) FROM metrics",
            "(q, bounds, counts [, min] [, max])",
        ),
        (
            "SELECT histogram_quantile(0.5, name, bucket_counts) FROM metrics",
            "bounds of histogram_quantile must be a list",
        ),
        (
            "SELECT histogram_quantile(0.5, bucket_counts, explicit_bounds) FROM metrics",
            "bucket_counts of the same row",
        ),
        ("SELECT exp_histogram_merge(scale) FROM metrics", "exp_histogram_merge takes (scale, zero_count"),
        ("SELECT rate(timestamp, value, start_timestamp, temporality) FROM metrics", "group by series_id"),
        ("SELECT rate(value, timestamp) FROM metrics", "timestamp of rate must be a timestamp"),
    ] {
        client.assert_error(sql, Code::InvalidArgument, part).await;
    }
    client.assert_alive().await;
}
