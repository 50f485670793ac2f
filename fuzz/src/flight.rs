//! What clients of Flight SQL send: commands, and Arrow data.

use std::cell::Cell;
use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use futures::executor::block_on;

use crate::memory::measured;
use source::command::{self, Request};
use source::received;

/// Modules of `alula-flight`.
#[allow(dead_code, unused_imports, reason = "the crate uses more of them")]
#[path = "../../flight/src"]
mod source {
    pub(crate) mod command;
    pub(crate) mod received;
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What these modules say of what they refuse, as in `flight/src/error.rs`.
#[derive(Debug)]
#[allow(dead_code, reason = "the fields are read by the debug text")]
pub enum Error {
    MalformedMessage { reason: String },
    Unsupported { what: String },
    UnboundParameter { name: String },
    MalformedParameters(Box<dyn StdError + Send + Sync>),
    ParametersTooLarge { limit: usize },
    Encode(ArrowError),
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Self::Encode(error)
    }
}

/// Bytes as a command, a ticket, a path and the command of `DoPut`.
pub fn flight_command(input: &[u8]) {
    let (result, bytes) = measured(|| Request::decode(input));
    // What was decoded refers to the input or is a copy of it, with room for lists.
    assert!(bytes <= 64 * input.len() + 4_096, "{bytes} bytes for an input of {}", input.len());
    match result {
        Ok(Request::Statement { sql, .. }) => assert!(sql.len() <= input.len()),
        Ok(Request::Json(query)) => {
            let names = ["1", "2", "a"].map(str::to_owned);
            if let Ok(row) = query.row(&names) {
                assert_eq!((row.num_rows(), row.num_columns()), (1, names.len()));
            }
        }
        Ok(_) => {}
        Err(error) => check_short(&error),
    }
    if let Err(error) = command::decode(input) {
        check_short(&error);
    }
    let path = String::from_utf8_lossy(input).split('/').map(str::to_owned).collect::<Vec<_>>();
    let names = path.len();
    match Request::of_descriptor(&FlightDescriptor::new_path(path)) {
        Ok(Request::Statement { sql, .. }) => {
            assert!((1..=3).contains(&names));
            // Quotes stand in pairs, so the statement ends where the path does.
            assert_eq!(sql.matches('"').count() % 2, 0, "{sql}");
        }
        Ok(other) => panic!("a path became {other:?}"),
        Err(_) => assert!(names > 3),
    }
}

fn check_short(error: &Error) {
    assert!(format!("{error:?}").len() < 1_000, "{error:?}");
}

/// Arrow data in messages: of each a byte for the length of its header in eights, two for that of its body, header and body.
pub fn flight_put(input: &[u8]) {
    let messages = messages(input);
    let received = block_on(received::read_bounded(futures::stream::iter(messages.into_iter().map(Ok))));
    let Ok(received) = received else { return };
    let (batches, bytes) = measured(|| caught(|| block_on(received::decode(received))));
    // Buffers are copied to where they are aligned, and each field of a schema takes some room.
    assert!(bytes <= 256 * input.len() + (1 << 20), "{bytes} bytes for an input of {}", input.len());
    let Some(Ok(batches)) = batches else { return };
    for batch in batches {
        check_batch(&batch);
    }
}

/// Whatever came through the decoder is what Arrow says it is.
fn check_batch(batch: &RecordBatch) {
    for column in batch.columns() {
        assert_eq!(column.len(), batch.num_rows());
        column.to_data().validate_full().expect("the decoder validates");
    }
}

fn messages(mut input: &[u8]) -> Vec<FlightData> {
    let mut messages = Vec::new();
    while let [header, low, high, rest @ ..] = input {
        let (header, rest) = rest.split_at(rest.len().min(usize::from(*header) * 8));
        let body = usize::from(u16::from_le_bytes([*low, *high]));
        let (body, rest) = rest.split_at(rest.len().min(body));
        messages.push(FlightData {
            data_header: Bytes::copy_from_slice(header),
            data_body: Bytes::copy_from_slice(body),
            ..FlightData::default()
        });
        input = rest;
    }
    messages
}

/// The server takes a panic of Arrow's for the client's mistake; so it is no finding here.
fn caught<T>(step: impl FnOnce() -> T) -> Option<T> {
    thread_local! {
        static EXPECTED: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // libFuzzer's hook ends the process.
        let otherwise = take_hook();
        set_hook(Box::new(move |panic| {
            if !EXPECTED.get() {
                otherwise(panic);
            }
        }));
    });
    EXPECTED.set(true);
    let result = catch_unwind(AssertUnwindSafe(step)).ok();
    EXPECTED.set(false);
    result
}
