use std::sync::Arc;
use std::time::Duration;

use super::*;

fn check(error: Error, code: Code, shown: &str) {
    let status = status(&error);
    assert_eq!(status.code(), code, "{error:?}");
    assert!(status.message().contains(shown), "{}", status.message());
    for internal in ["DataFusion", "ArrowError", "Plan(", "/var/", "::"] {
        assert!(!status.message().contains(internal), "{}", status.message());
    }
}

fn failed(error: DataFusionError) -> Error {
    Error::Query(error)
}

#[test]
fn mistakes_in_a_statement_are_invalid_arguments() {
    check(failed(DataFusionError::Plan("no function f".to_owned())), Code::InvalidArgument, "no function f");
    check(failed(DataFusionError::Execution("bad regex".to_owned())), Code::InvalidArgument, "bad regex");
    check(failed(ArrowError::DivideByZero.into()), Code::InvalidArgument, "division by zero");
    check(
        failed(ArrowError::CastError("not a number".to_owned()).into()),
        Code::InvalidArgument,
        "not a number",
    );
    check(Error::NoStatement, Code::InvalidArgument, "no statement");
}

#[test]
fn a_long_message_keeps_its_start_and_its_end() {
    let text = format!("cannot cast '{}' to Int64", "é".repeat(10_000));
    let status = status(&failed(DataFusionError::Execution(text)));
    let message = status.message();
    assert!(message.starts_with("cannot cast 'é") && message.ends_with("é' to Int64"), "{message}");
    assert!(message.len() <= MAX_MESSAGE_BYTES + 10);
}

#[test]
fn wrappers_around_an_error_do_not_change_what_is_said() {
    let plain = || DataFusionError::Plan("no function f".to_owned());
    let wrapped = [
        plain().context("while doing x"),
        DataFusionError::Shared(Arc::new(plain())),
        DataFusionError::External(Box::new(plain())),
        DataFusionError::Collection(vec![plain(), plain()]),
        DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(plain()))), None),
    ];
    for error in wrapped {
        check(failed(error), Code::InvalidArgument, "no function f");
    }
}

#[test]
fn why_a_statement_was_ended_is_told_from_within_a_plan_too() {
    let inside = |error: Error| failed(DataFusionError::External(Box::new(error)).context("in a join"));
    check(inside(Error::Cancelled), Code::Cancelled, "cancelled");
    let limit = Duration::from_secs(7);
    check(inside(Error::Timeout { limit }), Code::DeadlineExceeded, "query.statement_timeout (7s)");
    let full = io::Error::other("increase `datafusion.runtime.max_temp_directory_size`");
    check(Error::Spool(full), Code::ResourceExhausted, "query.spill_limit");
    check(Error::Spool(io::Error::other("/var/lib is gone")), Code::Internal, INTERNAL);
}

#[test]
fn what_a_client_cannot_mend_gets_a_fixed_text() {
    let io = || io::Error::other("/var/lib/alula/data/7 is gone");
    check(failed(DataFusionError::IoError(io())), Code::Internal, INTERNAL);
    check(failed(DataFusionError::Internal("bug in src/x.rs".to_owned())), Code::Internal, INTERNAL);
    check(failed(DataFusionError::External(Box::new(io()))), Code::Internal, INTERNAL);
    let damaged = alula_storage::Error::CorruptSegment {
        path: "/var/lib/alula/wal/1".into(),
        offset: 7,
        reason: "a wrong checksum",
    };
    check(failed(DataFusionError::External(Box::new(damaged))), Code::DataLoss, DAMAGED);
    check(
        failed(DataFusionError::External(Box::new(alula_storage::Error::Closed))),
        Code::Unavailable,
        "try again",
    );
    let unplanned = alula_storage::Error::Predicate { deletion: 7, source: "no such function".into() };
    check(Error::Storage(unplanned), Code::DataLoss, DAMAGED);
    let full = alula_storage::Error::TooManyDeletions { limit: 1000 };
    check(Error::Storage(full), Code::ResourceExhausted, "run VACUUM");
}

