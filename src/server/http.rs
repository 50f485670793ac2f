//! The HTTP port: OTLP and `/health` over HTTP/1.1 and HTTP/2 without TLS.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::health::WithHealth;
use super::limits::{
    CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_CONCURRENT_STREAMS, MAX_CONNECTIONS,
    MAX_FRAME_BYTES, MAX_HEADER_LIST_BYTES, MAX_LOCAL_ERROR_RESETS, MAX_PENDING_RESETS, STREAM_WINDOW_BYTES,
};
use super::socket::Socket;

/// The longest from the end of one request to the end of the next one's headers. Exporters send metrics every 60 s, over
/// the same connection if it is still there.
const HEADER_LIMIT: Duration = Duration::from_secs(120);
/// The pause after the system refused to give a connection, most often for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `drain` is cancelled and every connection has ended. Dropping the future cuts them off.
pub(super) async fn serve(listener: TcpListener, service: WithHealth, drain: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = drain.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the HTTP port");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::debug!("a connection was closed: {MAX_CONNECTIONS} are open already");
            continue;
        };
        let connection = serve_connection(stream, service.clone(), drain.clone());
        connections.spawn(async move {
            let _slot = slot;
            connection.await;
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(stream: TcpStream, service: WithHealth, drain: CancellationToken) {
    // Small answers are not held back to be sent with later ones.
    let _ = stream.set_nodelay(true);
    let builder = builder();
    let stream = TokioIo::new(Socket::new(stream));
    let mut connection = pin!(builder.serve_connection(stream, TowerToHyperService::new(service)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client went away, or spoke something else: nothing that an operator could act on.
        tracing::debug!(error, "a connection on the HTTP port ended badly");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MAX_HEADER_LIST_BYTES as usize)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_ERROR_RESETS);
    builder
}
