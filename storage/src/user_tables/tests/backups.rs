//! User tables in a backup, and out of it.

use crate::backup::{BackupOptions, Location, Progress, RestoreOptions, backup, restore};

use super::*;

#[tokio::test]
async fn a_backup_of_a_running_store_has_its_user_tables() {
    let (dir, target, other) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[1, 2, 3]).unwrap();
    create_and_commit(&storage, "b", "none", &[]).unwrap();
    let to = Location::parse(target.path().to_str().unwrap()).unwrap();
    let options = |to| BackupOptions { data_dir: dir.path().to_owned(), to, keep: None, verify: false };
    backup(options(to.clone()), Arc::new(Progress::default())).await.unwrap();
    // The second one shares the files of the first; one of them is not in the store any more.
    let mut transaction = begin(&storage, "a");
    transaction.drop_table("hosts").unwrap();
    create(&mut transaction, "teams").unwrap();
    append(&mut transaction, "teams", &rows(&[4])).unwrap();
    transaction.commit().await.unwrap();
    storage.store().remove_user_garbage();
    let mut under_way = begin(&storage, "a");
    append(&mut under_way, "teams", &rows(&[5])).unwrap();
    let report = backup(options(to.clone()), Arc::new(Progress::default())).await.unwrap();
    assert_eq!((report.data_files, report.new_data_files), (2, 1));
    drop(under_way);

    let data_dir = other.path().join("restored");
    let restored = RestoreOptions { from: to, snapshot: None, data_dir: data_dir.clone() };
    let report = restore(restored, Arc::new(Progress::default())).await.unwrap();
    assert_eq!((report.data_files, report.rows_in_files), (2, 1));
    let storage = open(config(&data_dir)).unwrap();
    assert_eq!(
        (names(&storage, "a"), names(&storage, "b")),
        (vec!["teams".to_owned()], vec!["none".to_owned()])
    );
    assert_eq!(contents(&storage, "a", "teams"), expected([4]));
    assert_eq!(contents(&storage, "b", "none"), expected([]));
}
