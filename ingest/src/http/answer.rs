//! Answers: a response message or a `Status`, in the content type of the request.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use prost::Message;
use prost_types::Any;
use tonic::Code;
use tonic_types::pb;

use alula_catalog::Signal;

use crate::body::ACCEPTED_ENCODINGS;
use crate::export::Format;
use crate::otlp_json;
use crate::partial_success::{PartialSuccess, encode_response};
use crate::status::Refusal;

pub(super) type Answer = Response<Full<Bytes>>;

pub(super) fn success(signal: Signal, format: Format, partial_success: Option<PartialSuccess>) -> Answer {
    let body = match format {
        Format::Protobuf => encode_response(signal, partial_success),
        Format::Json => otlp_json::response(signal, partial_success),
    };
    answer(StatusCode::OK, format, body)
}

pub(super) fn refusal(refusal: Refusal, format: Format) -> Answer {
    let status = refusal.http_status();
    let mut answer = problem(status, refusal.code, refusal.message, format);
    let header: Option<(HeaderName, HeaderValue)> = match status {
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Some((ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED_ENCODINGS)))
        }
        _ => refusal.retry_after.map(|after| (RETRY_AFTER, whole_seconds(after).into())),
    };
    answer.headers_mut().extend(header);
    answer
}

/// A request that never got as far as ingest.
pub(super) fn problem(status: StatusCode, code: Code, message: String, format: Format) -> Answer {
    let is_bad_request = status == StatusCode::BAD_REQUEST;
    let body = match format {
        Format::Protobuf => {
            let details = if is_bad_request { vec![bad_request(&message)] } else { Vec::new() };
            pb::Status { code: code as i32, message, details }.encode_to_vec().into()
        }
        Format::Json if is_bad_request => otlp_json::bad_request(code as i32, &message),
        Format::Json => otlp_json::status(code as i32, &message),
    };
    let mut answer = answer(status, format, body);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    answer
}

fn answer(status: StatusCode, format: Format, body: Bytes) -> Answer {
    let content_type = match format {
        Format::Protobuf => "application/x-protobuf",
        Format::Json => "application/json",
    };
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// What OTLP wants in the details of a status that says that the request is bad.
fn bad_request(message: &str) -> Any {
    let violation = pb::bad_request::FieldViolation { description: message.to_owned(), ..Default::default() };
    let value = pb::BadRequest { field_violations: vec![violation] }.encode_to_vec();
    Any { type_url: otlp_json::BAD_REQUEST_TYPE.to_owned(), value }
}

/// Up: who comes back early is refused again.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
}
