//! Drops files whose rows are all older than their table's policy.
//!
//! What a clock says decides here about data, and clocks jump. So retention works only while the clock goes steadily, and in
//! portions: a wrong clock is noticed, and put right, before much is gone.
//!
//! | file | purpose |
//! |---|---|
//! | `clock.rs` | whether the clock can be trusted; pure |

mod clock;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alula_catalog::{DataFile, RetentionPolicy, Signal, TenantNumber, now_ns};

use self::clock::{ClockGuard, Trust};
use super::{Pace, Step, Task};
use crate::store::Store;
use crate::{Result, RetentionConfig};

/// How often the clock is looked at, and put on record.
const CHECK_INTERVAL: Duration = Duration::from_mins(1);
/// How often a portion may be dropped.
const PORTION_INTERVAL: Duration = Duration::from_hours(1);
/// A portion is at most this part of all live bytes, or [`PORTION_HOURS`] of one table, whichever is more.
const PORTION_SHARE: f64 = 0.2;
const PORTION_HOURS: i64 = 2;
const HOUR_NS: i64 = 3_600_000_000_000;

/// The task.
#[derive(Debug)]
pub(crate) struct Retention {
    config: RetentionConfig,
    guard: Option<ClockGuard>,
    last_check: Option<Instant>,
    last_portion: Option<Instant>,
}

impl Retention {
    pub(crate) fn new(config: RetentionConfig) -> Self {
        Self { config, guard: None, last_check: None, last_portion: None }
    }

    /// A step at a given time of both clocks.
    fn step_at(&mut self, store: &Store, wall_ns: i64, now: Instant) -> Result<Step> {
        let record = store.catalog.clock_record()?;
        let guard = self.guard.get_or_insert_with(|| ClockGuard::new(record, now));
        let trust = guard.look(wall_ns, now, record.is_confirmed);
        store.catalog.save_clock(wall_ns, guard.hold_ns())?;
        if let Trust::Jumped { by_ns } = trust {
            tracing::error!(
                jump_s = by_ns / 1_000_000_000,
                hold_s = guard.hold_ns() / 1_000_000_000,
                "the clock jumped, or the server was off: nothing is dropped until the clock has gone steadily for a while; \
                 if it is right, `alula retention confirm` ends the wait"
            );
        }
        if guard.hold_ns() > 0 {
            return Ok(Step::Idle);
        }
        // Not from the catalog: that has the files of a flush before the snapshot does.
        let files: Vec<_> = store.buffer.snapshot().files().map(Arc::clone).collect();
        let policies = store.catalog.retention_policies()?;
        let expired = expired(&files, &policies, self.config, wall_ns);
        if expired.is_empty() {
            if record.is_confirmed {
                store.catalog.end_retention_confirmation()?;
            }
            return Ok(Step::Idle);
        }
        let dropped = if record.is_confirmed {
            expired.as_slice()
        } else {
            if self.last_portion.is_some_and(|at| now - at < PORTION_INTERVAL) {
                return Ok(Step::Idle);
            }
            self.last_portion = Some(now);
            portion(&files, &expired)
        };
        if dropped.len() < expired.len() {
            tracing::warn!(
                dropped = dropped.len(),
                waiting = expired.len() - dropped.len(),
                "more files are past their retention than are dropped at once; the rest follows by the hour, or at \
                 once after `alula retention confirm`"
            );
        }
        drop_files(store, dropped)?;
        Ok(Step::Worked)
    }
}

impl Task for Retention {
    fn name(&self) -> &'static str {
        "drop what is past its retention"
    }

    fn step(&mut self, store: &Store, _: &mut Pace) -> Result<Step> {
        let now = Instant::now();
        if self.last_check.is_some_and(|at| now - at < CHECK_INTERVAL) {
            return Ok(Step::Idle);
        }
        self.last_check = Some(now);
        self.step_at(store, now_ns(), now)
    }
}

/// Files of which no row is kept, oldest first.
fn expired<'a>(
    files: &'a [Arc<DataFile>],
    policies: &[RetentionPolicy],
    default: RetentionConfig,
    now_ns: i64,
) -> Vec<&'a DataFile> {
    let own: HashMap<(TenantNumber, Signal), Option<i64>> =
        policies.iter().map(|policy| ((policy.tenant, policy.signal), policy.keep_ns)).collect();
    let keep_ns = |file: &DataFile| match own.get(&(file.tenant, file.signal)) {
        Some(keep_ns) => *keep_ns,
        None => default.keep(file.signal).map(|keep| i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX)),
    };
    let is_expired = |file: &&DataFile| {
        keep_ns(file).is_some_and(|keep_ns| file.timestamps.max_ns < now_ns.saturating_sub(keep_ns))
    };
    let mut expired: Vec<_> = files.iter().map(Arc::as_ref).filter(is_expired).collect();
    expired.sort_by_key(|file| (file.timestamps.max_ns, file.id));
    expired
}

/// What may go at once, from the start of `expired`: see [`PORTION_SHARE`].
fn portion<'a, 'b>(files: &[Arc<DataFile>], expired: &'b [&'a DataFile]) -> &'b [&'a DataFile] {
    let bytes = |files: &mut dyn Iterator<Item = &DataFile>| files.map(|file| file.size_bytes).sum::<u64>();
    let most = (bytes(&mut files.iter().map(Arc::as_ref)) as f64 * PORTION_SHARE) as u64;
    let Some(first) = expired.first() else { return expired };
    let two_hours = first.timestamps.max_ns.div_euclid(HOUR_NS) + PORTION_HOURS;
    let mut sum = 0_u64;
    let end = expired.iter().position(|file| {
        sum = sum.saturating_add(file.size_bytes);
        sum > most && file.timestamps.max_ns.div_euclid(HOUR_NS) >= two_hours
    });
    &expired[..end.unwrap_or(expired.len())]
}

fn drop_files(store: &Store, files: &[&DataFile]) -> Result<()> {
    let ids = files.iter().map(|file| file.id).collect();
    let (num_files, num_rows) = (files.len(), files.iter().map(|file| file.num_rows).sum::<u64>());
    store.replace_files(ids, Vec::new())?;
    tracing::info!(num_files, num_rows, "dropped files that are past their retention");
    Ok(())
}

#[cfg(test)]
mod tests;
