use super::*;
use crate::catalog::tests::file;
use crate::catalog::user_tables::tests::{user_file, user_table};
use crate::{Acknowledgement, NewDeletion, RetryWindowChange, ScrubPass, Signal, Tier};

fn loss(seq: u64, tenant: u32) -> DataLoss {
    DataLoss {
        first_seq: SequenceNumber(seq),
        last_seq: SequenceNumber(seq),
        source: format!("data/{seq}"),
        detail: "it is missing".to_owned(),
        found_ns: 1_795_262_400_123_000_000,
        tenant: Some(TenantNumber(tenant)),
        signal: Some(Signal::Logs),
        num_rows: Some(9),
        timestamps: None,
    }
}

#[test]
fn a_built_catalog_takes_the_place_of_the_one_it_is_for() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("catalog.db"), dir.path().join("catalog.db.new"));
    let catalog = Catalog::open(&old).unwrap();
    let tenant = catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    for i in 1..30 {
        let files = [file(i, tenant, i as u64, i as u64)];
        catalog.commit_flush(&files, SequenceNumber(i as u64), &RetryWindowChange::NONE).unwrap();
    }
    let uuid = catalog.store_uuid().unwrap();
    drop(catalog);

    let known = |id, seq, note: Option<&str>| RecordedLoss {
        id,
        loss: loss(seq, 3),
        acknowledgement: note
            .map(|note| Acknowledgement { at_ns: 1_795_262_400_456_000_000, note: Some(note.to_owned()) }),
    };
    let hashes = BlockHashes { block_bytes: 1 << 20, hashes: vec![[1; 16], [2; 16]] };
    let contents = CatalogContents {
        store_uuid: Some(uuid),
        flushed_seq: SequenceNumber(20),
        tenants: vec![(TenantNumber(3), "c".parse().unwrap()), (TenantNumber(7), "g".parse().unwrap())],
        last_tenant: TenantNumber(9),
        last_deletion: 5,
        files: vec![
            file(1, TenantNumber(3), 1, 20),
            DataFile { tier: Tier::Remote, ..file(2, TenantNumber(3), 2, 20) },
        ],
        block_hashes: vec![(file(2, TenantNumber(3), 2, 20).id, hashes.clone())],
        user_tables: vec![user_table(5, TenantNumber(7), "hosts", 12)],
        user_files: vec![user_file(2, TenantNumber(7), 5)],
        known_losses: vec![known(4, 1, Some("disk replaced")), known(6, 2, None)],
        // The first of them is the one that is known.
        losses: vec![loss(1, 3), loss(3, 7)],
    };
    Catalog::build(&new, &old, &contents).unwrap();
    assert!(!dir.path().join("catalog.db.new-wal").exists(), "all of it is in the one file");
    std::fs::rename(&new, &old).unwrap();

    let catalog = Catalog::open(&old).unwrap();
    assert_eq!(catalog.store_uuid().unwrap(), uuid);
    assert_eq!(catalog.flushed_seq().unwrap(), SequenceNumber(20));
    assert_eq!(catalog.tenants().unwrap(), contents.tenants);
    assert_eq!(catalog.live_files().unwrap(), contents.files);
    assert_eq!(catalog.block_hashes(contents.files[1].id).unwrap(), hashes);
    let tables = catalog.user_tables().unwrap();
    assert_eq!(
        tables,
        [UserTableRecord { created_ns: tables[0].created_ns, ..contents.user_tables[0].clone() }]
    );
    assert_eq!(catalog.live_user_files().unwrap(), contents.user_files);
    let of_files = RecordedLoss { id: 7, loss: loss(3, 7), acknowledgement: None };
    let [first, second] = contents.known_losses.try_into().unwrap();
    assert_eq!(catalog.data_losses().unwrap(), [first, second, of_files]);
    assert_eq!(catalog.register_tenant(&"new".parse().unwrap()).unwrap(), TenantNumber(10));
    let deletion = NewDeletion {
        tenant: TenantNumber(3),
        signal: Signal::Logs,
        predicate: "true".to_owned(),
        last_seq: SequenceNumber(9),
        num_rows: 1,
        requested_by: "x".to_owned(),
    };
    assert_eq!(catalog.add_deletion(&deletion).unwrap(), 6, "a file may say that the first five are applied");
    assert_eq!(catalog.broken_references().unwrap(), Vec::<String>::new());
}

#[test]
fn the_position_of_the_scrub_survives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::open(&path).unwrap();
    assert_eq!(catalog.scrub_pass().unwrap(), ScrubPass::default());
    let pass = ScrubPass { started_ns: 77, upto: Some(FileId(u128::MAX - 1)) };
    catalog.save_scrub_pass(&pass).unwrap();
    drop(catalog);
    assert_eq!(Catalog::open(&path).unwrap().scrub_pass().unwrap(), pass);
}
