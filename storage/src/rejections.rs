//! What ingest refused: in memory for queries, and saved to the catalog for the next start.
//!
//! ```text
//! record --> rows of the tenant --(every second, at close)--> catalog --> the next start
//!                   |
//!                   +--> a snapshot
//! ```
//!
//! A report, not data: a kill loses what was refused in the last second, and while the catalog fails the rows are in
//! memory alone.
//!
//! **Bounds.** Refusals of one tenant and signal for one reason are one row a minute. A tenant keeps its newest
//! [`MAX_ROWS_OF_TENANT`] rows, so none can take more than a tenth of the [`MAX_ROWS`] that there are; past those the
//! oldest row of all goes. A row is at most 1 KiB of sample, 512 bytes of reason and about 200 bytes besides: 18 MB in all.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alula_catalog::{Catalog, IngestRejection, RejectionChanges, Signal, TenantId, error_chain};

const MAX_ROWS_OF_TENANT: usize = 1_000;
const MAX_ROWS: usize = 10_000;
const MAX_REASON_BYTES: usize = 512;
const MAX_SAMPLE_BYTES: usize = 1024;

const MINUTE_NS: i64 = 60 * 1_000_000_000;
/// How long a row waits in memory before it is saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Records of one request that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectionGroup {
    /// Says what was wrong and what to do. Texts of the sender belong into the sample: each reason is a row of its own.
    pub reason: String,
    /// 0 for a request that was refused as a whole, whose records could not be counted.
    pub count: u64,
    /// The first of the records as text, empty where there is none.
    pub sample: String,
}

/// The rows of one tenant, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct TenantRejections(VecDeque<Row>);

#[derive(Clone, Debug)]
struct Row {
    /// The last change, in the count of [`State::changes`].
    changed: u64,
    rejection: Arc<IngestRejection>,
}

/// The rows of all tenants at one instant.
pub(crate) type Rejections = Arc<HashMap<TenantId, Arc<TenantRejections>>>;

/// Where refusals are counted.
#[derive(Debug)]
pub(crate) struct RejectionLog {
    /// Held for a few steps in memory, never while the catalog is written.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Shared with snapshots; what they hold is copied before it is changed.
    rows: Rejections,
    num_rows: usize,
    last_id: u64,
    /// Changes so far.
    changes: u64,
    /// Changes that the catalog has.
    saved: u64,
}

#[cfg_attr(not(any(test, feature = "datafusion")), expect(dead_code, reason = "only queries read rows"))]
impl TenantRejections {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &IngestRejection> {
        self.0.iter().map(|row| row.rejection.as_ref())
    }
}

impl RejectionLog {
    /// Starts with what the last process saved.
    pub(crate) fn load(catalog: &Catalog) -> Self {
        let saved = catalog.ingest_rejections().unwrap_or_else(|error| {
            // A report that cannot be read must not keep the store from opening.
            tracing::warn!(
                error = error_chain(&error),
                "cannot read what was refused before; starting without"
            );
            Vec::new()
        });
        let mut state = State::default();
        for rejection in saved {
            state.push(rejection);
        }
        Self { state: Mutex::new(state) }
    }

    /// Counts what was refused of one request. Never fails, and waits for no disk.
    pub(crate) fn record(
        &self,
        tenant: &TenantId,
        signal: Signal,
        received_ns: i64,
        rejections: Vec<RejectionGroup>,
    ) {
        let mut state = self.lock();
        for group in rejections {
            state.add(tenant, signal, received_ns, group);
        }
    }

    /// All rows at this instant.
    pub(crate) fn current(&self) -> Rejections {
        Arc::clone(&self.lock().rows)
    }

