//! A disk that fails from some operation on, damages what is written, or does not take the time to sync.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::disk::{DirEntry, Disk, DiskFile, RealDisk};

/// The machine's disk with faults.
#[derive(Debug)]
pub(super) struct TestDisk {
    /// Writing operations until all fail.
    pub left: Arc<AtomicUsize>,
    /// Whether a file gets another byte when it gets its final name.
    pub is_rotten: AtomicBool,
    pub free_bytes: AtomicU64,
    pub syncs: bool,
    pub num_open: Arc<AtomicUsize>,
    pub most_open: AtomicUsize,
}

impl Default for TestDisk {
    fn default() -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(usize::MAX)),
            is_rotten: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            syncs: true,
            num_open: Arc::default(),
            most_open: AtomicUsize::new(0),
        }
    }
}

impl TestDisk {
    pub(super) fn fail_after(&self, operations: usize) {
        self.left.store(operations, Ordering::Relaxed);
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let num_open = self.num_open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(num_open, Ordering::Relaxed);
        let (left, num_open) = (Arc::clone(&self.left), Arc::clone(&self.num_open));
        Box::new(TestFile { file, left, num_open, syncs: self.syncs })
    }
}

fn take(left: &AtomicUsize) -> io::Result<()> {
    let less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    taken.map(|_| ()).map_err(|_| io::Error::other("the disk failed"))
}

impl Disk for TestDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        take(&self.left)?;
        Ok(self.file(RealDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(RealDisk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        take(&self.left)?;
        if self.is_rotten.load(Ordering::Relaxed) {
            let mut bytes = std::fs::read(from)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            std::fs::write(from, bytes)?;
        }
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        take(&self.left)?;
        RealDisk.remove_file(path)
    }

    fn hard_link(&self, existing: &Path, new: &Path) -> io::Result<()> {
        RealDisk.hard_link(existing, new)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        take(&self.left)?;
        RealDisk.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        take(&self.left)?;
        if self.syncs { RealDisk.sync_dir(path) } else { Ok(()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        RealDisk.file_len(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        RealDisk.is_dir(path)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free_bytes.load(Ordering::Relaxed))
    }

    fn total_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

#[derive(Debug)]
struct TestFile {
    file: Box<dyn DiskFile>,
    left: Arc<AtomicUsize>,
    num_open: Arc<AtomicUsize>,
    syncs: bool,
}

impl DiskFile for TestFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        take(&self.left)?;
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        take(&self.left)?;
        if self.syncs { self.file.sync_data() } else { Ok(()) }
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        self.num_open.fetch_sub(1, Ordering::Relaxed);
    }
}
