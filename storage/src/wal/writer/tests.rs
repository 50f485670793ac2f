//! Disks that refuse: writes fail as those of `/dev/full` do, syncs as those of `/dev/null`.

use std::fs::{self, File};
use std::path::Path;

use alula_catalog::{Signal, TenantNumber};
use tempfile::{TempDir, tempdir};
use tokio::sync::{Semaphore, oneshot};

use super::*;
use crate::buffer::{Snapshot, TableKey};
use crate::testing::{config, entry, layout, store};
use crate::wal::{Frame, recover};
use crate::{Error, OnSyncError, Result};

const UUID: [u8; 16] = [7; 16];

fn writer_with(on_sync_error: OnSyncError) -> (TempDir, WalWriter) {
    let dir = tempdir().unwrap();
    fs::create_dir(layout(dir.path()).wal_dir()).unwrap();
    let store = store(dir.path(), UUID);
    let config = Config { on_sync_error, ..config(dir.path()) };
    let (writer, _) = WalWriter::new(&store, &config, Replayed::default());
    (dir, writer)
}

fn writer() -> (TempDir, WalWriter) {
    writer_with(OnSyncError::Recover)
}

fn append(writer: &mut WalWriter, label: &str) -> Result<SequenceNumber> {
    let entry = entry("a", label, 0, 1);
    let (reply, mut answer) = oneshot::channel();
    let frame = Frame {
        seq: SequenceNumber(0),
        signal: Signal::Logs,
        tenant: TenantNumber(1),
        batch_id: None,
        received_ns: 0,
        num_rows: 1,
        rejected: Vec::new(),
        payload: entry.payload,
    };
    let queued = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    writer.commit(vec![Append { frame, batch: entry.batch, reply, claim: None, queued }]);
    answer.try_recv().expect("every append is answered").map(|stored| stored.seq)
}

/// From here on the open segment fails as `path` does. What it refuses is on disk all the same, whole.
fn fail_as(writer: &mut WalWriter, path: &str) -> Result<SequenceNumber> {
    let segment = writer.segment.as_mut().unwrap();
    segment.replace_file(File::options().write(true).open(path).unwrap());
    let (path, end) = (segment.path().to_owned(), segment.durable_offset());
    let before = fs::read(&path).unwrap()[32..40].to_vec();
    let answer = append(writer, "refused");
    if fs::read(&path).is_ok_and(|bytes| bytes[32..40] == before) {
        let file = File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &writer.staging, end).unwrap();
    }
    answer
}

/// As if the pause after a failure were over.
fn end_pause(writer: &mut WalWriter) {
    let until = writer.faults.paused_until.expect("the writer pauses");
    writer.end_pause(until);
}

/// As if everything were in files.
fn flushed(writer: &mut WalWriter) {
    let cut = writer.freeze();
    writer.buffer.commit_frozen(Vec::new());
    writer.condition.flushed(cut.last_seq);
}

fn recovered(dir: &Path) -> Vec<(u64, String)> {
    let log = recover(&layout(dir), UUID, SequenceNumber(0)).unwrap();
    let label = |frame: &Frame| String::from_utf8_lossy(&frame.payload).split(' ').next().unwrap().to_owned();
    let mut found = Vec::new();
    for index in 0..log.num_segments() {
        let segment = log.read(index).unwrap();
        assert!(segment.losses.is_empty(), "{:?}", segment.losses);
        found.extend(segment.frames().map(Result::unwrap).map(|frame| (frame.seq.0, label(&frame))));
    }
    found
}

fn visible_rows(writer: &WalWriter) -> usize {
    let key = TableKey { tenant: TenantNumber(1), signal: Signal::Logs };
    let rows = |snapshot: &Snapshot| {
        let (_, table) = snapshot.frozen_tables().into_iter().find(|(found, _)| *found == key)?;
        Some(table.frozen.iter().map(|chunk| chunk.num_rows()).sum())
    };
    rows(&writer.buffer.snapshot()).unwrap_or(0)
}

/// Scenario: the disk is full, twice in a row, and the process dies before or after the log goes on.
/// Guarantees: what was refused never comes back, what was acknowledged does, and the log goes on after a pause.
#[test]
fn a_refused_write_never_comes_back() {
    let (dir, mut writer) = writer();
    assert_eq!(append(&mut writer, "one").unwrap(), SequenceNumber(1));
    for _ in 0..2 {
        assert!(matches!(fail_as(&mut writer, "/dev/full"), Err(Error::WalWrite(_))));
        assert_eq!(recovered(dir.path()), [(1, "one".to_owned())]);
    }
    assert!(matches!(append(&mut writer, "too early"), Err(Error::WalWrite(_))));
    assert!(writer.condition.refusal().is_some(), "appends are not refused at the door");
    end_pause(&mut writer);
    assert!(writer.condition.refusal().is_none());
    assert_eq!(append(&mut writer, "two").unwrap(), SequenceNumber(2));
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned()), (2, "two".to_owned())]);
    writer.freeze();
    assert_eq!(visible_rows(&writer), 2);
}

