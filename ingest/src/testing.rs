//! A real store in a temporary directory, and requests to send to it.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use tempfile::TempDir;

use alula_catalog::Catalog;
use alula_storage::{OnCorruption, Storage};

use crate::{Config, Ingest, OtlpDecoder};

pub(crate) struct Store {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) storage: Storage,
    /// Removed at the end of the test.
    _directory: TempDir,
}

impl Store {
    pub(crate) fn open() -> Self {
        let directory = TempDir::new().unwrap();
        let catalog = Arc::new(Catalog::open(&directory.path().join("catalog.db")).unwrap());
        let config = alula_storage::Config {
            flush_interval: Duration::from_hours(1),
            wal_segment_bytes: 1 << 20,
            wal_queue_bytes: 16 << 20,
            on_corruption: OnCorruption::Refuse,
            ..alula_storage::Config::new(directory.path().to_owned())
        };
        let storage = Storage::open(&config, Arc::clone(&catalog), &OtlpDecoder).unwrap();
        Self { catalog, storage, _directory: directory }
    }

    pub(crate) fn ingest(&self, config: Config) -> Ingest {
        Ingest::new(self.storage.clone(), config)
    }

    /// Counts what is stored, by flushing it all.
    pub(crate) async fn stored_rows(&self) -> u64 {
        self.storage.flush().await.unwrap();
        self.catalog.live_files().unwrap().iter().map(|file| file.num_rows).sum()
    }
}

/// A request of `good` records and then `bad` ones, whose time is out of range.
pub(crate) fn logs(good: usize, bad: usize) -> ExportLogsServiceRequest {
    let record = |time_unix_nano| LogRecord { time_unix_nano, ..LogRecord::default() };
    let mut log_records = vec![record(1); good];
    log_records.extend(vec![record(u64::MAX); bad]);
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}
