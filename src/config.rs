//! The configuration: one struct whose doc comments are also the flags' help and the commented template.
//!
//! A flag wins over the environment (`ALULA_SECTION_KEY`), that over the file, that over the default.
//! The file is `--config`, else `$ALULA_CONFIG`, else `/etc/alula/alula.toml` if there is one.
//! Every key is read by exactly one component; no other module of the server reads the environment.
//!
//! | File | Purpose |
//! |---|---|
//! | `config.rs` | the keys, their defaults, and the checks that concern more than one of them |
//! | `config/value.rs` | sizes, times, addresses: parsed once, the same from every source |
//! | `config/load.rs` | the layers, and which of them each value came from |

mod load;
#[cfg(test)]
mod tests;
mod value;

use std::path::{Path, PathBuf};

use confique::toml::FormatOptions;

pub use self::load::{ConfigError, Loaded, Setting, Source, process_environment};
pub(crate) use self::load::{leaves, unknown_variables};
pub use self::value::{
    InvalidValue, ListenAddr, LogFormat, LogLevel, OnCorruption, OnSyncError, Percent, Period, RemoteUrl,
    Size,
};

/// Where the file is looked for when nobody names one.
pub const SYSTEM_FILE: &str = "/etc/alula/alula.toml";

/// Flags as clap parses them: every key of [`Config`], all optional.
pub type Flags = <Config as confique::Config>::Layer;

/// Configuration of `alula serve`.
#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, serde::Serialize, clap::Args)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
pub struct Config {
    /// The process: where it keeps its data, where it listens, how it logs and stops.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    pub server: ServerConfig,

    /// Receiving OTLP.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    pub ingest: IngestConfig,

    /// The write-ahead log, the buffer and the flush into Parquet files.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    pub storage: StorageConfig,

    /// Limits of a query.
    #[config(nested)]
    #[config(layer_attr(command(flatten)))]
    pub query: QueryConfig,
}

#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, serde::Serialize, clap::Args)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(command(next_help_heading = "Server")))]
pub struct ServerConfig {
    /// Directory of everything the server keeps; it is created if it does not exist.
    #[config(default = "./alula-data", env = "ALULA_SERVER_DATA_DIR")]
    #[config(layer_attr(arg(long, value_name = "DIR")))]
    pub data_dir: PathBuf,

    /// Address of the gRPC port (OTLP and Flight SQL); port 0 picks a free one.
    #[config(default = "127.0.0.1:4317", env = "ALULA_SERVER_GRPC_ADDR")]
    #[config(layer_attr(arg(long, value_name = "ADDR")))]
    pub grpc_addr: ListenAddr,

    /// Address of the HTTP port (OTLP over HTTP); port 0 picks a free one.
    #[config(default = "127.0.0.1:4318", env = "ALULA_SERVER_HTTP_ADDR")]
    #[config(layer_attr(arg(long, value_name = "ADDR")))]
    pub http_addr: ListenAddr,

    /// Takes every request as tenant `default` with all rights; only on loopback addresses.
    #[config(default = false, env = "ALULA_SERVER_NO_AUTH")]
    #[config(layer_attr(arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)))]
    #[config(layer_attr(arg(default_missing_value = "true", hide_possible_values = true)))]
    pub no_auth: bool,

    /// File written once the ports answer: {"grpc":"127.0.0.1:4317","http":"127.0.0.1:4318","pid":1}.
    #[config(env = "ALULA_SERVER_READY_FILE")]
    #[config(layer_attr(arg(long, value_name = "FILE")))]
    pub ready_file: Option<PathBuf>,

    /// Least severe level logged: error, warn, info, debug, trace or off; or filter directives.
    #[config(default = "info", env = "ALULA_SERVER_LOG_LEVEL")]
    #[config(layer_attr(arg(long, value_name = "LEVEL")))]
    pub log_level: LogLevel,

    /// Form of the log on stderr: text, json, or auto (text on a terminal, JSON otherwise).
    #[config(default = "auto", env = "ALULA_SERVER_LOG_FORMAT")]
    #[config(layer_attr(arg(long, value_name = "FORMAT", hide_possible_values = true)))]
    pub log_format: LogFormat,

