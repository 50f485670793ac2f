//! [`HashingFile`]: a file that is hashed while it is written, and gets its own checksum at the end.

use std::io::{self, Write};
use std::path::Path;

use super::own_checksum;
use crate::checksum::{Hasher, digits};
use crate::disk::{Disk, DiskFile};

/// A file that hashes what is written to it.
#[derive(Debug)]
pub(super) struct HashingFile {
    file: Box<dyn DiskFile>,
    hasher: Hasher,
    bytes: u64,
    /// The end of the file, once nothing but it is to come.
    end: Option<Vec<u8>>,
}

impl HashingFile {
    pub(super) fn create(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(Self { file: disk.create(path)?, hasher: Hasher::default(), bytes: 0, end: None })
    }

    /// What is written from here on waits for [`Self::write_end`].
    pub(super) fn hold_end(&mut self) {
        self.end = Some(Vec::new());
    }

    /// Puts the file's checksum into its end, and writes that.
    pub(super) fn write_end(&mut self) -> io::Result<()> {
        let Some(mut end) = self.end.take() else { return Ok(()) };
        let place = own_checksum::place_of(&end)
            .ok_or_else(|| io::Error::other("the footer has no place for the checksum"))?;
        let mut hasher = self.hasher.clone();
        hasher.update(&end);
        let digits = digits(hasher.checksum());
        end[place..place + digits.len()].copy_from_slice(digits.as_bytes());
        self.write_all(&end)
    }

    /// Durable: the bytes when this returns; the name is not.
    pub(super) fn sync(self) -> io::Result<WrittenFile> {
        self.file.sync_data()?;
        Ok(WrittenFile { size_bytes: self.bytes, checksum: self.hasher.checksum() })
    }
}

/// What the catalog has to know of a file's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenFile {
    pub size_bytes: u64,
    pub checksum: [u8; 16],
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(end) = &mut self.end {
            end.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        self.file.write_all_at(bytes, self.bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
