//! What OTLP asks of a server beyond single answers, on both transports alike: overload, sizes, times, retries.
//!
//! | file | what it shows |
//! |---|---|
//! | `overload.rs` | a full server refuses at once, says when to come back, and takes requests again |
//! | `sizes.rs` | limits hold to the byte; bombs are refused within bounded memory |
//! | `times.rs` | what becomes of every kind of timestamp |
//! | `retries.rs` | what is sent again is stored once; what only looks like it is kept |
//! | `connections.rs` | many requests at a time, deadlines, and connections that break |

mod connections;
mod overload;
mod retries;
mod sizes;
mod times;

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use prost::Message as _;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{StatusExt as _, pb};

use crate::fixture::http::{Http, HttpAnswer, PROTOBUF, Version};
use crate::fixture::otlp::{Export, log, logs};
use crate::fixture::{TestServer, frame};
use crate::otlp_http::encode;

/// A transport of OTLP, with messages in protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Grpc,
    Http,
}

const TRANSPORTS: [Transport; 2] = [Transport::Grpc, Transport::Http];

/// A connection over one transport.
struct Sender {
    transport: Transport,
    http: Http,
}

/// What a sender is told, in the words of both transports.
#[derive(Debug)]
struct Answer {
    code: Code,
    message: String,
    retry_after: Option<Duration>,
}

impl Sender {
    async fn connect(server: &TestServer, transport: Transport) -> Self {
        let authorization = Some(server.authorization("acme"));
        let http = match transport {
            Transport::Grpc => Http::connect(Version::Http2, server.addr(), authorization).await,
            Transport::Http => Http::connect(Version::Http1, server.http_addr(), authorization).await,
        };
        Self { transport, http }
    }

    async fn send(&mut self, request: &Export, encoding: &str) -> Answer {
        let message = encode(encoding, &request.encode_to_vec());
        let body = match self.transport {
            Transport::Grpc => frame(encoding != "identity", &message),
            Transport::Http => message.into(),
        };
        self.send_body(request, encoding, Body::new(http_body_util::Full::new(body))).await
    }

    /// Sends a body as it is, framing included.
    async fn send_body(&mut self, request: &Export, encoding: &str, body: Body) -> Answer {
        match self.transport {
            Transport::Grpc => {
                let headers =
                    [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-encoding", encoding)];
                let answer =
                    self.http.request(Method::POST, request.grpc_path(), &headers, body).await.unwrap();
                Answer::of_grpc(&answer.grpc_status())
            }
            Transport::Http => {
                let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
                let path = request.http_path();
                Answer::of_http(&self.http.request(Method::POST, &path, &headers, body).await.unwrap())
            }
        }
    }
}

impl Answer {
    fn of_http(answer: &HttpAnswer) -> Self {
        let retry_after = answer.retry_after();
        if answer.status.is_success() {
            return Self { code: Code::Ok, message: String::new(), retry_after };
        }
        let (code, message) = answer.error();
        let status = match code {
            Code::InvalidArgument => 400,
            Code::Unavailable => 503,
            Code::ResourceExhausted if retry_after.is_some() => 429,
            Code::ResourceExhausted => 413,
            other => panic!("{other}: {message}"),
        };
        assert_eq!(answer.status.as_u16(), status, "{message}");
        Self { code, message, retry_after }
    }

    fn of_grpc(status: &Status) -> Self {
        let in_details = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let in_metadata = status.metadata().get_bin("google.rpc.retryinfo-bin").map(|value| {
            let info = pb::RetryInfo::decode(value.to_bytes().unwrap()).unwrap();
            Duration::try_from(info.retry_delay.unwrap()).unwrap()
        });
        assert_eq!(in_details, in_metadata, "{status:?}");
        Self { code: status.code(), message: status.message().to_owned(), retry_after: in_details }
    }

    fn assert_stored(&self) {
        assert_eq!(self.code, Code::Ok, "{self:?}");
    }

    /// Sending the same again may succeed later.
    fn assert_refused_for_now(&self, code: Code, part: &str) {
        self.assert_refused(code, part);
        assert!(self.retry_after.is_some(), "{self:?}");
    }

    /// Sending the same again is pointless.
    fn assert_refused_for_good(&self, code: Code, part: &str) {
        self.assert_refused(code, part);
        assert_eq!(self.retry_after, None, "{self:?}");
    }

    fn assert_refused(&self, code: Code, part: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.message.contains(part), "{part:?} is not in: {}", self.message);
    }
}

/// A request of one log record that is exactly this large.
fn logs_of_size(bytes: usize, time_unix_nano: u64) -> Export {
    let with_body = |length| Export::from(logs("api", vec![log(time_unix_nano, &"x".repeat(length))]));
    // The lengths in front of the nested messages grow with them.
    let overhead = with_body(bytes).encode_to_vec().len() - bytes;
    let fitting =
        (bytes - overhead..bytes).map(with_body).find(|request| request.encode_to_vec().len() == bytes);
    fitting.expect("the lengths do not grow at just this size")
}

/// A body in gRPC's framing or without, as the transport has it.
fn framed(transport: Transport, message: &[u8]) -> Bytes {
    match transport {
        Transport::Grpc => frame(false, message),
        Transport::Http => Bytes::copy_from_slice(message),
    }
}
