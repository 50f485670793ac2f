//! What drivers show of a column: its type, its size, and what it holds.

use std::collections::HashMap;

use alula_catalog::Signal;
use alula_catalog::schema::{column_comment, system_column_comment};
use alula_storage::table::{CATALOG_NAME, SCHEMA_NAME, SYSTEM_SCHEMA_NAME};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;

use crate::wire::{Profile, wire_schema};
use crate::{information_schema, views};

/// The schema of a table as it is sent, with the column metadata that drivers show.
pub(crate) fn describe(
    schema: &Schema,
    profile: Profile,
    schema_name: &str,
    table_name: &str,
    is_read_only: bool,
) -> Schema {
    let wire = wire_schema(schema, profile);
    let fields = wire.fields().iter().map(|field| {
        let mut about = origin(CATALOG_NAME, schema_name, table_name);
        about.extend([
            key("TYPE_NAME", type_name(field.data_type())),
            key("IS_AUTO_INCREMENT", "0"),
            key("IS_CASE_SENSITIVE", if type_name(field.data_type()) == "VARCHAR" { "1" } else { "0" }),
            key("IS_READ_ONLY", if is_read_only { "1" } else { "0" }),
            key("IS_SEARCHABLE", "1"),
        ]);
        if let Some((precision, scale)) = precision_and_scale(field.data_type()) {
            about.extend([key("PRECISION", &precision.to_string()), key("SCALE", &scale.to_string())]);
        }
        if let Some(comment) = comment(schema_name, table_name, field.name()) {
            about.extend([key("REMARKS", comment)]);
        }
        with_more(field, about)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// The metadata that says which table a column is one of.
pub(crate) fn origin(catalog: &str, schema: &str, table: &str) -> HashMap<String, String> {
    HashMap::from([key("CATALOG_NAME", catalog), key("SCHEMA_NAME", schema), key("TABLE_NAME", table)])
}

/// A field with metadata beside what it has: the name of an extension type stays.
pub(crate) fn with_more(field: &Field, more: HashMap<String, String>) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.extend(more);
    field.clone().with_metadata(metadata)
}

/// What a column holds, where the server knows: not in a table that a tenant made.
fn comment(schema_name: &str, table_name: &str, column: &str) -> Option<&'static str> {
    match schema_name {
        SCHEMA_NAME => match Signal::ALL.into_iter().find(|signal| signal.table_name() == table_name) {
            Some(signal) => column_comment(signal, column),
            None => views::comment(table_name, column),
        },
        SYSTEM_SCHEMA_NAME => system_column_comment(table_name, column),
        INFORMATION_SCHEMA => information_schema::comment(table_name, column),
        _ => None,
    }
}

fn key(name: &str, value: &str) -> (String, String) {
    (format!("ARROW:FLIGHT:SQL:{name}"), value.to_owned())
}

/// The name of a wire type in `GetXdbcTypeInfo`.
pub(crate) fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Null => "NULL",
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INTEGER UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float16 | DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => "DECIMAL",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "VARBINARY"
        }
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Duration(_) => "DURATION",
        DataType::Interval(_) => "INTERVAL",
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::FixedSizeList(..) => "ARRAY",
        DataType::Struct(_) => "STRUCT",
        DataType::Map(..) => "MAP",
        DataType::Union(..) => "UNION",
        DataType::Dictionary(_, values) => type_name(values),
        DataType::RunEndEncoded(_, values) => type_name(values.data_type()),
    }
}

fn precision_and_scale(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 | DataType::Timestamp(TimeUnit::Second, _) => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Float32 => (7, 0),
        DataType::Float64 => (15, 0),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (*precision, *scale),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (29, 9),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (26, 6),
        DataType::Timestamp(TimeUnit::Millisecond, _) => (23, 3),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
