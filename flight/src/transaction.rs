//! Transactions: statements that all see the rows of one instant.
//!
//! The id of a transaction is sealed and holds the last entry of the log that was acknowledged when it began. Every statement
//! in it sees the rows of the entries up to that one, on any server with the same key and as often as it is asked, less what
//! is deleted meanwhile. So reading needs no state on the server, and nobody has to end such a transaction.
//!
//! Of tables of the tenant's own there is only the latest state. The id says which one the transaction began with, and once
//! another one is committed its statements that need such tables fail.
//!
//! What a transaction writes is kept by the server process that began it until it is committed: `registry.rs`.
//!
//! A savepoint is sealed too. Reading is the same before and after it; rolling back to one is refused if the transaction has
//! written since.

mod registry;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use alula_auth::Principal;
use alula_catalog::{SequenceNumber, TenantId};
use alula_storage::UserTables;
use bytes::Bytes;
use prost::Message;

use crate::seal::{Owner, Seal, unix_seconds};
use crate::{Error, Result};

use registry::Registry;

/// How long statements can be run in a transaction.
pub(crate) const LIFETIME: Duration = Duration::from_hours(24);

/// The longest name of a savepoint.
const MAX_NAME_BYTES: usize = 255;

/// A transaction that was begun for the caller.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub(crate) struct Transaction {
    /// The server process that began it.
    #[prost(fixed64, tag = "1")]
    process: u64,
    /// Unique and rising in the process.
    #[prost(uint64, tag = "2")]
    number: u64,
    /// The last entry of the log that it sees.
    #[prost(uint64, tag = "3")]
    pub(crate) as_of: u64,
    /// Seconds since the Unix epoch.
    #[prost(uint64, tag = "4")]
    expires: u64,
    /// [`UserTables::fingerprint`] of the tables that it sees.
    #[prost(fixed64, tag = "5")]
    tables: u64,
}

impl Transaction {
    /// Whether these are the tables of the tenant's own as they were when it began.
    pub(crate) fn sees(&self, tables: &UserTables) -> bool {
        self.tables == tables.fingerprint()
    }

    fn is_expired(&self) -> bool {
        unix_seconds(SystemTime::now()) >= self.expires
    }
}

#[derive(Clone, PartialEq, Message)]
struct TransactionBody {
    #[prost(message, required, tag = "1")]
    owner: Owner,
    #[prost(message, required, tag = "2")]
    transaction: Transaction,
}

#[derive(Clone, PartialEq, Message)]
struct SavepointBody {
    #[prost(message, required, tag = "1")]
    owner: Owner,
    #[prost(message, required, tag = "2")]
    transaction: Transaction,
    /// How many statements of the transaction had written.
    #[prost(uint64, tag = "3")]
    num_writes: u64,
    #[prost(string, tag = "4")]
    name: String,
}

/// How a transaction or a savepoint is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Of a savepoint: released.
    Commit,
    Rollback,
}

/// Begins transactions, knows them again and ends them. `W` is what one has written.
pub(crate) struct Transactions<W> {
    seal: Seal,
    savepoints: Seal,
    process: u64,
    last_number: AtomicU64,
    registry: Registry<W>,
}

