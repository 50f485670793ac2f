//! [`Catalog`]: tenants, data files and the flushed sequence number, in one SQLite database.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::{Error, Result, SequenceNumber, TenantId, TenantNumber, open_database};

mod files;
mod rejections;
mod retention;
mod retry_window;

mod migrations {
    refinery::embed_migrations!("migrations");
}

pub use files::{DataFile, DeadFile, Tier};
pub use rejections::{IngestRejection, RejectionChanges};
pub use retention::{ClockRecord, RetentionPolicy};
pub use retry_window::{RetryWindowChange, RetryableBatch};

/// Acknowledged entries that could not be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataLoss {
    pub first_seq: SequenceNumber,
    pub last_seq: SequenceNumber,
    /// Where they had been: a file name inside the data directory.
    pub source: String,
    pub detail: String,
}

/// The metadata store. All methods block on SQLite: call them from a thread that may block.
pub struct Catalog {
    /// Guards the one connection; held for one statement or transaction, never across an await.
    connection: Mutex<Connection>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}

impl Catalog {
    /// The name of the database in a data directory.
    pub const FILE_NAME: &str = "catalog.db";

    /// Opens or creates the catalog at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let connection = open_database(path, migrations::migrations::runner())?;
        Ok(Self { connection: Mutex::new(connection) })
    }

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
    /// # Errors
    /// `AlreadyFlushed` — the rows of these entries are in files already; nothing was changed.
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

    /// Puts a loss on record, once: a start that was interrupted finds the same loss again.
    pub fn record_data_loss(&self, loss: &DataLoss) -> Result<()> {
        self.lock().execute(
            "INSERT INTO data_loss (first_seq, last_seq, source, detail) SELECT ?1, ?2, ?3, ?4
             WHERE NOT EXISTS (SELECT 1 FROM data_loss
                               WHERE (first_seq, last_seq, source, detail) = (?1, ?2, ?3, ?4))",
            params![loss.first_seq.0 as i64, loss.last_seq.0 as i64, loss.source, loss.detail],
        )?;
        Ok(())
    }

    /// Every recorded loss, oldest first.
    pub fn data_losses(&self) -> Result<Vec<DataLoss>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare("SELECT first_seq, last_seq, source, detail FROM data_loss ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            Ok(DataLoss {
                first_seq: SequenceNumber(row.get::<_, i64>(0)? as u64),
                last_seq: SequenceNumber(row.get::<_, i64>(1)? as u64),
                source: row.get(2)?,
                detail: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back; the connection itself stays sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
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
