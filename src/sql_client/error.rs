//! What can go wrong on the client's side.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use tonic::{Code, Status};

use super::ServerUrl;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    #[error("{reason}")]
    Usage { reason: String },
    #[error("cannot read {}", path.display())]
    ReadFile { path: PathBuf, source: std::io::Error },
    #[error("the token has characters that a header cannot carry")]
    MalformedToken,
    #[error("cannot connect to {url}")]
    Connect { url: ServerUrl, source: Box<dyn StdError + Send + Sync> },
    #[error("cannot connect to {url}: no answer within {} s", timeout.as_secs())]
    ConnectTimeout { url: ServerUrl, timeout: Duration },
    #[error("not authorised: {message}")]
    NotAuthorised { message: String },
    /// The message is the server's own, hints included.
    #[error("{message}")]
    Server { code: Code, message: String },
    #[error("the query took longer than --timeout {timeout:?} and was cancelled")]
    Timeout { timeout: Duration },
    #[error("the server sent an answer that this client cannot read")]
    Protocol { source: Box<dyn StdError + Send + Sync> },
    #[error("lost the connection to {url}")]
    Lost { url: ServerUrl, source: Box<dyn StdError + Send + Sync> },
    #[error("cannot show the answer in this format")]
    Encode { source: ArrowError },
    #[error("cannot write {target}")]
    Write { target: String, source: std::io::Error },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn usage(reason: impl Into<String>) -> Self {
        Self::Usage { reason: reason.into() }
    }

    /// A status with a cause was made on this side, by the transport; a server's status arrives without one.
    pub(crate) fn from_status(status: Status, url: &ServerUrl) -> Self {
        if status.source().is_some() {
            return Self::Lost { url: url.clone(), source: Box::new(status) };
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::NotAuthorised { message },
            code => Self::Server { code, message },
        }
    }

    pub(super) fn from_flight(error: FlightError, url: &ServerUrl) -> Self {
        match error {
            FlightError::Tonic(status) => Self::from_status(*status, url),
            FlightError::Arrow(source) => Self::Protocol { source: source.into() },
            FlightError::ExternalError(source) => Self::Protocol { source },
            FlightError::NotYetImplemented(_)
            | FlightError::ProtocolError(_)
            | FlightError::DecodeError(_) => Self::Protocol { source: error.into() },
        }
    }

    /// The same error before anything was heard from the server: then there was no connection to lose.
    pub(super) fn before_first_answer(self) -> Self {
        match self {
            Self::Lost { url, source } => Self::Connect { url, source },
            other => other,
        }
    }
}
