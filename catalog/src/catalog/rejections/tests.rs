use super::*;

fn rejection(id: u64, tenant: &str, sample: Option<&str>) -> Arc<IngestRejection> {
    Arc::new(IngestRejection {
        id,
        tenant: tenant.parse().unwrap(),
        signal: Signal::Traces,
        first_ns: i64::MIN,
        last_ns: i64::MAX,
        reason: "span_id must be 8 bytes".to_owned(),
        count: u64::MAX,
        requests: 3,
        sample: sample.map(str::to_owned),
    })
}

fn changes(
    rows: &[&Arc<IngestRejection>],
    oldest_of_tenant: &[(&str, u64)],
    oldest: u64,
) -> RejectionChanges {
    RejectionChanges {
        rows: rows.iter().map(|row| Arc::clone(row)).collect(),
        oldest_of_tenant: oldest_of_tenant.iter().map(|(id, row)| (id.parse().unwrap(), *row)).collect(),
        oldest,
    }
}

fn saved(catalog: &Catalog) -> Vec<Arc<IngestRejection>> {
    catalog.ingest_rejections().unwrap().into_iter().map(Arc::new).collect()
}

#[test]
fn rows_are_read_back_as_they_were_saved_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::open(&path).unwrap();
    let (first, second) = (rejection(1, "a", None), rejection(2, "b", Some("{\"name\":\"x\0ä\"}")));
    catalog.save_ingest_rejections(&changes(&[&second, &first], &[], 0)).unwrap();
    let mut grown = IngestRejection::clone(&first);
    grown.requests = 4;
    let grown = Arc::new(grown);
    for _ in 0..2 {
        catalog.save_ingest_rejections(&changes(&[&grown], &[], 0)).unwrap();
    }
    drop(catalog);
    assert_eq!(saved(&Catalog::open(&path).unwrap()), [grown, second]);
}

#[test]
fn rows_that_are_no_longer_kept_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let rows: Vec<_> = [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "a")]
        .into_iter()
        .map(|(id, tenant)| rejection(id, tenant, None))
        .collect();
    let ids = |catalog: &Catalog| saved(catalog).iter().map(|row| row.id).collect::<Vec<_>>();
    let all: Vec<_> = rows.iter().collect();
    catalog.save_ingest_rejections(&changes(&all, &[("a", 3)], 0)).unwrap();
    assert_eq!(ids(&catalog), [2, 3, 4, 5], "one tenant's oldest went");
    catalog.save_ingest_rejections(&changes(&[&rows[4]], &[], 4)).unwrap();
    assert_eq!(ids(&catalog), [4, 5], "the oldest of all went");
}
