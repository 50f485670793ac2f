//! [`SimDisk`]: a disk in memory that loses power, fails and fills up as a test wants it.
//!
//! | file | purpose |
//! |---|---|
//! | `image.rs` | all files and directories at one moment, and what a power cut leaves of them |
//! | `file.rs` | the bytes of a file: cached, durable, and the sectors in between |
//! | `power_cut.rs` | what is kept of that which was not synced |
//! | `faults.rs` | operations that fail |
//! | `rng.rs` | random numbers from a seed |
//!
//! It promises what [`Disk`] says and nothing more:
//! - Bytes are kept for certain once the file was synced, names once their directory was. A synced file has no name
//!   for certain, and a synced name no bytes.
//! - A sector of 512 bytes is written whole, and a change of a name is made whole; nothing else is.
//! - A failed sync leaves pages clean that were not written: a later sync of the file succeeds without them, and reads show
//!   them until the power goes. (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020.)
//!
//! Operations that change something are numbered from 0; the power can go at any of them, which then does not take place.
//! The `COMMIT` of a database beside the disk can be one of them ([`SimDisk::commit`]).

mod faults;
mod file;
mod image;
mod power_cut;
mod rng;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use faults::{EIO, ENOSPC, Fault};
pub(crate) use file::SECTOR_BYTES;
pub(crate) use image::Image;
pub(crate) use power_cut::TearMode;
pub(crate) use rng::Rng;

use super::{DirEntry, Disk, DiskFile};
use faults::Faults;
use image::Inode;

const EBADF: i32 = 9;

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Open,
    Read,
    Write,
    SyncData,
    Rename,
    RemoveFile,
    HardLink,
    CreateDir,
    RemoveDir,
    SyncDir,
    List,
    Length,
    Commit,
}

impl Operation {
    fn changes_something(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::List | Self::Length)
    }
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk {
    /// The path at which the disk is mounted; it has no other paths.
    root: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    /// Held for one operation.
    inner: Mutex<Inner>,
    resumed: Condvar,
}

struct Inner {
    image: Image,
    /// What took place or was about to, one line for each numbered operation.
    log: Vec<String>,
    /// With a recording: the disk before each numbered operation.
    recorded: Option<Vec<Image>>,
    is_off: bool,
    power_cut_at: Option<usize>,
    faults: Faults,
    /// Syncs that succeed and do nothing.
    ignored: Option<Operation>,
    capacity_bytes: Option<u64>,
    is_paused: bool,
    num_waiting: usize,
    syncs: BTreeMap<Inode, SyncCount>,
    /// Told before the first operation that follows a commit.
    after_commit: Option<AfterCommit>,
    committed_at: Option<usize>,
    rng: Rng,
}

/// Called with the number of a commit.
pub(crate) type AfterCommit = Box<dyn FnMut(usize) + Send>;

