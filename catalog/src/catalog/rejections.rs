//! What ingest refused, as it survives a restart.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::Catalog;
use crate::{Error, Result, Signal, TenantId};

/// Refusals of one tenant and signal for one reason, within one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestRejection {
    /// Rises with each row that is made, over all tenants.
    pub id: u64,
    pub tenant: TenantId,
    pub signal: Signal,
    /// Units: nanoseconds since the Unix epoch, when the first of the requests arrived.
    pub first_ns: i64,
    /// The same of the last.
    pub last_ns: i64,
    pub reason: String,
    /// Records that were refused. Those of a request that was refused as a whole could not be counted.
    pub count: u64,
    pub requests: u64,
    /// The first refused record, as text.
    pub sample: Option<String>,
}

/// What [`Catalog::save_ingest_rejections`] is to change.
#[derive(Clone, Debug, Default)]
pub struct RejectionChanges {
    /// Rows that were added or changed, in any order.
    pub rows: Vec<Arc<IngestRejection>>,
    /// Of each tenant with such rows, the id of the oldest row that it keeps.
    pub oldest_of_tenant: HashMap<TenantId, u64>,
    /// The id of the oldest row that is kept of any tenant.
    pub oldest: u64,
}

impl Catalog {
    /// Every refusal on record, oldest first.
    pub fn ingest_rejections(&self) -> Result<Vec<IngestRejection>> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT id, tenant_id, signal, timestamp, last_timestamp, reason, count, requests, sample
             FROM ingest_rejections ORDER BY id",
        )?;
        let mut rows = statement.query([])?;
        let mut rejections = Vec::new();
        while let Some(row) = rows.next()? {
            rejections.push(read_rejection(row)?);
        }
        Ok(rejections)
    }

    /// Writes rows that changed and drops those that are no longer kept, atomically. Doing it again changes nothing.
    pub fn save_ingest_rejections(&self, changes: &RejectionChanges) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for rejection in &changes.rows {
            write_rejection(&transaction, rejection)?;
        }
        for (tenant, oldest) in &changes.oldest_of_tenant {
            transaction.execute(
                "DELETE FROM ingest_rejections WHERE tenant_id = ?1 AND id < ?2",
                params![tenant.as_str(), *oldest as i64],
            )?;
        }
        transaction.execute("DELETE FROM ingest_rejections WHERE id < ?1", [changes.oldest as i64])?;
        transaction.commit()?;
        Ok(())
    }
}

fn write_rejection(connection: &Connection, rejection: &IngestRejection) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO ingest_rejections
             (id, tenant_id, signal, timestamp, last_timestamp, reason, count, requests, sample)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute(params![
        rejection.id as i64,
        rejection.tenant.as_str(),
        rejection.signal.code(),
        rejection.first_ns,
        rejection.last_ns,
        rejection.reason,
        rejection.count as i64,
        rejection.requests as i64,
        rejection.sample,
    ])?;
    Ok(())
}

fn read_rejection(row: &Row<'_>) -> Result<IngestRejection> {
    let id = row.get::<_, i64>(0)? as u64;
    let signal: u8 = row.get(2)?;
    Ok(IngestRejection {
        id,
        tenant: row.get::<_, String>(1)?.parse()?,
        signal: Signal::from_code(signal).ok_or_else(|| Error::InvalidRow {
            table: "ingest_rejections",
            detail: format!("signal {signal} of row {id}"),
        })?,
        first_ns: row.get(3)?,
        last_ns: row.get(4)?,
        reason: row.get(5)?,
        count: row.get::<_, i64>(6)? as u64,
        requests: row.get::<_, i64>(7)? as u64,
        sample: row.get(8)?,
    })
}

#[cfg(test)]
mod tests;
