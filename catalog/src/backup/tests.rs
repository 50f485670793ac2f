use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use super::copy_database;
use crate::{Catalog, Error};

fn names(path: &std::path::Path) -> Vec<String> {
    let tenants = Catalog::open(path).unwrap().tenants().unwrap();
    tenants.into_iter().map(|(_, id)| id.to_string()).collect()
}

#[test]
fn the_copy_of_a_database_that_is_written_to_has_all_that_was_committed_before() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (dir.path().join("catalog.db"), dir.path().join("copy.db"));
    let catalog = Arc::new(Catalog::open(&from).unwrap());
    catalog.register_tenant(&"before".parse().unwrap()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (catalog, done) = (Arc::clone(&catalog), Arc::clone(&done));
        thread::spawn(move || {
            let mut committed = 0;
            while !done.load(Ordering::Relaxed) {
                catalog.register_tenant(&format!("during-{committed:06}").parse().unwrap()).unwrap();
                committed += 1;
            }
            committed
        })
    };

    copy_database(&from, &to).unwrap();
    done.store(true, Ordering::Relaxed);
    let committed: usize = writer.join().unwrap();

    let copied = names(&to);
    assert_eq!(copied[0], "before");
    // A state of the database that existed: the first so many commits, no others.
    let during: Vec<_> = (0..copied.len() - 1).map(|n| format!("during-{n:06}")).collect();
    assert_eq!(copied[1..], during);
    assert!(during.len() <= committed);
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_a_killed_process_left_in_the_log_of_the_database_is_in_the_copy() {
    let dir = TempDir::new().unwrap();
    let killed = dir.path().join("killed.db");
    let from = dir.path().join("catalog.db");
    let catalog = Catalog::open(&killed).unwrap();
    catalog.register_tenant(&"team-a".parse().unwrap()).unwrap();
    // As a kill leaves it: the log was not folded in, and the index over it is gone.
    for name in ["killed.db", "killed.db-wal"] {
        let target = name.replace("killed", "catalog");
        std::fs::copy(dir.path().join(name), dir.path().join(target)).unwrap();
    }

    copy_database(&from, &dir.path().join("copy.db")).unwrap();
    assert_eq!(names(&dir.path().join("copy.db")), ["team-a"]);
}

#[test]
fn a_database_that_is_damaged_or_missing_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (dir.path().join("catalog.db"), dir.path().join("copy.db"));
    let error = copy_database(&from, &to).unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("catalog.db"), "{error}");

    drop(Catalog::open(&from).unwrap());
    // The page after the first is the root of some table: without it, whole rows of the schema have nothing behind them.
    let mut bytes = std::fs::read(&from).unwrap();
    bytes[4096..8192].fill(0);
    std::fs::write(&from, bytes).unwrap();
    let error = copy_database(&from, &to).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");

    std::fs::write(&from, "no database at all, and longer than any header of one would be: ".repeat(20))
        .unwrap();
    let error = copy_database(&from, &dir.path().join("other.db")).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}