/// Scenario: a sync fails while acknowledged entries are in the segment.
/// Guarantees: nothing is acknowledged until they are in files; then the log goes on by itself, in a new segment.
#[test]
fn after_a_failed_sync_the_log_goes_on_once_its_rows_are_in_files() {
    let (dir, mut writer) = writer();
    append(&mut writer, "one").unwrap();
    assert!(matches!(fail_as(&mut writer, "/dev/null"), Err(Error::WalWrite(_))));
    assert!(writer.condition.is_held());
    assert!(matches!(append(&mut writer, "two"), Err(Error::ReadOnly { .. })));
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned())]);
    let cut = writer.freeze();
    assert_eq!((cut.last_seq, cut.segments.len(), visible_rows(&writer)), (SequenceNumber(1), 1, 1));
    writer.condition.flushed(SequenceNumber(1));
    assert_eq!(append(&mut writer, "two").unwrap(), SequenceNumber(2));
}

#[test]
fn after_a_failed_sync_of_a_segment_without_entries_the_next_one_is_taken() {
    let (dir, mut writer) = writer();
    append(&mut writer, "one").unwrap();
    flushed(&mut writer);
    append(&mut writer, "two").unwrap();
    flushed(&mut writer);
    fail_as_new_segment(&mut writer);
    assert!(!writer.condition.is_held());
    assert_eq!(append(&mut writer, "three").unwrap(), SequenceNumber(3));
    assert_eq!(recovered(dir.path()).last().unwrap(), &(3, "three".to_owned()));
}

fn fail_as_new_segment(writer: &mut WalWriter) {
    writer.segment = Some(writer.open_segment().unwrap());
    assert!(matches!(fail_as(writer, "/dev/null"), Err(Error::WalWrite(_))));
}

#[test]
fn told_to_exit_after_a_failed_sync_the_writer_takes_nothing_more() {
    let (dir, mut writer) = writer_with(OnSyncError::Exit);
    append(&mut writer, "one").unwrap();
    assert!(fail_as(&mut writer, "/dev/null").is_err());
    flushed(&mut writer);
    assert!(matches!(append(&mut writer, "two"), Err(Error::ReadOnly { .. })));
    let health = writer.condition.watch().borrow().clone();
    assert!(matches!(health, crate::Health::Failed { .. }), "{health:?}");
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned())]);
}

#[test]
fn a_flush_leaves_a_segment_alone_that_later_entries_go_to() {
    let (_dir, mut writer) = writer();
    append(&mut writer, "one").unwrap();
    fail_as(&mut writer, "/dev/full").unwrap_err();
    let cut = writer.freeze();
    append(&mut writer, "two").unwrap();
    let current = writer.segment.as_ref().unwrap().path();
    assert!(!cut.segments.iter().any(|flushed| flushed == current), "{cut:?}");
}

#[test]
fn the_log_goes_on_once_its_directory_is_back() {
    let (dir, mut writer) = writer();
    let wal = dir.path().join("wal");
    fs::remove_dir(&wal).unwrap();
    fs::write(&wal, "in the way").unwrap();
    for _ in 0..2 {
        assert!(matches!(append(&mut writer, "refused"), Err(Error::WalWrite(_))));
    }
    end_pause(&mut writer);
    assert!(writer.condition.refusal().is_some(), "there is no segment yet");
    fs::remove_file(&wal).unwrap();
    fs::create_dir(&wal).unwrap();
    end_pause(&mut writer);
    assert!(writer.condition.refusal().is_none());
    assert_eq!(append(&mut writer, "one").unwrap(), SequenceNumber(1));
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned())]);
}

/// Scenario: a write fails after its bytes arrived, and no new segment can be made; then the process dies.
/// Guarantees: what was refused does not come back.
#[test]
fn a_refused_write_is_overwritten_where_no_new_segment_can_be_made() {
    let (dir, mut writer) = writer();
    append(&mut writer, "one").unwrap();
    let segment = writer.segment.take().unwrap();
    let (path, end) = (segment.path().to_owned(), segment.durable_offset());
    writer.staging.clear();
    for (seq, label) in [(2, "refused"), (3, "refused, too")] {
        let mut frame = Frame {
            seq: SequenceNumber(seq),
            signal: Signal::Logs,
            tenant: TenantNumber(1),
            batch_id: None,
            received_ns: 0,
            num_rows: 1,
            rejected: Vec::new(),
            payload: bytes::Bytes::from(label),
        };
        frame.seq = SequenceNumber(seq);
        frame.encode_into(&mut writer.staging, segment.salt, SequenceNumber(1));
    }
    let file = File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &writer.staging, end).unwrap();
    assert_eq!(recovered(dir.path()).len(), 3);
    // A directory in the way of the next segment's temporary file.
    fs::create_dir(dir.path().join("wal/00000000000000000002.wal.tmp")).unwrap();
    let _ = writer.cannot_write(segment, std::io::ErrorKind::StorageFull.into());
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned())]);
    assert!(writer.condition.refusal().is_some());
}

#[test]
fn what_is_unflushed_is_marked_when_the_log_falls_idle_and_when_it_ends() {
    let (dir, mut writer) = writer();
    let marked = || super::super::mark::read_mark(&layout(dir.path()), UUID).0;
    append(&mut writer, "one").unwrap();
    writer.write_mark();
    assert_eq!(marked(), 1);
    append(&mut writer, "two").unwrap();
    assert_eq!(marked(), 1);
    writer.close();
    assert_eq!(marked(), 2);
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned()), (2, "two".to_owned())]);
}

#[test]
fn what_is_in_files_needs_no_mark() {
    let (dir, mut writer) = writer();
    append(&mut writer, "one").unwrap();
    flushed(&mut writer);
    writer.write_mark();
    assert!(!layout(dir.path()).mark().exists());
}
