//! Responses and statuses in JSON.

use bytes::Bytes;
use serde_json::Value;

use alula_catalog::Signal;

use crate::partial_success::PartialSuccess;

/// What a message in a `google.protobuf.Any` is known by.
pub(crate) const BAD_REQUEST_TYPE: &str = "type.googleapis.com/google.rpc.BadRequest";

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

/// A `google.rpc.Status`.
pub(crate) fn status(code: i32, message: &str) -> Bytes {
    format!("{{\"code\":{code},\"message\":{}}}", Value::from(message)).into()
}

/// The same with a `google.rpc.BadRequest` in its details, which says that the message is about the request.
pub(crate) fn bad_request(code: i32, message: &str) -> Bytes {
    let message = Value::from(message);
    format!(
        "{{\"code\":{code},\"message\":{message},\"details\":[{{\"@type\":\"{BAD_REQUEST_TYPE}\",\
         \"fieldViolations\":[{{\"description\":{message}}}]}}]}}"
    )
    .into()
}
