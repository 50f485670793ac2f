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
//! - The lock is held for a look-up or an insertion, never over an await, I/O or the wake-up of another.
//!
//! An id takes 53 to 105 bytes of memory, depending on when its tables last grew; of a tenant at its bound, 64.
//! On disk it takes 36 bytes of the catalog once its entry is flushed; before that it is in the log.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Ids of all tenants; past that, the oldest of the tenant that sends goes.
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

/// What one who came with a batch is to do.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Store it.
    First(Claim),
    /// Nothing: it is stored, under this number.
    Duplicate(SequenceNumber),
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
    pub(crate) fn stored(mut self, seq: SequenceNumber, received_ns: i64) {
        self.is_stored = true;
        let waiters = {
            let mut state = self.window.lock();
            state.remember(&self.window.bounds, self.key, seq, received_ns);
            state.in_flight.remove(&self.key).unwrap_or_default()
        };
        for waiter in waiters {
            let _ = waiter.send(Turn::Duplicate(seq));
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

    /// Says whether a batch is to be stored; waits while another of the same content is in flight.
    ///
    /// Cancel: nothing happened, or the claim passes on.
    ///
    /// # Errors
    /// `Overloaded` — too many wait for the same batch.
    pub(crate) async fn enter(self: &Arc<Self>, key: BatchKey, received_ns: i64) -> Result<Turn> {
        match self.look_up(key, received_ns)? {
            Found::Nothing => Ok(Turn::First(Claim { window: Arc::clone(self), key, is_stored: false })),
            Found::Stored(seq) => Ok(Turn::Duplicate(seq)),
            Found::InFlight(turn) => turn.await.map_err(|_| Error::Closed),
        }
    }

    /// Remembers a batch that was stored before this process began.
    ///
    /// The log of an earlier version may hold the same batch twice. Both are stored, and the first is the one remembered.
    pub(crate) fn remember(&self, key: BatchKey, seq: SequenceNumber, received_ns: i64) {
        self.lock().remember(&self.bounds, key, seq, received_ns);
    }

    /// What a flush of the entries after `flushed` and up to `last` changes on disk.
    ///
    /// Bounds: holds the lock for one tenant at a time.
    pub(crate) fn change_of_flush(&self, flushed: SequenceNumber, last: SequenceNumber) -> RetryWindowChange {
        let tenants: Vec<_> = self.lock().tenants.keys().copied().collect();
        let mut batches = Vec::new();
        for tenant in tenants {
            let mut state = self.lock();
            state.forget_expired(&self.bounds, tenant);
            if let Some(ids) = state.tenants.get(&tenant) {
                batches.extend(ids.stored_between(tenant, flushed, last));
            }
        }
        batches.sort_unstable_by_key(|batch| batch.seq);
        RetryWindowChange { batches, forget_before_ns: self.lock().oldest_ns(&self.bounds) }
    }

    fn look_up(&self, key: BatchKey, received_ns: i64) -> Result<Found> {
        let mut state = self.lock();
        state.clock.advance(received_ns, self.bounds.span_ns);
        state.forget_expired(&self.bounds, key.tenant);
        if let Some(seq) = state.tenants.get(&key.tenant).and_then(|ids| ids.seqs.get(&key.id)) {
            return Ok(Found::Stored(*seq));
        }
        match state.in_flight.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(VecDeque::new());
                Ok(Found::Nothing)
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
                Ok(Found::InFlight(turn))
            }
        }
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Waiter = oneshot::Sender<Turn>;

/// What is known of a batch when it comes.
enum Found {
    Nothing,
    InFlight(oneshot::Receiver<Turn>),
    Stored(SequenceNumber),
}

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
    fn remember(&mut self, bounds: &Bounds, key: BatchKey, seq: SequenceNumber, received_ns: i64) {
        self.clock.advance(received_ns, bounds.span_ns);
        self.forget_expired(bounds, key.tenant);
        if self.num_ids >= bounds.total_ids {
            self.sweep(bounds);
        }
        let ids = self.tenants.entry(key.tenant).or_default();
        if ids.seqs.contains_key(&key.id) {
            return;
        }
        if ids.order.len() >= bounds.tenant_ids || self.num_ids >= bounds.total_ids {
            self.num_ids -= usize::from(ids.forget_oldest());
        }
        // Where other tenants fill the window, one that has no id in it gets none in.
        if self.num_ids < bounds.total_ids {
            ids.seqs.insert(key.id, seq);
            ids.order.push_back((key.id, self.clock.now_ns));
            self.num_ids += 1;
        }
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
    seqs: HashMap<BatchId, SequenceNumber>,
    /// Each id of `seqs` and when it was received, by the window's clock; in order of time and of sequence numbers.
    order: VecDeque<(BatchId, i64)>,
}

impl TenantIds {
    /// False if there is none.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.order.pop_front();
        oldest.is_some_and(|(id, _)| self.seqs.remove(&id).is_some())
    }

    /// Gives memory back once little of it is used: a tenant's busiest minutes must not cost it for ever.
    fn give_back(&mut self) {
        let few = 2 * self.order.len();
        if self.order.capacity() > 4 * few.max(64) {
            self.order.shrink_to(few);
            self.seqs.shrink_to(few);
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
            let seq = *self.seqs.get(id)?;
            Some(RetryableBatch { tenant, seq, received_ns: *received_ns, id: id.to_bytes() })
        });
        batches.skip_while(move |batch| batch.seq > last).take_while(move |batch| batch.seq > flushed)
    }
}

/// The time of the latest receipt, by a clock that never goes back.
///
/// The system's clock may be set back. By a little, and this one waits until it is caught up with; by more than the span of
/// the window, and it goes on from where it is. So an id is never forgotten early for it, nor kept for longer than two spans.
#[derive(Debug)]
struct WindowClock {
    now_ns: i64,
    /// How far it is ahead of the system's clock.
    ahead_ns: i64,
}

impl Default for WindowClock {
    fn default() -> Self {
        Self { now_ns: i64::MIN, ahead_ns: 0 }
    }
}

impl WindowClock {
    fn advance(&mut self, received_ns: i64, span_ns: i64) {
        let received_ns = received_ns.saturating_add(self.ahead_ns);
        let behind_ns = self.now_ns.saturating_sub(received_ns);
        if behind_ns > span_ns {
            self.ahead_ns = self.ahead_ns.saturating_add(behind_ns);
        }
        self.now_ns = self.now_ns.max(received_ns);
    }
}

#[cfg(test)]
mod tests;
