//! The HTTP port: every signal in every format and compression, connections as clients use them, and each refusal as a
//! `Status` in the format of its request.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::{Method, StatusCode};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogram, ExponentialHistogramDataPoint, Metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use prost::Message as _;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::body::Body;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use alula_auth::Role;

use crate::fixture::http::{Http, HttpAnswer, JSON, PROTOBUF, Version};
use crate::fixture::otlp::{BASE_NS, Export, attributes, int, log, logs, metrics, span, trace_id, traces};
use crate::fixture::{Client, Process, TestServer, body_of, within_bound};

const ENCODINGS: [&str; 3] = ["identity", "gzip", "zstd"];

pub(crate) fn encode(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// One record of a signal in both formats, and what SQL says of it.
struct Sample {
    request: Export,
    json: serde_json::Value,
    sql: &'static str,
    rows: &'static str,
}

fn sample_of_metrics(service: &str) -> Sample {
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: BASE_NS,
        attributes: attributes([("exact", int((1 << 53) + 1))]),
        count: u64::MAX,
        sum: Some(f64::NEG_INFINITY),
        scale: -3,
        positive: Some(Buckets { offset: -2, bucket_counts: vec![1 << 53 | 1] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let histogram = ExponentialHistogram { data_points: vec![point], aggregation_temporality: 1 };
    let data = Some(Data::ExponentialHistogram(histogram));
    Sample {
        request: metrics(service, vec![Metric { name: "h".to_owned(), data, ..Metric::default() }]).into(),
        json: json!({"resourceMetrics": [{"resource": json_resource(service), "scopeMetrics": [{"metrics": [{
            "name": "h",
            "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [{
                "timeUnixNano": BASE_NS.to_string(),
                "attributes": [{"key": "exact", "value": {"intValue": "9007199254740993"}}],
                "count": u64::MAX,
                "sum": "-Infinity",
                "scale": -3,
                "positive": {"offset": -2, "bucketCounts": ["9007199254740993"]},
            }]},
        }]}]}]}),
        sql: "name, type, temporality, timestamp, attributes, count, sum, scale, positive_offset, \
              positive_bucket_counts",
        rows: "name | type | temporality | timestamp | attributes | count | sum | scale | positive_offset | \
               positive_bucket_counts
               h | exponential_histogram | delta | 2025-01-01T00:00:00Z | {\"exact\":9007199254740993} | \
               18446744073709551615 | -inf | -3 | -2 | [9007199254740993]",
    }
}

fn sample_of_logs(service: &str) -> Sample {
    Sample {
        request: logs(service, vec![log(BASE_NS + 1, "ordered: 注文")]).into(),
        json: json!({"resourceLogs": [{"resource": json_resource(service), "scopeLogs": [{"logRecords": [{
            "timeUnixNano": BASE_NS + 1,
            "severityNumber": 9,
            "severityText": "INFO",
            "body": {"stringValue": "ordered: 注文"},
            "unknownField": {"ignored": [1]},
        }]}]}]}),
        sql: "timestamp, severity_number, severity_text, body, body_type",
        rows: "timestamp | severity_number | severity_text | body | body_type
               2025-01-01T00:00:00.000000001Z | 9 | INFO | ordered: 注文 | string",
    }
}

fn sample_of_traces(service: &str) -> Sample {
    let link = Link { trace_id: trace_id(0xab), span_id: vec![0xcd; 8], ..Link::default() };
    let span = Span { links: vec![link], ..span(1, 2, "GET /cart", BASE_NS, 1500) };
    Sample {
        request: traces(service, vec![span]).into(),
        json: json!({"resourceSpans": [{"resource": json_resource(service), "scopeSpans": [{"spans": [{
            "traceId": "01010101010101010101010101010101",
            "spanId": "0202020202020202",
            "name": "GET /cart",
            "kind": 2,
            "startTimeUnixNano": BASE_NS.to_string(),
            "endTimeUnixNano": (BASE_NS + 1500).to_string(),
            "links": [{"traceId": "AB".repeat(16), "spanId": "cD".repeat(8)}],
        }]}]}]}),
        sql: "name, kind, trace_id, span_id, duration_ns, links[1]['trace_id'] AS linked, \
              links[1]['span_id'] AS linked_span",
        rows: "name | kind | trace_id | span_id | duration_ns | linked | linked_span
               GET /cart | server | 01010101010101010101010101010101 | 0202020202020202 | 1500 | \
               abababababababababababababababab | cdcdcdcdcdcdcdcd",
    }
}

fn json_resource(service: &str) -> serde_json::Value {
    json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]})
}

