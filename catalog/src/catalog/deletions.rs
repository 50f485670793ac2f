//! Deletions: which rows must not be shown any more.

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::Catalog;
use crate::{Error, Result, SequenceNumber, Signal, TenantNumber};

/// Completed deletions that are kept of a table, for the record.
const KEPT_COMPLETED: i64 = 1_000;

/// A deletion that is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeletion {
    pub tenant: TenantNumber,
    pub signal: Signal,
    /// SQL text: a condition on the columns of the table.
    pub predicate: String,
    /// Rows of later entries are not concerned.
    pub last_seq: SequenceNumber,
    /// Rows that were deleted by it and by no earlier one.
    pub num_rows: u64,
    /// Who asked for it.
    pub requested_by: String,
}

/// A recorded deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Rises with each deletion, over all tables, and is never given out again.
    pub id: u64,
    pub request: NewDeletion,
    /// Units: nanoseconds since the Unix epoch, to the millisecond.
    pub created_ns: i64,
    /// The same, of when no file had such a row any more.
    pub completed_ns: Option<i64>,
}

impl Catalog {
    /// Every deletion on record, oldest first: all that are pending, and the latest completed ones.
    pub fn deletions(&self) -> Result<Vec<Deletion>> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT id, tenant_number, signal, predicate, last_seq, num_rows, requested_by,
                    CAST(round(unixepoch(created_at, 'subsec') * 1000) AS INTEGER),
                    CAST(round(unixepoch(completed_at, 'subsec') * 1000) AS INTEGER)
             FROM deletions ORDER BY id",
        )?;
        let mut rows = statement.query([])?;
        let mut deletions = Vec::new();
        while let Some(row) = rows.next()? {
            deletions.push(read_deletion(row)?);
        }
        Ok(deletions)
    }

    /// Puts a deletion on record. Returns its id.
    ///
    /// Durable: this COMMIT is the one point at which a deletion happens.
    pub fn add_deletion(&self, deletion: &NewDeletion) -> Result<u64> {
        let connection = self.lock();
        connection.execute(
            "INSERT INTO deletions (tenant_number, signal, predicate, last_seq, num_rows, requested_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                deletion.tenant.0,
                deletion.signal.code(),
                deletion.predicate,
                deletion.last_seq.0 as i64,
                deletion.num_rows as i64,
                deletion.requested_by,
            ],
        )?;
        Ok(connection.last_insert_rowid() as u64)
    }

    /// Says that no live file has a row of these deletions any more. Returns how many of them that can be true of: the rows of
    /// the others may be in the log alone, and come out of it later.
    pub fn complete_deletions(&self, ids: &[u64]) -> Result<usize> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut completed = 0;
        for id in ids {
            completed += transaction.execute(
                "UPDATE deletions SET completed_at = strftime('%Y-%m-%dT%H:%M:%fZ')
                 WHERE id = ?1 AND completed_at IS NULL AND last_seq <= (SELECT flushed_seq FROM store)",
                [*id as i64],
            )?;
        }
        drop_oldest_completed(&transaction)?;
        transaction.commit()?;
        Ok(completed)
    }
}

fn drop_oldest_completed(connection: &Connection) -> Result<()> {
    connection.execute(
        "DELETE FROM deletions WHERE id IN (
             SELECT id FROM (
                 SELECT id, row_number() OVER (PARTITION BY tenant_number, signal ORDER BY id DESC) AS age
                 FROM deletions WHERE completed_at IS NOT NULL)
             WHERE age > ?1)",
        [KEPT_COMPLETED],
    )?;
    Ok(())
}

fn read_deletion(row: &Row<'_>) -> Result<Deletion> {
    let id = row.get::<_, i64>(0)? as u64;
    let signal: u8 = row.get(2)?;
    let nanos = |millis: i64| millis.saturating_mul(1_000_000);
    Ok(Deletion {
        id,
        request: NewDeletion {
            tenant: TenantNumber(row.get(1)?),
            signal: Signal::from_code(signal).ok_or_else(|| Error::InvalidRow {
                table: "deletions",
                detail: format!("signal {signal} of deletion {id}"),
            })?,
            predicate: row.get(3)?,
            last_seq: SequenceNumber(row.get::<_, i64>(4)? as u64),
            num_rows: row.get::<_, i64>(5)? as u64,
            requested_by: row.get(6)?,
        },
        created_ns: nanos(row.get(7)?),
        completed_ns: row.get::<_, Option<i64>>(8)?.map(nanos),
    })
}

#[cfg(test)]
mod tests;
