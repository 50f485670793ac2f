//! [`Source`]: a local file on its way into a backup.

use std::path::Path;

use super::CHUNK_BYTES;
use crate::backup::manifest::Checksum;
use crate::backup::{Progress, Result};
use crate::checksum::Hasher;
use crate::disk::{DiskFile, read_exact_at};

/// A local file that does not change any more.
#[derive(Debug)]
pub(in crate::backup) struct Source<'a> {
    pub path: &'a Path,
    pub file: Box<dyn DiskFile>,
    pub size_bytes: u64,
    /// What it must be, where that is known.
    pub checksum: Option<Checksum>,
    /// It is never written to again, so it may have a second name instead of a copy.
    pub may_be_linked: bool,
    pub progress: &'a Progress,
}

impl Source<'_> {
    /// Reads the whole file once, and says what its checksum is.
    ///
    /// Bounds: chunks of at most [`CHUNK_BYTES`], one at a time.
    ///
    /// # Errors
    /// `CorruptFile` — it has another size or checksum than it must have; by then `each` has seen it all. `Interrupted`.
    pub(in crate::backup) fn read(
        &self,
        mut each: impl FnMut(Vec<u8>, u64) -> Result<()>,
    ) -> Result<Checksum> {
        let corrupt = || crate::Error::CorruptFile { file: self.path.display().to_string() };
        let read_error = || crate::Error::io(self.path, "cannot read the file");
        if self.file.len().map_err(read_error())? < self.size_bytes {
            return Err(corrupt().into());
        }
        let mut hasher = Hasher::default();
        let mut at = 0;
        while at < self.size_bytes {
            self.progress.check()?;
            let length = CHUNK_BYTES.min((self.size_bytes - at) as usize);
            let bytes = read_exact_at(self.file.as_ref(), length, at).map_err(read_error())?;
            hasher.update(&bytes);
            each(bytes, at)?;
            at += length as u64;
        }
        let found = Checksum::finish(&hasher);
        match self.checksum {
            Some(expected) if expected != found => Err(corrupt().into()),
            _ => Ok(found),
        }
    }
}
