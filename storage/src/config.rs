//! Settings of the storage engine.

use std::path::PathBuf;
use std::time::Duration;

use alula_catalog::Signal;

use crate::remote::RemoteUrl;

/// Where data goes and how much of it may wait.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory that holds everything; one server process at a time.
    pub data_dir: PathBuf,
    /// Buffered bytes (as Arrow) at which the buffer is flushed to files.
    pub flush_bytes: usize,
    /// The longest that a row waits in the buffer before it is flushed to a file.
    pub flush_interval: Duration,
    /// Buffered bytes at which appends are refused until a flush has made room.
    pub max_buffer_bytes: usize,
    /// Size at which the log goes on in a new segment.
    pub wal_segment_bytes: u64,
    /// Bytes of entries, as received or as rows, whichever is more, that may wait for the log's writer; past that, appends are
    /// refused at once.
    pub wal_queue_bytes: usize,
    /// How often maintenance looks for work.
    pub maintenance_interval: Duration,
    /// The part of one CPU that maintenance may take, above 0 and up to 1.
    pub maintenance_cpu_share: f64,
    /// How long it takes to compare all files with their checksums once more. None: they are not.
    pub scrub_interval: Option<Duration>,
    pub compaction: CompactionConfig,
    /// What the tables of a tenant's own may take.
    pub user_tables: UserTablesConfig,
    /// How long rows are kept where their tenant has no policy of its own.
    pub retention: RetentionConfig,
    /// Where data goes once it is old enough; None keeps everything in the data directory.
    pub remote: Option<RemoteConfig>,
    /// What to do at start when acknowledged entries cannot be read back.
    pub on_corruption: OnCorruption,
    /// What to do when a file of the log cannot be synced.
    pub on_sync_error: OnSyncError,
    /// Free bytes on the disk below which appends are refused, until a tenth more is free, at most 64 MiB more; 0 for none. By
    /// default 5 % of the file system, at most 1 GiB.
    pub min_free_bytes: Option<u64>,
}

impl Config {
    /// The defaults over a data directory.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            flush_bytes: 64 << 20,
            flush_interval: Duration::from_mins(1),
            max_buffer_bytes: 256 << 20,
            wal_segment_bytes: 64 << 20,
            wal_queue_bytes: 64 << 20,
            maintenance_interval: Duration::from_secs(10),
            maintenance_cpu_share: 0.25,
            scrub_interval: Some(Duration::from_hours(7 * 24)),
            compaction: CompactionConfig::default(),
            user_tables: UserTablesConfig::default(),
            retention: RetentionConfig::default(),
            remote: None,
            on_corruption: OnCorruption::Salvage,
            on_sync_error: OnSyncError::Recover,
            min_free_bytes: None,
        }
    }
}

/// When small files become large ones, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionConfig {
    /// Time from the end of an hour, and from the last rows that it got, until its files become one.
    pub cold_after: Duration,
    /// Time from the end of a UTC day until the files of its hours become files of the day.
    pub day_after: Duration,
    /// What a file may have at most to become part of a larger one is half of this, and such a one has this at most.
    pub target_bytes: u64,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            cold_after: Duration::from_hours(1),
            day_after: Duration::from_hours(24),
            target_bytes: 256 << 20,
        }
    }
}

/// What the tables of a tenant's own may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserTablesConfig {
    /// Tables that a tenant may have.
    pub max_tables: usize,
    /// Bytes that their files may have together, with those of transactions that are under way.
    pub max_bytes: u64,
}

impl Default for UserTablesConfig {
    fn default() -> Self {
        Self { max_tables: 256, max_bytes: 1 << 30 }
    }
}

/// How long the rows of each signal are kept after their timestamp. None: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionConfig {
    pub metrics: Option<Duration>,
    pub logs: Option<Duration>,
    pub traces: Option<Duration>,
}

impl RetentionConfig {
    pub(crate) fn keep(self, signal: Signal) -> Option<Duration> {
        match signal {
            Signal::Metrics => self.metrics,
            Signal::Logs => self.logs,
            Signal::Traces => self.traces,
        }
    }
}

/// The remote tier. Endpoint and credentials come from the environment, as the object store's own tools read them.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    pub url: RemoteUrl,
    /// The age of a file's newest row at which the file moves; zero moves every file at the next step of maintenance.
    pub after: Duration,
    /// Disk for what was read from there, at most a quarter of the file system; zero for none.
    pub cache_bytes: u64,
    /// Memory for the same.
    pub cache_memory_bytes: usize,
    /// The age at which an object that belongs to no file is removed, and how often such are looked for.
    pub orphan_age: Duration,
    /// In the place of what the URL names.
    #[cfg(test)]
    pub(crate) backend: Option<crate::remote::testing::TestBackend>,
}

impl RemoteConfig {
    /// The defaults for an object store.
    pub fn new(url: RemoteUrl) -> Self {
        Self {
            url,
            after: Duration::from_hours(7 * 24),
            cache_bytes: 10 << 30,
            cache_memory_bytes: 64 << 20,
            orphan_age: Duration::from_hours(24),
            #[cfg(test)]
            backend: None,
        }
    }
}

/// What recovery does about damaged entries that had been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCorruption {
    /// Recover every entry that is intact, keep the damaged segment aside, put the loss on record, and start.
    Salvage,
    /// Do not start.
    Refuse,
}

/// What is done about a file of the log that cannot be synced. Neither trusts that file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSyncError {
    /// Move the rows that it holds into data files, and go on in a new file.
    Recover,
    /// Take nothing more: the server ends, and the next one replays the log.
    Exit,
}
