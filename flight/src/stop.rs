//! [`Stop`]: how the work for a call is told to end, from any thread, while it runs.
//!
//! A task that is aborted ends where it waits for something, and some work waits for nothing: planning, and a join whose
//! filter lets no row through. So whatever may take long asks [`Stop::check`] from time to time; `watch/` makes plans
//! do so. The work of a call finds its stop by [`Stop::current`].

use std::fmt;
use std::future::pending;
use std::time::Duration;

use datafusion::error::DataFusionError;
use futures::Future;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Error, Result};

tokio::task_local! {
    static CURRENT: Stop;
}

/// Ends work once it is told to, or at its time limit. Clones are the same stop.
#[derive(Clone)]
pub(crate) struct Stop {
    token: CancellationToken,
    limit: Option<Limit>,
}

#[derive(Clone, Copy)]
struct Limit {
    time: Duration,
    end: Instant,
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("is_stopped", &self.token.is_cancelled()).finish_non_exhaustive()
    }
}

impl Stop {
    /// The time begins at once. `None` is for no limit.
    pub(crate) fn after(limit: Option<Duration>) -> Self {
        let limit = limit.map(|time| Limit { time, end: Instant::now() + time });
        Self { token: CancellationToken::new(), limit }
    }

    /// That of the call that this code runs for, on the query threads.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Makes this the current one of `work`. Tasks that `work` spawns have none.
    pub(crate) fn scope<T, F: Future<Output = T>>(&self, work: F) -> impl Future<Output = T> + use<T, F> {
        CURRENT.scope(self.clone(), work)
    }

    pub(crate) fn stop(&self) {
        self.token.cancel();
    }

    /// Stops when it is dropped.
    pub(crate) fn guard(&self) -> DropGuard {
        self.token.clone().drop_guard()
    }

    /// # Errors
    /// `Cancelled`, `Timeout` — the work is to end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.token.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match self.limit {
            Some(limit) if limit.end <= Instant::now() => Err(Error::Timeout { limit: limit.time }),
            _ => Ok(()),
        }
    }

    /// [`Self::check`] inside DataFusion.
    pub(crate) fn check_plan(&self) -> Result<(), DataFusionError> {
        self.check().map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// Waits until the work is to end, and says why.
    pub(crate) async fn stopped(self) -> Error {
        let elapsed = async {
            match self.limit {
                Some(limit) => {
                    sleep_until(limit.end).await;
                    Error::Timeout { limit: limit.time }
                }
                None => pending().await,
            }
        };
        // Work that never waits uses up the share of its task, after which nothing else of it would be looked at.
        tokio::task::unconstrained(async {
            tokio::select! {
                () = self.token.cancelled() => Error::Cancelled,
                error = elapsed => error,
            }
        })
        .await
    }
}
