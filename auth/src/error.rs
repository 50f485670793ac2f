//! Why a credential was refused, or could not be made or checked.

use std::time::Duration;

use jiff::Timestamp;

use crate::{Role, Roles};

/// The result of an identity operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Send a valid credential.
    Unauthenticated,
    /// Use a credential with more roles.
    PermissionDenied,
    /// Ask for a token with other parameters.
    InvalidInput,
    /// The server's side is at fault: its operator must look.
    Internal,
}

/// Values of a token that are repeated in an error are cut to a length that cannot fill a header or a log line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "no credential: send the header \"authorization: Bearer <token>\"; \
         \"alula token create --tenant <tenant> --role <role>\" makes a token"
    )]
    NoCredential,

    #[error("malformed credential: {reason}")]
    MalformedCredential { reason: &'static str },

    #[error("the token names the algorithm {given:?}, but its key is for {expected}")]
    WrongAlgorithm { given: String, expected: &'static str },

    #[error("the token was signed by the key {kid:?}, which this server does not know; create a token here")]
    UnknownKey { kid: String },

    #[error("the token's signature is wrong: it was altered, or signed by another key")]
    WrongSignature,

    #[error("the token expired at {at}; create a new one")]
    Expired { at: Timestamp },

    #[error("the token is not valid before {from}; compare the clocks of both machines")]
    NotYetValid { from: Timestamp },

    #[error("the token was issued by another service: \"iss\" must be {expected:?}")]
    WrongIssuer { expected: &'static str },

    #[error("the token is meant for another service: \"aud\" must be {expected:?}")]
    WrongAudience { expected: &'static str },

    #[error("the token lacks the claim {claim:?}")]
    MissingClaim { claim: &'static str },

    #[error("the token's claim {claim:?} must be {expected}")]
    InvalidClaim { claim: &'static str, expected: &'static str },

    #[error("the token names no usable tenant")]
    InvalidTenant {
        #[source]
        source: alula_catalog::Error,
    },

    #[error("unknown role {given:?}: the roles are read, write and admin")]
    UnknownRole { given: String },

    #[error("the role {needed} is needed; {subject:?} has {held}")]
    PermissionDenied { needed: Role, subject: String, held: Roles },

    #[error("a token cannot live for {given:?}: give a time from {min:?} to {max:?}")]
    InvalidTtl { given: Duration, min: Duration, max: Duration },

    #[error("invalid subject: use 1 to {max_bytes} bytes without control characters")]
    InvalidSubject { max_bytes: usize },

    #[error("a token needs at least one role: read, write or admin")]
    NoRoles,

    #[error("cannot open the key store")]
    Open {
        #[source]
        source: alula_catalog::Error,
    },

    #[error("key store database error")]
    Database(#[from] rusqlite::Error),

    #[error("the signing key {kid:?} in the key store is not a usable {algorithm} key")]
    InvalidKey { kid: String, algorithm: String },

    #[error("the system gave no random numbers for a key")]
    KeyGeneration,

    #[error("the token could not be signed")]
    Signing(#[source] jsonwebtoken::errors::Error),

    #[error("reading the signing keys was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCredential
            | Self::MalformedCredential { .. }
            | Self::WrongAlgorithm { .. }
            | Self::UnknownKey { .. }
            | Self::WrongSignature
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::WrongIssuer { .. }
            | Self::WrongAudience { .. }
            | Self::MissingClaim { .. }
            | Self::InvalidClaim { .. }
            | Self::InvalidTenant { .. }
            | Self::UnknownRole { .. } => ErrorKind::Unauthenticated,
            Self::PermissionDenied { .. } => ErrorKind::PermissionDenied,
            Self::InvalidTtl { .. } | Self::InvalidSubject { .. } | Self::NoRoles => ErrorKind::InvalidInput,
            Self::Open { .. }
            | Self::Database(_)
            | Self::InvalidKey { .. }
            | Self::KeyGeneration
            | Self::Signing(_)
            | Self::Interrupted(_) => ErrorKind::Internal,
        }
    }
}

/// Cuts a value from outside to what an error may repeat.
pub(crate) fn excerpt(given: &str) -> String {
    given.chars().take(80).collect()
}
