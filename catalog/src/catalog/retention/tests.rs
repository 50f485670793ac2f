use tempfile::tempdir;

use super::*;

#[test]
fn a_policy_is_set_changed_and_unset() {
    let dir = tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let policy = |signal, keep_ns| RetentionPolicy { tenant, signal, keep_ns };
    catalog.set_retention(&policy(Signal::Logs, Some(1))).unwrap();
    catalog.set_retention(&policy(Signal::Traces, None)).unwrap();
    catalog.set_retention(&policy(Signal::Logs, Some(2))).unwrap();
    let expected = [policy(Signal::Logs, Some(2)), policy(Signal::Traces, None)];
    assert_eq!(catalog.retention_policies().unwrap(), expected);
    catalog.unset_retention(tenant, Signal::Logs).unwrap();
    assert_eq!(catalog.retention_policies().unwrap(), expected[1..]);
    catalog.set_retention(&policy(Signal::Logs, Some(0))).expect_err("nothing is kept for no time");
}

#[test]
fn a_confirmation_ends_the_hold_and_stays_until_it_was_used() {
    let dir = tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    assert_eq!(catalog.clock_record().unwrap(), ClockRecord::default());
    catalog.save_clock(5, 7).unwrap();
    catalog.confirm_retention(9).unwrap();
    let confirmed = ClockRecord { last_seen_ns: 9, hold_ns: 0, is_confirmed: true };
    assert_eq!(catalog.clock_record().unwrap(), confirmed);
    catalog.save_clock(10, 0).unwrap();
    assert!(catalog.clock_record().unwrap().is_confirmed);
    catalog.end_retention_confirmation().unwrap();
    assert!(!catalog.clock_record().unwrap().is_confirmed);
}
