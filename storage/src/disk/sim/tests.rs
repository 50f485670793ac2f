use std::collections::BTreeSet;

use super::*;
use crate::disk::read_exact_at;

const ROOT: &str = "/sim";

fn new_disk() -> SimDisk {
    SimDisk::new(Path::new(ROOT), Image::default(), 0)
}

fn at(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// A file with these bytes. Neither its name nor its bytes are synced.
fn write(disk: &SimDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.create(&at(name)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn write_durably(disk: &SimDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = write(disk, name, bytes);
    file.sync_data().unwrap();
    disk.sync_dir(at(name).parent().unwrap()).unwrap();
    file
}

fn restarted(disk: &SimDisk, mode: TearMode, seed: u64) -> SimDisk {
    SimDisk::new(Path::new(ROOT), disk.image().after_power_cut(mode, seed), seed)
}

/// The bytes of a file. None if there is none of the name.
fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&at(name)).ok()?;
    Some(read_exact_at(file.as_ref(), file.len().unwrap() as usize, 0).unwrap())
}

/// Everything that the files may be after a power cut of this mode.
fn possible(disk: &SimDisk, mode: TearMode, names: &[&str]) -> BTreeSet<Vec<Option<Vec<u8>>>> {
    (0..200)
        .map(|seed| {
            let after = restarted(disk, mode, seed);
            names.iter().map(|name| content(&after, name)).collect()
        })
        .collect()
}

fn sectors(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [*byte; SECTOR_BYTES]).collect()
}

/// The first byte of each sector, of sectors that are uniform.
fn uniform(bytes: &[u8]) -> Vec<u8> {
    let sector = |sector: &[u8]| {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector was torn");
        sector[0]
    };
    bytes.chunks(SECTOR_BYTES).map(sector).collect()
}

#[test]
fn what_is_synced_is_kept_in_every_mode() {
    let disk = new_disk();
    disk.create_dir(&at("d")).unwrap();
    disk.sync_dir(&at("")).unwrap();
    write_durably(&disk, "d/f", b"synced");
    for mode in TearMode::ALL {
        assert_eq!(
            possible(&disk, mode, &["d/f"]),
            BTreeSet::from([vec![Some(b"synced".to_vec())]]),
            "{mode:?}"
        );
    }
}

#[test]
fn bytes_names_and_directories_that_are_not_synced_may_be_lost_each_for_itself() {
    let disk = new_disk();
    write_durably(&disk, "f", b"old").write_all_at(b"new", 0).unwrap();
    // The name alone, the bytes alone, and both in a directory without a name.
    write(&disk, "name", b"x");
    disk.sync_dir(&at("")).unwrap();
    write(&disk, "bytes", b"x").sync_data().unwrap();
    disk.create_dir(&at("d")).unwrap();
    write_durably(&disk, "d/both", b"x");
    let lost = possible(&disk, TearMode::LoseAll, &["f", "name", "bytes", "d/both"]);
    assert_eq!(lost, BTreeSet::from([vec![Some(b"old".to_vec()), Some(Vec::new()), None, None]]));
    for (name, modes) in [("f", TearMode::ALL), ("bytes", TearMode::ALL)] {
        let possible: BTreeSet<_> =
            modes.into_iter().flat_map(|mode| possible(&disk, mode, &[name])).collect();
        assert_eq!(possible.len(), 2, "{name} is kept or lost");
    }
}

#[test]
fn a_removed_file_may_come_back_until_its_directory_is_synced() {
    let disk = new_disk();
    write_durably(&disk, "f", b"x");
    disk.remove_file(&at("f")).unwrap();
    assert_eq!(possible(&disk, TearMode::Subset, &["f"]).len(), 2);
    disk.sync_dir(&at("")).unwrap();
    assert_eq!(possible(&disk, TearMode::Subset, &["f"]), BTreeSet::from([vec![None]]));
}

#[test]
fn a_rename_takes_place_whole_or_not_at_all() {
    let disk = new_disk();
    disk.create_dir(&at("d")).unwrap();
    disk.sync_dir(&at("")).unwrap();
    write_durably(&disk, "d/from", b"new");
    write_durably(&disk, "to", b"old");
    disk.rename(&at("d/from"), &at("to")).unwrap();
    let before = vec![Some(b"new".to_vec()), Some(b"old".to_vec())];
    let after = vec![None, Some(b"new".to_vec())];
    assert_eq!(possible(&disk, TearMode::LoseAll, &["d/from", "to"]), BTreeSet::from([before.clone()]));
    assert_eq!(possible(&disk, TearMode::Prefix, &["d/from", "to"]), BTreeSet::from([after.clone()]));
    assert_eq!(possible(&disk, TearMode::Subset, &["d/from", "to"]), BTreeSet::from([before, after]));
}

