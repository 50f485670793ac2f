//! Columns of `traces`: a row is a span.

use arrow_schema::{DataType, Field, Fields};

use super::columns::*;
use super::common::{leading_fields, list_of_structs, optional, repeated_text, text, timestamp};

pub(super) fn fields() -> Vec<Field> {
    let mut fields = leading_fields();
    fields.extend([
        repeated_text(NAME, false),
        repeated_text(KIND, false),
        repeated_text(STATUS_CODE, true),
        repeated_text(STATUS_MESSAGE, true),
        optional(DURATION_NS, DataType::Int64),
        text(TRACE_ID),
        text(SPAN_ID),
        text(PARENT_SPAN_ID),
        timestamp(END_TIMESTAMP, true),
        repeated_text(TRACE_STATE, false),
        list_of_structs(EVENTS, event_fields()),
        list_of_structs(LINKS, link_fields()),
        optional(DROPPED_EVENTS_COUNT, DataType::UInt32),
        optional(DROPPED_LINKS_COUNT, DataType::UInt32),
    ]);
    fields
}

/// One event of a span.
pub fn event_fields() -> Fields {
    Fields::from(vec![
        timestamp(TIMESTAMP, true),
        Field::new(NAME, DataType::Utf8, false),
        Field::new(ATTRIBUTES, DataType::Utf8, false),
        Field::new(DROPPED_ATTRIBUTES_COUNT, DataType::UInt32, false),
    ])
}

/// One link of a span.
pub fn link_fields() -> Fields {
    Fields::from(vec![
        text(TRACE_ID),
        text(SPAN_ID),
        Field::new(TRACE_STATE, DataType::Utf8, false),
        Field::new(ATTRIBUTES, DataType::Utf8, false),
        Field::new(DROPPED_ATTRIBUTES_COUNT, DataType::UInt32, false),
        Field::new(FLAGS, DataType::UInt32, false),
    ])
}
