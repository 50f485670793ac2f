//! Who gets in, and what each role may do: the same for OTLP and for Flight SQL.

use std::collections::BTreeSet;

use alula_auth::{Role, Roles};
use arrow_flight::sql::client::FlightSqlServiceClient;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::fixture::otlp::{BASE_NS, log, logs};
use crate::fixture::{Client, TestServer, token};

const FLIGHT: &str = "arrow.flight.protocol.FlightService";

fn one_log() -> crate::fixture::otlp::Export {
    logs("auth", vec![log(BASE_NS, "hello")]).into()
}

async fn reflect(client: &Client, asked: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut reflection = ServerReflectionClient::new(client.channel());
    let answers = reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    answers.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
}

/// Every method of every service, as `/service/Method`, by what the server says of itself.
async fn all_methods(client: &Client) -> BTreeSet<String> {
    let MessageResponse::ListServicesResponse(services) =
        reflect(client, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list of services");
    };
    let mut methods = BTreeSet::new();
    for service in services.service {
        let MessageResponse::FileDescriptorResponse(files) =
            reflect(client, MessageRequest::FileContainingSymbol(service.name.clone())).await
        else {
            panic!("{} is not described", service.name);
        };
        for file in files.file_descriptor_proto {
            let file = FileDescriptorProto::decode(file.as_slice()).unwrap();
            for described in &file.service {
                let name = format!("{}.{}", file.package(), described.name());
                methods.extend(described.method.iter().map(|method| format!("/{name}/{}", method.name())));
            }
        }
    }
    methods
}

fn is_open(method: &str) -> bool {
    method.starts_with("/grpc.health.") || method.starts_with("/grpc.reflection.")
}

#[tokio::test]
async fn every_method_but_health_and_reflection_refuses_a_call_without_a_credential() {
    let server = TestServer::start().await;
    let client = server.anonymous().await;
    let methods = all_methods(&client).await;
    let flight: Vec<_> = methods.iter().filter(|method| method.starts_with(&format!("/{FLIGHT}/"))).collect();
    assert_eq!(flight.len(), 10, "{flight:?}");
    assert_eq!(methods.iter().filter(|method| method.starts_with("/opentelemetry.")).count(), 3);
    for method in methods.iter().filter(|method| !is_open(method)) {
        let status = client.call_empty(method).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{method}: {status}");
        assert!(status.message().contains("alula token create"), "{method}: {status}");
    }
}

#[tokio::test]
async fn health_needs_no_credential() {
    let server = TestServer::start().await;
    let client = server.anonymous().await;
    assert_eq!(client.health().await, ServingStatus::Serving);
}

#[tokio::test]
async fn a_method_that_does_not_exist_tells_a_stranger_nothing() {
    let server = TestServer::start().await;
    let client = server.anonymous().await;
    for method in [format!("/{FLIGHT}/Nothing"), "/alula.Admin/Everything".to_owned()] {
        assert_eq!(client.call_empty(&method).await.unwrap_err().code(), Code::Unauthenticated, "{method}");
    }
}

/// Both sides refuse the header with the same code and words.
async fn check_refused(client: &Client, authorization: &str, part: &str) {
    let client = client.authorized(authorization);
    let otlp = client.export(one_log()).await.unwrap_err();
    let flight = client.error("SELECT 1").await;
    for status in [&otlp, &flight] {
        assert_eq!(status.code(), Code::Unauthenticated, "{authorization}: {status}");
        assert!(status.message().contains(part), "{part:?} is not in: {status}");
    }
    assert_eq!(otlp.message(), flight.message());
}