/// Syncs of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SyncCount {
    pub path: PathBuf,
    pub succeeded: usize,
    pub failed: usize,
    /// Syncs, whatever came of them, after one failed. Pages may have been lost meanwhile, so they prove nothing.
    pub after_failure: usize,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("root", &self.root).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// A disk with this content, mounted at `root`.
    pub(crate) fn new(root: &Path, image: Image, seed: u64) -> Self {
        let inner = Inner {
            image,
            log: Vec::new(),
            recorded: None,
            is_off: false,
            power_cut_at: None,
            faults: Faults::default(),
            ignored: None,
            capacity_bytes: None,
            is_paused: false,
            num_waiting: 0,
            syncs: BTreeMap::new(),
            after_commit: None,
            committed_at: None,
            rng: Rng::new(seed),
        };
        let shared = Shared { inner: Mutex::new(inner), resumed: Condvar::new() };
        Self { root: root.to_owned(), shared: Arc::new(shared) }
    }

    /// Keeps the disk as it is before each operation from here on.
    pub(crate) fn record(&self, after_commit: AfterCommit) {
        let mut inner = self.lock();
        inner.recorded = Some(Vec::new());
        inner.after_commit = Some(after_commit);
    }

    /// The recorded images, the last of them after all operations, and a line for each operation.
    pub(crate) fn take_recording(&self) -> (Vec<Image>, Vec<String>) {
        let mut inner = self.lock();
        inner.settle_commit();
        inner.after_commit = None;
        let mut images = inner.recorded.take().unwrap_or_default();
        images.push(inner.image.clone());
        (images, inner.log.clone())
    }

    /// The power goes at the operation with this number.
    pub(crate) fn cut_power_at(&self, operation: usize) {
        self.lock().power_cut_at = Some(operation);
    }

    /// Every operation from here on fails.
    pub(crate) fn cut_power(&self) {
        self.lock().is_off = true;
        self.resume();
    }

    pub(crate) fn is_off(&self) -> bool {
        self.lock().is_off
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.lock().faults.plan(fault);
    }

    /// No operation fails from here on.
    pub(crate) fn mend(&self) {
        self.lock().faults.clear();
    }

    pub(crate) fn num_failed(&self) -> usize {
        self.lock().faults.num_failed
    }

    /// The disk says that it did operations of this kind, and does not do them.
    pub(crate) fn ignore(&self, operation: Operation) {
        self.lock().ignored = Some(operation);
    }

    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.lock().image.used_bytes()
    }

    /// Operations that change something wait from here on until [`Self::resume`].
    pub(crate) fn pause(&self) {
        self.lock().is_paused = true;
    }

    pub(crate) fn resume(&self) {
        self.lock().is_paused = false;
        self.shared.resumed.notify_all();
    }

    /// Whether an operation waits on the paused disk.
    pub(crate) fn is_reached(&self) -> bool {
        let inner = self.lock();
        inner.is_paused && inner.num_waiting > 0
    }

    /// How many operations that change something there were, the one of a power cut included.
    pub(crate) fn num_operations(&self) -> usize {
        self.lock().log.len()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    pub(crate) fn syncs(&self) -> Vec<SyncCount> {
        self.lock().syncs.values().cloned().collect()
    }

    pub(crate) fn image(&self) -> Image {
        self.lock().image.clone()
    }

    /// The `COMMIT` of a database beside the disk. False: it does not take place.
    pub(crate) fn commit(&self) -> bool {
        let Ok((mut inner, fault)) = self.begin(Operation::Commit, Path::new("catalog")) else {
            return false;
        };
        inner.committed_at = Some(inner.log.len() - 1);
        fault.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation and decides what becomes of it.
    fn begin(&self, operation: Operation, path: &Path) -> io::Result<(MutexGuard<'_, Inner>, Option<Fault>)> {
        let mut inner = self.lock();
        if operation.changes_something() {
            inner.num_waiting += 1;
            let resumed = self.shared.resumed.wait_while(inner, |inner| inner.is_paused);
            inner = resumed.unwrap_or_else(PoisonError::into_inner);
            inner.num_waiting -= 1;
        }
        if inner.is_off {
            return Err(no_power());
        }
        if operation.changes_something() {
            inner.settle_commit();
            let number = inner.log.len();
            inner.log.push(format!("{number} {operation:?} {}", path.display()));
            if inner.power_cut_at == Some(number) {
                inner.is_off = true;
                return Err(no_power());
            }
            let Inner { recorded, image, .. } = &mut *inner;
            if let Some(images) = recorded {
                images.push(image.clone());
            }
        }
        let fault = inner.faults.strikes(operation);
        if let (Some(fault), Some(line)) =
            (&fault, inner.log.last_mut().filter(|_| operation.changes_something()))
        {
            let _ = write!(line, ": {}", fault.error());
        }
        Ok((inner, fault))
    }

    /// An operation that fails whole or takes place whole.
    fn operate<T>(
        &self,
        operation: Operation,
        path: &Path,
        run: impl FnOnce(&mut Image, &Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let relative = self.relative(path)?;
        let (mut inner, fault) = self.begin(operation, relative)?;
        match fault {
            Some(fault) => Err(fault.error()),
            None => run(&mut inner.image, relative),
        }
    }

    fn handle(&self, inode: Inode, path: &Path, is_writable: bool) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), inode, path: path.to_owned(), is_writable })
    }

    fn relative<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        path.strip_prefix(&self.root).map_err(|_| io::ErrorKind::NotFound.into())
    }
}

fn no_power() -> io::Error {
    io::Error::other("the simulated disk has no power")
}

impl Inner {
    fn settle_commit(&mut self) {
        if let (Some(number), Some(after_commit)) = (self.committed_at.take(), &mut self.after_commit) {
            after_commit(number);
        }
    }

