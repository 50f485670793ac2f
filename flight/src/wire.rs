//! The `safe` wire profile: the Arrow types that every measured client reads correctly.
//!
//! JDBC shows the index of a dictionary instead of its value, ODBC lacks large and view types, Polars panics on unions
//! and intervals; so results are mapped before they leave. The schema that was promised is pinned: every batch is cast
//! to it, field by field, whatever the physical plan made of it.
//!
//! | in the engine | on the wire |
//! |---|---|
//! | dictionary, run-end encoded | the value type, also inside lists and structs |
//! | `Utf8View`, `LargeUtf8`, `Null`, intervals, unions | `Utf8` (a JSON union as JSON text) |
//! | `BinaryView`, `LargeBinary` | `Binary` |
//! | `LargeList` and list views | `List` |
//! | `Timestamp` with any zone | the same with zone `UTC` |
//! | `Float16`, `Date64`, `Time64(ns)` | `Float32`, `Date32`, `Time64(us)` |
//! | `Decimal32`, `Decimal64`, `Decimal256` | `Decimal128`, or `Utf8` if it does not fit |

mod profile;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, ListArray, MapArray, RecordBatch, RecordBatchOptions,
    StringBuilder, StructArray, UnionArray,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_functions_json::{JsonUnionEncoder, JsonUnionValue};

pub(crate) use profile::Profile;

/// The schema under which rows of `schema` are sent. Names, order and nullability stay.
pub(crate) fn wire_schema(schema: &Schema, profile: Profile) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| wire_field(field, profile));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The type under which values of `data_type` are sent: in every profile one that all clients read.
pub(crate) fn wire_type(data_type: &DataType, profile: Profile) -> DataType {
    use DataType as T;
    let wire_field = |field| wire_field(field, profile);
    match data_type {
        T::Dictionary(_, values) => wire_type(values, profile),
        T::RunEndEncoded(_, values) => wire_type(values.data_type(), profile),
        T::LargeBinary | T::BinaryView => T::Binary,
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) => {
            T::List(wire_field(item))
        }
        T::FixedSizeList(item, size) => T::FixedSizeList(wire_field(item), *size),
        T::Struct(fields) => T::Struct(fields.iter().map(wire_field).collect()),
        T::Map(entries, sorted) => T::Map(wire_field(entries), *sorted),
        T::Timestamp(unit, Some(_)) => T::Timestamp(*unit, Some("UTC".into())),
        T::Float16 => T::Float32,
        T::Date64 => T::Date32,
        T::Time64(TimeUnit::Nanosecond) => T::Time64(TimeUnit::Microsecond),
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) => T::Decimal128(*precision, *scale),
        T::Decimal256(precision, scale) if *precision <= DECIMAL128_MAX_PRECISION => {
            T::Decimal128(*precision, *scale)
        }
        T::LargeUtf8 | T::Utf8View | T::Null | T::Interval(_) | T::Union(..) | T::Decimal256(..) => T::Utf8,
        plain => plain.clone(),
    }
}

fn wire_field(field: &FieldRef, profile: Profile) -> FieldRef {
    let data_type = wire_type(field.data_type(), profile);
    // An all-null column is nullable whatever it says of itself.
    let nullable = field.is_nullable() || field.data_type() == &DataType::Null;
    Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(nullable))
}

/// Casts a batch to the wire schema that was promised for it.
///
/// # Errors
/// The batch does not have the columns the promise was made for.
pub(crate) fn to_wire(batch: &RecordBatch, promised: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.num_columns() != promised.fields().len() {
        return Err(ArrowError::SchemaError(format!(
            "{} columns were promised and {} came",
            promised.fields().len(),
            batch.num_columns()
        )));
    }
    let columns = batch
        .columns()
        .iter()
        .zip(promised.fields())
        .map(|(column, field)| to_wire_array(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(promised), columns, &options)
}

fn to_wire_array(array: &ArrayRef, wire: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    if array.data_type() == wire {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), wire) {
        (T::Union(..), T::Utf8) => union_to_text(array),
        (T::Dictionary(..), _) => {
            // Distinct values are converted once; there is no cast for a dictionary of unions.
            let dictionary = array.as_any_dictionary();
            let values = to_wire_array(dictionary.values(), wire)?;
            take(&values, dictionary.keys(), None)
        }
        (T::RunEndEncoded(_, values), _) if values.data_type() != wire => {
            to_wire_array(&strict_cast(array, values.data_type())?, wire)
        }
        (T::LargeList(item) | T::ListView(item) | T::LargeListView(item), T::List(_)) => {
            to_wire_array(&strict_cast(array, &T::List(Arc::clone(item)))?, wire)
        }
        (T::List(_), T::List(item)) => {
            let list: &ListArray = array.as_list();
            let values = to_wire_array(list.values(), item.data_type())?;
            let list =
                ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?;
            Ok(Arc::new(list))
        }
        (T::FixedSizeList(..), T::FixedSizeList(item, size)) => {
            let list: &FixedSizeListArray = array.as_fixed_size_list();
            let values = to_wire_array(list.values(), item.data_type())?;
            Ok(Arc::new(FixedSizeListArray::try_new(Arc::clone(item), *size, values, list.nulls().cloned())?))
        }
        (T::Struct(_), T::Struct(fields)) => {
            let given: &StructArray = array.as_struct();
            let columns = given
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| to_wire_array(column, field.data_type()))
                .collect::<Result<Vec<_>, _>>()?;
            let nulls = given.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, given.len())?))
        }
        (T::Map(..), T::Map(entries, sorted)) => {
            let map: &MapArray = array.as_map();
            let pairs: ArrayRef = Arc::new(map.entries().clone());
            let pairs = to_wire_array(&pairs, entries.data_type())?.as_struct().clone();
            let nulls = map.nulls().cloned();
            Ok(Arc::new(MapArray::try_new(
                Arc::clone(entries),
                map.offsets().clone(),
                pairs,
                nulls,
                *sorted,
            )?))
        }
        _ => strict_cast(array, wire),
    }
}

/// A cast that fails where a lenient one would put a null.
fn strict_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// The union that `attributes->'key'` makes becomes JSON text; other unions are shown as Arrow displays them.
fn union_to_text(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
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

/// A schema as an encapsulated IPC message, which is how handles and `GetTables` carry one.
pub(crate) fn schema_bytes(schema: &Schema) -> Result<bytes::Bytes, ArrowError> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let arrow_flight::IpcMessage(bytes) = arrow_flight::SchemaAsIpc::new(schema, &options).try_into()?;
    Ok(bytes)
}

/// A nullable field without metadata, in the type that every client reads.
pub(crate) fn plain_field(name: &str, data_type: &DataType) -> Field {
    Field::new(name, wire_type(data_type, Profile::Safe), true)
}

#[cfg(test)]
mod tests;
