//! The transport: one port, its limits, and the services that are not ours (health, reflection).

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alula_auth::AuthLayer;
use alula_flight::FlightSql;
use alula_ingest::{Ingest, LogsService, MetricsService, TraceService};
use futures::{Stream, TryStreamExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tonic::transport::server::{Router, TcpIncoming};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::layer::util::{Identity, Stack};

use super::preface::GrpcOnly;
use super::{StartError, reflection};

/// Calls on one connection at a time. More wait in the client.
const MAX_CONCURRENT_STREAMS: u32 = 200;
/// JDBC and ODBC send each URL property as a header; hyper's default of 16 KiB turns long URLs away.
const MAX_HEADER_LIST_BYTES: u32 = 64 << 10;
/// Bytes on their way that the sender need not wait for. A whole OTLP request of the default limit fits.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const MAX_FRAME_BYTES: u32 = 1 << 20;
/// A peer that is gone is noticed after the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that a client opened and reset before they were looked at ("rapid reset").
///
/// Source: CVE-2023-44487.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_ERROR_RESETS: usize = 1024;

pub(super) const OTLP_SERVICES: [&str; 3] = [
    "opentelemetry.proto.collector.logs.v1.LogsService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "opentelemetry.proto.collector.trace.v1.TraceService",
];
pub(super) const FLIGHT_SERVICE: &str = "arrow.flight.protocol.FlightService";

/// Names that `grpc.health.v1` answers for; the empty one is the server as a whole.
fn health_names() -> impl Iterator<Item = &'static str> {
    OTLP_SERVICES.into_iter().chain(["", FLIGHT_SERVICE])
}

/// The state that health checks are told.
#[derive(Debug, Clone)]
pub(super) struct Health {
    reporter: HealthReporter,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { reporter: HealthReporter::new() }
    }

    pub(super) async fn set_serving(&self) {
        for name in health_names() {
            self.reporter.set_service_status(name, ServingStatus::Serving).await;
        }
    }

    /// Watchers are told, and then their streams end: an open one would hold up the drain.
    pub(super) async fn set_not_serving(mut self) {
        for name in health_names() {
            self.reporter.set_service_status(name, ServingStatus::NotServing).await;
            self.reporter.clear_service_status(name).await;
        }
    }

    fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Takes the address without answering on it: a port in use is found out before a long replay.
pub(super) fn bind(addr: SocketAddr) -> Result<TcpSocket, StartError> {
    let bound = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for the old connections' TIME_WAIT to end.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        Ok(socket)
    };
    bound().map_err(|source| refused(addr, source))
}

pub(super) fn listen(socket: TcpSocket, addr: SocketAddr) -> Result<TcpListener, StartError> {
    socket.listen(BACKLOG).map_err(|source| refused(addr, source))
}

fn refused(addr: SocketAddr, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { addr },
        _ => StartError::Bind { addr, source },
    }
}

/// Connections open at one time; more are closed as they come.
const MAX_CONNECTIONS: usize = 2_000;

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
