//! Which files are compacted into which; pure.
//!
//! ```text
//! hour, hot    8 files of one size class, and all smaller ones, become one file
//! hour, cold   small files become one
//! day, cold    small files of its hours become files of the day
//! ```
//!
//! **Hot.** Classes are by number of rows and grow by [`FAN_IN`], so a row is written again at most log8(rows of its
//! partition) times, and at most seven files of each class stay.
//!
//! **Cold.** Runs of files, in the order of time, become one as long as that stays below the target size, so of what stays any
//! two neighbours are together larger than the target. Files of half the target are left alone, in either state.
//!
//! Nothing cold is touched until it got no file for [`Policy::cold_after_ns`]: rows that trickle in late are compacted like hot
//! ones, and reach the large file of their hour once they pause.
//!
//! **A file of a day** has a quarter of the target size at most, and rows of a stretch of the day's hours: rows are sorted by
//! name or service, so a query for a short time reads all row groups of such a file that its other filters leave, but no other
//! file of the day. A day with more rows stays in hours.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use alula_catalog::{DataFile, FileId, Hour};

/// Files of one size class that are compacted, and the factor between classes.
const FAN_IN: usize = 8;
/// Files that are compacted at a time, each of which is open meanwhile.
pub(super) const MAX_INPUTS: usize = 64;
/// Memory that the inputs of one compaction may take, as [`working_bytes`] guesses it.
const MAX_WORKING_BYTES: u64 = 256 << 20;
const HOUR_NS: i64 = 3_600_000_000_000;
const HOURS_OF_DAY: i64 = 24;
/// Bits of a file's id below its time.
const RANDOM_BITS: u32 = 80;
/// Part of the target that a file of a day may have.
const DAY_PART: u64 = 4;

/// When what is compacted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Time from the end of an hour, and from the last file that it got, until it is cold.
    pub cold_after_ns: i64,
    /// Time from the end of a day until its hours are merged.
    pub day_after_ns: i64,
    pub target_bytes: u64,
    /// Compact all that is more than one file, be it cold or not.
    pub is_forced: bool,
}

/// Files of one table that become one.
#[derive(Clone, Debug)]
pub(super) struct CompactionPlan {
    /// Not empty.
    pub inputs: Vec<Arc<DataFile>>,
    /// The partition of the output.
    pub hour: Hour,
    pub num_hours: u32,
    /// An input has rows that a deletion has to remove.
    pub is_deletion: bool,
}

impl CompactionPlan {
    /// Units: bytes on disk, an upper bound of the output's in all but odd cases.
    pub(super) fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|file| file.size_bytes).sum()
    }

    pub(super) fn input_rows(&self) -> u64 {
        self.inputs.iter().map(|file| file.num_rows).sum()
    }

    /// The id for the output, with the time of the newest input: see [`flushed_ns`].
    pub(super) fn output_id(&self) -> FileId {
        let newest = self.inputs.iter().map(|file| file.id.0 >> RANDOM_BITS).max().unwrap_or_default();
        let random = uuid::Uuid::now_v7().as_u128() & ((1 << RANDOM_BITS) - 1);
        FileId(newest << RANDOM_BITS | random)
    }

    /// Deletions first, then what is newest, because queries ask for that.
    pub(super) fn urgency(&self) -> impl Ord + use<> {
        (self.is_deletion, self.inputs.iter().map(|file| file.timestamps.max_ns).max())
    }
}

/// Everything that is due among the files of one table, the most urgent first.
pub(super) fn plan(
    files: &[Arc<DataFile>],
    policy: &Policy,
    now_ns: i64,
    has_deletion: &dyn Fn(&DataFile) -> bool,
) -> Vec<CompactionPlan> {
    let mut days: BTreeMap<i64, Vec<&Arc<DataFile>>> = BTreeMap::new();
    for file in files {
        days.entry(day_of(file)).or_default().push(file);
    }
    let mut plans = Vec::new();
    for (day, files) in days {
        let runs = runs_of_day(day, &files, policy, now_ns);
        let taken: HashSet<FileId> = runs.iter().flatten().map(|file| file.id).collect();
        let alone = files.into_iter().filter(|file| !taken.contains(&file.id) && has_deletion(file));
        plans.extend(runs.iter().map(|run| joined(run, has_deletion)));
        plans.extend(alone.map(|file| joined(&[file], has_deletion)));
    }
    plans.sort_by_key(|plan| Reverse(plan.urgency()));
    plans
}

fn runs_of_day<'a>(
    day: i64,
    files: &[&'a Arc<DataFile>],
    policy: &Policy,
    now_ns: i64,
) -> Vec<Vec<&'a Arc<DataFile>>> {
    let day_end_ns = (day + 1).saturating_mul(HOURS_OF_DAY * HOUR_NS);
    if now_ns >= day_end_ns.saturating_add(policy.day_after_ns) && is_quiet(files, policy, now_ns) {
        return cold_runs(files, policy.target_bytes / DAY_PART);
    }
    let mut hours: BTreeMap<Hour, Vec<&Arc<DataFile>>> = BTreeMap::new();
    for file in files.iter().copied().filter(|file| file.num_hours == 1) {
        hours.entry(file.hour).or_default().push(file);
    }
    let runs_of_hour = |(hour, files): (Hour, Vec<&'a Arc<DataFile>>)| {
        let hour_end_ns = (hour.0 + 1).saturating_mul(HOUR_NS);
        let is_over = policy.is_forced || now_ns >= hour_end_ns.saturating_add(policy.cold_after_ns);
        if is_over && is_quiet(&files, policy, now_ns) {
            cold_runs(&files, policy.target_bytes)
        } else {
            hot_run(&files, policy.target_bytes).into_iter().collect()
        }
    };
    hours.into_iter().flat_map(runs_of_hour).collect()
}