#[test]
fn sectors_are_whole_and_each_mode_leaves_the_writes_that_it_says() {
    let disk = new_disk();
    let file = write_durably(&disk, "f", &sectors(b"...."));
    file.write_all_at(&sectors(b"aa"), 0).unwrap();
    file.write_all_at(&sectors(b"bb"), 2 * SECTOR_BYTES as u64).unwrap();
    let left = |mode| -> BTreeSet<String> {
        let files = possible(&disk, mode, &["f"]).into_iter().flatten();
        files.map(|bytes| String::from_utf8(uniform(&bytes.unwrap())).unwrap()).collect()
    };
    assert_eq!(left(TearMode::LoseAll), BTreeSet::from(["....".to_owned()]));
    let prefix = left(TearMode::Prefix);
    assert!(prefix.contains("aabb") && prefix.contains("a..."), "{prefix:?}");
    assert!(prefix.iter().all(|text| text.starts_with("aa") || text.ends_with("..")), "{prefix:?}");
    let reordered = left(TearMode::Reorder);
    assert!(reordered.contains("..bb") && reordered.contains(".abb"), "{reordered:?}");
    assert!(reordered.iter().all(|text| text.ends_with("bb") || text.starts_with("..")), "{reordered:?}");
    assert_eq!(left(TearMode::Subset).len(), 16, "any of the four sectors, whatever the others are");
}

#[test]
fn a_sector_that_was_written_twice_is_one_of_its_versions() {
    let disk = new_disk();
    let file = write_durably(&disk, "f", b"1...");
    file.write_all_at(b"2", 1).unwrap();
    file.write_all_at(b"3", 2).unwrap();
    let versions = possible(&disk, TearMode::Subset, &["f"]);
    let expected = ["1...", "12..", "123."].map(|text| vec![Some(text.as_bytes().to_vec())]);
    assert_eq!(versions, BTreeSet::from(expected));
}

#[test]
fn a_file_that_grew_may_have_a_hole_of_zeros() {
    let disk = new_disk();
    let file = write_durably(&disk, "f", b"");
    file.write_all_at(&sectors(b"ab"), 0).unwrap();
    let left = possible(&disk, TearMode::Reorder, &["f"]);
    assert!(left.contains(&vec![Some(sectors(b"\0b"))]), "the later sector without the earlier one");
    assert!(left.contains(&vec![Some(sectors(b"\0\0"))]), "the length without the bytes");
}

#[test]
fn an_emptied_file_has_its_old_bytes_or_new_ones_but_no_mixture() {
    let disk = new_disk();
    write_durably(&disk, "f", &sectors(b"ooo"));
    write(&disk, "f", &sectors(b"n"));
    let left: BTreeSet<_> = TearMode::ALL
        .into_iter()
        .flat_map(|mode| possible(&disk, mode, &["f"]))
        .flatten()
        .flatten()
        .collect();
    assert!(left.contains(&sectors(b"ooo")) && left.contains(&sectors(b"n")));
    assert!(left.iter().all(|bytes| *bytes == sectors(b"ooo") || bytes.len() <= SECTOR_BYTES), "{left:?}");
}

/// Guarantees: the disk behaves as Linux does after a failed fsync, which a second fsync does not make good.
#[test]
fn bytes_of_a_failed_sync_are_read_until_the_power_goes_and_no_later_sync_saves_them() {
    let mut kept = BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new(Path::new(ROOT), Image::default(), seed);
        let file = write_durably(&disk, "f", &sectors(b".."));
        file.write_all_at(&sectors(b"aa"), 0).unwrap();
        disk.fail(Fault::once(Some(Operation::SyncData), 0));
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(EIO));
        file.sync_data().unwrap();
        assert_eq!(content(&disk, "f").unwrap(), sectors(b"aa"));
        assert_eq!(
            disk.syncs()[0],
            SyncCount { path: "f".into(), succeeded: 2, failed: 1, after_failure: 1 }
        );
        kept.insert(uniform(&content(&restarted(&disk, TearMode::Prefix, 0), "f").unwrap()));
        // A page that is written again is written whole.
        file.write_all_at(b"b", 1).unwrap();
        file.sync_data().unwrap();
        let after = content(&restarted(&disk, TearMode::LoseAll, 0), "f").unwrap();
        assert_eq!(after[..3], *b"aba");
    }
    assert_eq!(kept, [b"..", b".a", b"a.", b"aa"].map(|bytes| bytes.to_vec()).into());
}

