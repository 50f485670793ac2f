//! The queries of a server: what runs, what ran lately, and what was cancelled.
//!
//! | file | purpose |
//! |---|---|
//! | `query.rs` | [`Query`]: one run of a statement, and its figures |
//! | `memory.rs` | [`QueryPool`]: counts the memory of one query |
//! | `table.rs` | `system.queries` |
//!
//! A query has an id from `GetFlightInfo` on, which its ticket carries; each fetch of the ticket is a run of it. A run is on
//! the list from its start until its stream ends, however that happens, and its last figures for a while longer.
//!
//! **Invariants**
//! - A caller sees and cancels the own queries only, an administrator those of the own tenant.
//! - What was cancelled stays so until every ticket of it has expired, unless the tenant cancels [`MAX_CANCELLED`] others
//!   meanwhile. What changes something is run once by the server, with the same reservation ([`MAX_ONCE`]).

mod memory;
mod query;
mod table;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alula_auth::Principal;
use alula_catalog::TenantId;

pub(crate) use memory::QueryPool;
pub(crate) use query::{Figures, Named, Query, Record, State};
pub(crate) use table::with_queries;

use crate::status::status;
use crate::ticket::{LIFETIME, SignedStatement};
use crate::{Error, Result};

/// Ended runs that are listed, of a tenant and of all.
const MAX_ENDED_OF_TENANT: usize = 100;
const MAX_ENDED: usize = 10_000;

/// Cancelled queries that are remembered, of a tenant.
const MAX_CANCELLED: usize = 1_000;

/// Queries that changed something and are remembered, of a tenant.
const MAX_ONCE: usize = 10_000;

/// The list of queries.
pub(crate) struct Queries {
    /// Makes ids that no other process makes.
    nonce: u64,
    next_id: AtomicU64,
    /// Held for the time of a look-up, never over an await.
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    next_run: u64,
    running: BTreeMap<u64, Arc<Query>>,
    /// By the order in which they ended.
    ended: BTreeMap<u64, Record>,
    ended_of: HashMap<TenantId, VecDeque<u64>>,
    cancelled: HashMap<TenantId, Ids>,
    /// Those that may not run again.
    once: HashMap<TenantId, Ids>,
}

/// Ids of one tenant's queries, for as long as there are tickets of them.
#[derive(Default)]
struct Ids {
    ids: HashSet<String>,
    /// Oldest first, with the time at which no ticket of it is good any more.
    order: VecDeque<(Instant, String)>,
}

impl Queries {
    pub(crate) fn new() -> Self {
        // Keys of the standard library's hash are random.
        let nonce = RandomState::new().hash_one(std::process::id());
        Self { nonce, next_id: AtomicU64::new(0), lists: Mutex::default() }
    }

    /// The id of a query to be.
    pub(crate) fn new_id(&self) -> String {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut hash = blake3::Hasher::new();
        hash.update(&self.nonce.to_le_bytes()).update(&number.to_le_bytes());
        format!("{}{}", self.prefix(), &hash.finalize().to_hex()[..16])
    }

    /// What the ids begin with that this process makes.
    fn prefix(&self) -> String {
        format!("{:016x}", self.nonce)
    }

    /// Puts a run of a statement on the list, for `limit` at the longest. One without an id gets one.
    ///
    /// # Errors
    /// `UnknownHandle` — it was cancelled.
    pub(crate) fn begin(
        self: &Arc<Self>,
        principal: &Principal,
        statement: &mut SignedStatement,
        limit: Option<Duration>,
    ) -> Result<Running> {
        if statement.query_id.is_empty() {
            statement.query_id = self.new_id();
        }
        let mut lists = self.lists();
        if lists.is_cancelled(principal.tenant(), &statement.query_id) {
            return Err(Error::UnknownHandle);
        }
        let query = Arc::new(Query::new(principal, &statement.query_id, &statement.sql, limit));
        let run = lists.next_run;
        lists.next_run += 1;
        lists.running.insert(run, Arc::clone(&query));
        drop(lists);
        Ok(Running { queries: Arc::clone(self), run, query, end: None })
    }

    /// Stops every run of a query, and makes its tickets unknown. The caller holds such a ticket.
    pub(crate) fn cancel(&self, tenant: &TenantId, id: &str) {
        let mut lists = self.lists();
        lists.stop(|query| query.tenant == *tenant && query.id == id);
        lists.cancelled.entry(tenant.clone()).or_default().add(id, MAX_CANCELLED);
    }

    /// [`Self::cancel`] for a caller who knows an id and has no ticket.
    ///
    /// # Errors
    /// `UnknownHandle` — nothing that the caller may cancel runs by that id.
    pub(crate) fn cancel_running(&self, principal: &Principal, id: &str) -> Result<()> {
        let mut lists = self.lists();
        if !lists.stop(|query| query.is_visible_to(principal) && query.id == id) {
            return Err(Error::UnknownHandle);
        }
        lists.cancelled.entry(principal.tenant().clone()).or_default().add(id, MAX_CANCELLED);
        Ok(())
    }

