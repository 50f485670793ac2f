//! Losses on record: acknowledged rows that cannot be read back.

use rusqlite::{Connection, Row, params};

use super::Catalog;
use crate::{Error, Result, SequenceNumber, Signal, TenantNumber, TimeRange};

/// The newest losses that are listed; a disk that loses more has been found out long before.
const MAX_LISTED: u32 = 10_000;
const MILLISECOND_NS: i64 = 1_000_000;

/// Acknowledged entries that could not be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataLoss {
    /// Both ends are included.
    pub first_seq: SequenceNumber,
    pub last_seq: SequenceNumber,
    /// Where they had been: a file name inside the data directory.
    pub source: String,
    pub detail: String,
    /// Units: nanoseconds since the Unix epoch, kept to the millisecond.
    pub found_ns: i64,
    /// What is not known is None: of a damaged stretch of the log it is often only the sequence numbers.
    pub tenant: Option<TenantNumber>,
    pub signal: Option<Signal>,
    pub num_rows: Option<u64>,
    pub timestamps: Option<TimeRange>,
}

impl Catalog {
    /// Puts a loss on record, once: a start that was interrupted finds the same loss again. False if it is on record.
    ///
    /// Durable: the record survives power loss when this returns.
    pub fn record_data_loss(&self, loss: &DataLoss) -> Result<bool> {
        insert(&self.lock(), loss)
    }

    /// The recorded losses, oldest first.
    ///
    /// Bounds: the newest ten thousand.
    pub fn data_losses(&self) -> Result<Vec<DataLoss>> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT * FROM (
                 SELECT first_seq, last_seq, source, detail, tenant_number, signal, num_rows, min_timestamp,
                        max_timestamp, CAST(round(unixepoch(created_at, 'subsec') * 1000) AS INTEGER), id
                 FROM data_loss ORDER BY id DESC LIMIT ?1
             ) ORDER BY id",
        )?;
        let mut rows = statement.query([MAX_LISTED])?;
        let mut losses = Vec::new();
        while let Some(row) = rows.next()? {
            losses.push(read_loss(row)?);
        }
        Ok(losses)
    }
}

/// Part of a transaction, or one of its own.
pub(super) fn insert(connection: &Connection, loss: &DataLoss) -> Result<bool> {
    let inserted = connection.execute(
            "INSERT INTO data_loss (first_seq, last_seq, source, detail, created_at, tenant_number, signal, num_rows,
                                    min_timestamp, max_timestamp)
             SELECT ?1, ?2, ?3, ?4, strftime('%Y-%m-%dT%H:%M:%fZ', ?5 / 1000.0, 'unixepoch'),
                    (SELECT number FROM tenants WHERE number = ?6), ?7, ?8, ?9, ?10
             WHERE NOT EXISTS (SELECT 1 FROM data_loss
                               WHERE (first_seq, last_seq, source, detail) = (?1, ?2, ?3, ?4))",
            params![
                loss.first_seq.0 as i64,
                loss.last_seq.0 as i64,
                loss.source,
                loss.detail,
                loss.found_ns.div_euclid(MILLISECOND_NS),
                loss.tenant.map(|tenant| tenant.0),
                loss.signal.map(Signal::code),
                loss.num_rows.map(|rows| rows as i64),
                loss.timestamps.map(|times| times.min_ns),
                loss.timestamps.map(|times| times.max_ns),
            ],
        )?;
    Ok(inserted > 0)
}

fn read_loss(row: &Row<'_>) -> Result<DataLoss> {
    let signal = match row.get::<_, Option<u8>>(5)? {
        None => None,
        Some(code) => Some(
            Signal::from_code(code)
                .ok_or_else(|| Error::InvalidRow { table: "data_loss", detail: format!("signal {code}") })?,
        ),
    };
    let times: (Option<i64>, Option<i64>) = (row.get(7)?, row.get(8)?);
    Ok(DataLoss {
        first_seq: SequenceNumber(row.get::<_, i64>(0)? as u64),
        last_seq: SequenceNumber(row.get::<_, i64>(1)? as u64),
        source: row.get(2)?,
        detail: row.get(3)?,
        found_ns: row.get::<_, Option<i64>>(9)?.unwrap_or_default().saturating_mul(MILLISECOND_NS),
        tenant: row.get::<_, Option<_>>(4)?.map(TenantNumber),
        signal,
        num_rows: row.get::<_, Option<i64>>(6)?.map(|rows| rows as u64),
        timestamps: times.0.zip(times.1).map(|(min_ns, max_ns)| TimeRange { min_ns, max_ns }),
    })
}

#[cfg(test)]
mod tests;