    fn free_bytes(&self) -> u64 {
        self.capacity_bytes.map_or(1 << 40, |capacity| capacity.saturating_sub(self.image.used_bytes()))
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.operate(Operation::Create, path, Image::create).map(|inode| self.handle(inode, path, true))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let open = |image: &mut Image, path: &Path| image.open(path);
        self.operate(Operation::Open, path, open).map(|inode| self.handle(inode, path, false))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let to = self.relative(to)?;
        self.operate(Operation::Rename, from, |image, from| image.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operate(Operation::RemoveFile, path, Image::remove_file)
    }

    fn hard_link(&self, existing: &Path, new: &Path) -> io::Result<()> {
        let new = self.relative(new)?;
        self.operate(Operation::HardLink, existing, |image, existing| image.hard_link(existing, new))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.operate(Operation::CreateDir, path, Image::create_dir)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.operate(Operation::RemoveDir, path, Image::remove_dir)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let relative = self.relative(path)?;
        let (mut inner, fault) = self.begin(Operation::SyncDir, relative)?;
        match fault {
            Some(fault) => {
                inner.image.fail_sync_dir(relative);
                Err(fault.error())
            }
            None if inner.ignored == Some(Operation::SyncDir) => Ok(()),
            None => inner.image.sync_dir(relative),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.operate(Operation::List, dir, |image, dir| image.list(dir))
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        let length = |image: &mut Image, path: &Path| Ok(image.file(image.open(path)?)?.len() as u64);
        self.operate(Operation::Length, path, length)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.relative(path).is_ok_and(|path| self.lock().image.is_dir(path))
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let inner = self.lock();
        if inner.is_off { Err(no_power()) } else { Ok(inner.free_bytes()) }
    }

    fn total_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.lock().capacity_bytes.unwrap_or(1 << 40))
    }
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: Inode,
    path: PathBuf,
    is_writable: bool,
}

impl SimFile {
    fn begin(&self, operation: Operation) -> io::Result<(MutexGuard<'_, Inner>, Option<Fault>)> {
        self.disk.begin(operation, self.disk.relative(&self.path)?)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        match self.begin(Operation::Length)? {
            (_, Some(fault)) => Err(fault.error()),
            (inner, None) => Ok(inner.image.file(self.inode)?.len() as u64),
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.begin(Operation::Read)? {
            (_, Some(fault)) => Err(fault.error()),
            (inner, None) => Ok(inner.image.file(self.inode)?.read(into, offset)),
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.is_writable {
            return Err(io::Error::from_raw_os_error(EBADF));
        }
        let (mut inner, fault) = self.begin(Operation::Write)?;
        let offset = offset as usize;
        let fault = fault.or_else(|| {
            let length = inner.image.file(self.inode).map_or(0, file::FileBytes::len);
            let grows_by = (offset + bytes.len()).saturating_sub(length) as u64;
            let is_full = inner.free_bytes() < grows_by;
            is_full.then_some(Fault { is_short: true, errno: ENOSPC, ..Fault::once(None, 0) })
        });
        match fault {
            None => inner.image.write(self.inode, bytes, offset),
            Some(fault) => {
                if fault.is_short {
                    let room =
                        if fault.errno == ENOSPC { inner.free_bytes() as usize } else { bytes.len() / 2 };
                    inner.image.write(self.inode, &bytes[..bytes.len().min(room)], offset)?;
                }
                Err(fault.error())
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut inner, fault) = self.begin(Operation::SyncData)?;
        let Inner { image, syncs, rng, ignored, .. } = &mut *inner;
        let count = syncs.entry(self.inode).or_insert_with(|| {
            let path = self.path.strip_prefix(&self.disk.root).unwrap_or(&self.path).to_owned();
            SyncCount { path, ..SyncCount::default() }
        });
        count.after_failure += usize::from(count.failed > 0);
        let file = image.file_mut(self.inode)?;
        match fault {
            Some(fault) => {
                count.failed += 1;
                file.fail_sync(rng);
                Err(fault.error())
            }
            None => {
                count.succeeded += 1;
                if *ignored != Some(Operation::SyncData) {
                    file.sync();
                }
                Ok(())
            }
        }
    }

    fn drop_from_cache(&self) {
        if let Ok(file) = self.disk.lock().image.file_mut(self.inode) {
            file.drop_clean_pages();
        }
    }
}

#[cfg(test)]
mod tests;
