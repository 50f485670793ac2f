//! What recovery makes of every way a log can be cut or damaged.

use std::fs;
use std::path::Path;

use alula_catalog::{Signal, TenantNumber};
use bytes::Bytes;
use tempfile::tempdir;

use super::*;
use crate::BatchId;
use crate::disk::RealDisk;
use crate::testing::layout;
use crate::wal::format::{Seal, roll};

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

/// A segment with the frames `seqs`, each synced before the next was written.
fn segment(seqs: std::ops::RangeInclusive<u64>, sealed: bool, abandoned_at: u64) -> (Vec<u8>, Vec<usize>) {
    let salt = 0x5eed ^ *seqs.start();
    let header = SegmentHeader {
        store_uuid: UUID,
        salt,
        first_seq: SequenceNumber(*seqs.start()),
        created_ns: 1,
        previous_last_seq: SequenceNumber(seqs.start() - 1),
        previous_rolling_hash: 0,
        previous_abandoned_at: abandoned_at,
    };
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

fn recovered(dir: &Path, flushed: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
    let log = recover(&layout(dir), UUID, SequenceNumber(flushed)).unwrap();
    let frames: Vec<_> = log.segments.iter().flat_map(|segment| segment.frames(&RealDisk).unwrap()).collect();
    for found in &frames {
        assert_eq!(*found, frame(found.seq.0), "a frame came back changed");
    }
    let losses = log.losses.iter().map(|loss| (loss.first.0, loss.last.0)).collect();
    (frames.iter().map(|frame| frame.seq.0).collect(), losses)
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
    let salt = 0x5eed ^ 1;
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

#[test]
fn a_damaged_segment_header_loses_the_segment_and_keeps_the_others() {
    let (mut first, _) = segment(1..=4, true, NOT_ABANDONED);
    let (second, _) = segment(5..=6, false, NOT_ABANDONED);
    first[33] ^= 1;
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &first);
    write(dir.path(), 5, &second);
    let (frames, losses) = recovered(dir.path(), 0);
    assert_eq!((frames, losses), (vec![5, 6], vec![(1, 4)]));
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
    assert!(matches!(recover(&wal, UUID, SequenceNumber(0)), Err(Error::NewerFormat { found: 2, .. })));
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
    let (mut first, _) = segment(1..=4, true, NOT_ABANDONED);
    let (second, _) = segment(5..=6, false, NOT_ABANDONED);
    first[33] ^= 1;
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &first);
    write(dir.path(), 5, &second);
    assert_eq!(recovered(dir.path(), 4), (vec![5, 6], vec![]));
    assert_eq!(recovered(dir.path(), 2), (vec![5, 6], vec![(3, 4)]));
}

#[test]
fn a_segment_that_another_follows_was_acknowledged_to_its_end() {
    // Entries 4 and 5 are one group of which no frame knows anything; only the name of the next segment does.
    let salt = 0x5eed ^ 1;
    let (mut first, _) = segment(1..=3, false, NOT_ABANDONED);
    let damaged_from = first.len();
    for seq in 4..=5 {
        frame(seq).encode_into(&mut first, salt, SequenceNumber(3));
    }
    first[damaged_from + 70] ^= 1;
    let (mut second, _) = segment(6..=6, false, NOT_ABANDONED);
    second[33] ^= 1;
    let dir = tempdir().unwrap();
    write(dir.path(), 1, &first);
    write(dir.path(), 6, &second);
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
