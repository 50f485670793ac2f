use super::*;

/// 2026-11-21T12:00:00Z.
const NOON_NS: i64 = 1_795_262_400 * 1_000_000_000;

fn log() -> RejectionLog {
    RejectionLog { state: Mutex::default() }
}

fn tenant(id: &str) -> TenantId {
    id.parse().unwrap()
}

fn group(reason: &str, count: u64, sample: &str) -> RejectionGroup {
    RejectionGroup { reason: reason.to_owned(), count, sample: sample.to_owned() }
}

/// One record, refused in the given minute after noon.
fn refuse(log: &RejectionLog, id: &str, minute: i64, reason: &str) {
    log.record(&tenant(id), Signal::Logs, NOON_NS + minute * MINUTE_NS, vec![group(reason, 1, "")]);
}

fn rows(log: &RejectionLog, id: &str) -> Vec<IngestRejection> {
    let current = log.current();
    current.get(&tenant(id)).map(|rows| rows.iter().cloned().collect()).unwrap_or_default()
}

/// A log whose rows went through a catalog.
fn reloaded(log: &RejectionLog) -> RejectionLog {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    log.save(|changes| catalog.save_ingest_rejections(changes)).unwrap();
    RejectionLog::load(&catalog)
}

#[test]
fn one_reason_is_one_row_a_minute_for_each_signal_and_tenant() {
    let log = log();
    let late = NOON_NS + MINUTE_NS - 1;
    for (id, signal, received_ns, reason, sample) in [
        ("a", Signal::Logs, NOON_NS + 7, "x", ""),
        ("a", Signal::Logs, late, "x", "first"),
        ("a", Signal::Logs, NOON_NS, "x", "second"),
        ("a", Signal::Logs, NOON_NS, "y", ""),
        ("a", Signal::Traces, NOON_NS, "x", ""),
        ("a", Signal::Logs, late + 1, "x", ""),
        ("b", Signal::Logs, NOON_NS, "x", ""),
    ] {
        log.record(&tenant(id), signal, received_ns, vec![group(reason, 4, sample)]);
    }
    let rows_of_a = rows(&log, "a");
    assert_eq!((rows_of_a.len(), rows(&log, "b").len()), (4, 1));
    let joined = IngestRejection {
        id: 1,
        tenant: tenant("a"),
        signal: Signal::Logs,
        first_ns: NOON_NS,
        last_ns: late,
        reason: "x".to_owned(),
        count: 12,
        requests: 3,
        sample: Some("first".to_owned()),
    };
    assert_eq!(rows_of_a[0], joined);
}

#[test]
fn groups_of_one_request_are_rows_of_their_own_and_may_count_nothing() {
    let log = log();
    let groups = vec![group("x", 2, "sample"), group("the request is not valid", 0, "")];
    log.record(&tenant("a"), Signal::Metrics, NOON_NS, groups);
    let told: Vec<_> = rows(&log, "a").into_iter().map(|row| (row.count, row.requests, row.sample)).collect();
    assert_eq!(told, [(2, 1, Some("sample".to_owned())), (0, 1, None)]);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let log = log();
    // Each 'ä' has two bytes, so that the bound lies inside one.
    let long = format!("x{}", "ä".repeat(2_000));
    log.record(&tenant("a"), Signal::Logs, NOON_NS, vec![group(&long, 1, &long); 2]);
    let rows = rows(&log, "a");
    assert_eq!((rows.len(), rows[0].count), (1, 2), "a reason that is cut is still one reason");
    assert_eq!(rows[0].reason, long[..511]);
    assert_eq!(rows[0].sample.as_deref(), Some(&long[..1023]));
}

#[test]
fn a_tenant_keeps_its_newest_rows_and_the_catalog_the_same_ones() {
    let log = log();
    for minute in 0..1_500 {
        refuse(&log, "a", minute, "x");
    }
    refuse(&log, "b", 0, "x");
    let kept = rows(&log, "a");
    assert_eq!((kept.len(), kept[0].first_ns), (1_000, NOON_NS + 500 * MINUTE_NS));
    let reloaded = reloaded(&log);
    assert_eq!(rows(&reloaded, "a"), kept);
    assert_eq!(rows(&reloaded, "b"), rows(&log, "b"));
}

