//! [`FlightServer`]: the Flight service, with a smaller limit on the messages of a caller that is not known yet.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::flight_service_server::FlightServiceServer;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service as HttpService, http};
use tonic::server::NamedService;

use super::Service;
use crate::transport::Transport;

/// The largest message of a caller: bound parameters, and tickets with long statements.
const MAX_DECODED_BYTES: usize = 64 << 20;

/// The largest message of a handshake, which may come from anybody.
const MAX_HANDSHAKE_BYTES: usize = 64 << 10;

/// The gRPC service.
#[derive(Clone)]
pub struct FlightServer {
    calls: Transport<FlightServiceServer<Service>>,
    handshakes: FlightServiceServer<Service>,
}

impl FlightServer {
    pub(crate) fn new(service: &Arc<Service>) -> Self {
        let with_limit =
            |limit| FlightServiceServer::from_arc(Arc::clone(service)).max_decoding_message_size(limit);
        Self {
            calls: Transport::new(with_limit(MAX_DECODED_BYTES)),
            handshakes: with_limit(MAX_HANDSHAKE_BYTES),
        }
    }
}

impl fmt::Debug for FlightServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightServer").finish_non_exhaustive()
    }
}

impl NamedService for FlightServer {
    const NAME: &'static str = <FlightServiceServer<Service> as NamedService>::NAME;
}

impl HttpService<http::Request<Body>> for FlightServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    /// Both are always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path().ends_with("/Handshake") {
            self.handshakes.call(request)
        } else {
            self.calls.call(request)
        }
    }
}
