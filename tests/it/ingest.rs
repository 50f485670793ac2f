//! Every field and metric type as SQL sees it; what is rejected is counted; what was handed over is stored.

use futures::future::join_all;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as ExemplarValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status as SpanStatus};
use prost::Message as _;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::fixture::otlp::{
    BASE_NS, Rejected, SECOND_NS, attributes, double, double_point, gauge, int, int_point, log, logs,
    metrics, now_ns, span, text, trace_id, traces, value,
};
use crate::fixture::{TestServer, frame, within_bound};

fn metric(name: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: format!("about {name}"),
        unit: "ms".to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

#[tokio::test]
async fn gauges_and_sums_keep_whole_numbers_and_doubles_apart() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let counter = Sum {
        data_points: vec![NumberDataPoint {
            start_time_unix_nano: BASE_NS,
            attributes: attributes([("route", text("/cart")), ("code", int(200))]),
            flags: 1,
            ..int_point(BASE_NS + SECOND_NS, (1 << 53) + 1)
        }],
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    let level = gauge(
        "level",
        vec![
            double_point(BASE_NS, 0.1),
            double_point(BASE_NS + 1, f64::NAN),
            double_point(BASE_NS + 2, f64::NEG_INFINITY),
            NumberDataPoint { value: None, ..int_point(BASE_NS + 3, 0) },
        ],
    );
    client.send(metrics("api", vec![metric("requests", Data::Sum(counter)), level])).await;
    client
        .assert_rows(
            "SELECT name, type, timestamp, start_timestamp, value_int, attributes, temporality, is_monotonic, flags, \
             description, unit, service_name, tenant_id, scope_name FROM metrics WHERE name = 'requests'",
            "name | type | timestamp | start_timestamp | value_int | attributes | temporality | is_monotonic | flags | \
             description | unit | service_name | tenant_id | scope_name
             requests | sum | 2025-01-01T00:00:01Z | 2025-01-01T00:00:00Z | 9007199254740993 | \
             {\"code\":200,\"route\":\"/cart\"} | cumulative | true | 1 | about requests | ms | api | acme | it",
        )
        .await;
    client
        .assert_rows(
            "SELECT type, value, value_int, temporality, is_monotonic FROM metrics WHERE name = 'level' \
             ORDER BY timestamp",
            "type | value | value_int | temporality | is_monotonic
             gauge | 0.1 | NULL | NULL | NULL
             gauge | NaN | NULL | NULL | NULL
             gauge | -inf | NULL | NULL | NULL
             gauge | NULL | NULL | NULL | NULL",
        )
        .await;
}

#[tokio::test]
async fn histograms_of_both_kinds_and_summaries_keep_every_field() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let exemplar = Exemplar {
        filtered_attributes: attributes([("user", text("u1"))]),
        time_unix_nano: BASE_NS,
        span_id: vec![2; 8],
        trace_id: trace_id(1),
        value: Some(ExemplarValue::AsInt(7)),
    };
    let histogram = Histogram {
        data_points: vec![HistogramDataPoint {
            time_unix_nano: BASE_NS,
            count: 6,
            sum: Some(10.5),
            min: Some(0.5),
            max: Some(7.0),
            bucket_counts: vec![1, 2, 3],
            explicit_bounds: vec![1.0, 5.0],
            exemplars: vec![exemplar],
            ..HistogramDataPoint::default()
        }],
        aggregation_temporality: 1,
    };
    let exponential = ExponentialHistogram {
        data_points: vec![ExponentialHistogramDataPoint {
            time_unix_nano: BASE_NS,
            count: 9,
            sum: None,
            scale: -3,
            zero_count: 1,
            zero_threshold: 0.001,
            positive: Some(Buckets { offset: -2, bucket_counts: vec![3, 0, 5] }),
            negative: None,
            ..ExponentialHistogramDataPoint::default()
        }],
        aggregation_temporality: 2,
    };
    let summary = Summary {
        data_points: vec![SummaryDataPoint {
            time_unix_nano: BASE_NS,
            count: 4,
            sum: 2.5,
            quantile_values: vec![
                ValueAtQuantile { quantile: 0.5, value: 0.25 },
                ValueAtQuantile { quantile: 1.0, value: 1.5 },
            ],
            ..SummaryDataPoint::default()
        }],
    };
    let all = vec![
        metric("h", Data::Histogram(histogram)),
        metric("e", Data::ExponentialHistogram(exponential)),
        metric("s", Data::Summary(summary)),
    ];
    client.send(metrics("api", all)).await;
    client
        .assert_rows(
            "SELECT type, temporality, count, sum, min, max, bucket_counts, explicit_bounds, scale, zero_count, \
             zero_threshold, positive_offset, positive_bucket_counts, negative_offset, negative_bucket_counts, quantiles \
             FROM metrics ORDER BY name",
            "type | temporality | count | sum | min | max | bucket_counts | explicit_bounds | scale | zero_count | \
             zero_threshold | positive_offset | positive_bucket_counts | negative_offset | negative_bucket_counts | quantiles
             exponential_histogram | cumulative | 9 | NULL | NULL | NULL | NULL | NULL | -3 | 1 | 0.001 | -2 | [3, 0, 5] | \
             NULL | NULL | NULL
             histogram | delta | 6 | 10.5 | 0.5 | 7.0 | [1, 2, 3] | [1.0, 5.0] | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL
             summary | NULL | 4 | 2.5 | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL | \
             [{quantile: 0.5, value: 0.25}, {quantile: 1.0, value: 1.5}]",
        )
        .await;
    client
        .assert_rows(
            "SELECT e['timestamp'] AS t, e['value_int'] AS v, e['trace_id'] AS trace, e['span_id'] AS span, \
             e['attributes'] AS a FROM (SELECT unnest(exemplars) AS e FROM metrics)",
            "t | v | trace | span | a
             2025-01-01T00:00:00Z | 7 | 01010101010101010101010101010101 | 0202020202020202 | {\"user\":\"u1\"}",
        )
        .await;
}

#[tokio::test]
async fn log_bodies_of_every_type_are_text_that_says_its_type() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let array = Value::ArrayValue(ArrayValue { values: vec![int(1), text("a")] });
    let map = Value::KvlistValue(KeyValueList { values: attributes([("b", int(1)), ("a", double(0.5))]) });
    let bodies = [
        Some(text("plain \"text\"")),
        Some(int(-5)),
        Some(value(Value::DoubleValue(f64::NAN))),
        Some(value(Value::BoolValue(true))),
        Some(value(Value::BytesValue(vec![0, 255]))),
        Some(value(array)),
        Some(value(map)),
        None,
    ];
    let record = |(number, body)| LogRecord { body, ..log(BASE_NS + number as u64, "") };
    client.send(logs("api", bodies.into_iter().enumerate().map(record).collect())).await;
    client
        .assert_rows(
            "SELECT body_type, body FROM logs ORDER BY timestamp",
            r#"body_type | body
               string | plain "text"
               int | -5
               double | {"$double":"NaN"}
               bool | true
               bytes | {"$bytes":"AP8="}
               array | [1,"a"]
               map | {"a":0.5,"b":1}
               NULL | NULL"#,
        )
        .await;
}

#[tokio::test]
async fn a_log_record_without_a_time_takes_the_observed_or_else_the_receive_time() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let before = now_ns();
    let records = vec![
        LogRecord { observed_time_unix_nano: BASE_NS, ..log(BASE_NS + 5, "own") },
        LogRecord { observed_time_unix_nano: BASE_NS, ..log(0, "observed") },
        log(0, "received"),
    ];
    client.send(logs("api", records)).await;
    client
        .assert_rows(
            "SELECT body, timestamp_source, observed_timestamp, timestamp - TIMESTAMP '2025-01-01T00:00:00Z' \
             = INTERVAL '0' AS is_base FROM logs ORDER BY timestamp_source DESC",
            "body | timestamp_source | observed_timestamp | is_base
             own | record | 2025-01-01T00:00:00Z | false
             received | received | NULL | false
             observed | observed | 2025-01-01T00:00:00Z | true",
        )
        .await;
    let in_time = format!(
        "SELECT count(*) FROM logs WHERE body = 'received' AND timestamp = ingested_at \
         AND CAST(timestamp AS BIGINT) BETWEEN {before} AND {}",
        now_ns()
    );
    assert_eq!(client.count(&in_time).await, 1);
}

