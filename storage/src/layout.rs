//! Every path inside the data directory, and the file operations that make a name durable.
//!
//! ```text
//! <data_dir>/
//!   LOCK                                                 held by the running server, holds its process id
//!   catalog.db                                           tenants, data files, flushed sequence number
//!   wal/<first sequence number, 20 digits>.wal           segments of the write-ahead log
//!   wal/quarantine/<segment>                             damaged segments, kept for a look
//!   data/<signal>/<tenant number>/YYYY/MM/DD/HH/<id>.parquet
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use alula_catalog::{DataFile, SequenceNumber};

use crate::{Error, Result};

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn segment(&self, first_seq: SequenceNumber) -> PathBuf {
        self.wal_dir().join(format!("{:020}.wal", first_seq.0))
    }

    pub(crate) fn quarantine_dir(&self) -> PathBuf {
        self.wal_dir().join("quarantine")
    }

    pub(crate) fn data_root(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where a data file is, relative to [`Self::data_root`].
    pub(crate) fn data_file_name(file: &DataFile) -> String {
        let (year, month, day, hour) = file.hour.civil();
        format!("{}/{}/{year:04}/{month:02}/{day:02}/{hour:02}/{}.parquet", file.signal, file.tenant, file.id)
    }

    pub(crate) fn data_file(&self, file: &DataFile) -> PathBuf {
        self.data_root().join(Self::data_file_name(file))
    }

    /// Takes the data directory for this process, until the returned file is dropped.
    ///
    /// The lock belongs to the open file: the kernel releases it when the process ends, however it ends.
    pub(crate) fn lock(&self) -> Result<File> {
        create_dir_durably(&self.root)?;
        let path = self.root.join("LOCK");
        let io = |doing| move |source| Error::Io { path: self.root.join("LOCK"), doing, source };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io("cannot open the lock file"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The holder may not have written its number yet; then there is none to name.
                let _ = file.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "(unknown)".to_owned() } else { pid.trim().to_owned() };
                return Err(Error::DirectoryInUse { path: self.root.clone(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(io("cannot lock the lock file")(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(io("cannot write the lock file"))?;
        Ok(file)
    }
}

/// Makes directory entries durable: a new name survives power loss only after its directory was synced.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| Error::Io {
        path: dir.to_owned(),
        doing: "cannot sync the directory",
        source,
    })
}

/// Creates a directory and its missing ancestors, each durable in its parent.
pub(crate) fn create_dir_durably(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir_durably(parent)?;
    match fs::create_dir(dir) {
        Ok(()) => sync_dir(parent).inspect_err(|_| {
            // The next call must not find it and take it for durable.
            let _ = fs::remove_dir(dir);
        }),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(Error::Io { path: dir.to_owned(), doing: "cannot create the directory", source }),
    }
}
