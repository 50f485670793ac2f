//! How long rows are kept, and what is known about the clock that this is decided by.

use rusqlite::params;

use super::Catalog;
use crate::{Result, Signal, TenantNumber};

/// How long a table's rows are kept where that is not the server's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    pub tenant: TenantNumber,
    pub signal: Signal,
    /// None: for ever. Units: nanoseconds.
    pub keep_ns: Option<i64>,
}

/// What retention remembers of the clock between two processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockRecord {
    /// The last time that the clock said, in nanoseconds since the Unix epoch; 0 if it was never looked at.
    pub last_seen_ns: i64,
    /// How much longer it has to go steadily. Units: nanoseconds.
    pub hold_ns: i64,
    /// An operator said that the clock is right and everything that is due may go, and that has not happened yet.
    pub is_confirmed: bool,
}

impl Catalog {
    /// Every table with a policy of its own.
    pub fn retention_policies(&self) -> Result<Vec<RetentionPolicy>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare("SELECT tenant_number, signal, keep_ns FROM retention ORDER BY tenant_number, signal")?;
        let mut rows = statement.query([])?;
        let mut policies = Vec::new();
        while let Some(row) = rows.next()? {
            // A signal of a later version has no table here, so nothing to drop.
            if let Some(signal) = Signal::from_code(row.get(1)?) {
                policies.push(RetentionPolicy {
                    tenant: TenantNumber(row.get(0)?),
                    signal,
                    keep_ns: row.get(2)?,
                });
            }
        }
        Ok(policies)
    }

    pub fn set_retention(&self, policy: &RetentionPolicy) -> Result<()> {
        self.lock().execute(
            "INSERT INTO retention (tenant_number, signal, keep_ns) VALUES (?1, ?2, ?3)
             ON CONFLICT (tenant_number, signal) DO UPDATE SET keep_ns = excluded.keep_ns",
            params![policy.tenant.0, policy.signal.code(), policy.keep_ns],
        )?;
        Ok(())
    }

    /// The table follows the server's default again.
    pub fn unset_retention(&self, tenant: TenantNumber, signal: Signal) -> Result<()> {
        self.lock().execute(
            "DELETE FROM retention WHERE tenant_number = ?1 AND signal = ?2",
            params![tenant.0, signal.code()],
        )?;
        Ok(())
    }

    pub fn clock_record(&self) -> Result<ClockRecord> {
        let sql = "SELECT last_seen_ns, retention_hold_ns, retention_confirmed FROM store";
        Ok(self.lock().query_row(sql, [], |row| {
            Ok(ClockRecord { last_seen_ns: row.get(0)?, hold_ns: row.get(1)?, is_confirmed: row.get(2)? })
        })?)
    }

    pub fn save_clock(&self, last_seen_ns: i64, hold_ns: i64) -> Result<()> {
        self.lock().execute(
            "UPDATE store SET last_seen_ns = ?1, retention_hold_ns = ?2",
            params![last_seen_ns, hold_ns],
        )?;
        Ok(())
    }

    /// An operator says that the clock, which says `now_ns`, is right, and that everything that is due may go at once.
    pub fn confirm_retention(&self, now_ns: i64) -> Result<()> {
        self.lock().execute(
            "UPDATE store SET last_seen_ns = ?1, retention_hold_ns = 0, retention_confirmed = 1",
            [now_ns],
        )?;
        Ok(())
    }

    /// Everything that was due is gone.
    pub fn end_retention_confirmation(&self) -> Result<()> {
        self.lock().execute("UPDATE store SET retention_confirmed = 0", [])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
