//! The table of the module, row by row.

use alula_catalog::Signal;
use tonic_types::StatusExt;

use super::*;
use crate::SizeLimit;

fn malformed() -> Error {
    let source = <() as Message>::decode(&[0xff_u8][..]).unwrap_err();
    Error::Malformed { message: "ExportLogsServiceRequest", source }
}

fn malformed_json() -> Error {
    let limit = SizeLimit { bytes: 100, setting: "ingest.max_http_message_bytes" };
    crate::otlp_json::to_protobuf(Signal::Logs, b"{\"resourceLogs\":7}", limit).unwrap_err()
}

fn check(error: &Error, code: Code, http: u16, message_part: &str, retry_s: Option<u64>) {
    let refusal = Refusal::of(error);
    assert_eq!(refusal.http_status().as_u16(), http, "{error}");
    let status = refusal.into_status();
    assert_eq!(status.code(), code, "{error}");
    assert!(status.message().contains(message_part), "{}", status.message());
    let in_details = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let in_metadata = status.metadata().get_bin(RETRY_INFO_METADATA).map(|value| {
        let info = pb::RetryInfo::decode(value.to_bytes().unwrap()).unwrap();
        Duration::try_from(info.retry_delay.unwrap()).unwrap()
    });
    let expected = retry_s.map(Duration::from_secs);
    assert_eq!((in_details, in_metadata), (expected, expected), "{error}");
}

#[test]
fn each_error_has_the_code_of_what_the_sender_should_do() {
    use alula_storage::Error as Storage;
    let framing = Error::BrokenFraming { found: "3 bytes are missing".to_owned() };
    let source = std::io::Error::other("corrupt deflate stream");
    let undecodable = Error::Undecodable { encoding: "gzip", source };
    let limit = SizeLimit { bytes: 7, setting: "ingest.max_http_message_bytes" };
    let quota = Error::QuotaExceeded { bytes_per_second: 9, retry_after: Duration::from_secs(4) };
    let slow = Error::TooSlow { limit: Duration::from_secs(30) };
    for (error, code, http, message, retry_s) in [
        (malformed(), Code::InvalidArgument, 400, "not a valid ExportLogsServiceRequest", None),
        (malformed(), Code::InvalidArgument, 400, "invalid varint", None),
        (malformed_json(), Code::InvalidArgument, 400, "resourceLogs: expected a list, found 7", None),
        (framing, Code::InvalidArgument, 400, "3 bytes are missing", None),
        (undecodable, Code::InvalidArgument, 400, "not valid gzip", None),
        (Error::TooLarge { limit }, Code::ResourceExhausted, 413, "ingest.max_http_message_bytes", None),
        (Error::TooDense { limit_bytes: 7 }, Code::ResourceExhausted, 413, "fewer records", None),
        (Error::UnknownMethod { path: "/x/Y".to_owned() }, Code::Unimplemented, 415, "/x/Y", None),
        (Error::UnknownEncoding { name: "br".to_owned() }, Code::Unimplemented, 415, "`br`", None),
        (slow, Code::DeadlineExceeded, 503, "within 30s", Some(RETRY_DELAY.as_secs())),
        (Error::BodyLost("reset".into()), Code::Cancelled, 400, "reset", None),
        (quota, Code::ResourceExhausted, 429, "ingest.tenant_bytes_per_second", Some(4)),
        (
            Error::Overloaded { limit_bytes: 7 },
            Code::Unavailable,
            503,
            "ingest.max_in_flight_bytes",
            Some(RETRY_DELAY.as_secs()),
        ),
        (Error::Auth(alula_auth::Error::NoCredential), Code::Unauthenticated, 401, "authorization", None),
    ] {
        check(&error, code, http, message, retry_s);
    }
    let retry_s = Some(RETRY_DELAY.as_secs());
    for (storage, code, http, message, retry_s) in [
        (Storage::TooLarge { bytes: 9, limit_bytes: 7 }, Code::ResourceExhausted, 413, "9 bytes", None),
        (
            Storage::Overloaded { what: "the buffer", limit: 7, unit: "bytes" },
            Code::Unavailable,
            503,
            "the buffer",
            retry_s,
        ),
        (Storage::ReadOnly { reason: "fsync" }, Code::Unavailable, 503, "fsync", retry_s),
        (Storage::Closed, Code::Unavailable, 503, "closed", retry_s),
        (Storage::WalWrite(std::io::Error::other("no space")), Code::Unavailable, 503, "no space", retry_s),
        (Storage::WrongSchema, Code::Internal, 500, "its log says why", None),
        (Storage::ThreadEnded("writer"), Code::Internal, 500, "its log says why", None),
    ] {
        check(&Error::Storage(storage), code, http, message, retry_s);
    }
    let source = arrow::error::ArrowError::SchemaError("secret".to_owned());
    let broken = Error::SchemaBroken { signal: Signal::Logs, source };
    check(&broken, Code::Internal, 500, "the server could not store the request", None);
    assert!(!Refusal::of(&broken).message.contains("secret"));
}

/// A server that cannot check credentials must not make exporters drop their data.
#[test]
fn what_the_auth_layer_answers_is_told_in_the_same_codes() {
    for (status, http, is_retried) in [
        (Status::unauthenticated("no"), 401, false),
        (Status::permission_denied("no"), 403, false),
        (Status::unavailable("later"), 503, true),
    ] {
        let refusal = Refusal::of_auth(&status);
        assert_eq!((refusal.http_status().as_u16(), refusal.retry_after.is_some()), (http, is_retried));
        assert_eq!(refusal.message, status.message());
    }
}