    /// Lets a query that changes something begin. A client that asks for the rows of its ticket again, because it has lost the
    /// answer, must not do so twice; so a ticket of another process, which may have been run there, is not run.
    ///
    /// # Errors
    /// `AlreadyRun` — it has begun before, however that ended, or that is not known here.
    pub(crate) fn run_once(&self, query: &Query) -> Result<()> {
        if !query.id.starts_with(&self.prefix()) {
            return Err(Error::AlreadyRun);
        }
        let mut lists = self.lists();
        let is_first = lists.once.entry(query.tenant.clone()).or_default().add(&query.id, MAX_ONCE);
        if is_first { Ok(()) } else { Err(Error::AlreadyRun) }
    }

    /// # Errors
    /// `UnknownHandle` — it was cancelled.
    pub(crate) fn refuse_cancelled(&self, tenant: &TenantId, id: &str) -> Result<()> {
        if self.lists().is_cancelled(tenant, id) { Err(Error::UnknownHandle) } else { Ok(()) }
    }

    /// The runs of a tenant, or of one caller in it: those that have ended first, then by age.
    pub(crate) fn visible(&self, tenant: &TenantId, subject: Option<&str>) -> Vec<Record> {
        let lists = self.lists();
        let ended = lists.ended_of.get(tenant).into_iter().flatten().filter_map(|run| lists.ended.get(run));
        let running = lists.running.values().filter(|query| query.tenant == *tenant);
        let records = ended.cloned().chain(running.map(|query| query.record(query.state(), None)));
        records.filter(|record| subject.is_none_or(|subject| record.subject == subject)).collect()
    }

    fn end(&self, run: u64, state: State, error: Option<String>) {
        let mut lists = self.lists();
        let Some(query) = lists.running.remove(&run) else { return };
        let number = lists.next_run;
        lists.next_run += 1;
        lists.ended.insert(number, query.record(state, error));
        let of_tenant = lists.ended_of.entry(query.tenant.clone()).or_default();
        of_tenant.push_back(number);
        let oldest = if of_tenant.len() > MAX_ENDED_OF_TENANT { of_tenant.front().copied() } else { None };
        let oldest = oldest.or_else(|| {
            let (oldest, _) = lists.ended.first_key_value()?;
            (lists.ended.len() > MAX_ENDED).then_some(*oldest)
        });
        if let Some(oldest) = oldest {
            lists.forget(oldest);
        }
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    /// Whether there was one.
    fn stop(&self, which: impl Fn(&Query) -> bool) -> bool {
        let mut stopped = false;
        for query in self.running.values().filter(|query| which(query)) {
            query.stop.stop();
            stopped = true;
        }
        stopped
    }

    fn is_cancelled(&self, tenant: &TenantId, id: &str) -> bool {
        self.cancelled.get(tenant).is_some_and(|cancelled| cancelled.ids.contains(id))
    }

    /// Takes the oldest of a tenant off the list of ended runs.
    fn forget(&mut self, oldest: u64) {
        let Some(record) = self.ended.remove(&oldest) else { return };
        if let Some(of_tenant) = self.ended_of.get_mut(&record.tenant) {
            of_tenant.pop_front();
            if of_tenant.is_empty() {
                self.ended_of.remove(&record.tenant);
            }
        }
    }
}

impl Ids {
    /// Of more than `limit` the oldest go. Whether it is another one.
    fn add(&mut self, id: &str, limit: usize) -> bool {
        let now = Instant::now();
        let is_over = |(end, _): &(Instant, String)| *end <= now;
        while self.order.len() >= limit || self.order.front().is_some_and(is_over) {
            if let Some((_, id)) = self.order.pop_front() {
                self.ids.remove(&id);
            }
        }
        let is_new = self.ids.insert(id.to_owned());
        if is_new {
            self.order.push_back((now + LIFETIME, id.to_owned()));
        }
        is_new
    }
}

/// A run on the list. Dropping it without having said how it ended means that its client went away.
pub(crate) struct Running {
    queries: Arc<Queries>,
    run: u64,
    query: Arc<Query>,
    end: Option<(State, Option<String>)>,
}

impl Running {
    pub(crate) fn query(&self) -> &Arc<Query> {
        &self.query
    }

    pub(crate) fn finish(&mut self) {
        self.end = Some((State::Finished, None));
    }

    pub(crate) fn finish_unless_ended(&mut self) {
        self.end.get_or_insert((State::Finished, None));
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        let state = if matches!(error, Error::Cancelled) { State::Cancelled } else { State::Failed };
        self.end = Some((state, Some(status(error).message().to_owned())));
    }

    /// Hands a result on. An error in it is how the run ends.
    pub(crate) fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    /// Says how it ended by what it gave.
    pub(crate) fn end<T>(mut self, result: &Result<T>) {
        match result {
            Ok(_) => self.finish(),
            Err(error) => self.fail(error),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.query.stop.stop();
        let (state, error) = self.end.take().unwrap_or((State::Cancelled, None));
        self.queries.end(self.run, state, error);
    }
}

#[cfg(test)]
mod tests;
