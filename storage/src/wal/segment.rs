//! One segment open for writing.

use std::io;
use std::path::{Path, PathBuf};

use alula_catalog::SequenceNumber;

use super::format::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, Seal, SegmentHeader};
use super::salt::Salt;
use crate::disk::{Disk, DiskFile, create_durably};

/// A segment that this process created and writes to.
///
/// Only what [`Self::write`] and then [`Self::sync`] both accepted is part of it. After a failure of either the segment ends
/// at [`Self::durable_offset`]; after a failed sync it is never touched again.
#[derive(Debug)]
pub(super) struct Segment {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    pub(super) salt: Salt,
    /// Where the next byte goes.
    offset: u64,
    /// Bytes up to here are on disk.
    durable_offset: u64,
    pub(super) num_frames: u64,
    pub(super) rolling_hash: u64,
}

impl Segment {
    /// Creates the segment so that it exists whole or not at all.
    ///
    /// Durable: header and name survive power loss when this returns. A file of the same name can only be a segment in
    /// which nothing was ever acknowledged, and is replaced.
    pub(super) fn create(disk: &dyn Disk, path: &Path, header: &SegmentHeader) -> io::Result<Self> {
        let file = create_durably(disk, path, |file| file.write_all_at(&header.encode(), 0))?;
        let start = SEGMENT_HEADER_BYTES as u64;
        Ok(Self {
            file,
            path: path.to_owned(),
            salt: Salt::new(header.salt),
            offset: start,
            durable_offset: start,
            num_frames: 0,
            rolling_hash: 0,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.offset
    }

    pub(super) fn durable_offset(&self) -> u64 {
        self.durable_offset
    }

    /// Writes `bytes` at the end. Not durable until [`Self::sync`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes what says that no frame follows. Not durable until [`Self::sync`].
    pub(super) fn write_seal(&mut self, last_seq: SequenceNumber) -> io::Result<()> {
        let seal = Seal { last_seq, num_frames: self.num_frames, rolling_hash: self.rolling_hash };
        let mut bytes = Vec::new();
        seal.encode_into(&mut bytes, self.salt, last_seq);
        self.write(&bytes)
    }

    /// Durable: everything written so far survives power loss when this returns.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.durable_offset = self.offset;
        Ok(())
    }

    /// After a failed write: makes the first frame of it unreadable, and with it, to recovery, all of them. On a full disk this
    /// still works, because it needs no block that is not there.
    pub(super) fn void_failed_write(&mut self) -> io::Result<()> {
        self.file.write_all_at(&[0; FRAME_HEADER_BYTES], self.durable_offset)
    }

    /// Puts another file in the place of this one, so that writes and syncs fail as that file's do.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: std::fs::File) {
        self.file = Box::new(file);
    }
}
