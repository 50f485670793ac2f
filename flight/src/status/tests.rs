use std::sync::Arc;

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
fn what_a_client_cannot_mend_gets_a_fixed_text() {
    let io = || std::io::Error::other("/var/lib/alula/data/7 is gone");
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
    let limit = std::time::Duration::from_secs(30);
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
fn things_that_are_not_there_are_not_found() {
    check(Error::UnknownHandle, Code::NotFound, "run the statement again");
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
