//! The runtime that queries run on: its own threads, so that a heavy query does not delay an acknowledgement.
//!
//! Planning recurses over expressions: `1+1+...` with 300 terms overflows a 2 MiB stack and kills the process, hence
//! the stack size here, and hence the rule that statements, plans and their errors are made *and dropped* on these
//! threads. Only schemas and encoded messages leave.
//!
//! **Invariants**
//! - Dropping what [`QueryRuntime::run`] or [`QueryRuntime::produce`] returned aborts the work behind it.
//! - A stream ends cleanly only if its producer returned `Ok`: a panic or a lost producer is an error item.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Future, FutureExt, Stream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::{Error, Result};

/// Enough for 20,000 tokens (the statement limit) in one chain of operators; reserved, not committed.
const STACK_BYTES: usize = 64 << 20;

/// Messages that a producer may be ahead of its reader.
const CHANNEL_CAPACITY: usize = 3;

/// The query threads. Dropping it does not block, so it may be dropped on an async worker.
#[derive(Debug)]
pub(crate) struct QueryRuntime {
    handle: Handle,
    /// Taken at shutdown; never held over an await.
    runtime: Mutex<Option<Runtime>>,
    timeout: Option<Duration>,
}

impl QueryRuntime {
    /// # Errors
    /// `Threads` — the system gives no threads.
    pub(crate) fn try_new(threads: usize, timeout: Option<Duration>) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            // One thread could not run a producer while another statement is being planned.
            .worker_threads(threads.max(2))
            .thread_stack_size(STACK_BYTES)
            .thread_name("alula-query")
            .enable_all()
            .build()
            .map_err(Error::Threads)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)), timeout })
    }

    /// Aborts every query. Later work fails with `ShuttingDown`.
    pub(crate) fn shutdown(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }

    /// The longest that a statement may run.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Runs `work` on the query threads until it is done or the statement timeout has passed.
    ///
    /// The timeout is watched from the caller's thread: planning never yields, so its own thread could not.
    /// It begins at the call, so that the future which the caller holds is a small one.
    pub(crate) fn run<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.run_within(self.timeout, work)
    }

    /// [`Self::run`] with another timeout.
    pub(crate) fn run_within<T, F>(
        &self,
        timeout: Option<Duration>,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let task = AbortOnDropHandle::new(self.handle.spawn(work));
        async move {
            let joined = match timeout {
                Some(limit) => {
                    tokio::time::timeout(limit, task).await.map_err(|_| Error::Timeout { limit })?
                }
                None => task.await,
            };
            joined.map_err(lost)?
        }
    }

    /// Runs `work` on the query threads; what it sends comes out of the returned stream.
    ///
    /// The timeout is watched at both ends: by the reader because planning never yields, and by the producer because a
    /// client that stops reading would keep the query and its memory for ever.
    pub(crate) fn produce<T, F, W>(&self, timeout: Option<Duration>, work: W) -> Produced<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
        W: FnOnce(Sender<T>) -> F,
    {
        let (sender, receiver) = mpsc::channel(CHANNEL_CAPACITY);
        let task = AbortOnDropHandle::new(self.handle.spawn(within(timeout, work(Sender(sender)))));
        let timeout = timeout.map(|limit| (limit, Box::pin(sleep_until(Instant::now() + limit))));
        Produced { receiver, task: Some(task), timeout }
    }
}

impl Drop for QueryRuntime {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The producer's end of a stream.
#[derive(Debug)]
pub(crate) struct Sender<T>(mpsc::Sender<T>);

impl<T> Sender<T> {
    /// Waits until there is room. Returns false once nobody reads any more.
    pub(crate) async fn send(&self, item: T) -> bool {
        self.0.send(item).await.is_ok()
    }
}

/// What a producer sends, then its error if it had one.
#[derive(Debug)]
pub(crate) struct Produced<T> {
    receiver: mpsc::Receiver<T>,
    /// `None` once the stream has ended.
    task: Option<AbortOnDropHandle<Result<()>>>,
    timeout: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl<T> Stream for Produced<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(task) = this.task.as_mut() else {
            return Poll::Ready(None);
        };
        // The channel before the task: a producer that has ended may have left items behind.
        let ended = match this.receiver.poll_recv(cx) {
            Poll::Ready(Some(item)) => return Poll::Ready(Some(Ok(item))),
            Poll::Ready(None) => {
                task.poll_unpin(cx).map(|joined| joined.map_err(lost).and_then(|done| done).err())
            }
            Poll::Pending => Poll::Pending,
        };
        let error = match ended {
            Poll::Ready(error) => error,
            Poll::Pending => match this.timeout.as_mut() {
                Some((limit, elapsed)) => {
                    let limit = *limit;
                    match elapsed.poll_unpin(cx) {
                        Poll::Ready(()) => Some(Error::Timeout { limit }),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                None => return Poll::Pending,
            },
        };
        this.task = None;
        Poll::Ready(error.map(Err))
    }
}

/// Ends `work` at the limit, at the next point where it waits for something.
async fn within(limit: Option<Duration>, work: impl Future<Output = Result<()>>) -> Result<()> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::Timeout { limit })),
        None => work.await,
    }
}

fn lost(error: JoinError) -> Error {
    if error.is_panic() { Error::Panicked(error) } else { Error::ShuttingDown }
}

#[cfg(test)]
mod tests;
