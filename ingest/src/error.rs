//! What can go wrong with an export request, named after what the sender can do about it.

use alula_catalog::Signal;

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

    #[error("the body is not one whole gRPC message: {found}")]
    BrokenFraming { found: String },

    #[error(
        "the request is larger than {limit_bytes} bytes after decompression; \
         send smaller batches or raise ingest.max_message_bytes"
    )]
    TooLarge { limit_bytes: usize },

    #[error("{path} is not a method of this service; the only one is Export")]
    UnknownMethod { path: String },

    #[error(
        "requests of {limit_bytes} bytes in all are being stored (ingest.max_in_flight_bytes); try again shortly"
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

    #[error("the task that stores a request ended early")]
    Interrupted(#[source] tokio::task::JoinError),
}
