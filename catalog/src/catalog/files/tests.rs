use std::fs;
use std::io::Write as _;
use std::path::Path;

use tempfile::{TempDir, tempdir};

use super::super::tests::file;
use super::*;
use crate::RetryWindowChange;

const NAME: &str = "catalog.db";
const LOG: &str = "catalog.db-wal";

/// A catalog with the live files 1, 2 and 3 of one tenant.
pub(in crate::catalog) fn with_three_files() -> (TempDir, Catalog, TenantNumber) {
    let dir = tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join(NAME)).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let files = [1, 2, 3].map(|id| file(id, tenant, id as u64, id as u64));
    catalog.commit_flush(&files, SequenceNumber(3), &RetryWindowChange::NONE).unwrap();
    (dir, catalog, tenant)
}

fn live_ids(catalog: &Catalog) -> Vec<u128> {
    catalog.live_files().unwrap().iter().map(|file| file.id.0).collect()
}

#[test]
fn replaced_files_are_dead_until_they_are_forgotten() {
    let (_dir, catalog, tenant) = with_three_files();
    let day = DataFile { num_hours: 24, deletions_applied: 7, ..file(9, tenant, 1, 2) };
    catalog.replace_files(&[FileId(1), FileId(2)], std::slice::from_ref(&day)).unwrap();
    assert_eq!(live_ids(&catalog), [9, 3]);
    assert_eq!(catalog.live_files().unwrap()[0], day);
    let dead = catalog.dead_files().unwrap();
    assert_eq!(dead.iter().map(|dead| dead.file.id.0).collect::<Vec<_>>(), [1, 2]);
    assert!(dead.iter().all(|dead| dead.dead_at_s > 1_700_000_000));
    catalog.forget_files(&[(FileId(1), Tier::Local), (FileId(3), Tier::Local)]).unwrap();
    assert_eq!(catalog.dead_files().unwrap().len(), 1);
    assert_eq!(live_ids(&catalog), [9, 3], "a live file is never forgotten");
}

#[test]
fn a_file_is_replaced_once() {
    let (_dir, catalog, tenant) = with_three_files();
    catalog.replace_files(&[FileId(1)], &[file(8, tenant, 1, 1)]).unwrap();
    let again = catalog.replace_files(&[FileId(2), FileId(1)], &[file(9, tenant, 1, 2)]);
    assert!(matches!(again, Err(Error::NotLive { file: FileId(1) })));
    assert_eq!(live_ids(&catalog), [8, 2, 3], "nothing of a refused replacement is there");
}

/// What the next process finds: the database and SQLite's log, without the index over it that processes share.
fn next_process(dir: &Path) -> (TempDir, Catalog) {
    let next = tempdir().unwrap();
    for name in [NAME, LOG] {
        fs::copy(dir.join(name), next.path().join(name)).unwrap();
    }
    let catalog = Catalog::open(&next.path().join(NAME)).unwrap();
    (next, catalog)
}

/// Leaves the files as a replacement of the files 1 and 2 by `live` leaves them whose COMMIT was written to SQLite's log and
/// failed at the sync: the log has all of it, and its index, which SQLite writes after the sync, does not.
///
/// No disk can be told here to fail a sync under SQLite. So another process does the same to a copy, and what it adds to its
/// log is added to this one.
fn replace_with_failed_commit(dir: &Path, live: &[DataFile]) {
    let before = fs::read(dir.join(LOG)).unwrap();
    let (twin, catalog) = next_process(dir);
    assert_eq!(fs::read(twin.path().join(LOG)).unwrap(), before, "opening it wrote something");
    catalog.replace_files(&[FileId(1), FileId(2)], live).unwrap();
    let after = fs::read(twin.path().join(LOG)).unwrap();
    let added = after.strip_prefix(before.as_slice()).unwrap();
    assert!(!added.is_empty());
    fs::File::options().append(true).open(dir.join(LOG)).unwrap().write_all(added).unwrap();
}

/// Scenario: a COMMIT that was reported as failed is in SQLite's log all the same, whole, be it of one file or of many.
/// Guarantees: this process does not see it, the next one would, and after it is buried no process does.
#[test]
fn a_commit_that_failed_and_was_written_all_the_same_is_undone_once_it_is_buried() {
    for num_live in [0, 1, 400] {
        let (dir, catalog, tenant) = with_three_files();
        let live: Vec<_> = (0..num_live).map(|id| file(1_000 + id, tenant, 1, 2)).collect();
        replace_with_failed_commit(dir.path(), &live);
        assert_eq!(live_ids(&catalog), [1, 2, 3]);
        let (_next, revived) = next_process(dir.path());
        assert_eq!(live_ids(&revived).len(), 1 + live.len(), "the COMMIT that failed is not in the log");

        catalog.bury_failed_commit().unwrap();
        assert_eq!(live_ids(&catalog), [1, 2, 3]);
        let (_next, next) = next_process(dir.path());
        assert_eq!(live_ids(&next), [1, 2, 3], "{num_live} files");
        // What comes after it counts, here and there.
        catalog.replace_files(&[FileId(3)], &[file(9, tenant, 3, 3)]).unwrap();
        let (_next, next) = next_process(dir.path());
        assert_eq!((live_ids(&next), live_ids(&catalog)), (vec![1, 2, 9], vec![1, 2, 9]));
        drop(catalog);
        assert_eq!(live_ids(&Catalog::open(&dir.path().join(NAME)).unwrap()), [1, 2, 9]);
    }
}
