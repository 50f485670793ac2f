//! Requests and what becomes of them.

use std::collections::HashSet;
use std::sync::Once;

use alula_catalog::schema;
use alula_ingest::fuzzing::{Taken, footprint, json_to_protobuf, replay, take};
use alula_ingest::{Error, MAX_PAYLOAD_BYTES, Result};
use arrow::array::RecordBatch;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde::de::IgnoredAny;

use crate::draw::Draw;
use crate::memory::measured;
use crate::request::Request;

/// How much later than the time of receipt a record may be.
const ANY_FUTURE: i64 = i64::MAX;
const ONE_HOUR: i64 = 3_600_000_000_000;

/// The most memory that a text takes, its message included: the length of each message, which may be `{},`, is a note of
/// 8 bytes.
const JSON_BASE_BYTES: usize = 16 * 1024;
const JSON_BYTES_PER_BYTE: usize = 32;

/// The most memory that a conversion takes, its batch included: an empty span is two bytes on the wire and, while the list
/// that it is in grows, 500 as a struct.
const BASE_BYTES: usize = 64 * 1024;
const BYTES_PER_BYTE: usize = 512;

/// The most memory that a decoded message takes beside the elements of its lists: texts and numbers, and what is in small
/// attributes.
const DECODED_BASE_BYTES: usize = 4 * 1024;
const DECODED_BYTES_PER_BYTE: usize = 48;
/// A list of one has room for four.
const LIST_GROWTH: usize = 4;

/// The table of messages is made with the first text, and is no memory of that one's.
static SCHEMA_IS_MADE: Once = Once::new();

/// A message behind a letter: `m`, `l` or `t` for its signal, a capital for one that may not lie in the future.
pub fn protobuf(input: &[u8]) {
    let Some((letter, payload)) = input.split_first() else { return };
    let max_future_ns = if letter.is_ascii_uppercase() { ONE_HOUR } else { ANY_FUTURE };
    match letter.to_ascii_lowercase() {
        b'm' => drop(check_request::<ExportMetricsServiceRequest>(payload, max_future_ns)),
        b'l' => drop(check_request::<ExportLogsServiceRequest>(payload, max_future_ns)),
        b't' => drop(check_request::<ExportTraceServiceRequest>(payload, max_future_ns)),
        _ => {}
    }
}

/// A text, taken as each of the three requests.
pub fn json(input: &[u8]) {
    check_json::<ExportMetricsServiceRequest>(input);
    check_json::<ExportLogsServiceRequest>(input);
    check_json::<ExportTraceServiceRequest>(input);
}

/// A letter for the signal, and bytes from which a request and its JSON are drawn.
pub fn round_trip(input: &[u8]) {
    match input.split_first() {
        Some((b'm', drawn)) => check_drawn::<ExportMetricsServiceRequest>(drawn),
        Some((b'l', drawn)) => check_drawn::<ExportLogsServiceRequest>(drawn),
        Some((b't', drawn)) => check_drawn::<ExportTraceServiceRequest>(drawn),
        _ => {}
    }
}

fn check_drawn<R: Request>(drawn: &[u8]) {
    let request = R::drawn(&mut Draw(drawn));
    let payload = request.encode_to_vec();
    check_request::<R>(&payload, ANY_FUTURE).unwrap();

    // Its choices are the same bytes from behind, so that they stay where they are when something is drawn once more.
    let choices: Vec<u8> = drawn.iter().rev().copied().collect();
    let text = request.in_json(&choices);
    let transcoded = R::decode(transcoded::<R>(text.as_bytes()).unwrap().as_slice()).unwrap();
    // Bytes compare a NaN as equal to itself.
    assert!(transcoded.encode_to_vec() == payload, "{text}\n{transcoded:#?}\nis not\n{request:#?}");
}

fn check_json<R: Request>(text: &[u8]) {
    if let Ok(payload) = transcoded::<R>(text) {
        let value = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        serde_json::from_slice::<IgnoredAny>(value).expect("what is accepted is JSON");
        check_request::<R>(&payload, ANY_FUTURE).expect("what is accepted is a message");
        let within = |limit_bytes| json_to_protobuf(R::SIGNAL, text, limit_bytes);
        assert_eq!(within(payload.len()).unwrap(), payload);
        if let Some(less) = payload.len().checked_sub(1) {
            assert!(matches!(within(less), Err(Error::TooLarge { .. })), "{} bytes", payload.len());
        }
    }
}