    /// Hands what has changed since the last success to `write`. After an error the next call hands it over again.
    fn save(
        &self,
        write: impl FnOnce(&RejectionChanges) -> alula_catalog::Result<()>,
    ) -> alula_catalog::Result<()> {
        let Some((changes, upto)) = self.lock().unsaved() else { return Ok(()) };
        write(&changes)?;
        self.lock().saved = upto;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held may have left out a row of the report; nothing depends on it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, tenant: &TenantId, signal: Signal, received_ns: i64, group: RejectionGroup) {
        self.changes += 1;
        let changed = self.changes;
        let reason = cut(group.reason, MAX_REASON_BYTES);
        let sample = Some(cut(group.sample, MAX_SAMPLE_BYTES)).filter(|sample| !sample.is_empty());
        let minute = received_ns.div_euclid(MINUTE_NS);
        let rows = &mut self.rows_of(tenant).0;
        let same = rows.iter_mut().rev().find(|row| {
            let rejection = &row.rejection;
            rejection.signal == signal
                && rejection.first_ns.div_euclid(MINUTE_NS) == minute
                && rejection.reason == reason
        });
        if let Some(row) = same {
            let rejection = Arc::make_mut(&mut row.rejection);
            rejection.first_ns = rejection.first_ns.min(received_ns);
            rejection.last_ns = rejection.last_ns.max(received_ns);
            rejection.count = rejection.count.saturating_add(group.count);
            rejection.requests = rejection.requests.saturating_add(1);
            if rejection.sample.is_none() {
                rejection.sample = sample;
            }
            row.changed = changed;
            return;
        }
        self.push(IngestRejection {
            id: self.last_id + 1,
            tenant: tenant.clone(),
            signal,
            first_ns: received_ns,
            last_ns: received_ns,
            reason,
            count: group.count,
            requests: 1,
            sample,
        });
    }

    /// Adds a row, whose id is past all others, and drops what is then too many.
    fn push(&mut self, rejection: IngestRejection) {
        self.last_id = rejection.id;
        let changed = self.changes;
        let rows = &mut self.rows_of(&rejection.tenant).0;
        rows.push_back(Row { changed, rejection: Arc::new(rejection) });
        if rows.len() > MAX_ROWS_OF_TENANT {
            rows.pop_front();
            return;
        }
        self.num_rows += 1;
        if self.num_rows > MAX_ROWS {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.oldest_ids().min_by_key(|(_, id)| *id);
        let Some(tenant) = oldest.map(|(tenant, _)| tenant.clone()) else { return };
        let rows = &mut self.rows_of(&tenant).0;
        rows.pop_front();
        if rows.is_empty() {
            Arc::make_mut(&mut self.rows).remove(&tenant);
        }
        self.num_rows -= 1;
    }

    fn rows_of(&mut self, tenant: &TenantId) -> &mut TenantRejections {
        Arc::make_mut(Arc::make_mut(&mut self.rows).entry(tenant.clone()).or_default())
    }

    fn oldest_ids(&self) -> impl Iterator<Item = (&TenantId, u64)> {
        self.rows.iter().filter_map(|(tenant, rows)| Some((tenant, rows.0.front()?.rejection.id)))
    }

    /// What the catalog lacks, and the change up to which it then has everything.
    fn unsaved(&self) -> Option<(RejectionChanges, u64)> {
        if self.changes == self.saved {
            return None;
        }
        let mut changes = RejectionChanges::default();
        for (tenant, rows) in self.rows.as_ref() {
            let Some(oldest) = rows.0.front() else { continue };
            let before = changes.rows.len();
            let changed = rows.0.iter().filter(|row| row.changed > self.saved);
            changes.rows.extend(changed.map(|row| Arc::clone(&row.rejection)));
            if changes.rows.len() > before {
                changes.oldest_of_tenant.insert(tenant.clone(), oldest.rejection.id);
            }
        }
        changes.oldest = self.oldest_ids().map(|(_, id)| id).min().unwrap_or(0);
        Some((changes, self.changes))
    }
}

/// The longest part of `text` that has whole characters and at most `max_bytes`.
fn cut(mut text: String, max_bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(max_bytes));
    text.shrink_to_fit();
    text
}

/// Saves rejections until the other end of `stop` is dropped, and then once more.
pub(crate) fn save_rejections(log: &RejectionLog, catalog: &Catalog, stop: &Receiver<()>) {
    let mut is_failing = false;
    loop {
        let is_last = stop.recv_timeout(SAVE_INTERVAL) != Err(RecvTimeoutError::Timeout);
        match log.save(|changes| catalog.save_ingest_rejections(changes)) {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !is_failing {
                    let error = error_chain(&error);
                    tracing::warn!(
                        error,
                        "cannot save what ingest refused; it stays in memory, trying again"
                    );
                }
                is_failing = true;
            }
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
