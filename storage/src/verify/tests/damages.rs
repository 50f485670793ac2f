//! What a check says of a directory that is not as it should be.

use super::*;
use crate::testing::layout;

/// Checks, and asserts that nothing was changed. The problems, a line each.
fn problems(dir: &Path) -> Vec<String> {
    let before = files_below(dir);
    let report = verify(dir).unwrap();
    let mut after = files_below(dir);
    // The lock names whoever had it last; SQLite keeps books on who reads.
    for name in ["LOCK", "catalog.db-shm", "catalog.db-wal"] {
        let (before, after) = (before.get(&dir.join(name)), after.remove(&dir.join(name)));
        assert!(name != "catalog.db-wal" || before.is_none_or(|log| Some(log) == after.as_ref()), "{name}");
    }
    for (path, bytes) in before {
        let is_ours = ["LOCK", "catalog.db-shm", "catalog.db-wal"].iter().any(|name| path.ends_with(name));
        assert!(is_ours || after.remove(&path).as_ref() == Some(&bytes), "{} changed", path.display());
    }
    assert!(after.is_empty(), "{:?} are new", after.keys());
    report.problems.iter().map(ToString::to_string).collect()
}

fn check_problem(dir: &Path, parts: &[&str]) {
    let problems = problems(dir);
    assert_eq!(problems.len(), 1, "{problems:?}");
    for part in parts {
        assert!(problems[0].contains(part), "{part:?} is not in {:?}", problems[0]);
    }
}

#[tokio::test]
async fn a_sound_directory_has_no_problems_and_says_what_was_looked_at() {
    let dir = closed().await;
    assert_eq!(problems(dir.path()), Vec::<String>::new());
    let findings: Vec<_> = verify(dir.path()).unwrap().findings.iter().map(ToString::to_string).collect();
    let all = findings.join("\n");
    for part in [
        "2 tenants, 3 live files, 0 to be removed",
        "data files   3 of 3 are sound: all 9 rows read",
        "log          0 segments with 0 whole entries",
        "3 batches would be known if they came again",
    ] {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
    // With entries in the log.
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "late", NOON_S, 2)).await.unwrap();
    let running = image(dir.path());
    assert_eq!(problems(running.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_that_a_server_has_or_that_is_not_there_is_refused() {
    let dir = closed().await;
    let _storage = open(config(dir.path())).unwrap();
    let pid = std::process::id().to_string();
    let error = verify(dir.path()).unwrap_err();
    assert!(matches!(&error, Error::DirectoryInUse { pid: holder, .. } if *holder == pid), "{error}");
    assert!(matches!(repair(dir.path(), RepairMode::Always), Err(Error::DirectoryInUse { .. })));
    let nowhere = dir.path().join("nowhere");
    assert!(matches!(verify(&nowhere), Err(Error::NoDataDirectory { .. })));
    assert!(!nowhere.exists());
}

#[tokio::test]
async fn every_damage_of_a_file_is_named_with_what_to_do() {
    let dir = closed().await;
    let file = live(dir.path()).remove(0);
    let name = format!("data/{}", Layout::data_file_name(&file));
    let path = layout(dir.path()).data_file(&file);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let shortened = whole[..whole.len() - 1].to_vec();
    for (bytes, expected) in
        [(Some(flipped), "its checksum is not"), (Some(shortened), "bytes of"), (None, "it is missing")]
    {
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        check_problem(dir.path(), &[&name, expected, "restore it from a backup"]);
    }
}

/// The bytes are what they should be, but they are of another file.
#[tokio::test]
async fn a_file_whose_rows_are_not_those_of_the_catalog_is_found_although_its_checksum_holds() {
    let dir = closed().await;
    let files = live(dir.path());
    let here = layout(dir.path());
    let moved = DataFile {
        size_bytes: files[1].size_bytes,
        checksum: files[1].checksum,
        num_rows: files[0].num_rows,
        ..files[0].clone()
    };
    fs::copy(here.data_file(&files[1]), here.data_file(&files[0])).unwrap();
    let reader = crate::data_files::DataFileReader::open(here.disk(), &here.data_file(&moved)).unwrap();
    let fault = data_file::check_against(&reader, &moved, None).unwrap_err();
    assert!(fault.to_string().starts_with("its footer keys are"), "{fault}");
}

#[tokio::test]
async fn a_damaged_log_a_lost_one_and_a_foreign_one_are_named() {
    let dir = closed().await;
    let storage = open(config(dir.path())).unwrap();
    for label in ["l0", "l1", "l2"] {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
    }
    let running = image(dir.path());
    drop(storage);
    let segments = || fs::read_dir(running.path().join("wal")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segments().find(|path| path.extension().is_some_and(|e| e == "wal")).unwrap();
    let whole = fs::read(&segment).unwrap();

    let mut flipped = whole.clone();
    let at = whole.windows(3).position(|bytes| bytes == b"l1 ").unwrap();
    flipped[at] ^= 1;
    fs::write(&segment, &flipped).unwrap();
    check_problem(running.path(), &["wal/", "entries 5 to 5 cannot be read", "puts this on record"]);

    // A cut after the last sync that anything knows of is no loss.
    let mut torn = whole.clone();
    let at = whole.windows(3).position(|bytes| bytes == b"l2 ").unwrap();
    torn[at] ^= 1;
    fs::write(&segment, &torn).unwrap();
    assert_eq!(problems(running.path()), Vec::<String>::new());
    let findings = verify(running.path()).unwrap().findings;
    assert!(
        findings.iter().any(|finding| finding.text.contains("ends in a write that was cut off")),
        "{findings:?}"
    );

    let other = closed().await;
    fs::write(&segment, &whole).unwrap();
    for name in CATALOG {
        let _ = fs::copy(other.path().join(name), running.path().join(name));
    }
    remove_catalog(other.path());
    let problems = problems(running.path());
    assert!(
        problems.iter().all(|problem| !problem.contains("restore") || problem.contains("missing")),
        "{problems:?}"
    );
    assert!(
        problems.iter().any(|p| p.contains("belongs to another") && p.contains("verify --repair")),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_missing_or_damaged_catalog_is_the_one_problem_that_is_named() {
    let dir = closed().await;
    let path = dir.path().join("catalog.db");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; 9_000]).unwrap();
    check_problem(dir.path(), &["catalog.db: the catalog", "`alula verify --repair`"]);
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    check_problem(dir.path(), &["catalog.db: the catalog", "`alula verify --repair`"]);
    fs::remove_file(&path).unwrap();
    check_problem(dir.path(), &["catalog.db: the catalog", "is missing or empty", "`alula verify --repair`"]);
}