/// The message of a text, if it is one.
fn transcoded<R: Request>(text: &[u8]) -> Result<Vec<u8>> {
    SCHEMA_IS_MADE.call_once(|| drop(json_to_protobuf(R::SIGNAL, b"{}", MAX_PAYLOAD_BYTES)));
    let (transcoded, most_bytes) = measured(|| json_to_protobuf(R::SIGNAL, text, MAX_PAYLOAD_BYTES));
    assert!(
        most_bytes <= JSON_BASE_BYTES + JSON_BYTES_PER_BYTE * text.len(),
        "{most_bytes} bytes of memory for {}",
        text.len()
    );
    match &transcoded {
        Ok(payload) => assert!(payload.len() <= 4 * text.len(), "{} bytes of {}", payload.len(), text.len()),
        Err(error @ Error::MalformedJson { source, .. }) => {
            let (error, source) = (error.to_string(), source.to_string());
            assert!(error.len() + source.len() < 1200, "{error}: {source}");
        }
        Err(other) => panic!("{other:?}"),
    }
    transcoded
}

/// The rows of a payload, if it is a message.
fn check_request<R: Request>(payload: &[u8], max_future_ns: i64) -> Result<RecordBatch> {
    let (taken, most_bytes) = measured(|| take(R::SIGNAL, payload, max_future_ns));
    assert!(
        most_bytes <= BASE_BYTES + BYTES_PER_BYTE * payload.len(),
        "{most_bytes} bytes of memory for {}",
        payload.len()
    );
    let (decoded, most_bytes) = measured(|| R::decode(payload));
    let counted_bytes = footprint(R::SIGNAL, payload);
    assert!(
        most_bytes
            <= DECODED_BASE_BYTES + DECODED_BYTES_PER_BYTE * payload.len() + LIST_GROWTH * counted_bytes,
        "{most_bytes} bytes of memory for {}, counted as {counted_bytes}",
        payload.len()
    );
    let (original, taken) = match (decoded, taken) {
        (Ok(original), Ok(taken)) => (original, taken),
        (Err(_), Err(error @ Error::Malformed { .. })) => return Err(error),
        (decoded, taken) => panic!("{taken:#?}\nof\n{decoded:#?}"),
    };
    let Taken { batch, rejected, groups, answer } = taken;
    assert_eq!(batch.schema(), schema::entry_schema(R::SIGNAL));
    assert!(batch.num_rows() <= 10_000 + payload.len() / 16);

    // Each record is a row or rejected, and the sender hears of as many as go on record.
    let records = R::decode(payload).unwrap().split(&HashSet::new()).resources();
    assert_eq!(batch.num_rows() + rejected.len(), records);
    assert!(
        rejected.is_sorted_by(|a, b| a < b) && rejected.iter().all(|&ordinal| (ordinal as usize) < records)
    );
    assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), rejected.len() as u64);
    assert!(groups.iter().all(|group| group.sample.len() <= 2048 && !group.reason.is_empty()));
    match R::reported(&answer) {
        None => assert!(rejected.is_empty()),
        Some((reported, message)) => {
            assert!(reported == rejected.len() as i64 && !rejected.is_empty(), "{reported}: {message}");
            assert!(!message.is_empty() && message.len() < 1200, "{message}");
        }
    }

    let replayed = replay(R::SIGNAL, payload, &rejected).unwrap();
    assert_eq!(replayed, batch, "of {original:#?}");

    let kept = original.split(&rejected.into_iter().collect());
    let restored = R::restored(&batch);
    if restored.encode_to_vec() != kept.encode_to_vec() {
        assert!(has_no_text(&kept), "{restored:#?}\nis not\n{kept:#?}");
    }
    Ok(batch)
}

/// Whether a request has a value that the text of attributes does not hold: what refers to the string table of a
/// profile, and the bits of a NaN.
fn has_no_text(request: &impl std::fmt::Debug) -> bool {
    let shown = format!("{request:?}");
    shown.contains("StringValueStrindex(")
        || shown.contains("NaN")
        || shown.matches("key_strindex: ").count() > shown.matches("key_strindex: 0 ").count()
}
