//! The gRPC port: its limits, and its services.

use std::future::ready;
use std::io;
use std::sync::Arc;

use alula_auth::AuthLayer;
use alula_flight::FlightSql;
use alula_ingest::{Ingest, LogsService, MetricsService, TraceService};
use futures::{Stream, TryStreamExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::transport::server::{Router, TcpIncoming};
use tower::layer::util::{Identity, Stack};

use super::health::Health;
use super::limits::{
    CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_CONCURRENT_STREAMS, MAX_CONNECTIONS,
    MAX_FRAME_BYTES, MAX_HEADER_LIST_BYTES, MAX_LOCAL_ERROR_RESETS, MAX_PENDING_RESETS, STREAM_WINDOW_BYTES,
};
use super::preface::GrpcOnly;
use super::{StartError, reflection};

pub(super) const OTLP_SERVICES: [&str; 3] = [
    "opentelemetry.proto.collector.logs.v1.LogsService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "opentelemetry.proto.collector.trace.v1.TraceService",
];
pub(super) const FLIGHT_SERVICE: &str = "arrow.flight.protocol.FlightService";

/// Small answers are not held back to be sent with later ones.
pub(super) fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<GrpcOnly>> {
    let incoming =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE_INTERVAL));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    incoming.try_filter_map(move |stream| {
        let connection = match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => Some(GrpcOnly::new(stream, slot)),
            Err(_) => {
                tracing::debug!("a connection was closed: {MAX_CONNECTIONS} are open already");
                None
            }
        };
        ready(Ok(connection))
    })
}

pub(super) fn router(
    auth: AuthLayer,
    ingest: Ingest,
    flight: FlightSql,
    health: &Health,
) -> Result<Router<Stack<AuthLayer, Identity>>, StartError> {
    let router = tonic::transport::Server::builder()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .http2_adaptive_window(Some(false))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_LOCAL_ERROR_RESETS))
        .layer(auth)
        .add_service(MetricsService::new(ingest.clone()))
        .add_service(LogsService::new(ingest.clone()))
        .add_service(TraceService::new(ingest))
        .add_service(flight.into_server())
        .add_service(health.service())
        .add_service(reflection::builder().build_v1()?)
        .add_service(reflection::builder().build_v1alpha()?);
    Ok(router)
}
