//! A replaced file stays as long as a query may read it, and not longer.

use tempfile::tempdir;

use crate::testing::{bodies, config, entry, expected, open};

#[tokio::test]
async fn a_replaced_file_goes_once_no_snapshot_names_it() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", 1_795_262_400, 3)).await.unwrap();
    storage.flush().await.unwrap();
    let store = storage.store();
    let before = storage.snapshot();
    let file = before.table(&"a".parse().unwrap(), alula_catalog::Signal::Logs).files[0].id;
    let path = store.layout.data_file(&store.catalog.live_files().unwrap()[0]);

    store.replace_files(vec![file], Vec::new()).unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[]));
    assert!(store.take_unread_garbage().is_empty(), "a snapshot still names it");
    drop(before);
    let mut pace = super::Pace::new(1.0);
    super::Task::step(&mut super::Garbage::default(), store, &mut pace).unwrap();
    assert!(!path.exists());
    assert!(store.catalog.dead_files().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_crash_left_of_dead_files_is_removed_at_the_next_start() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", 1_795_262_400, 3)).await.unwrap();
    storage.flush().await.unwrap();
    let file = storage.store().catalog.live_files().unwrap().remove(0);
    storage.store().replace_files(vec![file.id], Vec::new()).unwrap();
    let path = storage.store().layout.data_file(&file);
    drop(storage);
    assert!(path.exists(), "nobody removed it");
    let storage = open(config(dir.path())).unwrap();
    assert!(!path.exists());
    assert!(storage.store().catalog.dead_files().unwrap().is_empty());
}
