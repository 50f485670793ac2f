//! The table of the module, row by row.

use tonic_types::StatusExt;

use super::*;

fn malformed() -> Error {
    let source = <() as Message>::decode(&[0xff_u8][..]).unwrap_err();
    Error::Malformed { message: "ExportLogsServiceRequest", source }
}

fn check(error: &Error, code: Code, message_part: &str, is_retried: bool) {
    let status = status(error);
    assert_eq!(status.code(), code, "{error}");
    assert!(status.message().contains(message_part), "{}", status.message());
    let in_details = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let in_metadata = status.metadata().get_bin(RETRY_INFO_METADATA).map(|value| {
        let info = pb::RetryInfo::decode(value.to_bytes().unwrap()).unwrap();
        Duration::try_from(info.retry_delay.unwrap()).unwrap()
    });
    let expected = is_retried.then_some(RETRY_DELAY);
    assert_eq!((in_details, in_metadata), (expected, expected), "{error}");
}

#[test]
fn each_error_has_the_code_of_what_the_sender_should_do() {
    use alula_storage::Error as Storage;
    let framing = Error::BrokenFraming { found: "Unexpected EOF".to_owned() };
    check(&malformed(), Code::InvalidArgument, "not a valid ExportLogsServiceRequest", false);
    check(&malformed(), Code::InvalidArgument, "invalid varint", false);
    check(&framing, Code::InvalidArgument, "Unexpected EOF", false);
    check(&Error::TooLarge { limit_bytes: 7 }, Code::ResourceExhausted, "ingest.max_message_bytes", false);
    check(&Error::UnknownMethod { path: "/x/Y".to_owned() }, Code::Unimplemented, "/x/Y", false);
    check(&Error::Overloaded { limit_bytes: 7 }, Code::Unavailable, "ingest.max_in_flight_bytes", true);
    check(&Error::Auth(alula_auth::Error::NoCredential), Code::Unauthenticated, "authorization", false);
    for (storage, code, message, is_retried) in [
        (Storage::TooLarge { bytes: 9, limit_bytes: 7 }, Code::ResourceExhausted, "9 bytes", false),
        (
            Storage::Overloaded { what: "the buffer", limit: 7, unit: "bytes" },
            Code::Unavailable,
            "the buffer",
            true,
        ),
        (Storage::ReadOnly { reason: "fsync".to_owned() }, Code::Unavailable, "fsync", true),
        (Storage::Closed, Code::Unavailable, "closed", true),
        (Storage::WalWrite(std::io::Error::other("no space")), Code::Unavailable, "no space", true),
        (Storage::WrongSchema, Code::Internal, "its log says why", false),
        (Storage::ThreadEnded("writer"), Code::Internal, "its log says why", false),
    ] {
        check(&Error::Storage(storage), code, message, is_retried);
    }
    let source = arrow::error::ArrowError::SchemaError("secret".to_owned());
    let broken = Error::SchemaBroken { signal: alula_catalog::Signal::Logs, source };
    check(&broken, Code::Internal, "the server could not store the request", false);
    assert!(!status(&broken).message().contains("secret"));
}

#[test]
fn an_answer_of_the_transport_is_replaced_where_it_would_mislead_the_sender() {
    let of = |answer: Status| of_unread_request(&answer, 7).map(|status| status.code());
    assert_eq!(of(Status::out_of_range("too large")), Some(Code::ResourceExhausted));
    assert_eq!(of(Status::resource_exhausted("decompressing")), Some(Code::ResourceExhausted));
    assert_eq!(of(Status::internal("Unexpected EOF")), Some(Code::InvalidArgument));
    assert_eq!(of(Status::unimplemented("Content is compressed with `br`")), None);
    assert_eq!(of(Status::cancelled("")), None);
}
