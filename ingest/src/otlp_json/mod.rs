//! OTLP/JSON, the transport encoding: the JSON text of an export request to the protobuf bytes of the same message, and
//! the answers in JSON. (The JSON text that attributes become in the tables is `convert/json.rs`.)
//!
//! | file | purpose |
//! |---|---|
//! | `schema.rs` | what the messages look like, from the descriptors of opentelemetry-proto |
//! | `transcode.rs` | walks the text and the schema together |
//! | `scalar.rs`, `number.rs` | single values: ids, base64, exact integers and doubles |
//! | `reader.rs` | JSON text, value by value |
//! | `writer.rs` | protobuf bytes, nested lengths included |
//! | `fault.rs` | [`JsonError`]: what is wrong with a text, and where |
//! | `answer.rs` | responses and statuses in JSON |
//!
//! ```text
//! text --reader--> name, value --schema--> field, type --writer--> bytes
//! ```
//!
//! No tree is built in between, and no message has code of its own: a field that a later version of the protocol adds
//! is taken by its descriptor. The reader is our own because integers and doubles must be exact: `serde_json`
//! gives a number as an `f64`, which may be off in its last bit, and not its digits.
//!
//! What is read is proto3's JSON mapping with OTLP's changes:
//!
//! | field | JSON |
//! |---|---|
//! | trace and span ids | hex of either case |
//! | other bytes | base64, standard or URL-safe, padded or not |
//! | integers | numbers or strings; `1.0` and `1e3` are integers; never rounded or wrapped |
//! | enums | numbers only; unknown ones are kept |
//! | doubles | numbers or strings, `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | any field | `null` leaves it unset |
//! | names | lowerCamelCase; all others are ignored with their value |
//!
//! An attribute's `intValue` that is a number beyond 64 bits is a double: the JavaScript exporter writes every whole double
//! there, and `1e300` is no reason to refuse its neighbours.
//!
//! Half of a surrogate pair becomes U+FFFD: JavaScript cuts strings there, and one such string is no reason to refuse
//! its neighbours. A byte order mark at the beginning is ignored.
//!
//! **Invariants**
//! - What is accepted decodes: the nesting bound of the text keeps the message within that of protobuf.
//! - Nothing is lost silently: a field that is given twice, or two fields of which only one may be set, is an error.
//! - The result is at most four times as long as the text, as `0,` in a list of doubles becomes eight bytes, and no
//!   longer than the limit on requests.
//! - Time and memory are linear in the length of the text.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>,
//! <https://protobuf.dev/programming-guides/json/>

mod answer;
mod fault;
mod number;
mod reader;
mod scalar;
mod schema;
mod transcode;
mod writer;

use alula_catalog::Signal;

use crate::{Error, Result, SizeLimit};

pub(crate) use answer::{BAD_REQUEST_TYPE, bad_request, response, status};
pub use fault::JsonError;

/// The protobuf bytes of the export request that `text` is in JSON.
///
/// # Errors
/// [`Error::MalformedJson`] — the text is not a request of this signal; sending it again is pointless.
/// [`Error::TooLarge`] — the bytes would be more than `limit` says. What senders make is shorter in protobuf.
pub(crate) fn to_protobuf(signal: Signal, text: &[u8], limit: SizeLimit) -> Result<Vec<u8>> {
    transcode::transcode(&schema::OTLP, schema::OTLP.request(signal), text, limit.bytes).map_err(|fault| {
        if fault.is_too_long() {
            return Error::TooLarge { limit };
        }
        Error::MalformedJson { message: schema::request_name(signal), source: fault.at(text) }
    })
}

#[cfg(test)]
mod tests;
