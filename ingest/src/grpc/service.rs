//! The export services of OTLP, as tower services that tonic can route to.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use alula_auth::principal_of;
use alula_catalog::Signal;

use super::message;
use crate::body::Encoding;
use crate::export::{Format, Transport};
use crate::partial_success::{PartialSuccess, encode_response};
use crate::status::Refusal;
use crate::{Error, Ingest, Result};

/// What tells one OTLP service from another.
pub trait Otlp: Send + Sync + 'static {
    const SIGNAL: Signal;
    const SERVICE_NAME: &'static str;
    const EXPORT_PATH: &'static str;
}

/// Names the service that takes metrics.
#[derive(Debug)]
pub enum Metrics {}

impl Otlp for Metrics {
    const SIGNAL: Signal = Signal::Metrics;
    const SERVICE_NAME: &'static str = "opentelemetry.proto.collector.metrics.v1.MetricsService";
    const EXPORT_PATH: &'static str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
}

/// Names the service that takes logs.
#[derive(Debug)]
pub enum Logs {}

impl Otlp for Logs {
    const SIGNAL: Signal = Signal::Logs;
    const SERVICE_NAME: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
    const EXPORT_PATH: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
}

/// Names the service that takes traces.
#[derive(Debug)]
pub enum Traces {}

impl Otlp for Traces {
    const SIGNAL: Signal = Signal::Traces;
    const SERVICE_NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
    const EXPORT_PATH: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
}

/// The gRPC service for metrics.
pub type MetricsService = ExportService<Metrics>;
/// The gRPC service for logs.
pub type LogsService = ExportService<Logs>;
/// The gRPC service for traces.
pub type TraceService = ExportService<Traces>;

/// One of the three export services. Expects the principal that the auth layer leaves in the request.
pub struct ExportService<S> {
    ingest: Ingest,
    service: PhantomData<fn() -> S>,
}

impl<S> ExportService<S> {
    pub fn new(ingest: Ingest) -> Self {
        Self { ingest, service: PhantomData }
    }
}

impl<S> Clone for ExportService<S> {
    fn clone(&self) -> Self {
        Self::new(self.ingest.clone())
    }
}

impl<S: Otlp> fmt::Debug for ExportService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(S::SERVICE_NAME).finish()
    }
}

impl<S: Otlp> NamedService for ExportService<S> {
    const NAME: &'static str = S::SERVICE_NAME;
}

impl<S: Otlp> Service<Request<Body>> for ExportService<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Ingest refuses rather than queues, so there is nothing to wait for.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let ingest = self.ingest.clone();
        Box::pin(async move {
            let path = request.uri().path();
            if path != S::EXPORT_PATH {
                let error = Error::UnknownMethod { path: path.to_owned() };
                return Ok(Refusal::of(&error).into_status().into_http());
            }
            Ok(respond(&ingest, S::SIGNAL, request).await)
        })
    }
}

async fn respond(ingest: &Ingest, signal: Signal, request: Request<Body>) -> Response<Body> {
    match export(ingest, signal, request).await {
        Ok(partial_success) => success(&encode_response(signal, partial_success)),
        Err(error) => Refusal::of(&error).into_status().into_http(),
    }
}

async fn export(ingest: &Ingest, signal: Signal, request: Request<Body>) -> Result<Option<PartialSuccess>> {
    let principal = principal_of(request.extensions())?;
    let (head, body) = request.into_parts();
    let encoding = encoding_of(&head.headers)?;
    let receiver =
        |encoding, bytes| ingest.receiver(principal.tenant(), Transport::Grpc, encoding, Some(bytes));
    let message = message::receive(receiver, encoding, body);
    ingest.export(&principal, signal, Format::Protobuf, message).await
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding> {
    let Some(value) = headers.get("grpc-encoding") else { return Ok(Encoding::Identity) };
    let name = String::from_utf8_lossy(value.as_bytes());
    Encoding::of(&name).ok_or_else(|| Error::unknown_encoding(&name))
}

/// One message, and in the trailers that all went well.
fn success(message: &[u8]) -> Response<Body> {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(framed.freeze()).with_trailers(ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
