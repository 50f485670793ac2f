//! Errors to gRPC statuses: the only place of this crate that builds a [`Status`].
//!
//! | what went wrong | code |
//! |---|---|
//! | the statement, its values, or data it computes on (division by zero, casts) | `INVALID_ARGUMENT` |
//! | a table, ticket, handle or transaction that is not there | `NOT_FOUND` |
//! | a session that is not there; a ticket or handle that was good once | `FAILED_PRECONDITION` |
//! | writes of a transaction that are not there; another transaction that was first | `ABORTED` |
//! | a table that is there already | `ALREADY_EXISTS` |
//! | the credential, or what it may do | `UNAUTHENTICATED`, `PERMISSION_DENIED` |
//! | a command or function that is not built | `UNIMPLEMENTED` |
//! | memory, spill space, size limits | `RESOURCE_EXHAUSTED` |
//! | the statement timeout, the sender's own | `DEADLINE_EXCEEDED` |
//! | a statement that was cancelled | `CANCELLED` |
//! | shutting down; a call that is cut off; a full disk | `UNAVAILABLE` |
//! | stored bytes that cannot be read | `DATA_LOSS`, with the name of the data file, otherwise fixed text |
//! | anything else, which is a bug | `INTERNAL`, fixed text |
//!
//! The chain behind a fixed text goes to the log. A client never reads a path, a debug text or a name of DataFusion's.

use std::error::Error as StdError;
use std::io;

use alula_auth::ErrorKind as AuthKind;
use alula_catalog::error_chain;
use alula_storage::{ErrorKind as StorageKind, UserTableError};
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use datafusion::common::{Column, SchemaError, Span};
use datafusion::error::DataFusionError;
use tonic::{Code, Status};

use crate::Error;
use crate::parse::distance;
use crate::transport::QUERY_ID;

const INTERNAL: &str = "the query failed inside the server; its log says why";
const DISK_FULL: &str =
    "the server's disk is full: nothing was changed, and it goes on by itself once there is room";
const DAMAGED: &str = "stored data that the query needs cannot be read; the server's log says which";

/// The longest message, before the encoding that makes three of each byte that is not ASCII. A status travels as a header,
/// and grpc-java takes headers of 8 KiB in all; a client that is sent more loses the call or the connection instead.
const MAX_MESSAGE_BYTES: usize = 2_000;

/// What DataFusion calls the limit of spill space.
const SPILL_LIMIT: &str = "max_temp_directory_size";

/// How many column names an error lists.
const MAX_CANDIDATES: usize = 40;

/// What a client is told about `error`.
pub(crate) fn status(error: &Error) -> Status {
    let (code, message) = told(error);
    if matches!(code, Code::Internal | Code::DataLoss) {
        tracing::error!(error = error_chain(error), "a request failed");
    }
    Status::new(code, shortened(message))
}

/// The same, with the id of the query that it is about.
pub(crate) fn named(mut status: Status, query_id: &str) -> Status {
    if let Ok(id) = query_id.parse()
        && !query_id.is_empty()
    {
        status.metadata_mut().insert(QUERY_ID, id);
    }
    status
}

