//! What a statement on user tables can do wrong.

use crate::ErrorKind;

/// Why a user table could not be made or changed as asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserTableError {
    #[error("there is a table {table:?} already")]
    TableExists { table: String },

    #[error("there is no table {table:?} that can be changed")]
    NoTable { table: String },

    #[error("the name {table:?} is reserved; choose another one")]
    ReservedName { table: String },

    #[error("{given:?} is no name for a table: it must have 1 to {limit} bytes and no control characters")]
    InvalidName { given: String, limit: usize },

    #[error("a table needs at least one column")]
    NoColumns,

    #[error("a table may have {limit} columns, the fields of nested ones counted; this one has more")]
    TooManyColumns { limit: usize },

    #[error("column {number} has no name")]
    UnnamedColumn { number: usize },

    #[error("the name of a column or field may have {limit} bytes, and {given:?}... has more")]
    LongColumnName { given: String, limit: usize },

    #[error(
        "the values of fixed size in a row of the table may have {limit_bytes} bytes together, and these have more; use \
         Binary or List"
    )]
    TooWide { limit_bytes: u64 },

    #[error("there are two columns or fields with the name {column:?}")]
    DuplicateColumn { column: String },

    #[error(
        "the column {column:?} has the type {data_type}, which a table cannot keep; cast it to another type"
    )]
    ColumnType { column: String, data_type: String },

    #[error("the table {table:?} has no column {column:?}")]
    UnknownColumn { table: String, column: String },

    #[error("the column {column:?} of the table {table:?} may not be null and is missing")]
    MissingColumn { table: String, column: String },

    #[error("the column {column:?} of the table {table:?} may not be null, and a row has no value for it")]
    NullValue { table: String, column: String },

    #[error(
        "the column {column:?} of the table {table:?} has the type {expected}, and {found} cannot be cast to it without \
         loss; cast it in the statement"
    )]
    TypeMismatch { table: String, column: String, expected: String, found: String },

    #[error("a value for the column {column:?} of the table {table:?} does not fit its type {expected}")]
    ValueOutOfRange {
        table: String,
        column: String,
        expected: String,
        #[source]
        source: Box<arrow::error::ArrowError>,
    },

    #[error("a row has more than {limit_bytes} bytes; keep large values elsewhere")]
    RowTooLarge { limit_bytes: u64 },

    #[error(
        "a batch of rows has more than {limit_rows} rows, or {limit_bytes} bytes without encodings; send the rows in smaller \
         batches"
    )]
    BatchTooLarge { limit_rows: usize, limit_bytes: u64 },

    #[error("{limit} statements write to tables, and more cannot at the same time; try again later")]
    TooManyWriters { limit: usize },

    #[error("a tenant may have {limit} tables (storage.user_tables_max); drop one first")]
    TooManyTables { limit: usize },

    #[error(
        "a tenant's tables may have {limit_bytes} bytes of files (storage.user_tables_bytes), with those of transactions \
         that are under way and those that are still read; drop a table first"
    )]
    TooManyBytes { limit_bytes: u64 },

    #[error("the table {table:?} was changed by another transaction; run this one again")]
    Conflict { table: String },

    #[error(
        "tables that are not telemetry were changed since the transaction began, and it cannot see them as they were; begin \
         another one"
    )]
    Outdated,
}

impl UserTableError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::TooManyTables { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyWriters { .. }
            | Self::RowTooLarge { .. }
            | Self::BatchTooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::Conflict { .. } | Self::Outdated => ErrorKind::Unavailable,
            _ => ErrorKind::InvalidInput,
        }
    }
}
