//! Sessions and the handshake, as drivers use them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alula_auth::{AuthLayer, Issuer, KeyStore, Role, Roles, Verifier};
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{BasicAuth, FlightDescriptor, HandshakeRequest};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request as Call, Status};

use super::fixture::{Client, TestServer, act};
use crate::session::messages::{
    CloseSessionResult, CloseStatus, ErrorValue, GetSessionOptionsResult, OptionValue, SessionOptionValue,
    SetSessionOptionsRequest, SetSessionOptionsResult,
};

fn string(value: &str) -> OptionValue {
    OptionValue::String(value.to_owned())
}

/// Sets options under `headers`. Gives what was not set, and the headers of the answer.
pub(super) async fn set(
    client: Client,
    headers: &MetadataMap,
    options: &[(&str, Option<OptionValue>)],
) -> (HashMap<String, ErrorValue>, MetadataMap) {
    let options = options.iter().cloned();
    let options = options.map(|(name, option_value)| (name.to_owned(), SessionOptionValue { option_value }));
    let request = SetSessionOptionsRequest { session_options: options.collect() }.encode_to_vec();
    let (body, headers) = act(client, "SetSessionOptions", request, headers).await.unwrap();
    let errors = SetSessionOptionsResult::decode(body).unwrap().errors;
    (errors.into_iter().map(|(name, error)| (name, error.value())).collect(), headers)
}

async fn get(client: Client, headers: &MetadataMap, name: &str) -> Option<OptionValue> {
    let (body, _) = act(client, "GetSessionOptions", vec![], headers).await.unwrap();
    let mut options = GetSessionOptionsResult::decode(body).unwrap().session_options;
    options.remove(name).unwrap().option_value
}

/// What a driver sends after an answer with these headers: as one with cookies, and as one that follows a new token.
pub(super) fn carried(answer: &MetadataMap) -> [MetadataMap; 2] {
    let mut cookie = MetadataMap::new();
    let set_cookie = answer.get("set-cookie").unwrap().to_str().unwrap();
    cookie.insert("cookie", set_cookie.split(';').next().unwrap().parse().unwrap());
    let mut token = MetadataMap::new();
    token.insert("authorization", answer.get("authorization").unwrap().clone());
    [cookie, token]
}

async fn query(client: Client, headers: &MetadataMap, sql: &str) -> Result<(), Status> {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    let mut call = Call::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    *call.metadata_mut() = headers.clone();
    client.into_inner().get_flight_info(call).await.map(|_| ())
}

