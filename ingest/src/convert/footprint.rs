//! What a request takes in memory once it is decoded, told from its bytes before it is.
//!
//! An empty span is two bytes on the wire and hundreds in memory. A body that is within every limit on bytes could so take
//! gigabytes, and only the decoder would notice. So the nested messages of a request are counted first, without building
//! any of them.
//!
//! The count is of elements of lists, the only places where bytes become many.

use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, SummaryDataPoint,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use alula_catalog::Signal;

use crate::{Error, Result};

/// What any request may take.
const BASE_BYTES: usize = 16 << 20;
/// What it may take more for each of its bytes. A log record of a time and a word takes 10, a span with ids less.
const PER_BYTE: usize = 10;

/// As deep as the decoder goes.
const MAX_DEPTH: usize = 100;

/// The lists of a message, and the messages in it that have some.
struct Shape {
    fields: &'static [Nested],
}

/// A field that holds messages or strings.
struct Nested {
    number: u32,
    /// Of an element in the list's memory; 0 if it is no list and lies within its message.
    bytes: usize,
    shape: &'static Shape,
}

const fn shape(fields: &'static [Nested]) -> Shape {
    Shape { fields }
}

const fn list<T>(number: u32, shape: &'static Shape) -> Nested {
    Nested { number, bytes: size_of::<T>(), shape }
}

const fn single(number: u32, shape: &'static Shape) -> Nested {
    Nested { number, bytes: 0, shape }
}

static LEAF: Shape = shape(&[]);
static ANY_VALUE: Shape = shape(&[single(5, &ARRAY_VALUE), single(6, &KEY_VALUE_LIST)]);
static ARRAY_VALUE: Shape = shape(&[list::<AnyValue>(1, &ANY_VALUE)]);
static KEY_VALUE_LIST: Shape = shape(&[list::<KeyValue>(1, &KEY_VALUE)]);
static KEY_VALUE: Shape = shape(&[single(2, &ANY_VALUE)]);
static ENTITY_REF: Shape = shape(&[list::<String>(3, &LEAF), list::<String>(4, &LEAF)]);
static RESOURCE: Shape = shape(&[list::<KeyValue>(1, &KEY_VALUE), list::<EntityRef>(3, &ENTITY_REF)]);
static SCOPE: Shape = shape(&[list::<KeyValue>(3, &KEY_VALUE)]);

static LOGS: Shape = shape(&[list::<ResourceLogs>(1, &RESOURCE_LOGS)]);
static RESOURCE_LOGS: Shape = shape(&[single(1, &RESOURCE), list::<ScopeLogs>(2, &SCOPE_LOGS)]);
static SCOPE_LOGS: Shape = shape(&[single(1, &SCOPE), list::<LogRecord>(2, &LOG_RECORD)]);
static LOG_RECORD: Shape = shape(&[single(5, &ANY_VALUE), list::<KeyValue>(6, &KEY_VALUE)]);

static TRACES: Shape = shape(&[list::<ResourceSpans>(1, &RESOURCE_SPANS)]);
static RESOURCE_SPANS: Shape = shape(&[single(1, &RESOURCE), list::<ScopeSpans>(2, &SCOPE_SPANS)]);
static SCOPE_SPANS: Shape = shape(&[single(1, &SCOPE), list::<Span>(2, &SPAN)]);
static SPAN: Shape =
    shape(&[list::<KeyValue>(9, &KEY_VALUE), list::<Event>(11, &EVENT), list::<Link>(13, &LINK)]);
static EVENT: Shape = shape(&[list::<KeyValue>(3, &KEY_VALUE)]);
static LINK: Shape = shape(&[list::<KeyValue>(4, &KEY_VALUE)]);

static METRICS: Shape = shape(&[list::<ResourceMetrics>(1, &RESOURCE_METRICS)]);
static RESOURCE_METRICS: Shape = shape(&[single(1, &RESOURCE), list::<ScopeMetrics>(2, &SCOPE_METRICS)]);
static SCOPE_METRICS: Shape = shape(&[single(1, &SCOPE), list::<Metric>(2, &METRIC)]);
static METRIC: Shape = shape(&[
    single(5, &NUMBERS),
    single(7, &NUMBERS),
    single(9, &HISTOGRAMS),
    single(10, &EXPONENTIAL_HISTOGRAMS),
    single(11, &SUMMARIES),
    list::<KeyValue>(12, &KEY_VALUE),
]);
static NUMBERS: Shape = shape(&[list::<NumberDataPoint>(1, &NUMBER)]);
static HISTOGRAMS: Shape = shape(&[list::<HistogramDataPoint>(1, &HISTOGRAM)]);
static EXPONENTIAL_HISTOGRAMS: Shape =
    shape(&[list::<ExponentialHistogramDataPoint>(1, &EXPONENTIAL_HISTOGRAM)]);
