//! Names, schemas and the SQLite catalog: what every other crate agrees on.
//!
//! | file | purpose |
//! |---|---|
//! | `ids.rs` | tenant ids and numbers, file ids, sequence numbers: values that exist only when valid |
//! | `signal.rs` | the three kinds of telemetry and the tables named after them |
//! | `time.rs` | closed time ranges and the hour a row belongs to |
//! | `schema/` | the Arrow schema of each table; every column name appears once |
//! | `connection.rs` | how a SQLite database is opened, and the settings that make a COMMIT durable |
//! | `backup.rs` | a copy of a database that is in use |
//! | `catalog.rs`, `catalog/` | [`Catalog`]: tenants, data files, user tables, ids of flushed batches, the flushed sequence number; what ingest refused |
//!
//! **Invariants**
//! - A data file and the flushed sequence number that covers its rows move in one transaction.
//! - A tenant keeps its number for ever; directories and WAL frames carry the number, never the name.

mod backup;
mod catalog;
mod connection;
mod error;
mod ids;
pub mod schema;
mod signal;
mod time;

pub use backup::copy_database;
pub use catalog::{
    Acknowledgement, BlockHashes, Catalog, CatalogContents, ClockRecord, DataFile, DataLoss, DeadFile,
    Deletion, IngestRejection, NewDeletion, RecordedLoss, RejectionChanges, RemoteUpload, RetentionPolicy,
    RetryWindowChange, RetryableBatch, ScrubPass, Tier, UserFile, UserTableChange, UserTableRecord,
};
pub use connection::open_database;
pub use error::{CatalogDamage, Error, Result, error_chain};
pub use ids::{FileId, SequenceNumber, TenantId, TenantNumber, UserTableId};
pub use signal::Signal;
pub use time::{Hour, TimeRange, now_ns};
