//! Reading data files: nothing of a file is used before all of it was found to be what was written.
//!
//! Parquet pages carry no checksum here, so a flipped bit would become a wrong row. The catalog has a checksum of each file;
//! a file is compared with it when it is opened for the first time by this process, and again by the scrub.

use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alula_catalog::{DataFile, FileId};
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::disk::{DiskFile, read_exact_at};
use crate::layout::Layout;
use crate::{Error, Result};

/// Bytes read at a time while a file is hashed.
const HASHED_BYTES: usize = 1 << 20;

/// Opens data files, wherever they are. All methods block on the disk.
#[derive(Debug)]
pub(crate) struct DataFiles {
    layout: Layout,
    /// Files that this process wrote, or compared with their checksums.
    verified: Mutex<HashSet<FileId>>,
}

impl DataFiles {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, verified: Mutex::default() }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// `CorruptFile` — it is not what was written. `Io` — it is missing, or the disk failed.
    pub(crate) fn open(&self, file: &DataFile) -> Result<DataFileReader> {
        let path = self.layout.data_file(file);
        let opened = self.layout.disk().open(&path).map_err(Error::io(&path, "cannot open the data file"))?;
        let reader = DataFileReader { file: Arc::from(opened), size_bytes: file.size_bytes };
        if !self.verified().contains(&file.id) {
            self.verify(file, &reader)?;
            self.note_verified(file.id);
        }
        Ok(reader)
    }

    /// Reads parts of a file.
    ///
    /// # Errors
    /// As of [`Self::open`].
    #[cfg_attr(not(feature = "datafusion"), expect(dead_code, reason = "only the scan reads parts"))]
    pub(crate) fn read_ranges(&self, file: &DataFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let reader = self.open(file)?;
        let read =
            |range: &Range<u64>| reader.read(range.start, range.end.saturating_sub(range.start) as usize);
        let path = || self.layout.data_file(file);
        ranges.iter().map(read).collect::<io::Result<_>>().map_err(|source| Error::Io {
            path: path(),
            doing: "cannot read the data file",
            source,
        })
    }

    /// Compares all bytes of a file with its checksum.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub(crate) fn verify(&self, file: &DataFile, reader: &DataFileReader) -> Result<()> {
        let path = self.layout.data_file(file);
        let io = || Error::io(&path, "cannot read the data file");
        let corrupt = || Error::CorruptFile { file: Layout::data_file_name(file) };
        if reader.file.len().map_err(io())? != file.size_bytes {
            return Err(corrupt());
        }
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < file.size_bytes {
            let length = HASHED_BYTES.min((file.size_bytes - at) as usize);
            hasher.update(&reader.read(at, length).map_err(io())?);
            at += length as u64;
        }
        if hasher.finalize().as_bytes()[..16] == file.checksum { Ok(()) } else { Err(corrupt()) }
    }

    /// The file need not be compared with its checksum any more: this process wrote it.
    pub(crate) fn note_verified(&self, file: FileId) {
        self.verified().insert(file);
    }

    /// The file is gone.
    pub(crate) fn forget(&self, file: FileId) {
        self.verified().remove(&file);
    }

    fn verified(&self) -> MutexGuard<'_, HashSet<FileId>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open data file, as the Parquet reader takes it.
#[derive(Clone, Debug)]
pub(crate) struct DataFileReader {
    file: Arc<dyn DiskFile>,
    size_bytes: u64,
}

impl DataFileReader {
    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        read_exact_at(self.file.as_ref(), length, offset).map(Bytes::from)
    }
}

impl Length for DataFileReader {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for DataFileReader {
    type T = io::BufReader<FromOffset>;

    fn get_read(&self, offset: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::new(FromOffset { file: Arc::clone(&self.file), offset }))
    }

    fn get_bytes(&self, offset: u64, length: usize) -> Result<Bytes, ParquetError> {
        Ok(self.read(offset, length)?)
    }
}

/// The bytes of a file from somewhere to its end.
#[derive(Debug)]
pub(crate) struct FromOffset {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Read for FromOffset {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