#[tokio::test]
async fn a_credential_that_proves_nothing_is_refused_with_the_reason() {
    let server = TestServer::start().await;
    let client = server.anonymous().await;
    let data_dir = server.data_dir();
    let good = server.token("acme", "test", Roles::all());
    let elsewhere = tempfile::TempDir::new().unwrap();
    let foreign = token::issue(elsewhere.path(), "acme", "test", Roles::all());
    let signed = |changes| token::signed_claims(&data_dir, &changes);
    let long_ago = token::now_s() - 3600;

    for (token, part) in [
        (token::with_altered_signature(&good), "signature is wrong"),
        (token::with_altered_tenant(&good, "acme", "other"), "signature is wrong"),
        (foreign, "which this server does not know"),
        (signed(json!({ "exp": long_ago })), "expired at"),
        (signed(json!({ "aud": "another-service" })), "meant for another service"),
        (signed(json!({ "iss": "another-issuer" })), "issued by another service"),
        (signed(json!({ "nbf": token::now_s() + 3600 })), "not valid before"),
        (signed(json!({ "tenant": null })), "\"tenant\""),
        (signed(json!({ "tenant": "../other" })), "tenant"),
        (signed(json!({ "roles": ["root"] })), "root"),
        (signed(json!({ "exp": null })), "\"exp\""),
        ("not-a-token".to_owned(), "not a JWT"),
        (String::new(), "malformed credential"),
    ] {
        check_refused(&client, &format!("Bearer {token}"), part).await;
    }
    check_refused(&client, "Digest abc", "malformed credential").await;
    check_refused(&client, "Basic !!!", "malformed credential").await;
}

/// Otherwise the refusals above might be for another reason than the changed claim.
#[tokio::test]
async fn the_same_claims_without_a_change_get_in() {
    let server = TestServer::start().await;
    server.token("acme", "test", Roles::all());
    let client = server.client_with(&token::signed_claims(&server.data_dir(), &json!({}))).await;
    client.send(one_log()).await;
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 1);
}

#[tokio::test]
async fn basic_takes_a_token_as_the_password_and_the_handshake_gives_it_back() {
    let server = TestServer::start().await;
    let token = server.token("acme", "test", Roles::all());
    let client = server.anonymous().await;

    let mut flight = FlightSqlServiceClient::new(client.channel());
    flight.handshake("anyone", &token).await.unwrap();
    assert_eq!(flight.token(), Some(&token));
    let info = flight.execute("SELECT 1".to_owned(), None).await.unwrap();
    flight.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();

    let encode = |text: String| STANDARD.encode(text);
    let client = client.authorized(&format!("Basic {}", encode(format!("anyone:{token}"))));
    client.send(one_log()).await;
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 1);

    check_refused(&client, &format!("Basic {}", encode("anyone:guess".to_owned())), "not a JWT").await;
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let server = TestServer::start().await;
    let reader = server.client_with(&server.token("acme", "reader", Role::Read)).await;
    for method in all_methods(&reader).await.iter().filter(|method| method.starts_with("/opentelemetry.")) {
        let status = reader.call_empty(method).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{method}: {status}");
    }
    let status = reader.export(one_log()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("write") && status.message().contains("reader"), "{status}");
    assert_eq!(reader.count("SELECT count(*) FROM logs").await, 0);
}

#[tokio::test]
async fn a_writer_cannot_read() {
    let server = TestServer::start().await;
    let writer = server.client_with(&server.token("acme", "writer", Role::Write)).await;
    writer.send(one_log()).await;
    for method in
        all_methods(&writer).await.iter().filter(|method| method.starts_with(&format!("/{FLIGHT}/")))
    {
        let answer = writer.call_empty(method).await;
        if method.ends_with("/Handshake") {
            // It gives nothing but the caller's own token.
            answer.unwrap();
        } else {
            let status = answer.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "{method}: {status}");
        }
    }
    writer.assert_error("SELECT 1", Code::PermissionDenied, "read").await;
}

#[tokio::test]
async fn an_admin_may_do_both() {
    let server = TestServer::start().await;
    let admin = server.client_with(&server.token("acme", "admin", Role::Admin)).await;
    admin.send(one_log()).await;
    assert_eq!(admin.count("SELECT count(*) FROM logs").await, 1);
}

#[tokio::test]
async fn explain_analyze_is_for_administrators() {
    let server = TestServer::start().await;
    let reader = server.client_with(&server.token("acme", "reader", Role::Read)).await;
    let admin = server.client_with(&server.token("acme", "admin", Role::Admin)).await;
    let sql = "EXPLAIN ANALYZE SELECT count(*) FROM logs";
    reader.assert_error(sql, Code::PermissionDenied, "admin").await;
    assert!(admin.query(sql).await.is_ok());
}

#[tokio::test]
async fn a_token_made_while_the_server_runs_opens_it_at_once() {
    let server = TestServer::start().await;
    let client = server.client("brand-new").await;
    client.assert_alive().await;
}
