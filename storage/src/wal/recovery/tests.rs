//! What recovery makes of every way a log can be cut or damaged.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::BatchId;
use crate::testing::layout;
use crate::wal::format::{Seal, roll};
use crate::wal::mark::Mark;

const UUID: [u8; 16] = [7; 16];

fn frame(seq: u64) -> Frame {
    Frame {
        seq: SequenceNumber(seq),
        signal: Signal::Logs,
        tenant: TenantNumber(1),
        batch_id: BatchId::from_bytes([seq as u8; 16]),
        received_ns: 1_000 + seq as i64,
        num_rows: 3,
        rejected: if seq.is_multiple_of(3) { vec![0, 9] } else { Vec::new() },
        payload: Bytes::from(format!("payload of entry {seq}").repeat(seq as usize % 5)),
    }
}

fn salt_of(first_seq: u64) -> u64 {
    0x5eed ^ first_seq
}

/// A segment with the frames `seqs`, each synced before the next was written.
fn segment(seqs: std::ops::RangeInclusive<u64>, sealed: bool, abandoned_at: u64) -> (Vec<u8>, Vec<usize>) {
    let salt = salt_of(*seqs.start());
    let header = SegmentHeader {
        store_uuid: UUID,
        salt,
        first_seq: SequenceNumber(*seqs.start()),
        created_ns: 1,
        previous_last_seq: SequenceNumber(seqs.start() - 1),
        previous_rolling_hash: 0,
        previous_abandoned_at: abandoned_at,
    };
    let salt = Salt::new(salt);
    let mut bytes = header.encode().to_vec();
    let mut ends = Vec::new();
    let mut rolling_hash = 0;
    let last_seq = SequenceNumber(*seqs.end());
    let num_frames = seqs.clone().count() as u64;
    for seq in seqs {
        let checksums = frame(seq).encode_into(&mut bytes, salt, SequenceNumber(seq - 1));
        rolling_hash = roll(rolling_hash, checksums);
        ends.push(bytes.len());
    }
    if sealed {
        Seal { last_seq, num_frames, rolling_hash }.encode_into(&mut bytes, salt, last_seq);
    }
    (bytes, ends)
}

fn write(dir: &Path, first_seq: u64, bytes: &[u8]) {
    let wal = layout(dir);
    fs::create_dir_all(wal.wal_dir()).unwrap();
    fs::write(wal.segment(SequenceNumber(first_seq)), bytes).unwrap();
}

fn losses_and_frames(dir: &Path, flushed: u64) -> (Vec<u64>, Vec<Loss>) {
    let log = recover(&layout(dir), UUID, SequenceNumber(flushed)).unwrap();
    let mut losses: Vec<_> = log.missing_segments().into_iter().collect();
    let mut frames = Vec::new();
    for index in 0..log.num_segments() {
        let segment = log.read(index).unwrap();
        losses.extend(segment.losses.clone());
        for found in segment.frames() {
            let found = found.unwrap();
            assert_eq!(found, frame(found.seq.0), "a frame came back changed");
            assert!(found.seq <= segment.last_seq, "{} may be given out again", found.seq);
            frames.push(found.seq.0);
        }
    }
    (frames, losses)
}

fn recovered(dir: &Path, flushed: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (frames, losses) = losses_and_frames(dir, flushed);
    (frames, losses.iter().map(|loss| (loss.first.0, loss.last.0)).collect())
}

fn set_mark(dir: &Path, seq: u64) {
    fs::create_dir_all(layout(dir).wal_dir()).unwrap();
    Mark::create(&layout(dir), UUID, SequenceNumber(seq)).unwrap();
}

/// Scenario: the process dies while it appends, at any byte.
/// Guarantees: every frame that was written whole is recovered, and nothing is called a loss.
#[test]
fn every_prefix_of_the_last_segment_gives_its_whole_frames() {
    let (bytes, ends) = segment(1..=9, false, NOT_ABANDONED);
    for length in SEGMENT_HEADER_BYTES..=bytes.len() {
        let dir = tempdir().unwrap();
        write(dir.path(), 1, &bytes[..length]);
        // The padding carries nothing: a frame is whole without it.
        let (frames, losses) = recovered(dir.path(), 0);
        let at_least = ends.iter().filter(|end| **end <= length).count() as u64;
        assert!(frames.len() as u64 >= at_least && frames.len() as u64 <= at_least + 1, "cut at {length}");
        assert!(frames.iter().copied().eq(1..=frames.len() as u64), "cut at {length}: {frames:?}");
        assert!(losses.is_empty(), "cut at {length}: {losses:?}");
    }
}

