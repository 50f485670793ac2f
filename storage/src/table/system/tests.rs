//! What `system.ingest_rejections` shows, and to whom.

use alula_catalog::{Catalog, DataLoss, SequenceNumber, Signal, TimeRange};
use arrow::util::pretty::pretty_format_batches;
use tempfile::tempdir;

use super::*;
use crate::table::tests::query;
use crate::testing::{config, open};
use crate::{RejectionGroup, Storage};

/// 2026-11-21T12:00:00Z.
const NOON_NS: i64 = 1_795_262_400 * 1_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

fn refuse(storage: &Storage, tenant: &str, signal: Signal, received_ns: i64, reason: &str, sample: &str) {
    let group = RejectionGroup { reason: reason.to_owned(), count: 3, sample: sample.to_owned() };
    storage.record_rejections(&tenant.parse().unwrap(), signal, received_ns, vec![group]);
}

async fn printed(storage: &Storage, tenant: &str, sql: &str) -> String {
    pretty_format_batches(&query(storage, tenant, sql).await.unwrap()).unwrap().to_string()
}

#[tokio::test]
async fn each_tenant_sees_what_was_refused_of_it_and_nothing_else() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    refuse(&storage, "a", Signal::Traces, NOON_NS, "bad span_id", "{\"name\":\"x\"}");
    refuse(&storage, "a", Signal::Traces, NOON_NS + 5 * SECOND_NS, "bad span_id", "");
    refuse(&storage, "b", Signal::Logs, NOON_NS, "secret of b", "secret of b");
    let expected = "\
+----------------------+----------------------+-----------+--------+-------------+-------+----------+--------------+
| timestamp            | last_timestamp       | tenant_id | signal | reason      | count | requests | sample       |
+----------------------+----------------------+-----------+--------+-------------+-------+----------+--------------+
| 2026-11-21T12:00:00Z | 2026-11-21T12:00:05Z | a         | traces | bad span_id | 6     | 2        | {\"name\":\"x\"} |
+----------------------+----------------------+-----------+--------+-------------+-------+----------+--------------+";
    assert_eq!(printed(&storage, "a", "SELECT * FROM system.ingest_rejections").await, expected);
    let others = printed(&storage, "c", "SELECT count(*) AS n FROM system.ingest_rejections").await;
    assert!(others.contains("| 0 "), "{others}");
}

#[tokio::test]
async fn rows_can_be_filtered_projected_limited_and_joined() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for minute in 0..5 {
        let reason = format!("reason {minute}");
        refuse(&storage, "a", Signal::Logs, NOON_NS + minute * 60 * SECOND_NS, &reason, "");
    }
    for (sql, expected) in [
        ("SELECT count(*) FROM system.ingest_rejections WHERE timestamp >= '2026-11-21T12:03:00Z'", 2),
        ("SELECT count(*) FROM (SELECT sample FROM system.ingest_rejections LIMIT 3)", 3),
        ("SELECT count(*) FROM system.ingest_rejections WHERE reason LIKE '%4' AND sample IS NULL", 1),
        ("SELECT sum(count) FROM alula.system.ingest_rejections", 15),
        ("SELECT count(*) FROM system.ingest_rejections WHERE tenant_id <> 'a'", 0),
        ("SELECT count(*) FROM system.ingest_rejections x JOIN system.ingest_rejections y USING (reason)", 5),
        ("SELECT count(*) FROM system.ingest_rejections x JOIN logs ON logs.body = x.reason", 0),
    ] {
        let shown = printed(&storage, "a", sql).await;
        assert!(shown.contains(&format!("| {expected} ")), "{sql}: {shown}");
    }
}

#[tokio::test]
async fn a_row_of_another_tenant_makes_no_table() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    refuse(&storage, "b", Signal::Logs, NOON_NS, "x", "");
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    let rows = ingest_rejections::rows(&storage.snapshot().rejections(&b)).unwrap();
    assert!(SystemTable::try_new(&b, "t", rows.clone()).is_ok());
    let error = SystemTable::try_new(&a, "t", rows).unwrap_err();
    assert!(error.to_string().contains("not the tenant's"), "{error}");
}

#[tokio::test]
async fn each_tenant_sees_what_was_lost_of_it_or_of_nobody_knows_whom() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let register = |tenant: &str| storage.store().catalog.register_tenant(&tenant.parse().unwrap()).unwrap();
    let (a, b) = (register("a"), register("b"));
    for (tenant, id) in [("a", a), ("b", b)] {
        storage.store().buffer.add_tenant(tenant.parse().unwrap(), id);
    }
    let loss = |tenant, seq| DataLoss {
        first_seq: SequenceNumber(seq),
        last_seq: SequenceNumber(seq + 1),
        source: format!("wal/{seq}.wal"),
        detail: "missing at byte 96".to_owned(),
        found_ns: NOON_NS,
        tenant,
        signal: None,
        num_rows: None,
        timestamps: None,
    };
    let known = DataLoss {
        signal: Some(Signal::Traces),
        num_rows: Some(9),
        timestamps: Some(TimeRange { min_ns: NOON_NS, max_ns: NOON_NS + SECOND_NS }),
        ..loss(Some(a), 1)
    };
    storage.store().losses.record(&[known, loss(Some(b), 3), loss(None, 5), loss(None, 5)]).unwrap();
    let all = "SELECT * FROM system.data_loss";
    let expected = "\
+----------------------+-----------+-------------+--------+-----------+----------+----------+----------------------+----------------------+-----------+--------------------+-----------------+
| timestamp            | tenant_id | owner_known | signal | first_seq | last_seq | num_rows | min_timestamp        | max_timestamp        | source    | detail             | acknowledged_at |
+----------------------+-----------+-------------+--------+-----------+----------+----------+----------------------+----------------------+-----------+--------------------+-----------------+
| 2026-11-21T12:00:00Z | a         | true        | traces | 1         | 2        | 9        | 2026-11-21T12:00:00Z | 2026-11-21T12:00:01Z | wal/1.wal | missing at byte 96 |                 |
| 2026-11-21T12:00:00Z | a         | false       |        | 5         | 6        |          |                      |                      | wal/5.wal | missing at byte 96 |                 |
+----------------------+-----------+-------------+--------+-----------+----------+----------+----------------------+----------------------+-----------+--------------------+-----------------+";
    assert_eq!(printed(&storage, "a", all).await, expected);
    // What was said of the third loss, which is of nobody knows whom.
    let elsewhere = Catalog::open(&dir.path().join(Catalog::FILE_NAME)).unwrap();
    elsewhere.acknowledge_losses(&[3], Some("secret of b")).unwrap();
    storage.store().losses.follow_acknowledgements().unwrap();
    for (tenant, acknowledged) in [("a", "5"), ("b", "5"), ("stranger", "5")] {
        let sql = "SELECT first_seq FROM system.data_loss WHERE acknowledged_at <= now()";
        let shown = printed(&storage, tenant, sql).await;
        assert!(shown.contains(&format!("| {acknowledged} ")) && shown.lines().count() == 5, "{shown}");
        assert!(!printed(&storage, tenant, all).await.contains("secret"));
    }
    for (tenant, seqs) in [("b", "3, 5"), ("stranger", "5")] {
        let sql = "SELECT string_agg(first_seq, ', ' ORDER BY first_seq) AS seqs FROM system.data_loss";
        let shown = printed(&storage, tenant, sql).await;
        assert!(shown.contains(&format!("| {seqs} ")), "{tenant}: {shown}");
    }
}