fn told(error: &Error) -> (Code, String) {
    match error {
        Error::Auth(error) => {
            (auth_code(error.kind()), shown_unless_internal(error, auth_code(error.kind())))
        }
        Error::NeedsAdmin { .. } | Error::NeedsWrite { .. } => (Code::PermissionDenied, error.to_string()),
        Error::MalformedMessage { .. }
        | Error::NoStatement
        | Error::SeveralStatements { .. }
        | Error::Syntax { .. }
        | Error::ReadOnly { .. }
        | Error::NotWritable { .. }
        | Error::ForeignSchema { .. }
        | Error::RefusedRows { .. }
        | Error::DeleteEverything { .. }
        | Error::UnsupportedDelete
        | Error::NotDeletable { .. }
        | Error::NotAnUpdate
        | Error::MixedPlaceholders
        | Error::InvalidPlaceholder { .. }
        | Error::UnboundParameter { .. }
        | Error::ParameterCount { .. }
        | Error::UnknownProfile { .. }
        | Error::InvalidHeader { .. }
        | Error::TransactionStatement { .. }
        | Error::UpdateInTransaction
        | Error::NotFollowable { .. }
        | Error::PolledUpdate
        | Error::ParameterType { .. } => (Code::InvalidArgument, error.to_string()),
        Error::MalformedParameters(source) | Error::MalformedRows(source) => {
            (Code::InvalidArgument, malformed(error, source.as_ref()))
        }
        Error::Unsupported { .. } | Error::NotReplaceable { .. } => (Code::Unimplemented, error.to_string()),
        Error::UnknownHandle | Error::UnknownTable { .. } | Error::UnknownTransaction => {
            (Code::NotFound, error.to_string())
        }
        Error::UnknownSession | Error::AlreadyRun | Error::OtherColumns => {
            (Code::FailedPrecondition, error.to_string())
        }
        Error::LostWrites => (Code::Aborted, error.to_string()),
        Error::StatementTooLong { .. }
        | Error::TooManyTokens { .. }
        | Error::TooComplex { .. }
        | Error::TooManyParameters { .. }
        | Error::ParametersTooLarge { .. }
        | Error::ParameterRows { .. }
        | Error::RowTooLarge { .. }
        | Error::TooMuchText
        | Error::TooManyTransactions { .. }
        | Error::TooManyKeptRows { .. }
        | Error::TooManyRowsAtOnce { .. }
        | Error::TooManyTails { .. }
        | Error::TooManyPolled { .. }
        | Error::PolledTooLarge { .. }
        | Error::PolledFull => (Code::ResourceExhausted, error.to_string()),
        Error::Timeout { .. } | Error::Deadline | Error::SilentIngest { .. } => {
            (Code::DeadlineExceeded, error.to_string())
        }
        Error::Cancelled => (Code::Cancelled, error.to_string()),
        Error::ShuttingDown | Error::CutOff | Error::NoRoomForRows { .. } => {
            (Code::Unavailable, error.to_string())
        }
        Error::Query(error) => query(error, None),
        Error::Storage(error) => external(error, None),
        Error::Encode(error) => arrow(error, None),
        Error::PollFailed(status) => (status.code(), error.to_string()),
        Error::StoredInPart { source, .. } => {
            let (code, message) = told(source);
            (code, format!("{error}: {message}"))
        }
        Error::Spool(error) => spooled(error),
        Error::Panicked(_) | Error::Engine(_) | Error::Threads(_) | Error::Backfill(_) => {
            (Code::Internal, INTERNAL.to_owned())
        }
    }
}

