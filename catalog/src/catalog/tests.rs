use super::*;
use crate::{FileId, Hour, Signal, TimeRange};

pub(super) fn file(id: u128, tenant: TenantNumber, first_seq: u64, last_seq: u64) -> DataFile {
    DataFile {
        id: FileId(id),
        tenant,
        signal: Signal::Logs,
        hour: Hour(495_000),
        num_hours: 1,
        tier: Tier::Local,
        num_rows: 10,
        size_bytes: 2_048,
        checksum: [7; 16],
        timestamps: TimeRange { min_ns: i64::MIN, max_ns: i64::MAX },
        first_seq: SequenceNumber(first_seq),
        last_seq: SequenceNumber(last_seq),
        schema_version: 1,
        deletions_applied: 0,
    }
}

#[test]
fn a_tenant_keeps_its_number_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let (a, b) = ("team-a".parse().unwrap(), "team-b".parse().unwrap());
    let catalog = Catalog::open(&path).unwrap();
    let first = catalog.register_tenant(&a).unwrap();
    let second = catalog.register_tenant(&b).unwrap();
    assert_ne!(first, second);
    drop(catalog);
    let catalog = Catalog::open(&path).unwrap();
    assert_eq!(catalog.register_tenant(&b).unwrap(), second);
    assert_eq!(catalog.tenants().unwrap(), vec![(first, a), (second, b)]);
}

#[test]
fn a_tenant_that_does_not_fit_on_the_disk_is_taken_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let id = |n: usize| format!("tenant-{n:056}").parse().unwrap();
    // To SQLite a file at its largest size and a full disk are the same.
    catalog.lock().pragma_update(None, "max_page_count", 1).unwrap();
    let refused = (0..1_000).find_map(|n| catalog.register_tenant(&id(n)).err().map(|error| (n, error)));
    let (refused, error) = refused.expect("1,000 tenants take more pages than there are");
    assert!(error.is_temporary(), "{error:?}");
    catalog.lock().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    catalog.register_tenant(&id(refused)).unwrap();
    let other = Error::InvalidTenantId { given: "A".to_owned() };
    assert!(!other.is_temporary());
}

#[test]
fn files_and_flushed_sequence_move_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let (one, two) = (file(1, tenant, 1, 5), file(2, tenant, 6, 9));
    catalog.commit_flush(std::slice::from_ref(&one), SequenceNumber(5), &RetryWindowChange::NONE).unwrap();
    // The second commit repeats a file: it must change nothing at all, not even add the first of the two.
    assert!(
        catalog
            .commit_flush(&[two.clone(), two.clone()], SequenceNumber(9), &RetryWindowChange::NONE)
            .is_err()
    );
    assert_eq!(catalog.flushed_seq().unwrap(), SequenceNumber(5));
    assert_eq!(catalog.live_files().unwrap(), vec![one.clone()]);
    catalog.commit_flush(std::slice::from_ref(&two), SequenceNumber(9), &RetryWindowChange::NONE).unwrap();
    assert_eq!(catalog.flushed_seq().unwrap(), SequenceNumber(9));
    assert_eq!(catalog.live_files().unwrap(), vec![one, two]);
}

#[test]
fn a_database_of_a_newer_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    drop(Catalog::open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection
        .execute(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (99, 'x', '', '0')",
            [],
        )
        .unwrap();
    drop(connection);
    let error = Catalog::open(&path).unwrap_err();
    assert!(matches!(error, Error::NewerSchema { found: 99, .. }), "{error}");
}

