//! What a sender is told when some records of its request were rejected.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#partial-success>. A full success must leave the field unset,
//! which makes its message zero bytes long.

use std::fmt::Write as _;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;

use alula_catalog::Signal;

use crate::convert::{Reason, Rejection};

/// How many different reasons a message spells out.
const REASONS_NAMED: usize = 3;

/// Some records of a request were not stored, and sending them again would not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartialSuccess {
    pub(crate) rejected: u64,
    /// Says how many records were rejected and why.
    pub(crate) message: String,
}

impl PartialSuccess {
    /// None if nothing was rejected.
    pub(crate) fn of(signal: Signal, rejected: &[Rejection]) -> Option<Self> {
        if rejected.is_empty() {
            return None;
        }
        let mut reasons: Vec<Reason> = Vec::new();
        for rejection in rejected {
            if !reasons.contains(&rejection.reason) {
                reasons.push(rejection.reason);
            }
        }
        let mut message = were_rejected(signal, rejected.len());
        for (index, reason) in reasons.iter().take(REASONS_NAMED).enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(message, "{separator}{reason}").expect("writing to memory does not fail");
        }
        if reasons.len() > REASONS_NAMED {
            let more = reasons.len() - REASONS_NAMED;
            write!(message, "; and {more} more reasons").expect("writing to memory does not fail");
        }
        Some(Self { rejected: rejected.len() as u64, message })
    }

    /// Of a request that was stored before, with `first` of its records rejected. None if that was none.
    ///
    /// `rejected` is what it would be this time, of which nothing came: a limit or the clock may have moved meanwhile.
    pub(crate) fn of_duplicate(signal: Signal, rejected: &[Rejection], first: u32) -> Option<Self> {
        if first as usize == rejected.len() {
            return Self::of(signal, rejected);
        }
        if first == 0 {
            return None;
        }
        let rejected = were_rejected(signal, first as usize);
        let message = format!("{rejected} when this request first came; system.ingest_rejections says why");
        Some(Self { rejected: u64::from(first), message })
    }
}

fn were_rejected(signal: Signal, count: usize) -> String {
    format!("{count} {}{} rejected", signal.record_name(), if count == 1 { " was" } else { "s were" })
}

/// The response message of the signal's service.
pub(crate) fn encode_response(signal: Signal, partial_success: Option<PartialSuccess>) -> Bytes {
    let Some(PartialSuccess { rejected, message: error_message }) = partial_success else {
        return Bytes::new();
    };
    let rejected = rejected as i64;
    let response = match signal {
        Signal::Metrics => {
            let partial_success =
                Some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message });
            ExportMetricsServiceResponse { partial_success }.encode_to_vec()
        }
        Signal::Logs => {
            let partial_success =
                Some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message });
            ExportLogsServiceResponse { partial_success }.encode_to_vec()
        }
        Signal::Traces => {
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans: rejected, error_message });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        }
    };
    response.into()
}

#[cfg(test)]
mod tests;
