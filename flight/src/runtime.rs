//! The runtime that queries run on: its own threads, so that a heavy query does not delay an acknowledgement.
//!
//! Planning recurses over expressions: `1+1+...` with 300 terms overflows a 2 MiB stack and kills the process, hence
//! the stack size here, and hence the rule that statements, plans and their errors are made *and dropped* on these
//! threads. Only schemas and encoded messages leave.
//!
//! **Invariants**
//! - Dropping what [`QueryRuntime::run`] or [`QueryRuntime::produce`] returned stops and aborts the work behind it.
//! - A stream ends cleanly only if its producer returned `Ok`: a panic or a lost producer is an error item.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{Future, FutureExt, Stream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::DropGuard;
use tokio_util::task::AbortOnDropHandle;

use crate::stop::Stop;
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

    /// Tasks that have not ended: statements, and what these have split off.
    #[cfg(test)]
    pub(crate) fn num_tasks(&self) -> usize {
        self.handle.metrics().num_alive_tasks()
    }

    /// The longest that a statement may run.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Has `work` done on the query threads until the shutdown.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(work));
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
        self.run_until(&Stop::after(self.timeout), work)
    }

    /// [`Self::run`] until `stop`.
    pub(crate) fn run_until<T, F>(
        &self,
        stop: &Stop,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let guard = stop.guard();
        let stopped = stop.clone().stopped();
        let task = AbortOnDropHandle::new(self.handle.spawn(stop.scope(work)));
        async move {
            let _guard = guard;
            tokio::select! {
                biased;
                joined = task => joined.map_err(lost)?,
                error = stopped => Err(error),
            }
        }
    }

    /// Runs `work` on the query threads; what it sends comes out of the returned stream.
    ///
    /// The stop is watched at both ends: by the reader because planning never yields, and by the producer because a
    /// client that stops reading would keep the query and its memory for ever.
    pub(crate) fn produce<T, F, W>(&self, stop: &Stop, work: W) -> Produced<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
        W: FnOnce(Sender<T>) -> F,
    {
        let (sender, receiver) = mpsc::channel(CHANNEL_CAPACITY);
        let work = stop.scope(until(stop.clone(), work(Sender(sender))));
        let task = AbortOnDropHandle::new(self.handle.spawn(work));
        Produced { receiver, task: Some(task), stopped: stop.clone().stopped().boxed(), _guard: stop.guard() }
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
pub(crate) struct Produced<T> {
    receiver: mpsc::Receiver<T>,
    /// `None` once the stream has ended.
    task: Option<AbortOnDropHandle<Result<()>>>,
    stopped: BoxFuture<'static, Error>,
    _guard: DropGuard,
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
            Poll::Pending => Some(ready!(this.stopped.poll_unpin(cx))),
        };
        this.task = None;
        Poll::Ready(error.map(Err))
    }
}

/// Ends `work` at its stop, at the next point where it waits for something.
async fn until(stop: Stop, work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        biased;
        done = work => done,
        error = stop.stopped() => Err(error),
    }
}

fn lost(error: JoinError) -> Error {
    if error.is_panic() { Error::Panicked(error) } else { Error::ShuttingDown }
}

#[cfg(test)]
mod tests;