/// Scenario: one byte changes, anywhere behind the header, on a disk that had acknowledged everything up to entry 8.
/// Guarantees: no changed frame is ever served; every other frame is; the lost one is reported exactly, unless it is the very
/// last, of which nothing on disk says that it was acknowledged.
#[test]
fn a_flipped_byte_loses_its_own_frame_and_says_so() {
    let (bytes, ends) = segment(1..=9, false, NOT_ABANDONED);
    for at in SEGMENT_HEADER_BYTES..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let dir = tempdir().unwrap();
        write(dir.path(), 1, &damaged);
        let (frames, losses) = recovered(dir.path(), 0);
        let hit = ends.iter().filter(|end| **end <= at).count() as u64 + 1;
        if frames.len() == 9 {
            // Padding was hit.
            assert!(losses.is_empty(), "byte {at}");
            continue;
        }
        assert!(frames.iter().copied().eq((1..=9).filter(|seq| *seq != hit)), "byte {at}: {frames:?}");
        let expected = if hit == 9 { vec![] } else { vec![(hit, hit)] };
        assert_eq!(losses, expected, "byte {at}");
    }
}

#[test]
fn a_group_that_was_never_synced_ends_the_log_without_a_loss() {
    // Entries 4 to 6 were one group: all of them know only 3 to be durable, and the first of them is torn.
    let salt = Salt::new(salt_of(1));
    let (mut bytes, _) = segment(1..=3, false, NOT_ABANDONED);
    let torn_from = bytes.len();
    for seq in 4..=6 {
        frame(seq).encode_into(&mut bytes, salt, SequenceNumber(3));
    }
    bytes[torn_from + 70] ^= 1;
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &bytes);
    assert_eq!(recovered(dir.path(), 0), (vec![1, 2, 3], vec![]));
}

#[test]
fn a_sealed_segment_cut_short_is_a_loss_and_later_segments_are_kept() {
    let (first, ends) = segment(1..=5, true, NOT_ABANDONED);
    let (second, _) = segment(6..=8, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &first[..ends[2]]);
    write(dir.path(), 6, &second);
    assert_eq!(recovered(dir.path(), 0), (vec![1, 2, 3, 6, 7, 8], vec![(4, 5)]));
}

#[test]
fn entries_that_are_in_files_are_neither_replayed_nor_lost() {
    let (bytes, ends) = segment(1..=5, true, NOT_ABANDONED);
    let (second, _) = segment(6..=7, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &bytes[..ends[1]]);
    write(dir.path(), 6, &second);
    assert_eq!(recovered(dir.path(), 6), (vec![7], vec![]));
}

#[test]
fn bytes_past_where_a_segment_was_abandoned_are_void() {
    // The write of entry 4 failed half-way and was refused; entry 4 of the next segment is another one.
    let (first, ends) = segment(1..=4, false, NOT_ABANDONED);
    let (second, _) = segment(4..=5, false, ends[2] as u64);
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &first);
    write(dir.path(), 4, &second);
    assert_eq!(recovered(dir.path(), 0), (vec![1, 2, 3, 4, 5], vec![]));
}

/// Scenario: any bit of a segment's header flips, or all of it is gone.
/// Guarantees: nothing is lost, in a segment that others follow and in the last one.
#[test]
fn a_damaged_segment_header_costs_no_frame() {
    let (first, _) = segment(1..=4, true, NOT_ABANDONED);
    let (second, _) = segment(5..=6, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    for hit in 0..2 {
        for bit in 0..=SEGMENT_HEADER_BYTES * 8 {
            let mut segments = [first.clone(), second.clone()];
            match segments[hit].get_mut(bit / 8) {
                Some(byte) if bit < SEGMENT_HEADER_BYTES * 8 => *byte ^= 1 << (bit % 8),
                _ => segments[hit][..SEGMENT_HEADER_BYTES].fill(0),
            }
            write(dir.path(), 1, &segments[0]);
            write(dir.path(), 5, &segments[1]);
            assert_eq!(recovered(dir.path(), 0), ((1..=6).collect(), vec![]), "bit {bit} of {hit}");
        }
    }
}

#[test]
fn a_segment_without_header_and_frames_is_a_loss_to_its_end() {
    let (first, ends) = segment(1..=4, true, NOT_ABANDONED);
    let (second, _) = segment(5..=6, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &vec![0; first.len()]);
    write(dir.path(), 5, &second);
    assert_eq!(recovered(dir.path(), 0), (vec![5, 6], vec![(1, 4)]));
    // Header and first frames in a page that is gone.
    let mut torn = first;
    torn[..ends[1]].fill(0);
    write(dir.path(), 1, &torn);
    assert_eq!(recovered(dir.path(), 0), (vec![3, 4, 5, 6], vec![(1, 2)]));
    // Alone, and empty but for the header: nothing can have been in it.
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &[0xff; SEGMENT_HEADER_BYTES]);
    assert_eq!(recovered(dir.path(), 0), (vec![], vec![]));
}

