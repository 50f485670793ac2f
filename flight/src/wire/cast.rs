//! A batch under the schema that was promised for it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, FixedSizeListArray, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringBuilder, StructArray,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Int32Type, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use super::json::{json_type, nested_to_text, union_to_text};

/// About as much text as one part of [`to_wire_parts`] is made of.
const MAX_PART_BYTES: usize = 32 << 20;

/// Casts a batch to the wire schema that was promised for it, a part at a time: a dictionary of a few long values can
/// stand for more text than there is memory.
///
/// # Errors
/// The batch does not have the columns the promise was made for, or a value has no equal in the type of the wire.
pub(crate) fn to_wire_parts(
    batch: &RecordBatch,
    promised: &SchemaRef,
) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + use<> {
    let mut parts = Vec::with_capacity(1);
    split(batch, promised, &mut parts);
    let promised = Arc::clone(promised);
    parts.into_iter().map(move |part| to_wire(&part, &promised))
}

fn split(batch: &RecordBatch, promised: &SchemaRef, parts: &mut Vec<RecordBatch>) {
    let columns = batch.columns().iter().zip(promised.fields());
    let bytes = columns
        .map(|(column, field)| expanded_bytes(column, field.data_type()))
        .fold(0_usize, usize::saturating_add);
    let rows = batch.num_rows();
    if bytes <= MAX_PART_BYTES || rows < 2 {
        parts.push(batch.clone());
        return;
    }
    split(&batch.slice(0, rows / 2), promised, parts);
    split(&batch.slice(rows / 2, rows - rows / 2), promised, parts);
}

/// Bytes of text in a column that is about to lose its dictionary or its views; 0 where nothing grows.
fn expanded_bytes(column: &ArrayRef, wire: &DataType) -> usize {
    match (column.data_type(), wire) {
        (DataType::Dictionary(..), DataType::Dictionary(..)) => 0,
        (DataType::Dictionary(..), _) => dictionary_bytes(column),
        (DataType::Utf8View, DataType::Utf8) => column.as_string_view().total_bytes_len(),
        (DataType::BinaryView, DataType::Binary) => column.as_binary_view().total_bytes_len(),
        _ => 0,
    }
}

/// Bytes of text that a dictionary stands for.
fn dictionary_bytes(column: &ArrayRef) -> usize {
    let dictionary = column.as_any_dictionary();
    let values = dictionary.values();
    let Some(length) = value_length(values) else { return 0 };
    if values.is_empty() {
        return 0;
    }
    dictionary.normalized_keys().into_iter().map(length).fold(0, usize::saturating_add)
}

/// How long a value of texts or bytes is.
pub(crate) fn value_length(values: &ArrayRef) -> Option<Box<dyn Fn(usize) -> usize + '_>> {
    use DataType as T;
    Some(match values.data_type() {
        T::Utf8 => Box::new(|index| values.as_string::<i32>().value_length(index) as usize),
        T::LargeUtf8 => Box::new(|index| values.as_string::<i64>().value_length(index) as usize),
        T::Binary => Box::new(|index| values.as_binary::<i32>().value_length(index) as usize),
        T::LargeBinary => Box::new(|index| values.as_binary::<i64>().value_length(index) as usize),
        T::Utf8View => Box::new(|index| values.as_string_view().value(index).len()),
        T::BinaryView => Box::new(|index| values.as_binary_view().value(index).len()),
        _ => return None,
    })
}

/// Casts a batch to the wire schema that was promised for it.
///
/// # Errors
/// See [`to_wire_parts`].
pub(super) fn to_wire(batch: &RecordBatch, promised: &SchemaRef) -> Result<RecordBatch, ArrowError> {
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

/// Conversions are found by the two types alone: no two profiles make the same type of another in different ways.
fn to_wire_array(array: &ArrayRef, wire: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    if array.data_type() == wire {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), wire) {
        (T::Union(..), T::Utf8) => union_to_text(array),
        (T::Dictionary(..), T::Dictionary(_, values)) => {
            let dictionary = array.as_any_dictionary();
            let values = to_wire_array(dictionary.values(), values)?;
            let keys = cast_with_options(dictionary.keys(), &T::Int32, &STRICT)?;
            Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys.as_primitive().clone(), values)?))
        }
        (T::Dictionary(..), _) => {
            // Distinct values are converted once; there is no cast for a dictionary of unions.
            let dictionary = array.as_any_dictionary();
            let values = to_wire_array(dictionary.values(), wire)?;
            take(&values, dictionary.keys(), None)
        }
        // Planned as a dictionary and run without.
        (plain, T::Dictionary(_, values)) if plain != values.as_ref() => {
            to_wire_array(&to_wire_array(array, values)?, wire)
        }
        (T::RunEndEncoded(_, values), _) if values.data_type() != wire => {
            to_wire_array(&strict_cast(array, values.data_type())?, wire)
        }
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Utf8) => bytes_to_text(array),
        // The cast in one step does not see what is beyond the nanoseconds of 64 bits.
        (T::Date64, T::Timestamp(TimeUnit::Nanosecond, _)) => {
            strict_cast(&strict_cast(array, &T::Timestamp(TimeUnit::Millisecond, None))?, wire)
        }
        (T::Duration(_), T::Int64) => {
            strict_cast(&strict_cast(array, &T::Duration(TimeUnit::Nanosecond))?, wire)
        }
        (nested, T::Utf8) if nested.is_nested() && !matches!(nested, T::RunEndEncoded(..)) => {
            nested_to_text(&to_wire_array(array, &json_type(nested))?)
        }
        _ if wire.is_nested() => to_wire_nested(array, wire),
        _ => strict_cast(array, wire),
    }
}

fn to_wire_nested(array: &ArrayRef, wire: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    match (array.data_type(), wire) {
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
            let nulls = list.nulls().cloned();
            let (item, len) = (Arc::clone(item), list.len());
            Ok(Arc::new(FixedSizeListArray::try_new_with_length(item, *size, values, nulls, len)?))
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
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?))
        }
        _ => strict_cast(array, wire),
    }
}

/// A cast that fails where a lenient one would put a null.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

fn strict_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &STRICT)
}

/// Bytes in hexadecimal, as trace ids are written.
fn bytes_to_text(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = strict_cast(array, &DataType::Binary)?;
    let bytes = bytes.as_binary::<i32>();
    let mut text = StringBuilder::with_capacity(bytes.len(), bytes.value_data().len() * 2);
    let mut row = String::new();
    for value in bytes {
        let Some(value) = value else {
            text.append_null();
            continue;
        };
        row.clear();
        for byte in value {
            row.push(char::from(DIGITS[usize::from(byte >> 4)]));
            row.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text.append_value(&row);
    }
    Ok(Arc::new(text.finish()))
}