#[tokio::test]
async fn every_signal_in_every_format_and_compression_is_in_the_next_query() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for version in [Version::Http1, Version::Http2] {
        let mut http = server.http(version, "acme").await;
        for encoding in ENCODINGS {
            for content_type in [PROTOBUF, JSON] {
                let service = format!("{version:?} {encoding} {content_type}");
                for sample in [sample_of_metrics, sample_of_logs, sample_of_traces] {
                    let Sample { request, json, sql, rows } = sample(&service);
                    let message = if content_type == JSON {
                        json.to_string().into_bytes()
                    } else {
                        request.encode_to_vec()
                    };
                    let headers = [("content-type", content_type), ("content-encoding", encoding)];
                    let answer = http.post(&request.http_path(), &headers, encode(encoding, &message)).await;
                    assert_full_success(&answer, content_type);
                    let sql =
                        format!("SELECT {sql} FROM {} WHERE service_name = '{service}'", request.signal());
                    client.assert_rows(&sql, rows).await;
                }
            }
        }
    }
}

fn assert_full_success(answer: &HttpAnswer, content_type: &str) {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some(content_type));
    assert_eq!(answer.body, if content_type == JSON { "{}" } else { "" });
}

fn log_message(body: &str) -> Vec<u8> {
    logs("api", vec![log(BASE_NS, body)]).encode_to_vec()
}

const AS_PROTOBUF: [(&str, &str); 1] = [("content-type", PROTOBUF)];

#[tokio::test]
async fn one_connection_takes_requests_of_all_signals_and_formats_one_after_the_other() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let mut http = server.http(Version::Http1, "acme").await;
    for round in 0..20 {
        // Errors do not end the connection either.
        let refused = http.post("/v1/logs", &AS_PROTOBUF, "garbage").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        let message = log_message(&round.to_string());
        assert_full_success(&http.post("/v1/logs", &AS_PROTOBUF, message).await, PROTOBUF);
        let Sample { json, .. } = sample_of_traces(&round.to_string());
        let as_json = [("content-type", "application/json; charset=utf-8")];
        assert_full_success(&http.post("/v1/traces", &as_json, json.to_string()).await, JSON);
    }
    assert_eq!(client.count("SELECT count(DISTINCT body) FROM logs").await, 20);
    assert_eq!(client.count("SELECT count(*) FROM traces").await, 20);
}

#[tokio::test]
async fn a_body_in_chunks_of_unannounced_length_is_one_request() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for version in [Version::Http1, Version::Http2] {
        let mut http = server.http(version, "acme").await;
        for encoding in ENCODINGS {
            let message = encode(encoding, &log_message(&format!("{version:?} {encoding}")));
            let bytes: Vec<_> = message.into_iter().map(|byte| Bytes::from(vec![byte])).collect();
            let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
            let body = body_of(stream::iter(bytes));
            let answer = http.request(Method::POST, "/v1/logs", &headers, body).await.unwrap();
            assert_full_success(&answer, PROTOBUF);
        }
    }
    assert_eq!(client.count("SELECT count(DISTINCT body) FROM logs").await, 6);
}