static SUMMARIES: Shape = shape(&[list::<SummaryDataPoint>(1, &SUMMARY)]);
static NUMBER: Shape = shape(&[list::<Exemplar>(5, &EXEMPLAR), list::<KeyValue>(7, &KEY_VALUE)]);
static HISTOGRAM: Shape = shape(&[list::<Exemplar>(8, &EXEMPLAR), list::<KeyValue>(9, &KEY_VALUE)]);
static EXPONENTIAL_HISTOGRAM: Shape =
    shape(&[list::<KeyValue>(1, &KEY_VALUE), list::<Exemplar>(11, &EXEMPLAR)]);
static SUMMARY: Shape = shape(&[list::<ValueAtQuantile>(6, &LEAF), list::<KeyValue>(7, &KEY_VALUE)]);
static EXEMPLAR: Shape = shape(&[list::<KeyValue>(7, &KEY_VALUE)]);

/// Refuses a request that would take far more memory than its bytes.
///
/// # Errors
/// [`Error::TooDense`] — splitting the request, or leaving out what is empty, helps.
pub(super) fn check(signal: Signal, payload: &[u8]) -> Result<()> {
    let limit_bytes = BASE_BYTES + PER_BYTE * payload.len();
    // Of a message that breaks off, all before the break is counted: the decoder builds as much before it says so.
    if footprint(signal, payload, limit_bytes) > limit_bytes {
        return Err(Error::TooDense { limit_bytes });
    }
    Ok(())
}

/// Counts up to a little more than `enough`.
pub(crate) fn footprint(signal: Signal, payload: &[u8], enough: usize) -> usize {
    let shape = match signal {
        Signal::Metrics => &METRICS,
        Signal::Logs => &LOGS,
        Signal::Traces => &TRACES,
    };
    let mut counter = Counter { rest: payload, bytes: 0, enough };
    // What is wrong with the payload is for the decoder to say.
    let _ = counter.message(shape, 0, 0);
    counter.bytes
}

/// Goes through a request as the decoder does: what a message holds may go on behind its end, as far as the request does,
/// and only when it has been built is that an error.
struct Counter<'a> {
    rest: &'a [u8],
    bytes: usize,
    enough: usize,
}

impl Counter<'_> {
    /// Counts the message that ends where there are `behind` bytes left. Ends early where the decoder would, or when there
    /// is no more to know.
    fn message(&mut self, shape: &Shape, behind: usize, depth: usize) -> Result<(), Stop> {
        while self.rest.len() > behind {
            let (number, wire_type) = decode_key(&mut self.rest)?;
            let nested = shape.fields.iter().find(|nested| nested.number == number);
            let (Some(nested), WireType::LengthDelimited) = (nested, wire_type) else {
                skip_field(wire_type, number, &mut self.rest, DecodeContext::default())?;
                continue;
            };
            let length = usize::try_from(decode_varint(&mut self.rest)?).map_err(|_| Stop)?;
            let behind_nested = self.rest.len().checked_sub(length).ok_or(Stop)?;
            self.bytes += nested.bytes;
            if self.bytes > self.enough || depth == MAX_DEPTH {
                return Err(Stop);
            }
            let is_plain = std::ptr::eq(nested.shape, &raw const KEY_VALUE) && is_plain(&self.rest[..length]);
            if is_plain || nested.shape.fields.is_empty() {
                self.rest = &self.rest[length..];
            } else {
                self.message(nested.shape, behind_nested, depth + 1)?;
            }
        }
        if self.rest.len() == behind { Ok(()) } else { Err(Stop) }
    }
}

/// Whether an attribute is a short key and one single value, as most of what a request consists of is: then nothing in it
/// is a list, and it ends where it says.
fn is_plain(attribute: &[u8]) -> bool {
    // Field 1, the key; field 2, the value; in it field 1 a string, 2 a bool, 3 an integer, 4 a double, 7 bytes.
    let [0x0a, key_bytes @ 0..0x80, rest @ ..] = attribute else { return false };
    let Some([0x12, value_bytes @ 0..0x80, value @ ..]) = rest.get(usize::from(*key_bytes)..) else {
        return false;
    };
    value.len() == usize::from(*value_bytes)
        && match value {
            [0x0a | 0x3a, bytes @ 0..0x80, text @ ..] => text.len() == usize::from(*bytes),
            [0x10, 0..0x80] => true,
            [0x18, more @ .., 0..0x80] => more.iter().all(|byte| *byte >= 0x80),
            [0x21, double @ ..] => double.len() == size_of::<f64>(),
            _ => false,
        }
}

/// There is nothing more to count.
struct Stop;

impl From<DecodeError> for Stop {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests;
