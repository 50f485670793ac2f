//! Work that blocks, away from the runtime's own workers.

use crate::{Error, Result};

/// Runs what blocks on the runtime's threads for that.
///
/// Cancel: once polled the work goes on, whether anybody waits or not.
///
/// # Errors
/// What the work fails with; `ThreadEnded` — it panicked, or the runtime has ended.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::ThreadEnded("a blocking task"))?
}
