//! The export services of OTLP, as tower services that tonic can route to.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, NamedService};
use tower::Service;

use alula_auth::principal_of;
use alula_catalog::Signal;

use super::codec::RawCodec;
use crate::partial_success::encode_response;
use crate::status::{of_unread_request, status};
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
                return Ok(status(&Error::UnknownMethod { path: path.to_owned() }).into_http());
            }
            Ok(respond(&ingest, S::SIGNAL, request).await)
        })
    }
}

async fn respond(ingest: &Ingest, signal: Signal, request: Request<Body>) -> Response<Body> {
    let principal = match principal_of(request.extensions()).and_then(|principal| {
        // Before the body is read: whoever may not write shall not make the server buffer it.
        principal.require_write()?;
        Ok(principal)
    }) {
        Ok(principal) => principal,
        Err(error) => return status(&Error::Auth(error)).into_http(),
    };
    let limit_bytes = ingest.max_message_bytes();
    let mut was_read = false;
    let handler = tower::service_fn(|message: tonic::Request<Bytes>| {
        was_read = true;
        let principal = &principal;
        async move {
            let result = ingest.export(principal, signal, message.into_inner()).await;
            let partial_success = result.map_err(|error| status(&error))?;
            Ok::<_, Status>(tonic::Response::new(encode_response(signal, partial_success)))
        }
    });
    let response = Grpc::new(RawCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limit_bytes)
        .unary(handler, request)
        .await;
    if was_read {
        return response;
    }
    let better = Status::from_header_map(response.headers())
        .and_then(|answer| of_unread_request(&answer, limit_bytes));
    better.map_or(response, Status::into_http)
}
