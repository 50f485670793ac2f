//! [`Query`]: one run of a statement, and its figures while it runs.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use alula_auth::Principal;
use alula_catalog::TenantId;
use alula_storage::table::{ScanFigures, ScanWatch};

use super::memory::Memory;
use crate::stop::Stop;

/// Bytes of a statement that the list keeps.
const MAX_SQL_BYTES: usize = 1_000;

/// The most that a query which has not ended has done of its work: what comes after the scans is not known beforehand.
const MAX_PROGRESS: f64 = 0.99;

/// How far a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for a query thread.
    Queued,
    Planning,
    /// Works, and has not sent a row.
    Running,
    Streaming,
    Finished,
    Failed,
    /// By its client, who may just have gone away, or by an administrator.
    Cancelled,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Queued,
        Self::Planning,
        Self::Running,
        Self::Streaming,
        Self::Finished,
        Self::Failed,
        Self::Cancelled,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Streaming => "streaming",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One run of a statement.
pub(crate) struct Query {
    pub(crate) id: String,
    pub(crate) tenant: TenantId,
    pub(crate) subject: String,
    pub(crate) stop: Stop,
    pub(super) memory: Memory,
    sql: String,
    started: SystemTime,
    clock: Instant,
    state: AtomicU8,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// How often its plan is run, with one row of parameters after the other.
    expected_runs: AtomicUsize,
    /// Held for a look, never over an await.
    scans: Mutex<Scans>,
}

/// The scans of a query whose plan is run again and again: of those that are over the sum is kept alone.
#[derive(Default)]
struct Scans {
    begun_runs: usize,
    before: ScanFigures,
    current: Vec<ScanWatch>,
}

impl Scans {
    fn figures(&self) -> ScanFigures {
        self.before.plus(ScanFigures::of(&self.current))
    }

    /// The part of all runs that is done.
    fn progress(&self, expected_runs: usize) -> f64 {
        let current = ScanFigures::of(&self.current);
        let part = if current.planned_rows == 0 {
            0.0
        } else {
            (current.rows as f64 / current.planned_rows as f64).min(1.0)
        };
        ((self.begun_runs.saturating_sub(1) as f64 + part) / expected_runs as f64).min(MAX_PROGRESS)
    }
}

/// What a query has done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) elapsed: Duration,
    /// Rows sent.
    pub(crate) rows: u64,
    /// Bytes sent, as encoded.
    pub(crate) bytes: u64,
    pub(crate) scans: ScanFigures,
    /// The most that its operators held at one time, as far as DataFusion counts it.
    pub(crate) memory_peak_bytes: u64,
}

/// A figure, by the name under which clients find it.
pub(crate) type Named = (&'static str, fn(&Figures) -> u64);

impl Figures {
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A line of the list.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) tenant: TenantId,
    pub(crate) subject: String,
    pub(crate) sql: String,
    pub(crate) started: SystemTime,
    pub(crate) state: State,
    /// Why it failed, as its client was told.
    pub(crate) error: Option<String>,
    pub(crate) progress: f64,
    pub(crate) figures: Figures,
}

impl Query {
    pub(super) fn new(principal: &Principal, id: &str, sql: &str, limit: Option<Duration>) -> Self {
        Self {
            id: id.to_owned(),
            tenant: principal.tenant().clone(),
            subject: principal.subject().to_owned(),
            stop: Stop::after(limit),
            memory: Memory::default(),
            sql: sql[..sql.floor_char_boundary(MAX_SQL_BYTES)].to_owned(),
            started: SystemTime::now(),
            clock: Instant::now(),
            state: AtomicU8::new(State::Queued as u8),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            expected_runs: AtomicUsize::new(1),
            scans: Mutex::default(),
        }
    }

    pub(crate) fn is_visible_to(&self, principal: &Principal) -> bool {
        self.tenant == *principal.tenant() && (principal.is_admin() || self.subject == principal.subject())
    }

    pub(crate) fn enter(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> State {
        State::ALL[usize::from(self.state.load(Ordering::Relaxed))]
    }

    /// Takes its figures from these scans from here on, and adds those of the scans before, which are over.
    pub(crate) fn reads_from(&self, scans: Vec<ScanWatch>) {
        let mut all = self.scans();
        all.before = all.figures();
        all.begun_runs += 1;
        all.current = scans;
    }

    /// Its progress is that of so many runs of its plan.
    pub(crate) fn expect_runs(&self, num_runs: usize) {
        self.expected_runs.store(num_runs.max(1), Ordering::Relaxed);
    }

    pub(crate) fn sends_rows(&self, num_rows: usize) {
        self.rows.fetch_add(num_rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent_bytes(&self, num_bytes: usize) {
        self.bytes.fetch_add(num_bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            elapsed: self.clock.elapsed(),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            scans: self.scans().figures(),
            memory_peak_bytes: self.memory.peak(),
        }
    }

    /// The part of its work that is done, by the rows that it had to read. It never falls.
    pub(crate) fn progress(&self) -> f64 {
        self.scans().progress(self.expected_runs.load(Ordering::Relaxed))
    }

    fn scans(&self) -> MutexGuard<'_, Scans> {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self, state: State, error: Option<String>) -> Record {
        Record {
            id: self.id.clone(),
            tenant: self.tenant.clone(),
            subject: self.subject.clone(),
            sql: self.sql.clone(),
            started: self.started,
            state,
            error,
            progress: if state == State::Finished { 1.0 } else { self.progress() },
            figures: self.figures(),
        }
    }
}
