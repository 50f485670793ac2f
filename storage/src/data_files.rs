//! Reading data files: nothing of a file is used before all of it was found to be what was written.
//!
//! Parquet pages carry no checksum here, so a flipped bit would become a wrong row. The catalog has a checksum of each file;
//! a file is compared with it when it is opened for the first time by this process, and again by the scrub. Of a file in
//! the remote tier each block has a hash of its own, so that a scan need not read the rest.

mod stored_file;
mod verification;

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use alula_catalog::{DataFile, FileId, Tier};
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

pub(crate) use self::stored_file::StoredFile;
pub(crate) use self::verification::FileDamage;
use self::verification::{Verification, corrupt};
use crate::checksum::Hasher;
use crate::disk::{Disk, DiskFile, read_exact_at};
use crate::layout::Layout;
use crate::losses::Losses;
use crate::remote::RemoteTier;
use crate::{Error, Result};

/// Bytes read at a time while a file is hashed.
const HASHED_BYTES: usize = 1 << 20;

/// Opens data files, wherever they are. All methods block on the disk.
#[derive(Debug)]
pub(crate) struct DataFiles {
    layout: Layout,
    remote: Option<Arc<RemoteTier>>,
    verification: Verification,
}

impl DataFiles {
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, remote: None, verification: Verification::default() }
    }

    pub(crate) fn with_remote(self, remote: Option<Arc<RemoteTier>>) -> Self {
        Self { remote, ..self }
    }

    /// The remote tier, if there is one.
    pub(crate) fn remote(&self) -> Option<&Arc<RemoteTier>> {
        self.remote.as_ref()
    }

    /// Opens a file. One of the remote tier is read as a whole first, into a temporary file.
    ///
    /// # Errors
    /// `CorruptFile` — it is not what was written. `Io` — it is missing, or the disk failed. `DiskFull`,
    /// `RemoteUnavailable` — it is remote, and there is no room for it or the object store does not answer.
    pub(crate) fn open(&self, file: &DataFile) -> Result<DataFileReader> {
        if file.tier == Tier::Remote {
            let remote = self.remote().ok_or(Error::RemoteNotConfigured)?;
            let downloaded = remote.download(file).map_err(|error| self.report_remote(file, error))?;
            return Ok(DataFileReader::of(downloaded, file.size_bytes));
        }
        self.open_local(file)
    }

    /// [`Self::open`] for a file that is in the data directory, also of a user table.
    pub(crate) fn open_local(&self, file: &(impl StoredFile + ?Sized)) -> Result<DataFileReader> {
        let reader = self.open_unverified(file)?;
        self.verification.ensure(file, || self.verify(file, &reader))?;
        Ok(reader)
    }

    fn open_unverified(&self, file: &(impl StoredFile + ?Sized)) -> Result<DataFileReader> {
        let path = self.layout.data_file(file);
        let mut opened = self.layout.disk().open(&path);
        if let (Err(error), Some(uncommitted)) = (&opened, file.uncommitted_name())
            && error.kind() == io::ErrorKind::NotFound
        {
            let uncommitted = self.layout.disk().open(&self.layout.data_root().join(uncommitted));
            // It may have been committed between the two.
            opened = uncommitted.or_else(|_| self.layout.disk().open(&path));
        }
        let opened = opened.map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                self.verification.report(file, FileDamage::Missing);
                return Error::MissingFile { file: Layout::data_file_name(file) };
            }
            Error::io(&path, "cannot open the data file")(error)
        })?;
        Ok(DataFileReader { file: Arc::from(opened), size_bytes: file.size_bytes() })
    }

    /// Reads parts of a local file.
    ///
    /// # Errors
    /// As of [`Self::open`].
    #[cfg_attr(not(feature = "datafusion"), expect(dead_code, reason = "only the scan reads parts"))]
    pub(crate) fn read_ranges(
        &self,
        file: &(impl StoredFile + ?Sized),
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        let reader = self.open_local(file)?;
        let read =
            |range: &Range<u64>| reader.read(range.start, range.end.saturating_sub(range.start) as usize);
        let path = || self.layout.data_file(file);
        ranges.iter().map(read).collect::<io::Result<_>>().map_err(|source| Error::Io {
            path: path(),
            doing: "cannot read the data file",
            source,
        })
    }

    /// Compares all bytes of a local file with its checksum, and puts it on record if it is damaged.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub(crate) fn verify(&self, file: &(impl StoredFile + ?Sized), reader: &DataFileReader) -> Result<()> {
        self.compare(file, reader, || Ok(()))
    }

    /// [`Self::verify`] for a file that may have been verified before, as the disk has it and not the memory of the system.
    /// `breathe` is called often, and may end it.
    pub(crate) fn scrub(
        &self,
        file: &(impl StoredFile + ?Sized),
        breathe: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let reader = self.open_unverified(file)?;
        reader.file.drop_from_cache();
        let compared = self.compare(file, &reader, breathe);
        reader.file.drop_from_cache();
        if compared.is_ok() {
            self.note_verified(file.id());
        }
        compared
    }

    fn compare(
        &self,
        file: &(impl StoredFile + ?Sized),
        reader: &DataFileReader,
        breathe: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let path = self.layout.data_file(file);
        let unreadable = |error: io::Error| {
            if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
                self.verification.report(file, FileDamage::Unreadable);
            }
            Error::io(&path, "cannot read the data file")(error)
        };
        let damaged = |damage: FileDamage| {
            self.verification.report(file, damage);
            Err(corrupt(file))
        };
        let found = reader.file.len().map_err(unreadable)?;
        if found != file.size_bytes() {
            return damaged(FileDamage::Size { found, expected: file.size_bytes() });
        }
        if reader.has_checksum(file.checksum(), unreadable, breathe)? {
            Ok(())
        } else {
            damaged(FileDamage::Checksum)
        }
    }

    /// The file need not be compared with its checksum any more: this process wrote it.
    pub(crate) fn note_verified(&self, file: FileId) {
        self.verification.note_verified(file);
    }

    /// Puts files that are not what was written on record, once.
    pub(crate) fn report_all(&self, damaged: &[(&(impl StoredFile + ?Sized), FileDamage)]) {
        self.verification.report_all(damaged);
    }

    /// Puts a remote file of which a read failed on record, if that means that it is lost. Gives the error back.
    pub(crate) fn report_remote(&self, file: &DataFile, error: Error) -> Error {
        match error {
            Error::MissingObject { .. } => self.verification.report(file, FileDamage::Missing),
            Error::CorruptFile { .. } => self.verification.report(file, FileDamage::Checksum),
            // A store that does not answer has lost nothing.
            _ => {}
        }
        error
    }

    /// Damages go on record from here on, and not only to the server's log.
    pub(crate) fn report_to(&self, losses: &Arc<Losses>) {
        self.verification.report_to(losses);
    }

    /// The file is gone.
    pub(crate) fn forget(&self, file: FileId) {
        self.verification.forget(file);
    }
}

/// An open data file, as the Parquet reader takes it.
#[derive(Clone, Debug)]
pub(crate) struct DataFileReader {
    file: Arc<dyn DiskFile>,
    size_bytes: u64,
}

impl DataFileReader {
    /// Opens a file that the catalog need not know.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path)?;
        let size_bytes = file.len()?;
        Ok(Self { file: Arc::from(file), size_bytes })
    }

    /// Reads a file that is open, and has so many bytes.
    pub(crate) fn of(file: Box<dyn DiskFile>, size_bytes: u64) -> Self {
        Self { file: Arc::from(file), size_bytes }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether the file's bytes have this checksum. `breathe` is called often, and may end it.
    pub(crate) fn has_checksum(
        &self,
        checksum: [u8; 16],
        unreadable: impl Fn(io::Error) -> Error,
        mut breathe: impl FnMut() -> Result<()>,
    ) -> Result<bool> {
        let mut hasher = Hasher::default();
        for start in (0..self.size_bytes).step_by(HASHED_BYTES) {
            let length = HASHED_BYTES.min((self.size_bytes - start) as usize);
            hasher.update(&self.read(start, length).map_err(&unreadable)?);
            breathe()?;
        }
        Ok(hasher.checksum() == checksum)
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
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
