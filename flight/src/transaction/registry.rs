//! [`Registry`]: what the transactions that this process began have written, and which of them have ended.
//!
//! **Invariants**
//! - Each tenant has room of its own, so no tenant's transactions end or fail because of another's.
//! - A transaction whose writes were let go of is never committed, also when nothing else is remembered of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alula_catalog::TenantId;

use super::Ending;
use crate::{Error, Result};

/// Transactions with writes at one time, of one tenant.
const MAX_WRITING: usize = 16;

/// How long the writes of a transaction are kept that nobody uses.
const IDLE: Duration = Duration::from_mins(10);

/// Ended transactions that are remembered of one tenant.
const MAX_PAST: usize = 256;

#[derive(Debug)]
pub(super) struct Registry<W> {
    /// Held for a look-up, never across an await.
    tenants: Mutex<HashMap<TenantId, OfTenant<W>>>,
}

#[derive(Debug)]
struct OfTenant<W> {
    writing: HashMap<u64, Writing<W>>,
    /// Oldest first.
    past: VecDeque<(u64, Past)>,
    /// Those up to this number may have lost their writes, though nothing else is remembered of them.
    lost_up_to: u64,
}

#[derive(Debug)]
struct Writing<W> {
    writes: Arc<W>,
    num_writes: u64,
    last_used: Instant,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Ended,
    /// It was idle for too long, or could not be committed.
    Lost,
}

impl<W> Default for Registry<W> {
    fn default() -> Self {
        Self { tenants: Mutex::default() }
    }
}

impl<W> Default for OfTenant<W> {
    fn default() -> Self {
        Self { writing: HashMap::new(), past: VecDeque::new(), lost_up_to: 0 }
    }
}

impl<W> Registry<W> {
    /// Whether statements may run in a transaction.
    ///
    /// # Errors
    /// `UnknownTransaction` — it has ended. `LostWrites` — they would not see what it has written.
    pub(super) fn check(&self, tenant: &TenantId, number: u64) -> Result<()> {
        self.lock().get(tenant).map_or(Ok(()), |tenant| tenant.check(number))
    }

    /// How many statements of a transaction have written.
    pub(super) fn num_writes(&self, tenant: &TenantId, number: u64) -> u64 {
        let tenants = self.lock();
        let writing = tenants.get(tenant).and_then(|tenant| tenant.writing.get(&number));
        writing.map_or(0, |writing| writing.num_writes)
    }

    /// What a transaction has written. It is in use for as long as somebody has that.
    pub(super) fn written(&self, tenant: &TenantId, number: u64, now: Instant) -> Option<Arc<W>> {
        let mut tenants = self.lock();
        let writing = tenants.get_mut(tenant)?.writing.get_mut(&number)?;
        writing.last_used = now;
        Some(Arc::clone(&writing.writes))
    }

    /// Ends a transaction. Gives what it has written.
    ///
    /// # Errors
    /// `UnknownTransaction` — it has ended. `LostWrites` — it cannot be committed; it can be rolled back.
    pub(super) fn end(&self, tenant: &TenantId, number: u64, ending: Ending) -> Result<Option<Arc<W>>> {
        let mut tenants = self.lock();
        let tenant = tenants.entry(tenant.clone()).or_default();
        if let Some(writing) = tenant.writing.remove(&number) {
            tenant.remember(number, Past::Ended);
            return Ok(Some(writing.writes));
        }
        match tenant.past(number) {
            Some(Past::Ended) => Err(Error::UnknownTransaction),
            Some(Past::Lost) if ending == Ending::Commit => Err(Error::LostWrites),
            None if ending == Ending::Commit && number <= tenant.lost_up_to => Err(Error::LostWrites),
            Some(Past::Lost) | None => {
                tenant.past.retain(|(past, _)| *past != number);
                tenant.remember(number, Past::Ended);
                Ok(None)
            }
        }
    }

    /// What an ended transaction has written could not be committed.
    pub(super) fn lose(&self, tenant: &TenantId, number: u64) {
        let mut tenants = self.lock();
        let tenant = tenants.entry(tenant.clone()).or_default();
        tenant.past.retain(|(past, _)| *past != number);
        tenant.remember(number, Past::Lost);
    }

    /// See [`super::Transactions::write`].
    pub(super) fn write(
        &self,
        tenant: &TenantId,
        number: u64,
        make: impl FnOnce() -> Result<W>,
        now: Instant,
    ) -> Result<Arc<W>> {
        let mut tenants = self.lock();
        reap(&mut tenants, now);
        let tenant = tenants.entry(tenant.clone()).or_default();
        if let Some(writing) = tenant.writing.get_mut(&number) {
            writing.num_writes += 1;
            writing.last_used = now;
            return Ok(Arc::clone(&writing.writes));
        }
        tenant.check(number)?;
        if tenant.writing.len() >= MAX_WRITING {
            return Err(Error::TooManyTransactions { limit: MAX_WRITING });
        }
        let writes = Arc::new(make()?);
        let writing = Writing { writes: Arc::clone(&writes), num_writes: 1, last_used: now };
        tenant.writing.insert(number, writing);
        Ok(writes)
    }

    pub(super) fn reap(&self, now: Instant) {
        reap(&mut self.lock(), now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, OfTenant<W>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reap<W>(tenants: &mut HashMap<TenantId, OfTenant<W>>, now: Instant) {
    for tenant in tenants.values_mut() {
        let is_idle = |_: &u64, writing: &mut Writing<W>| {
            if Arc::strong_count(&writing.writes) > 1 {
                writing.last_used = now;
            }
            now.saturating_duration_since(writing.last_used) >= IDLE
        };
        let idle: Vec<_> = tenant.writing.extract_if(is_idle).map(|(number, _)| number).collect();
        for number in idle {
            tenant.remember(number, Past::Lost);
        }
    }
}

impl<W> OfTenant<W> {
    fn check(&self, number: u64) -> Result<()> {
        match self.past(number) {
            Some(Past::Ended) => Err(Error::UnknownTransaction),
            Some(Past::Lost) => Err(Error::LostWrites),
            None if number <= self.lost_up_to && !self.writing.contains_key(&number) => {
                Err(Error::LostWrites)
            }
            None => Ok(()),
        }
    }

    fn past(&self, number: u64) -> Option<Past> {
        self.past.iter().find(|(past, _)| *past == number).map(|(_, what)| *what)
    }

    fn remember(&mut self, number: u64, what: Past) {
        self.past.push_back((number, what));
        while self.past.len() > MAX_PAST {
            if let Some((forgotten, Past::Lost)) = self.past.pop_front() {
                self.lost_up_to = self.lost_up_to.max(forgotten);
            }
        }
    }
}

#[cfg(test)]
mod tests;
