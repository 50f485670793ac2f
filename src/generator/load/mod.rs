//! The load generator behind `alula gen`.
//!
//! | file | purpose |
//! |---|---|
//! | `bodies.rs` | the templates that a run cycles through |
//! | `worker.rs` | one request at a time in flight: wait, send, retry, count |
//! | `latency.rs` | a histogram of acknowledgement times |
//! | `summary.rs` | what came of it, as text or JSON |
//!
//! **Invariant**: `sent = accepted + rejected + failed`, whenever and however a run ends.

mod bodies;
mod latency;
mod summary;
mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use alula_catalog::Signal;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;

use self::bodies::Bodies;
pub(crate) use self::bodies::Content;
pub(crate) use self::summary::Summary;
use self::worker::{Schedule, Worker};
use super::Exporter;
use crate::sql_client::{Credentials, Error, Result, ServerUrl};

/// How much load, and where to.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) url: ServerUrl,
    pub(crate) credentials: Credentials,
    pub(crate) compression: Option<CompressionEncoding>,
    pub(crate) signal: Signal,
    pub(crate) content: Content,
    /// Records a second; `None` is as many as the server takes.
    pub(crate) rate: Option<f64>,
    pub(crate) total: Option<u64>,
    pub(crate) duration: Option<Duration>,
    /// Records a request.
    pub(crate) batch: u64,
    pub(crate) connections: usize,
    /// Requests that wait for their acknowledgement at one time, on each connection.
    pub(crate) in_flight: usize,
    pub(crate) retry: bool,
}

/// Runs until the total, the duration or `stop`; requests on their way are waited for.
///
/// # Errors
/// If the first connection fails, or the server refuses the credentials: no load would ever arrive. Everything else
/// is counted in the summary.
pub(crate) async fn run(load: Load, stop: CancellationToken) -> Result<Summary> {
    let Load { url, credentials, compression, signal, content, batch, total, .. } = load;
    // Encoding is pure computation, seconds of it for a million series.
    let bodies = tokio::task::spawn_blocking(move || Bodies::build(signal, &content, batch, total))
        .await
        .map_err(|error| Error::Protocol { source: error.into() })??;
    let mut exporters = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        exporters.push(Exporter::connect(&url, credentials.clone(), compression).await?);
    }

    let started = Instant::now();
    let schedule = Arc::new(Schedule {
        signal,
        bodies,
        next: AtomicU64::new(0),
        started,
        interval: load.rate.map(|rate| batch as f64 / rate),
        end: load.duration.map(|duration| started + duration),
        stop,
        retry: load.retry,
    });
    let mut workers = JoinSet::new();
    for _ in 0..load.in_flight {
        for exporter in &exporters {
            workers.spawn(Worker::new(exporter.clone(), Arc::clone(&schedule)).run());
        }
    }
    let mut summary = Summary::new(signal);
    while let Some(done) = workers.join_next().await {
        let tally = done.map_err(|error| Error::Protocol { source: error.into() })?;
        summary.add(tally);
    }
    summary.elapsed = started.elapsed();
    match summary.refused.take() {
        Some(status) => Err(Error::from_status(status, &url)),
        None => Ok(summary),
    }
}

#[cfg(test)]
mod tests;
