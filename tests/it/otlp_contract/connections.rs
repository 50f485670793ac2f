//! Many requests at a time on one connection, deadlines, and connections that break.

use std::sync::Arc;

use futures::future::{join_all, ready};
use futures::{StreamExt as _, stream};
use http::Method;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, oneshot};
use tonic::Code;

use super::{Sender, TRANSPORTS, Transport, framed};
use crate::fixture::http::{Http, PROTOBUF, Version};
use crate::fixture::otlp::{BASE_NS, Export, attributes, int, log, logs};
use crate::fixture::{TestServer, body_of, within_bound};

fn numbered(number: usize) -> Export {
    let attributes = attributes([("number", int(number as i64))]);
    let record = LogRecord { attributes, ..log(BASE_NS, "x") };
    logs("api", vec![record]).into()
}

/// Guarantees: all are open at one time, as none gets its last bytes before the first ones of every other are sent.
#[tokio::test]
async fn two_hundred_requests_at_a_time_on_one_connection_are_each_acknowledged_and_stored() {
    const REQUESTS: usize = 200;
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for (round, transport) in TRANSPORTS.into_iter().enumerate() {
        let addr = if transport == Transport::Grpc { server.addr() } else { server.http_addr() };
        let http = Http::connect(Version::Http2, addr, Some(server.authorization("acme"))).await;
        let all_open = Arc::new(Barrier::new(REQUESTS));
        let requests = (0..REQUESTS).map(|number| {
            let request = numbered(round * REQUESTS + number);
            let mut body = framed(transport, &request.encode_to_vec());
            let first = body.split_to(body.len() / 2);
            let all_open = Arc::clone(&all_open);
            let rest = async move {
                all_open.wait().await;
                body
            };
            let body = body_of(stream::iter([first]).chain(stream::once(rest)));
            let mut sender = Sender { transport, http: http.share() };
            async move { sender.send_body(&request, "identity", body).await.assert_stored() }
        });
        within_bound("all requests", join_all(requests)).await;
    }
    client
        .assert_rows(
            "SELECT count(*) AS n, count(DISTINCT attributes) AS numbers, \
             min(json_get_int(attributes, 'number')) AS first, max(json_get_int(attributes, 'number')) AS last FROM logs",
            "n | numbers | first | last
             400 | 400 | 0 | 399",
        )
        .await;
}

/// The deadline comes with the call and ends it, whatever the client then does. Its code lets the client try again.
#[tokio::test]
async fn a_grpc_call_ends_at_its_deadline_with_a_code_that_may_be_retried() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let request = numbered(1);
    let body = framed(Transport::Grpc, &request.encode_to_vec());
    let never_whole = body_of(stream::iter([body.slice(..10)]).chain(stream::pending()));
    let authorization = Some(server.authorization("acme"));
    let mut http = Http::connect(Version::Http2, server.addr(), authorization).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "50m")];
    let answer = http.request(Method::POST, request.grpc_path(), &headers, never_whole).await.unwrap();
    let status = answer.grpc_status();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    client.assert_alive().await;
    assert_eq!(client.count("SELECT count(*) FROM logs WHERE body = 'x'").await, 0);
}

#[tokio::test]
async fn an_unknown_compression_of_a_grpc_call_is_refused_with_those_that_are_known() {
    let server = TestServer::start().await;
    let authorization = Some(server.authorization("acme"));
    let mut http = Http::connect(Version::Http2, server.addr(), authorization).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-encoding", "snappy")];
    let request = numbered(1);
    let body = framed(Transport::Grpc, &request.encode_to_vec());
    let answer = http.post(request.grpc_path(), &headers, body).await;
    let status = answer.grpc_status();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    assert!(status.message().contains("`snappy`"), "{status}");
    assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "gzip,zstd,identity");
}

/// A request of HTTP/1.1 as bytes.
fn raw_request(server: &TestServer, message: &[u8]) -> Vec<u8> {
    let (authorization, length) = (server.authorization("acme"), message.len());
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\nauthorization: {authorization}\r\n\
         content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), message].concat()
}

/// What curl does with every large body.
#[tokio::test]
async fn a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let message = numbered(1).encode_to_vec();
    let whole = raw_request(&server, &message);
    let (head, _) = whole.split_at(whole.len() - message.len() - 2);
    let mut socket = TcpStream::connect(server.http_addr()).await.unwrap();
    socket.write_all(&[head, b"expect: 100-continue\r\n\r\n"].concat()).await.unwrap();
    for (expected, sent) in [("HTTP/1.1 100 Continue\r\n\r\n", &message[..]), ("HTTP/1.1 200 OK\r\n", b"")] {
        let mut answer = vec![0; expected.len()];
        within_bound(expected, socket.read_exact(&mut answer)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
        socket.write_all(sent).await.unwrap();
    }
    assert_eq!(client.count("SELECT count(*) FROM logs").await, 1);
}

/// Cuts a request at every byte of its last part, and at the very end of it.
#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_body_stores_nothing() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let message = numbered(1).encode_to_vec();
    let whole = raw_request(&server, &message);
    for missing in 1..=message.len() {
        let mut socket = TcpStream::connect(server.http_addr()).await.unwrap();
        socket.write_all(&whole[..whole.len() - missing]).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = within_bound("the server to hang up", tokio::io::copy(&mut socket, &mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    client.assert_alive().await;
    assert_eq!(client.count("SELECT count(*) FROM logs WHERE body = 'x'").await, 0);
}

/// Scenario: the client hangs up right after its last byte, learns nothing, and sends the same bytes again.
#[tokio::test]
async fn a_client_that_hangs_up_after_its_last_byte_and_retries_is_stored_once() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    let numbers = 0..30;
    for number in numbers.clone() {
        let request = numbered(number);
        let stored = format!("SELECT count(*) FROM logs WHERE json_get_int(attributes, 'number') = {number}");
        let transport = TRANSPORTS[number % 2];
        match transport {
            Transport::Http => {
                let mut socket = TcpStream::connect(server.http_addr()).await.unwrap();
                socket.write_all(&raw_request(&server, &request.encode_to_vec())).await.unwrap();
            }
            Transport::Grpc => hang_up_after_the_last_byte(&server, &request).await,
        }
        let at_once = client.count(&stored).await;
        assert!(at_once <= 1, "{number}: {at_once}");
        let mut sender = Sender::connect(&server, TRANSPORTS[(number / 2) % 2]).await;
        sender.send(&request, "identity").await.assert_stored();
        assert_eq!(client.count(&stored).await, 1, "{number}");
    }
    assert_eq!(client.count("SELECT count(*) FROM logs").await, numbers.len() as i64);
}

async fn hang_up_after_the_last_byte(server: &TestServer, request: &Export) {
    let mut sender = Sender::connect(server, Transport::Grpc).await;
    let body = framed(Transport::Grpc, &request.encode_to_vec());
    let (sent, all_sent) = oneshot::channel();
    // Polled for more only when the part before has been taken.
    let end = stream::once(async move { sent.send(()) }).filter_map(|_| ready(None));
    let body = body_of(stream::iter([body]).chain(end));
    let request = request.clone();
    let sending = tokio::spawn(async move { sender.send_body(&request, "identity", body).await });
    all_sent.await.unwrap();
    sending.abort();
}
