//! What can go wrong with an export request, named after what the sender can do about it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use alula_catalog::Signal;

use crate::{JsonError, SizeLimit};

/// The result of an ingest operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not stored. Nothing of it was: a request with bad records only is no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the request is not a valid {message}; nothing of it was stored")]
    Malformed {
        message: &'static str,
        #[source]
        source: prost::DecodeError,
    },

    #[error("the request is not a valid {message} in JSON; nothing of it was stored")]
    MalformedJson {
        message: &'static str,
        #[source]
        source: JsonError,
    },

    #[error("the body is not one whole gRPC message: {found}")]
    BrokenFraming { found: String },

    #[error("the body is not valid {encoding}; nothing of the request was stored")]
    Undecodable {
        encoding: &'static str,
        #[source]
        source: io::Error,
    },

    #[error("the compression `{name}` is not known here; use gzip, zstd or none")]
    UnknownEncoding { name: String },

    #[error("the connection was lost before the request had come in whole; nothing of it was stored")]
    BodyLost(#[source] Box<dyn StdError + Send + Sync>),

    #[error("the request did not come in whole within {limit:?}; nothing of it was stored")]
    TooSlow { limit: Duration },

    #[error(
        "the request is larger than {} bytes after decompression; send smaller batches or raise {}",
        limit.bytes, limit.setting
    )]
    TooLarge { limit: SizeLimit },

    #[error(
        "the request holds so many messages with so little in them that it would take more than {limit_bytes} bytes of \
         memory; send fewer records in a request"
    )]
    TooDense { limit_bytes: usize },

    #[error(
        "the tenant sent more than {bytes_per_second} bytes a second (ingest.tenant_bytes_per_second); \
         try again in {retry_after:?}"
    )]
    QuotaExceeded { bytes_per_second: u64, retry_after: Duration },

    #[error("{path} is not a method of this service; the only one is Export")]
    UnknownMethod { path: String },

    #[error(
        "requests of {limit_bytes} bytes in all are being received and stored (ingest.max_in_flight_bytes); try again shortly"
    )]
    Overloaded { limit_bytes: usize },

    #[error(transparent)]
    Auth(#[from] alula_auth::Error),

    #[error(transparent)]
    Storage(#[from] alula_storage::Error),

    #[error("the rows of a request do not fit the schema of {signal}")]
    SchemaBroken {
        signal: Signal,
        #[source]
        source: arrow::error::ArrowError,
    },

    #[error("column {column} {what}")]
    BadColumn { column: String, what: String },

    #[error("row {row}: {column} {what}")]
    BadValue { row: u64, column: String, what: String },

    #[error("row {row} cannot be stored: {reason}")]
    RefusedRow { row: u64, reason: String },

    #[error(
        "one of the rows {first_row} to {last_row} nests its values too deep, or has more than a request can hold"
    )]
    RefusedRows {
        first_row: u64,
        last_row: u64,
        #[source]
        source: Box<Error>,
    },

    #[error("the task that stores a request ended early")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl Error {
    /// `names` is what a header says, of any length.
    pub(crate) fn unknown_encoding(names: &str) -> Self {
        Self::UnknownEncoding { name: names.chars().take(40).collect() }
    }
}
