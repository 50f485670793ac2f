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

    #[error("{what} needs the role write")]
    NeedsWrite { what: &'static str },

    #[error("this is not a Flight SQL message: {reason}")]
    MalformedMessage { reason: String },

    #[error("{what} is not supported by this server")]
    Unsupported { what: String },

    #[error("there is no wire profile {given}; there are {}", known_profiles())]
    UnknownProfile { given: String },

    #[error("the header {name} is {given:?} and must be {expected}")]
    InvalidHeader { name: &'static str, given: String, expected: &'static str },

    #[error(
        "the session is unknown to this server or has expired: connect again, or close the session and set its \
         options again"
    )]
    UnknownSession,

    #[error("the transaction or savepoint is unknown or has ended; begin another")]
    UnknownTransaction,

    #[error(
        "what the transaction has written is not on this server: another server began it, it was idle for too long, or \
         could not be committed. Roll back and begin another"
    )]
    LostWrites,

    #[error(
        "{limit} transactions of the tenant have writes that are not committed, and more cannot: commit or roll back"
    )]
    TooManyTransactions { limit: usize },

    #[error(
        "{statement} as SQL begins and ends nothing: use the transaction calls of the driver (autocommit off, \
         commit, rollback)"
    )]
    TransactionStatement { statement: String },

    #[error(
        "DELETE and VACUUM happen at once and are no part of a transaction: switch autocommit on for them"
    )]
    UpdateInTransaction,

    #[error(
        "a tail cannot have {what}: it selects columns of metrics, logs, traces or one of their views, with WHERE and \
         nothing else"
    )]
    NotFollowable { what: &'static str },

    #[error("{limit} tails are open, and a tenant cannot have more: close one")]
    TooManyTails { limit: usize },

    #[error("the ticket or handle is unknown or has expired; run the statement again")]
    UnknownHandle,

    #[error(
        "the rows of the statement have other columns than it was said: a table was made anew since. Send the statement \
         again, or prepare it again"
    )]
    OtherColumns,

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
        "alula is read-only over SQL but for tables of your own, so {statement} is not accepted: send SELECT, WITH, EXPLAIN, \
         SHOW, DESCRIBE, CREATE TABLE, INSERT or DROP TABLE, or as an administrator DELETE or VACUUM"
    )]
    ReadOnly { statement: String },

    #[error(
        "{name} is read-only over SQL: metrics, logs and traces come over OTLP or by bulk ingest, and tables of your own are \
         made with CREATE TABLE"
    )]
    NotWritable { name: String },

    #[error(
        "{name} cannot be replaced: append to it, and delete what is to go with DELETE FROM {name} WHERE ... (an \
         administrator may)"
    )]
    NotReplaceable { name: &'static str },

    /// In words of whoever looked at the rows.
    #[error("{reason}")]
    RefusedRows { reason: String },

    /// The same.
    #[error("{reason}")]
    NoRoomForRows { reason: String },

    /// The same.
    #[error("{reason}")]
    TooManyRowsAtOnce { reason: String },

    #[error("the first {num_stored} rows are stored, and the others are not")]
    StoredInPart { num_stored: u64, source: Box<Error> },

    #[error(
        "rows of {} MiB for metrics, logs and traces wait to be committed, and more cannot: commit more often, or switch \
         autocommit on",
        limit >> 20
    )]
    TooManyKeptRows { limit: usize },

    #[error("rows could not be stored")]
    Backfill(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("tables are made in the schema alula.public, and {name} is in another one")]
    ForeignSchema { name: String },

    #[error("no rows came for {}s, and the ingest was given up", limit.as_secs())]
    SilentIngest { limit: Duration },

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

    #[error("{found} rows of parameters were bound; bind at most {limit} at a time")]
    ParameterRows { found: usize, limit: usize },

    #[error("the value bound to parameter {name} is not a {expected}")]
    ParameterType {
        name: String,
        expected: String,
        #[source]
        source: Box<DataFusionError>,
    },

    #[error("the bound parameters are not a valid Arrow stream")]
    MalformedParameters(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("the rows to ingest are not a valid Arrow stream")]
    MalformedRows(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("the bound parameters have more than {limit} bytes")]
    ParametersTooLarge { limit: usize },

    #[error(
        "a row of the result has {} MiB, and no client takes a message above 2 GiB: \
         select fewer columns, or parts of the long values (substr)",
        found >> 20
    )]
    RowTooLarge { found: usize },

    #[error(
        "a batch of up to 8,192 rows would have more than 2 GiB of text in one column: select fewer columns that are put \
         together with ||, or parts of the long values (substr)"
    )]
    TooMuchText,

    #[error(
        "the statement ran longer than query.statement_timeout ({}s): \
         narrow it (a shorter time range, fewer groups) or raise the limit",
        limit.as_secs_f64()
    )]
    Timeout { limit: Duration },

    #[error("the statement was cancelled")]
    Cancelled,

    #[error("the call was cut off before its end")]
    CutOff,

    #[error("the call took longer than its sender waits (grpc-timeout)")]
    Deadline,

    #[error(
        "the tenant has {limit} polled statements that run or whose end has not been asked for: ask for one or cancel it, \
         or send the statement with GetFlightInfo"
    )]
    TooManyPolled { limit: usize },

    #[error(
        "results of polled statements are kept on disk, and those of a tenant cannot have more than {limit} bytes: narrow \
         the polled statement, cancel others, or send it with GetFlightInfo, which keeps nothing"
    )]
    PolledTooLarge { limit: u64 },

    #[error(
        "the results of polled statements take all the disk that there is for them: send the statement with \
         GetFlightInfo, which keeps nothing, or try again later"
    )]
    PolledFull,

    #[error(
        "a statement that changes something cannot be polled, as it might be done twice: send it as an update, or with \
         GetFlightInfo"
    )]
    PolledUpdate,

    #[error(
        "the statement of the ticket changes something, and such a ticket is good for one run on the server that gave it: \
         it was run, or may have been before a restart; look, and send the statement anew"
    )]
    AlreadyRun,

    /// As it was told to the first who asked.
    #[error("{}", .0.message())]
    PollFailed(tonic::Status),

    #[error("a kept result cannot be read or written")]
    Spool(#[source] std::io::Error),

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
