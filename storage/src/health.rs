//! Whether storage takes entries, and what an operator should know.
//!
//! The parts of storage report to one [`Condition`]: the log's writer that it cannot write, the flush that it succeeded, the
//! watch over free space, recovery and scrub what was lost. What comes of it is asked at every append ([`Condition::refusal`])
//! and watched by the server ([`Health`]).
//!
//! No text here names a tenant or a path: whoever asks for the health of a server need not be known to it. The log has both.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use alula_catalog::SequenceNumber;
use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::Error;

/// The state of storage, in one word and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Sound,
    /// Everything works, and something needs a look.
    Degraded {
        reason: String,
    },
    /// Queries work; appends are refused until the reason is gone, which is looked for all the time.
    ReadOnly {
        reason: String,
    },
    /// Queries work; appends are refused until the process is started anew.
    Failed {
        reason: String,
    },
}

/// What the parts of storage reported last.
#[derive(Debug)]
pub(crate) struct Condition {
    /// Held for a few steps in memory.
    state: Mutex<State>,
    /// What [`State::refusal`] says, for every append to read.
    refusal: ArcSwapOption<Refusal>,
    published: watch::Sender<Health>,
}

#[derive(Debug, Default)]
struct State {
    failed: Option<&'static str>,
    hold: Option<Hold>,
    unwritable: Option<Refusal>,
    full: Option<Refusal>,
    flush_fails: bool,
    maintenance_panicked: bool,
    num_unacknowledged_losses: u64,
}

/// Appends wait until everything up to `upto` is in files.
#[derive(Clone, Copy, Debug)]
struct Hold {
    upto: SequenceNumber,
    reason: &'static str,
}

/// Why appends are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    ReadOnly(&'static str),
    Unwritable(io::ErrorKind, String),
    Full { free_bytes: u64, needed_bytes: u64 },
}

impl Refusal {
    fn to_error(&self) -> Error {
        match self {
            Self::ReadOnly(reason) => Error::ReadOnly { reason },
            Self::Unwritable(kind, text) => Error::WalWrite(io::Error::new(*kind, text.clone())),
            Self::Full { free_bytes, needed_bytes } => {
                Error::DiskFull { free_bytes: *free_bytes, needed_bytes: *needed_bytes }
            }
        }
    }
}

impl State {
    fn refusal(&self) -> Option<Refusal> {
        self.failed
            .or(self.hold.map(|hold| hold.reason))
            .map(Refusal::ReadOnly)
            .or_else(|| self.unwritable.clone())
            .or_else(|| self.full.clone())
    }

    fn health(&self) -> Health {
        if let Some(reason) = self.failed {
            return Health::Failed { reason: reason.to_owned() };
        }
        if let Some(refusal) = self.refusal() {
            return Health::ReadOnly { reason: alula_catalog::error_chain(&refusal.to_error()) };
        }
        let mut reasons = Vec::new();
        if self.num_unacknowledged_losses > 0 {
            let count = self.num_unacknowledged_losses;
            let losses = if count == 1 { "loss" } else { "losses" };
            reasons.push(format!(
                "acknowledged rows were lost ({count} {losses} that no operator has acknowledged: `alula loss list`, then \
                 `alula loss acknowledge`)"
            ));
        }
        if self.flush_fails {
            reasons
                .push("rows in memory could not be written to files; the server's log says why".to_owned());
        }
        if self.maintenance_panicked {
            reasons.push("work in the background failed; the server's log says why".to_owned());
        }
        if reasons.is_empty() { Health::Sound } else { Health::Degraded { reason: reasons.join("; ") } }
    }
}

impl Condition {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            refusal: ArcSwapOption::empty(),
            published: watch::Sender::new(Health::Sound),
        }
    }

    /// Whether all background work goes on.
    pub(crate) fn note_maintenance(&self, is_sound: bool) {
        self.change(|state| state.maintenance_panicked = !is_sound);
    }

    /// Why an append is refused at this moment, if it is.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.refusal.load().as_deref().map(Refusal::to_error)
    }

    /// Why nothing at all may be appended, not even what is queued already.
    pub(crate) fn read_only(&self) -> Option<&'static str> {
        match self.refusal.load().as_deref() {
            Some(Refusal::ReadOnly(reason)) => Some(reason),
            Some(Refusal::Unwritable(..) | Refusal::Full { .. }) | None => None,
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.published.subscribe()
    }

    /// Refuses appends until everything up to `upto` is in files, which the flush then tries without a pause.
    pub(crate) fn hold_until_flushed(&self, upto: SequenceNumber, reason: &'static str) {
        self.change(|state| {
            let upto = state.hold.map_or(upto, |hold| hold.upto.max(upto));
            state.hold = Some(Hold { upto, reason });
        });
    }

    pub(crate) fn is_held(&self) -> bool {
        self.lock().hold.is_some()
    }

    /// Everything up to `upto` is in files.
    pub(crate) fn flushed(&self, upto: SequenceNumber) {
        self.change(|state| {
            state.hold = state.hold.filter(|hold| hold.upto > upto);
            state.flush_fails = false;
        });
    }

    pub(crate) fn flush_failed(&self) {
        self.change(|state| state.flush_fails = true);
    }

    /// The log can be written, or for this reason not.
    pub(crate) fn log_writable(&self, result: Result<(), &io::Error>) {
        self.change(|state| {
            state.unwritable = result.err().map(|error| Refusal::Unwritable(error.kind(), error.to_string()));
        });
    }

    /// There is as much free space as there has to be, or only `free_bytes` of `needed_bytes`.
    pub(crate) fn free_space(&self, shortage: Option<(u64, u64)>) {
        self.change(|state| {
            state.full =
                shortage.map(|(free_bytes, needed_bytes)| Refusal::Full { free_bytes, needed_bytes });
        });
    }

    pub(crate) fn is_short_of_space(&self) -> bool {
        self.lock().full.is_some()
    }

    /// Refuses appends for the rest of the process.
    pub(crate) fn fail(&self, reason: &'static str) {
        self.change(|state| state.failed = state.failed.or(Some(reason)));
    }

    /// How many losses no operator knows of.
    pub(crate) fn note_losses(&self, num_unacknowledged: u64) {
        self.change(|state| state.num_unacknowledged_losses = num_unacknowledged);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let refusal = state.refusal();
        if self.refusal.load().as_deref() != refusal.as_ref() {
            self.refusal.store(refusal.map(Arc::new));
        }
        let health = state.health();
        self.published.send_if_modified(|published| {
            let changed = *published != health;
            *published = health;
            changed
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change is one assignment, so a panic leaves a state that was reported.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
