use tempfile::{TempDir, tempdir};

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

fn catalog() -> (TempDir, Catalog) {
    let dir = tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    (dir, catalog)
}

fn recorded(catalog: &Catalog) -> Vec<DataLoss> {
    catalog.data_losses().unwrap().into_iter().map(|recorded| recorded.loss).collect()
}

/// Id and note of those that are acknowledged.
fn acknowledged(catalog: &Catalog) -> Vec<(u64, Option<String>)> {
    let losses = catalog.data_losses().unwrap().into_iter();
    losses.filter_map(|loss| Some((loss.id, loss.acknowledgement?.note))).collect()
}

#[test]
fn a_loss_that_is_found_again_is_recorded_once() {
    let (_dir, catalog) = catalog();
    let later = DataLoss { found_ns: 2_000_000_000_000_000_000, ..loss(1, 2) };
    for (found, is_new) in [(loss(1, 2), true), (loss(1, 2), false), (later, false), (loss(1, 3), true)] {
        let new = catalog.record_data_losses(std::slice::from_ref(&found)).unwrap();
        assert_eq!(new.iter().map(|new| &new.loss).collect::<Vec<_>>(), is_new.then_some(&found).as_slice());
    }
    let new = catalog.record_data_losses(&[loss(1, 3), loss(7, 7), loss(7, 7), loss(8, 8)]).unwrap();
    assert_eq!(new, catalog.data_losses().unwrap()[2..]);
    assert_eq!(recorded(&catalog), [loss(1, 2), loss(1, 3), loss(7, 7), loss(8, 8)]);
}

#[test]
fn what_is_known_of_a_loss_is_kept() {
    let (_dir, catalog) = catalog();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let known = DataLoss {
        tenant: Some(tenant),
        signal: Some(Signal::Traces),
        num_rows: Some(42),
        timestamps: Some(TimeRange { min_ns: i64::MIN, max_ns: -1 }),
        ..loss(4, 4)
    };
    catalog.record_data_losses(std::slice::from_ref(&known)).unwrap();
    assert_eq!(recorded(&catalog), [known]);
}

#[test]
fn a_loss_of_a_tenant_that_the_catalog_does_not_know_is_of_unknown_owner() {
    let (_dir, catalog) = catalog();
    let stranger = DataLoss { tenant: Some(TenantNumber(77)), ..loss(1, 1) };
    let new = catalog.record_data_losses(&[stranger]).unwrap();
    assert_eq!((new[0].loss.clone(), recorded(&catalog)), (loss(1, 1), vec![loss(1, 1)]));
}

#[test]
fn an_acknowledged_loss_stays_on_record_and_is_not_acknowledged_again() {
    let (dir, catalog) = catalog();
    catalog.record_data_losses(&[loss(1, 1), loss(2, 2), loss(3, 3)]).unwrap();
    assert_eq!(catalog.acknowledge_losses(&[2], Some("disk 4 replaced")).unwrap(), 1);
    assert_eq!(catalog.num_unacknowledged_losses().unwrap(), 2);
    let before = catalog.data_losses().unwrap();
    assert!(before[1].acknowledgement.as_ref().unwrap().at_ns > 1_700_000_000_000_000_000);

    let refused = catalog.acknowledge_losses(&[1, 4], None).unwrap_err();
    assert!(matches!(refused, Error::UnknownLoss { id: 4 }), "{refused}");
    assert!(matches!(catalog.acknowledge_losses(&[u64::MAX], None), Err(Error::UnknownLoss { .. })));
    assert_eq!(catalog.data_losses().unwrap(), before, "all or nothing");

    assert_eq!(catalog.acknowledge_losses(&[1, 2, 1], Some("moved")).unwrap(), 1);
    assert_eq!(catalog.acknowledge_all_losses(None).unwrap(), 1);
    assert_eq!(catalog.acknowledge_all_losses(Some("late")).unwrap(), 0);
    let expected = [(1, Some("moved".to_owned())), (2, Some("disk 4 replaced".to_owned())), (3, None)];
    assert_eq!(acknowledged(&catalog), expected);
    // Found again at the next start.
    assert_eq!(catalog.record_data_losses(&[loss(2, 2)]).unwrap(), []);
    drop(catalog);
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    assert_eq!(acknowledged(&catalog), expected);
    assert_eq!(catalog.num_unacknowledged_losses().unwrap(), 0);
}

#[test]
fn a_loss_that_nobody_knows_of_is_listed_before_any_number_of_others() {
    let (_dir, catalog) = catalog();
    let losses: Vec<_> = (0..=u64::from(MAX_LISTED)).map(|seq| loss(seq, seq)).collect();
    catalog.record_data_losses(&losses).unwrap();
    let listed = catalog.data_losses().unwrap();
    assert_eq!(
        (listed.len(), listed[0].id, catalog.num_unacknowledged_losses().unwrap()),
        (10_000, 2, 10_001)
    );
    catalog.acknowledge_losses(&(2..=10_001).collect::<Vec<_>>(), None).unwrap();
    let listed = catalog.data_losses().unwrap();
    assert_eq!((listed.len(), &listed[0].loss, &listed[0].acknowledgement), (10_000, &losses[0], &None));
    assert_eq!(catalog.num_unacknowledged_losses().unwrap(), 1);
}

#[test]
fn what_an_operator_said_is_in_a_copy_of_the_catalog() {
    let (dir, catalog) = catalog();
    catalog.record_data_losses(&[loss(1, 1), loss(2, 2)]).unwrap();
    catalog.acknowledge_losses(&[1], Some("disk 4 replaced")).unwrap();
    let copy = dir.path().join("copy.db");
    crate::copy_database(&dir.path().join("catalog.db"), &copy).unwrap();
    let expected = catalog.data_losses().unwrap();
    assert_eq!(Catalog::open(&copy).unwrap().data_losses().unwrap(), expected);
}
