//! The copy of a log that is written to.

use std::io;
use std::sync::Mutex;

use tempfile::tempdir;

use super::{Fixture, stored_in};
use crate::backup::Progress;
use crate::backup::wal_tail::{WalTail, copy_segment};
use crate::disk::{Disk, DiskFile, RealDisk};
use crate::testing::{entry, expected, layout};

/// A file of zeros into which somebody writes, front to back, whenever somebody else reads.
#[derive(Debug)]
struct Growing {
    content: Vec<u8>,
    /// How much is written, and how much more is at each read.
    written: Mutex<(usize, usize)>,
}

impl DiskFile for Growing {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut written = self.written.lock().unwrap();
        let start = offset as usize;
        let length = into.len().min(self.content.len() - start);
        // Half of it before somebody writes, half of it after.
        let (front, back) = into[..length].split_at_mut(length / 2);
        for (part, at) in [(front, start), (back, start + length / 2)] {
            let there = written.0.clamp(at, at + part.len()) - at;
            part[..there].copy_from_slice(&self.content[at..at + there]);
            part[there..].fill(0);
            written.0 += written.1;
        }
        Ok(length)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn the_copy_of_a_growing_segment_is_a_first_part_of_it_without_holes() {
    let content: Vec<u8> = (0..5 << 20).map(|i| (i % 251) as u8 + 1).collect();
    let dir = tempdir().unwrap();
    let path = dir.path().join("copy");
    for at_start in [0, 1, 4096, 3 << 20, (3 << 20) + 1, 5 << 20] {
        for at_each_read in [0, 1, 7777, 1 << 19, 1 << 20, 5 << 20] {
            let file = Growing { content: content.clone(), written: Mutex::new((at_start, at_each_read)) };
            copy_segment(&RealDisk, &file, &path).unwrap();
            let copy = std::fs::read(&path).unwrap();
            let written = copy.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            assert_eq!(copy[..written], content[..written], "{at_start} {at_each_read}");
            assert!(written >= at_start, "what was there before the copy began is missing");
        }
    }
}

#[tokio::test]
async fn a_torn_tail_in_the_copied_log_is_no_loss() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    for number in 0..5 {
        storage.append(entry("a", &format!("e{number}"), 0, 2)).await.unwrap();
    }
    let [segment] = &super::names_in(&fixture.data_dir().join("wal"))
        .into_iter()
        .filter(|name| std::path::Path::new(name).extension().is_some_and(|extension| extension == "wal"))
        .collect::<Vec<_>>()[..]
    else {
        panic!("one segment")
    };
    let whole = std::fs::metadata(fixture.data_dir().join("wal").join(segment)).unwrap().len();
    let four = expected(&[("e0", 2), ("e1", 2), ("e2", 2), ("e3", 2)]);
    for cut in [1, 5, 20] {
        fixture.back_up().await;
        let name = format!("restored-{cut}");
        fixture.try_restore(None, &name).await.unwrap();
        let restored = fixture.dir.path().join(name);
        let file = std::fs::File::options().write(true).open(restored.join("wal").join(segment)).unwrap();
        file.set_len(whole - cut).unwrap();
        // No loss on record, which `stored_in` looks at; the padding of a frame carries nothing.
        let found = stored_in(&restored).await;
        assert!(found == four || (cut < 8 && found.len() == 10), "{cut}: {found:?}");
    }
    storage.close().await.unwrap();
}

#[tokio::test]
async fn a_segment_that_was_given_up_after_it_was_copied_does_not_hold() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    storage.append(entry("a", "one", 0, 2)).await.unwrap();
    let layout = layout(&fixture.data_dir());
    let into = fixture.dir.path().join("copied");
    RealDisk.create_dir(&into).unwrap();
    let copy = || WalTail::copy(&layout, &into, &Progress::default()).unwrap();

    let newest = copy();
    assert!(newest.still_holds(&layout).unwrap(), "it is still the newest");
    storage.append(entry("a", "two", 0, 2)).await.unwrap();
    storage.flush().await.unwrap();
    storage.append(entry("a", "three", 0, 2)).await.unwrap();
    assert!(newest.still_holds(&layout).unwrap(), "it was sealed by the flush, and is gone");

    let newest = copy();
    let [name] = &newest.segments[..] else { panic!("one segment") };
    // What a segment looks like that could not be synced: not sealed, and not the newest.
    let path = layout.wal_dir().join(name);
    let next = layout.segment(alula_catalog::SequenceNumber(99));
    std::fs::copy(&path, &next).unwrap();
    assert!(!newest.still_holds(&layout).unwrap());
    std::fs::remove_file(next).unwrap();
    assert!(newest.still_holds(&layout).unwrap());
    storage.close().await.unwrap();
}
