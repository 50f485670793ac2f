//! Everything that is done to files after the flush, by one thread in the background.
//!
//! | file | purpose |
//! |---|---|
//! | `garbage.rs` | removes files that were replaced, once no query reads them |
//! | `retention.rs`, `retention/` | drops files that are past their retention |
//! | `pace.rs` | keeps the thread to its share of a CPU |
//!
//! A [`Task`] is one kind of work. The thread takes a step of each in turn, so tasks never run at the same time and need not
//! know of each other; the flush and queries go on beside them. What a task does to the store is one COMMIT of the catalog,
//! so it may be interrupted anywhere.

mod garbage;
mod pace;
mod retention;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

pub(crate) use garbage::{Garbage, remove_dead_files};
pub(crate) use pace::Pace;
use retention::Retention;

use crate::store::Store;
use crate::{Config, Result};

/// One kind of background work.
pub(crate) trait Task: fmt::Debug + Send {
    /// For the log, as in "cannot <name>".
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
    Stop,
}

pub(crate) type MaintenanceQueue = SyncSender<MaintenanceRequest>;

/// The loop of the thread.
#[derive(Debug)]
pub(crate) struct MaintenanceThread {
    store: Arc<Store>,
    tasks: Vec<Box<dyn Task>>,
    requests: Receiver<MaintenanceRequest>,
    interval: Duration,
    pace: Pace,
}

impl MaintenanceThread {
    pub(crate) fn new(store: Arc<Store>, config: &Config, requests: Receiver<MaintenanceRequest>) -> Self {
        let tasks: Vec<Box<dyn Task>> = vec![Box::new(Retention::new(config.retention)), Box::new(Garbage)];
        let pace = Pace::new(config.maintenance_cpu_share);
        Self { store, tasks, requests, interval: config.maintenance_interval, pace }
    }

    /// Works until [`MaintenanceRequest::Stop`].
    pub(crate) fn run(mut self) {
        let mut wait = self.interval;
        loop {
            match self.requests.recv_timeout(wait) {
                Ok(MaintenanceRequest::Stop) | Err(RecvTimeoutError::Disconnected) => return,
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
        for task in &mut self.tasks {
            if self.store.is_stopping() {
                return false;
            }
            self.pace.begin();
            match task.step(&self.store, &mut self.pace) {
                Ok(step) => worked |= step == Step::Worked,
                Err(crate::Error::Closed) => return false,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "cannot {}; trying again later", task.name());
                }
            }
            // The rest that the step's last stretch of work has earned.
            let _ = self.pace.breathe(&self.store);
        }
        worked
    }
}