#[tokio::test]
async fn options_hold_for_later_calls_and_what_cannot_be_set_is_told_by_name() {
    let server = TestServer::start().await;
    let none = MetadataMap::new();
    assert_eq!(get(server.client(), &none, "schema").await, Some(string("public")), "without a session");
    let (errors, answer) = set(
        server.client(),
        &none,
        &[
            ("schema", Some(string("system"))),
            ("timezone", Some(string("UTC"))),
            ("catalog", Some(string("other"))),
            ("colour", Some(string("red"))),
        ],
    )
    .await;
    let expected = [("catalog", ErrorValue::InvalidValue), ("colour", ErrorValue::InvalidName)];
    assert_eq!(errors, expected.map(|(name, error)| (name.to_owned(), error)).into());
    for headers in carried(&answer) {
        assert_eq!(get(server.client(), &headers, "schema").await, Some(string("system")));
        assert_eq!(get(server.client(), &headers, "timezone").await, Some(string("UTC")));
        query(server.client(), &headers, "SELECT * FROM deletions").await.unwrap();
        let (errors, answer) = set(server.client(), &headers, &[("schema", None)]).await;
        assert!(errors.is_empty());
        let [again, _] = carried(&answer);
        assert_eq!(get(server.client(), &again, "schema").await, Some(string("public")));
    }
    assert_eq!(
        query(server.client(), &none, "SELECT * FROM deletions").await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn every_schema_can_be_the_default_one() {
    let server = TestServer::start().await;
    for (schema, table) in [("public", "logs"), ("system", "deletions"), ("information_schema", "tables")] {
        let (_, answer) =
            set(server.client(), &MetadataMap::new(), &[("schema", Some(string(schema)))]).await;
        // For public there is nothing to keep.
        let headers =
            if answer.contains_key("set-cookie") { carried(&answer)[0].clone() } else { MetadataMap::new() };
        let command = CommandStatementQuery { query: format!("SELECT * FROM {table}"), transaction_id: None };
        let mut call = Call::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
        *call.metadata_mut() = headers;
        let info = server.client().into_inner().get_flight_info(call).await.unwrap().into_inner();
        super::fixture::fetch(&mut server.client(), info).await;
    }
}

#[tokio::test]
async fn a_session_ends_when_it_is_closed_and_one_that_is_not_there_can_be_closed_too() {
    let server = TestServer::start().await;
    let (_, answer) = set(server.client(), &MetadataMap::new(), &[("schema", Some(string("system")))]).await;
    let mut forged = MetadataMap::new();
    forged.insert("cookie", MetadataValue::from_static("alula_session=forged"));
    let refused = query(server.client(), &forged, "SELECT 1").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    for headers in [&carried(&answer)[0], &carried(&answer)[1], &forged, &MetadataMap::new()] {
        let (body, answer) = act(server.client(), "CloseSession", vec![], headers).await.unwrap();
        assert_eq!(CloseSessionResult::decode(body).unwrap().status(), CloseStatus::Closed);
        if !headers.is_empty() {
            let cookie = answer.get("set-cookie").unwrap().to_str().unwrap();
            assert!(cookie.contains("Max-Age=0"), "{cookie}");
            query(server.client(), &carried(&answer)[1], "SELECT * FROM logs").await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_no_request_is_malformed_and_nothing_else_happens() {
    let server = TestServer::start().await;
    let value = SessionOptionValue { option_value: Some(string(&"x".repeat(64 << 10))) };
    let long = SetSessionOptionsRequest { session_options: HashMap::from([("schema".to_owned(), value)]) };
    for (body, reason) in [
        (vec![0xff; 9], "it is not a SetSessionOptionsRequest"),
        (long.encode_to_vec(), "has more than 65536 bytes"),
    ] {
        let refused = act(server.client(), "SetSessionOptions", body, &MetadataMap::new()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(reason), "{refused}");
    }
}

#[tokio::test]
async fn a_session_can_shorten_the_statement_timeout() {
    let server = TestServer::start().await;
    let (_, answer) =
        set(server.client(), &MetadataMap::new(), &[("statement_timeout", Some(OptionValue::Int64(1)))])
            .await;
    let sql = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a.value > b.value";
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    let mut call = Call::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    *call.metadata_mut() = carried(&answer)[0].clone();
    let info = server.client().into_inner().get_flight_info(call).await.unwrap().into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut inner = server.client().into_inner();
    let ended = async {
        let mut rows = inner.do_get(ticket).await?.into_inner();
        while rows.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    assert_eq!(ended.await.unwrap_err().code(), Code::DeadlineExceeded);
}

/// A client of a server that wants a credential, and a token for it.
async fn guarded(server: &TestServer) -> (Client, String) {
    let keys = tempfile::tempdir().unwrap();
    let keys = KeyStore::open(&keys.path().join("auth.db")).unwrap();
    let issuer = Issuer::new(&keys).unwrap();
    let token =
        issuer.issue(&"acme".parse().unwrap(), "dash", Roles::from(Role::Read), Duration::from_secs(60));
    let auth = AuthLayer::required(Arc::new(Verifier::new(keys).unwrap()));
    (server.other_server(auth).await, token.unwrap())
}

/// The token in the answer to a handshake: in its message and its headers.
async fn shake(client: &Client, headers: &MetadataMap, payload: Option<Vec<u8>>) -> Result<String, Status> {
    let messages = payload.map(|payload| HandshakeRequest { protocol_version: 0, payload: payload.into() });
    let mut call = Call::new(futures::stream::iter(messages));
    *call.metadata_mut() = headers.clone();
    let answer = client.clone().into_inner().handshake(call).await?;
    let in_headers = answer.metadata().get("authorization").cloned();
    let mut messages = answer.into_inner();
    let message = messages.message().await?.unwrap();
    assert!(messages.message().await?.is_none(), "one message");
    // ADBC puts headers and trailers together, and would send the token twice from then on.
    assert!(messages.trailers().await?.is_none_or(|trailers| !trailers.contains_key("authorization")));
    let token = String::from_utf8(message.payload.to_vec()).unwrap();
    assert_eq!(in_headers.unwrap().to_str().unwrap(), format!("Bearer {token}"));
    Ok(token)
}

#[tokio::test]
async fn every_form_of_credential_gets_in_with_and_without_a_handshake() {
    let server = TestServer::start().await;
    let (client, token) = guarded(&server).await;
    let basic = format!("dash:{token}");
    let forms = [
        ("authorization", format!("Bearer {token}")),
        ("authorization", format!("Basic {}", BASE64_STANDARD.encode(&basic))),
        ("authorization", format!("Basic {}", BASE64_STANDARD_NO_PAD.encode(&basic))),
        ("authorization", format!("ApiKey {token}")),
        ("authorization", format!("Token {token}")),
        ("x-api-key", token.clone()),
    ];
    for (name, value) in forms {
        let mut headers = MetadataMap::new();
        headers.insert(name, value.parse().unwrap());
        query(client.clone(), &headers, "SELECT 1")
            .await
            .unwrap_or_else(|status| panic!("{value}: {status}"));
        for payload in [None, Some(vec![]), Some(b"anything".to_vec())] {
            assert_eq!(shake(&client, &headers, payload).await.unwrap(), token, "{value}");
        }
    }
    let mut legacy = MetadataMap::new();
    legacy.insert_bin("auth-token-bin", MetadataValue::from_bytes(token.as_bytes()));
    query(client, &legacy, "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn old_clients_have_their_credential_in_the_message_of_the_handshake() {
    let server = TestServer::start().await;
    let (client, token) = guarded(&server).await;
    let none = MetadataMap::new();
    let basic = |password: &str| {
        BasicAuth { username: "dash".to_owned(), password: password.to_owned() }.encode_to_vec()
    };
    assert_eq!(shake(&client, &none, Some(basic(&token))).await.unwrap(), token);
    for payload in [
        None,
        Some(vec![]),
        Some(vec![0xff]),
        Some(basic("")),
        Some(basic("nonsense")),
        Some(vec![0; 100_000]),
    ] {
        let refused = shake(&client, &none, payload).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    }
    let mut wrong = MetadataMap::new();
    wrong.insert("authorization", MetadataValue::from_static("Bearer nonsense"));
    let refused = shake(&client, &wrong, Some(basic(&token))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "the header counts: {refused}");
}

/// Guarantees: a session is of no use to another caller, and adds nothing to a credential.
#[tokio::test]
async fn a_session_is_bound_to_its_caller() {
    let server = TestServer::start().await;
    let (client, token) = guarded(&server).await;
    let (_, answer) = set(server.client(), &MetadataMap::new(), &[("schema", Some(string("system")))]).await;
    let [cookie, bearer] = carried(&answer);
    let session = bearer.get("authorization").unwrap().to_str().unwrap().strip_prefix("Bearer ~").unwrap();
    let mut foreign = MetadataMap::new();
    foreign.insert("authorization", format!("Bearer {token}~{session}").parse().unwrap());
    let refused = query(client.clone(), &foreign, "SELECT 1").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    for headers in [&cookie, &bearer] {
        let refused = query(client.clone(), headers, "SELECT 1").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    }
    let mut own = MetadataMap::new();
    own.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (_, answer) = set(client.clone(), &own, &[("schema", Some(string("system")))]).await;
    query(client, &carried(&answer)[1], "SELECT * FROM deletions").await.unwrap();
}
