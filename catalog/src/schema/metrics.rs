//! Columns of `metrics`: a row is a data point of any of the five types.

use arrow_schema::{DataType, Field, Fields};

use super::columns::*;
use super::common::{leading_fields, list, list_of_structs, optional, repeated_text, text, timestamp};

pub(super) fn fields() -> Vec<Field> {
    let mut fields = leading_fields();
    fields.extend([
        repeated_text(NAME, false),
        repeated_text(TYPE, false),
        optional(VALUE, DataType::Float64),
        optional(VALUE_INT, DataType::Int64),
        repeated_text(UNIT, false),
        repeated_text(DESCRIPTION, false),
        timestamp(START_TIMESTAMP, true),
        repeated_text(TEMPORALITY, true),
        optional(IS_MONOTONIC, DataType::Boolean),
        optional(COUNT, DataType::UInt64),
        optional(SUM, DataType::Float64),
        optional(MIN, DataType::Float64),
        optional(MAX, DataType::Float64),
        list(BUCKET_COUNTS, DataType::UInt64),
        list(EXPLICIT_BOUNDS, DataType::Float64),
        optional(SCALE, DataType::Int32),
        optional(ZERO_COUNT, DataType::UInt64),
        optional(ZERO_THRESHOLD, DataType::Float64),
        optional(POSITIVE_OFFSET, DataType::Int32),
        list(POSITIVE_BUCKET_COUNTS, DataType::UInt64),
        optional(NEGATIVE_OFFSET, DataType::Int32),
        list(NEGATIVE_BUCKET_COUNTS, DataType::UInt64),
        list_of_structs(QUANTILES, quantile_fields()),
        list_of_structs(EXEMPLARS, exemplar_fields()),
        Field::new(SERIES_ID, DataType::UInt64, false),
        repeated_text(METADATA, true),
    ]);
    fields
}

/// One quantile of a summary.
pub fn quantile_fields() -> Fields {
    Fields::from(vec![
        Field::new(QUANTILE, DataType::Float64, false),
        Field::new(VALUE, DataType::Float64, false),
    ])
}

/// One exemplar of a data point. Its attributes are JSON text, not a dictionary: exemplars seldom share them.
pub fn exemplar_fields() -> Fields {
    Fields::from(vec![
        timestamp(TIMESTAMP, true),
        optional(VALUE, DataType::Float64),
        optional(VALUE_INT, DataType::Int64),
        text(TRACE_ID),
        text(SPAN_ID),
        Field::new(ATTRIBUTES, DataType::Utf8, false),
    ])
}
