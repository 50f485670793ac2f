//! What is restored, and what is not.

use alula_catalog::Catalog;

use super::{Fixture, files_below, flush_one, names_in, stored_in};
use crate::backup::manifest::{FILE_LIST, MANIFEST, Manifest};
use crate::backup::{Error, ensure_restored};
use crate::testing::{entry, expected};

#[tokio::test]
async fn any_file_of_a_backup_that_is_damaged_makes_the_restore_refuse_and_name_it() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    storage.append(entry("a", "log", 0, 3)).await.unwrap();
    std::fs::copy(fixture.data_dir().join("catalog.db"), fixture.data_dir().join("auth.db")).unwrap();
    fixture.back_up().await;
    storage.close().await.unwrap();

    let all = files_below(&fixture.backups());
    // One data file, two databases, a segment and the manifest; the list of files is of no use to a restore.
    let files: Vec<_> = all.into_iter().filter(|path| !path.ends_with(FILE_LIST)).collect();
    assert_eq!(files.len(), 5);
    for path in files {
        let sound = std::fs::read(&path).unwrap();
        // The pool's file is the store's own, by another name.
        std::fs::remove_file(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut flipped = sound.clone();
        // In the manifest, a digit of some checksum.
        let at = if name == MANIFEST { find(&sound, b"\"blake3\": \"") } else { sound.len() / 2 };
        flipped[at] ^= 1;
        for damaged in [None, Some(flipped), Some(sound[..sound.len() - 2].to_vec())] {
            if let Some(bytes) = damaged {
                std::fs::write(&path, bytes).unwrap();
            }
            let refused = fixture.try_restore(None, "refused").await;
            if name == MANIFEST && !path.exists() {
                assert!(matches!(refused, Err(Error::NoBackup { .. })));
                continue;
            }
            let error = refused.unwrap_err();
            assert!(error.to_string().contains(name), "{name}: {error}");
            assert!(matches!(error, Error::Damaged { .. }), "{name}: {error:?}");
        }
        std::fs::write(&path, &sound).unwrap();
    }
    // Into the same directory, in which the others ended early.
    fixture.try_restore(None, "refused").await.unwrap();
    assert_eq!(stored_in(&fixture.dir.path().join("refused")).await, expected(&[("file", 2), ("log", 3)]));
}

fn find(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).unwrap() + text.len()
}

#[tokio::test]
async fn a_manifest_cannot_name_a_path_outside_of_the_store() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let snapshot = fixture.back_up().await.snapshot;
    storage.close().await.unwrap();
    let path = fixture.snapshot_file(&snapshot, MANIFEST);
    let mut manifest = Manifest::decode(MANIFEST, &std::fs::read(&path).unwrap()).unwrap();
    for name in
        ["../escaped", "/etc/passwd", "wal/../../escaped.wal", "data/x", "wal/0000000000000000000/.wal"]
    {
        manifest.files[0].name = name.to_owned();
        std::fs::write(&path, manifest.encode()).unwrap();
        let error = fixture.try_restore(None, "restored").await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_directory_that_has_anything_in_it_is_not_restored_into() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    fixture.back_up().await;
    storage.close().await.unwrap();

    let error = fixture.try_restore(None, "data-dir").await.unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error:?}");
    let foreign = fixture.dir.path().join("foreign");
    std::fs::create_dir_all(foreign.join("data")).unwrap();
    assert!(matches!(fixture.try_restore(None, "foreign").await.unwrap_err(), Error::NotEmpty { .. }));
    assert_eq!(names_in(&foreign), ["data"]);
    // As a file system makes its root.
    let volume = fixture.dir.path().join("volume");
    std::fs::create_dir_all(volume.join("lost+found")).unwrap();
    fixture.try_restore(None, "volume").await.unwrap();
    assert_eq!(stored_in(&volume).await, expected(&[("file", 2)]));
}

#[tokio::test]
async fn what_an_interrupted_restore_left_is_no_store_and_the_next_one_replaces_it() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    fixture.back_up().await;
    storage.close().await.unwrap();
    let target = fixture.dir.path().join("restored");
    // Killed after the first part was moved into its place.
    std::fs::create_dir_all(target.join("restore.tmp/wal")).unwrap();
    std::fs::create_dir_all(target.join("data/logs/1")).unwrap();
    std::fs::write(target.join("data/logs/1/half.parquet"), "half").unwrap();
    assert!(matches!(ensure_restored(&target).unwrap_err(), Error::RestoreUnfinished { .. }));

    fixture.try_restore(None, "restored").await.unwrap();
    ensure_restored(&target).unwrap();
    assert!(!target.join("data/logs/1/half.parquet").exists());
    assert_eq!(stored_in(&target).await, expected(&[("file", 2)]));

    // Something that no restore made is not removed, whatever lies beside it.
    std::fs::create_dir_all(target.join("restore.tmp")).unwrap();
    std::fs::write(target.join("notes.txt"), "mine").unwrap();
    assert!(matches!(fixture.try_restore(None, "restored").await.unwrap_err(), Error::NotEmpty { .. }));
    assert_eq!(std::fs::read_to_string(target.join("notes.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn the_restored_store_is_the_same_store() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let report = fixture.back_up().await;
    let restored = fixture.try_restore(None, "restored").await.unwrap();
    assert_eq!(restored.store_uuid, report.store_uuid);
    let catalog = Catalog::open(&fixture.dir.path().join("restored/catalog.db")).unwrap();
    assert_eq!(catalog.store_uuid().unwrap(), storage.store().store_uuid);
    storage.close().await.unwrap();
}