#[test]
fn a_segment_of_another_store_or_a_newer_version_is_refused() {
    let (bytes, _) = segment(1..=2, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &bytes);
    let wal = layout(dir.path());
    assert!(matches!(recover(&wal, [8; 16], SequenceNumber(0)), Err(Error::CorruptSegment { .. })));
    let mut newer = bytes;
    newer[8] = 2;
    write(dir.path(), 1, &newer);
    assert_eq!(recovered(dir.path(), 0), (vec![1, 2], vec![]), "a flipped bit is no newer version");
    let crc = crc32fast::hash(&newer[..92]);
    newer[92..96].copy_from_slice(&crc.to_le_bytes());
    write(dir.path(), 1, &newer);
    assert!(matches!(recover(&wal, UUID, SequenceNumber(0)), Err(Error::NewerFormat { found: 2, .. })));
}

/// Scenario: the last group is damaged after the log had been idle for a second, or the process had stopped.
/// Guarantees: it is a loss; without the mark it is a write that was cut off.
#[test]
fn a_mark_tells_a_damaged_last_group_from_a_torn_one() {
    let (bytes, ends) = segment(1..=5, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    for length in SEGMENT_HEADER_BYTES..ends[4] - 8 {
        write(dir.path(), 1, &bytes[..length]);
        let whole = ends.iter().filter(|end| **end <= length).count() as u64;
        let _ = fs::remove_file(layout(dir.path()).mark());
        let (frames, losses) = recovered(dir.path(), 0);
        assert!(losses.is_empty(), "cut at {length}: {losses:?}");
        let last = frames.last().copied().unwrap_or(0);
        assert!(last >= whole, "cut at {length}: {frames:?}");
        set_mark(dir.path(), 5);
        let (again, losses) = recovered(dir.path(), 0);
        assert_eq!(again, frames);
        let missing: Vec<u64> = losses.iter().flat_map(|(first, last)| *first..=*last).collect();
        assert!(missing.iter().copied().eq(last + 1..=5), "cut at {length}: {losses:?}");
    }
}

#[test]
fn a_mark_tells_that_segments_are_gone() {
    let dir = tempdir().unwrap();
    set_mark(dir.path(), 7);
    assert_eq!(recovered(dir.path(), 0), (vec![], vec![(1, 7)]));
    assert_eq!(recovered(dir.path(), 7), (vec![], vec![]));
    let (bytes, _) = segment(3..=5, true, NOT_ABANDONED);
    write(dir.path(), 3, &bytes);
    assert_eq!(recovered(dir.path(), 2), (vec![3, 4, 5], vec![(6, 7)]));
}

#[test]
fn of_a_frame_whose_header_is_whole_it_is_known_whose_rows_are_lost() {
    let (mut bytes, ends) = segment(1..=4, true, NOT_ABANDONED);
    let payload = ends[0] + FRAME_HEADER_BYTES;
    bytes[payload] ^= 1;
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &bytes);
    let (frames, losses) = losses_and_frames(dir.path(), 0);
    assert_eq!(frames, [1, 3, 4]);
    let entry = LostEntry { tenant: TenantNumber(1), signal: Some(Signal::Logs), num_rows: 3 };
    assert_eq!(losses.iter().map(|loss| (loss.first.0, loss.entry)).collect::<Vec<_>>(), [(2, Some(entry))]);
}