/// Checks a refusal on both versions of HTTP, and that the connection is usable after it.
async fn check_refused(
    server: &TestServer,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: &[u8],
    (status, code, part): (u16, Code, &str),
) {
    for version in [Version::Http1, Version::Http2] {
        let mut http = server.http(version, "acme").await;
        let body = Body::new(http_body_util::Full::new(Bytes::copy_from_slice(body)));
        let answer = http.request(method.clone(), path, headers, body).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {headers:?}: {answer:?}");
        let (found, message) = answer.error();
        assert_eq!(found, code, "{path}: {message}");
        assert!(message.contains(part), "{path}: {part:?} is not in: {message}");
        assert_eq!(answer.retry_after(), None, "{path}: {message}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        let known =
            headers.iter().find(|(name, value)| *name == "content-type" && [PROTOBUF, JSON].contains(value));
        if let Some((_, content_type)) = known {
            assert_eq!(answer.header("content-type"), Some(*content_type));
        }
        assert_full_success(&http.post("/v1/logs", &AS_PROTOBUF, "").await, PROTOBUF);
    }
}

#[tokio::test]
async fn each_refusal_is_a_status_in_the_format_of_its_request() {
    let server = TestServer::start_with(|config| {
        config.ingest.max_http_message_bytes = "1000B".parse().unwrap();
    })
    .await;
    let post = |path| (Method::POST, path);
    let whole = log_message("never stored");
    for content_type in [PROTOBUF, JSON] {
        let headers = &[("content-type", content_type)];
        let malformed = (400, Code::InvalidArgument, "ExportMetricsServiceRequest");
        check_refused(&server, post("/v1/metrics"), headers, b"garbage", malformed).await;
        let elsewhere = (404, Code::NotFound, "/v1/metrics, /v1/logs and /v1/traces");
        check_refused(&server, post("/v1/profiles"), headers, b"", elsewhere).await;
        let method = (405, Code::Unimplemented, "POST");
        check_refused(&server, (Method::GET, "/v1/logs"), headers, b"", method).await;
        let large = (413, Code::ResourceExhausted, "ingest.max_http_message_bytes");
        check_refused(&server, post("/v1/logs"), headers, &[b' '; 1001], large).await;
        let headers = &[("content-type", content_type), ("content-encoding", "br")];
        let encoding = (415, Code::Unimplemented, "`br`");
        check_refused(&server, post("/v1/logs"), headers, &whole, encoding).await;
        let headers = &[("content-type", content_type), ("content-encoding", "gzip")];
        check_refused(&server, post("/v1/logs"), headers, &whole, (400, Code::InvalidArgument, "gzip")).await;
    }
    let text = &[("content-type", "text/plain")];
    check_refused(&server, post("/v1/logs"), text, &whole, (415, Code::InvalidArgument, PROTOBUF)).await;
    check_refused(&server, post("/v1/logs"), &[], &whole, (415, Code::InvalidArgument, JSON)).await;
    // What a browser asks first. No page of another site gets an answer that it may read.
    let preflight = &[("origin", "http://example.com"), ("access-control-request-method", "POST")];
    check_refused(&server, (Method::OPTIONS, "/v1/logs"), preflight, b"", (405, Code::Unimplemented, "POST"))
        .await;
    assert_eq!(server.client("acme").await.count("SELECT count(*) FROM logs").await, 0);
}

#[tokio::test]
async fn a_credential_that_is_missing_wrong_or_not_enough_is_told_from_each_other() {
    let server = TestServer::start().await;
    let reader = format!("Bearer {}", server.token("acme", "reader", Role::Read));
    for content_type in [PROTOBUF, JSON] {
        for (authorization, status, code) in [
            (None, StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            (Some("Bearer nonsense".to_owned()), StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            (Some(reader.clone()), StatusCode::FORBIDDEN, Code::PermissionDenied),
        ] {
            let mut http = Http::connect(Version::Http1, server.http_addr(), authorization).await;
            let answer = http.post("/v1/logs", &[("content-type", content_type)], "").await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("content-type"), Some(content_type));
            assert_eq!(answer.error().0, code);
            assert_eq!(answer.header("www-authenticate").is_some(), status == StatusCode::UNAUTHORIZED);
        }
    }
}

#[tokio::test]
async fn a_tenant_past_its_quota_is_told_when_to_come_back_and_others_are_not_held_up() {
    let server = TestServer::start_with(|config| {
        config.ingest.tenant_bytes_per_second = "1B".parse().unwrap();
    })
    .await;
    let message = log_message("large enough for a long wait");
    let mut http = server.http(Version::Http1, "acme").await;
    assert_full_success(&http.post("/v1/logs", &AS_PROTOBUF, message.clone()).await, PROTOBUF);
    for content_type in [PROTOBUF, JSON] {
        let answer = http.post("/v1/logs", &[("content-type", content_type)], message.clone()).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.header("content-type"), Some(content_type));
        let (code, text) = answer.error();
        assert_eq!(code, Code::ResourceExhausted);
        assert!(text.contains("ingest.tenant_bytes_per_second"), "{text}");
        let seconds = answer.retry_after().unwrap().as_secs();
        assert!((1..=message.len() as u64).contains(&seconds), "{seconds}");
    }
    let mut other = server.http(Version::Http1, "other").await;
    assert_full_success(&other.post("/v1/logs", &AS_PROTOBUF, message).await, PROTOBUF);
    assert_eq!(server.client("acme").await.count("SELECT count(*) FROM logs").await, 1);
}

/// Waits until the server says that it drains.
async fn until_it_drains(client: &Client) -> impl Future<Output = ()> + use<> {
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(client.channel()).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    async move {
        let told = within_bound("the health watch", watch.message()).await.unwrap().unwrap();
        assert_eq!(told.status(), ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn a_request_on_its_way_is_stored_and_acknowledged_during_the_drain() {
    for version in [Version::Http1, Version::Http2] {
        let mut server = Process::start(&["--shutdown-grace", "100s"]).await;
        let drains = until_it_drains(&server.client("acme").await).await;
        let mut http = server.http(version, "acme").await;
        // The connection is taken before the drain begins.
        assert_full_success(&http.post("/v1/logs", &AS_PROTOBUF, "").await, PROTOBUF);
        let message = Bytes::from(log_message("sent in two halves"));
        let (parts, body) = mpsc::channel(1);
        let request = tokio::spawn(async move {
            let body = body_of(ReceiverStream::new(body));
            http.request(Method::POST, "/v1/logs", &AS_PROTOBUF, body).await.unwrap()
        });
        parts.send(message.slice(..10)).await.unwrap();
        // The first part has been taken off the channel, so the request is on its way.
        let rest = parts.reserve().await.unwrap();
        server.terminate();
        drains.await;
        rest.send(message.slice(10..));
        drop(parts);
        assert_full_success(&within_bound("the acknowledgement", request).await.unwrap(), PROTOBUF);
        assert_eq!(server.exited().await.code(), Some(0), "{}", server.log());
        let server = server.start_again(&[]).await;
        let stored = "SELECT count(*) FROM logs WHERE body = 'sent in two halves'";
        assert_eq!(server.client("acme").await.count(stored).await, 1);
    }
}

#[tokio::test]
async fn an_empty_request_of_any_signal_and_format_is_a_full_success() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let mut http = server.http(Version::Http1, "acme").await;
    for signal in ["metrics", "logs", "traces"] {
        let path = format!("/v1/{signal}");
        assert_full_success(&http.post(&path, &AS_PROTOBUF, "").await, PROTOBUF);
        for nothing in ["", "{}", r#"{"unknown":1}"#] {
            assert_full_success(&http.post(&path, &[("content-type", JSON)], nothing).await, JSON);
        }
        assert_eq!(client.count(&format!("SELECT count(*) FROM {signal}")).await, 0);
    }
}

/// Resources without scopes, scopes without records, and metrics of no type carry nothing that could be a row.
#[tokio::test]
async fn empty_envelopes_are_a_full_success_and_no_rows() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let mut http = server.http(Version::Http1, "acme").await;
    for (signal, json) in [
        (
            "logs",
            json!({"resourceLogs": [{}, {"resource": {}, "scopeLogs": [{}, {"scope": {"name": "s"}}]}]}),
        ),
        ("traces", json!({"resourceSpans": [{}, {"resource": {}, "scopeSpans": [{}, {"spans": []}]}]})),
        (
            "metrics",
            json!({"resourceMetrics": [{}, {"resource": {}, "scopeMetrics": [{}, {"metrics": [
                {}, {"name": "of no type"}, {"name": "without points", "sum": {"dataPoints": []}},
            ]}]}]}),
        ),
    ] {
        let answer = http.post(&format!("/v1/{signal}"), &[("content-type", JSON)], json.to_string()).await;
        assert_full_success(&answer, JSON);
        assert_eq!(client.count(&format!("SELECT count(*) FROM {signal}")).await, 0);
    }
    client.send(metrics("api", vec![Metric { name: "of no type".to_owned(), ..Metric::default() }])).await;
    client.send(logs("api", vec![])).await;
    client.send(traces("api", vec![])).await;
    assert_eq!(client.count("SELECT count(*) FROM metrics").await, 0);
}

#[tokio::test]
async fn rejected_records_are_counted_and_their_neighbours_kept_in_every_signal_and_format() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let mut http = server.http(Version::Http1, "acme").await;
    let late = u64::MAX.to_string();
    for (signal, field, reason, json) in [
        (
            "logs",
            "rejectedLogRecords",
            "2262",
            json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
                {"timeUnixNano": late}, {"timeUnixNano": "1"},
            ]}]}]}),
        ),
        (
            "traces",
            "rejectedSpans",
            "trace_id",
            json!({"resourceSpans": [{"scopeSpans": [{"spans": [
                {}, {"traceId": "01".repeat(16), "spanId": "02".repeat(8)},
            ]}]}]}),
        ),
        (
            "metrics",
            "rejectedDataPoints",
            "bucket_counts",
            json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "h", "histogram": {"dataPoints": [
                {"bucketCounts": ["1"], "explicitBounds": [1.0]}, {"count": "1"},
            ]}}]}]}]}),
        ),
    ] {
        let answer = http.post(&format!("/v1/{signal}"), &[("content-type", JSON)], json.to_string()).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some(JSON)));
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(told["partialSuccess"][field], "1", "{told}");
        assert!(told["partialSuccess"]["errorMessage"].as_str().unwrap().contains(reason), "{told}");
        assert_eq!(client.count(&format!("SELECT count(*) FROM {signal}")).await, 1, "{signal}");
    }
}

