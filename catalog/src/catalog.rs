//! [`Catalog`]: tenants, data files and the flushed sequence number, in one SQLite database.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::{Error, Result, SequenceNumber, TenantId, TenantNumber};

mod data_loss;
mod deletions;
mod files;
mod integrity;
mod mark;
mod open;
mod rebuild;
mod rejections;
mod remote;
mod retention;
mod retry_window;
mod scrub;
mod user_tables;

mod migrations {
    refinery::embed_migrations!("migrations");
}

pub use data_loss::{Acknowledgement, DataLoss, RecordedLoss};
pub use deletions::{Deletion, NewDeletion};
pub use files::{DataFile, DeadFile, Tier};
use mark::MarkFile;
pub use rebuild::CatalogContents;
pub use rejections::{IngestRejection, RejectionChanges};
pub use remote::{BlockHashes, RemoteUpload};
pub use retention::{ClockRecord, RetentionPolicy};
pub use retry_window::{RetryWindowChange, RetryableBatch};
pub use scrub::ScrubPass;
pub use user_tables::{UserFile, UserTableChange, UserTableRecord};

/// The metadata store. All methods block on SQLite: call them from a thread that may block.
pub struct Catalog {
    /// Guards the one connection; held for one statement or transaction, never across an await.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// None of a catalog that is only looked at.
    mark: Option<MarkFile>,
    /// Changes of any kind that this connection has made, as of the last look.
    total_changes: u64,
}

/// The connection, for one statement or transaction. Its end brings the mark up to what was committed.
struct Locked<'a>(MutexGuard<'a, Inner>);

impl Deref for Locked<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0.connection
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0.connection
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Inner { connection, mark, total_changes } = &mut *self.0;
        let changes = connection.total_changes();
        if changes != *total_changes {
            *total_changes = changes;
            if let Some(mark) = mark {
                mark.follow(connection);
            }
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}

impl Catalog {
    /// The name of the database in a data directory.
    pub const FILE_NAME: &str = "catalog.db";

    /// The identity of this data directory, made once; WAL segments carry it.
    pub fn store_uuid(&self) -> Result<[u8; 16]> {
        Ok(self.lock().query_row("SELECT uuid FROM store", [], |row| row.get(0))?)
    }

    /// The last WAL entry that the log is no longer needed for: its rows and those of all earlier ones are in live data
    /// files, or their loss is on record.
    pub fn flushed_seq(&self) -> Result<SequenceNumber> {
        read_flushed_seq(&self.lock())
    }

    /// The number of a tenant, given out on first use and never changed.
    ///
    /// Durable: the number survives power loss when this returns.
    pub fn register_tenant(&self, tenant: &TenantId) -> Result<TenantNumber> {
        let connection = self.lock();
        if let Some(number) = find_tenant(&connection, tenant)? {
            return Ok(number);
        }
        connection
            .execute("INSERT INTO tenants (id) VALUES (?1) ON CONFLICT DO NOTHING", [tenant.as_str()])?;
        find_tenant(&connection, tenant)?.ok_or_else(|| Error::InvalidRow {
            table: "tenants",
            detail: format!("{tenant} is missing after its insertion"),
        })
    }

    /// All tenants, by number.
    pub fn tenants(&self) -> Result<Vec<(TenantNumber, TenantId)>> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT number, id FROM tenants ORDER BY number")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        rows.map(|row| {
            let (number, id) = row?;
            Ok((TenantNumber(number), id.parse()?))
        })
        .collect()
    }

    /// Makes flushed rows part of the store: inserts `files`, keeps the ids of their batches and moves the flushed sequence
    /// number, atomically.
    ///
    /// Durable: this COMMIT is the one point at which a flush happens. Before it the rows belong to the WAL, after
    /// it to the files; there is no state in between.
    ///
    /// A COMMIT that failed may have landed all the same. Done again with the same files, this finds so and is done.
    ///
    /// # Errors
    /// `AlreadyFlushed` — the rows of these entries are in other files already; nothing was changed.
    pub fn commit_flush(
        &self,
        files: &[DataFile],
        flushed_seq: SequenceNumber,
        retry_window: &RetryWindowChange,
    ) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = read_flushed_seq(&transaction)?;
        let first_seq = files.iter().map(|file| file.first_seq).min().unwrap_or(flushed_seq);
        if flushed_seq == before && !files.is_empty() && files::are_known(&transaction, files)? {
            return Ok(());
        }
        if flushed_seq < before || (!files.is_empty() && first_seq <= before) {
            return Err(Error::AlreadyFlushed { first_seq, flushed_seq: before });
        }
        for file in files {
            files::insert_file(&transaction, file)?;
        }
        retry_window.apply(&transaction, flushed_seq)?;
        transaction.execute("UPDATE store SET flushed_seq = ?1", [flushed_seq.0 as i64])?;
        transaction.commit()?;
        Ok(())
    }

    /// Asks `gate` before every COMMIT of this connection from here on; one that it refuses is rolled back and fails.
    ///
    /// For tests of what is built on the catalog: a crash at a COMMIT is a refusal of it and of all later ones. The gate is
    /// called with the connection locked, so it must not call the catalog.
    pub fn set_commit_gate(&self, mut gate: impl FnMut() -> bool + Send + 'static) -> Result<()> {
        Ok(self.lock().commit_hook(Some(move || !gate()))?)
    }

    fn lock(&self) -> Locked<'_> {
        // A panic while the lock was held rolled its transaction back; the connection itself stays sound.
        Locked(self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read_flushed_seq(connection: &Connection) -> Result<SequenceNumber> {
    let seq = connection.query_row("SELECT flushed_seq FROM store", [], |row| row.get::<_, i64>(0))?;
    Ok(SequenceNumber(seq as u64))
}

fn find_tenant(connection: &Connection, tenant: &TenantId) -> Result<Option<TenantNumber>> {
    let mut statement = connection.prepare_cached("SELECT number FROM tenants WHERE id = ?1")?;
    Ok(statement.query_row([tenant.as_str()], |row| row.get(0).map(TenantNumber)).optional()?)
}

#[cfg(test)]
mod tests;