#[test]
fn limits_are_named_with_what_to_do() {
    let memory =
        "Additional allocation failed for HashJoinInput with top memory consumers:\n  HashJoinInput: 60 MB";
    let memory = failed(DataFusionError::ResourcesExhausted(memory.to_owned()));
    check(memory, Code::ResourceExhausted, "query.memory_limit");
    let spill = "increase the config `datafusion.runtime.max_temp_directory_size`";
    check(
        failed(DataFusionError::ResourcesExhausted(spill.to_owned())),
        Code::ResourceExhausted,
        "query.spill_limit",
    );
    let limit = Duration::from_secs(30);
    check(Error::Timeout { limit }, Code::DeadlineExceeded, "query.statement_timeout (30s)");
    check(Error::StatementTooLong { found: 9, limit: 8 }, Code::ResourceExhausted, "query.max_sql_bytes");
}

#[test]
fn a_remote_tier_that_does_not_answer_is_named_and_its_address_is_not() {
    let source = "GET https://key:secret@bucket.example.com".into();
    let down = alula_storage::Error::RemoteUnavailable { doing: "read a data file", source };
    let status = status(&failed(DataFusionError::External(Box::new(down))));
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("object store of the remote tier"), "{status}");
    assert!(!status.message().contains("bucket"), "{status}");
}

#[test]
fn a_full_disk_is_named() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let written = alula_storage::Error::Io { path: "/x".into(), doing: "cannot write", source: full() };
    let guarded = alula_storage::Error::DiskFull { free_bytes: 1, needed_bytes: 2 };
    for error in [written, guarded, alula_storage::Error::WalWrite(full())] {
        check(Error::Storage(error), Code::Unavailable, "the server's disk is full");
    }
    check(failed(DataFusionError::IoError(full())), Code::ResourceExhausted, "the server's disk is full");
}

#[test]
fn things_that_are_not_there_are_not_found() {
    check(Error::UnknownHandle, Code::NotFound, "run the statement again");
    check(Error::UnknownTransaction, Code::NotFound, "begin another");
    check(Error::LostWrites, Code::Aborted, "Roll back");
    let outdated = || alula_storage::Error::from(UserTableError::Outdated);
    check(Error::Storage(outdated()), Code::Aborted, "begin another");
    check(failed(DataFusionError::External(outdated().into())), Code::Aborted, "begin another");
    check(Error::CutOff, Code::Unavailable, "cut off");
    check(Error::UnknownSession, Code::FailedPrecondition, "connect again");
    let known = vec!["logs".to_owned(), "metrics".to_owned()];
    check(Error::UnknownTable { name: "log".to_owned(), known }, Code::NotFound, "logs, metrics");
}

#[test]
fn identity_errors_keep_their_two_codes_apart() {
    check(Error::Auth(alula_auth::Error::NoCredential), Code::Unauthenticated, "authorization");
    let denied = Error::NeedsAdmin { what: "DELETE", why: "it erases rows" };
    check(denied, Code::PermissionDenied, "DELETE needs the role admin: it erases rows");
}

#[test]
fn an_unknown_column_is_answered_with_the_nearest_ones() {
    let column = |name: &str| Column::new(Some("logs"), name);
    let error = SchemaError::FieldNotFound {
        field: Box::new(Column::new_unqualified("servce_name")),
        valid_fields: vec![column("timestamp"), column("service_name")],
    };
    let error = failed(DataFusionError::SchemaError(Box::new(error), Box::new(None)));
    check(error, Code::InvalidArgument, "there is no column servce_name; did you mean logs.service_name?");
}

