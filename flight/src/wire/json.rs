//! Values as JSON text: nested ones for clients that have no nested types, and unions for all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder, UnionArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_functions_json::{JsonUnionEncoder, JsonUnionValue};

use super::Profile;

/// Lists, structs and maps of types that `inner_type` leaves, as JSON. A null inside stays as `null`.
pub(super) fn nested_to_text(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let field: FieldRef = Arc::new(Field::new("value", array.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, array.as_ref(), &options)?;
    let mut text = StringBuilder::with_capacity(array.len(), array.len() * 16);
    let mut row = Vec::new();
    for index in 0..array.len() {
        if encoder.is_null(index) {
            text.append_null();
            continue;
        }
        row.clear();
        encoder.encode(index, &mut row);
        let json = std::str::from_utf8(&row).map_err(|error| ArrowError::JsonError(error.to_string()))?;
        text.append_value(json);
    }
    Ok(Arc::new(text.finish()))
}

/// The type from which [`nested_to_text`] makes text: as `safe` has it, and with the keys of maps as text.
pub(super) fn json_type(nested: &DataType) -> DataType {
    text_keys(&super::inner_type(nested, Profile::Safe))
}

fn text_keys(data_type: &DataType) -> DataType {
    use DataType as T;
    let inside = |field: &FieldRef| -> FieldRef {
        Arc::new(field.as_ref().clone().with_data_type(text_keys(field.data_type())))
    };
    match data_type {
        T::List(item) => T::List(inside(item)),
        T::FixedSizeList(item, size) => T::FixedSizeList(inside(item), *size),
        T::Struct(fields) => T::Struct(fields.iter().map(inside).collect()),
        T::Map(entries, sorted) => {
            let T::Struct(pair) = entries.data_type() else { return data_type.clone() };
            let pair = pair.iter().enumerate().map(|(position, field)| match position {
                0 => Arc::new(field.as_ref().clone().with_data_type(T::Utf8)),
                _ => inside(field),
            });
            let entries = entries.as_ref().clone().with_data_type(T::Struct(pair.collect()));
            T::Map(Arc::new(entries), *sorted)
        }
        plain => plain.clone(),
    }
}

/// The union that `attributes->'key'` makes becomes JSON text; other unions are shown as Arrow displays them.
pub(super) fn union_to_text(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let union: &UnionArray = array.as_union();
    let mut text = StringBuilder::with_capacity(array.len(), array.len() * 16);
    if let Some(json) = JsonUnionEncoder::from_union(union.clone()) {
        for row in 0..json.len() {
            append_json(&mut text, &json.get_value(row));
        }
    } else {
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
        for row in 0..array.len() {
            let value = union.value(row);
            text.append_option(value.is_valid(0).then(|| formatter.value(row).to_string()));
        }
    }
    Ok(Arc::new(text.finish()))
}

fn append_json(text: &mut StringBuilder, value: &JsonUnionValue<'_>) {
    match value {
        JsonUnionValue::JsonNull => text.append_null(),
        JsonUnionValue::Bool(value) => text.append_value(value.to_string()),
        JsonUnionValue::Int(value) => text.append_value(value.to_string()),
        JsonUnionValue::Float(value) => text.append_value(serde_json::Value::from(*value).to_string()),
        JsonUnionValue::Str(value) => text.append_value(serde_json::Value::from(*value).to_string()),
        JsonUnionValue::Array(json) | JsonUnionValue::Object(json) => text.append_value(json),
    }
}
