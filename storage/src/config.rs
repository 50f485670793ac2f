//! Settings of the storage engine.

use std::path::PathBuf;
use std::time::Duration;

use alula_catalog::Signal;

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
    /// How long rows are kept where their tenant has no policy of its own.
    pub retention: RetentionConfig,
    /// What to do at start when acknowledged entries cannot be read back.
    pub on_corruption: OnCorruption,
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
            retention: RetentionConfig::default(),
            on_corruption: OnCorruption::Salvage,
        }
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

/// What recovery does about damaged entries that had been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCorruption {
    /// Recover every entry that is intact, keep the damaged segment aside, put the loss on record, and start.
    Salvage,
    /// Do not start.
    Refuse,
}
