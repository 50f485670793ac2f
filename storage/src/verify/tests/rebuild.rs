//! A repaired catalog: the same rows, once each, whatever was lost and whenever the process died.

use std::collections::BTreeSet;

use alula_catalog::{FileId, Signal};

use super::*;
use crate::testing::layout;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A repair of a copy without its catalog. The copy, and what is live in it.
fn repaired(dir: &Path) -> TempDir {
    let copy = image(dir);
    remove_catalog(copy.path());
    let report = repair(copy.path(), RepairMode::IfNeeded).unwrap();
    assert!(report.is_sound(), "{report:?}");
    copy
}

/// What of a catalog is built anew.
fn rebuildable(dir: &Path) -> String {
    let catalog = Catalog::inspect(&dir.join("catalog.db")).unwrap();
    format!(
        "{:?} {:?} {:?} {:?}",
        catalog.store_uuid().unwrap(),
        catalog.tenants().unwrap(),
        catalog.live_files().unwrap(),
        catalog.flushed_seq().unwrap()
    )
}

/// Scenario: stores with three tenants, flushed, compacted, killed and started at random.
/// Guarantees: after the loss of the catalog a repair gives the same rows; and the same catalog, if nothing was in the log.
#[tokio::test]
async fn a_rebuilt_catalog_equals_the_lost_one_in_many_states() {
    for seed in 0..8 {
        let mut dice = Dice(seed);
        let dir = tempdir().unwrap();
        let mut storage = open(crate::Config { wal_segment_bytes: 700, ..config(dir.path()) }).unwrap();
        // The names of tenants are in files only.
        for tenant in TENANTS {
            storage.append(entry(tenant, "first", NOON_S, 1)).await.unwrap();
        }
        storage.flush().await.unwrap();
        for step in 0..14 {
            match dice.below(8) {
                0..4 => {
                    let tenant = TENANTS[dice.below(3) as usize];
                    let first_s = NOON_S + 1800 * dice.below(6) as i64;
                    let count = 1 + dice.below(5) as usize;
                    storage.append(entry(tenant, &format!("s{step}"), first_s, count)).await.unwrap();
                }
                4 | 5 => storage.flush().await.unwrap(),
                6 => {
                    storage.compact(None, None).await.unwrap();
                }
                _ => {
                    drop(storage);
                    storage = open(config(dir.path())).unwrap();
                }
            }
        }
        let expected = all_rows(&storage).await;
        let copy = repaired(dir.path());
        assert_eq!(rows_of(copy.path()).await, expected, "seed {seed}");
        assert_eq!(rows_of(copy.path()).await, expected, "seed {seed}, started again");

        storage.close().await.unwrap();
        let copy = repaired(dir.path());
        assert_eq!(rebuildable(copy.path()), rebuildable(dir.path()), "seed {seed}");
        assert_eq!(rows_of(copy.path()).await, expected, "seed {seed}, closed");
        let problems = verify(copy.path()).unwrap().problems;
        assert!(problems.is_empty(), "seed {seed}: {problems:?}");
    }
}

