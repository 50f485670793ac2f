use tempfile::{TempDir, tempdir};

use super::super::tests::file;
use super::*;
use crate::RetryWindowChange;

/// A catalog with the live files 1, 2 and 3 of one tenant.
pub(in crate::catalog) fn with_three_files() -> (TempDir, Catalog, TenantNumber) {
    let dir = tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
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