#[tokio::test]
async fn spans_keep_status_events_and_links() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let child = Span {
        parent_span_id: vec![1; 8],
        trace_state: "a=b".to_owned(),
        attributes: attributes([("http.route", text("/pay"))]),
        status: Some(SpanStatus { code: 2, message: "declined".to_owned() }),
        events: vec![Event {
            time_unix_nano: BASE_NS + 1,
            name: "exception".to_owned(),
            attributes: attributes([("exception.type", text("Declined"))]),
            dropped_attributes_count: 1,
        }],
        links: vec![Link {
            trace_id: trace_id(9),
            span_id: vec![8; 8],
            trace_state: String::new(),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            flags: 1,
        }],
        dropped_events_count: 3,
        ..span(1, 2, "POST /pay", BASE_NS, 1_500_000)
    };
    client.send(traces("pay", vec![span(1, 1, "root", BASE_NS - 1, 2_000_000), child])).await;
    client
        .assert_rows(
            "SELECT name, kind, status_code, status_message, duration_ns, trace_id, span_id, parent_span_id, trace_state, \
             end_timestamp, dropped_events_count FROM traces ORDER BY timestamp",
            "name | kind | status_code | status_message | duration_ns | trace_id | span_id | parent_span_id | trace_state | \
             end_timestamp | dropped_events_count
             root | server | NULL | NULL | 2000000 | 01010101010101010101010101010101 | 0101010101010101 | NULL | | \
             2025-01-01T00:00:00.001999999Z | 0
             POST /pay | server | error | declined | 1500000 | 01010101010101010101010101010101 | 0202020202020202 | \
             0101010101010101 | a=b | 2025-01-01T00:00:00.001500Z | 3",
        )
        .await;
    client
        .assert_rows(
            "SELECT e['name'] AS event, e['attributes'] AS about, l['trace_id'] AS linked \
             FROM (SELECT unnest(events) AS e, unnest(links) AS l FROM traces)",
            "event | about | linked
             exception | {\"exception.type\":\"Declined\"} | 09090909090909090909090909090909",
        )
        .await;
}

