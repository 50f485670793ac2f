use std::collections::BTreeMap;

use alula_catalog::{SequenceNumber, Signal, TenantId};
use tempfile::tempdir;

use super::*;
use crate::buffer::TableKey;
use crate::testing::{entry, store};

/// Scenario: the COMMIT of a flush is on disk, and the flush was told that it failed.
/// Guarantees: the next attempt finds it done; every row is there once.
#[test]
fn a_flush_whose_commit_landed_unnoticed_is_done_by_the_next_attempt() {
    let dir = tempdir().unwrap();
    let store = store(dir.path(), [7; 16]);
    let tenant: TenantId = "a".parse().unwrap();
    let number = store.catalog.register_tenant(&tenant).unwrap();
    store.buffer.add_tenant(tenant.clone(), number);
    let seq = SequenceNumber(1);
    let chunk = Chunk::from_entry(Signal::Logs, &entry("a", "x", 0, 3).batch, seq).unwrap();
    store.buffer.append(vec![(TableKey { tenant: number, signal: Signal::Logs }, chunk)]);
    store.buffer.freeze();
    let cut = Cut { last_seq: seq, segments: Vec::new() };
    let mut pending = PendingFlush::new(cut, Vec::new());
    pending.files = store.write_files().unwrap();
    let nothing = store.retry_window.change_of_flush(SequenceNumber(0), seq, now_ns(), Instant::now());
    store.catalog.commit_flush(&pending.files, seq, &nothing).unwrap();

    store.commit_frozen(&mut pending).unwrap();
    let table = store.buffer.snapshot().table(&tenant, Signal::Logs);
    let rows: BTreeMap<_, _> = table.files.iter().map(|file| (file.id, file.num_rows)).collect();
    assert_eq!((rows.values().sum::<u64>(), rows.len(), table.frozen.len()), (3, 1, 0));
    assert_eq!(store.catalog.live_files().unwrap().len(), 1);
}

#[test]
fn files_that_a_bug_cuts_off_from_the_rest_are_removed() {
    let dir = tempdir().unwrap();
    let store = store(dir.path(), [7; 16]);
    let tenant: TenantId = "a".parse().unwrap();
    let number = store.catalog.register_tenant(&tenant).unwrap();
    store.buffer.add_tenant(tenant, number);
    let chunk = Chunk::from_entry(Signal::Logs, &entry("a", "x", 0, 3).batch, SequenceNumber(1)).unwrap();
    store.buffer.append(vec![(TableKey { tenant: number, signal: Signal::Logs }, chunk)]);
    store.buffer.freeze();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut written = Written { store: &store, files: Vec::new() };
        store.write_files_into(&mut written.files).unwrap();
        assert!(store.layout.data_file(&written.files[0]).exists());
        panic!("a bug");
    }));
    assert!(ended.is_err());
    assert_eq!(crate::reconcile::Tree::read(&store.layout).files, Vec::<PathBuf>::new());
    assert!(store.layout.data_file(&store.write_files().unwrap()[0]).exists());
}
