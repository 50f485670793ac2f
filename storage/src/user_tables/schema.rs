//! Which names, columns and types a table may have.
//!
//! A type is taken if a Parquet file with the Arrow schema in its footer gives it back exactly, as all of these do: booleans,
//! integers, floats of 16 to 64 bits, decimals of 128 and 256 bits, text, binary and fixed-size binary, dates, times,
//! timestamps, durations, dictionaries of text, binary or numbers, and lists, fixed-size lists, structs and maps of all these.

use std::collections::HashSet;
use std::io::Cursor;
use std::sync::Arc;

use alula_catalog::Signal;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, Fields, Schema, SchemaRef,
    TimeUnit,
};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::UserTableError;
use crate::Result;
use crate::parquet::value_bytes;

/// Columns that a table may have, the fields of nested ones counted.
pub const MAX_USER_TABLE_COLUMNS: usize = 1_024;
/// The longest name of a table.
pub const MAX_USER_TABLE_NAME_BYTES: usize = 128;
/// The longest name of a column or field.
pub const MAX_USER_COLUMN_NAME_BYTES: usize = 1 << 10;
/// Bytes that a row has whatever its values are: a reader makes room for them in each of its thousands of rows, also for nulls.
pub(super) const MAX_FIXED_ROW_BYTES: u64 = 64 << 10;
/// Lists in lists in structs, and so on.
const MAX_NESTING: usize = 16;

/// Names of the schema `public` and of others that are taken, besides those of the three signals.
const RESERVED: [&str; 11] = [
    "metric_exemplars",
    "span_events",
    "span_links",
    "data_loss",
    "deletions",
    "ingest_rejections",
    "queries",
    "information_schema",
    "system",
    "public",
    "alula",
];

/// Whether no user table may have this name, in whatever case.
pub fn is_reserved_table_name(name: &str) -> bool {
    let is = |reserved: &str| reserved.eq_ignore_ascii_case(name);
    Signal::ALL.into_iter().any(|signal| is(signal.table_name())) || RESERVED.into_iter().any(is)
}

/// # Errors
/// `InvalidName`, `ReservedName`.
pub(super) fn check_name(name: &str) -> Result<(), UserTableError> {
    if name.is_empty() || name.len() > MAX_USER_TABLE_NAME_BYTES || name.chars().any(char::is_control) {
        // A hostile name must not fill a log line.
        let given = name.chars().take(MAX_USER_TABLE_NAME_BYTES).collect();
        return Err(UserTableError::InvalidName { given, limit: MAX_USER_TABLE_NAME_BYTES });
    }
    if is_reserved_table_name(name) {
        return Err(UserTableError::ReservedName { table: name.to_owned() });
    }
    Ok(())
}

/// The schema of a new table: that of its rows, without metadata.
///
/// # Errors
/// `NoColumns`, `TooManyColumns`, `UnnamedColumn`, `LongColumnName`, `DuplicateColumn`, `ColumnType`, `TooWide`.
pub(super) fn checked_schema(schema: &Schema) -> Result<SchemaRef, UserTableError> {
    if schema.fields().is_empty() {
        return Err(UserTableError::NoColumns);
    }
    let mut num_columns = 0;
    for field in schema.fields() {
        check_type(field.data_type(), 0, &mut num_columns).map_err(|fault| match fault {
            Fault::Type => UserTableError::ColumnType {
                column: field.name().clone(),
                data_type: shown(field.data_type()),
            },
            Fault::Error(error) => error,
        })?;
    }
    check_names(schema.fields())?;
    let widths = schema.fields().iter().map(|field| value_bytes(field.data_type()));
    if widths.fold(0, u64::saturating_add) > MAX_FIXED_ROW_BYTES {
        return Err(UserTableError::TooWide { limit_bytes: MAX_FIXED_ROW_BYTES });
    }
    Ok(Arc::new(Schema::new(schema.fields().iter().map(plain_field).collect::<Fields>())))
}

/// A type in words, cut where it is long.
pub(super) fn shown(data_type: &DataType) -> String {
    data_type.to_string().chars().take(200).collect()
}

enum Fault {
    Type,
    Error(UserTableError),
}

fn check_names(fields: &Fields) -> Result<(), UserTableError> {
    let mut names = HashSet::new();
    for (index, field) in fields.iter().enumerate() {
        if field.name().is_empty() {
            return Err(UserTableError::UnnamedColumn { number: index + 1 });
        }
        if field.name().len() > MAX_USER_COLUMN_NAME_BYTES {
            let given = field.name().chars().take(80).collect();
            return Err(UserTableError::LongColumnName { given, limit: MAX_USER_COLUMN_NAME_BYTES });
        }
        if !names.insert(field.name()) {
            return Err(UserTableError::DuplicateColumn { column: field.name().chars().take(200).collect() });
        }
    }
    Ok(())
}

fn check_type(data_type: &DataType, depth: usize, num_columns: &mut usize) -> Result<(), Fault> {
    if depth > MAX_NESTING {
        return Err(Fault::Type);
    }
    let mut nested = |field: &FieldRef| check_type(field.data_type(), depth + 1, num_columns);
    match data_type {
        DataType::List(field) | DataType::LargeList(field) => nested(field),
        DataType::FixedSizeList(field, size) if *size > 0 => nested(field),
        // The entries of a map are a struct, which counts as a level.
        DataType::Map(entries, false) if is_entries(entries) => nested(entries),
        DataType::Struct(fields) if !fields.is_empty() => {
            check_names(fields).map_err(Fault::Error)?;
            fields.iter().try_for_each(nested)
        }
        other => {
            *num_columns += 1;
            if *num_columns > MAX_USER_TABLE_COLUMNS {
                return Err(Fault::Error(UserTableError::TooManyColumns { limit: MAX_USER_TABLE_COLUMNS }));
            }
            if is_kept(other) { Ok(()) } else { Err(Fault::Type) }
        }
    }
}

/// Whether a field is a key and a value.
fn is_entries(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Struct(fields) if fields.len() == 2)
}

fn is_kept(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(key, value) => {
            key.is_dictionary_key_type() && !matches!(**value, DataType::Dictionary(..)) && is_kept(value)
        }
        DataType::FixedSizeBinary(size) => *size > 0,
        DataType::Decimal128(precision, scale) => is_decimal(*precision, *scale, DECIMAL128_MAX_PRECISION),
        DataType::Decimal256(precision, scale) => is_decimal(*precision, *scale, DECIMAL256_MAX_PRECISION),
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(TimeUnit::Second | TimeUnit::Millisecond)
        | DataType::Time64(TimeUnit::Microsecond | TimeUnit::Nanosecond)
        | DataType::Timestamp(..)
        | DataType::Duration(_) => true,
        _ => false,
    }
}

/// Whether Parquet has such a decimal.
fn is_decimal(precision: u8, scale: i8, max_precision: u8) -> bool {
    (1..=max_precision).contains(&precision) && u8::try_from(scale).is_ok_and(|scale| scale <= precision)
}

/// Without metadata: what an extension type means is between its clients.
fn plain_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

/// As the catalog keeps it: an Arrow IPC stream without rows.
pub(crate) fn encode_schema(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    writer.into_inner()
}

pub(crate) fn decode_schema(bytes: &[u8]) -> Result<SchemaRef, ArrowError> {
    Ok(StreamReader::try_new(Cursor::new(bytes), None)?.schema())
}

#[cfg(test)]
mod tests;
