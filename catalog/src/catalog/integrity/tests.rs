//! A catalog that changed by itself, in whatever way, is never opened.

use std::fs;
use std::path::Path;

use super::*;
use crate::catalog::tests::file;
use crate::catalog::user_tables::tests::{user_file, user_table};
use crate::{
    Catalog, DataLoss, Error, FileId, RetentionPolicy, RetryWindowChange, RetryableBatch, SequenceNumber,
    Signal, TenantNumber, UserTableChange,
};

const NAME: &str = "catalog.db";

/// A catalog with rows in its tables, in a directory of its own; `left` says what of it is still in SQLite's log.
fn catalog_of(dir: &Path, left: usize) -> Catalog {
    let catalog = Catalog::open(&dir.join(NAME)).unwrap();
    fill(&catalog, 0..4);
    drop(catalog);
    let catalog = Catalog::open(&dir.join(NAME)).unwrap();
    fill(&catalog, 4..4 + left as u64);
    catalog
}

fn fill(catalog: &Catalog, steps: std::ops::Range<u64>) {
    for i in steps {
        let tenant = catalog.register_tenant(&format!("team-{i}").parse().unwrap()).unwrap();
        let batch = RetryableBatch {
            tenant,
            seq: SequenceNumber(i + 1),
            received_ns: 7,
            id: [3; 16],
            num_rejected: 0,
        };
        let change = RetryWindowChange { batches: vec![batch], forget_before_ns: 0 };
        let flushed = file(u128::from(i) + 1, tenant, i + 1, i + 1);
        catalog.commit_flush(&[flushed], SequenceNumber(i + 1), &change).unwrap();
        let table = user_table(i.into(), tenant, "hosts", 1);
        let files = vec![user_file(u128::from(i), tenant, i.into())];
        catalog.commit_user_tables(tenant, &[UserTableChange::Create { table, files }]).unwrap();
        catalog.set_retention(&RetentionPolicy { tenant, signal: Signal::Logs, keep_ns: Some(9) }).unwrap();
        let recorded = catalog.record_data_losses(&[loss(tenant, i)]).unwrap();
        if i == 1 {
            catalog.acknowledge_losses(&[recorded[0].id], Some("disk replaced")).unwrap();
        }
    }
}

fn loss(tenant: TenantNumber, number: u64) -> DataLoss {
    DataLoss {
        first_seq: SequenceNumber(number),
        last_seq: SequenceNumber(number),
        source: format!("data/{number}"),
        detail: "it is missing".to_owned(),
        found_ns: 7,
        tenant: Some(tenant),
        signal: Some(Signal::Logs),
        num_rows: None,
        timestamps: None,
    }
}

/// Everything that a query or a flush asks.
fn contents(catalog: &Catalog) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        catalog.store_uuid().unwrap(),
        catalog.flushed_seq().unwrap(),
        catalog.tenants().unwrap(),
        catalog.live_files().unwrap(),
        catalog.retention_policies().unwrap(),
        catalog.retryable_batches().unwrap(),
        catalog.user_tables().unwrap(),
        catalog.live_user_files().unwrap(),
        catalog.data_losses().unwrap(),
    )
}

