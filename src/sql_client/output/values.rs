//! How a value reads as text.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use arrow::json::EncoderOptions;
use arrow::json::writer::make_encoder;
use arrow::util::display::{ArrayFormatter, FormatOptions};

const UTC_TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.9fZ";
const ZONED_TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.9f%:z";
pub(super) const LOCAL_TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.9f";

/// The pattern that makes RFC 3339 of every zoned timestamp in these fields. `Z` is only right if all are UTC.
pub(super) fn zoned_timestamp_pattern(fields: &Fields) -> &'static str {
    if fields.iter().all(|field| zones_are_utc(field.data_type())) { UTC_TIMESTAMP } else { ZONED_TIMESTAMP }
}

fn zones_are_utc(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, Some(zone)) => matches!(zone.as_ref(), "UTC" | "Z" | "+00:00" | "+00"),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => zones_are_utc(field.data_type()),
        DataType::RunEndEncoded(_, values) => zones_are_utc(values.data_type()),
        DataType::Dictionary(_, values) => zones_are_utc(values),
        DataType::Struct(fields) => fields.iter().all(|field| zones_are_utc(field.data_type())),
        DataType::Union(fields, _) => fields.iter().all(|(_, field)| zones_are_utc(field.data_type())),
        _ => true,
    }
}

pub(super) fn json_options(fields: &Fields) -> EncoderOptions {
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_timestamp_format(LOCAL_TIMESTAMP.to_owned())
        .with_timestamp_tz_format(zoned_timestamp_pattern(fields).to_owned())
}

/// Every value of a column as text; nulls stay null.
pub(super) fn text_column(field: &FieldRef, array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let fields = Fields::from(vec![Arc::clone(field)]);
    if array.data_type().is_nested() && !matches!(array.data_type(), DataType::Union(..)) {
        return json_column(field, array, &fields);
    }
    let options = FormatOptions::default()
        .with_timestamp_format(Some(LOCAL_TIMESTAMP))
        .with_timestamp_tz_format(Some(zoned_timestamp_pattern(&fields)));
    let formatter = ArrayFormatter::try_new(array, &options)?;
    // Asked of the logical nulls: a dictionary may hold its null among the values.
    let nulls = array.logical_nulls();
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 16);
    for row in 0..array.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            texts.append_null();
        } else {
            formatter.value(row).write(&mut texts)?;
            texts.append_value("");
        }
    }
    Ok(texts.finish())
}

fn json_column(field: &FieldRef, array: &ArrayRef, fields: &Fields) -> Result<StringArray, ArrowError> {
    let options = json_options(fields);
    let mut encoder = make_encoder(field, array, &options)?;
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 32);
    let mut json = Vec::new();
    for row in 0..array.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        json.clear();
        encoder.encode(row, &mut json);
        texts.append_value(String::from_utf8_lossy(&json));
    }
    Ok(texts.finish())
}

/// Text that stays on its line and cannot steer the terminal: control characters become escapes.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            control if control.is_control() => {
                write!(escaped, "\\u{{{:x}}}", u32::from(control)).expect("a String takes any text");
            }
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// A value in a table for people. A null is told apart from an empty text.
pub(super) fn cell(texts: &StringArray, row: usize) -> Cow<'_, str> {
    if texts.is_null(row) { Cow::Borrowed("NULL") } else { printable(texts.value(row)) }
}

pub(super) fn is_number(field: &Field) -> bool {
    field.data_type().is_numeric()
}
