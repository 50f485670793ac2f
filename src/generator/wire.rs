//! Where the times, ids and values are in an encoded OTLP request.

use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

/// What eight bytes of a request stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nanoseconds since the epoch, as a `fixed64`.
    Time,
    /// The first half of a trace id, or a span id.
    Id,
    /// The value of a gauge, as a `double`.
    Gauge,
    /// The value of a counter, as a `sfixed64`.
    Counter,
}

/// The fields of a message that matter, by number.
#[derive(Debug)]
pub(super) struct Layout(&'static [(u32, Field)]);

#[derive(Debug)]
enum Field {
    Message(Layout),
    Value(Meaning),
}

const TIME: Field = Field::Value(Meaning::Time);
const ID: Field = Field::Value(Meaning::Id);

const fn nested(fields: &'static [(u32, Field)]) -> Field {
    Field::Message(Layout(fields))
}

const SPAN: &[(u32, Field)] = &[
    (1, ID),
    (2, ID),
    (4, ID),
    (7, TIME),
    (8, TIME),
    (11, nested(&[(1, TIME)])),
    (13, nested(&[(1, ID), (2, ID)])),
];
const LOG_RECORD: &[(u32, Field)] = &[(1, TIME), (9, ID), (10, ID), (11, TIME)];
const EXEMPLAR: &[(u32, Field)] = &[(2, TIME), (4, ID), (5, ID)];
const GAUGE: &[(u32, Field)] = &[(1, nested(&[(3, TIME), (4, Field::Value(Meaning::Gauge))]))];
const SUM: &[(u32, Field)] = &[(1, nested(&[(3, TIME), (6, Field::Value(Meaning::Counter))]))];
const HISTOGRAM: &[(u32, Field)] = &[(1, nested(&[(3, TIME), (8, nested(EXEMPLAR))]))];
const OTHER: &[(u32, Field)] = &[(1, nested(&[(3, TIME)]))];
const METRIC: &[(u32, Field)] =
    &[(5, nested(GAUGE)), (7, nested(SUM)), (9, nested(HISTOGRAM)), (10, nested(OTHER)), (11, nested(OTHER))];

/// `ExportTraceServiceRequest`
pub(super) const TRACES: Layout = Layout(&[(1, nested(&[(2, nested(&[(2, nested(SPAN))]))]))]);
/// `ExportLogsServiceRequest`
pub(super) const LOGS: Layout = Layout(&[(1, nested(&[(2, nested(&[(2, nested(LOG_RECORD))]))]))]);
/// `ExportMetricsServiceRequest`
pub(super) const METRICS: Layout = Layout(&[(1, nested(&[(2, nested(&[(2, nested(METRIC))]))]))]);

/// Finds everything the layout names, as byte offsets in ascending order.
pub(super) fn find(layout: &Layout, message: &[u8]) -> Result<Vec<(usize, Meaning)>, prost::DecodeError> {
    let mut found = Vec::new();
    walk(layout, message, 0, &mut found)?;
    Ok(found)
}

/// `message` starts at byte `base` of the whole request.
fn walk(
    layout: &Layout,
    message: &[u8],
    base: usize,
    found: &mut Vec<(usize, Meaning)>,
) -> Result<(), prost::DecodeError> {
    let mut rest = message;
    while rest.has_remaining() {
        let (number, wire_type) = decode_key(&mut rest)?;
        let length = match wire_type {
            WireType::Varint => {
                decode_varint(&mut rest)?;
                0
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => decode_varint(&mut rest)? as usize,
            // Groups do not occur in proto3.
            WireType::StartGroup | WireType::EndGroup => 0,
        };
        let offset = base + message.len() - rest.len();
        let value = &rest[..length.min(rest.len())];
        match layout.0.iter().find(|(field, _)| *field == number) {
            Some((_, Field::Message(inner))) => walk(inner, value, offset, found)?,
            Some((_, Field::Value(meaning))) if value.len() >= 8 => found.push((offset, *meaning)),
            _ => {}
        }
        rest.advance(value.len());
    }
    Ok(())
}
