//! Data files: which are part of the store, and which are on their way out of it.

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::Catalog;
use crate::{Error, FileId, Hour, Result, SequenceNumber, Signal, TenantNumber, TimeRange};

/// One Parquet file: rows of one tenant, one signal and one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    pub id: FileId,
    pub tenant: TenantNumber,
    pub signal: Signal,
    /// The first hour of the partition.
    pub hour: Hour,
    /// Hours of the partition: 1, or 24 for a UTC day.
    pub num_hours: u32,
    pub tier: Tier,
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
    /// No row of a deletion up to this one is in the file.
    pub deletions_applied: u64,
}

/// Where a data file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// In the data directory.
    Local,
    /// In the object store, under the same name.
    Remote,
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Local, Self::Remote].into_iter().find(|tier| tier.as_str() == text)
    }
}

/// A file that no query reads any more, and when it was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadFile {
    pub file: DataFile,
    /// Units: seconds since the Unix epoch.
    pub dead_at_s: i64,
}

const COLUMNS: &str = "id, tenant_number, signal, hour, num_hours, tier, num_rows, size_bytes, checksum, min_timestamp, \
                       max_timestamp, first_seq, last_seq, schema_version, deletions_applied";

impl Catalog {
    /// Every file that queries read.
    pub fn live_files(&self) -> Result<Vec<DataFile>> {
        let connection = self.lock();
        let mut statement = connection.prepare(&format!(
            "SELECT {COLUMNS} FROM files WHERE state = 'live' ORDER BY tenant_number, signal, hour, first_seq, id"
        ))?;
        let mut rows = statement.query([])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            files.push(read_file(row)?);
        }
        Ok(files)
    }

    /// Every file that is no part of the store any more and may still exist.
    pub fn dead_files(&self) -> Result<Vec<DeadFile>> {
        let connection = self.lock();
        let mut statement = connection.prepare(&format!(
            "SELECT {COLUMNS}, unixepoch(dead_at) FROM files WHERE state = 'dead' ORDER BY dead_at, id"
        ))?;
        let mut rows = statement.query([])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            let dead_at_s = row.get::<_, Option<i64>>(15)?.unwrap_or_default();
            files.push(DeadFile { file: read_file(row)?, dead_at_s });
        }
        Ok(files)
    }

    /// Takes `dead` out of the store and puts `live` in, atomically.
    ///
    /// Durable: this COMMIT is the one point at which a compaction or a retention happens.
    ///
    /// # Errors
    /// `NotLive` — one of `dead` is not part of the store; nothing was changed.
    pub fn replace_files(&self, dead: &[FileId], live: &[DataFile]) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut bury = transaction.prepare_cached(
                "UPDATE files SET state = 'dead', dead_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = ?1 AND state = 'live'",
            )?;
            for id in dead {
                if bury.execute([id.to_string()])? != 1 {
                    return Err(Error::NotLive { file: *id });
                }
            }
        }
        for file in live {
            insert_file(&transaction, file)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Makes sure that a COMMIT which was reported as failed stays undone.
    ///
    /// SQLite may have written all of it to its log before the sync failed. It does not count in this process, but the next
    /// one would read it there. A COMMIT that succeeds is written in its place.
    pub fn bury_failed_commit(&self) -> Result<()> {
        self.lock().execute("UPDATE store SET flushed_seq = flushed_seq", [])?;
        Ok(())
    }

    /// Drops the rows of dead files that are gone from the tier that they were in.
    ///
    /// One that has moved since keeps its row: what is gone is its former copy.
    pub fn forget_files(&self, files: &[(FileId, Tier)]) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (id, tier) in files {
            transaction.execute(
                "DELETE FROM files WHERE id = ?1 AND tier = ?2 AND state = 'dead'",
                params![id.to_string(), tier.as_str()],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }
}

pub(super) fn insert_file(connection: &Connection, file: &DataFile) -> Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO files ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
    ))?;
    statement.execute(params![
        file.id.to_string(),
        file.tenant.0,
        file.signal.code(),
        file.hour.0,
        file.num_hours,
        file.tier.as_str(),
        file.num_rows as i64,
        file.size_bytes as i64,
        file.checksum,
        file.timestamps.min_ns,
        file.timestamps.max_ns,
        file.first_seq.0 as i64,
        file.last_seq.0 as i64,
        file.schema_version,
        file.deletions_applied as i64,
    ])?;
    Ok(())
}

/// Whether the catalog has each of these files, whatever became of it since.
pub(super) fn are_known(connection: &Connection, files: &[DataFile]) -> Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM files WHERE id = ?1 AND checksum = ?2)")?;
    for file in files {
        if !statement.query_row(params![file.id.to_string(), file.checksum], |row| row.get(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_file(row: &Row<'_>) -> Result<DataFile> {
    let id: String = row.get(0)?;
    let signal: u8 = row.get(2)?;
    let tier: String = row.get(5)?;
    let invalid = |detail: String| Error::InvalidRow { table: "files", detail };
    Ok(DataFile {
        id: parse_file_id(&id)?,
        tenant: TenantNumber(row.get(1)?),
        signal: Signal::from_code(signal).ok_or_else(|| invalid(format!("signal {signal} of file {id}")))?,
        hour: Hour(row.get(3)?),
        num_hours: row.get(4)?,
        tier: parse_tier(&tier, &id)?,
        num_rows: row.get::<_, i64>(6)? as u64,
        size_bytes: row.get::<_, i64>(7)? as u64,
        checksum: row.get(8)?,
        timestamps: TimeRange { min_ns: row.get(9)?, max_ns: row.get(10)? },
        first_seq: SequenceNumber(row.get::<_, i64>(11)? as u64),
        last_seq: SequenceNumber(row.get::<_, i64>(12)? as u64),
        schema_version: row.get(13)?,
        deletions_applied: row.get::<_, i64>(14)? as u64,
    })
}

pub(super) fn parse_file_id(text: &str) -> Result<FileId> {
    let id = u128::from_str_radix(text, 16);
    id.map(FileId).map_err(|_| Error::InvalidRow { table: "files", detail: format!("id {text:?}") })
}

pub(super) fn parse_tier(text: &str, file: &str) -> Result<Tier> {
    Tier::parse(text)
        .ok_or_else(|| Error::InvalidRow { table: "files", detail: format!("tier {text:?} of file {file}") })
}

#[cfg(test)]
pub(super) mod tests;
