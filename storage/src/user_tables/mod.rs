//! Tables of a tenant's own: lookup tables to join telemetry with.
//!
//! | file | purpose |
//! |---|---|
//! | `table.rs` | [`UserTables`]: the tables of one tenant at one instant |
//! | `schema.rs` | which names, columns and types a table may have |
//! | `columns.rs` | from the columns of what is appended to those of its table |
//! | `transaction.rs` | [`UserTransaction`]: changes that happen together or not at all |
//! | `writer.rs` | [`UserTableWriter`]: the rows of one statement, on their way into files |
//! | `merge.rs` | keeps the number of files small |
//! | `quota.rs` | what a tenant may have, with what is not committed yet |
//! | `commit.rs` | the one point at which a transaction happens |
//! | `error.rs` | what a statement can do wrong |
//!
//! ```text
//! begin -> write <id>.parquet.tmp, synced -> compare versions -> rename, sync directories -> COMMIT -> swap the snapshot
//! ```
//!
//! Rows are in Parquet files of one table each, and in no log: they are durable when the transaction is.
//!
//! **Invariants**
//! - A table has at least one file, if one without rows, so its name and its columns survive a lost catalog.
//! - A file has its final name only once its transaction is being committed: whoever has to do without a catalog takes no row
//!   of a transaction that was under way.
//! - Of two transactions that change the same table the first one that commits wins; the other one changes nothing.
//! - A table has a bounded number of files, however small the statements are: see [`merge`].

mod columns;
mod commit;
mod error;
mod merge;
mod quota;
mod schema;
mod table;
mod transaction;
mod writer;

pub use columns::MAX_USER_TABLE_ROW_BYTES;
pub(crate) use commit::{UserTableState, load_user_tables};
pub use error::UserTableError;
pub use schema::{
    MAX_USER_COLUMN_NAME_BYTES, MAX_USER_TABLE_COLUMNS, MAX_USER_TABLE_NAME_BYTES, is_reserved_table_name,
};
pub(crate) use schema::{decode_schema, encode_schema};
pub use table::{UserTable, UserTables};
pub use transaction::{CreateMode, UserTransaction};
use writer::{UserTableWriter, WrittenRows};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
