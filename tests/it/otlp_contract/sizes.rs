//! Limits on the size of a request, to the byte, and what tries to get around them.

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::body::Body;

use super::{Answer, Sender, TRANSPORTS, Transport, logs_of_size};
use crate::fixture::http::{Http, PROTOBUF, Version};
use crate::fixture::otlp::{BASE_NS, Export, log, logs};
use crate::fixture::{Process, TestServer, frame, within_bound};
use crate::otlp_http::encode;

const MIB: usize = 1 << 20;
const MIB_10: usize = 10 * MIB;

async fn check_limit(server: &TestServer, transport: Transport, limit: usize, setting: &str) {
    let client = server.client("acme").await;
    for (number, encoding) in ["identity", "gzip", "zstd"].into_iter().enumerate() {
        let time = BASE_NS + number as u64;
        let mut sender = Sender::connect(server, transport).await;
        let larger = sender.send(&logs_of_size(limit + 1, time), encoding).await;
        larger.assert_refused_for_good(Code::ResourceExhausted, setting);
        assert!(larger.message.contains(&limit.to_string()), "{larger:?}");
        let mut sender = Sender::connect(server, transport).await;
        sender.send(&logs_of_size(limit, time), encoding).await.assert_stored();
    }
    let longest = format!("SELECT count(*) FROM logs WHERE length(body) > {}", limit - 1000);
    assert_eq!(client.count(&longest).await, 3);
}

#[tokio::test]
async fn the_limits_hold_to_the_byte_on_each_transport_and_in_each_compression() {
    let server = TestServer::start_with(|config| {
        config.ingest.max_message_bytes = "20000B".parse().unwrap();
        config.ingest.max_http_message_bytes = "10000B".parse().unwrap();
    })
    .await;
    check_limit(&server, Transport::Http, 10_000, "ingest.max_http_message_bytes").await;
    check_limit(&server, Transport::Grpc, 20_000, "ingest.max_message_bytes").await;
}

#[tokio::test]
async fn the_default_limits_are_those_that_otlp_names() {
    let server = TestServer::start().await;
    check_limit(&server, Transport::Grpc, 4 * MIB, "ingest.max_message_bytes").await;
    check_limit(&server, Transport::Http, 20 * MIB, "ingest.max_http_message_bytes").await;
}

/// Some clients read nothing before they have written everything. A connection that is closed on them meanwhile looks to
/// them like an outage, and they would send the same again and again.
#[tokio::test]
async fn the_refusal_of_a_large_request_reaches_a_client_that_writes_all_of_it_first() {
    let server = TestServer::start().await;
    let client = server.client("acme").await;
    for chunked in [false, true] {
        let mut socket = TcpStream::connect(server.http_addr()).await.unwrap();
        let length = 30 * MIB;
        let framing = if chunked {
            "transfer-encoding: chunked".to_owned()
        } else {
            format!("content-length: {length}")
        };
        let authorization = server.authorization("acme");
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\nauthorization: {authorization}\r\n\
             {framing}\r\n\r\n"
        );
        let writing = async {
            socket.write_all(head.as_bytes()).await?;
            let piece = vec![b' '; MIB];
            for _ in 0..length / MIB {
                if chunked {
                    socket.write_all(format!("{MIB:x}\r\n").as_bytes()).await?;
                }
                socket.write_all(&piece).await?;
                if chunked {
                    socket.write_all(b"\r\n").await?;
                }
            }
            if chunked {
                socket.write_all(b"0\r\n\r\n").await?;
            }
            let mut start = [0; 12];
            socket.read_exact(&mut start).await?;
            std::io::Result::Ok(start)
        };
        let start = within_bound("the refusal", writing).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 413", "chunked: {chunked}");
        client.assert_alive().await;
    }
}

fn any_logs() -> Export {
    logs("api", vec![log(BASE_NS, "x")]).into()
}

/// 10 MiB of zeros, compressed, as often as it takes for this many bytes of body or of what they inflate to.
fn bomb(encoding: &str, body_bytes: usize, inflated_bytes: usize) -> Vec<u8> {
    let member = encode(encoding, &vec![0; MIB_10]);
    let count = (body_bytes / member.len()).min(inflated_bytes / MIB_10);
    member.repeat(count)
}

/// A figure of `/proc/PID/status` in bytes.
fn memory(process: &Process, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Sends a request and gives by how much the peak of the memory rose above what was in use before.
async fn growth(process: &Process, answering: impl Future<Output = Answer>) -> (Answer, u64) {
    let in_use = memory(process, "VmRSS");
    // Makes the peak what is in use.
    std::fs::write(format!("/proc/{}/clear_refs", process.pid()), "5").unwrap();
    let answer = answering.await;
    (answer, memory(process, "VmHWM").saturating_sub(in_use))
}

async fn check_bomb(process: &Process, encoding: &str, bomb: Vec<u8>) {
    let authorization = process.authorization("acme");
    let (sent_bytes, mebibytes) = (bomb.len(), |bytes: u64| bytes >> 20);
    for transport in TRANSPORTS {
        let (addr, version) = match transport {
            Transport::Grpc => (process.addr(), Version::Http2),
            Transport::Http => (process.http_addr(), Version::Http1),
        };
        let http = Http::connect(version, addr, Some(authorization.clone())).await;
        let mut sender = Sender { transport, http };
        let body = match transport {
            Transport::Grpc => frame(true, &bomb),
            Transport::Http => Bytes::from(bomb.clone()),
        };
        let body = Body::new(http_body_util::Full::new(body));
        let (answer, growth) = growth(process, sender.send_body(&any_logs(), encoding, body)).await;
        answer.assert_refused_for_good(Code::ResourceExhausted, "after decompression");
        assert!(
            mebibytes(growth) < 64,
            "{} MiB more for {sent_bytes} bytes of {encoding} over {transport:?}",
            mebibytes(growth)
        );
    }
}

/// Guarantees: neither the body nor what it inflates to is ever held as a whole.
#[tokio::test]
async fn a_bomb_is_refused_in_little_memory() {
    const GIB_10: usize = 10 << 30;
    let process = Process::start(&[]).await;
    let client = process.client("acme").await;
    client.assert_alive().await;
    for encoding in ["gzip", "zstd"] {
        check_bomb(&process, encoding, bomb(encoding, MIB_10 + MIB_10 / 2, GIB_10)).await;
        // Within what may be sent over gRPC, so that it is inflated there too.
        check_bomb(&process, encoding, bomb(encoding, 3 * MIB, GIB_10)).await;
    }
    let mut http = process.http(Version::Http2, "acme").await;
    let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    let body = Body::new(http_body_util::Full::new(Bytes::from(bomb("gzip", MIB_10, GIB_10))));
    let answer = http.request(Method::POST, "/v1/logs", &headers, body).await.unwrap();
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    client.assert_alive().await;
    assert_eq!(client.count("SELECT count(*) FROM logs WHERE body <> 'alive'").await, 0);
}
