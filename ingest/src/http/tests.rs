//! The service as an HTTP client sees it, without a network between.

use std::io::Write;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use tonic::Code;
use tonic_types::pb;
use tower::ServiceExt;

use alula_auth::{AuthLayer, Issuer, KeyStore, Role, Verifier};

use super::*;
use crate::Config;
use crate::testing::{Store, logs};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The `Status` of an error, whose content type must be the request's.
    fn error(&self, content_type: &str) -> (Code, String) {
        assert_eq!(self.header("content-type"), Some(content_type));
        if content_type == PROTOBUF {
            let status = pb::Status::decode(&self.body[..]).unwrap();
            return (Code::from_i32(status.code), status.message);
        }
        let status: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        let code = status["code"].as_i64().unwrap() as i32;
        (Code::from_i32(code), status["message"].as_str().unwrap().to_owned())
    }
}

impl Answer {
    /// What the `BadRequest` in the details of the `Status` describes.
    fn bad_request(&self, content_type: &str) -> Vec<String> {
        if content_type == PROTOBUF {
            let status = pb::Status::decode(&self.body[..]).unwrap();
            let [details] = &status.details[..] else { panic!("{status:?}") };
            assert_eq!(details.type_url, "type.googleapis.com/google.rpc.BadRequest");
            let bad_request = pb::BadRequest::decode(&details.value[..]).unwrap();
            return bad_request.field_violations.into_iter().map(|violation| violation.description).collect();
        }
        let status: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        let details = &status["details"][0];
        assert_eq!(details["@type"], "type.googleapis.com/google.rpc.BadRequest");
        let violations = details["fieldViolations"].as_array().unwrap();
        violations.iter().map(|violation| violation["description"].as_str().unwrap().to_owned()).collect()
    }
}

fn service(store: &Store, config: Config) -> HttpService {
    HttpService::new(store.ingest(config), AuthLayer::disabled())
}

async fn send(
    service: HttpService,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = service.oneshot(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

async fn post_logs(store: &Store, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    send(service(store, Config::default()), Method::POST, "/v1/logs", headers, body).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn full_success_is_an_empty_message_in_the_content_type_of_the_request() {
    let store = Store::open();
    let answer = post_logs(&store, &[("content-type", PROTOBUF)], logs(2, 0).encode_to_vec()).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some(PROTOBUF)));
    assert_eq!(answer.body, "");

    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1"}]}]}]}"#;
    let answer = post_logs(&store, &[("content-type", "Application/JSON; charset=utf-8")], json).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some(JSON)));
    assert_eq!(answer.body, "{}");
    assert_eq!(store.stored_rows().await, 3);
}

#[tokio::test]
async fn rejected_records_are_counted_in_either_format() {
    let store = Store::open();
    let answer = post_logs(&store, &[("content-type", PROTOBUF)], logs(7, 3).encode_to_vec()).await;
    let partial_success =
        ExportLogsServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!(partial_success.rejected_log_records, 3);
    assert!(partial_success.error_message.starts_with("3 log records were rejected: "));

    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1"},{"timeUnixNano":"18446744073709551615"}]}]}]}"#;
    let answer = post_logs(&store, &[("content-type", JSON)], json).await;
    assert_eq!(answer.status, StatusCode::OK);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["partialSuccess"]["rejectedLogRecords"], "1");
    assert!(
        body["partialSuccess"]["errorMessage"].as_str().unwrap().starts_with("1 log record was rejected")
    );
    assert_eq!(store.stored_rows().await, 8);
}

#[tokio::test]
async fn each_path_is_a_signal_and_an_empty_request_succeeds() {
    let store = Store::open();
    for path in ["/v1/metrics", "/v1/logs", "/v1/traces"] {
        for (content_type, body, expected) in [(PROTOBUF, "", ""), (JSON, "{}", "{}"), (JSON, "", "{}")] {
            let headers = [("content-type", content_type)];
            let answer = send(service(&store, Config::default()), Method::POST, path, &headers, body).await;
            assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, expected.as_bytes()), "{path}");
        }
    }
}

#[tokio::test]
async fn a_body_may_be_compressed() {
    let store = Store::open();
    // Each has another number of records: an equal request would be stored once.
    for (records, encoding) in (1..).zip(["gzip", "GZIP", "zstd", "identity", ""]) {
        let body = logs(records, 0).encode_to_vec();
        let body = match encoding {
            "gzip" | "GZIP" => gzip(&body),
            "zstd" => zstd::encode_all(&body[..], 3).unwrap(),
            _ => body,
        };
        let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
        let answer = post_logs(&store, &headers, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding}");
    }
    assert_eq!(store.stored_rows().await, 15);
}