#[test]
fn bytes_that_the_disk_cannot_read_cost_only_their_frames() {
    let (bytes, _) = segment(1..=200, true, NOT_ABANDONED);
    let file = PartlyReadable { bytes: bytes.clone(), bad: 8192..8193 };
    let read = read_what_can_be_read(&file, bytes.len());
    let hole = 8192..12288;
    assert!(read[hole.clone()].iter().all(|byte| *byte == 0));
    assert_eq!((&read[..8192], &read[12288..]), (&bytes[..8192], &bytes[12288..]));
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &read);
    let (frames, losses) = recovered(dir.path(), 0);
    let lost: Vec<u64> = losses.iter().flat_map(|(first, last)| *first..=*last).collect();
    assert!(lost.len() < 40, "{losses:?}");
    let mut all = [frames, lost].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=200));
}

#[derive(Debug)]
struct PartlyReadable {
    bytes: Vec<u8>,
    bad: std::ops::Range<u64>,
}

impl DiskFile for PartlyReadable {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> std::io::Result<usize> {
        if offset < self.bad.end && self.bad.start < offset + into.len() as u64 {
            return Err(std::io::Error::other("bad sector"));
        }
        let from = &self.bytes[self.bytes.len().min(offset as usize)..];
        let read = from.len().min(into.len());
        into[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> std::io::Result<()> {
        unreachable!("recovery writes nothing")
    }

    fn sync_data(&self) -> std::io::Result<()> {
        unreachable!("recovery writes nothing")
    }
}

/// What becomes of a stretch of a segment.
#[derive(Clone, Debug)]
enum Harm {
    Flip { at: usize, bit: u8 },
    Zero { page: usize },
    Swap { page: usize, with: usize },
    Stale { page: usize },
}

const PAGE: usize = 512;

fn harm() -> impl Strategy<Value = Harm> {
    let page = 0..24_usize;
    prop_oneof![
        (0..12_000_usize, 0..8_u8).prop_map(|(at, bit)| Harm::Flip { at, bit }),
        page.clone().prop_map(|page| Harm::Zero { page }),
        (page.clone(), page.clone()).prop_map(|(page, with)| Harm::Swap { page, with }),
        page.prop_map(|page| Harm::Stale { page }),
    ]
}

impl Harm {
    /// `stale` is another segment with frames of the same numbers.
    fn apply(&self, bytes: &mut [u8], stale: &[u8]) {
        let length = bytes.len();
        let page_of = |page: usize| (page * PAGE).min(length)..((page + 1) * PAGE).min(length);
        match *self {
            Self::Flip { at, bit } => bytes[at % length] ^= 1 << bit,
            Self::Zero { page } => bytes[page_of(page)].fill(0),
            Self::Swap { page, with } => {
                let (a, b) = (page_of(page), page_of(with));
                if a.len() == b.len() {
                    let kept = bytes[a.clone()].to_vec();
                    bytes.copy_within(b.clone(), a.start);
                    bytes[b].copy_from_slice(&kept);
                }
            }
            Self::Stale { page } => {
                let page = page_of(page);
                if page.end <= stale.len() {
                    bytes[page.clone()].copy_from_slice(&stale[page]);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4000 }))]