impl<W> Transactions<W> {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self {
            seal: Seal::new("alula flight 2026 transactions", secret),
            savepoints: Seal::new("alula flight 2026 savepoints", secret),
            // Different in every process; nobody gains by guessing it.
            process: RandomState::new().hash_one(SystemTime::now()),
            last_number: AtomicU64::new(0),
            registry: Registry::default(),
        }
    }

    /// The id of a new transaction that sees the entries up to `as_of`, and these tables of the tenant's own.
    pub(crate) fn begin(&self, principal: &Principal, as_of: SequenceNumber, tables: &UserTables) -> Bytes {
        let transaction = Transaction {
            process: self.process,
            number: self.last_number.fetch_add(1, Ordering::Relaxed) + 1,
            as_of: as_of.0,
            expires: unix_seconds(SystemTime::now() + LIFETIME),
            tables: tables.fingerprint(),
        };
        self.seal.seal(&TransactionBody { owner: Owner::new(principal, LIFETIME), transaction })
    }

    /// The transaction that a statement is to be run in.
    ///
    /// # Errors
    /// `UnknownTransaction` — forged, expired, ended or another caller's: all the same to a client. `LostWrites` — what it has
    /// written is gone.
    pub(crate) fn find(&self, principal: &Principal, id: &[u8]) -> Result<Transaction> {
        let transaction = self.open(principal, id)?;
        self.check(principal.tenant(), &transaction)?;
        Ok(transaction)
    }

    /// Whether a transaction that was found once can still be used.
    ///
    /// # Errors
    /// `UnknownTransaction` — it expired, or has ended on this server. `LostWrites` — what it has written is gone.
    pub(crate) fn check(&self, tenant: &TenantId, transaction: &Transaction) -> Result<()> {
        if transaction.is_expired() {
            return Err(Error::UnknownTransaction);
        }
        if self.is_own(transaction) { self.registry.check(tenant, transaction.number) } else { Ok(()) }
    }

    /// Ends a transaction. Gives what it has written, if that is to be kept.
    ///
    /// # Errors
    /// `UnknownTransaction` — forged, ended or another caller's. `LostWrites` — it cannot be committed: what it has written, if
    /// it has, is not here.
    pub(crate) fn end(&self, principal: &Principal, id: &[u8], ending: Ending) -> Result<Option<Arc<W>>> {
        let transaction = self.open(principal, id)?;
        if !self.is_own(&transaction) || transaction.is_expired() {
            // A driver that cannot go on without a rollback gets one.
            return if ending == Ending::Rollback { Ok(None) } else { Err(Error::LostWrites) };
        }
        let writes = self.registry.end(principal.tenant(), transaction.number, ending)?;
        Ok(writes.filter(|_| ending == Ending::Commit))
    }

    /// What a transaction has written, which [`Self::end`] gave, could not be committed.
    pub(crate) fn lose(&self, principal: &Principal, id: &[u8]) {
        if let Ok(transaction) = self.open(principal, id)
            && self.is_own(&transaction)
        {
            self.registry.lose(principal.tenant(), transaction.number);
        }
    }

    /// The id of a savepoint.
    ///
    /// # Errors
    /// As [`Self::find`]; `MalformedMessage` — its name is too long.
    pub(crate) fn begin_savepoint(&self, principal: &Principal, id: &[u8], name: String) -> Result<Bytes> {
        if name.len() > MAX_NAME_BYTES {
            let reason = format!("the name of the savepoint has more than {MAX_NAME_BYTES} bytes");
            return Err(Error::MalformedMessage { reason });
        }
        let transaction = self.find(principal, id)?;
        let num_writes = self.registry.num_writes(principal.tenant(), transaction.number);
        let owner = Owner::new(principal, LIFETIME);
        Ok(self.savepoints.seal(&SavepointBody { owner, transaction, num_writes, name }))
    }

    /// Releases a savepoint, or rolls back to it.
    ///
    /// # Errors
    /// `UnknownTransaction` — forged, another caller's, or its transaction cannot be used any more. `Unsupported` — there is
    /// something to roll back.
    pub(crate) fn end_savepoint(&self, principal: &Principal, id: &[u8], ending: Ending) -> Result<()> {
        let savepoint = self.savepoints.open::<SavepointBody>(id);
        let savepoint = savepoint.filter(|body| body.owner.is(principal)).ok_or(Error::UnknownTransaction)?;
        self.check(principal.tenant(), &savepoint.transaction)?;
        let num_writes = self.registry.num_writes(principal.tenant(), savepoint.transaction.number);
        if ending == Ending::Rollback && num_writes != savepoint.num_writes {
            let what = format!(
                "rolling back to savepoint {:?} after the transaction has written (roll back the transaction instead)",
                savepoint.name
            );
            return Err(Error::Unsupported { what });
        }
        Ok(())
    }

    /// What a transaction has written so far, for a statement that writes more; made by `make` for the first.
    ///
    /// # Errors
    /// `UnknownTransaction` — it has ended or expired. `LostWrites` — another process began it, or it was idle for too long.
    /// `TooManyTransactions` — this tenant has no room for another that writes. What `make` gives.
    pub(crate) fn write(
        &self,
        tenant: &TenantId,
        transaction: &Transaction,
        make: impl FnOnce() -> Result<W>,
    ) -> Result<Arc<W>> {
        self.check(tenant, transaction)?;
        if !self.is_own(transaction) {
            return Err(Error::LostWrites);
        }
        self.registry.write(tenant, transaction.number, make, Instant::now())
    }

    /// What a transaction has written so far, if anything and if it is here. While somebody has it the transaction is in use.
    pub(crate) fn written(&self, tenant: &TenantId, transaction: &Transaction) -> Option<Arc<W>> {
        self.is_own(transaction)
            .then(|| self.registry.written(tenant, transaction.number, Instant::now()))
            .flatten()
    }

    /// Lets go of what transactions have written that were not used for too long.
    pub(crate) fn reap(&self) {
        self.registry.reap(Instant::now());
    }

    fn open(&self, principal: &Principal, id: &[u8]) -> Result<Transaction> {
        let body = self.seal.open::<TransactionBody>(id).filter(|body| body.owner.is(principal));
        body.map(|body| body.transaction).ok_or(Error::UnknownTransaction)
    }

    fn is_own(&self, transaction: &Transaction) -> bool {
        transaction.process == self.process
    }
}

#[cfg(test)]
mod tests;
