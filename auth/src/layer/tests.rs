use std::convert::Infallible;
use std::time::Duration;

use http::HeaderValue;
use tempfile::TempDir;
use tonic::Code;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::{Issuer, KeyStore, Roles};

const QUERY: &str = "/arrow.flight.protocol.FlightService/DoGet";

/// Sends a request through `layer` to a service that answers who called.
async fn call(layer: &AuthLayer, path: &str, authorization: &[&str]) -> Response<String> {
    let mut request = Request::builder().uri(path).body(()).unwrap();
    for value in authorization {
        request.headers_mut().append(AUTHORIZATION, value.parse().unwrap());
    }
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        let caller = principal_of(request.extensions())
            .map_or("nobody".to_owned(), |p| format!("{}@{}", p.subject(), p.tenant()));
        assert!(
            request.headers().get_all(AUTHORIZATION).iter().all(HeaderValue::is_sensitive)
                || caller == "nobody"
        );
        Ok::<_, Infallible>(Response::new(caller))
    }));
    service.oneshot(request).await.unwrap()
}

fn required() -> (TempDir, AuthLayer, String) {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(&dir.path().join("auth.db")).unwrap();
    let issuer = Issuer::new(&store).unwrap();
    let token =
        issuer.issue(&"team-a".parse().unwrap(), "dash", Roles::all(), Duration::from_mins(1)).unwrap();
    (dir, AuthLayer::required(Arc::new(Verifier::new(store).unwrap())), token)
}

fn status_of(response: &Response<String>) -> Status {
    Status::from_header_map(response.headers()).expect("a gRPC status")
}

#[tokio::test]
async fn a_valid_token_reaches_the_service_with_its_principal() {
    let (_dir, layer, token) = required();
    let response = call(&layer, QUERY, &[&format!("Bearer {token}")]).await;
    assert_eq!(response.into_body(), "dash@team-a");
    let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("anyone:{token}"));
    let response = call(&layer, QUERY, &[&format!("Basic {basic}")]).await;
    assert_eq!(response.into_body(), "dash@team-a");
}

#[tokio::test]
async fn a_call_without_a_valid_credential_is_answered_before_the_service() {
    let (_dir, layer, token) = required();
    let bearer = format!("Bearer {token}");
    let altered = format!("Bearer {}", token.replace('.', ".A"));
    let cases: [(&[&str], &str); 4] = [
        (&[], "alula token create"),
        (&[&bearer, &bearer], "more than one authorization header"),
        (&[&altered], "signature is wrong"),
        (&["Bearer x"], "not a JWT"),
    ];
    for (authorization, expected) in cases {
        let response = call(&layer, QUERY, authorization).await;
        let status = status_of(&response);
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains(expected), "{}", status.message());
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.body(), "", "the service was reached");
    }
}

#[tokio::test]
async fn health_and_reflection_are_open_and_ignore_a_credential() {
    let (_dir, layer, token) = required();
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        for authorization in [vec![], vec![format!("Bearer {token}")], vec!["Bearer nonsense".to_owned()]] {
            let values: Vec<&str> = authorization.iter().map(String::as_str).collect();
            assert_eq!(call(&layer, path, &values).await.into_body(), "nobody", "{path}");
        }
    }
}

#[tokio::test]
async fn a_path_that_only_resembles_an_open_one_is_closed() {
    let (_dir, layer, _token) = required();
    for path in [
        "/",
        "/grpc.health.v1.Health",
        "/grpc.health.v1.Health2/Check",
        "/grpc.health.v1.health/Check",
        "//grpc.health.v1.Health/Check",
        "/x/grpc.health.v1.Health/Check",
        "/%67rpc.health.v1.Health/Check",
        "/x?/grpc.health.v1.Health/Check",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    ] {
        assert_eq!(status_of(&call(&layer, path, &[]).await).code(), Code::Unauthenticated, "{path}");
    }
}

#[tokio::test]
async fn without_authentication_every_call_is_the_default_tenants() {
    let layer = AuthLayer::disabled();
    for authorization in [&[][..], &["Bearer nonsense"]] {
        assert_eq!(call(&layer, QUERY, authorization).await.into_body(), "anonymous@default");
    }
}

#[test]
fn a_refusal_says_the_whole_reason_in_one_line() {
    let source = "../x".parse::<alula_catalog::TenantId>().unwrap_err();
    let status = status(&Error::InvalidTenant { source }, QUERY);
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(
        status.message().starts_with("the token names no usable tenant: invalid tenant id \"../x\": use")
    );
}

#[test]
fn a_fault_of_the_server_is_retryable_and_tells_nothing_of_its_inside() {
    let error = Error::Database(rusqlite::Error::InvalidPath("/secret/auth.db".into()));
    let status = status(&error, QUERY);
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.message().contains("secret"), "{}", status.message());
}

#[test]
fn a_request_that_passed_no_layer_has_no_principal() {
    assert!(matches!(principal_of(&Extensions::new()), Err(Error::NoCredential)));
}

/// A whole tonic server can stand behind the layer; building the future is what checks the types.
#[test]
fn a_tonic_server_takes_the_layer() {
    let routes = tonic::service::Routes::default();
    let server = tonic::transport::Server::builder().layer(AuthLayer::disabled()).add_routes(routes);
    drop(server.serve(([127, 0, 0, 1], 0).into()));
}

#[tokio::test]
async fn a_handshake_may_bring_its_credential_later_and_nothing_else_may() {
    const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";
    let (_dir, layer, token) = required();
    assert_eq!(call(&layer, HANDSHAKE, &[]).await.into_body(), "nobody");
    assert_eq!(call(&layer, HANDSHAKE, &[&format!("Bearer {token}")]).await.into_body(), "dash@team-a");
    for (path, authorization) in [(HANDSHAKE, &["Bearer nonsense"][..]), (QUERY, &[])] {
        let response = call(&layer, path, authorization).await;
        assert_eq!(status_of(&response).code(), Code::Unauthenticated, "{path}");
        assert_eq!(response.body(), "", "the service was reached");
    }

    let late = layer.layer(service_fn(|request: Request<()>| async move {
        Ok::<_, Infallible>(Response::new(Some(request.extensions().clone())))
    }));
    let request = Request::builder().uri(HANDSHAKE).body(()).unwrap();
    let extensions = late.oneshot(request).await.unwrap().into_body().unwrap();
    assert_eq!(LateCredential::verify(&extensions, &token).await.unwrap().tenant().as_str(), "team-a");
    for (extensions, token) in [(&extensions, ""), (&extensions, "nonsense"), (&Extensions::new(), &token)] {
        let error = LateCredential::verify(extensions, token).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    }
}

/// Guarantees: what a service has a client keep behind the token is no way past the gate.
#[tokio::test]
async fn nothing_behind_a_token_makes_it_a_better_one() {
    let (_dir, layer, token) = required();
    let response = call(&layer, QUERY, &[&format!("Bearer {token}~anything")]).await;
    assert_eq!(response.into_body(), "dash@team-a");
    for value in [format!("Bearer ~{token}"), format!("Bearer nonsense~{token}"), format!("Token x~{token}")]
    {
        let response = call(&layer, QUERY, &[&value]).await;
        assert_eq!(status_of(&response).code(), Code::Unauthenticated, "{value}");
    }
}