    /// Scenario: up to four stretches of a log rot: bits, pages that read as zeros, pages in each other's place, pages of an
    /// older file. All of it had been acknowledged, and the log had been idle.
    /// Guarantees: every frame whose bytes are unharmed comes back, unchanged; every other is reported, once, and no number
    /// is reported that is there.
    #[test]
    fn whatever_rots_the_rest_comes_back_and_every_loss_is_reported(
        harms in prop::collection::vec(harm(), 1..4),
        sealed: bool,
        last_is_hit: bool,
    ) {
        let (first, first_ends) = segment(1..=60, true, NOT_ABANDONED);
        let (second, second_ends) = segment(61..=120, sealed, NOT_ABANDONED);
        let stale = stale_segment(if last_is_hit { 61 } else { 1 });
        let mut segments = [first, second];
        let hit = usize::from(last_is_hit);
        let before = segments[hit].clone();
        for harm in &harms {
            harm.apply(&mut segments[hit], &stale);
        }
        let dir = tempdir().unwrap();
        write(dir.path(), 1, &segments[0]);
        write(dir.path(), 61, &segments[1]);
        set_mark(dir.path(), 120);
        let (frames, losses) = recovered(dir.path(), 0);
        let lost: Vec<u64> = losses.iter().flat_map(|(first, last)| *first..=*last).collect();

        let (start, ends) = if last_is_hit { (61, second_ends) } else { (1, first_ends) };
        let mut from = SEGMENT_HEADER_BYTES;
        for (seq, end) in (start..).zip(ends) {
            // The padding carries nothing.
            let unharmed = before[from..end] == segments[hit][from..end];
            prop_assert!(!unharmed || frames.contains(&seq), "{} is whole and not recovered", seq);
            from = end;
        }
        let mut all = [frames, lost].concat();
        all.sort_unstable();
        prop_assert!(all.iter().copied().eq(1..=120), "{:?}: {:?}", losses, all);
    }
}

/// A segment as an older file may have left it: the same numbers and sizes, another salt.
fn stale_segment(first_seq: u64) -> Vec<u8> {
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    for seq in first_seq..first_seq + 60 {
        frame(seq).encode_into(&mut bytes, Salt::new(0xdead), SequenceNumber(seq - 1));
    }
    bytes
}

#[test]
fn frames_of_another_segment_never_validate() {
    let (first, ends) = segment(1..=3, false, NOT_ABANDONED);
    let (other, other_ends) = segment(3..=6, false, NOT_ABANDONED);
    let mut bytes = first[..ends[1]].to_vec();
    // Old bytes of a recycled file: a well-formed frame with the very number that is expected.
    bytes.extend_from_slice(&other[SEGMENT_HEADER_BYTES..other_ends[0]]);
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &bytes);
    assert_eq!(recovered(dir.path(), 0), (vec![1, 2], vec![]));
}

#[test]
fn what_follows_the_start_of_the_next_segment_is_void() {
    // Entries 5 and 6 of the first segment were refused; the next header, which would say so, was not abandoning it.
    let (first, ends) = segment(1..=6, false, NOT_ABANDONED);
    let (second, _) = segment(5..=7, false, NOT_ABANDONED);
    for damage in [None, Some(ends[3] + 70)] {
        let mut first = first.clone();
        if let Some(at) = damage {
            first[at] ^= 1;
        }
        let dir = tempdir().unwrap();
        write(dir.path(), 1, &first);
        write(dir.path(), 5, &second);
        assert_eq!(recovered(dir.path(), 0), ((1..=7).collect(), vec![]), "{damage:?}");
    }
}

#[test]
fn entries_before_the_first_segment_that_are_in_no_file_are_a_loss() {
    let (bytes, _) = segment(5..=6, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    write(dir.path(), 5, &bytes);
    assert_eq!(recovered(dir.path(), 2), (vec![5, 6], vec![(3, 4)]));
    assert_eq!(recovered(dir.path(), 4), (vec![5, 6], vec![]));
    assert_eq!(recovered(dir.path(), 5), (vec![6], vec![]));
}

#[test]
fn a_damaged_segment_whose_entries_are_in_files_is_no_loss() {
    let (first, _) = segment(1..=4, true, NOT_ABANDONED);
    let (second, _) = segment(5..=6, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &vec![0; first.len()]);
    write(dir.path(), 5, &second);
    assert_eq!(recovered(dir.path(), 4), (vec![5, 6], vec![]));
    assert_eq!(recovered(dir.path(), 2), (vec![5, 6], vec![(3, 4)]));
}

#[test]
fn a_segment_that_another_follows_was_acknowledged_to_its_end() {
    // Entries 4 and 5 are one group of which no frame knows anything; only the name of the next segment does.
    let salt = Salt::new(salt_of(1));
    let (mut first, _) = segment(1..=3, false, NOT_ABANDONED);
    let damaged_from = first.len();
    for seq in 4..=5 {
        frame(seq).encode_into(&mut first, salt, SequenceNumber(3));
    }
    first[damaged_from + 70] ^= 1;
    let (second, _) = segment(6..=6, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &first);
    write(dir.path(), 6, &vec![0; second.len()]);
    let (frames, losses) = recovered(dir.path(), 0);
    assert_eq!(frames, [1, 2, 3, 5]);
    assert_eq!(losses[0], (4, 4));
    assert_eq!(losses[1].0, 6);
}

#[test]
fn a_segment_without_frames_is_an_empty_log() {
    let (bytes, _) = segment(4..=4, false, NOT_ABANDONED);
    let dir = tempdir().unwrap();
    write(dir.path(), 4, &bytes[..SEGMENT_HEADER_BYTES]);
    assert_eq!(recovered(dir.path(), 3), (vec![], vec![]));
}