/// Copies the database, its log and its mark as they are at this moment.
fn image(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Either it is refused by name, or it is what it was.
fn check_damage(from: &Path, name: &str, damage: impl FnOnce(&mut Vec<u8>), expected: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    image(from, dir.path());
    let mut bytes = fs::read(dir.path().join(name)).unwrap();
    damage(&mut bytes);
    fs::write(dir.path().join(name), bytes).unwrap();
    check_opened(dir.path(), expected)
}

fn check_opened(dir: &Path, expected: &str) -> bool {
    match Catalog::open(&dir.join(NAME)) {
        Ok(catalog) => {
            assert_eq!(contents(&catalog), expected);
            false
        }
        Err(error) => {
            assert!(matches!(error, Error::DamagedCatalog { .. }), "{error:?}");
            assert!(error.to_string().contains("`alula verify --repair`"), "{error}");
            true
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_without_effect() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog_of(dir.path(), 3);
    let expected = contents(&catalog);
    let mut refused = 0;
    for (name, flips) in [(NAME, 48), ("catalog.db-wal", 40), ("catalog.db-shm", 6), ("catalog.db-mark", 6)] {
        let length = fs::metadata(dir.path().join(name)).unwrap().len() as usize;
        // Offsets that move through the file and through the page.
        for step in 0..flips {
            let at = (step * 6_151 + 17) % length;
            refused +=
                usize::from(check_damage(dir.path(), name, |bytes| bytes[at] ^= 1 << (step % 8), &expected));
        }
    }
    assert!(refused > 10, "{refused} of 100: some of the bytes mean something");
}

#[test]
fn a_file_that_was_cut_or_removed_is_refused_or_without_effect() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog_of(dir.path(), 3);
    let expected = contents(&catalog);
    for name in [NAME, "catalog.db-wal", "catalog.db-shm", "catalog.db-mark"] {
        let length = fs::metadata(dir.path().join(name)).unwrap().len() as usize;
        for part in 0..6 {
            let refused =
                check_damage(dir.path(), name, |bytes| bytes.truncate(length * part / 6), &expected);
            assert!(refused || name != "catalog.db-wal", "{name} cut to {part}/6 was taken");
        }
        let without = tempfile::tempdir().unwrap();
        image(dir.path(), without.path());
        fs::remove_file(without.path().join(name)).unwrap();
        let refused = check_opened(without.path(), &expected);
        assert_eq!(refused, name == NAME || name == "catalog.db-wal", "{name}");
    }
}

#[test]
fn any_changed_value_of_any_covered_table_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog_of(dir.path(), 0);
    catalog.replace_files(&[FileId(1)], &[file(9, TenantNumber(1), 1, 1)]).unwrap();
    drop(catalog);
    for change in [
        "UPDATE files SET min_timestamp = min_timestamp + 1 WHERE id LIKE '%2'",
        "UPDATE files SET tier = 'remote' WHERE id LIKE '%3'",
        "UPDATE tenants SET id = 'team-x' WHERE number = 2",
        "UPDATE store SET flushed_seq = flushed_seq - 1",
        "UPDATE retention SET keep_ns = 8 WHERE tenant_number = 1",
        "UPDATE retry_window SET batches = x'00' WHERE last_seq = 2",
        "DELETE FROM retry_window WHERE last_seq = 1",
        "DELETE FROM files WHERE state = 'dead'",
        "UPDATE user_tables SET version = version + 1 WHERE tenant_number = 2",
        "UPDATE user_files SET num_rows = 0 WHERE tenant_number = 2",
        "UPDATE data_loss SET acknowledged_at = '2026-11-21T12:00:00.000Z' WHERE id = 1",
        "UPDATE data_loss SET acknowledged_at = NULL, note = NULL WHERE id = 2",
        "UPDATE data_loss SET note = 'disk repaired' WHERE id = 2",
        "DELETE FROM data_loss WHERE id = 3",
        "UPDATE integrity SET digest = digest + 1 WHERE table_name = 'files'",
    ] {
        let changed = tempfile::tempdir().unwrap();
        image(dir.path(), changed.path());
        let connection = Connection::open(changed.path().join(NAME)).unwrap();
        if !change.contains("integrity") {
            assert!(connection.execute(change, []).is_err(), "{change}: a trigger is missing");
        }
        // As the disk would: without the triggers.
        let triggers: Vec<(String, String)> = connection
            .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (name, _) in &triggers {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        assert_eq!(connection.execute(change, []).unwrap(), 1, "{change}");
        for (_, sql) in &triggers {
            connection.execute_batch(sql).unwrap();
        }
        drop(connection);
        let error = Catalog::open(&changed.path().join(NAME)).unwrap_err();
        assert!(
            matches!(error, Error::DamagedCatalog { damage: CatalogDamage::Rows { .. }, .. }),
            "{change}: {error}"
        );
        assert!(
            matches!(Catalog::inspect(&changed.path().join(NAME)), Err(Error::DamagedCatalog { .. })),
            "{change}"
        );
    }
}

#[test]
fn a_catalog_that_went_back_in_time_is_refused_and_one_that_is_ahead_of_its_mark_is_not() {
    let dir = tempfile::tempdir().unwrap();
    drop(catalog_of(dir.path(), 0));
    let earlier = tempfile::tempdir().unwrap();
    image(dir.path(), earlier.path());
    fill(&Catalog::open(&dir.path().join(NAME)).unwrap(), 4..5);
    // A crash between the COMMIT and the mark.
    fs::copy(dir.path().join(NAME), earlier.path().join(NAME)).unwrap();
    Catalog::open(&earlier.path().join(NAME)).unwrap();

    let before = tempfile::tempdir().unwrap();
    image(dir.path(), before.path());
    fill(&Catalog::open(&dir.path().join(NAME)).unwrap(), 5..6);
    fs::copy(before.path().join(NAME), dir.path().join(NAME)).unwrap();
    let error = Catalog::open(&dir.path().join(NAME)).unwrap_err();
    assert!(matches!(error, Error::DamagedCatalog { damage: CatalogDamage::Outdated { .. }, .. }), "{error}");
}

#[test]
fn a_catalog_that_is_only_looked_at_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog_of(dir.path(), 2);
    let expected = contents(&catalog);
    drop(catalog);
    let before = fs::read(dir.path().join(NAME)).unwrap();
    assert_eq!(contents(&Catalog::inspect(&dir.path().join(NAME)).unwrap()), expected);
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), before);
}
