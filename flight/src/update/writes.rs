//! [`Writes`]: what the statements of one transaction have written: tables of the tenant's own, and rows of telemetry.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alula_catalog::TenantId;
use alula_storage::{Storage, UserTables, UserTransaction};
use tokio::sync::MutexGuard as TurnGuard;

use super::target::Failed;
use crate::backfill::{Backfiller, KeptRows};
use crate::{Error, Result};

/// The writes of a transaction, one statement after the other.
pub(crate) struct Writes {
    /// None once the transaction has ended, or a statement left it in pieces. Held for as long as a statement writes.
    open: tokio::sync::Mutex<Option<Open>>,
    /// The tables as its next statement sees them; held for a copy.
    tables: Mutex<Arc<UserTables>>,
}

/// What a transaction that can be committed has written.
struct Open {
    transaction: UserTransaction,
    rows: KeptRows,
}

impl Writes {
    pub(crate) fn begin(storage: &Storage, tenant: &TenantId) -> Self {
        let transaction = storage.begin_user_transaction(tenant);
        let tables = Mutex::new(Arc::clone(transaction.tables()));
        let open = Open { transaction, rows: KeptRows::default() };
        Self { open: tokio::sync::Mutex::new(Some(open)), tables }
    }

    /// The tables as the transaction sees them.
    pub(crate) fn tables(&self) -> Arc<UserTables> {
        Arc::clone(&self.lock())
    }

    /// Waits until no other statement of the transaction writes.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn { open: self.open.lock().await, writes: self }
    }

    /// Makes all of it happen: first the tables, which another transaction may have changed, then the rows of telemetry.
    ///
    /// Durable: when this returns.
    ///
    /// # Errors
    /// `LostWrites` — there is nothing whole to commit. `Storage` — `Conflict` among them; nothing happened. As of
    /// [`Backfill::append`](crate::Backfill::append): the tables are committed, and `StoredInPart` says how many of the rows.
    pub(crate) async fn commit(&self, tenant: &TenantId, backfiller: &Backfiller) -> Result<()> {
        let Open { transaction, rows } = self.open.lock().await.take().ok_or(Error::LostWrites)?;
        transaction.commit().await?;
        backfiller.commit(tenant, rows).await
    }

    fn lock(&self) -> MutexGuard<'_, Arc<UserTables>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of one statement to write. One that ends without [`Self::settle`], in the middle of its work, ends the
/// transaction: what a half-done statement left is not to be committed.
pub(crate) struct Turn<'a> {
    open: TurnGuard<'a, Option<Open>>,
    writes: &'a Writes,
}

impl Turn<'_> {
    /// # Errors
    /// `LostWrites` — the transaction has ended, or is in pieces.
    pub(crate) fn transaction(&mut self) -> Result<&mut UserTransaction> {
        self.open.as_mut().map(|open| &mut open.transaction).ok_or(Error::LostWrites)
    }

    /// The rows of telemetry that the transaction keeps.
    ///
    /// # Errors
    /// `LostWrites`.
    pub(crate) fn rows(&mut self) -> Result<&mut KeptRows> {
        self.open.as_mut().map(|open| &mut open.rows).ok_or(Error::LostWrites)
    }

    /// Lets the next statement see what this one did. One that did a part of its work ends the transaction.
    pub(crate) fn settle<T>(mut self, outcome: Result<T, Failed>) -> Result<T> {
        if outcome.as_ref().is_err_and(|failed| !failed.is_undone) {
            *self.open = None;
        }
        if let Some(open) = &*self.open {
            *self.writes.lock() = Arc::clone(open.transaction.tables());
        }
        outcome.map_err(|failed| failed.error)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let settled = self.writes.tables();
        if self.open.as_ref().is_some_and(|open| !Arc::ptr_eq(open.transaction.tables(), &settled)) {
            *self.open = None;
        }
    }
}

#[cfg(test)]
mod tests;
