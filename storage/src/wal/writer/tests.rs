//! Disks that refuse: writes fail as those of `/dev/full` do, syncs as those of `/dev/null`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use alula_catalog::{Signal, TenantNumber};
use tempfile::{TempDir, tempdir};
use tokio::sync::Semaphore;

use super::*;
use crate::buffer::Snapshot;
use crate::data_files::DataFiles;
use crate::testing::{entry, layout};
use crate::wal::recover;

const UUID: [u8; 16] = [7; 16];

fn writer() -> (TempDir, WalWriter) {
    let dir = tempdir().unwrap();
    let wal = layout(dir.path());
    fs::create_dir(wal.wal_dir()).unwrap();
    let buffer = Arc::new(Buffer::new(Snapshot::new(
        Arc::new(DataFiles::new(wal.clone())),
        HashMap::new(),
        Vec::new(),
    )));
    let (writer, _) = WalWriter::new(wal, buffer, UUID, 1 << 20, SequenceNumber(0));
    (dir, writer)
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
    let salt = segment.salt;
    let answer = append(writer, "refused");
    if fs::read(&path).is_ok_and(|bytes| bytes[32..40] == salt.to_le_bytes()) {
        let file = File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &writer.staging, end).unwrap();
    }
    answer
}

fn recovered(dir: &Path) -> Vec<(u64, String)> {
    let log = recover(&layout(dir), UUID, SequenceNumber(0)).unwrap();
    assert!(log.losses.is_empty(), "{:?}", log.losses);
    let frames = log.segments.iter().flat_map(|segment| segment.frames(&crate::disk::RealDisk).unwrap());
    let label = |frame: &Frame| String::from_utf8_lossy(&frame.payload).split(' ').next().unwrap().to_owned();
    frames.map(|frame| (frame.seq.0, label(&frame))).collect()
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
/// Guarantees: what was refused never comes back, what was acknowledged does, and the log goes on by itself.
#[test]
fn a_refused_write_never_comes_back() {
    let (dir, mut writer) = writer();
    assert_eq!(append(&mut writer, "one").unwrap(), SequenceNumber(1));
    for _ in 0..2 {
        assert!(matches!(fail_as(&mut writer, "/dev/full"), Err(Error::WalWrite(_))));
        assert_eq!(recovered(dir.path()), [(1, "one".to_owned())]);
    }
    assert_eq!(append(&mut writer, "two").unwrap(), SequenceNumber(2));
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned()), (2, "two".to_owned())]);
    writer.freeze();
    assert_eq!(visible_rows(&writer), 2);
}

#[test]
fn a_failed_sync_refuses_for_good_and_keeps_what_was_acknowledged() {
    let (dir, mut writer) = writer();
    append(&mut writer, "one").unwrap();
    assert!(matches!(fail_as(&mut writer, "/dev/null"), Err(Error::ReadOnly { .. })));
    assert!(matches!(append(&mut writer, "two"), Err(Error::ReadOnly { .. })));
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned())]);
    let cut = writer.freeze();
    assert_eq!((cut.last_seq, cut.segments.len(), visible_rows(&writer)), (SequenceNumber(1), 1, 1));
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
    fs::remove_file(&wal).unwrap();
    fs::create_dir(&wal).unwrap();
    assert_eq!(append(&mut writer, "one").unwrap(), SequenceNumber(1));
    assert_eq!(recovered(dir.path()), [(1, "one".to_owned())]);
}