#[test]
fn every_error_of_a_client_has_its_code() {
    use Code::{DeadlineExceeded, InvalidArgument, NotFound, ResourceExhausted, Unavailable, Unimplemented};
    let text = || "x".to_owned();
    for (error, code) in [
        (Error::MalformedMessage { reason: text() }, InvalidArgument),
        (Error::UnknownProfile { given: text() }, InvalidArgument),
        (Error::NoStatement, InvalidArgument),
        (Error::SeveralStatements { found: 2 }, InvalidArgument),
        (Error::Syntax { line: 1, column: 1, message: text(), hint: text() }, InvalidArgument),
        (Error::ReadOnly { statement: text() }, InvalidArgument),
        (Error::NotWritable { name: text() }, InvalidArgument),
        (Error::NotReplaceable { name: "x" }, Unimplemented),
        (Error::RefusedRows { reason: text() }, InvalidArgument),
        (Error::NoRoomForRows { reason: text() }, Unavailable),
        (Error::TooManyRowsAtOnce { reason: text() }, ResourceExhausted),
        (Error::TooManyKeptRows { limit: 1 }, ResourceExhausted),
        (Error::ForeignSchema { name: text() }, InvalidArgument),
        (Error::NeedsWrite { what: "INSERT" }, Code::PermissionDenied),
        (Error::SilentIngest { limit: Duration::from_secs(1) }, DeadlineExceeded),
        (Error::DeleteEverything { name: text() }, InvalidArgument),
        (Error::UnsupportedDelete, InvalidArgument),
        (Error::NotDeletable { name: text(), known: text() }, InvalidArgument),
        (Error::NotAnUpdate, InvalidArgument),
        (Error::MixedPlaceholders, InvalidArgument),
        (Error::InvalidPlaceholder { given: text(), limit: 1 }, InvalidArgument),
        (Error::UnboundParameter { name: text() }, InvalidArgument),
        (Error::ParameterCount { expected: 1, found: 2 }, InvalidArgument),
        (Error::MalformedParameters("x".into()), InvalidArgument),
        (Error::Unsupported { what: text() }, Unimplemented),
        (Error::UnknownHandle, NotFound),
        (Error::UnknownTable { name: text(), known: vec![] }, NotFound),
        (Error::StatementTooLong { found: 2, limit: 1 }, ResourceExhausted),
        (Error::TooManyTokens { limit: 1 }, ResourceExhausted),
        (Error::TooComplex { what: "x", limit: 1, advice: "x" }, ResourceExhausted),
        (Error::TooManyParameters { limit: 1 }, ResourceExhausted),
        (Error::ParametersTooLarge { limit: 1 }, ResourceExhausted),
        (Error::Timeout { limit: Duration::from_secs(1) }, DeadlineExceeded),
        (Error::ShuttingDown, Unavailable),
    ] {
        let words = error.to_string();
        check(error, code, &words);
    }
}

#[test]
fn what_the_engine_says_by_debug_texts_is_said_in_words() {
    let json = || "Row format support not yet implemented for: [SortField { data_type: Union([(0, Field";
    check(failed(DataFusionError::NotImplemented(json().to_owned())), Code::InvalidArgument, "write ->>");
    check(
        failed(ArrowError::NotYetImplemented(json().to_owned()).into()),
        Code::InvalidArgument,
        "write ->>",
    );
    let regex = "regex parse error:\n    (\n    ^\nerror: unclosed group";
    check(
        failed(DataFusionError::External(regex.into())),
        Code::InvalidArgument,
        "not valid: unclosed group",
    );
    let debug = format!("Regular expression did not compile: Syntax(\n~~~\n{regex}\n~~~\n)");
    let compute = ArrowError::ComputeError(debug).into();
    check(failed(compute), Code::InvalidArgument, "the regular expression is not valid: unclosed group");
    let large = "Compiled regex exceeds size limit of 10485760 bytes.";
    check(failed(DataFusionError::External(large.into())), Code::ResourceExhausted, "too large");
}

#[test]
fn arrow_data_that_cannot_be_read_is_told_without_panics_and_debug_texts() {
    let arrow = |error| Error::MalformedParameters(Box::new(FlightError::Arrow(error)));
    let invalid = ArrowError::InvalidArgumentError("offset 7 is past the end".to_owned());
    check(arrow(invalid), Code::InvalidArgument, "not a valid Arrow stream: offset 7 is past the end");
    let debug = ArrowError::IpcError("InvalidFlatbuffer::Plan(".to_owned());
    assert_eq!(status(&arrow(debug)).message(), "the bound parameters are not a valid Arrow stream");
    let panic = Error::MalformedParameters("task 7 panicked with message \"x\"".into());
    assert_eq!(status(&panic).message(), "the bound parameters are not a valid Arrow stream");
}
