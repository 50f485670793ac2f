//! Turns many small files into few large ones with the same rows.
//!
//! | file | purpose |
//! |---|---|
//! | `plan.rs` | which files become one, and what that costs at most; pure |
//! | `job.rs` | one compaction, from its inputs to the COMMIT |
//! | `merge.rs`, `input.rs`, `gather.rs` | sorted files into one sorted stream, in bounded memory |
//! | `tally.rs` | that the rows are the same |
//!
//! **Invariants**
//! - A file is replaced only by one that was read back from the disk and has the same rows.
//! - Files of different tenants, signals or days never become one.
//! - At most [`plan::MAX_INPUTS`] files are open, and what is written fits on the disk beside what it replaces.
//!
//! If compaction cannot keep up, the newest files come first and the others wait: queries get slower, and nothing else.
//! Files of the remote tier stay as they are, except that one with deleted rows is replaced by a local one.

mod gather;
mod input;
mod job;
mod merge;
mod plan;
mod tally;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alula_catalog::schema::SCHEMA_VERSION;
use alula_catalog::{DataFile, FileId, Signal, TenantNumber, Tier, now_ns};

use self::job::{Deletions, Failure, compact};
use self::plan::{CompactionPlan, Policy, plan};
use super::{Garbage, Pace, Step, Task};
use crate::buffer::{Snapshot, TableKey, TableSnapshot};
use crate::store::Store;
use crate::{CompactionConfig, Error, Result};

/// How long files are left alone after a failure that may pass.
const RETRY: Duration = Duration::from_mins(5);
/// Free bytes that a compaction leaves.
const SPARE_BYTES: u64 = 64 << 20;

/// Which tables a forced compaction is for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CompactionScope {
    /// None: all.
    pub tenant: Option<TenantNumber>,
    pub signal: Option<Signal>,
}

/// What a forced compaction found, and what it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionReport {
    pub before: FileTotals,
    /// Flushes go on meanwhile, and add files.
    pub after: FileTotals,
}

/// Files that queries read, of both tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTotals {
    pub num_files: u64,
    pub num_rows: u64,
    pub size_bytes: u64,
}

/// The task.
#[derive(Debug)]
pub(crate) struct Compaction {
    policy: Policy,
    scope: CompactionScope,
    /// Files that failed, until when they are left alone; none: until the next start.
    set_aside: HashMap<FileId, Option<Instant>>,
    /// The files that a forced compaction is about: what flushes add meanwhile would keep it going for ever.
    only: Option<HashSet<FileId>>,
}

/// What came of looking for work.
#[derive(Debug)]
enum Attempt {
    NothingDue,
    Replaced,
    Failed(Error),
}

impl Compaction {
    pub(crate) fn new(config: &CompactionConfig) -> Self {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let policy = Policy {
            cold_after_ns: nanos(config.cold_after),
            day_after_ns: nanos(config.day_after),
            target_bytes: config.target_bytes,
            is_forced: false,
        };
        Self { policy, scope: CompactionScope::default(), set_aside: HashMap::new(), only: None }
    }

    /// For [`compact_all`].
    fn forced(config: &CompactionConfig, scope: CompactionScope, snapshot: &Snapshot) -> Self {
        let mut compaction = Self::new(config);
        compaction.policy.is_forced = true;
        compaction.scope = scope;
        let files =
            snapshot.tables().filter(|(key, _)| scope.has(*key)).flat_map(|(_, table)| table.files.iter());
        compaction.only = Some(files.map(|file| file.id).collect());
        compaction
    }

    /// Does the most urgent compaction that is due.
    ///
    /// # Errors
    /// `Closed` — the engine is closing.
    fn attempt(&mut self, store: &Store, pace: &mut Pace, now_ns: i64) -> Result<Attempt> {
        let Some((plan, deletions)) = self.most_urgent(store, now_ns) else {
            return Ok(Attempt::NothingDue);
        };
        match compact(store, pace, &plan, &deletions) {
            Ok(output) => {
                if let (Some(only), Some(output)) = (&mut self.only, &output) {
                    only.insert(output.id);
                }
                let num_rows = output.as_ref().map_or(0, |file| file.num_rows);
                let size_bytes = output.as_ref().map_or(0, |file| file.size_bytes);
                tracing::debug!(
                    num_inputs = plan.inputs.len(),
                    input_bytes = plan.input_bytes(),
                    num_rows,
                    size_bytes,
                    "compacted files"
                );
                Ok(Attempt::Replaced)
            }
            Err(Failure { error, .. }) if matches!(*error, Error::Closed) => Err(Error::Closed),
            Err(Failure { error, blamed }) => {
                // Somebody waits for a forced one, which tries each file once.
                let passes = !self.policy.is_forced && !is_lasting(&error);
                let until = passes.then(|| Instant::now() + RETRY);
                self.set_aside.extend(blamed.into_iter().map(|file| (file, until)));
                Ok(Attempt::Failed(*error))
            }
        }
    }