/// A field of a later version of the protocol, in either format.
#[tokio::test]
async fn unknown_fields_are_ignored_in_either_format() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let mut http = server.http(Version::Http1, "acme").await;
    // Field 1000 of the request: a string.
    let unknown = [0xc2, 0x3e, 3, b'n', b'e', b'w'];
    let message = [&unknown[..], &log_message("protobuf")[..], &unknown].concat();
    assert_full_success(&http.post("/v1/logs", &AS_PROTOBUF, message).await, PROTOBUF);
    let Sample { mut json, .. } = sample_of_logs("json");
    json["new"] = json!([{"nested": [1, null]}]);
    json["resourceLogs"][0]["new"] = json!(null);
    assert_full_success(&http.post("/v1/logs", &[("content-type", JSON)], json.to_string()).await, JSON);
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 2);
}

#[tokio::test]
async fn without_authentication_everyone_is_the_default_tenant() {
    let server = TestServer::start_with(|config| config.server.no_auth = true).await;
    let mut http = Http::connect(Version::Http1, server.http_addr(), None).await;
    assert_full_success(&http.post("/v1/logs", &AS_PROTOBUF, log_message("x")).await, PROTOBUF);
    server.anonymous().await.assert_rows("SELECT tenant_id FROM logs", "tenant_id\ndefault").await;
}