/// Scenario: a flush of two tenants and hours, and a crash at any of its steps, with any part of a step done; the catalog is lost.
#[tokio::test]
async fn a_repair_after_a_crash_in_a_flush_loses_and_doubles_nothing() {
    let dir = tempdir().unwrap();
    let storage = open(crate::Config { wal_segment_bytes: 250, ..config(dir.path()) }).unwrap();
    for tenant in TENANTS {
        storage.append(entry(tenant, "earlier", NOON_S, 2)).await.unwrap();
    }
    storage.flush().await.unwrap();
    let old_files: BTreeSet<PathBuf> = files_below(&dir.path().join("data")).into_keys().collect();
    for (i, tenant) in ["a", "b", "a", "c", "b", "a"].into_iter().enumerate() {
        storage.append(entry(tenant, &format!("e{i}"), NOON_S + 3_600 * (i as i64 % 2), 2)).await.unwrap();
    }
    let expected = all_rows(&storage).await;
    let before = image(dir.path());
    storage.flush().await.unwrap();
    let after = image(dir.path());
    let new_files: Vec<PathBuf> = files_below(&dir.path().join("data"))
        .into_keys()
        .filter(|path| !old_files.contains(path))
        .map(|path| path.strip_prefix(dir.path()).unwrap().to_owned())
        .collect();
    assert!(new_files.len() >= 5, "{new_files:?}");
    let mut segments: Vec<PathBuf> = fs::read_dir(before.path().join("wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .collect();
    segments.sort();
    assert!(segments.len() >= 3, "{segments:?}");

    // Files written, one after the other; nothing committed.
    for written in 0..=new_files.len() {
        let copy = image(before.path());
        for file in &new_files[..written] {
            fs::create_dir_all(copy.path().join(file).parent().unwrap()).unwrap();
            fs::copy(after.path().join(file), copy.path().join(file)).unwrap();
        }
        let copy = repaired(copy.path());
        assert_eq!(rows_of(copy.path()).await, expected, "{written} files written");
    }
    // Committed; segments removed, one after the other.
    for removed in 0..=segments.len() {
        let copy = image(after.path());
        for segment in &segments[removed..] {
            fs::copy(segment, copy.path().join("wal").join(segment.file_name().unwrap())).unwrap();
        }
        let copy = repaired(copy.path());
        assert_eq!(rows_of(copy.path()).await, expected, "{removed} segments removed");
    }
    // Committed, and a segment that is still there rotted.
    for rotten in &segments {
        let copy = image(after.path());
        for segment in &segments {
            let mut bytes = fs::read(segment).unwrap();
            if segment == rotten {
                let at = bytes.windows(2).position(|two| two[0] == b'e' && two[1].is_ascii_digit()).unwrap();
                bytes[at] ^= 1;
            }
            fs::write(copy.path().join("wal").join(segment.file_name().unwrap()), bytes).unwrap();
        }
        remove_catalog(copy.path());
        repair(copy.path(), RepairMode::IfNeeded).unwrap();
        assert_eq!(rows_of(copy.path()).await, expected, "{} rotted", rotten.display());
    }
}

/// Scenario: a compaction, and a crash before its COMMIT, after it, or while the replaced files are removed; the catalog is lost.
#[tokio::test]
async fn of_replaced_files_and_their_replacement_only_one_is_taken() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for label in ["x", "y", "z"] {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
        storage.flush().await.unwrap();
    }
    let before = image(dir.path());
    let inputs = storage.store().catalog.live_files().unwrap();
    storage.compact(None, None).await.unwrap();
    let outputs = storage.store().catalog.live_files().unwrap();
    assert_eq!(outputs.len(), 1, "{outputs:?}");
    let rows = expected(&[("x", 2), ("y", 2), ("z", 2)]);
    let (from, output) =
        (layout(dir.path()).data_file(&outputs[0]), layout(before.path()).data_file(&outputs[0]));
    fs::create_dir_all(output.parent().unwrap()).unwrap();
    fs::copy(&from, &output).unwrap();
    for removed in 0..=inputs.len() {
        let copy = image(before.path());
        for input in &inputs[..removed] {
            fs::remove_file(layout(copy.path()).data_file(input)).unwrap();
        }
        let copy = repaired(copy.path());
        assert_eq!(live(copy.path()), outputs, "{removed} removed");
        let storage = open(config(copy.path())).unwrap();
        assert_eq!(bodies(&storage, "a").await, rows, "{removed} removed");
    }
    // Not committed, and damaged: then its inputs are the store, and nothing is lost.
    let copy = image(before.path());
    let damaged = layout(copy.path()).data_file(&outputs[0]);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[10] ^= 0xff;
    fs::write(&damaged, bytes).unwrap();
    let copy = repaired(copy.path());
    assert_eq!(live(copy.path()), inputs);
    assert_eq!(Catalog::inspect(&copy.path().join("catalog.db")).unwrap().data_losses().unwrap(), []);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_on_record_and_nothing_of_it_is_served() {
    let dir = closed().await;
    let files = live(dir.path());
    let path = layout(dir.path()).data_file(&files[0]);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    // The footer is whole, a page is not.
    bytes[whole.len() / 4] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    remove_catalog(dir.path());
    let report = repair(dir.path(), RepairMode::IfNeeded).unwrap();
    let problems: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains(&files[0].id.to_string()) && problems[0].contains("data/quarantine"),
        "{problems:?}"
    );
    assert!(!path.exists());
    assert!(layout(dir.path()).data_quarantine_dir().join(format!("{}.parquet", files[0].id)).exists());

    let storage = open(config(dir.path())).unwrap();
    let losses = storage.store().catalog.data_losses().unwrap();
    assert_eq!(losses.len(), 1);
    assert_eq!((losses[0].loss.first_seq, losses[0].loss.last_seq), (files[0].first_seq, files[0].last_seq));
    assert_eq!((losses[0].loss.num_rows, losses[0].loss.tenant), (Some(3), Some(files[0].tenant)));
    assert_eq!(bodies(&storage, "a").await, expected(&[("y", 3)]));
    storage.close().await.unwrap();

    // A second repair finds it where the first one put it; a third finds it restored.
    remove_catalog(dir.path());
    let again = repair(dir.path(), RepairMode::IfNeeded).unwrap();
    assert_eq!(again.problems.len(), 1, "{again:?}");
    fs::write(&path, &whole).unwrap();
    remove_catalog(dir.path());
    assert!(repair(dir.path(), RepairMode::IfNeeded).unwrap().is_sound());
    assert_eq!(live(dir.path()), files);
}

#[tokio::test]
async fn no_flipped_bit_of_a_file_gets_past_a_repair() {
    let dir = closed().await;
    let file = live(dir.path()).remove(0);
    let path = layout(dir.path()).data_file(&file);
    let whole = fs::read(&path).unwrap();
    remove_catalog(dir.path());
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let copy = image(dir.path());
        let path = layout(copy.path()).data_file(&file);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        let report = repair(copy.path(), RepairMode::IfNeeded).unwrap();
        assert_eq!(report.problems.len(), 1, "byte {at}: {report:?}");
        assert!(!path.exists(), "byte {at}");
        assert_eq!(live(copy.path()).len(), 2, "byte {at}");
    }
}

