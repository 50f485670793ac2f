//! Where backups are kept: files with names, below one root.
//!
//! | file | purpose |
//! |---|---|
//! | `location.rs` | what the operator gave: a directory or a URL |
//! | `source.rs` | a local file on its way into a backup, hashed as it goes |
//! | `directory.rs` | a directory: durable, with hard links where they can be made |
//! | `bucket.rs` | any object store |

mod bucket;
mod directory;
mod location;
mod source;

use std::fmt;

pub(super) use bucket::Bucket;
pub(super) use directory::Directory;
pub use location::Location;
pub(super) use source::Source;

use super::Result;
use super::manifest::Checksum;
pub(super) use crate::remote::Listed;

/// Bytes that are read, sent or compared at a time.
pub(super) const CHUNK_BYTES: usize = 8 << 20;

/// A place for backups. All methods block.
///
/// Names are relative to its root and have `/` between their parts.
pub(super) trait Target: fmt::Debug + Send + Sync {
    /// For people.
    fn location(&self) -> String;

    /// Every file below a directory, at any depth, in no order; none if the directory is not there.
    fn list(&self, dir: &str) -> Result<Vec<Listed>>;

    /// Reads `length` bytes, all of them.
    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Makes a snapshot of that name, with its list of files, unless there is one.
    ///
    /// Durable: when this returns.
    fn claim(&self, snapshot: &str, file_list: &[u8]) -> Result<Claim>;

    /// Puts a file there, whole or not at all. Returns its checksum.
    ///
    /// Durable: its bytes when this returns, its name after [`Self::sync`].
    ///
    /// # Errors
    /// `CorruptFile` — the source has another checksum than it should have. `Interrupted`.
    fn put(&self, name: &str, snapshot: &str, source: &Source<'_>, existing: Existing) -> Result<Checksum>;

    /// Puts a small file there, under a name that is free.
    ///
    /// Durable: when this returns.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Makes the names of everything that was put durable.
    fn sync(&self) -> Result<()>;

    /// Removes a file, if it is there.
    fn remove(&self, name: &str) -> Result<()>;

    /// Removes what is left of a snapshot whose files were removed.
    fn remove_snapshot(&self, snapshot: &str) -> Result<()>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Made,
    /// There is one of that name.
    Taken,
}

/// What to do about a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// There should be none; one that is there is the same.
    Keep,
    /// It is damaged.
    Replace,
}
