use std::sync::Arc;
use std::sync::atomic::Ordering;

use alula_catalog::SequenceNumber;
use tempfile::tempdir;

use super::*;
use crate::disk::faulty::FaultyDisk;
use crate::disk::{Disk, RealDisk};
use crate::testing::{store, store_on};
use crate::{Error, Health};

#[test]
fn ingest_is_refused_while_less_is_free_than_has_to_be() {
    let dir = tempdir().unwrap();
    let store = store(dir.path(), [7; 16]);
    check_free_space(&store, Some(u64::MAX));
    let error = store.condition.refusal().expect("no disk has that much");
    assert!(matches!(error, Error::DiskFull { needed_bytes: u64::MAX, .. }), "{error}");
    store.condition.flushed(SequenceNumber(1));
    assert!(store.condition.refusal().is_some());
    check_free_space(&store, Some(1));
    assert!(store.condition.refusal().is_none());
}

/// Scenario: the free space goes up and down around the bound.
/// Guarantees: ingest is refused below the bound, and goes on only with a margin above it.
#[test]
fn ingest_goes_on_only_once_somewhat_more_than_the_bound_is_free() {
    let check = |min_bytes: u64, steps: &[(u64, bool)]| {
        let dir = tempdir().unwrap();
        let disk = Arc::new(FaultyDisk::default());
        let store = store_on(Arc::<FaultyDisk>::clone(&disk), dir.path(), [7; 16]);
        for (step, (free_bytes, is_refused)) in steps.iter().enumerate() {
            disk.free_bytes.store(*free_bytes, Ordering::Relaxed);
            check_free_space(&store, Some(min_bytes));
            let refusal = store.condition.refusal();
            assert_eq!(refusal.is_some(), *is_refused, "step {step} of {min_bytes}: {refusal:?}");
        }
    };
    // A tenth of a small bound.
    check(1000, &[(1000, false), (999, true), (1000, true), (1099, true), (1100, false), (1000, false)]);
    // At most 64 MiB.
    let (gib, margin) = (1 << 30, 64 << 20);
    check(gib, &[(gib - 1, true), (gib + margin - 1, true), (gib + margin, false), (gib, false)]);
    check(5, &[(4, true), (5, false)]);
}

#[test]
fn the_health_of_a_full_disk_changes_with_its_state_and_not_with_every_look() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::default());
    let store = store_on(Arc::<FaultyDisk>::clone(&disk), dir.path(), [7; 16]);
    let mut health = store.condition.watch();
    let mut told = Vec::new();
    for free_bytes in [2000, 900, 901, 1050, 400, 1100, 1101] {
        disk.free_bytes.store(free_bytes, Ordering::Relaxed);
        check_free_space(&store, Some(1000));
        if health.has_changed().unwrap() {
            told.push((free_bytes, health.borrow_and_update().clone()));
        }
    }
    let [(900, Health::ReadOnly { reason }), (1100, Health::Sound)] = &told[..] else { panic!("{told:?}") };
    assert!(reason.contains("once 1100 bytes are free"), "{reason}");
}

#[test]
fn nothing_is_asked_of_the_disk_by_the_number_zero() {
    let dir = tempdir().unwrap();
    let store = store(dir.path(), [7; 16]);
    check_free_space(&store, Some(0));
    assert!(store.condition.refusal().is_none());
}

#[test]
fn the_machine_s_disk_is_larger_than_what_is_free_on_it() {
    let dir = tempdir().unwrap();
    let (free, total) = (RealDisk.free_bytes(dir.path()).unwrap(), RealDisk.total_bytes(dir.path()).unwrap());
    assert!(0 < free && free <= total, "{free} of {total}");
}
