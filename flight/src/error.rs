//! What can go wrong between a request and its rows, named after what the caller can do about it.

use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::wire::Profile;

/// The result of a Flight SQL operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request could not be answered.
///
/// Messages are written for the client. [`Error::Query`], [`Error::Engine`] and the sources are not shown as they
/// are: `status.rs` decides what of them a client may read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("not authorised")]
    Auth(#[from] alula_auth::Error),

    #[error("{what} needs the role admin: {why}")]
    NeedsAdmin { what: &'static str, why: &'static str },

    #[error("this is not a Flight SQL message: {reason}")]
    MalformedMessage { reason: String },

    #[error("{what} is not supported by this server")]
    Unsupported { what: String },

    #[error("there is no wire profile {given}; there are {}", known_profiles())]
    UnknownProfile { given: String },

    #[error("the ticket or handle is unknown or has expired; run the statement again")]
    UnknownHandle,

    #[error(
        "the statement has {found} bytes and query.max_sql_bytes is {limit}: \
         pass long lists of values in several statements"
    )]
    StatementTooLong { found: usize, limit: usize },

    #[error(
        "the statement has more than {limit} words and symbols: \
         pass long lists of values in several statements"
    )]
    TooManyTokens { limit: usize },

    #[error("the statement has more than {limit} {what}: {advice}")]
    TooComplex { what: &'static str, limit: usize, advice: &'static str },

    #[error("there is no statement in the query text")]
    NoStatement,

    #[error("the query text has {found} statements; send one at a time")]
    SeveralStatements { found: usize },

    #[error("syntax error at line {line}, column {column}: {message}\nhint: {hint}")]
    Syntax { line: u64, column: u64, message: String, hint: String },

    #[error(
        "alula is read-only over SQL, so {statement} is not accepted: send SELECT, WITH, EXPLAIN, SHOW or DESCRIBE"
    )]
    ReadOnly { statement: String },

    #[error(
        "DELETE FROM {name} without a condition: to delete every row, write DELETE FROM {name} WHERE true"
    )]
    DeleteEverything { name: String },

    #[error("DELETE takes one table and a condition, and nothing else: DELETE FROM logs WHERE body = '...'")]
    UnsupportedDelete,

    #[error("rows can be deleted from {known}, and not from {name}")]
    NotDeletable { name: String, known: String },

    #[error("this statement returns rows and changes nothing: send it as a query")]
    NotAnUpdate,

    #[error("table {name} does not exist; the tables are: {}", known.join(", "))]
    UnknownTable { name: String, known: Vec<String> },

    #[error("parameters are written as ? or as $1, $2, ..., not both in one statement")]
    MixedPlaceholders,

    #[error("{given} is not a parameter: write ?, $1 to ${limit}, or $name")]
    InvalidPlaceholder { given: String, limit: usize },

    #[error("the statement has more than {limit} parameters")]
    TooManyParameters { limit: usize },

    #[error("parameter {name} has no value: bind the parameters before running the statement")]
    UnboundParameter { name: String },

    #[error("the statement has {expected} parameters, but {found} values were bound")]
    ParameterCount { expected: usize, found: usize },

    #[error("{found} rows of parameters were bound; bind one row at a time")]
    ParameterRows { found: usize },

    #[error("the value bound to parameter {name} is not a {expected}")]
    ParameterType {
        name: String,
        expected: String,
        #[source]
        source: DataFusionError,
    },

    #[error("the bound parameters are not a valid Arrow stream")]
    MalformedParameters(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("the bound parameters have more than {limit} bytes")]
    ParametersTooLarge { limit: usize },

    #[error(
        "the statement ran longer than query.statement_timeout ({}s): \
         narrow it (a shorter time range, fewer groups) or raise the limit",
        limit.as_secs_f64()
    )]
    Timeout { limit: Duration },

    #[error("the server is shutting down; try again later")]
    ShuttingDown,

    #[error("the query ended unexpectedly")]
    Panicked(#[source] tokio::task::JoinError),

    #[error("the query failed")]
    Query(#[from] DataFusionError),

    #[error("the storage engine refused")]
    Storage(#[from] alula_storage::Error),

    #[error("a result could not be encoded")]
    Encode(#[from] ArrowError),

    #[error("the query engine could not be started")]
    Engine(#[source] DataFusionError),

    #[error("the query threads could not be started")]
    Threads(#[source] std::io::Error),
}

fn known_profiles() -> String {
    Profile::names().collect::<Vec<_>>().join(", ")
}
