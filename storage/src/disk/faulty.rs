//! [`FaultyDisk`]: for tests, the machine's disk with faults, and with things that happen meanwhile.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{DirEntry, Disk, DiskFile, RealDisk};

/// What a test does between two operations.
#[derive(Default)]
struct Hook(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Hook {
    fn new(hook: impl FnOnce() + Send + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(hook))))
    }

    /// Calls it, once.
    fn run(&self) {
        let hook = self.0.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}

/// A disk that by default does as the machine's, and has all the space in the world.
#[derive(Debug)]
pub(crate) struct FaultyDisk {
    /// Writing operations until all fail.
    left: Arc<AtomicUsize>,
    /// Whether a file gets another byte when it gets its final name.
    pub is_rotten: AtomicBool,
    pub free_bytes: AtomicU64,
    syncs: bool,
    /// Whether a file can get a second name.
    links: bool,
    before_link: Hook,
    before_open: Hook,
    pub num_open: Arc<AtomicUsize>,
    pub most_open: AtomicUsize,
}

impl Default for FaultyDisk {
    fn default() -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(usize::MAX)),
            is_rotten: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            syncs: true,
            links: true,
            before_link: Hook::default(),
            before_open: Hook::default(),
            num_open: Arc::default(),
            most_open: AtomicUsize::new(0),
        }
    }
}

impl FaultyDisk {
    /// `hook` runs before the first file gets its second name.
    pub(crate) fn before_link(hook: impl FnOnce() + Send + 'static) -> Self {
        Self { before_link: Hook::new(hook), ..Self::default() }
    }

    /// No file can get a second name; `hook` runs before the first data file is opened.
    pub(crate) fn without_links(hook: impl FnOnce() + Send + 'static) -> Self {
        Self { links: false, before_open: Hook::new(hook), ..Self::default() }
    }

    /// Nothing takes the time to sync.
    pub(crate) fn without_syncs() -> Self {
        Self { syncs: false, ..Self::default() }
    }

    /// Every writing operation fails after the next `operations` ones.
    pub(crate) fn fail_after(&self, operations: usize) {
        self.left.store(operations, Ordering::Relaxed);
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let num_open = self.num_open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(num_open, Ordering::Relaxed);
        let (left, num_open) = (Arc::clone(&self.left), Arc::clone(&self.num_open));
        Box::new(FaultyFile { file, left, num_open, syncs: self.syncs })
    }
}

fn take(left: &AtomicUsize) -> io::Result<()> {
    let less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    taken.map(|_| ()).map_err(|_| io::Error::other("the disk failed"))
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        take(&self.left)?;
        Ok(self.file(RealDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if path.extension().is_some_and(|extension| extension == "parquet") {
            self.before_open.run();
        }
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
        self.before_link.run();
        if self.links { RealDisk.hard_link(existing, new) } else { Err(io::ErrorKind::CrossesDevices.into()) }
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
struct FaultyFile {
    file: Box<dyn DiskFile>,
    left: Arc<AtomicUsize>,
    num_open: Arc<AtomicUsize>,
    syncs: bool,
}

impl DiskFile for FaultyFile {
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

impl Drop for FaultyFile {
    fn drop(&mut self) {
        self.num_open.fetch_sub(1, Ordering::Relaxed);
    }
}
