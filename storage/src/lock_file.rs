//! Files by which a process has something for itself, and says who it is.
//!
//! The lock belongs to the open file: the kernel releases it when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::{Error, Result};

/// How often, and how long apart, it is looked whether a new holder has written its number.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

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
        Err(TryLockError::WouldBlock) => Ok(Lock::Taken { pid: holder(&mut file) }),
        Err(TryLockError::Error(source)) => Err(Error::io(path, "cannot lock the lock file")(source)),
    }
}

/// Who has the lock. One that took it this moment may not have written its number yet, and the file names the one before.
fn holder(file: &mut File) -> String {
    let first = written_pid(file);
    for _ in 0..LOOKS {
        thread::sleep(PAUSE);
        let pid = written_pid(file);
        if pid != first {
            return pid;
        }
    }
    first
}

fn written_pid(file: &mut File) -> String {
    let mut pid = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut pid));
    match (read, pid.trim()) {
        (Ok(_), pid) if !pid.is_empty() => pid.to_owned(),
        _ => "(unknown)".to_owned(),
    }
}

/// Writes the id of this process, for whoever finds the lock taken.
pub(crate) fn write_pid(file: &mut File) -> io::Result<()> {
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    let length = file.stream_position()?;
    file.set_len(length)
}