#[tokio::test]
async fn what_is_sent_is_stored_or_counted_as_rejected() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let too_late = now_ns() + 2 * 3600 * SECOND_NS;

    let points = [BASE_NS, too_late, BASE_NS + 1, u64::MAX].map(|time| int_point(time, 1)).to_vec();
    let rejected = client.export(metrics("api", vec![gauge("g", points)])).await.unwrap();
    assert_eq!(rejected.count, 2);
    assert!(rejected.message.contains("ingest.max_future"), "{}", rejected.message);
    assert!(rejected.message.contains("2262"), "{}", rejected.message);
    assert_eq!(client.count("SELECT count(*) FROM metrics").await, 2);

    let records = (0..10).map(|number| log(if number % 3 == 0 { too_late } else { BASE_NS + number }, "x"));
    let rejected = client.export(logs("api", records.collect())).await.unwrap();
    assert_eq!(rejected.count, 4);
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 6);

    let nameless = Span { trace_id: vec![], ..span(1, 2, "bad", BASE_NS, 1) };
    let short = Span { span_id: vec![1; 7], ..span(1, 3, "bad", BASE_NS, 1) };
    let rejected =
        client.export(traces("api", vec![span(1, 1, "good", BASE_NS, 1), nameless, short])).await.unwrap();
    assert_eq!(rejected.count, 2);
    assert!(rejected.message.contains("trace_id") && rejected.message.contains("span_id"));
    client.assert_rows("SELECT name FROM traces", "name\ngood").await;
}

#[tokio::test]
async fn a_request_of_which_everything_is_rejected_still_succeeds() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let rejected = client.export(logs("api", vec![log(u64::MAX, "never")])).await.unwrap();
    assert_eq!(rejected.count, 1);
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 0);
}

#[tokio::test]
async fn an_empty_request_is_a_full_success() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    client.send(metrics("api", vec![])).await;
    client.send(logs("api", vec![])).await;
    client.send(traces("api", vec![])).await;
    client.call_empty("/opentelemetry.proto.collector.logs.v1.LogsService/Export").await.unwrap();
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 0);
}

