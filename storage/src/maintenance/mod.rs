//! Everything that is done after the flush, mostly to files, by one thread in the background.
//!
//! | file | purpose |
//! |---|---|
//! | `acknowledgements.rs` | follows which losses operators know of |
//! | `compaction.rs`, `compaction/` | turns many small files into few large ones, without the rows that were deleted |
//! | `deletions.rs` | completes deletions, once no file has their rows |
//! | `garbage.rs` | removes files that were replaced, once no query reads them |
//! | `retention.rs`, `retention/` | drops files that are past their retention |
//! | `scrub.rs` | compares files with their checksums again |
//! | `tiering.rs` | moves files that are old enough to the remote tier |
//! | `pace.rs` | keeps the thread to its share of a CPU |
//!
//! A [`Task`] is one kind of work. The thread takes a step of each in turn, so tasks never run at the same time and need not
//! know of each other; the flush and queries go on beside them. What a task does to the store is one COMMIT of the catalog,
//! so it may be interrupted anywhere.

mod acknowledgements;
pub(crate) mod compaction;
mod deletions;
mod garbage;
mod pace;
mod retention;
mod scrub;
mod tiering;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use acknowledgements::FollowAcknowledgements;
use compaction::{Compaction, CompactionScope, compact_all};
pub use compaction::{CompactionReport, FileTotals};
use deletions::CompleteDeletions;
pub(crate) use garbage::{Garbage, remove_dead_files};
pub(crate) use pace::Pace;
use retention::Retention;
use scrub::Scrub;
use tiering::Tiering;

/// A task that panics must not end the others, of which some keep the disk from filling up.
fn unless_panicked<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::Panicked("maintenance")))
}

#[cfg(test)]
pub(crate) use tiering::tier_all;

use crate::store::Store;
use crate::{CompactionConfig, Config, Error, Result};

/// How long a task is left alone after it panicked.
const REST: Duration = Duration::from_mins(5);

/// One kind of background work.
pub(crate) trait Task: fmt::Debug + Send {
    /// For the log, where it follows "cannot".
    fn name(&self) -> &'static str;

    /// Does the next piece of work that is due, if any.
    ///
    /// Bounds: calls [`Pace::breathe`] at least every tenth of a second or so, and gives up where that says so.
    fn step(&mut self, store: &Store, pace: &mut Pace) -> Result<Step>;
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing was due.
    Idle,
    /// Something was done, and there may be more.
    Worked,
}

/// What the thread is asked to do.
#[derive(Debug)]
pub(crate) enum MaintenanceRequest {
    Compact(CompactionScope, oneshot::Sender<Result<CompactionReport>>),
    Stop,
}

pub(crate) type MaintenanceQueue = SyncSender<MaintenanceRequest>;

/// A task, and until when it rests after a panic.
#[derive(Debug)]
struct Turn {
    task: Box<dyn Task>,
    rests_until: Option<Instant>,
}

/// The loop of the thread.
#[derive(Debug)]
pub(crate) struct MaintenanceThread {
    store: Arc<Store>,
    tasks: Vec<Turn>,
    compaction: CompactionConfig,
    requests: Receiver<MaintenanceRequest>,
    interval: Duration,
    pace: Pace,
}

impl MaintenanceThread {
    pub(crate) fn new(store: Arc<Store>, config: &Config, requests: Receiver<MaintenanceRequest>) -> Self {
        let mut tasks: Vec<Box<dyn Task>> = vec![
            Box::new(FollowAcknowledgements),
            Box::new(Retention::new(config.retention)),
            Box::new(Compaction::new(&config.compaction)),
            Box::new(CompleteDeletions),
            Box::new(Garbage::default()),
        ];
        if let (Some(remote), Some(settings)) = (store.data_files.remote(), &config.remote) {
            tasks.push(Box::new(Tiering::new(Arc::clone(remote), settings, config.compaction)));
        }
        if let Some(interval) = config.scrub_interval {
            tasks.push(Box::new(Scrub::new(interval)));
        }
        let pace = Pace::new(config.maintenance_cpu_share);
        let interval = config.maintenance_interval;
        let tasks = tasks.into_iter().map(|task| Turn { task, rests_until: None }).collect();
        Self { store, tasks, compaction: config.compaction, requests, interval, pace }
    }

    /// Works until [`MaintenanceRequest::Stop`].
    pub(crate) fn run(mut self) {
        let mut wait = self.interval;
        loop {
            match self.requests.recv_timeout(wait) {
                Ok(MaintenanceRequest::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(MaintenanceRequest::Compact(scope, reply)) => {
                    self.store.settle_replacements();
                    let compacted = unless_panicked(|| compact_all(&self.store, &self.compaction, scope));
                    // What it replaced may hold rows that somebody wants erased. What stays is for the next round.
                    self.pace.begin();
                    let _ = Garbage::default().step(&self.store, &mut self.pace);
                    let _ = reply.send(compacted);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let worked = self.round();
                    if self.store.is_stopping() {
                        return;
                    }
                    wait = if worked { Duration::ZERO } else { self.interval };
                }
            }
        }
    }

    /// A step of each task. Whether any found work.
    fn round(&mut self) -> bool {
        let mut worked = false;
        self.store.settle_replacements();
        self.store.settle_user_tables();
        for Turn { task, rests_until } in &mut self.tasks {
            if self.store.is_stopping() {
                return false;
            }
            if rests_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            self.pace.begin();
            let ended = unless_panicked(|| task.step(&self.store, &mut self.pace));
            *rests_until = matches!(ended, Err(Error::Panicked(_))).then(|| Instant::now() + REST);
            match ended {
                Ok(step) => worked |= step == Step::Worked,
                Err(Error::Closed) => return false,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "cannot {}; trying again later", task.name());
                }
            }
            // The rest that the step's last stretch of work has earned.
            let _ = self.pace.breathe(&self.store);
        }
        let is_resting = self.tasks.iter().any(|turn| turn.rests_until.is_some());
        self.store.condition.note_maintenance(!is_resting);
        worked
    }
}

#[cfg(test)]
mod tests;