#[tokio::test]
async fn an_unknown_encoding_is_refused_with_those_that_are_known() {
    let store = Store::open();
    for encoding in ["br", "deflate", "gzip, gzip", "zstd, br"] {
        let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
        let answer = post_logs(&store, &headers, logs(1, 0).encode_to_vec()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{encoding}");
        assert_eq!(answer.header("accept-encoding"), Some("gzip,zstd,identity"));
        assert!(answer.error(PROTOBUF).1.contains(encoding), "{encoding}");
    }
    assert_eq!(store.stored_rows().await, 0);
}

#[tokio::test]
async fn a_content_type_that_is_neither_protobuf_nor_json_is_refused() {
    let store = Store::open();
    for content_type in [None, Some("text/plain"), Some("application/x-protobufs"), Some("application/grpc")]
    {
        let headers: Vec<_> = content_type.map(|name| ("content-type", name)).into_iter().collect();
        let answer = post_logs(&store, &headers, logs(1, 0).encode_to_vec()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
        let (code, message) = answer.error(JSON);
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains(PROTOBUF) && message.contains(JSON), "{message}");
    }
    assert_eq!(store.stored_rows().await, 0);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_by_name() {
    let store = Store::open();
    for path in ["/", "/v1/profiles", "/v1/logs/", "/V1/LOGS", "/v1/logs/../metrics"] {
        let headers = [("content-type", PROTOBUF)];
        let answer = send(service(&store, Config::default()), Method::POST, path, &headers, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.error(PROTOBUF).1.contains("/v1/traces"));
    }
    for method in [Method::GET, Method::PUT, Method::OPTIONS, Method::DELETE] {
        let answer = send(service(&store, Config::default()), method, "/v1/logs", &[], "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), Some("POST"));
    }
}

/// hyper leaves the body out over HTTP/1.1 and sends it over HTTP/2, where clients take it for a broken connection.
#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let store = Store::open();
    for (path, status) in [("/", StatusCode::NOT_FOUND), ("/v1/logs", StatusCode::METHOD_NOT_ALLOWED)] {
        let answer = send(service(&store, Config::default()), Method::HEAD, path, &[], "").await;
        assert_eq!((answer.status, &answer.body[..]), (status, &b""[..]), "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_the_senders_fault_in_the_format_of_the_request() {
    let store = Store::open();
    for (content_type, encoding, body, message_part) in [
        (PROTOBUF, "identity", &b"garbage"[..], "not a valid ExportLogsServiceRequest"),
        (JSON, "identity", b"{\"resourceLogs\":3}", "resourceLogs"),
        (JSON, "identity", b"{", "line 1"),
        (PROTOBUF, "gzip", b"garbage", "not valid gzip"),
        (PROTOBUF, "zstd", b"garbage", "not valid zstd"),
    ] {
        let headers = [("content-type", content_type), ("content-encoding", encoding)];
        let answer = post_logs(&store, &headers, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{message_part}");
        let (code, message) = answer.error(content_type);
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.contains(message_part), "{message}");
        assert_eq!(answer.bad_request(content_type), [message]);
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_eq!(store.stored_rows().await, 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_for_good_and_by_name() {
    let store = Store::open();
    let config = Config { max_http_message_bytes: 1000, ..Config::default() };
    let whole = vec![b' '; 1001];
    for (encoding, body) in [("identity", whole.clone()), ("gzip", gzip(&whole))] {
        for content_type in [PROTOBUF, JSON] {
            let headers = [("content-type", content_type), ("content-encoding", encoding)];
            let answer =
                send(service(&store, config), Method::POST, "/v1/logs", &headers, body.clone()).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
            let (code, message) = answer.error(content_type);
            assert_eq!(code, Code::ResourceExhausted);
            assert!(message.contains("1000 bytes") && message.contains("ingest.max_http_message_bytes"));
            assert_eq!(answer.header("retry-after"), None);
        }
    }
}

#[tokio::test]
async fn overload_and_a_used_up_quota_say_when_to_try_again() {
    let store = Store::open();
    let one_byte = Config { tenant_bytes_per_second: NonZeroU64::new(1), ..Config::default() };
    let service = service(&store, one_byte);
    let headers = [("content-type", PROTOBUF)];
    let body = logs(1, 0).encode_to_vec();
    let first = send(service.clone(), Method::POST, "/v1/logs", &headers, body.clone()).await;
    assert_eq!(first.status, StatusCode::OK);
    let second = send(service, Method::POST, "/v1/logs", &headers, body.clone()).await;
    assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.error(PROTOBUF).0, Code::ResourceExhausted);
    let retry_after: usize = second.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=body.len()).contains(&retry_after), "{retry_after}");

    store.storage.close().await.unwrap();
    for content_type in [PROTOBUF, JSON] {
        let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1"}]}]}]}"#;
        let body = if content_type == JSON { json.as_bytes().to_vec() } else { body.clone() };
        let answer = post_logs(&store, &[("content-type", content_type)], body).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.error(content_type).0, Code::Unavailable);
    }
}

#[tokio::test]
async fn only_a_caller_with_the_write_role_may_export() {
    let store = Store::open();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.db");
    let issuer = Issuer::new(&KeyStore::open(&path).unwrap()).unwrap();
    let auth = AuthLayer::required(Arc::new(Verifier::new(KeyStore::open(&path).unwrap()).unwrap()));
    let service = HttpService::new(store.ingest(Config::default()), auth);
    let body = logs(1, 0).encode_to_vec();
    let token = |role: Role| {
        issuer.issue(&"team-a".parse().unwrap(), "test", role.into(), Duration::from_secs(3600)).unwrap()
    };
    for (credential, status, code, stored_rows) in [
        (None, StatusCode::UNAUTHORIZED, Code::Unauthenticated, 0),
        (Some("Bearer nonsense".to_owned()), StatusCode::UNAUTHORIZED, Code::Unauthenticated, 0),
        (Some(format!("Bearer {}", token(Role::Read))), StatusCode::FORBIDDEN, Code::PermissionDenied, 0),
        (Some(format!("Bearer {}", token(Role::Write))), StatusCode::OK, Code::Ok, 1),
    ] {
        let mut headers = vec![("content-type", PROTOBUF)];
        headers.extend(credential.as_deref().map(|value| ("authorization", value)));
        let answer = send(service.clone(), Method::POST, "/v1/logs", &headers, body.clone()).await;
        assert_eq!(answer.status, status);
        if code != Code::Ok {
            assert_eq!(answer.error(PROTOBUF).0, code);
        }
        assert_eq!(answer.header("www-authenticate").is_some(), status == StatusCode::UNAUTHORIZED);
        assert_eq!(store.stored_rows().await, stored_rows);
    }
}
