//! Retention drops what is old, and nothing because a clock is wrong.

use std::collections::BTreeMap;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::Storage;
use crate::testing::{bodies, config, entry, open};

const HOUR_S: i64 = 3_600;
const DAY: Duration = Duration::from_hours(24);
/// 2026-11-21 12:00 UTC.
const NOON_S: i64 = 1_795_262_400;

/// A store with one file of one log record in each of the last `hours` hours before noon, of the tenants `a` and `b`.
async fn with_hours(hours: i64) -> (TempDir, Storage) {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for hour in 1..=hours {
        for tenant in ["a", "b"] {
            storage.append(entry(tenant, &format!("hour{hour}"), NOON_S - hour * HOUR_S, 1)).await.unwrap();
        }
    }
    storage.flush().await.unwrap();
    (dir, storage)
}

async fn num_left(storage: &Storage, tenant: &str) -> usize {
    bodies(storage, tenant).await.values().sum()
}

fn keep_logs(keep: Duration) -> Retention {
    Retention::new(RetentionConfig { logs: Some(keep), ..RetentionConfig::default() })
}

fn at(wall_s: i64) -> i64 {
    wall_s * 1_000_000_000
}

#[tokio::test]
async fn what_is_older_than_its_policy_goes_and_the_rest_stays() {
    let (_dir, storage) = with_hours(4).await;
    let store = storage.store();
    let b = store.catalog.register_tenant(&"b".parse().unwrap()).unwrap();
    store.catalog.set_retention(&RetentionPolicy { tenant: b, signal: Signal::Logs, keep_ns: None }).unwrap();
    let mut retention = keep_logs(Duration::from_secs(3 * 3_600));
    let start = Instant::now();
    // Files of 12:00 - 4 h and 12:00 - 3 h: the second is not older than 3 hours yet.
    assert_eq!(retention.step_at(store, at(NOON_S), start).unwrap(), Step::Worked);
    assert_eq!((num_left(&storage, "a").await, num_left(&storage, "b").await), (3, 4));
    assert_eq!(retention.step_at(store, at(NOON_S), start).unwrap(), Step::Idle);
    assert_eq!(bodies(&storage, "a").await, BTreeMap::from([1, 2, 3].map(|i| (format!("hour{i}-0"), 1))));
}

#[tokio::test]
async fn nothing_is_dropped_where_nothing_is_configured() {
    let (_dir, storage) = with_hours(2).await;
    let mut retention = Retention::new(RetentionConfig::default());
    let ten_years = at(NOON_S + 10 * 365 * 24 * HOUR_S);
    assert_eq!(retention.step_at(storage.store(), ten_years, Instant::now()).unwrap(), Step::Idle);
    assert_eq!(num_left(&storage, "a").await, 2);
}

#[tokio::test]
async fn a_clock_that_jumps_drops_nothing_until_it_went_steadily() {
    let jumps_s = [10 * 365 * 24 * HOUR_S, 25 * HOUR_S, HOUR_S + 60, -24 * HOUR_S, -10 * 60];
    for jump_s in jumps_s {
        let (_dir, storage) = with_hours(1).await;
        let store = storage.store();
        let mut retention = keep_logs(Duration::from_secs(60));
        let start = Instant::now();
        // Nothing is due yet when the clock is looked at for the first time.
        retention.step_at(store, at(NOON_S - HOUR_S), start).unwrap();
        let wall_s = NOON_S - HOUR_S + jump_s;
        for minute in 1..=59 {
            let steady = (at(wall_s + minute * 60), start + Duration::from_secs(minute as u64 * 60));
            assert_eq!(retention.step_at(store, steady.0, steady.1).unwrap(), Step::Idle);
            assert_eq!(num_left(&storage, "a").await, 1, "jump of {jump_s} s, minute {minute}");
        }
        let much_later = (at(wall_s + 26 * HOUR_S), start + Duration::from_hours(26));
        retention.step_at(store, much_later.0, much_later.1).unwrap();
        assert_eq!(num_left(&storage, "a").await, 0, "{jump_s}");
    }
}

#[tokio::test]
async fn a_server_that_was_off_for_long_waits_and_a_restart_does_not_shorten_it() {
    let (_dir, storage) = with_hours(1).await;
    let store = storage.store();
    let start = Instant::now();
    keep_logs(DAY).step_at(store, at(NOON_S), start).unwrap();
    let back_s = NOON_S + 48 * HOUR_S;
    for restart in 0..10 {
        let mut retention = keep_logs(DAY);
        let wall_s = back_s + restart * HOUR_S;
        retention.step_at(store, at(wall_s), start).unwrap();
        retention.step_at(store, at(wall_s + 3_500), start + Duration::from_secs(3_500)).unwrap();
        assert_eq!(num_left(&storage, "a").await, 1);
    }
    store.catalog.confirm_retention(at(back_s + 10 * HOUR_S)).unwrap();
    let mut retention = keep_logs(DAY);
    assert_eq!(retention.step_at(store, at(back_s + 10 * HOUR_S), start).unwrap(), Step::Worked);
    assert_eq!(num_left(&storage, "a").await, 0);
}

#[tokio::test]
async fn much_at_once_goes_in_portions_unless_it_was_confirmed() {
    let (_dir, storage) = with_hours(20).await;
    let store = storage.store();
    let mut retention = keep_logs(Duration::from_secs(60));
    let start = Instant::now();
    retention.step_at(store, at(NOON_S), start).unwrap();
    let after_one = num_left(&storage, "a").await;
    assert!((15..=17).contains(&after_one), "a fifth of the bytes, not {after_one} of 20 files");
    retention.step_at(store, at(NOON_S + 60), start + Duration::from_secs(60)).unwrap();
    assert_eq!(num_left(&storage, "a").await, after_one, "one portion an hour");
    retention.step_at(store, at(NOON_S + HOUR_S), start + Duration::from_hours(1)).unwrap();
    assert!(num_left(&storage, "a").await < after_one);
    store.catalog.confirm_retention(at(NOON_S + HOUR_S)).unwrap();
    retention.step_at(store, at(NOON_S + HOUR_S), start + Duration::from_hours(1)).unwrap();
    assert_eq!(num_left(&storage, "a").await, 0);
    retention.step_at(store, at(NOON_S + HOUR_S), start + Duration::from_hours(1)).unwrap();
    assert!(!store.catalog.clock_record().unwrap().is_confirmed, "a confirmation is for once");
}
