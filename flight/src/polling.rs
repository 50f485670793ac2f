//! Statements that run while their client only asks, from time to time, how far they are: `PollFlightInfo`.
//!
//! | file | purpose |
//! |---|---|
//! | `spool.rs` | [`Spool`]: a result on disk |
//! | `room.rs` | how much of the disk results may take |
//!
//! The first poll starts the statement. Its messages go to a file of the spill directory, as they will be sent; the ticket
//! that the last poll gives names the query, and reads that file as often as the client likes. The ticket holds the
//! statement too: where there is no file (it expired, or another server is asked) the statement runs again. For that reason
//! only queries are polled: a statement that changes something would do so twice.
//!
//! **Bounds**: [`MAX_POLLED`] statements of a tenant; of the spill space that all queries share, a quarter for the results of
//! a tenant and half for those of all; [`KEPT`] after its end. Results whose end the client knows of give way to others of
//! their tenant, the oldest first.

mod room;
mod spool;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use alula_auth::Principal;
use alula_catalog::TenantId;
use arrow::datatypes::SchemaRef;
use arrow_flight::{FlightData, FlightDescriptor};
use datafusion::execution::disk_manager::DiskManager;
use futures::TryStreamExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Status;

use crate::context::QueryContext;
use crate::queries::{Query, Running};
use crate::runtime::{Produced, QueryRuntime};
use crate::statement::{Rows, planned};
use crate::status::status;
use crate::ticket::SignedStatement;
use crate::{Error, Result};

use room::{Room, Share};
pub(crate) use spool::Spool;
use spool::SpoolWriter;

/// Polled statements of a tenant that are kept.
const MAX_POLLED: usize = 32;

/// How long a result is kept.
const KEPT: Duration = Duration::from_mins(15);

/// How long the first poll waits for the end of a statement: what is fast needs no second one.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// How long a poll waits for something to tell, at most.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The polled statements of a server.
pub(crate) struct Polls {
    disk: Arc<DiskManager>,
    room: Arc<Room>,
    polled: Arc<List>,
}

/// By query id.
#[derive(Default)]
struct List {
    /// Never held over an await, nor while a result is dropped, which removes a file.
    polled: Mutex<HashMap<String, Arc<Polled>>>,
}

/// A statement that is polled.
pub(crate) struct Polled {
    pub(crate) query: Arc<Query>,
    /// Of the first poll.
    pub(crate) descriptor: FlightDescriptor,
    /// What the tickets of its result carry.
    pub(crate) statement: SignedStatement,
    phase: watch::Receiver<Phase>,
    /// Set before the phase is `Finished`. Its file goes with the statement, unless it is being read.
    result: OnceLock<Arc<Spool>>,
    /// Whether the client knows that it has ended.
    is_told: AtomicBool,
    started: SystemTime,
}

/// How far a polled statement is.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Planning,
    Running { schema: SchemaRef },
    Finished { schema: SchemaRef, expires: SystemTime },
    Failed(Status),
}

impl Phase {
    fn is_over(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Failed(_))
    }
}

impl Polls {
    pub(crate) fn new(disk: &Arc<DiskManager>) -> Self {
        let room = Arc::new(Room::new(disk.max_temp_directory_size()));
        Self { disk: Arc::clone(disk), room, polled: Arc::default() }
    }

    /// Starts a statement, which goes on when this has returned.
    ///
    /// # Errors
    /// `TooManyPolled` — as many of the tenant's run.
    pub(crate) fn start(
        &self,
        runtime: &QueryRuntime,
        context: QueryContext,
        descriptor: FlightDescriptor,
        statement: SignedStatement,
        mut running: Running,
    ) -> Result<Arc<Polled>> {
        let query = Arc::clone(running.query());
        let (sender, phase) = watch::channel(Phase::Planning);
        let polled = Arc::new(Polled {
            query: Arc::clone(&query),
            descriptor,
            statement: statement.clone(),
            phase,
            result: OnceLock::new(),
            is_told: AtomicBool::new(false),
            started: SystemTime::now(),
        });
        running.note(self.polled.insert(&polled))?;
        let filler = Filler {
            query: Arc::clone(&query),
            disk: Arc::clone(&self.disk),
            share: self.room.share(&query.tenant),
            list: Arc::clone(&self.polled),
            phases: sender.clone(),
        };
        let filled = runtime.run_until(&query.stop, filler.fill(context.of_query(&query), statement));
        let (all, this) = (Arc::clone(&self.polled), Arc::downgrade(&polled));
        tokio::spawn(async move {
            let result = filled.await;
            running.end(&result);
            let phase = match result {
                Ok((schema, spool)) => {
                    if let Some(polled) = this.upgrade() {
                        // Nothing else sets it.
                        let _ = polled.result.set(spool);
                    }
                    Phase::Finished { schema, expires: SystemTime::now() + KEPT }
                }
                Err(error) => Phase::Failed(status(&error)),
            };
            sender.send_replace(phase);
            tokio::select! {
                () = sleep(KEPT) => {}
                // It was cancelled, or gave way to another.
                () = sender.closed() => {}
            }
            all.remove(&query.id, |polled| Weak::ptr_eq(&this, &Arc::downgrade(polled)));
        });
        Ok(polled)
    }

    /// The polled statement of that query, if it is the caller's.
    pub(crate) fn of(&self, principal: &Principal, query_id: &str) -> Option<Arc<Polled>> {
        let polled = self.polled.lock().get(query_id).map(Arc::clone)?;
        let is_own =
            polled.query.tenant == *principal.tenant() && polled.query.subject == principal.subject();
        is_own.then_some(polled)
    }

