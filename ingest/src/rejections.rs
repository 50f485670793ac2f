//! What of a request goes on record as refused, for `system.ingest_rejections`.

use std::error::Error as StdError;

use alula_catalog::error_chain;
use alula_storage::RejectionGroup;

use crate::Error;
use crate::convert::{Reason, Rejection};

/// The rejected records of a request: one group for each reason, in the order in which they came up.
pub(crate) fn groups(rejected: &[Rejection]) -> Vec<RejectionGroup> {
    let mut groups: Vec<(Reason, RejectionGroup)> = Vec::new();
    for Rejection { reason, sample, .. } in rejected {
        match groups.iter_mut().find(|(known, _)| known == reason) {
            Some((_, group)) => group.count += 1,
            None => {
                let sample = sample.as_deref().unwrap_or_default().to_owned();
                groups.push((*reason, RejectionGroup { reason: reason.to_string(), count: 1, sample }));
            }
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// A request that can never be stored as it is. None if sending it again, or without a mistake of another kind, may help.
///
/// What is wrong with this one request is the sample, so that all requests with the same mistake have the same reason.
pub(crate) fn whole_request(error: &Error) -> Option<RejectionGroup> {
    let (reason, sample) = match error {
        Error::BrokenFraming { found } => {
            ("the body is not one whole gRPC message".to_owned(), found.clone())
        }
        Error::Malformed { .. } | Error::MalformedJson { .. } | Error::Undecodable { .. } => {
            (error.to_string(), error.source().map(error_chain).unwrap_or_default())
        }
        Error::TooLarge { .. } | Error::TooDense { .. } => (error.to_string(), String::new()),
        Error::Storage(alula_storage::Error::TooLarge { limit_bytes, .. }) => (
            format!("the request is larger than the write-ahead log takes ({limit_bytes} bytes)"),
            error.to_string(),
        ),
        _ => return None,
    };
    Some(RejectionGroup { reason, count: 0, sample })
}

#[cfg(test)]
mod tests;