    /// What is due and fits on the disk.
    fn most_urgent(&mut self, store: &Store, now_ns: i64) -> Option<(CompactionPlan, Deletions)> {
        let now = Instant::now();
        self.set_aside.retain(|_, until| until.is_none_or(|until| until > now));
        let free_bytes = store.layout.disk().free_bytes(store.layout.root()).unwrap_or(u64::MAX);
        let is_short = store.condition.is_short_of_space();
        let fits = |plan: &CompactionPlan| {
            (plan.is_deletion || !is_short) && free_bytes >= plan.input_bytes().saturating_add(SPARE_BYTES)
        };
        let snapshot = store.buffer.snapshot();
        let of_table = |(key, table): (TableKey, &Arc<TableSnapshot>)| {
            let plans = self.plans_of_table(key, table, now_ns);
            plans.into_iter().find(fits).map(|plan| (plan, key, Arc::clone(table)))
        };
        let tables = snapshot.tables().filter(|(key, _)| self.scope.has(*key));
        let (plan, key, table) = tables.filter_map(of_table).max_by_key(|(plan, _, _)| plan.urgency())?;
        match Deletions::of(&table, key.signal, &plan.inputs) {
            Ok(deletions) => Some((plan, deletions)),
            Err(error) => {
                tell_of_predicate(key, &error);
                None
            }
        }
    }

    fn plans_of_table(&self, key: TableKey, table: &TableSnapshot, now_ns: i64) -> Vec<CompactionPlan> {
        let is_ours = |file: &&Arc<DataFile>| {
            self.only.as_ref().is_none_or(|only| only.contains(&file.id))
                && file.schema_version == SCHEMA_VERSION
                && !self.set_aside.contains_key(&file.id)
        };
        let files: Vec<_> = table.files.iter().filter(is_ours).map(Arc::clone).collect();
        match Deletions::of(table, key.signal, &files) {
            Ok(deletions) => {
                let has_deletion = |file: &DataFile| deletions.touch(file);
                let (local, remote): (Vec<_>, Vec<_>) =
                    files.into_iter().partition(|file| file.tier == Tier::Local);
                let mut plans = plan(&local, &self.policy, now_ns, &has_deletion);
                for file in remote {
                    plans.extend(plan(&[file], &self.policy, now_ns, &has_deletion));
                }
                plans.sort_by_key(|plan| Reverse(plan.urgency()));
                plans
            }
            // Not even queries read such a table.
            Err(error) => {
                tell_of_predicate(key, &error);
                Vec::new()
            }
        }
    }
}

impl Task for Compaction {
    fn name(&self) -> &'static str {
        "compact files"
    }

    fn step(&mut self, store: &Store, pace: &mut Pace) -> Result<Step> {
        match self.attempt(store, pace, now_ns())? {
            Attempt::NothingDue => Ok(Step::Idle),
            Attempt::Replaced => Ok(Step::Worked),
            Attempt::Failed(error) if is_overtaken(&error) => Ok(Step::Worked),
            Attempt::Failed(error) if is_lasting(&error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "cannot compact files; they stay as they are until the next start");
                Ok(Step::Worked)
            }
            // The disk or the catalog failed, and may fail the next compaction as well.
            Attempt::Failed(error) => Err(error),
        }
    }
}

impl CompactionScope {
    fn has(self, key: TableKey) -> bool {
        self.tenant.is_none_or(|tenant| tenant == key.tenant)
            && self.signal.is_none_or(|signal| signal == key.signal)
    }
}

/// Compacts what there is to compact in some tables, be it cold or not, and completes their deletions.
///
/// # Errors
/// Of the first compaction that failed; the others are done all the same. `Closed` — the engine is closing.
pub(crate) fn compact_all(
    store: &Store,
    config: &CompactionConfig,
    scope: CompactionScope,
) -> Result<CompactionReport> {
    let mut compaction = Compaction::forced(config, scope, &store.buffer.snapshot());
    let before = totals(store, scope);
    // Somebody waits for it.
    let mut pace = Pace::new(1.0);
    let mut failed = None;
    loop {
        if store.is_stopping() {
            return Err(Error::Closed);
        }
        match compaction.attempt(store, &mut pace, now_ns())? {
            Attempt::NothingDue => break,
            // What was replaced would fill the disk otherwise.
            Attempt::Replaced => drop(Garbage::default().step(store, &mut pace)),
            Attempt::Failed(error) if is_overtaken(&error) => {}
            Attempt::Failed(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    let completed = store.complete_deletions();
    match failed {
        Some(error) => Err(error),
        None => completed.map(|_| CompactionReport { before, after: totals(store, scope) }),
    }
}

fn totals(store: &Store, scope: CompactionScope) -> FileTotals {
    let snapshot = store.buffer.snapshot();
    let files =
        snapshot.tables().filter(|(key, _)| scope.has(*key)).flat_map(|(_, table)| table.files.iter());
    files.fold(FileTotals::default(), |sum, file| FileTotals {
        num_files: sum.num_files + 1,
        num_rows: sum.num_rows + file.num_rows,
        size_bytes: sum.size_bytes + file.size_bytes,
    })
}

/// Whether the same files would fail the same way again.
fn is_lasting(error: &Error) -> bool {
    matches!(
        error,
        Error::CompactionMismatch { .. }
            | Error::CorruptFile { .. }
            | Error::MissingFile { .. }
            | Error::MissingObject { .. }
            | Error::MiscountedFile { .. }
            | Error::UnsortedFile { .. }
            | Error::WrongSchema
    )
}

/// Whether an input was taken out of the store meanwhile, which is no fault.
fn is_overtaken(error: &Error) -> bool {
    matches!(error, Error::Catalog(alula_catalog::Error::NotLive { .. }))
}

fn tell_of_predicate(key: TableKey, error: &Error) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, tenant = %key.tenant, signal = %key.signal, "cannot compact a table");
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
