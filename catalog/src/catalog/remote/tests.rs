use super::super::files::tests::with_three_files;
use super::*;

fn hashes() -> BlockHashes {
    BlockHashes { block_bytes: 1 << 20, hashes: vec![[1; 16], [2; 16]] }
}

#[test]
fn a_file_moves_to_the_remote_tier_once_and_keeps_its_hashes() {
    let (_dir, catalog, _) = with_three_files();
    catalog.move_to_remote(FileId(1), &hashes()).unwrap();
    assert_eq!(catalog.live_files().unwrap()[0].tier, Tier::Remote);
    assert_eq!(catalog.block_hashes(FileId(1)).unwrap(), hashes());
    for file in [FileId(1), FileId(7)] {
        assert!(matches!(catalog.move_to_remote(file, &hashes()), Err(Error::NotLive { .. })));
    }
    assert_eq!(catalog.tier_of(FileId(1)).unwrap(), Some(Tier::Remote));
    assert_eq!(catalog.tier_of(FileId(2)).unwrap(), Some(Tier::Local));
    assert_eq!(catalog.tier_of(FileId(7)).unwrap(), None);
}

#[test]
fn a_dead_remote_file_is_known_until_its_object_is_gone() {
    let (_dir, catalog, _) = with_three_files();
    catalog.move_to_remote(FileId(1), &hashes()).unwrap();
    catalog.replace_files(&[FileId(1)], &[]).unwrap();
    assert!(matches!(catalog.move_to_remote(FileId(1), &hashes()), Err(Error::NotLive { .. })));
    catalog.forget_files(&[(FileId(1), Tier::Local)]).unwrap();
    assert_eq!(catalog.remote_file_ids().unwrap(), HashSet::from([FileId(1)]), "only its local copy is gone");
    catalog.forget_files(&[(FileId(1), Tier::Remote)]).unwrap();
    assert!(catalog.remote_file_ids().unwrap().is_empty());
    assert!(catalog.block_hashes(FileId(1)).is_err(), "its hashes go with it");
}

#[test]
fn an_upload_is_remembered_until_it_is_forgotten() {
    let (dir, catalog, _) = with_three_files();
    let upload = RemoteUpload { object_name: "a/b.parquet".to_owned(), upload_id: "7".to_owned() };
    catalog.note_upload(&upload).unwrap();
    catalog.note_upload(&upload).unwrap();
    drop(catalog);
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    assert_eq!(catalog.unfinished_uploads().unwrap(), std::slice::from_ref(&upload));
    catalog.forget_upload(&upload).unwrap();
    assert!(catalog.unfinished_uploads().unwrap().is_empty());
}