/// With what Arrow's validation says. Its reader's own errors are debug texts, and a panic is not for clients at all.
fn malformed(error: &Error, source: &(dyn StdError + 'static)) -> String {
    match source.downcast_ref() {
        Some(FlightError::Arrow(ArrowError::InvalidArgumentError(text) | ArrowError::SchemaError(text))) => {
            format!("{error}: {}", plain(text))
        }
        _ => error.to_string(),
    }
}

/// A message that fits into a header: start and end of it where the value or name it is about is long.
fn shortened(message: String) -> String {
    if message.len() <= MAX_MESSAGE_BYTES {
        return message;
    }
    let head = message.floor_char_boundary(MAX_MESSAGE_BYTES / 4 * 3);
    let tail = message.ceil_char_boundary(message.len() - MAX_MESSAGE_BYTES / 4);
    format!("{} [...] {}", &message[..head], &message[tail..])
}

fn auth_code(kind: AuthKind) -> Code {
    match kind {
        AuthKind::Unauthenticated => Code::Unauthenticated,
        AuthKind::PermissionDenied => Code::PermissionDenied,
        AuthKind::InvalidInput => Code::InvalidArgument,
        AuthKind::Internal => Code::Internal,
    }
}

fn shown_unless_internal(error: &dyn StdError, code: Code) -> String {
    if code == Code::Internal { INTERNAL.to_owned() } else { error.to_string() }
}

/// An error of planning or running, seen through its wrappers. `span` is the place in the statement, if known.
fn query(error: &DataFusionError, span: Option<Span>) -> (Code, String) {
    match error {
        DataFusionError::Context(_, inner) => query(inner, span),
        DataFusionError::Diagnostic(diagnostic, inner) => query(inner, diagnostic.span.or(span)),
        DataFusionError::Shared(inner) => query(inner, span),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => query(first, span),
            None => (Code::Internal, INTERNAL.to_owned()),
        },
        DataFusionError::ArrowError(inner, _) => arrow(inner, span),
        DataFusionError::External(inner) => external(inner.as_ref(), span),
        DataFusionError::SchemaError(inner, _) => (Code::InvalidArgument, placed(&schema_error(inner), span)),
        DataFusionError::SQL(inner, _) => (Code::InvalidArgument, placed(&inner.to_string(), span)),
        DataFusionError::Plan(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::Execution(text) => {
            known(text).unwrap_or_else(|| (Code::InvalidArgument, placed(&plain(text), span)))
        }
        DataFusionError::NotImplemented(text) => {
            known(text).unwrap_or_else(|| (Code::Unimplemented, placed(&unsupported(text), span)))
        }
        DataFusionError::ResourcesExhausted(text) => (Code::ResourceExhausted, exhausted(text)),
        DataFusionError::ParquetError(inner) => {
            of_storage(inner.as_ref()).unwrap_or((Code::DataLoss, DAMAGED.to_owned()))
        }
        DataFusionError::ObjectStore(inner) => {
            of_storage(inner.as_ref()).unwrap_or((Code::Internal, INTERNAL.to_owned()))
        }
        DataFusionError::Internal(text) => {
            known(text).unwrap_or_else(|| (Code::Internal, INTERNAL.to_owned()))
        }
        DataFusionError::IoError(inner) => spooled(inner),
        DataFusionError::ExecutionJoin(_) | DataFusionError::Substrait(_) | DataFusionError::Ffi(_) => {
            (Code::Internal, INTERNAL.to_owned())
        }
    }
}

fn arrow(error: &ArrowError, span: Option<Span>) -> (Code, String) {
    match error {
        ArrowError::ExternalError(inner) => external(inner.as_ref(), span),
        ArrowError::DivideByZero => (Code::InvalidArgument, "division by zero".to_owned()),
        ArrowError::CastError(text)
        | ArrowError::ParseError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::ArithmeticOverflow(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::JsonError(text) => {
            known(text).unwrap_or_else(|| (Code::InvalidArgument, placed(&plain(text), span)))
        }
        ArrowError::NotYetImplemented(text) => {
            known(text).unwrap_or_else(|| (Code::Unimplemented, format!("not supported: {}", plain(text))))
        }
        ArrowError::OffsetOverflowError(_) => told(&Error::TooMuchText),
        ArrowError::IoError(_, inner) => spooled(inner),
        ArrowError::MemoryError(_) => (Code::ResourceExhausted, exhausted("")),
        ArrowError::ParquetError(_) => (Code::DataLoss, DAMAGED.to_owned()),
        ArrowError::SchemaError(_)
        | ArrowError::CsvError(_)
        | ArrowError::AvroError(_)
        | ArrowError::IpcError(_)
        | ArrowError::CDataInterface(_)
        | ArrowError::DictionaryKeyOverflowError
        | ArrowError::RunEndIndexOverflowError => (Code::Internal, INTERNAL.to_owned()),
    }
}

fn external(error: &(dyn StdError + Send + Sync + 'static), span: Option<Span>) -> (Code, String) {
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return query(inner, span);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow(inner, span);
    }
    if let Some(inner) = error.downcast_ref::<Error>() {
        return told(inner);
    }
    let Some(inner) = error.downcast_ref::<alula_storage::Error>() else {
        return of_storage(error)
            .or_else(|| known(&error.to_string()))
            .unwrap_or_else(|| (Code::Internal, INTERNAL.to_owned()));
    };
    storage(inner)
}

/// For a reader's error: whether it is one of storage that does not answer for now, or of a damaged file.
fn of_storage(error: &(dyn StdError + 'static)) -> Option<(Code, String)> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(inner) = error.downcast_ref::<alula_storage::Error>() {
            let is_told = matches!(inner.kind(), StorageKind::Unavailable | StorageKind::Corrupted);
            return is_told.then(|| storage(inner));
        }
        cause = error.source();
    }
    None
}

fn storage(error: &alula_storage::Error) -> (Code, String) {
    if let alula_storage::Error::UserTable(error) = error {
        return (user_table(error), error.to_string());
    }
    if is_about_a_full_disk(error) {
        return (Code::Unavailable, DISK_FULL.to_owned());
    }
    match error.kind() {
        StorageKind::InvalidInput => (Code::InvalidArgument, error.to_string()),
        StorageKind::ResourceExhausted => (Code::ResourceExhausted, error.to_string()),
        // Which part of storage it is, and neither a name nor an address.
        StorageKind::Unavailable
            if matches!(
                error,
                alula_storage::Error::RemoteUnavailable { .. } | alula_storage::Error::RemoteNotConfigured
            ) =>
        {
            (Code::Unavailable, error.to_string())
        }
        StorageKind::Unavailable => {
            (Code::Unavailable, "the stored data is not available now; try again".to_owned())
        }
        // Its name is made of the tenant's own number, a time and an id.
        StorageKind::Corrupted
            if matches!(
                error,
                alula_storage::Error::CorruptFile { .. }
                    | alula_storage::Error::MissingFile { .. }
                    | alula_storage::Error::MissingObject { .. }
            ) =>
        {
            (Code::DataLoss, error.to_string())
        }
        StorageKind::Corrupted => (Code::DataLoss, DAMAGED.to_owned()),
        StorageKind::Internal => (Code::Internal, INTERNAL.to_owned()),
    }
}

fn is_about_a_full_disk(error: &alula_storage::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        let is_full = matches!(error.downcast_ref(), Some(alula_storage::Error::DiskFull { .. }))
            || error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::StorageFull);
        if is_full {
            return true;
        }
        cause = error.source();
    }
    false
}

