//! The services as a client sees them, without a network between.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tower::{Layer, ServiceExt};

use alula_auth::{AuthLayer, AuthService, Issuer, KeyStore, Role, Verifier};
use alula_catalog::TenantId;

use super::*;
use crate::Config;
use crate::testing::{Store, logs};

const LOGS_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

fn log_service(store: &Store, config: Config) -> AuthService<LogsService> {
    AuthLayer::disabled().layer(LogsService::new(store.ingest(config)))
}

/// One length-prefixed message.
fn frame(compressed: bool, message: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_u8(u8::from(compressed));
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame
}

/// Sends a body as it is and returns the status and the body of the answer.
async fn send(store: &Store, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (Status, Bytes) {
    let config = Config { max_message_bytes: 1000, ..Config::default() };
    send_to(log_service(store, config), path, headers, body).await
}

async fn send_to(
    service: AuthService<LogsService>,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (Status, Bytes) {
    let mut request = Request::post(path).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Body::new(Full::new(Bytes::copy_from_slice(body)));
    let response = service.oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers: HeaderMap = collected.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&parts.headers).or_else(|| Status::from_header_map(&trailers));
    (status.unwrap(), collected.to_bytes())
}

async fn check_refused(path: &str, headers: &[(&str, &str)], body: &[u8], code: Code, message_part: &str) {
    let store = Store::open();
    let (status, body) = send(&store, path, headers, body).await;
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(message_part), "{status}");
    assert!(status.metadata().get_bin("google.rpc.retryinfo-bin").is_none());
    assert!(status.details().is_empty());
    assert!(body.is_empty());
    assert_eq!(store.stored_rows().await, 0);
}

#[tokio::test]
async fn full_success_is_an_empty_message() {
    let store = Store::open();
    let (status, body) = send(&store, LOGS_PATH, &[], &frame(false, &logs(2, 0).encode_to_vec())).await;
    assert_eq!(status.code(), Code::Ok);
    assert_eq!(body, frame(false, &[]));
    assert_eq!(store.stored_rows().await, 2);
}

#[tokio::test]
async fn an_empty_request_succeeds() {
    let store = Store::open();
    let (status, body) = send(&store, LOGS_PATH, &[], &frame(false, &[])).await;
    assert_eq!(status.code(), Code::Ok);
    assert_eq!(body, frame(false, &[]));
}

#[tokio::test]
async fn clients_may_compress_and_learn_how_many_records_were_rejected() {
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let store = Store::open();
        let mut client = LogsServiceClient::new(log_service(&store, Config::default()));
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding).accept_compressed(encoding);
        }
        let response = client.export(logs(4, 3)).await.unwrap().into_inner();
        assert_eq!(response.partial_success.unwrap().rejected_log_records, 3);
        assert_eq!(store.stored_rows().await, 4);
    }
}

#[tokio::test]
async fn metrics_and_traces_have_their_own_services_and_counts() {
    let store = Store::open();
    let ingest = store.ingest(Config::default());

    let span = Span { trace_id: vec![1; 16], span_id: vec![1; 8], ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span, Span::default()], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let service = AuthLayer::disabled().layer(TraceService::new(ingest.clone()));
    let response: ExportTraceServiceResponse = TraceServiceClient::new(service)
        .export(ExportTraceServiceRequest { resource_spans })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.partial_success.unwrap().rejected_spans, 1);

    let bad = HistogramDataPoint { bucket_counts: vec![1, 2], ..HistogramDataPoint::default() };
    let data_points = vec![HistogramDataPoint::default(), bad.clone(), bad];
    let data = Some(Data::Histogram(Histogram { data_points, aggregation_temporality: 1 }));
    let metrics = vec![Metric { data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    let service = AuthLayer::disabled().layer(MetricsService::new(ingest));
    let response: ExportMetricsServiceResponse = MetricsServiceClient::new(service)
        .export(ExportMetricsServiceRequest { resource_metrics })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.partial_success.unwrap().rejected_data_points, 2);
    assert_eq!(store.stored_rows().await, 2);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_for_good_and_by_name() {
    let message = "larger than 1000 bytes after decompression; \
                   send smaller batches or raise ingest.max_message_bytes";
    let body = frame(false, &[0; 1001]);
    check_refused(LOGS_PATH, &[], &body, Code::ResourceExhausted, message).await;
}

#[tokio::test]
async fn a_message_that_inflates_past_the_limit_is_refused_for_good() {
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let store = Store::open();
        let config = Config { max_message_bytes: 1000, ..Config::default() };
        let mut client = LogsServiceClient::new(log_service(&store, config)).send_compressed(encoding);
        let error = client.export(logs(100_000, 0)).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        assert!(error.message().contains("ingest.max_message_bytes"), "{error}");
        assert!(error.details().is_empty());
    }
}

