use super::*;

fn loss(first: u64, last: u64) -> DataLoss {
    DataLoss {
        first_seq: SequenceNumber(first),
        last_seq: SequenceNumber(last),
        source: "wal/x.wal".to_owned(),
        detail: "damaged at byte 96".to_owned(),
        found_ns: 1_795_262_400_123_000_000,
        tenant: None,
        signal: None,
        num_rows: None,
        timestamps: None,
    }
}

#[test]
fn a_loss_that_is_found_again_is_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let later = DataLoss { found_ns: 2_000_000_000_000_000_000, ..loss(1, 2) };
    for (found, is_new) in [(loss(1, 2), true), (loss(1, 2), false), (later, false), (loss(1, 3), true)] {
        assert_eq!(catalog.record_data_loss(&found).unwrap(), is_new);
    }
    assert_eq!(catalog.data_losses().unwrap(), [loss(1, 2), loss(1, 3)]);
}

#[test]
fn what_is_known_of_a_loss_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let known = DataLoss {
        tenant: Some(tenant),
        signal: Some(Signal::Traces),
        num_rows: Some(42),
        timestamps: Some(TimeRange { min_ns: i64::MIN, max_ns: -1 }),
        ..loss(4, 4)
    };
    assert!(catalog.record_data_loss(&known).unwrap());
    assert_eq!(catalog.data_losses().unwrap(), [known]);
}

#[test]
fn a_loss_of_a_tenant_that_the_catalog_does_not_know_is_of_unknown_owner() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    let stranger = DataLoss { tenant: Some(TenantNumber(77)), ..loss(1, 1) };
    assert!(catalog.record_data_loss(&stranger).unwrap());
    assert_eq!(catalog.data_losses().unwrap(), [loss(1, 1)]);
}
