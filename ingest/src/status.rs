//! Errors as what a sender is told: the only place of this crate that decides about it.
//!
//! OTLP exporters decide by the code whether to send again, so each error has the code of what the sender should do:
//!
//! | error | gRPC | HTTP | sent again? |
//! |---|---|---|---|
//! | `Malformed`, `MalformedJson`, `BrokenFraming`, `Undecodable` | `INVALID_ARGUMENT` | 400 | no |
//! | `TooLarge`, `TooDense`, storage: the entry is too large | `RESOURCE_EXHAUSTED` | 413 | no |
//! | `BadColumn`, `BadValue`, `RefusedRow`, `RefusedRows`, which are of rows that are no OTLP request | `INVALID_ARGUMENT` | 400 | no |
//! | `UnknownMethod`, `UnknownEncoding` | `UNIMPLEMENTED` | 415 | no |
//! | `Auth` | `UNAUTHENTICATED`, `PERMISSION_DENIED` | 401, 403 | no |
//! | `TooSlow` | `DEADLINE_EXCEEDED` with `RetryInfo` | 503 with `Retry-After` (408 would not be sent again) | yes |
//! | `BodyLost`, which nobody reads | `CANCELLED` | 400 | the sender knows |
//! | `QuotaExceeded` | `RESOURCE_EXHAUSTED` with `RetryInfo` | 429 with `Retry-After` | yes |
//! | `Overloaded`, storage: full, read-only, closed | `UNAVAILABLE` with `RetryInfo` | 503 with `Retry-After` | yes |
//! | all else is a fault of ours: the text is fixed, the log has the rest | `INTERNAL` | 500 | no |
//!
//! `RetryInfo` goes out twice: in `grpc-status-details-bin`, where the Go, Java and Collector exporters read it, and as
//! `google.rpc.retryinfo-bin`, where the Python exporter does.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#failures>

use std::time::Duration;

use http::StatusCode;
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::Error;
use crate::body::ACCEPTED_ENCODINGS;
use alula_catalog::error_chain;

/// When a sender may try again. The causes pass within a group commit or a flush.
const RETRY_DELAY: Duration = Duration::from_secs(1);

const RETRY_INFO_METADATA: &str = "google.rpc.retryinfo-bin";
const ACCEPT_ENCODING_METADATA: &str = "grpc-accept-encoding";

/// The answer to a request that was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// When sending the same again may succeed; none if it never does.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// Logs what the sender cannot mend.
    pub(crate) fn of(error: &Error) -> Self {
        let refuse = |code| Self { code, message: error_chain(error), retry_after: None };
        let retry = |code, after| Self { code, message: error_chain(error), retry_after: Some(after) };
        match error {
            Error::Malformed { .. }
            | Error::MalformedJson { .. }
            | Error::BrokenFraming { .. }
            | Error::Undecodable { .. }
            | Error::BadColumn { .. }
            | Error::BadValue { .. }
            | Error::RefusedRow { .. }
            | Error::RefusedRows { .. } => refuse(Code::InvalidArgument),
            Error::TooLarge { .. } | Error::TooDense { .. } => refuse(Code::ResourceExhausted),
            Error::UnknownMethod { .. } | Error::UnknownEncoding { .. } => refuse(Code::Unimplemented),
            Error::BodyLost(_) => refuse(Code::Cancelled),
            Error::TooSlow { .. } => retry(Code::DeadlineExceeded, RETRY_DELAY),
            Error::QuotaExceeded { retry_after, .. } => {
                tracing::debug!(error = error_chain(error), "refused an export request");
                retry(Code::ResourceExhausted, *retry_after)
            }
            Error::Overloaded { .. } => {
                tracing::debug!(error = error_chain(error), "refused an export request");
                retry(Code::Unavailable, RETRY_DELAY)
            }
            Error::Auth(auth) => match auth.kind() {
                alula_auth::ErrorKind::Unauthenticated => refuse(Code::Unauthenticated),
                alula_auth::ErrorKind::PermissionDenied => refuse(Code::PermissionDenied),
                alula_auth::ErrorKind::InvalidInput | alula_auth::ErrorKind::Internal => {
                    Self::internal(error)
                }
            },
            Error::Storage(storage) => match storage.kind() {
                alula_storage::ErrorKind::ResourceExhausted => refuse(Code::ResourceExhausted),
                alula_storage::ErrorKind::Unavailable => {
                    tracing::warn!(error = error_chain(error), "storage refused an export request");
                    retry(Code::Unavailable, RETRY_DELAY)
                }
                alula_storage::ErrorKind::InvalidInput
                | alula_storage::ErrorKind::Corrupted
                | alula_storage::ErrorKind::Internal => Self::internal(error),
            },
            Error::SchemaBroken { .. } | Error::Interrupted(_) => Self::internal(error),
        }
    }

    fn internal(error: &Error) -> Self {
        tracing::error!(error = error_chain(error), "an export request failed");
        let message = "the server could not store the request; its log says why".to_owned();
        Self { code: Code::Internal, message, retry_after: None }
    }

    /// What the auth layer answered.
    pub(crate) fn of_auth(status: &Status) -> Self {
        let retry_after = (status.code() == Code::Unavailable).then_some(RETRY_DELAY);
        Self { code: status.code(), message: status.message().to_owned(), retry_after }
    }

    pub(crate) fn into_status(self) -> Status {
        let Self { code, message, retry_after } = self;
        let mut metadata = MetadataMap::new();
        if code == Code::Unimplemented {
            metadata.insert(ACCEPT_ENCODING_METADATA, MetadataValue::from_static(ACCEPTED_ENCODINGS));
        }
        let Some(delay) = retry_after else {
            return Status::with_metadata(code, message, metadata);
        };
        let retry_info = pb::RetryInfo { retry_delay: prost_types::Duration::try_from(delay).ok() };
        metadata.insert_bin(RETRY_INFO_METADATA, MetadataValue::from_bytes(&retry_info.encode_to_vec()));
        let details = ErrorDetails::with_retry_info(Some(delay));
        Status::with_error_details_and_metadata(code, message, details, metadata)
    }

    pub(crate) fn http_status(&self) -> StatusCode {
        match self.code {
            Code::InvalidArgument | Code::Cancelled => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::ResourceExhausted if self.retry_after.is_some() => StatusCode::TOO_MANY_REQUESTS,
            Code::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
            Code::Unimplemented => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::Unavailable | Code::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests;
