//! Losses on record: acknowledged rows that cannot be read back.

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::Catalog;
use crate::{Error, Result, SequenceNumber, Signal, TenantNumber, TimeRange};

/// Losses that are listed; a disk that loses more has been found out long before.
const MAX_LISTED: u32 = 10_000;
const MILLISECOND_NS: i64 = 1_000_000;

const COLUMNS: &str =
    "id, first_seq, last_seq, source, detail, tenant_number, signal, num_rows, min_timestamp, max_timestamp,
                       CAST(round(unixepoch(created_at, 'subsec') * 1000) AS INTEGER),
                       CAST(round(unixepoch(acknowledged_at, 'subsec') * 1000) AS INTEGER), note";

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

/// A loss that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedLoss {
    /// Rises with each loss; none ever goes.
    pub id: u64,
    pub loss: DataLoss,
    /// None until an operator says that they know of it.
    pub acknowledgement: Option<Acknowledgement>,
}

/// What an operator said of a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Units: nanoseconds since the Unix epoch, kept to the millisecond.
    pub at_ns: i64,
    /// For operators, like all that names more than one tenant.
    pub note: Option<String>,
}

impl Catalog {
    /// Puts losses on record, each once: a start that was interrupted finds the same ones again. Returns those that were not on
    /// record, as they are there.
    ///
    /// Durable: the record survives power loss when this returns. It is one COMMIT.
    pub fn record_data_losses(&self, losses: &[DataLoss]) -> Result<Vec<RecordedLoss>> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut recorded = Vec::new();
        for loss in losses {
            recorded.extend(insert(&transaction, None, loss, None)?);
        }
        transaction.commit()?;
        Ok(recorded)
    }

    /// The recorded losses, oldest first.
    ///
    /// Bounds: ten thousand, of those that are not acknowledged before the others, and of the newest.
    pub fn data_losses(&self) -> Result<Vec<RecordedLoss>> {
        let connection = self.lock();
        let mut statement = connection.prepare(&format!(
            "SELECT * FROM (
                 SELECT {COLUMNS} FROM data_loss ORDER BY acknowledged_at IS NULL DESC, id DESC LIMIT ?1
             ) ORDER BY id"
        ))?;
        let mut rows = statement.query([MAX_LISTED])?;
        let mut losses = Vec::new();
        while let Some(row) = rows.next()? {
            losses.push(read_loss(row)?);
        }
        Ok(losses)
    }

    /// How many losses are not acknowledged, listed or not.
    pub fn num_unacknowledged_losses(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM data_loss WHERE acknowledged_at IS NULL";
        Ok(self.lock().query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// Says that an operator knows of these losses. Returns how many of them nobody knew of; the others stay as they are.
    ///
    /// Durable: when this returns.
    ///
    /// # Errors
    /// `UnknownLoss` — one of them is not on record; nothing was changed.
    pub fn acknowledge_losses(&self, ids: &[u64], note: Option<&str>) -> Result<usize> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut acknowledged = 0;
        for id in ids {
            let known = "SELECT EXISTS (SELECT 1 FROM data_loss WHERE id = ?1)";
            if !transaction.query_row(known, [id.cast_signed()], |row| row.get(0))? {
                return Err(Error::UnknownLoss { id: *id });
            }
            acknowledged += transaction.execute(
                "UPDATE data_loss SET acknowledged_at = strftime('%Y-%m-%dT%H:%M:%fZ'), note = ?2
                 WHERE id = ?1 AND acknowledged_at IS NULL",
                params![id.cast_signed(), note],
            )?;
        }
        transaction.commit()?;
        Ok(acknowledged)
    }

    /// [`Self::acknowledge_losses`] for all that are on record.
    pub fn acknowledge_all_losses(&self, note: Option<&str>) -> Result<usize> {
        Ok(self.lock().execute(
            "UPDATE data_loss SET acknowledged_at = strftime('%Y-%m-%dT%H:%M:%fZ'), note = ?1
             WHERE acknowledged_at IS NULL",
            [note],
        )?)
    }
}

/// Part of a transaction. Without an id it gets the next one. None if it is on record.
pub(super) fn insert(
    connection: &Connection,
    id: Option<u64>,
    loss: &DataLoss,
    acknowledgement: Option<&Acknowledgement>,
) -> Result<Option<RecordedLoss>> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO data_loss (id, first_seq, last_seq, source, detail, tenant_number, signal, num_rows,
                                min_timestamp, max_timestamp, created_at, acknowledged_at, note)
         SELECT ?1, ?2, ?3, ?4, ?5, (SELECT number FROM tenants WHERE number = ?6), ?7, ?8, ?9, ?10,
                strftime('%Y-%m-%dT%H:%M:%fZ', ?11 / 1000.0, 'unixepoch'),
                strftime('%Y-%m-%dT%H:%M:%fZ', ?12 / 1000.0, 'unixepoch'), ?13
         WHERE NOT EXISTS (SELECT 1 FROM data_loss
                           WHERE first_seq = ?2 AND last_seq = ?3 AND source = ?4 AND detail = ?5)
         RETURNING {COLUMNS}"
    ))?;
    let mut rows = statement.query(params![
        id.map(u64::cast_signed),
        loss.first_seq.0 as i64,
        loss.last_seq.0 as i64,
        loss.source,
        loss.detail,
        loss.tenant.map(|tenant| tenant.0),
        loss.signal.map(Signal::code),
        loss.num_rows.map(|rows| rows as i64),
        loss.timestamps.map(|times| times.min_ns),
        loss.timestamps.map(|times| times.max_ns),
        loss.found_ns.div_euclid(MILLISECOND_NS),
        acknowledgement.map(|acknowledgement| acknowledgement.at_ns.div_euclid(MILLISECOND_NS)),
        acknowledgement.and_then(|acknowledgement| acknowledgement.note.as_deref()),
    ])?;
    rows.next()?.map(read_loss).transpose()
}

fn read_loss(row: &Row<'_>) -> Result<RecordedLoss> {
    let nanos = |millis: i64| millis.saturating_mul(MILLISECOND_NS);
    let signal = match row.get::<_, Option<u8>>(6)? {
        None => None,
        Some(code) => Some(
            Signal::from_code(code)
                .ok_or_else(|| Error::InvalidRow { table: "data_loss", detail: format!("signal {code}") })?,
        ),
    };
    let times: (Option<i64>, Option<i64>) = (row.get(8)?, row.get(9)?);
    let loss = DataLoss {
        first_seq: SequenceNumber(row.get::<_, i64>(1)? as u64),
        last_seq: SequenceNumber(row.get::<_, i64>(2)? as u64),
        source: row.get(3)?,
        detail: row.get(4)?,
        found_ns: row.get::<_, Option<i64>>(10)?.map(nanos).unwrap_or_default(),
        tenant: row.get::<_, Option<_>>(5)?.map(TenantNumber),
        signal,
        num_rows: row.get::<_, Option<i64>>(7)?.map(|rows| rows as u64),
        timestamps: times.0.zip(times.1).map(|(min_ns, max_ns)| TimeRange { min_ns, max_ns }),
    };
    let (at_ns, note) = (row.get::<_, Option<i64>>(11)?.map(nanos), row.get(12)?);
    Ok(RecordedLoss {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        loss,
        acknowledgement: at_ns.map(|at_ns| Acknowledgement { at_ns, note }),
    })
}

#[cfg(test)]
mod tests;
