//! What is sent again is stored once; what only looks like it is kept.

use futures::future::join_all;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::{Sender, TRANSPORTS, Transport};
use crate::fixture::otlp::{BASE_NS, Export, gauge, int_point, log, logs, metrics, span, trace_id, traces};
use crate::fixture::{Client, Process, TestServer, signal, within_bound};

fn requests() -> [Export; 3] {
    [
        metrics("api", vec![gauge("g", vec![int_point(BASE_NS, 1), int_point(BASE_NS, 1)])]).into(),
        logs("api", vec![log(BASE_NS, "x"), log(BASE_NS, "x")]).into(),
        traces("api", vec![span(1, 1, "s", BASE_NS, 1), span(1, 1, "s", BASE_NS, 1)]).into(),
    ]
}

async fn count(client: &Client, signal: &str) -> i64 {
    client.count(&format!("SELECT count(*) FROM {signal}")).await
}

/// Two equal records of one request are two records: only whole requests are told from each other.
#[tokio::test]
async fn the_same_request_over_grpc_then_http_and_in_any_compression_is_stored_once() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for request in requests() {
        for transport in [Transport::Grpc, Transport::Http, Transport::Grpc] {
            for encoding in ["identity", "gzip", "zstd"] {
                Sender::connect(&server, transport).await.send(&request, encoding).await.assert_stored();
                assert_eq!(count(&client, request.signal()).await, 2);
            }
        }
    }
}

#[tokio::test]
async fn the_same_request_is_stored_once_also_after_a_restart() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for request in requests() {
        client.send(request).await;
    }
    let server = server.restart().await;
    let client = server.client("acme").await;
    for request in requests() {
        for transport in TRANSPORTS {
            Sender::connect(&server, transport).await.send(&request, "identity").await.assert_stored();
        }
        assert_eq!(count(&client, request.signal()).await, 2);
    }
}

#[tokio::test]
async fn the_same_request_is_stored_once_also_after_a_kill() {
    let mut server = Process::start(&[]).await;
    for request in requests() {
        server.client("acme").await.send(request).await;
    }
    signal("KILL", server.pid());
    assert!(!server.exited().await.success());
    let server = server.start_again(&[]).await;
    let client = server.client("acme").await;
    for request in requests() {
        client.send(request.clone()).await;
        assert_eq!(count(&client, request.signal()).await, 2);
    }
}

#[tokio::test]
async fn copies_of_a_request_that_come_at_the_same_time_are_stored_once() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for round in 0..10 {
        let request = Export::from(logs("api", vec![log(BASE_NS, &round.to_string())]));
        let copies = (0..30).map(|number| {
            let (server, request) = (&server, request.clone());
            async move {
                let transport = TRANSPORTS[number % 2];
                Sender::connect(server, transport).await.send(&request, "identity").await.assert_stored();
            }
        });
        within_bound("the copies", join_all(copies)).await;
        assert_eq!(count(&client, "logs").await, round + 1);
    }
}

/// Two events that look the same, in two requests. Without a time nothing tells them from one event sent twice.
#[tokio::test]
async fn equal_requests_without_a_time_are_both_stored() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for request in [
        Export::from(logs("api", vec![log(BASE_NS, "timed"), log(0, "tick")])),
        traces("api", vec![span(1, 1, "s", 0, 0), span(1, 1, "s", BASE_NS, 0)]).into(),
        metrics("api", vec![gauge("g", vec![int_point(BASE_NS, 1), int_point(0, 1)])]).into(),
    ] {
        for transport in TRANSPORTS {
            Sender::connect(&server, transport).await.send(&request, "identity").await.assert_stored();
        }
        assert_eq!(count(&client, request.signal()).await, 4, "{}", request.signal());
    }
    // An observed time is a time: the record says when it was seen.
    let observed = LogRecord { observed_time_unix_nano: BASE_NS, ..log(0, "seen") };
    let request = Export::from(logs("api", vec![observed]));
    for transport in TRANSPORTS {
        Sender::connect(&server, transport).await.send(&request, "identity").await.assert_stored();
    }
    assert_eq!(client.count("SELECT count(*) FROM logs WHERE body = 'seen'").await, 1);
}

#[tokio::test]
async fn requests_that_differ_in_one_byte_are_both_stored() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for number in 0..3 {
        client.send(logs("api", vec![log(BASE_NS + number, "x")])).await;
        let mut other = span(1, 1, "s", BASE_NS, 1);
        other.trace_id = trace_id(number as u8 + 1);
        client.send(traces("api", vec![other])).await;
    }
    assert_eq!((count(&client, "logs").await, count(&client, "traces").await), (3, 3));
}

#[tokio::test]
async fn the_same_request_of_two_tenants_is_stored_for_both() {
    let server = TestServer::start().await;
    for tenant in ["acme", "other"] {
        let client = server.client(tenant).await;
        client.send(logs("api", vec![log(BASE_NS, "x")])).await;
        client.send(logs("api", vec![log(BASE_NS, "x")])).await;
        assert_eq!(count(&client, "logs").await, 1, "{tenant}");
    }
}

/// The second time the sender learns the same as the first: otherwise it would take the rejected records for stored.
#[tokio::test]
async fn a_retry_of_a_request_with_rejected_records_is_told_so_again() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let request = || logs("api", vec![log(BASE_NS, "good"), log(u64::MAX, "bad")]);
    let first = client.export(request()).await.unwrap();
    assert_eq!(first.count, 1);
    assert_eq!(client.export(request()).await.unwrap(), first);
    assert_eq!(count(&client, "logs").await, 1);
}
