//! The retry window: by it a batch that is sent again is stored once.
//!
//! ```text
//! enter --> unknown:    the caller is the first and has a claim --> stored:  remembered; all who wait have a duplicate
//!       |                                                       `-> dropped: the claim passes to one of those who wait
//!       +-> in flight:  waits for the first
//!       `-> remembered: a duplicate, at once
//! ```
//!
//! **Invariants**
//! - A batch has at most one claim at a time, so it is at most once on its way into the log.
//! - A claim ends with its batch remembered or free again, whichever way its holder ends.
//! - Whoever is told of a duplicate is told after the first was durable and visible.
//! - The lock is held for steps in memory, most often one look-up and at worst one for each id of a tenant, and never over
//!   an await, I/O or the wake-up of another.
//!
//! An id takes 62 to 123 bytes of memory, depending on when its tables last grew; of a tenant at its bound, 75. A tenant that
//! sent much and sends little keeps up to eight times what it needs.
//! On disk it takes 40 bytes of the catalog once its entry is flushed; before that it is in the log.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use alula_catalog::{RetryWindowChange, RetryableBatch, SequenceNumber, TenantNumber};
use tokio::sync::oneshot;

use crate::{BatchId, Error, Result};

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How long an id is remembered after its receipt.
    pub span_ns: i64,
    /// Ids of one tenant; past that, its oldest goes.
    pub tenant_ids: usize,
    /// Ids of all tenants; past that, the oldest goes of the tenant that has the most or, if it has its share, sends.
    pub total_ids: usize,
    /// Copies of a batch that may wait for the first; past that, they are refused.
    pub waiters: usize,
}

impl Default for Bounds {
    /// Twice the five minutes after which a Collector gives a batch up, unless told otherwise.
    fn default() -> Self {
        Self { span_ns: 600_000_000_000, tenant_ids: 100_000, total_ids: 1_000_000, waiters: 64 }
    }
}

/// A batch as one of its tenant's: nothing that another tenant sends can ever equal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchKey {
    pub tenant: TenantNumber,
    pub id: BatchId,
}

/// What became of a batch, as whoever sends it again is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub seq: SequenceNumber,
    /// Records of it that were not stored.
    pub num_rejected: u32,
}

/// What one who came with a batch is to do.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Store it.
    First(Claim),
    /// Nothing: it is stored.
    Duplicate(Stored),
}

/// When one who came with a batch is told what to do.
#[derive(Debug)]
pub(crate) enum Entered {
    Now(Turn),
    /// Once it is known what became of the same batch, which is in flight.
    Later(oneshot::Receiver<Turn>),
}

/// The right to store a batch, and the duty to say whether it was: dropping it says that it was not.
#[derive(Debug)]
pub(crate) struct Claim {
    window: Arc<RetryWindow>,
    key: BatchKey,
    is_stored: bool,
}