    /// How long running calls may take to end after SIGTERM before they are cut off.
    #[config(default = "10s", env = "ALULA_SERVER_SHUTDOWN_GRACE")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub shutdown_grace: Period,
}

#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, serde::Serialize, clap::Args)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(command(next_help_heading = "Ingest")))]
pub struct IngestConfig {
    /// Largest OTLP request taken over gRPC, decompressed.
    #[config(default = "4MiB", env = "ALULA_INGEST_MAX_MESSAGE_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub max_message_bytes: Size,

    /// Largest OTLP request taken over HTTP, decompressed.
    #[config(default = "20MiB", env = "ALULA_INGEST_MAX_HTTP_MESSAGE_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub max_http_message_bytes: Size,

    /// OTLP in progress at one time, decompressed; more is told to retry. A tenant gets three quarters.
    #[config(default = "64MiB", env = "ALULA_INGEST_MAX_IN_FLIGHT_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub max_in_flight_bytes: Size,

    /// OTLP that one tenant may send in a second, decompressed; 0 for any amount.
    #[config(default = "0", env = "ALULA_INGEST_TENANT_BYTES_PER_SECOND")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub tenant_bytes_per_second: Size,

    /// How far ahead of the server's clock a timestamp may be; later records are rejected.
    #[config(default = "1h", env = "ALULA_INGEST_MAX_FUTURE")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub max_future: Period,
}

#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, serde::Serialize, clap::Args)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(command(next_help_heading = "Storage")))]
pub struct StorageConfig {
    /// Rows in memory, in bytes, that start a flush into Parquet files.
    #[config(default = "64MiB", env = "ALULA_STORAGE_FLUSH_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub flush_bytes: Size,

    /// Age of the oldest row in memory that starts a flush.
    #[config(default = "60s", env = "ALULA_STORAGE_FLUSH_INTERVAL")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub flush_interval: Period,

    /// Rows in memory, in bytes, past which senders are told to retry.
    #[config(default = "256MiB", env = "ALULA_STORAGE_MAX_BUFFER_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub max_buffer_bytes: Size,

    /// Size of one write-ahead log file.
    #[config(default = "64MiB", env = "ALULA_STORAGE_WAL_SEGMENT_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub wal_segment_bytes: Size,

    /// Requests waiting to be written to the log, in bytes, past which senders are told to retry.
    #[config(default = "64MiB", env = "ALULA_STORAGE_WAL_QUEUE_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub wal_queue_bytes: Size,

    /// How often the background looks for files to compact, to drop and to check.
    #[config(default = "10s", env = "ALULA_STORAGE_MAINTENANCE_INTERVAL")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub maintenance_interval: Period,

    /// Part of one CPU that this background work may take.
    #[config(default = "25%", env = "ALULA_STORAGE_MAINTENANCE_CPU_SHARE")]
    #[config(layer_attr(arg(long, value_name = "PERCENT")))]
    pub maintenance_cpu_share: Percent,

    /// How long after its end, and after the last rows that it got, an hour's files become one.
    #[config(default = "1h", env = "ALULA_STORAGE_COMPACTION_COLD_AFTER")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub compaction_cold_after: Period,

    /// How long after its end a UTC day's small files become files of the day.
    #[config(default = "24h", env = "ALULA_STORAGE_COMPACTION_DAY_AFTER")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub compaction_day_after: Period,

    /// Largest file that compaction makes; files of half this size are not compacted again.
    #[config(default = "256MiB", env = "ALULA_STORAGE_COMPACTION_TARGET_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub compaction_target_bytes: Size,

    /// How long it takes to compare every data file with its checksum once more; 0s to never do it.
    #[config(default = "7d", env = "ALULA_STORAGE_SCRUB_INTERVAL")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub scrub_interval: Period,

    /// How long data points are kept after their timestamp, where a tenant has no policy of its own; 0s for ever.
    #[config(default = "0s", env = "ALULA_STORAGE_RETENTION_METRICS")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub retention_metrics: Period,

