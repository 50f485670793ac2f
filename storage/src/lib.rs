//! Durable storage: OTLP entries go into a write-ahead log and a buffer, and from there into Parquet files.
//!
//! | module | purpose |
//! |---|---|
//! | `engine.rs` | [`Storage`]: append, snapshot, flush, close; the only façade |
//! | `wal/` | the log: frame format, the writer thread with group commit, recovery |
//! | `buffer/` | rows that are durable but not yet in files, as chunks behind an immutable [`Snapshot`] |
//! | `disk/` | the file operations below all this, real or simulated |
//! | `maintenance/` | the thread that works on files after the flush: removes replaced ones |
//! | `store.rs` | what the flush and all maintenance share |
//! | `data_files.rs` | reads data files, each compared with its checksum first |
//! | `parquet/` | from chunks to Parquet files, written durably |
//! | `flush.rs` | the thread that moves the buffer into files |
//! | `rejections.rs` | what ingest refused, for `system.ingest_rejections` |
//! | `retry_window.rs` | which batches were stored lately, so that one that is sent again is not stored again |
//! | `replay.rs` | from the log back into the buffer at start |
//! | `layout.rs` | every path inside the data directory |
//! | `table/` | with the feature `datafusion`, the DataFusion side: a tenant's tables, the scan, the guards |
//!
//! **Invariants**
//! - An append returns only after its entry is on disk (`fdatasync`) *and* in the snapshot that the next query takes.
//! - Rows in a snapshot are durable: nothing a query has seen can be undone by a crash.
//! - An acknowledged row is at any moment in exactly one of: the buffer of the current snapshot, or a live file of it.
//! - A batch with an id that was acknowledged within the retry window is not stored again.
//! - The catalog's `COMMIT` is the only point at which rows change from log to file.

mod buffer;
mod config;
mod data_files;
mod disk;
mod engine;
mod entry;
mod error;
mod flush;
mod layout;
mod maintenance;
mod parquet;
mod rejections;
mod replay;
mod retry_window;
mod store;
#[cfg(feature = "datafusion")]
pub mod table;
#[cfg(test)]
mod testing;
mod wal;

pub use buffer::Snapshot;
pub use config::{Config, OnCorruption, RetentionConfig};
pub use engine::Storage;
pub use entry::{Appended, BatchId, Entry, EntryDecoder, LoggedEntry};
pub use error::{Error, ErrorKind, Result};
pub use rejections::RejectionGroup;
