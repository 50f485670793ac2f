use std::io::ErrorKind;
use std::path::PathBuf;

use super::sim::{Image, SimDisk};
use super::*;

/// What a disk answers to a number of questions.
fn answers(disk: &dyn Disk, root: &Path) -> Vec<String> {
    let at = |name: &str| -> PathBuf { root.join(name) };
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    let mut answers = Vec::new();
    let mut note = |what: &str, answer: &dyn fmt::Debug| answers.push(format!("{what}: {answer:?}"));

    note("make a directory", &kind(disk.create_dir(&at("d"))));
    note("make it twice", &kind(disk.create_dir(&at("d"))));
    note("make it in one that is not there", &kind(disk.create_dir(&at("none/d"))));
    note("create in one that is not there", &disk.create(&at("none/f")).map_err(|e| e.kind()).is_err());
    let file = disk.create(&at("d/f")).unwrap();
    note("write", &kind(file.write_all_at(b"hello", 2)));
    note("length", &(file.len().unwrap(), disk.file_len(&at("d/f")).unwrap()));
    let mut bytes = [9; 16];
    note("read", &(file.read_at(&mut bytes, 1).unwrap(), bytes));
    note("read past the end", &file.read_at(&mut bytes, 7).unwrap());
    note("sync", &(kind(file.sync_data()), kind(disk.sync_dir(&at("d"))), kind(disk.sync_dir(root))));
    note("sync what is no directory", &kind(disk.sync_dir(&at("none"))));
    note("link", &kind(disk.hard_link(&at("d/f"), &at("g"))));
    note("link over", &kind(disk.hard_link(&at("d/f"), &at("g"))));
    note("rename over another name of it", &kind(disk.rename(&at("d/f"), &at("g"))));
    note("both names", &(disk.file_len(&at("d/f")).unwrap(), disk.file_len(&at("g")).unwrap()));
    disk.create(&at("g2")).unwrap();
    note(
        "rename over another file",
        &(kind(disk.remove_file(&at("g"))), kind(disk.rename(&at("g2"), &at("g")))),
    );
    note("rename into another directory", &kind(disk.rename(&at("d/f"), &at("g"))));
    note("the old name", &disk.open(&at("d/f")).map_err(|error| error.kind()).map(|_| ()));
    note("rename what is not there", &kind(disk.rename(&at("none"), &at("g"))));
    note("rename over a directory", &kind(disk.rename(&at("g"), &at("d"))));
    let again = disk.open(&at("g")).unwrap();
    note("the new name", &read_exact_at(again.as_ref(), 7, 0).unwrap());
    note("empty it", &disk.create(&at("g")).unwrap().len().unwrap());
    note("through the other handle", &again.len().unwrap());
    note("remove a directory with names", &kind(disk.remove_dir(root)));
    let mut entries = disk.list(root).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    note("list", &entries);
    note("list what is not there", &disk.list(&at("none")).map_err(|error| error.kind()));
    note("is a directory", &(disk.is_dir(&at("d")), disk.is_dir(&at("g")), disk.is_dir(&at("none"))));
    note("remove", &(kind(disk.remove_file(&at("g"))), kind(disk.remove_file(&at("g")))));
    note("remove a directory", &(kind(disk.remove_dir(&at("d"))), kind(disk.remove_dir(&at("d")))));
    note("write to what was opened to be read", &again.write_all_at(b"x", 0).unwrap_err().raw_os_error());
    note("a removed file that is open", &(kind(file.write_all_at(b"x", 0)), again.len().unwrap()));
    answers
}

#[test]
fn the_simulated_disk_answers_as_the_real_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let real = answers(&RealDisk, root);
    let simulated = answers(&SimDisk::new(root, Image::default(), 0), root);
    assert_eq!(real, simulated);
}

#[test]
fn a_directory_whose_sync_failed_is_made_again() {
    let root = Path::new("/sim");
    let disk = SimDisk::new(root, Image::default(), 0);
    disk.fail(sim::Fault::once(Some(sim::Operation::SyncDir), 0));
    let error = create_dir_durably(&disk, &root.join("a/b")).unwrap_err();
    assert!(matches!(error, Error::Io { source, .. } if source.kind() != ErrorKind::NotFound));
    create_dir_durably(&disk, &root.join("a/b")).unwrap();
    let after = SimDisk::new(root, disk.image().after_power_cut(sim::TearMode::LoseAll, 0), 0);
    assert!(after.is_dir(&root.join("a/b")));
}

#[test]
fn a_disk_on_which_nothing_is_a_directory_is_no_endless_search_for_one() {
    // The root of a simulated disk is the only directory that it has, and is elsewhere.
    let disk = SimDisk::new(Path::new("/sim"), Image::default(), 0);
    create_dir_durably(&disk, Path::new("a/b")).unwrap_err();
    create_dir_durably(&disk, Path::new("/a/b")).unwrap_err();
}

fn content(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    read_exact_at(file.as_ref(), file.len().unwrap() as usize, 0).unwrap()
}

/// Scenario: an operation fails while a file is replaced, and the power goes.
/// Guarantees: the old file or the new one is there, whole; the new one if it was said to be.
#[test]
fn a_file_is_replaced_durably_or_not_at_all() {
    let (root, path) = (Path::new("/sim"), Path::new("/sim/f"));
    for after in 0.. {
        let disk = SimDisk::new(root, Image::default(), 0);
        create_durably(&disk, path, |file| file.write_all_at(b"old", 0)).unwrap();
        disk.fail(sim::Fault::once(None, after));
        let replaced = create_durably(&disk, path, |file| file.write_all_at(b"newer", 0));
        disk.mend();
        let names: Vec<_> = disk.list(root).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["f"], "{after}");
        let later = SimDisk::new(root, disk.image().after_power_cut(sim::TearMode::LoseAll, 0), 0);
        let found = content(&later, path);
        match replaced {
            Ok(_) => assert_eq!(found, b"newer"),
            Err(_) => assert!(found == b"old" || found == b"newer", "{found:?}"),
        }
        if disk.num_failed() == 0 {
            assert!(
                after > 5,
                "a file is removed, created, written, synced and renamed, and its directory synced"
            );
            return;
        }
    }
}