#[test]
fn there_are_so_many_rows_in_all_and_the_oldest_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let log = log();
    let save = || log.save(|changes| catalog.save_ingest_rejections(changes)).unwrap();
    refuse(&log, "early", 0, "x");
    refuse(&log, "both", 0, "x");
    save();
    for id in 0..10 {
        for minute in 0..1_000 {
            refuse(&log, &format!("t{id}"), minute, "x");
        }
        refuse(&log, "both", 1, "x");
        save();
    }
    let sum = |log: &RejectionLog| log.current().values().map(|rows| rows.0.len()).sum::<usize>();
    for (log, from) in [(&log, "in memory"), (&RejectionLog::load(&catalog), "reloaded")] {
        assert_eq!(sum(log), 10_000, "{from}");
        assert_eq!(log.lock().num_rows, 10_000, "{from}");
        assert_eq!(rows(log, "early"), [], "{from}: the oldest of all went");
        let both = rows(log, "both");
        assert_eq!((both.len(), both[0].count), (1, 10), "{from}: its first row went, its second did not");
        assert_eq!(rows(log, "t9").len(), 1_000, "{from}");
        assert!(!log.current().contains_key(&tenant("early")), "{from}: a tenant without rows takes no room");
    }
}

#[test]
fn rows_that_were_reloaded_go_on_growing() {
    let log = log();
    refuse(&log, "a", 0, "x");
    let log = reloaded(&log);
    refuse(&log, "a", 0, "x");
    refuse(&log, "a", 0, "y");
    let told: Vec<_> = rows(&log, "a").into_iter().map(|row| (row.id, row.reason, row.count)).collect();
    assert_eq!(told, [(1, "x".to_owned(), 2), (2, "y".to_owned(), 1)]);
}

#[test]
fn what_could_not_be_saved_is_saved_with_the_next_attempt() {
    let log = log();
    refuse(&log, "a", 0, "x");
    let failure = || alula_catalog::Error::InvalidRow { table: "ingest_rejections", detail: String::new() };
    assert!(log.save(|_| Err(failure())).is_err());
    refuse(&log, "a", 0, "y");
    let mut saved = Vec::new();
    log.save(|changes| {
        saved.extend(changes.rows.iter().map(|row| row.reason.clone()));
        Ok(())
    })
    .unwrap();
    assert_eq!(saved, ["x", "y"]);
    log.save(|_| panic!("everything is saved")).unwrap();
}

#[test]
fn what_changes_while_it_is_saved_is_saved_again() {
    let log = log();
    refuse(&log, "a", 0, "x");
    log.save(|changes| {
        refuse(&log, "a", 0, "x");
        assert_eq!(changes.rows[0].count, 1);
        Ok(())
    })
    .unwrap();
    let mut counts = Vec::new();
    log.save(|changes| {
        counts.extend(changes.rows.iter().map(|row| row.count));
        Ok(())
    })
    .unwrap();
    assert_eq!(counts, [2]);
}

#[test]
fn rows_that_a_snapshot_holds_do_not_change() {
    let log = log();
    refuse(&log, "a", 0, "x");
    let before = log.current();
    refuse(&log, "a", 0, "x");
    refuse(&log, "b", 0, "x");
    assert_eq!(before[&tenant("a")].iter().map(|row| row.count).collect::<Vec<_>>(), [1]);
    assert!(!before.contains_key(&tenant("b")));
    assert_eq!(rows(&log, "a")[0].count, 2);
}

#[test]
fn a_minute_before_the_epoch_is_a_minute_too() {
    let log = log();
    for received_ns in [-MINUTE_NS, -1, 0, i64::MIN, i64::MAX] {
        log.record(&tenant("a"), Signal::Logs, received_ns, vec![group("x", u64::MAX, "")]);
    }
    let told: Vec<_> = rows(&log, "a").into_iter().map(|row| (row.first_ns, row.count)).collect();
    assert_eq!(told, [(-MINUTE_NS, u64::MAX), (0, u64::MAX), (i64::MIN, u64::MAX), (i64::MAX, u64::MAX)]);
}