/// Whether a partition got no rows for a while.
fn is_quiet(files: &[&Arc<DataFile>], policy: &Policy, now_ns: i64) -> bool {
    let newest_ns = files.iter().map(|file| flushed_ns(file.id)).max().unwrap_or(i64::MIN);
    policy.is_forced || now_ns >= newest_ns.saturating_add(policy.cold_after_ns)
}

/// The highest class with [`FAN_IN`] files, and what is below it.
fn hot_run<'a>(files: &[&'a Arc<DataFile>], target_bytes: u64) -> Option<Vec<&'a Arc<DataFile>>> {
    let mut classes: BTreeMap<u32, Vec<&Arc<DataFile>>> = BTreeMap::new();
    for file in files.iter().copied().filter(|file| file.size_bytes < target_bytes / 2) {
        classes.entry(size_class(file)).or_default().push(file);
    }
    let (full, _) = classes.iter().rev().find(|(_, files)| files.len() >= FAN_IN)?;
    // Those of the full class come first: all of it that fits has to be in, or the output would not be of a higher one.
    let mut candidates: Vec<_> = classes.range(..=full).rev().flat_map(|(_, files)| files).copied().collect();
    candidates.sort_by_key(|file| (Reverse(size_class(file)), file.first_seq, file.id));
    let mut room = Room::new(target_bytes);
    let run: Vec<_> = candidates.into_iter().filter(|file| room.take(file)).collect();
    (run.len() > 1).then_some(run)
}

/// Runs of neighbours that fit into `target_bytes`.
fn cold_runs<'a>(files: &[&'a Arc<DataFile>], target_bytes: u64) -> Vec<Vec<&'a Arc<DataFile>>> {
    let mut candidates: Vec<_> =
        files.iter().copied().filter(|file| file.size_bytes < target_bytes / 2).collect();
    candidates.sort_by_key(|file| (file.timestamps.min_ns, file.first_seq, file.id));
    let mut runs: Vec<Vec<&Arc<DataFile>>> = Vec::new();
    let mut room = Room::new(target_bytes);
    for file in candidates {
        match runs.last_mut().filter(|_| room.take(file)) {
            Some(run) => run.push(file),
            None => {
                room = Room::new(target_bytes);
                room.take(file);
                runs.push(vec![file]);
            }
        }
    }
    runs.retain(|run| run.len() > 1);
    runs
}

fn joined(run: &[&Arc<DataFile>], has_deletion: &dyn Fn(&DataFile) -> bool) -> CompactionPlan {
    let first = run[0];
    let is_one_partition =
        run.iter().all(|file| (file.hour, file.num_hours) == (first.hour, first.num_hours));
    let (hour, num_hours) = if is_one_partition {
        (first.hour, first.num_hours)
    } else {
        (Hour(day_of(first) * HOURS_OF_DAY), HOURS_OF_DAY as u32)
    };
    CompactionPlan {
        inputs: run.iter().map(|file| Arc::clone(file)).collect(),
        hour,
        num_hours,
        is_deletion: run.iter().any(|file| has_deletion(file)),
    }
}

/// What one compaction may still take in.
#[derive(Debug)]
struct Room {
    files: usize,
    bytes: u64,
    working_bytes: u64,
}

impl Room {
    fn new(bytes: u64) -> Self {
        Self { files: MAX_INPUTS, bytes, working_bytes: MAX_WORKING_BYTES }
    }

    /// Takes a file in if there is room for it.
    fn take(&mut self, file: &DataFile) -> bool {
        let fits =
            self.files > 0 && self.bytes >= file.size_bytes && self.working_bytes >= working_bytes(file);
        if fits {
            self.files -= 1;
            self.bytes -= file.size_bytes;
            self.working_bytes -= working_bytes(file);
        }
        fits
    }
}

/// What reading a file takes, beside its batches: a page and a dictionary of each column, inflated.
fn working_bytes(file: &DataFile) -> u64 {
    (4 * file.size_bytes).min(8 << 20)
}

fn size_class(file: &DataFile) -> u32 {
    file.num_rows.max(1).ilog(FAN_IN as u64)
}

fn day_of(file: &DataFile) -> i64 {
    file.hour.0.div_euclid(HOURS_OF_DAY)
}

/// When the newest rows of a file were flushed: its id starts with that time in milliseconds, as version 7 of UUIDs does.
fn flushed_ns(file: FileId) -> i64 {
    let milliseconds = i64::try_from(file.0 >> RANDOM_BITS).unwrap_or(i64::MAX);
    milliseconds.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests;
