//! Files by which a process has something for itself, and says who it is.
//!
//! The lock belongs to the open file: the kernel releases it when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use crate::{Error, Result};

/// Who has a lock.
#[derive(Debug)]
pub(crate) enum Lock {
    /// This process, until the file is dropped.
    Ours(File),
    /// The process of this id, as text for an error.
    Taken { pid: String },
}

/// Takes the lock of a file, which is created if it is not there.
pub(crate) fn take_lock(path: &Path) -> Result<Lock> {
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = opened.map_err(Error::io(path, "cannot open the lock file"))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock::Ours(file)),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The holder may not have written its number yet; then there is none to name.
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "(unknown)".to_owned() } else { pid.trim().to_owned() };
            Ok(Lock::Taken { pid })
        }
        Err(TryLockError::Error(source)) => Err(Error::io(path, "cannot lock the lock file")(source)),
    }
}

/// Writes the id of this process, for whoever finds the lock taken.
pub(crate) fn write_pid(file: &mut File) -> io::Result<()> {
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    let length = file.stream_position()?;
    file.set_len(length)
}
