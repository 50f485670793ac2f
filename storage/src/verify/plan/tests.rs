use std::convert::Infallible;

use alula_catalog::{Hour, Signal, TenantNumber, Tier, TimeRange};

use super::*;

/// A file of the entries `first` to `last`, with a row of each of `rows`.
struct Case {
    id: u128,
    first: u64,
    last: u64,
    replaces: &'static [u128],
}

fn of(id: u128, first: u64, last: u64) -> Case {
    Case { id, first, last, replaces: &[] }
}

fn candidate(case: &Case) -> Candidate {
    let file = DataFile {
        id: FileId(case.id),
        tenant: TenantNumber(1),
        signal: Signal::Logs,
        hour: Hour(1),
        num_hours: 1,
        tier: Tier::Local,
        num_rows: 1,
        size_bytes: 1,
        checksum: [0; 16],
        timestamps: TimeRange { min_ns: 0, max_ns: 0 },
        first_seq: SequenceNumber(case.first),
        last_seq: SequenceNumber(case.last),
        schema_version: 1,
        deletions_applied: 0,
    };
    Candidate { file, replaces: case.replaces.iter().copied().map(FileId).collect() }
}

/// A log from `first` to `last`, two rows an entry, but for `lost`.
fn log(first: u64, last: u64, lost: &[(u64, u64)]) -> LogContents {
    let is_lost = |seq: u64| lost.iter().any(|(from, to)| (*from..=*to).contains(&seq));
    LogContents {
        first_seq: Some(SequenceNumber(first)),
        last_seq: SequenceNumber(last),
        rows: (first..=last).filter(|seq| !is_lost(*seq)).map(|seq| (SequenceNumber(seq), 2)).collect(),
        losses: lost.iter().map(|(from, to)| (SequenceNumber(*from), SequenceNumber(*to))).collect(),
    }
}

/// The ids of live and left-out files, and the cut, if each file has one row of each of its entries.
fn check(files: &[Case], log: &LogContents, live: &[u128], in_log: &[u128], flushed: u64) {
    let candidates: Vec<_> = files.iter().map(candidate).collect();
    let count = |chosen: &[usize]| {
        let mut counted = BTreeMap::new();
        for file in chosen.iter().map(|index| &candidates[*index].file) {
            for seq in file.first_seq.0..=file.last_seq.0 {
                *counted.entry(SequenceNumber(seq)).or_default() += 1;
            }
        }
        Ok::<_, Infallible>(counted)
    };
    let Ok(plan) = plan(&candidates, log, count);
    let ids =
        |indices: &[usize]| indices.iter().map(|index| candidates[*index].file.id.0).collect::<Vec<_>>();
    assert_eq!((ids(&plan.live), ids(&plan.in_log)), (live.to_vec(), in_log.to_vec()));
    assert_eq!(plan.flushed_seq, SequenceNumber(flushed));
    assert_eq!(plan.live.len() + plan.in_log.len() + plan.superseded.len(), files.len());
}

#[test]
fn without_a_log_every_file_is_taken() {
    let idle = LogContents { last_seq: SequenceNumber(9), ..LogContents::default() };
    check(&[of(1, 1, 4), of(2, 2, 5)], &LogContents::default(), &[1, 2], &[], 5);
    check(&[of(1, 1, 4), of(2, 2, 5)], &idle, &[1, 2], &[], 9);
    check(&[], &idle, &[], &[], 9);
}

#[test]
fn files_of_a_flush_that_may_not_have_committed_are_left_to_the_log() {
    let files = || [of(1, 1, 4), of(2, 5, 8), of(3, 6, 6)];
    check(&files(), &log(5, 9, &[]), &[1], &[2, 3], 4);
    // Only some of the flush were written.
    check(&files()[..2], &log(5, 9, &[]), &[1], &[2], 4);
    // Flushed and removed.
    check(&files(), &log(9, 9, &[]), &[1, 2, 3], &[], 8);
    check(&files(), &log(20, 19, &[]), &[1, 2, 3], &[], 19);
}

/// Scenario: a flush of the entries 5 to 12 committed, and a crash came while its segments (5.., 8.., 11..) were removed.
#[test]
fn a_flush_of_which_a_part_of_the_log_is_gone_was_committed_as_a_whole() {
    let files = || [of(1, 1, 4), of(2, 5, 9), of(3, 8, 12), of(4, 9, 9), of(5, 12, 12)];
    check(&files(), &log(5, 15, &[]), &[1], &[2, 3, 4, 5], 4);
    // File 3 begins in what is left of the log, and shares an entry with file 2, whose beginning is gone.
    check(&files(), &log(8, 15, &[]), &[1, 2, 3, 4, 5], &[], 12);
    check(&files(), &log(11, 15, &[]), &[1, 2, 3, 4, 5], &[], 12);
    // Nothing ties file 5 to the others, and the log has it.
    let apart = || [of(1, 1, 4), of(2, 5, 9), of(5, 12, 12)];
    check(&apart(), &log(8, 15, &[]), &[1, 2], &[5], 9);
}

#[test]
fn of_a_file_and_the_one_that_replaced_it_the_latter_is_taken() {
    let merged = |replaces| Case { id: 9, first: 1, last: 8, replaces };
    check(&[of(1, 1, 4), of(2, 5, 8), merged(&[1, 2])], &log(9, 9, &[]), &[9], &[], 8);
    check(&[of(2, 5, 8), merged(&[1, 2])], &log(9, 9, &[]), &[9], &[], 8);
    // Its entries reach into the log: then all of it was committed.
    check(&[of(1, 1, 4), of(2, 5, 8), of(3, 7, 8), merged(&[1, 2])], &log(7, 9, &[]), &[3, 9], &[], 8);
}

/// Scenario: the entries 5 to 8 have two rows each, one in file 2 and one in file 3.
#[test]
fn an_entry_that_the_log_lost_is_taken_from_files_that_have_everything_else_too() {
    let both = || [of(1, 1, 4), of(2, 5, 8), of(3, 5, 8)];
    check(&both(), &log(5, 12, &[(6, 6)]), &[1, 2, 3], &[], 8);
    check(&both(), &log(5, 12, &[(6, 7), (10, 10)]), &[1, 2, 3], &[], 8);
    // File 3 was not written any more: with file 2 the rows of 5, 7 and 8 in it would be lost.
    check(&both()[..2], &log(5, 12, &[(6, 6)]), &[1], &[2], 4);
    // No file has the lost entry.
    check(&both(), &log(5, 12, &[(11, 11)]), &[1], &[2, 3], 4);
    // All of the flush is lost but for its files.
    check(&both()[..2], &log(5, 12, &[(5, 8)]), &[1, 2], &[], 8);
}
