//! [`StoredFile`]: what a file of telemetry and one of a user table have in common.

use std::fmt;
use std::sync::Arc;

use alula_catalog::{DataFile, DataLoss, FileId, SequenceNumber, UserFile, now_ns};

/// A file that the catalog has, or is about to have.
pub(crate) trait StoredFile: fmt::Debug + Send + Sync {
    fn id(&self) -> FileId;
    fn num_rows(&self) -> u64;
    fn size_bytes(&self) -> u64;
    fn checksum(&self) -> [u8; 16];

    /// Where it is below the directory of data files.
    fn name(&self) -> String;

    /// The same until its transaction is committed.
    fn uncommitted_name(&self) -> Option<String>;

    /// What goes on record when it cannot be read.
    fn loss(&self, detail: String) -> DataLoss;
}

impl StoredFile for DataFile {
    fn id(&self) -> FileId {
        self.id
    }

    fn num_rows(&self) -> u64 {
        self.num_rows
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn checksum(&self) -> [u8; 16] {
        self.checksum
    }

    fn name(&self) -> String {
        let (year, month, day, hour) = self.hour.civil();
        let hour = if self.num_hours == 1 { format!("{hour:02}/") } else { String::new() };
        format!("{}/{}/{year:04}/{month:02}/{day:02}/{hour}{}.parquet", self.signal, self.tenant, self.id)
    }

    /// A flush has no such time: its files are replaced by the log until they are committed.
    fn uncommitted_name(&self) -> Option<String> {
        None
    }

    fn loss(&self, detail: String) -> DataLoss {
        DataLoss {
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            source: format!("data/{}", self.name()),
            detail,
            found_ns: now_ns(),
            tenant: Some(self.tenant),
            signal: Some(self.signal),
            num_rows: Some(self.num_rows),
            timestamps: Some(self.timestamps),
        }
    }
}

impl StoredFile for UserFile {
    fn id(&self) -> FileId {
        self.id
    }

    fn num_rows(&self) -> u64 {
        self.num_rows
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn checksum(&self) -> [u8; 16] {
        self.checksum
    }

    fn name(&self) -> String {
        format!("tables/{}/{}/{}.parquet", self.tenant, self.table, self.id)
    }

    fn uncommitted_name(&self) -> Option<String> {
        Some(self.name() + ".tmp")
    }

    fn loss(&self, detail: String) -> DataLoss {
        DataLoss {
            first_seq: SequenceNumber(0),
            last_seq: SequenceNumber(0),
            source: format!("data/{}", self.name()),
            detail,
            found_ns: now_ns(),
            tenant: Some(self.tenant),
            signal: None,
            num_rows: Some(self.num_rows),
            timestamps: None,
        }
    }
}

impl<T: StoredFile + ?Sized> StoredFile for Arc<T> {
    fn id(&self) -> FileId {
        (**self).id()
    }

    fn num_rows(&self) -> u64 {
        (**self).num_rows()
    }

    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn checksum(&self) -> [u8; 16] {
        (**self).checksum()
    }

    fn name(&self) -> String {
        (**self).name()
    }

    fn uncommitted_name(&self) -> Option<String> {
        (**self).uncommitted_name()
    }

    fn loss(&self, detail: String) -> DataLoss {
        (**self).loss(detail)
    }
}