#[test]
fn a_damaged_record_of_a_migration_is_a_damaged_catalog() {
    for damage in
        ["checksum = '99999999999999999999'", "checksum = 'x'", "applied_on = 'x'", "applied_on = NULL"]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.db");
        drop(Catalog::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        connection
            .execute(&format!("UPDATE refinery_schema_history SET {damage} WHERE version = 3"), [])
            .unwrap();
        drop(connection);
        for opened in [Catalog::open(&path), Catalog::inspect(&path)] {
            let error = opened.unwrap_err();
            assert!(matches!(error, Error::DamagedCatalog { .. }), "{damage}: {error}");
        }
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let garbage = vec![b'x'; 5_000];
    std::fs::write(&path, &garbage).unwrap();
    assert!(matches!(Catalog::open(&path), Err(Error::DamagedCatalog { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[test]
fn entries_that_are_in_files_cannot_be_flushed_again() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let one = file(1, tenant, 1, 5);
    catalog.commit_flush(std::slice::from_ref(&one), SequenceNumber(5), &RetryWindowChange::NONE).unwrap();
    for (first_seq, last_seq) in [(1, 5), (5, 9), (2, 4)] {
        let again = file(2, tenant, first_seq, last_seq);
        let error =
            catalog.commit_flush(&[again], SequenceNumber(last_seq), &RetryWindowChange::NONE).unwrap_err();
        assert!(matches!(error, Error::AlreadyFlushed { flushed_seq: SequenceNumber(5), .. }), "{error}");
    }
    assert!(
        catalog.commit_flush(&[], SequenceNumber(4), &RetryWindowChange::NONE).is_err(),
        "the flushed sequence number went back"
    );
    catalog.commit_flush(&[], SequenceNumber(5), &RetryWindowChange::NONE).unwrap();
    assert_eq!(catalog.live_files().unwrap(), vec![one]);
    assert_eq!(catalog.flushed_seq().unwrap(), SequenceNumber(5));
}

#[test]
fn a_flush_whose_commit_landed_unnoticed_is_done_when_it_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let files = [file(1, tenant, 1, 5), file(2, tenant, 2, 4)];
    for _ in 0..3 {
        catalog.commit_flush(&files, SequenceNumber(5), &RetryWindowChange::NONE).unwrap();
    }
    assert_eq!(catalog.live_files().unwrap(), files);
    // Compacted meanwhile.
    catalog.replace_files(&[FileId(1), FileId(2)], &[file(3, tenant, 1, 5)]).unwrap();
    catalog.commit_flush(&files, SequenceNumber(5), &RetryWindowChange::NONE).unwrap();
    assert_eq!(catalog.live_files().unwrap(), [file(3, tenant, 1, 5)]);
    let changed = DataFile { checksum: [8; 16], ..file(1, tenant, 1, 5) };
    assert!(catalog.commit_flush(&[changed], SequenceNumber(5), &RetryWindowChange::NONE).is_err());
}

#[test]
fn a_catalog_of_the_first_version_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("golden/v1.sql")).unwrap();
    // Twice: the second finds it migrated.
    for _ in 0..2 {
        let catalog = Catalog::open(&path).unwrap();
        let tenants = catalog.tenants().unwrap();
        let names: Vec<_> = tenants.iter().map(|(number, id)| (number.0, id.as_str())).collect();
        assert_eq!(names, [(1, "team-a"), (2, "team-b")]);
        assert_eq!(catalog.store_uuid().unwrap()[..4], [0x07, 0x12, 0x0e, 0x82]);
        let files = [file(1, TenantNumber(1), 1, 5), file(2, TenantNumber(1), 6, 9)];
        assert_eq!(catalog.live_files().unwrap(), files);
        assert_eq!(catalog.flushed_seq().unwrap(), SequenceNumber(9));
        assert_eq!(catalog.data_losses().unwrap().len(), 1);
        assert_eq!(catalog.retryable_batches().unwrap(), []);
    }
}

#[test]
fn a_commit_that_is_refused_by_its_gate_is_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::open(&path).unwrap();
    let first = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let mut num_commits = 0;
    let gate = move || {
        num_commits += 1;
        num_commits == 2
    };
    catalog.set_commit_gate(gate).unwrap();
    let flush =
        |id| catalog.commit_flush(&[file(id, first, 1, 5)], SequenceNumber(5), &RetryWindowChange::NONE);
    flush(1).unwrap_err();
    assert_eq!((catalog.live_files().unwrap(), catalog.flushed_seq().unwrap()), (vec![], SequenceNumber(0)));
    flush(2).unwrap();
    catalog.register_tenant(&"b".parse().unwrap()).unwrap_err();
    drop(catalog);
    let catalog = Catalog::open(&path).unwrap();
    assert_eq!(catalog.live_files().unwrap(), [file(2, first, 1, 5)]);
    assert_eq!(catalog.tenants().unwrap().len(), 1);
}
