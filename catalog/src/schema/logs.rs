//! Columns of `logs`: a row is a log record.

use arrow_schema::{DataType, Field};

use super::columns::*;
use super::common::{leading_fields, repeated_text, text, timestamp};

pub(super) fn fields() -> Vec<Field> {
    let mut fields = leading_fields();
    fields.extend([
        Field::new(SEVERITY_NUMBER, DataType::Int32, false),
        repeated_text(SEVERITY_TEXT, false),
        text(BODY),
        repeated_text(BODY_TYPE, true),
        repeated_text(EVENT_NAME, false),
        text(TRACE_ID),
        text(SPAN_ID),
        timestamp(OBSERVED_TIMESTAMP, true),
    ]);
    fields
}