#[tokio::test]
async fn both_compressions_bring_the_same_rows() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let name = format!("{encoding:?}");
        let records: Vec<_> = (0..500).map(|number| log(BASE_NS + number, "the same")).collect();
        let rejected = client.export_compressed(logs(&name, records), Some(encoding)).await.unwrap();
        assert_eq!(rejected, Rejected::default());
        let spans = vec![span(1, 1, &name, BASE_NS, 1)];
        client.export_compressed(traces(&name, spans), Some(encoding)).await.unwrap();
        let points = vec![int_point(BASE_NS, 1)];
        client.export_compressed(metrics(&name, vec![gauge("g", points)]), Some(encoding)).await.unwrap();
    }
    client
        .assert_rows(
            "SELECT service_name, count(*) AS n, count(DISTINCT timestamp) AS times FROM logs GROUP BY 1 ORDER BY 1",
            "service_name | n | times
             Gzip | 500 | 500
             Zstd | 500 | 500",
        )
        .await;
    assert_eq!(client.count("SELECT count(*) FROM traces").await, 2);
    assert_eq!(client.count("SELECT count(*) FROM metrics").await, 2);
}

#[tokio::test]
async fn a_row_is_visible_to_the_query_that_starts_right_after_its_acknowledgement() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for number in 1..=50_u32 {
        client.send(logs("api", vec![log(BASE_NS + u64::from(number), "x")])).await;
        assert_eq!(client.count("SELECT count(*) FROM logs").await, i64::from(number));
    }
}

#[tokio::test]
async fn many_senders_at_once_lose_and_double_nothing() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let senders = (0..16).map(|sender| {
        let client = client.clone();
        async move {
            for request in 0..10 {
                let points = (0..10).map(|n| int_point(BASE_NS, (sender * 10 + request) * 10 + n)).collect();
                client.send(metrics("api", vec![gauge("g", points)])).await;
            }
        }
    });
    within_bound("the senders", join_all(senders)).await;
    client
        .assert_rows(
            "SELECT count(*) AS n, count(DISTINCT value_int) AS distinct_values, min(value_int) AS first, \
             max(value_int) AS last, count(DISTINCT ingest_seq) AS requests FROM metrics",
            "n | distinct_values | first | last | requests
             1600 | 1600 | 0 | 1599 | 160",
        )
        .await;
}

/// A client may give up at any moment. The request is then stored whole or not at all, and the next ones are.
#[tokio::test]
async fn a_client_that_hangs_up_leaves_whole_requests_only() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let body = logs("gone", (0..100).map(|number| log(BASE_NS + number, "x")).collect()).encode_to_vec();
    for _ in 0..50 {
        let other = server.client("acme").await;
        let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
        let framed = frame(false, &body);
        let request = tokio::spawn(async move { other.post_raw(path, &[], framed).await.status.code() });
        // Lets the request go out, or not: any moment will do.
        tokio::task::yield_now().await;
        request.abort();
        if let Ok(code) = request.await {
            assert_eq!(code, Code::Ok);
        }
    }
    client.assert_alive().await;
    let torn = "SELECT count(*) FROM (SELECT ingest_seq FROM logs WHERE service_name = 'gone' \
                GROUP BY ingest_seq HAVING count(*) <> 100)";
    assert_eq!(client.count(torn).await, 0);
}

#[tokio::test]
async fn a_tenant_named_in_a_header_or_an_attribute_changes_nothing() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let mut request = logs("api", vec![log(BASE_NS, "mine")]);
    let resource = request.resource_logs[0].resource.as_mut().unwrap();
    resource.attributes.extend(attributes([("tenant.id", text("other")), ("tenant_id", text("other"))]));
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let headers = [("x-scope-orgid", "other"), ("x-tenant", "other"), ("tenant", "other")];
    let answer = client.post_raw(path, &headers, frame(false, &request.encode_to_vec())).await;
    assert_eq!(answer.status.code(), Code::Ok);
    client.assert_rows("SELECT tenant_id, body FROM logs", "tenant_id | body\nacme | mine").await;
    assert_eq!(server.client("other").await.count("SELECT count(*) FROM logs").await, 0);
}