    /// How long log records are kept after their timestamp, where a tenant has no policy of its own; 0s for ever.
    #[config(default = "0s", env = "ALULA_STORAGE_RETENTION_LOGS")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub retention_logs: Period,

    /// How long spans are kept after their timestamp, where a tenant has no policy of its own; 0s for ever.
    #[config(default = "0s", env = "ALULA_STORAGE_RETENTION_TRACES")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub retention_traces: Period,

    /// Tables of its own that a tenant may have.
    #[config(default = 256, env = "ALULA_STORAGE_USER_TABLES_MAX")]
    #[config(layer_attr(arg(long, value_name = "NUMBER")))]
    pub user_tables_max: usize,

    /// Largest size of all files of a tenant's own tables together.
    #[config(default = "1GiB", env = "ALULA_STORAGE_USER_TABLES_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub user_tables_bytes: Size,

    /// What the start does about a damaged log: salvage (recover the rest and report) or refuse.
    #[config(default = "salvage", env = "ALULA_STORAGE_WAL_ON_CORRUPTION")]
    #[config(layer_attr(arg(long, value_name = "ACTION", hide_possible_values = true)))]
    pub wal_on_corruption: OnCorruption,

    /// What is done when a log file cannot be synced: recover (rows go to files, then on in a new one) or exit.
    #[config(default = "recover", env = "ALULA_STORAGE_WAL_ON_SYNC_ERROR")]
    #[config(layer_attr(arg(long, value_name = "ACTION", hide_possible_values = true)))]
    pub wal_on_sync_error: OnSyncError,

    /// Free disk below which senders are told to retry; 0 for none. Unset: 5 % of the disk, at most 1 GiB.
    #[config(env = "ALULA_STORAGE_MIN_FREE_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub min_free_bytes: Option<Size>,

    /// Object store for old data: `s3://bucket/path`, `gs://...`, `az://...` or `file:///path`. Unset: all data stays here.
    #[config(env = "ALULA_STORAGE_REMOTE_URL")]
    #[config(layer_attr(arg(long, value_name = "URL")))]
    pub remote_url: Option<RemoteUrl>,

    /// Age of the newest row of a file at which the file moves there; 0s moves every file at once.
    #[config(default = "7d", env = "ALULA_STORAGE_REMOTE_AFTER")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub remote_after: Period,

    /// Disk for what was read from there, at most a quarter of the disk's size; 0 for none.
    #[config(default = "10GiB", env = "ALULA_STORAGE_REMOTE_CACHE_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub remote_cache_bytes: Size,

    /// Memory for what was read from there.
    #[config(default = "64MiB", env = "ALULA_STORAGE_REMOTE_CACHE_MEMORY")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub remote_cache_memory: Size,

    /// Age at which an object there that belongs to no file is removed, and how often such are looked for.
    #[config(default = "24h", env = "ALULA_STORAGE_REMOTE_ORPHAN_AGE")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub remote_orphan_age: Period,
}

#[derive(Debug, Clone, confique::Config)]
#[config(layer_attr(derive(Debug, Clone, serde::Serialize, clap::Args)))]
#[config(layer_attr(serde(deny_unknown_fields)))]
#[config(layer_attr(command(next_help_heading = "Query")))]
pub struct QueryConfig {
    /// Memory of all running queries together; past it they spill to disk, then fail.
    #[config(default = "512MiB", env = "ALULA_QUERY_MEMORY_LIMIT")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub memory_limit: Size,

    /// Longest run of one statement.
    #[config(default = "5m", env = "ALULA_QUERY_STATEMENT_TIMEOUT")]
    #[config(layer_attr(arg(long, value_name = "TIME")))]
    pub statement_timeout: Period,

    /// Disk that queries may use to spill.
    #[config(default = "2GiB", env = "ALULA_QUERY_SPILL_LIMIT")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub spill_limit: Size,

    /// Longest SQL text taken.
    #[config(default = "256KiB", env = "ALULA_QUERY_MAX_SQL_BYTES")]
    #[config(layer_attr(arg(long, value_name = "SIZE")))]
    pub max_sql_bytes: Size,
}