#[tokio::test]
async fn a_tenant_that_only_the_log_knows_keeps_its_rows_under_a_name_that_says_so() {
    let dir = closed().await;
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("c", "unflushed", NOON_S, 2)).await.unwrap();
    let copy = image(dir.path());
    drop(storage);
    remove_catalog(copy.path());
    let report = repair(copy.path(), RepairMode::IfNeeded).unwrap();
    assert!(
        report.findings.iter().any(|f| f.text.contains("number 3") && f.text.contains("recovered-3")),
        "{report:?}"
    );

    let storage = open(config(copy.path())).unwrap();
    assert_eq!(bodies(&storage, "recovered-3").await, expected(&[("unflushed", 2)]));
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 3), ("y", 3)]));
    storage.append(entry("c", "new", NOON_S, 1)).await.unwrap();
    assert_eq!(bodies(&storage, "c").await, expected(&[("new", 1)]), "no number is given out twice");
    assert_eq!(storage.snapshot().tenant_number(&"c".parse().unwrap()).map(|n| n.0), Some(4));
}

/// Scenario: a repair that died after any of its steps.
#[tokio::test]
async fn a_repair_that_was_interrupted_can_be_begun_again() {
    let dir = closed().await;
    let rows = rows_of(dir.path()).await;
    let path = dir.path().join("catalog.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let done = image(dir.path());
    repair(done.path(), RepairMode::IfNeeded).unwrap();

    let begun = |new: &[u8]| {
        let copy = image(dir.path());
        fs::write(copy.path().join("catalog.db.repair"), new).unwrap();
        fs::write(copy.path().join("catalog.db.repair-wal"), b"half").unwrap();
        copy
    };
    let half = begun(b"half a database");
    let whole = begun(&fs::read(done.path().join("catalog.db")).unwrap());
    fs::copy(&path, whole.path().join("catalog.db.damaged-20261121T000000Z")).unwrap();
    let renamed = image(done.path());
    fs::write(renamed.path().join("catalog.db.repair-mark"), b"left").unwrap();
    for (case, copy) in [("half written", half), ("not renamed", whole)] {
        assert!(Catalog::open(&copy.path().join("catalog.db")).is_err(), "{case}: the old one is refused");
        repair(copy.path(), RepairMode::IfNeeded).unwrap();
        assert_eq!(rows_of(copy.path()).await, rows, "{case}");
        let names = fs::read_dir(copy.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        assert!(!names.into_iter().any(|name| name.starts_with("catalog.db.repair")), "{case}");
    }
    assert_eq!(rows_of(renamed.path()).await, rows, "renamed");
}

/// Scenario: one fault in the catalog's files, while entries are in the log too.
/// Guarantees: a start gives exactly the rows or refuses and says what to do, and then gives exactly the rows.
#[tokio::test]
async fn any_fault_of_the_catalog_is_without_effect_or_repaired() {
    let dir = closed().await;
    let storage = open(config(dir.path())).unwrap();
    for (tenant, label) in [("a", "l0"), ("b", "l1")] {
        storage.append(entry(tenant, label, NOON_S, 2)).await.unwrap();
    }
    storage.flush().await.unwrap();
    storage.append(entry("a", "l2", NOON_S, 2)).await.unwrap();
    let rows = all_rows(&storage).await;
    let running = image(dir.path());
    drop(storage);
    let mut dice = Dice(7);
    let mut num_refused = 0;
    for fault in 0..50 {
        let copy = image(running.path());
        let path = copy.path().join(CATALOG[fault % 3]);
        let mut bytes = fs::read(&path).unwrap();
        let at = dice.below(bytes.len() as u64) as usize;
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.clear(),
            _ => bytes[at] ^= 1 << dice.below(8),
        }
        if bytes.is_empty() {
            fs::remove_file(&path).unwrap();
        } else {
            fs::write(&path, bytes).unwrap();
        }
        if let Err(error) = Catalog::open(&copy.path().join("catalog.db")) {
            num_refused += 1;
            assert!(error.to_string().contains("`alula verify --repair`"), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            assert!(repair(copy.path(), RepairMode::IfNeeded).unwrap().is_sound());
        }
        assert_eq!(rows_of(copy.path()).await, rows, "fault {fault} of {}", path.display());
    }
    assert!(num_refused > 10, "{num_refused}");
}

#[tokio::test]
async fn a_sound_catalog_is_built_anew_only_if_that_is_asked_for() {
    let dir = closed().await;
    let before = fs::read(dir.path().join("catalog.db")).unwrap();
    let rows = rows_of(dir.path()).await;
    let report = repair(dir.path(), RepairMode::IfNeeded).unwrap();
    assert!(report.findings.iter().any(|finding| finding.text.contains("nothing to repair")), "{report:?}");
    let kept = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("catalog.db.damaged-")).collect::<Vec<_>>()
    };
    assert!(kept(dir.path()).is_empty());
    for times in 1..=2 {
        let report = repair(dir.path(), RepairMode::Always).unwrap();
        assert!(report.findings.iter().any(|finding| finding.part == "not rebuilt"), "{report:?}");
        assert_eq!(kept(dir.path()).iter().filter(|name| !name.ends_with("-wal")).count(), times);
        assert_eq!(rows_of(dir.path()).await, rows);
    }
    let first = kept(dir.path()).into_iter().min().unwrap();
    assert_eq!(fs::read(dir.path().join(first)).unwrap().len(), before.len());
}

