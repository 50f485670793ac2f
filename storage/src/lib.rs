//! Durable storage: OTLP entries go into a write-ahead log and a buffer, and from there into Parquet files.
//!
//! | module | purpose |
//! |---|---|
//! | `engine.rs` | [`Storage`]: append, snapshot, flush, close; the only façade |
//! | `wal/` | the log: frame format, the writer thread with group commit, recovery |
//! | `buffer/` | rows that are durable but not yet in files, as chunks behind an immutable [`Snapshot`] |
//! | `arrivals.rs` | wakes those who follow a table when it gets rows |
//! | `disk/` | the file operations below all this, real or simulated |
//! | `maintenance/` | the thread that works on files after the flush: removes replaced ones |
//! | `store.rs` | what the flush and all maintenance share |
//! | `data_files.rs` | reads data files, each compared with its checksum first |
//! | `parquet/` | from chunks to Parquet files, written durably |
//! | `flush.rs` | the thread that moves the buffer into files |
//! | `rejections.rs` | what ingest refused, for `system.ingest_rejections` |
//! | `deletion.rs`, `deletion/` | deletions: rows that are stored and must not be shown |
//! | `retry_window.rs` | which batches were stored lately, so that one that is sent again is not stored again |
//! | `health.rs` | whether storage takes entries, and what an operator should know |
//! | `free_space.rs` | refuses ingest before the disk is full |
//! | `losses.rs` | losses on record, and whether operators know of them |
//! | `replay.rs` | from the log back into the buffer at start |
//! | `reconcile.rs` | data files against the catalog, at start |
//! | `remote/` | data files in an object store, read through a cache |
//! | `checksum.rs` | the checksum of all that is kept |
//! | `blocking.rs` | work that blocks, away from the runtime's workers |
//! | `layout.rs` | every path inside the data directory |
//! | `lock_file.rs` | files by which one process at a time has something for itself |
//! | `backup/` | copies of a data directory that is in use, and how one becomes a data directory again |
//! | `verify/` | offline: whether a data directory is sound, and a new catalog if that is not |
//! | `user_tables/` | tables of a tenant's own: transactions, their files, quotas |
//! | `table/` | with the feature `datafusion`, the DataFusion side: a tenant's tables, the scan, the guards |
//!
//! **Invariants**
//! - An append returns only after its entry is on disk (`fdatasync`) *and* in the snapshot that the next query takes.
//! - Rows in a snapshot are durable: nothing a query has seen can be undone by a crash.
//! - An acknowledged row is at any moment in exactly one of: the buffer of the current snapshot, or a live file of it.
//! - A batch with an id that was acknowledged within the retry window is not stored again.
//! - A row of an acknowledged deletion is in no answer, wherever it is stored.
//! - The catalog's `COMMIT` is the only point at which rows change from log to file, and at which a transaction on user
//!   tables happens.

mod arrivals;
pub mod backup;
mod blocking;
mod buffer;
mod checksum;
mod config;
mod data_files;
mod deletion;
mod disk;
mod engine;
mod entry;
mod error;
mod flush;
mod free_space;
mod health;
mod layout;
mod lock_file;
mod losses;
mod maintenance;
mod parquet;
mod reconcile;
mod rejections;
mod remote;
mod replay;
mod retry_window;
#[cfg(test)]
mod simulation;
mod store;
#[cfg(feature = "datafusion")]
pub mod table;
#[cfg(test)]
mod testing;
mod user_tables;
pub mod verify;
mod wal;

pub use buffer::Snapshot;
pub use config::{
    CompactionConfig, Config, OnCorruption, OnSyncError, RemoteConfig, RetentionConfig, UserTablesConfig,
};
pub use deletion::{PredicateCompiler, PredicateError, ProposedDeletion, RowPredicate};
pub use engine::Storage;
pub use entry::{Appended, BatchId, Entry, EntryDecoder, LoggedEntry};
pub use error::{Error, ErrorKind, Result};
pub use health::Health;
pub use maintenance::{CompactionReport, FileTotals};
pub use rejections::RejectionGroup;
pub use remote::RemoteUrl;
pub use user_tables::{
    CreateMode, MAX_USER_COLUMN_NAME_BYTES, MAX_USER_TABLE_COLUMNS, MAX_USER_TABLE_NAME_BYTES,
    MAX_USER_TABLE_ROW_BYTES, UserTable, UserTableError, UserTables, UserTransaction, is_reserved_table_name,
};