    /// Forgets a query, and its result.
    pub(crate) fn forget(&self, tenant: &TenantId, query_id: &str) {
        self.polled.remove(query_id, |polled| polled.query.tenant == *tenant);
    }

    /// The same for a caller who knows an id and has no ticket. Whether there was one that it may cancel.
    pub(crate) fn forget_visible(&self, principal: &Principal, query_id: &str) -> bool {
        self.polled.remove(query_id, |polled| polled.query.is_visible_to(principal))
    }

    /// Polls that wait for something to tell.
    #[cfg(test)]
    pub(crate) fn num_waiting(&self) -> usize {
        // One hold is the list's.
        self.polled.lock().values().map(|polled| Arc::strong_count(polled) - 1).sum()
    }
}

impl List {
    /// # Errors
    /// `TooManyPolled` — no other of the tenant gives way.
    fn insert(&self, polled: &Arc<Polled>) -> Result<()> {
        let mut all = self.lock();
        let of_tenant = all.values().filter(|other| other.query.tenant == polled.query.tenant);
        let evicted = if of_tenant.count() < MAX_POLLED {
            None
        } else {
            Some(evict(&mut all, &polled.query.tenant).ok_or(Error::TooManyPolled { limit: MAX_POLLED })?)
        };
        all.insert(polled.query.id.clone(), Arc::clone(polled));
        drop(all);
        drop(evicted);
        Ok(())
    }

    /// Whether there was one that could give way.
    fn make_room(&self, tenant: &TenantId) -> bool {
        let evicted = evict(&mut self.lock(), tenant);
        evicted.is_some()
    }

    /// Removes the one of that id if it is the one that is meant. Whether it was.
    fn remove(&self, query_id: &str, is_meant: impl Fn(&Arc<Polled>) -> bool) -> bool {
        let mut all = self.lock();
        let removed = if all.get(query_id).is_some_and(is_meant) { all.remove(query_id) } else { None };
        drop(all);
        removed.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Polled>>> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the oldest of a tenant off the list whose end the client knows of: others it will ask for.
fn evict(all: &mut HashMap<String, Arc<Polled>>, tenant: &TenantId) -> Option<Arc<Polled>> {
    let told = all.values().filter(|polled| polled.query.tenant == *tenant && polled.is_told());
    let oldest = told.min_by_key(|polled| polled.started)?.query.id.clone();
    all.remove(&oldest)
}

impl Polled {
    /// How far it is, after a short wait for its schema and its end.
    pub(crate) async fn first_look(&self, wait: Duration) -> Phase {
        let mut phase = self.phase.clone();
        let _ = timeout(wait, phase.wait_for(|phase| !matches!(phase, Phase::Planning))).await;
        self.look(FIRST_WAIT.min(wait)).await
    }

    /// How far it is once it has ended, or after `wait`.
    pub(crate) async fn look(&self, wait: Duration) -> Phase {
        let mut phase = self.phase.clone();
        let _ = timeout(wait, phase.wait_for(Phase::is_over)).await;
        phase.borrow().clone()
    }

    /// Its result, once there is one.
    pub(crate) fn result(&self) -> Option<Arc<Spool>> {
        self.result.get().map(Arc::clone)
    }

    /// Notes that the client is told of the end, after which it may give way to others.
    pub(crate) fn tell(&self) {
        self.is_told.store(true, Ordering::Relaxed);
    }

    fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }
}

/// What a result is, message by message. Each is a step of the query, which ends with it.
pub(crate) fn stream(runtime: &QueryRuntime, query: &Arc<Query>, result: Arc<Spool>) -> Produced<FlightData> {
    let (query, stop) = (Arc::clone(query), query.stop.clone());
    // On the query threads: who does not read must not keep the file for ever.
    runtime.produce(&stop, |sender| async move {
        let mut messages = spool::messages(result).await?;
        while let Some(message) = messages.try_next().await? {
            query.sends_rows(spool::num_rows(&message));
            if !sender.send(message).await {
                break;
            }
        }
        Ok(())
    })
}

/// Runs a statement into a file.
struct Filler {
    query: Arc<Query>,
    disk: Arc<DiskManager>,
    share: Share,
    list: Arc<List>,
    phases: watch::Sender<Phase>,
}

impl Filler {
    async fn fill(
        mut self,
        context: QueryContext,
        statement: SignedStatement,
    ) -> Result<(SchemaRef, Arc<Spool>)> {
        let planned = Box::pin(planned(context, &statement)).await?;
        if planned.is_update() {
            return Err(Error::PolledUpdate);
        }
        let mut rows = Box::pin(Rows::of(planned, &statement, Arc::clone(&self.query))).await?;
        let schema = Arc::clone(&rows.schema);
        self.phases.send_replace(Phase::Running { schema: Arc::clone(&schema) });
        let mut writer = SpoolWriter::create(&self.disk)?;
        let mut next = Some(vec![rows.schema_message()]);
        while let Some(messages) = next {
            self.take_room(messages.iter().map(spool::size).sum())?;
            let bytes = messages.iter().map(|message| message.data_header.len() + message.data_body.len());
            self.query.sent_bytes(bytes.sum());
            writer = writer.write(messages).await?;
            next = rows.next().await?;
        }
        Ok((schema, Arc::new(writer.finish(self.share).await?)))
    }

    fn take_room(&mut self, bytes: u64) -> Result<()> {
        while let Err(error) = self.share.grow(bytes) {
            if !self.list.make_room(&self.query.tenant) {
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
