//! A server whose memory for requests is taken by uploads that do not go on.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::{Answer, Sender, TRANSPORTS, Transport, framed, logs_of_size};
use crate::fixture::http::{JSON, Version};
use crate::fixture::otlp::{BASE_NS, Export, Rejected, log, logs, now_ns};
use crate::fixture::{Client, TestServer, body_of, eventually, within_bound};

const MIB: usize = 1 << 20;
const NO_ROOM: &str = "ingest.max_in_flight_bytes";

/// Room in which a tenant has place for two of the largest requests: three quarters of all.
async fn small_server() -> TestServer {
    TestServer::start_with(|config| {
        config.ingest.max_message_bytes = "1MiB".parse().unwrap();
        config.ingest.max_http_message_bytes = "1MiB".parse().unwrap();
        config.ingest.max_in_flight_bytes = "2796204B".parse().unwrap();
    })
    .await
}

/// A request of the largest size whose last byte is kept back.
struct Stalled {
    transport: Transport,
    last_byte: Bytes,
    parts: mpsc::OwnedPermit<Bytes>,
    answer: JoinHandle<Answer>,
}

impl Stalled {
    async fn start(server: &TestServer, transport: Transport) -> Self {
        let request = logs_of_size(MIB, BASE_NS + transport as u64);
        let body = framed(transport, &request.encode_to_vec());
        let mut sender = Sender::connect(server, transport).await;
        let (parts, received) = mpsc::channel(1);
        let answer = tokio::spawn(async move {
            sender.send_body(&request, "identity", body_of(ReceiverStream::new(received))).await
        });
        let mut first = body;
        let last_byte = first.split_off(first.len() - 1);
        parts.send(first).await.unwrap();
        Self { transport, last_byte, parts: parts.reserve_owned().await.unwrap(), answer }
    }

    async fn finish(self) -> Answer {
        drop(self.parts.send(self.last_byte));
        within_bound("the answer to a large request", self.answer).await.unwrap()
    }

    fn break_off(self) {
        self.answer.abort();
    }
}

fn small(body: &str) -> Export {
    logs("api", vec![log(BASE_NS, body)]).into()
}

/// Starts uploads that take all the room, and gives them with the number of records that were stored meanwhile.
///
/// One request after the other finds out whether they have come in. Such a request may itself take the last of the room
/// from an upload, which is then refused and starts again.
async fn fill(server: &TestServer) -> ([Stalled; 2], i64) {
    let mut sender = Sender::connect(server, Transport::Grpc).await;
    let mut uploads =
        [Stalled::start(server, Transport::Grpc).await, Stalled::start(server, Transport::Http).await];
    let mut stored = 0;
    eventually("a refusal", async || {
        for upload in &mut uploads {
            if upload.answer.is_finished() {
                *upload = Stalled::start(server, upload.transport).await;
            }
        }
        let answer = sender.send(&small(&now_ns().to_string()), "identity").await;
        stored += i64::from(answer.code == Code::Ok);
        let are_in = uploads.iter().all(|upload| !upload.answer.is_finished());
        (answer.code != Code::Ok && are_in).then_some(())
    })
    .await;
    (uploads, stored)
}

async fn stored(client: &Client) -> i64 {
    client.count("SELECT count(*) FROM logs").await
}

/// Guarantees: the refusals come while the uploads still wait, so nobody waits for them.
#[tokio::test]
async fn a_full_server_refuses_on_each_transport_and_says_when_to_come_back() {
    let server = small_server().await;
    let (uploads, before) = fill(&server).await;

    for transport in TRANSPORTS {
        for encoding in ["identity", "gzip", "zstd"] {
            let mut sender = Sender::connect(&server, transport).await;
            let answer = sender.send(&small("refused"), encoding).await;
            answer.assert_refused_for_now(Code::Unavailable, NO_ROOM);
        }
    }
    let mut http = server.http(Version::Http2, "acme").await;
    let answer = http.post("/v1/logs", &[("content-type", JSON)], r#"{"resourceLogs":[]}"#).await;
    assert_eq!(answer.status.as_u16(), 503);
    assert_eq!((answer.header("content-type"), answer.header("retry-after")), (Some(JSON), Some("1")));
    assert_eq!(answer.error().0, Code::Unavailable);
    // A request without content needs no room, and queries are not held up.
    let client = server.client("acme").await;
    assert_eq!(stored(&client).await, before);

    // Nor are the requests of other tenants.
    let other = server.client("other").await;
    assert_eq!(other.export(logs("api", vec![log(BASE_NS, "other")])).await.unwrap(), Rejected::default());
    assert_eq!(stored(&other).await, 1);

    for upload in uploads {
        upload.finish().await.assert_stored();
    }
    // What was refused was not stored, so it is no duplicate when it comes again; after that it is.
    for transport in TRANSPORTS {
        let mut sender = Sender::connect(&server, transport).await;
        sender.send(&small("refused"), "identity").await.assert_stored();
    }
    assert_eq!(stored(&client).await, before + 3);
}

/// Guarantees: all of the room, as each round needs what the one before it had.
#[tokio::test]
async fn an_upload_that_breaks_off_stores_nothing_and_gives_its_room_back() {
    let server = small_server().await;
    let client = server.client("acme").await;
    let mut expected = 0;
    for _ in 0..4 {
        let (uploads, before) = fill(&server).await;
        expected += before;
        uploads.into_iter().for_each(Stalled::break_off);
    }
    for transport in TRANSPORTS {
        let large = logs_of_size(MIB, BASE_NS + 100 + transport as u64);
        eventually("room", async || {
            let answer = Sender::connect(&server, transport).await.send(&large, "identity").await;
            (answer.code == Code::Ok).then_some(())
        })
        .await;
        expected += 1;
    }
    assert_eq!(stored(&client).await, expected);
}
