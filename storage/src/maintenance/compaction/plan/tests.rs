use alula_catalog::{SequenceNumber, Signal, TenantNumber, Tier, TimeRange};
use proptest::prelude::*;

use super::*;

const MINUTE_NS: i64 = 60_000_000_000;
const MIB: u64 = 1 << 20;
/// A day that begins at midnight.
const DAY: i64 = 20_000;

const POLICY: Policy =
    Policy { cold_after_ns: HOUR_NS, day_after_ns: 24 * HOUR_NS, target_bytes: 256 * MIB, is_forced: false };

/// The files of one table, compacted as planned.
#[derive(Debug, Default)]
struct Model {
    files: Vec<Arc<DataFile>>,
    next: u64,
    rows_flushed: u64,
    rows_written: u64,
}

impl Model {
    /// A file of one hour that was flushed at `at_ns`.
    fn flush(&mut self, hour: i64, at_ns: i64, num_rows: u64, size_bytes: u64) {
        self.next += 1;
        self.rows_flushed += num_rows;
        let start_ns = (DAY * 24 + hour) * HOUR_NS;
        self.files.push(Arc::new(DataFile {
            id: FileId(((at_ns / 1_000_000) as u128) << RANDOM_BITS | u128::from(self.next)),
            tenant: TenantNumber(1),
            signal: Signal::Logs,
            hour: Hour(DAY * 24 + hour),
            num_hours: 1,
            tier: Tier::Local,
            num_rows,
            size_bytes,
            checksum: [0; 16],
            timestamps: TimeRange { min_ns: start_ns, max_ns: start_ns + HOUR_NS - 1 },
            first_seq: SequenceNumber(self.next),
            last_seq: SequenceNumber(self.next),
            schema_version: 1,
            deletions_applied: 0,
        }));
    }

    /// Does what is due until nothing is. Returns how many compactions that were.
    fn compact(&mut self, policy: &Policy, now_ns: i64) -> usize {
        for count in 0..10_000 {
            let plans = plan(&self.files, policy, now_ns, &|_| false);
            let Some(plan) = plans.first() else { return count };
            self.apply(plan, policy);
        }
        panic!("compaction does not come to an end: {:?}", self.files);
    }