fn user_table(error: &UserTableError) -> Code {
    match error {
        UserTableError::TableExists { .. } => Code::AlreadyExists,
        UserTableError::NoTable { .. } => Code::NotFound,
        UserTableError::Conflict { .. } | UserTableError::Outdated => Code::Aborted,
        UserTableError::TooManyTables { .. }
        | UserTableError::TooManyBytes { .. }
        | UserTableError::TooManyWriters { .. }
        | UserTableError::RowTooLarge { .. }
        | UserTableError::BatchTooLarge { .. } => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    }
}

fn schema_error(error: &SchemaError) -> String {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        return plain(&error.to_string());
    };
    let wanted = field.name();
    let mut candidates: Vec<&Column> = valid_fields.iter().collect();
    candidates.sort_by_key(|column| distance(&wanted.to_lowercase(), &column.name().to_lowercase()));
    let mut message = format!("there is no column {}", field.quoted_flat_name());
    let Some(nearest) = candidates.first() else {
        return message;
    };
    if distance(&wanted.to_lowercase(), &nearest.name().to_lowercase()) <= 2 {
        message.push_str("; did you mean ");
        message.push_str(&nearest.quoted_flat_name());
        message.push('?');
    }
    let names: Vec<_> =
        candidates.iter().take(MAX_CANDIDATES).map(|column| column.quoted_flat_name()).collect();
    let more = if candidates.len() > MAX_CANDIDATES { ", ..." } else { "" };
    format!("{message} (the columns are: {}{more})", names.join(", "))
}

/// An error of a file that a query writes: those of the tables fail with storage's own. Of the bound the writer says by text
/// alone that it is reached.
fn spooled(error: &io::Error) -> (Code, String) {
    let text = error.to_string();
    if text.contains(SPILL_LIMIT) {
        (Code::ResourceExhausted, exhausted(&text))
    } else if error.kind() == io::ErrorKind::StorageFull {
        let full =
            "the server's disk is full, and the query needs more memory than it may have: ask for less of it";
        (Code::ResourceExhausted, full.to_owned())
    } else {
        (Code::Internal, INTERNAL.to_owned())
    }
}

/// DataFusion names its own settings; a client knows ours.
fn exhausted(text: &str) -> String {
    if text.contains(SPILL_LIMIT) {
        return "the query needs more spill space than query.spill_limit allows: \
                narrow it (a shorter time range, fewer columns or groups) or raise the limit"
            .to_owned();
    }
    let advice = "the query needs more memory than query.memory_limit allows: \
                  narrow it (a shorter time range, fewer columns or groups) or raise the limit";
    match plain(text).as_str() {
        "" => advice.to_owned(),
        consumers => format!("{advice}\n{consumers}"),
    }
}

/// What the planner cannot do it names by the debug text of an expression.
fn unsupported(text: &str) -> String {
    match text.split_once("does not support logical expression ") {
        Some((_, expression)) => {
            let name = expression.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            format!("not supported: {name} cannot be used in this place")
        }
        None => format!("not supported: {}", plain(text)),
    }
}

/// What the engine says by debug texts, or takes for its own fault, though a client can mend it.
fn known(text: &str) -> Option<(Code, String)> {
    if text.contains("Union([") || text.contains("Union(Sparse") {
        let message = "JSON of any type, as -> gives it, cannot be grouped by, made distinct, sorted or compared like this: \
                       write ->> for its text, or json_get_int, json_get_float or json_get_bool";
        return Some((Code::InvalidArgument, message.to_owned()));
    }
    if text.contains("offset overflow") {
        return Some(told(&Error::TooMuchText));
    }
    if text.contains("regex parse error") || text.contains("Regular expression did not compile") {
        let reason = text.lines().find_map(|line| line.strip_prefix("error: "));
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        return Some((Code::InvalidArgument, format!("the regular expression is not valid{reason}")));
    }
    if text.contains("Compiled regex exceeds size limit") {
        let message = "the regular expression is too large: use smaller counts of repetition".to_owned();
        return Some((Code::ResourceExhausted, message));
    }
    None
}

/// Without a backtrace and without DataFusion's own introductions.
fn plain(text: &str) -> String {
    let text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    let mut text = text.trim();
    while let Some(rest) = ["Error during planning: ", "Execution error: ", "Optimizer rule failed: "]
        .iter()
        .find_map(|introduction| text.strip_prefix(introduction))
    {
        text = rest;
    }
    text.replace("DataFusion", "the query engine")
}

fn placed(message: &str, span: Option<Span>) -> String {
    match span {
        Some(Span { start, .. }) if start.line > 0 => {
            format!("{message}, at line {}, column {}", start.line, start.column)
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
