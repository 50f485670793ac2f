//! Responses and statuses in JSON.

use bytes::Bytes;
use serde_json::Value;

use alula_catalog::Signal;

use crate::partial_success::PartialSuccess;

/// The response message of the signal's service.
pub(crate) fn response(signal: Signal, partial_success: Option<PartialSuccess>) -> Bytes {
    let Some(PartialSuccess { rejected, message }) = partial_success else {
        return Bytes::from_static(b"{}");
    };
    let mut members = Vec::new();
    if rejected > 0 {
        let name = match signal {
            Signal::Metrics => "rejectedDataPoints",
            Signal::Logs => "rejectedLogRecords",
            Signal::Traces => "rejectedSpans",
        };
        // A 64-bit integer, hence a string.
        members.push(format!("\"{name}\":\"{rejected}\""));
    }
    if !message.is_empty() {
        members.push(format!("\"errorMessage\":{}", Value::from(message)));
    }
    format!("{{\"partialSuccess\":{{{}}}}}", members.join(",")).into()
}

/// A `google.rpc.Status`. `bad_request` describes what the sender did wrong, if it did.
pub(crate) fn status(code: i32, message: &str, bad_request: Option<&BadRequest>) -> Bytes {
    let mut status = format!("{{\"code\":{code},\"message\":{}", Value::from(message));
    if let Some(BadRequest { field_violations }) = bad_request {
        let violations: Vec<_> = field_violations
            .iter()
            .map(|violation| format!("{{\"description\":{}}}", Value::from(violation.description.as_str())))
            .collect();
        let violations = violations.join(",");
        status += &format!(",\"details\":[{{\"@type\":\"{BAD_REQUEST_TYPE}\",\"fieldViolations\":[{violations}]}}]");
    }
    status.push('}');
    status.into()
}