    fn apply(&mut self, plan: &CompactionPlan, policy: &Policy) {
        let inputs = &plan.inputs;
        assert!(inputs.len() > 1 && inputs.len() <= MAX_INPUTS);
        assert!(plan.input_bytes() <= policy.target_bytes);
        assert!(inputs.iter().map(|file| working_bytes(file)).sum::<u64>() <= MAX_WORKING_BYTES);
        let ids: HashSet<_> = inputs.iter().map(|file| file.id).collect();
        assert_eq!(ids.len(), inputs.len());
        let within = |file: &DataFile| {
            plan.hour <= file.hour
                && file.hour.0 + i64::from(file.num_hours) <= plan.hour.0 + i64::from(plan.num_hours)
        };
        assert!(inputs.iter().all(|file| within(file)));
        self.files.retain(|file| !ids.contains(&file.id));
        self.rows_written += plan.input_rows();
        let timestamps = TimeRange {
            min_ns: inputs.iter().map(|file| file.timestamps.min_ns).min().unwrap(),
            max_ns: inputs.iter().map(|file| file.timestamps.max_ns).max().unwrap(),
        };
        self.files.push(Arc::new(DataFile {
            id: plan.output_id(),
            hour: plan.hour,
            num_hours: plan.num_hours,
            num_rows: plan.input_rows(),
            // Larger files are smaller than their parts.
            size_bytes: plan.input_bytes() * 9 / 10,
            timestamps,
            first_seq: inputs.iter().map(|file| file.first_seq).min().unwrap(),
            last_seq: inputs.iter().map(|file| file.last_seq).max().unwrap(),
            ..DataFile::clone(&inputs[0])
        }));
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

fn at(hour: i64, minute: i64) -> i64 {
    (DAY * 24 + hour) * HOUR_NS + minute * MINUTE_NS
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Guarantees: seven files of each class and twice the bytes by the target bound what is left of a hot hour; a row is
    /// written again at most once for each class.
    #[test]
    fn the_files_of_a_hot_hour_and_the_writes_are_bounded(
        sizes in prop::collection::vec((1_u64..50_000, 1_u64..40), 1..400),
    ) {
        let mut model = Model::default();
        for (minute, (rows, row_bytes)) in sizes.iter().enumerate() {
            // More than an hour has: late data, or small buffers.
            model.flush(8, at(8, minute as i64 % 60), *rows, 20_000 + rows * row_bytes);
            model.compact(&POLICY, at(8, minute as i64 % 60));
            let classes = model.rows_flushed.ilog(FAN_IN as u64) as usize + 1;
            let full = (2 * model.bytes()).div_ceil(POLICY.target_bytes) as usize;
            prop_assert!(model.files.len() <= (FAN_IN - 1) * classes + full, "{} files", model.files.len());
        }
        let classes = u64::from(model.rows_flushed.ilog(FAN_IN as u64)) + 1;
        prop_assert!(model.rows_written <= model.rows_flushed * classes);
        prop_assert_eq!(model.files.iter().map(|file| file.num_rows).sum::<u64>(), model.rows_flushed);
    }

    /// Guarantees: once all is cold, any two neighbours of a day are together larger than a file of it may be.
    #[test]
    fn the_files_of_a_cold_day_are_few(
        flushes in prop::collection::vec((0_i64..24, 1_u64..100_000, 1_u64..20_000_000), 1..300),
    ) {
        let mut model = Model::default();
        for (hour, rows, bytes) in flushes {
            model.flush(hour, at(hour, 30), rows, bytes);
            model.compact(&POLICY, at(hour, 30));
        }
        model.compact(&POLICY, at(24 + 25, 0));
        let most = (2 * model.bytes() * DAY_PART).div_ceil(POLICY.target_bytes) as usize + 1;
        prop_assert!(model.files.len() <= most, "{} files, not {most}", model.files.len());
        prop_assert_eq!(model.files.iter().map(|file| file.num_rows).sum::<u64>(), model.rows_flushed);
    }
}

#[test]
fn ten_thousand_tiny_files_of_an_hour_become_one_in_rounds() {
    let mut model = Model::default();
    for _ in 0..10_000 {
        model.flush(8, at(8, 59), 1, 20_000);
    }
    let hot = model.compact(&POLICY, at(9, 0));
    assert!(hot <= 180 && model.files.len() <= 7 * 5, "{hot} compactions, {} files", model.files.len());
    model.compact(&POLICY, at(10, 1));
    assert_eq!(model.files.len(), 1);
    assert!(model.rows_written <= 4 * model.rows_flushed, "{} rows written", model.rows_written);
}

#[test]
fn an_hour_is_merged_wholly_when_it_is_over_and_got_nothing_for_a_while() {
    let mut model = Model::default();
    for minute in [10, 20, 30] {
        model.flush(8, at(8, minute), 1000, MIB);
    }
    assert_eq!(model.compact(&POLICY, at(9, 59)), 0, "its hour ended less than an hour ago");
    model.flush(8, at(9, 30), 10, MIB);
    assert_eq!(model.compact(&POLICY, at(10, 29)), 0, "late rows came less than an hour ago");
    assert_eq!(model.compact(&POLICY, at(10, 30)), 1);
    assert_eq!((model.files.len(), model.files[0].num_hours), (1, 1));
}

#[test]
fn a_merge_does_not_make_its_partition_hot() {
    let mut model = Model::default();
    // More than one compaction takes.
    for _ in 0..150 {
        model.flush(8, at(8, 30), 1000, 20_000);
    }
    model.compact(&POLICY, at(10, 1));
    assert_eq!(model.files.len(), 1);
}

#[test]
fn rows_that_trickle_in_late_do_not_write_their_large_file_again_each_time() {
    let mut model = Model::default();
    model.flush(8, at(8, 59), 1_000_000, 100 * MIB);
    for minute in 0..180 {
        model.flush(8, at(12, minute), 10, 20_000);
        model.compact(&POLICY, at(12, minute));
    }
    assert!(model.rows_written < 10_000, "{} rows written for 1,800", model.rows_written);
    model.compact(&POLICY, at(16, 0));
    assert_eq!(model.files.len(), 1);
}

#[test]
fn the_hours_of_a_cold_day_become_files_of_stretches_of_the_day() {
    let mut model = Model::default();
    for hour in 0..24 {
        model.flush(hour, at(hour, 59), 1000, 10 * MIB);
    }
    model.compact(&POLICY, at(47, 59));
    assert_eq!(model.files.len(), 24, "the day ended less than a day ago");
    model.compact(&POLICY, at(48, 0));
    assert!(model.files.iter().all(|file| file.num_hours == 24 && file.hour == Hour(DAY * 24)));
    assert_eq!(model.files.len(), 4);
    let mut ranges: Vec<_> = model.files.iter().map(|file| file.timestamps).collect();
    ranges.sort_by_key(|range| range.min_ns);
    assert!(ranges.windows(2).all(|pair| pair[0].max_ns < pair[1].min_ns), "no two files share a time");
}

#[test]
fn a_day_with_many_rows_stays_in_hours() {
    let mut model = Model::default();
    for hour in 0..24 {
        model.flush(hour, at(hour, 59), 1_000_000, 40 * MIB);
    }
    assert_eq!(model.compact(&POLICY, at(72, 0)), 0);
}

#[test]
fn a_late_file_of_a_cold_day_joins_a_file_of_that_day() {
    let mut model = Model::default();
    for hour in 0..24 {
        model.flush(hour, at(hour, 59), 1000, MIB);
    }
    model.compact(&POLICY, at(48, 0));
    assert_eq!(model.files.len(), 1);
    model.flush(3, at(200, 0), 5, 20_000);
    assert_eq!(model.compact(&POLICY, at(200, 30)), 0);
    assert_eq!(model.compact(&POLICY, at(201, 0)), 1);
    assert_eq!(model.files.len(), 1);
}

#[test]
fn files_of_different_days_are_never_merged() {
    let mut model = Model::default();
    for day in 0..20 {
        model.flush(day * 24, at(day * 24, 30), 10, 20_000);
    }
    assert_eq!(model.compact(&Policy { is_forced: true, ..POLICY }, at(2_000, 0)), 0);
}

#[test]
fn days_before_1970_are_days_too() {
    let mut model = Model::default();
    for hour in [-DAY * 24 - 1, -DAY * 24 - 24, -DAY * 24 - 25] {
        model.flush(hour, at(0, 0), 10, 20_000);
    }
    assert_eq!(model.compact(&POLICY, at(2, 0)), 1);
    let mut hours: Vec<_> = model.files.iter().map(|file| (file.hour.0, file.num_hours)).collect();
    hours.sort_unstable();
    assert_eq!(hours, [(-25, 1), (-24, 24)]);
}

#[test]
fn a_forced_compaction_does_not_wait_for_an_hour_to_be_over() {
    let mut model = Model::default();
    for _ in 0..3 {
        model.flush(8, at(8, 30), 10, 20_000);
    }
    assert_eq!(model.compact(&Policy { is_forced: true, ..POLICY }, at(8, 31)), 1);
    assert_eq!((model.files.len(), model.files[0].num_hours), (1, 1));
}

#[test]
fn a_file_with_deleted_rows_is_written_again_even_when_it_is_alone_and_first_of_all() {
    let mut model = Model::default();
    model.flush(3, at(3, 30), 1_000_000, 200 * MIB);
    for _ in 0..8 {
        model.flush(8, at(8, 30), 10, 20_000);
    }
    let old = model.files[0].id;
    let plans = plan(&model.files, &POLICY, at(8, 31), &|file| file.id == old);
    let inputs: Vec<_> = plans.iter().map(|plan| (plan.is_deletion, plan.inputs.len())).collect();
    assert_eq!(inputs, [(true, 1), (false, 8)]);
    assert_eq!((plans[0].hour, plans[0].num_hours), (Hour(DAY * 24 + 3), 1));
}

#[test]
fn what_is_newest_comes_first() {
    let mut model = Model::default();
    for hour in [3, 5, 4] {
        for _ in 0..9 {
            model.flush(hour, at(5, 30), 10, 20_000);
        }
    }
    let plans = plan(&model.files, &POLICY, at(5, 31), &|_| false);
    assert_eq!(plans.iter().map(|plan| plan.hour.0 - DAY * 24).collect::<Vec<_>>(), [5, 4, 3]);
}
