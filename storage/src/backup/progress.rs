//! [`Progress`]: how far a backup or a restore is, and how it is told to end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Error, Result};

/// Shared by the threads that copy and by whoever watches them.
#[derive(Debug, Default)]
pub struct Progress {
    files: AtomicU64,
    files_in_all: AtomicU64,
    bytes: AtomicU64,
    bytes_in_all: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// Files that are done, and all of them. Both 0 while it is not known what there is to do.
    pub fn files(&self) -> (u64, u64) {
        (self.files.load(Ordering::Relaxed), self.files_in_all.load(Ordering::Relaxed))
    }

    /// The same in bytes.
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.bytes_in_all.load(Ordering::Relaxed))
    }

    /// Ends it soon, with [`Error::Interrupted`].
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, files: usize, bytes: u64) {
        self.files_in_all.store(files as u64, Ordering::Relaxed);
        self.bytes_in_all.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_file(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// # Errors
    /// `Interrupted`, once it was cancelled.
    pub(super) fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
