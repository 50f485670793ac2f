//! [`Catalog`]: tenants, data files and the flushed sequence number, in one SQLite database.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::{
    Error, FileId, Hour, Result, SequenceNumber, Signal, TenantId, TenantNumber, TimeRange, open_database,
};

mod rejections;
mod retry_window;

mod migrations {
    refinery::embed_migrations!("migrations");
}

pub use rejections::{IngestRejection, RejectionChanges};
pub use retry_window::{RetryWindowChange, RetryableBatch};

/// One Parquet file: rows of one tenant, one signal and one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    pub id: FileId,
    pub tenant: TenantNumber,
    pub signal: Signal,
    pub hour: Hour,
    pub num_rows: u64,
    pub size_bytes: u64,
    /// BLAKE3 of the whole file, cut to 128 bits.
    pub checksum: [u8; 16],
    /// Exact smallest and largest `timestamp`.
    pub timestamps: TimeRange,
    /// Exact smallest and largest `ingest_seq`.
    pub first_seq: SequenceNumber,
    pub last_seq: SequenceNumber,
    pub schema_version: u32,
}

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

    /// Every file that queries read.
    pub fn live_files(&self) -> Result<Vec<DataFile>> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT id, tenant_number, signal, hour, num_rows, size_bytes, checksum, min_timestamp, max_timestamp,
                    first_seq, last_seq, schema_version
             FROM files WHERE state = 'live' ORDER BY tenant_number, signal, hour, first_seq, id",
        )?;
        let mut rows = statement.query([])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            files.push(read_file(row)?);
        }
        Ok(files)
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
            insert_file(&transaction, file)?;
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

fn insert_file(connection: &Connection, file: &DataFile) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO files (id, tenant_number, signal, hour, num_rows, size_bytes, checksum, min_timestamp,
                            max_timestamp, first_seq, last_seq, schema_version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    statement.execute(params![
        file.id.to_string(),
        file.tenant.0,
        file.signal.code(),
        file.hour.0,
        file.num_rows as i64,
        file.size_bytes as i64,
        file.checksum,
        file.timestamps.min_ns,
        file.timestamps.max_ns,
        file.first_seq.0 as i64,
        file.last_seq.0 as i64,
        file.schema_version,
    ])?;
    Ok(())
}

fn read_file(row: &Row<'_>) -> Result<DataFile> {
    let id: String = row.get(0)?;
    let signal: u8 = row.get(2)?;
    let invalid = |detail: String| Error::InvalidRow { table: "files", detail };
    Ok(DataFile {
        id: FileId(u128::from_str_radix(&id, 16).map_err(|_| invalid(format!("id {id:?}")))?),
        tenant: TenantNumber(row.get(1)?),
        signal: Signal::from_code(signal).ok_or_else(|| invalid(format!("signal {signal} of file {id}")))?,
        hour: Hour(row.get(3)?),
        num_rows: row.get::<_, i64>(4)? as u64,
        size_bytes: row.get::<_, i64>(5)? as u64,
        checksum: row.get(6)?,
        timestamps: TimeRange { min_ns: row.get(7)?, max_ns: row.get(8)? },
        first_seq: SequenceNumber(row.get::<_, i64>(9)? as u64),
        last_seq: SequenceNumber(row.get::<_, i64>(10)? as u64),
        schema_version: row.get(11)?,
    })
}

#[cfg(test)]
mod tests;
