//! The mark beside the database: how much of it had been committed when the last change returned.
//!
//! ```text
//! catalog.db-mark, 32 bytes, little endian
//!   0  magic "ALULAMK1"     8  u64 number of changes     16  i64 sum of the digests     24  u64 XXH3-64 of bytes 0..24
//! ```
//!
//! It is written after a COMMIT, so a crash may leave it behind the database, never ahead. One that cannot be read says
//! nothing.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use xxhash_rust::xxh3::xxh3_64;

use super::integrity::combined_digest;

const MAGIC: [u8; 8] = *b"ALULAMK1";
const BYTES: usize = 32;

/// How much was committed, and what it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub num_changes: u64,
    pub digest: i64,
}

impl Mark {
    /// What the mark of a database should say.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached("SELECT num_changes FROM store")?;
        let num_changes: i64 = statement.query_row([], |row| row.get(0))?;
        Ok(Self { num_changes: num_changes.cast_unsigned(), digest: combined_digest(connection)? })
    }

    /// The mark of the database at `path`, if there is one that can be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let bytes: [u8; BYTES] = std::fs::read(path_beside(path)).ok()?.try_into().ok()?;
        let [magic, num_changes, digest, hash] = bytes.as_chunks().0 else { return None };
        let holds = *magic == MAGIC && u64::from_le_bytes(*hash) == xxh3_64(&bytes[..24]);
        holds.then(|| Self {
            num_changes: u64::from_le_bytes(*num_changes),
            digest: i64::from_le_bytes(*digest),
        })
    }

    fn encode(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.num_changes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.digest.to_le_bytes());
        let hash = xxh3_64(&bytes[..24]);
        bytes[24..].copy_from_slice(&hash.to_le_bytes());
        bytes
    }
}

/// Keeps the mark of an open database.
#[derive(Debug)]
pub(super) struct MarkFile {
    /// None once a write failed: a file that could not be synced is not written to again.
    file: Option<File>,
    written: Mark,
}

impl MarkFile {
    /// Opens or creates the mark of the database at `path`, and brings it up to date.
    pub(super) fn open(path: &Path, connection: &Connection) -> io::Result<Self> {
        let path = path_beside(path);
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        let mut mark = Self { file: Some(file), written: Mark::default() };
        mark.follow(connection);
        Ok(mark)
    }

    /// Writes the mark, if there are changes that it does not know.
    ///
    /// Durable: when this returns, unless the disk failed; then the mark stays behind, which costs its protection only.
    pub(super) fn follow(&mut self, connection: &Connection) {
        let Ok(mark) = Mark::of(connection) else { return };
        if mark.num_changes <= self.written.num_changes {
            return;
        }
        let written = self
            .file
            .as_ref()
            .is_some_and(|file| file.write_all_at(&mark.encode(), 0).and_then(|()| file.sync_data()).is_ok());
        if written {
            self.written = mark;
        } else {
            self.file = None;
        }
    }
}

fn path_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-mark");
    PathBuf::from(name)
}