impl Config {
    /// The defaults over a data directory: what a server inside another process (tests, `demo`) starts from.
    pub fn for_data_dir(data_dir: &Path) -> Self {
        let mut flags = <Flags as confique::Layer>::empty();
        flags.server.data_dir = Some(data_dir.to_owned());
        let layer = confique::Layer::with_fallback(flags, confique::Layer::default_values());
        <Self as confique::Config>::from_layer(layer).expect("every required key has a default")
    }

    /// The commented template: every key, what it does, its environment variable and its default.
    pub fn template() -> String {
        confique::toml::template::<Self>(FormatOptions::default())
    }

    /// Checks what the type of a single value cannot say.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] names the keys, their values and what would be right.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { server, ingest, storage, query } = self;
        let conflict = |message: String| Err(ConfigError::Conflict { message });

        for (key, addr, example) in [
            ("server.grpc_addr", server.grpc_addr, "127.0.0.1:4317"),
            ("server.http_addr", server.http_addr, "127.0.0.1:4318"),
        ] {
            if server.no_auth && !addr.is_loopback() {
                return conflict(format!(
                    "server.no_auth with {key} = {addr} would let everyone who reaches this machine read and write \
                     all data: listen on a loopback address ({example}), or leave authentication on"
                ));
            }
        }
        for (key, size) in [
            ("ingest.max_message_bytes", ingest.max_message_bytes),
            ("ingest.max_http_message_bytes", ingest.max_http_message_bytes),
            ("storage.flush_bytes", storage.flush_bytes),
            ("storage.compaction_target_bytes", storage.compaction_target_bytes),
            ("query.memory_limit", query.memory_limit),
            ("query.max_sql_bytes", query.max_sql_bytes),
        ] {
            if size.as_u64() == 0 {
                return conflict(format!("{key} must be greater than zero"));
            }
        }
        for (key, period) in [
            ("storage.flush_interval", storage.flush_interval),
            ("storage.maintenance_interval", storage.maintenance_interval),
            ("storage.remote_orphan_age", storage.remote_orphan_age),
            ("query.statement_timeout", query.statement_timeout),
        ] {
            if period.as_duration().is_zero() {
                return conflict(format!("{key} must be greater than zero"));
            }
        }
        let (flush, buffer) = (
            ("storage.flush_bytes", storage.flush_bytes),
            ("storage.max_buffer_bytes", storage.max_buffer_bytes),
        );
        if flush.1 >= buffer.1 {
            let why = "senders would be turned away before a flush starts";
            return conflict(too_large(flush, "smaller than", buffer, why));
        }
        for message in [
            ("ingest.max_message_bytes", ingest.max_message_bytes),
            ("ingest.max_http_message_bytes", ingest.max_http_message_bytes),
        ] {
            for (large, why) in [
                (
                    ("storage.wal_segment_bytes", storage.wal_segment_bytes),
                    "the largest request would fit no file of the write-ahead log",
                ),
                (buffer, "the largest request would never fit into memory"),
            ] {
                if message.1 >= large.1 {
                    return conflict(too_large(message, "smaller than", large, why));
                }
            }
            for (large, why) in [
                (
                    ("ingest.max_in_flight_bytes", ingest.max_in_flight_bytes),
                    "the largest request could never be worked on",
                ),
                (
                    ("storage.wal_queue_bytes", storage.wal_queue_bytes),
                    "the largest request could never be queued",
                ),
            ] {
                if message.1 > large.1 {
                    return conflict(too_large(message, "at most", large, why));
                }
            }
            if message.1 > MAX_MESSAGE_BYTES {
                return conflict(format!(
                    "{} ({}) must be at most {MAX_MESSAGE_BYTES}: senders split larger batches",
                    message.0, message.1
                ));
            }
        }
        Ok(())
    }
}

const MAX_MESSAGE_BYTES: Size = Size::bytes(alula_ingest::MAX_PAYLOAD_BYTES as u64);

fn too_large(small: (&str, Size), relation: &str, large: (&str, Size), why: &str) -> String {
    format!("{} ({}) must be {relation} {} ({}): otherwise {why}", small.0, small.1, large.0, large.1)
}