/// Scenario: one file is damaged, the only one of another tenant is gone, and an operator knows of the first.
#[tokio::test]
async fn losses_of_a_sound_catalog_and_what_was_said_of_them_outlast_a_repair() {
    let dir = closed().await;
    let files = live(dir.path());
    let path = layout(dir.path()).data_file(&files[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    fs::remove_file(layout(dir.path()).data_file(&files[2])).unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.snapshot().data_files().open(&files[0]).unwrap_err();
    storage.close().await.unwrap();
    let losses = || Catalog::inspect(&dir.path().join("catalog.db")).unwrap().data_losses().unwrap();
    let damaged = losses().into_iter().find(|known| known.loss.tenant == Some(files[0].tenant)).unwrap().id;
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    catalog.acknowledge_losses(&[damaged], Some("disk 4 replaced")).unwrap();
    drop(catalog);
    let before = losses();
    assert_eq!(before.len(), 2);

    // The second repair finds the file in data/quarantine, and neither a file nor an entry of the other tenant.
    for _ in 0..2 {
        let report = repair(dir.path(), RepairMode::Always).unwrap();
        let told = report.findings.iter().any(|finding| finding.text == "2 stay on record");
        assert!(told && report.problems.len() == 1, "{report:?}");
        assert_eq!(losses(), before);
    }
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let next = catalog.register_tenant(&"new".parse().unwrap()).unwrap();
    assert!(next > files[2].tenant, "a number was given out again");
    drop(catalog);

    remove_catalog(dir.path());
    repair(dir.path(), RepairMode::IfNeeded).unwrap();
    let anew = losses();
    assert_eq!((anew.len(), &anew[0].acknowledgement), (1, &None), "of the file in data/quarantine");
}

#[tokio::test]
async fn a_directory_with_nothing_in_it_gets_an_empty_catalog() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("catalog.db"), b"no database, and nothing else").unwrap();
    assert!(repair(dir.path(), RepairMode::IfNeeded).unwrap().is_sound());
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", NOON_S, 1)).await.unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 1)]));
}

#[tokio::test]
async fn files_of_two_stores_or_two_names_of_a_tenant_are_refused_and_nothing_is_changed() {
    let (one, two) = (closed().await, closed().await);
    let file = live(two.path()).remove(0);
    let target = layout(one.path()).data_file(&DataFile { id: FileId(1), ..file.clone() });
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::copy(layout(two.path()).data_file(&file), target.with_file_name(format!("{}.parquet", file.id)))
        .unwrap();
    remove_catalog(one.path());
    let before = files_below(one.path());
    let error = repair(one.path(), RepairMode::IfNeeded).unwrap_err();
    assert!(matches!(error, Error::SeveralStores { .. }), "{error}");
    let mut after = files_below(one.path());
    after.insert(one.path().join("LOCK"), before[&one.path().join("LOCK")].clone());
    assert_eq!(after, before);
    assert_eq!(file.signal, Signal::Logs);
}
