//! Errors as gRPC statuses: the only place of this crate that makes one.
//!
//! OTLP exporters decide by the code whether to send again, so each error has the code of what the sender should do:
//!
//! | error | code | sent again? |
//! |---|---|---|
//! | `Malformed`, `BrokenFraming` | `INVALID_ARGUMENT` | no |
//! | `TooLarge`, storage: the entry is too large | `RESOURCE_EXHAUSTED` without `RetryInfo` | no |
//! | `UnknownMethod` | `UNIMPLEMENTED` | no |
//! | `Auth` | `UNAUTHENTICATED` or `PERMISSION_DENIED` | no |
//! | `Overloaded`, storage: full, read-only, closed | `UNAVAILABLE` with `RetryInfo` | yes |
//! | all else is a fault of ours: the text is fixed, the log has the rest | `INTERNAL` | no |
//!
//! `RetryInfo` goes out twice: in `grpc-status-details-bin`, where the Go, Java and Collector exporters read it, and as
//! `google.rpc.retryinfo-bin`, where the Python exporter does.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#failures>

use std::time::Duration;

use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::Error;
use alula_catalog::error_chain;

/// When a sender may try again. The causes pass within a group commit or a flush.
const RETRY_DELAY: Duration = Duration::from_secs(1);

const RETRY_INFO_METADATA: &str = "google.rpc.retryinfo-bin";

/// The answer to a request that failed. Logs what the sender cannot mend.
pub(crate) fn status(error: &Error) -> Status {
    match error {
        Error::Malformed { .. } | Error::BrokenFraming { .. } => Status::invalid_argument(error_chain(error)),
        Error::TooLarge { .. } => Status::resource_exhausted(error_chain(error)),
        Error::UnknownMethod { .. } => Status::unimplemented(error_chain(error)),
        Error::Overloaded { .. } => {
            tracing::debug!(error = error_chain(error), "refused an export request");
            unavailable(error)
        }
        Error::Auth(auth) => match auth.kind() {
            alula_auth::ErrorKind::Unauthenticated => Status::unauthenticated(error_chain(error)),
            alula_auth::ErrorKind::PermissionDenied => Status::permission_denied(error_chain(error)),
            alula_auth::ErrorKind::InvalidInput | alula_auth::ErrorKind::Internal => internal(error),
        },
        Error::Storage(storage) => match storage.kind() {
            alula_storage::ErrorKind::ResourceExhausted => Status::resource_exhausted(error_chain(error)),
            alula_storage::ErrorKind::Unavailable => {
                tracing::warn!(error = error_chain(error), "storage refused an export request");
                unavailable(error)
            }
            alula_storage::ErrorKind::InvalidInput
            | alula_storage::ErrorKind::Corrupted
            | alula_storage::ErrorKind::Internal => internal(error),
        },
        Error::SchemaBroken { .. } | Error::Interrupted(_) => internal(error),
    }
}

/// What to answer when the transport gave up on a request before it was one whole message.
///
/// `None` keeps the answer. The transport calls an oversize message `OUT_OF_RANGE`, which OTLP exporters send again
/// for ever, and broken bytes `INTERNAL`, as if it were the server's fault.
pub(crate) fn of_unread_request(answer: &Status, limit_bytes: usize) -> Option<Status> {
    match answer.code() {
        // The second code is for a message that exceeds the limit while it is decompressed.
        Code::OutOfRange | Code::ResourceExhausted => Some(status(&Error::TooLarge { limit_bytes })),
        Code::Internal => Some(status(&Error::BrokenFraming { found: answer.message().to_owned() })),
        _ => None,
    }
}

fn unavailable(error: &Error) -> Status {
    let retry_info = pb::RetryInfo { retry_delay: prost_types::Duration::try_from(RETRY_DELAY).ok() };
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(RETRY_INFO_METADATA, MetadataValue::from_bytes(&retry_info.encode_to_vec()));
    let details = ErrorDetails::with_retry_info(Some(RETRY_DELAY));
    Status::with_error_details_and_metadata(Code::Unavailable, error_chain(error), details, metadata)
}

fn internal(error: &Error) -> Status {
    tracing::error!(error = error_chain(error), "an export request failed");
    Status::internal("the server could not store the request; its log says why")
}

#[cfg(test)]
mod tests;