#[tokio::test]
async fn broken_bytes_are_the_senders_fault() {
    let whole = frame(false, &logs(1, 0).encode_to_vec());
    let refused = "the body is not one whole gRPC message";
    check_refused(LOGS_PATH, &[], &whole[..whole.len() - 1], Code::InvalidArgument, refused).await;
    check_refused(LOGS_PATH, &[], &[], Code::InvalidArgument, refused).await;
    check_refused(LOGS_PATH, &[], b"garbage", Code::InvalidArgument, refused).await;
    check_refused(LOGS_PATH, &[], &frame(true, b"x"), Code::InvalidArgument, refused).await;
    let gzip = &[("grpc-encoding", "gzip")];
    let not_gzip = "the body is not valid gzip";
    check_refused(LOGS_PATH, gzip, &frame(true, b"not gzip"), Code::InvalidArgument, not_gzip).await;
    check_refused(LOGS_PATH, gzip, &[2, 0, 0, 0, 0], Code::InvalidArgument, refused).await;
    let malformed = "not a valid ExportLogsServiceRequest";
    check_refused(LOGS_PATH, &[], &frame(false, b"garbage"), Code::InvalidArgument, malformed).await;
}

/// The first would be acknowledged and the second lost.
#[tokio::test]
async fn a_call_with_two_messages_is_refused_and_stores_neither() {
    let one = frame(false, &logs(1, 0).encode_to_vec());
    let refused = "there is more after the message";
    check_refused(LOGS_PATH, &[], &[&one[..], &one[..]].concat(), Code::InvalidArgument, refused).await;
}

/// A message may say of itself that it is not compressed, whatever the call's encoding is.
#[tokio::test]
async fn the_flag_of_a_message_decides_whether_it_is_inflated() {
    let store = Store::open();
    let gzip = [("grpc-encoding", "gzip")];
    let (status, _) = send(&store, LOGS_PATH, &gzip, &frame(false, &logs(2, 0).encode_to_vec())).await;
    assert_eq!(status.code(), Code::Ok);
    assert_eq!(store.stored_rows().await, 2);
}

#[tokio::test]
async fn an_unknown_compression_is_refused_with_those_that_are_known() {
    let store = Store::open();
    let (status, _) = send(&store, LOGS_PATH, &[("grpc-encoding", "br")], &frame(true, b"x")).await;
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("`br`"), "{status}");
    assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "gzip,zstd,identity");
}

#[tokio::test]
async fn an_unknown_method_is_refused_by_name() {
    let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Import";
    check_refused(path, &[], &frame(false, &[]), Code::Unimplemented, path).await;
}

#[tokio::test]
async fn a_request_that_did_not_pass_the_auth_layer_is_refused() {
    let store = Store::open();
    let service = LogsService::new(store.ingest(Config::default()));
    let error = LogsServiceClient::new(service).export(logs(1, 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated, "{error}");
    assert_eq!(store.stored_rows().await, 0);
}

/// The rows go to the tenant of the token.
#[tokio::test]
async fn only_a_caller_with_the_write_role_may_export() {
    let store = Store::open();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.db");
    let issuer = Issuer::new(&KeyStore::open(&path).unwrap()).unwrap();
    let layer = AuthLayer::required(Arc::new(Verifier::new(KeyStore::open(&path).unwrap()).unwrap()));
    let tenant: TenantId = "team-a".parse().unwrap();
    let body = frame(false, &logs(1, 0).encode_to_vec());
    for (role, code, stored_rows) in [(Role::Read, Code::PermissionDenied, 0), (Role::Write, Code::Ok, 1)] {
        let token = issuer.issue(&tenant, "test", role.into(), Duration::from_secs(3600)).unwrap();
        let header = format!("Bearer {token}");
        let service = layer.layer(LogsService::new(store.ingest(Config::default())));
        let (status, _) = send_to(service, LOGS_PATH, &[("authorization", &header)], &body).await;
        assert_eq!(status.code(), code, "{status}");
        assert_eq!(store.stored_rows().await, stored_rows);
    }
    let tenants: Vec<TenantId> = store.catalog.tenants().unwrap().into_iter().map(|(_, id)| id).collect();
    assert_eq!(tenants, [tenant]);
}

#[tokio::test]
async fn overload_tells_every_exporter_when_to_try_again() {
    let store = Store::open();
    let service = log_service(&store, Config::default());
    store.storage.close().await.unwrap();
    let error = LogsServiceClient::new(service).export(logs(1, 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(!error.details().is_empty());
    assert!(error.metadata().get_bin("google.rpc.retryinfo-bin").is_some());
}
