//! What operators say of losses, in another process, is followed.

use alula_catalog::SequenceNumber;
use tempfile::tempdir;

use super::*;
use crate::Health;
use crate::testing::{layout, store};

fn loss(seq: u64) -> DataLoss {
    DataLoss {
        first_seq: SequenceNumber(seq),
        last_seq: SequenceNumber(seq),
        source: format!("wal/{seq}.wal"),
        detail: "missing at byte 96".to_owned(),
        found_ns: 1_795_262_400_000_000_000,
        tenant: None,
        signal: None,
        num_rows: None,
        timestamps: None,
    }
}

fn health(store: &Store) -> String {
    match store.condition.watch().borrow().clone() {
        Health::Sound => "sound".to_owned(),
        Health::Degraded { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn health_speaks_of_losses_until_an_operator_knows_of_all_of_them() {
    let dir = tempdir().unwrap();
    let store = store(dir.path(), [1; 16]);
    let operator = Catalog::open(&layout(dir.path()).root().join(Catalog::FILE_NAME)).unwrap();
    store.losses.follow_acknowledgements().unwrap();
    assert_eq!(health(&store), "sound");
    store.losses.record(&[loss(1), loss(2), loss(2)]).unwrap();
    store.losses.record(&[loss(1)]).unwrap();
    assert!(health(&store).contains("(2 losses "), "{}", health(&store));

    operator.acknowledge_losses(&[2], Some("known")).unwrap();
    store.losses.follow_acknowledgements().unwrap();
    assert!(health(&store).contains("(1 loss "), "{}", health(&store));
    // One comes before the next look.
    operator.acknowledge_all_losses(None).unwrap();
    store.losses.record(&[loss(3)]).unwrap();
    store.losses.follow_acknowledgements().unwrap();
    assert!(health(&store).contains("(1 loss "), "{}", health(&store));
    operator.acknowledge_losses(&[3], None).unwrap();
    store.losses.follow_acknowledgements().unwrap();
    assert_eq!(health(&store), "sound");

    // Found again, as at the next start, it stays acknowledged; and all stay on record.
    store.losses.record(&[loss(2)]).unwrap();
    assert_eq!(health(&store), "sound");
    let listed = store.losses.listed();
    assert_eq!(*listed, operator.data_losses().unwrap());
    assert_eq!(listed.iter().map(|known| known.loss.first_seq.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(listed.iter().all(|known| known.acknowledgement.is_some()));
}

#[test]
fn a_loss_that_is_acknowledged_degrades_no_later_start() {
    let dir = tempdir().unwrap();
    let first = store(dir.path(), [1; 16]);
    first.losses.record(&[loss(1), loss(2)]).unwrap();
    first.catalog.acknowledge_losses(&[1], None).unwrap();
    drop(first);
    let second = store(dir.path(), [1; 16]);
    assert!(health(&second).contains("(1 loss "), "{}", health(&second));
    second.catalog.acknowledge_all_losses(None).unwrap();
    drop(second);
    let third = store(dir.path(), [1; 16]);
    assert_eq!((health(&third), third.losses.listed().len()), ("sound".to_owned(), 2));
}