#[test]
fn names_of_a_failed_sync_stay_in_doubt() {
    let disk = new_disk();
    write(&disk, "f", b"").sync_data().unwrap();
    disk.fail(Fault::once(Some(Operation::SyncDir), 0));
    disk.sync_dir(&at("")).unwrap_err();
    disk.sync_dir(&at("")).unwrap();
    assert_eq!(possible(&disk, TearMode::LoseAll, &["f"]), BTreeSet::from([vec![None]]));
    disk.rename(&at("f"), &at("g")).unwrap();
    disk.sync_dir(&at("")).unwrap();
    assert_eq!(
        possible(&disk, TearMode::Subset, &["f", "g"]),
        BTreeSet::from([vec![None, Some(Vec::new())]])
    );
}

#[test]
fn the_power_goes_at_the_operation_that_was_named_and_stays_away() {
    let disk = new_disk();
    disk.cut_power_at(2);
    let file = write(&disk, "f", b"x");
    file.sync_data().unwrap_err();
    assert!(disk.is_off());
    assert_eq!(disk.num_operations(), 3);
    assert!(file.len().is_err() && disk.list(&at("")).is_err() && !disk.commit());
    assert_eq!(possible(&disk, TearMode::LoseAll, &["f"]), BTreeSet::from([vec![None]]));
}

#[test]
fn faults_strike_once_or_from_then_on() {
    let disk = new_disk();
    disk.fail(Fault { after: 1, ..Fault::once(Some(Operation::Create), 0) });
    let create = |name| disk.create(&at(name)).is_ok();
    assert_eq!(["a", "b", "c"].map(create), [true, false, true]);
    disk.fail(Fault { lasts: true, ..Fault::once(None, 1) });
    assert_eq!(["d", "e", "f"].map(create), [true, false, false]);
    assert!(!disk.commit());
    disk.mend();
    assert!(create("e") && disk.commit());
    assert_eq!(disk.num_failed(), 4);
}

#[test]
fn a_full_disk_takes_the_part_of_a_write_that_fits() {
    let disk = new_disk();
    disk.set_capacity(Some(1_000));
    let file = write(&disk, "f", &[1; 900]);
    let error = file.write_all_at(&[2; 200], 900).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ENOSPC));
    assert_eq!((file.len().unwrap(), disk.free_bytes(&at("")).unwrap()), (1_000, 0));
    file.write_all_at(&[3; 1_000], 0).unwrap();
    disk.remove_file(&at("f")).unwrap();
    assert_eq!(disk.free_bytes(&at("")).unwrap(), 1_000);
}

#[test]
fn clean_pages_that_are_dropped_are_read_from_the_platter() {
    let disk = SimDisk::new(Path::new(ROOT), Image::default(), 1);
    let file = write_durably(&disk, "f", &sectors(b"..."));
    file.write_all_at(&sectors(b"aa"), 0).unwrap();
    disk.fail(Fault::once(Some(Operation::SyncData), 0));
    file.sync_data().unwrap_err();
    file.write_all_at(&sectors(b"c"), 2 * SECTOR_BYTES as u64).unwrap();
    let before_cut = restarted(&disk, TearMode::LoseAll, 0);
    let mut platter = content(&before_cut, "f").unwrap();
    platter[2 * SECTOR_BYTES..].copy_from_slice(&sectors(b"c"));
    file.drop_from_cache();
    assert_eq!(content(&disk, "f").unwrap(), platter, "what waits to be written is not dropped");
}

#[test]
fn an_image_of_every_operation_is_recorded_and_commits_are_told_before_the_next_one() {
    let disk = new_disk();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    disk.record(Box::new(move |number| tell.lock().unwrap().push(number)));
    write(&disk, "f", b"x");
    assert!(disk.commit() && told.lock().unwrap().is_empty());
    disk.sync_dir(&at("")).unwrap();
    assert_eq!(*told.lock().unwrap(), [2]);
    assert!(disk.commit());
    let (images, log) = disk.take_recording();
    assert_eq!(*told.lock().unwrap(), [2, 4]);
    assert_eq!((images.len(), log.len()), (6, 5));
    let named: Vec<_> = images.iter().map(|image| image.open(Path::new("f")).is_ok()).collect();
    assert_eq!(named, [false, true, true, true, true, true]);
}
