use alula_catalog::SequenceNumber;
use tempfile::tempdir;

use super::*;
use crate::Error;
use crate::disk::{Disk, RealDisk};
use crate::testing::store;

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
