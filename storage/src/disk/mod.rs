//! The file operations that storage is built on, and the one place where they reach the operating system.
//!
//! | file | purpose |
//! |---|---|
//! | `real.rs` | [`RealDisk`]: the file system of the machine |
//! | `faulty.rs` | for tests, the same with faults |
//! | `sim.rs` | for tests, a disk in memory that loses power and fails |
//!
//! Storage decides what to write, sync and rename in which order; a [`Disk`] does it. So a test can put a disk below it
//! that loses power at any operation, and keeps of the bytes that were not synced whatever it likes.
//!
//! SQLite does its own file work, with its own guarantees, and is not below this.

#[cfg(test)]
pub(crate) mod faulty;
mod real;
#[cfg(test)]
pub(crate) mod sim;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use real::RealDisk;

use crate::{Error, Result};

/// A file system.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file that only its owner may read, or empties the one that is there.
    ///
    /// Durable: neither the file's name nor its bytes, until both were synced.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file to be read.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in the place of a file that may have had it.
    ///
    /// Durable: after a sync of the directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a second name.
    fn hard_link(&self, existing: &Path, new: &Path) -> io::Result<()>;

    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Durable: every name that the directory has now survives power loss, and every name that it lost stays lost.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// What is in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Units: bytes.
    fn file_len(&self, path: &Path) -> io::Result<u64>;

    fn is_dir(&self, path: &Path) -> bool;

    /// Units: bytes that an ordinary process may still write to the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Units: bytes that the file system that holds `path` has in all.
    fn total_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file.
pub(crate) trait DiskFile: fmt::Debug + Send + Sync {
    /// Units: bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads at most `into.len()` bytes; 0 only at the end of the file or for an empty `into`.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Durable: not until [`Self::sync_data`].
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Durable: every byte written so far survives power loss when this returns, if the name does.
    ///
    /// After a failure nothing is known about the bytes, and a later success proves nothing: the kernel may have marked
    /// pages clean that it could not write.
    fn sync_data(&self) -> io::Result<()>;

    /// Asks the system to read the file from the medium next time; it may not.
    fn drop_from_cache(&self) {}
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirEntry {
    pub name: std::ffi::OsString,
    pub is_dir: bool,
}

/// Reads `length` bytes, all of them.
pub(crate) fn read_exact_at(file: &dyn DiskFile, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Makes the names in a directory durable: a new one survives power loss only after this.
pub(crate) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    disk.sync_dir(dir).map_err(Error::io(dir, "cannot sync the directory"))
}

/// Creates a file whole or not at all, in the place of one that may have its name. Returns it, to be written on.
///
/// Durable: what `write` wrote, and the name, when this returns. A crash before may leave a part of it as `<name>.tmp`.
pub(crate) fn create_durably(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> io::Result<Box<dyn DiskFile>> {
    let temporary = temporary(path);
    // Never one that an earlier attempt failed to sync.
    let _ = disk.remove_file(&temporary);
    let created = || {
        let file = disk.create(&temporary)?;
        write(file.as_ref())?;
        file.sync_data()?;
        disk.rename(&temporary, path)?;
        disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        Ok(file)
    };
    created().inspect_err(|_| {
        let _ = disk.remove_file(&temporary);
    })
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Creates a directory and its missing ancestors, each durable in its parent.
pub(crate) fn create_dir_durably(disk: &dyn Disk, dir: &Path) -> Result<()> {
    if disk.is_dir(dir) {
        return Ok(());
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A working directory that is gone has itself for a parent.
    if parent != dir {
        create_dir_durably(disk, parent)?;
    }
    match disk.create_dir(dir) {
        Ok(()) => sync_dir(disk, parent).inspect_err(|_| {
            // The next call must not find it and take it for durable.
            let _ = disk.remove_dir(dir);
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(Error::io(dir, "cannot create the directory")(source)),
    }
}

#[cfg(test)]
mod tests;