impl Claim {
    /// Remembers the batch and answers those who wait for it.
    ///
    /// The entry must be durable and visible, because they are told that theirs is.
    pub(crate) fn stored(mut self, stored: Stored) {
        self.is_stored = true;
        let waiters = {
            let mut state = self.window.lock();
            state.remember(&self.window.bounds, self.key, stored);
            state.in_flight.remove(&self.key).unwrap_or_default()
        };
        for waiter in waiters {
            let _ = waiter.send(Turn::Duplicate(stored));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_stored {
            return;
        }
        if let Some(waiter) = self.window.next_waiter(&self.key) {
            let claim = Self { window: Arc::clone(&self.window), key: self.key, is_stored: false };
            // One that went away drops what it is sent, and so passes the claim on.
            let _ = waiter.send(Turn::First(claim));
        }
    }
}

/// The batches that were stored lately, and those that are being stored.
#[derive(Debug)]
pub(crate) struct RetryWindow {
    bounds: Bounds,
    /// Guards everything; see the invariants above.
    state: Mutex<State>,
}

impl RetryWindow {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Mutex::default() }
    }

    /// Remembers a batch that was stored before this process began.
    ///
    /// The log of an earlier version may hold the same batch twice. Both are stored, and the first is the one remembered.
    pub(crate) fn load(&self, key: BatchKey, stored: Stored, received_ns: i64) {
        let mut state = self.lock();
        state.clock.set_ahead(received_ns);
        state.remember(&self.bounds, key, stored);
    }

    /// Begins to count time, once everything is loaded; `system_ns` is what the system's clock says at `now`.
    pub(crate) fn start(&self, system_ns: i64, now: Instant) {
        let clock = &mut self.lock().clock;
        clock.set_ahead(system_ns);
        clock.read = Some(now);
    }

    /// Says whether a batch is to be stored, or how that will be known once another of the same content is not in flight.
    ///
    /// Cancel: whoever drops what it was given lets the claim pass on.
    ///
    /// # Errors
    /// `Overloaded` — too many wait for the same batch.
    pub(crate) fn enter(self: &Arc<Self>, key: BatchKey, now: Instant) -> Result<Entered> {
        let mut state = self.lock();
        state.clock.advance(now);
        state.forget_expired(&self.bounds, key.tenant);
        if let Some(stored) = state.tenants.get(&key.tenant).and_then(|ids| ids.stored.get(&key.id)) {
            return Ok(Entered::Now(Turn::Duplicate(*stored)));
        }
        match state.in_flight.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(VecDeque::new());
                Ok(Entered::Now(Turn::First(Claim { window: Arc::clone(self), key, is_stored: false })))
            }
            Slot::Occupied(slot) => {
                let waiters = slot.into_mut();
                if waiters.len() >= self.bounds.waiters {
                    waiters.retain(|waiter| !waiter.is_closed());
                }
                if waiters.len() >= self.bounds.waiters {
                    return Err(Error::Overloaded {
                        what: "the queue behind a batch that is being stored",
                        limit: self.bounds.waiters,
                        unit: "copies of it",
                    });
                }
                let (sender, turn) = oneshot::channel();
                waiters.push_back(sender);
                Ok(Entered::Later(turn))
            }
        }
    }

    /// What a flush of the entries after `flushed` and up to `last` changes on disk, where times are the system's.
    ///
    /// Bounds: holds the lock for one tenant at a time.
    pub(crate) fn change_of_flush(
        &self,
        flushed: SequenceNumber,
        last: SequenceNumber,
        system_ns: i64,
        now: Instant,
    ) -> RetryWindowChange {
        let (ahead_ns, oldest_ns, tenants) = {
            let mut state = self.lock();
            state.clock.advance(now);
            let tenants: Vec<_> = state.tenants.keys().copied().collect();
            (state.clock.ahead_of(system_ns), state.oldest_ns(&self.bounds), tenants)
        };
        let mut batches = Vec::new();
        for tenant in tenants {
            let mut state = self.lock();
            state.forget_expired(&self.bounds, tenant);
            if let Some(ids) = state.tenants.get(&tenant) {
                batches.extend(ids.stored_between(tenant, flushed, last));
            }
        }
        for batch in &mut batches {
            batch.received_ns = batch.received_ns.saturating_sub(ahead_ns);
        }
        batches.sort_unstable_by_key(|batch| batch.seq);
        RetryWindowChange { batches, forget_before_ns: oldest_ns.saturating_sub(ahead_ns) }
    }

    /// Who has waited longest for a batch whose first was not stored. If nobody waits, the batch is free.
    fn next_waiter(&self, key: &BatchKey) -> Option<Waiter> {
        let mut state = self.lock();
        let waiter = state.in_flight.get_mut(key)?.pop_front();
        if waiter.is_none() {
            state.in_flight.remove(key);
        }
        waiter
    }

    /// Time passes.
    #[cfg(test)]
    pub(crate) fn pass(&self, span: std::time::Duration) {
        let clock = &mut self.lock().clock;
        clock.now_ns += span.as_nanos() as i64;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Waiter = oneshot::Sender<Turn>;

#[derive(Debug, Default)]
struct State {
    clock: WindowClock,
    /// Batches with a claim, and who waits for each.
    in_flight: HashMap<BatchKey, VecDeque<Waiter>>,
    tenants: HashMap<TenantNumber, TenantIds>,
    /// Ids of all tenants.
    num_ids: usize,
    /// When the ids of all tenants were last looked through, by the window's clock.
    swept_ns: Option<i64>,
}

impl State {
    fn remember(&mut self, bounds: &Bounds, key: BatchKey, stored: Stored) {
        self.forget_expired(bounds, key.tenant);
        if self.num_ids >= bounds.total_ids {
            self.sweep(bounds);
        }
        if self.tenants.get(&key.tenant).is_some_and(|ids| ids.stored.contains_key(&key.id)) {
            return;
        }
        if let Some(tenant) = self.who_gives_one_up(bounds, key.tenant) {
            let given_up = self.tenants.get_mut(&tenant).is_some_and(TenantIds::forget_oldest);
            self.num_ids -= usize::from(given_up);
        }
        let ids = self.tenants.entry(key.tenant).or_default();
        ids.stored.insert(key.id, stored);
        ids.order.push_back((key.id, self.clock.now_ns));
        self.num_ids += 1;
    }

    /// Whose oldest id goes for one more of `sender`, if one must.
    ///
    /// In a full window that is the tenant with the most, unless the sender has its share of it: else tenants that send much
    /// would leave no room to those that send little.
    fn who_gives_one_up(&self, bounds: &Bounds, sender: TenantNumber) -> Option<TenantNumber> {
        let num_own = self.tenants.get(&sender).map_or(0, |ids| ids.order.len());
        if num_own >= bounds.tenant_ids {
            return Some(sender);
        }
        if self.num_ids < bounds.total_ids {
            return None;
        }
        if num_own > 0 && num_own >= bounds.total_ids / self.tenants.len() {
            return Some(sender);
        }
        let most = self.tenants.iter().max_by_key(|(_, ids)| ids.order.len());
        most.map(|(tenant, _)| *tenant)
    }

    /// Ids that were received before this are out of the window.
    fn oldest_ns(&self, bounds: &Bounds) -> i64 {
        self.clock.now_ns.saturating_sub(bounds.span_ns)
    }

    fn forget_expired(&mut self, bounds: &Bounds, tenant: TenantNumber) {
        let oldest_ns = self.oldest_ns(bounds);
        let Slot::Occupied(mut slot) = self.tenants.entry(tenant) else { return };
        let ids = slot.get_mut();
        while ids.order.front().is_some_and(|(_, received_ns)| *received_ns < oldest_ns) {
            self.num_ids -= usize::from(ids.forget_oldest());
        }
        if ids.order.is_empty() {
            slot.remove();
        } else {
            ids.give_back();
        }
    }

    /// Forgets what has expired of all tenants: of one that sends nothing any more, nobody else does.
    ///
    /// At most sixty times in the span of the window, because a full window would ask for it with each entry.
    fn sweep(&mut self, bounds: &Bounds) {
        let now_ns = self.clock.now_ns;
        if self.swept_ns.is_some_and(|swept_ns| now_ns.saturating_sub(swept_ns) < bounds.span_ns / 60) {
            return;
        }
        self.swept_ns = Some(now_ns);
        let tenants: Vec<_> = self.tenants.keys().copied().collect();
        for tenant in tenants {
            self.forget_expired(bounds, tenant);
        }
    }
}

/// The ids of one tenant.
#[derive(Debug, Default)]
struct TenantIds {
    stored: HashMap<BatchId, Stored>,
    /// Each id of `stored` and when it was received or stored, by the window's clock; in order of time and of sequence numbers.
    order: VecDeque<(BatchId, i64)>,
}

impl TenantIds {
    /// False if there is none.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.order.pop_front();
        oldest.is_some_and(|(id, _)| self.stored.remove(&id).is_some())
    }

    /// Gives memory back once little of it is used: a tenant's busiest minutes must not cost it for ever.
    fn give_back(&mut self) {
        let few = 2 * self.order.len();
        if self.order.capacity() > 4 * few.max(64) {
            self.order.shrink_to(few);
            self.stored.shrink_to(few);
        }
    }

    /// The batches with sequence numbers after `flushed` and up to `last`, latest first.
    fn stored_between(
        &self,
        tenant: TenantNumber,
        flushed: SequenceNumber,
        last: SequenceNumber,
    ) -> impl Iterator<Item = RetryableBatch> {
        let batches = self.order.iter().rev().filter_map(move |(id, received_ns)| {
            let Stored { seq, num_rejected } = *self.stored.get(id)?;
            Some(RetryableBatch { tenant, seq, received_ns: *received_ns, id: id.to_bytes(), num_rejected })
        });
        batches.skip_while(move |batch| batch.seq > last).take_while(move |batch| batch.seq > flushed)
    }
}

/// The time by which ids expire, when it was last read.
///
/// The system's clock may be set, back or ahead, while a batch is on its way. So it is asked at the start alone; from then on
/// this clock counts what has passed. Before the start it is the latest receipt on disk, and a system's clock that was
/// set back behind that goes on from there.
#[derive(Debug)]
struct WindowClock {
    now_ns: i64,
    /// None before the start.
    read: Option<Instant>,
}

impl Default for WindowClock {
    fn default() -> Self {
        Self { now_ns: i64::MIN, read: None }
    }
}

impl WindowClock {
    fn advance(&mut self, now: Instant) {
        let Some(read) = &mut self.read else { return };
        // Zero where another thread read the time later and was here first.
        let passed = now.saturating_duration_since(*read);
        self.now_ns = self.now_ns.saturating_add(i64::try_from(passed.as_nanos()).unwrap_or(i64::MAX));
        *read += passed;
    }

    fn set_ahead(&mut self, now_ns: i64) {
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// How much later it is here than by the system's clock. Before the start, times are as they are on disk.
    fn ahead_of(&self, system_ns: i64) -> i64 {
        self.read.map_or(0, |_| self.now_ns.saturating_sub(system_ns))
    }
}

#[cfg(test)]
mod tests;
