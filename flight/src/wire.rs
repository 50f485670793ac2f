//! Wire types: what becomes of a value's type before it leaves, profile by profile.
//!
//! JDBC shows the index of a dictionary instead of its value, ODBC lacks large and view types, Polars panics on unions
//! and intervals; so results are mapped before they leave. The schema that was promised is pinned: every batch is cast
//! to it, field by field, whatever the physical plan made of it.
//!
//! | file | purpose |
//! |---|---|
//! | `profile.rs` | the groups of clients |
//! | `cast.rs` | a batch under the schema that was promised for it |
//! | `json.rs` | nested values and unions as JSON text |
//!
//! | in the engine | `safe` | `native` | `jdbc` | `bi` |
//! |---|---|---|---|---|
//! | dictionary of text | `Utf8` | dictionary, 32-bit keys | `Utf8` | `Utf8` |
//! | other dictionary, run-end encoded | the value's | the value's | the value's | the value's |
//! | `Utf8View`, `LargeUtf8` | `Utf8` | as it is | `Utf8` | `Utf8` |
//! | `BinaryView`, `LargeBinary` | `Binary` | as it is | `Binary` | `Utf8`, hexadecimal |
//! | `Binary`, `FixedSizeBinary` | as it is | as it is | as it is | `Utf8`, hexadecimal |
//! | `Null` | `Utf8` | as it is | `Utf8` | `Utf8` |
//! | interval, union (of JSON as JSON text) | `Utf8` | `Utf8` | `Utf8` | `Utf8` |
//! | list, large list, list view | `List` | `List` | `List` | `Utf8`, JSON |
//! | struct, map, list of fixed size | as it is | as it is | as it is | `Utf8`, JSON |
//! | timestamp with any zone | zone `UTC` | zone `UTC` | zone `UTC` | ns, zone `UTC` |
//! | timestamp without zone | as it is | as it is | as it is | ns |
//! | `Date64`; `Date32` | `Date32` | `Date32` | `Date32` | timestamp (ns) |
//! | `Time64(ns)`; other times | µs; as it is | µs; as it is | µs; as it is | `Utf8` |
//! | duration | as it is | as it is | as it is | `Int64`, ns |
//! | `UInt8`, `UInt16`, `UInt32` | as it is | as it is | the next signed | as it is |
//! | `UInt64` | as it is | as it is | `Decimal128(20, 0)` | as it is |
//! | `Float16` | `Float32` | `Float32` | `Float32` | `Float32` |
//! | decimal of up to 38 digits | `Decimal128` | `Decimal128` | `Decimal128` | `Float64` |
//! | decimal of more | `Utf8` | `Utf8` | `Utf8` | `Float64` |
//!
//! What is inside of a list, struct or map is mapped as `safe` says where `native` would leave it; and `jdbc-unzoned` is
//! `jdbc` with every timestamp without its zone. `bi` is what both Grafana and ODBC read. Where they differ it is
//! Grafana's, which fails on a whole answer for one column of a type it lacks, while ODBC may ask for `safe`.

mod cast;
mod json;
mod profile;

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

pub(crate) use cast::{to_wire_parts, value_length};
pub(crate) use profile::Profile;

/// Prefix of the metadata by which drivers are told about the column of a table. On the column of a result they take
/// `REMARKS` for its title.
const FLIGHT_SQL_METADATA: &str = "ARROW:FLIGHT:SQL:";

/// Prefix of the metadata that says what a type means beyond its storage.
const EXTENSION_METADATA: &str = "ARROW:extension:";

/// The schema under which rows of `schema` are sent. Names and order stay.
pub(crate) fn wire_schema(schema: &Schema, profile: Profile) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = wire_type(field.data_type(), profile);
        Arc::new(retyped(field, data_type))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The type under which the values of a column are sent.
pub(crate) fn wire_type(data_type: &DataType, profile: Profile) -> DataType {
    use DataType as T;
    match (profile, data_type) {
        (Profile::Native, T::Dictionary(_, values)) if is_text(values) => {
            T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8))
        }
        (_, T::Dictionary(_, values)) => wire_type(values, profile),
        (_, T::RunEndEncoded(_, values)) => wire_type(values.data_type(), profile),
        (Profile::Native, T::LargeUtf8 | T::Utf8View | T::LargeBinary | T::BinaryView | T::Null) => {
            data_type.clone()
        }
        (Profile::Bi, _) => bi_type(data_type),
        _ => inner_type(data_type, profile),
    }
}

/// The type of values inside of others, which no profile keeps in an encoding of their own.
fn inner_type(data_type: &DataType, profile: Profile) -> DataType {
    use DataType as T;
    let inner_field = |field: &FieldRef| Arc::new(retyped(field, inner_type(field.data_type(), profile)));
    let is_jdbc = matches!(profile, Profile::Jdbc | Profile::JdbcUnzoned);
    match data_type {
        T::Dictionary(_, values) => inner_type(values, profile),
        T::RunEndEncoded(_, values) => inner_type(values.data_type(), profile),
        T::LargeBinary | T::BinaryView => T::Binary,
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) => {
            T::List(inner_field(item))
        }
        T::FixedSizeList(item, size) => T::FixedSizeList(inner_field(item), *size),
        T::Struct(fields) => T::Struct(fields.iter().map(inner_field).collect()),
        T::Map(entries, sorted) => T::Map(inner_field(entries), *sorted),
        T::Timestamp(unit, Some(_)) if profile == Profile::JdbcUnzoned => T::Timestamp(*unit, None),
        T::Timestamp(unit, Some(_)) => T::Timestamp(*unit, Some("UTC".into())),
        T::UInt8 if is_jdbc => T::Int16,
        T::UInt16 if is_jdbc => T::Int32,
        T::UInt32 if is_jdbc => T::Int64,
        T::UInt64 if is_jdbc => T::Decimal128(20, 0),
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

/// Text, numbers, truth values and instants, which are in nanoseconds because Grafana takes them for that whatever they say.
fn bi_type(data_type: &DataType) -> DataType {
    use DataType as T;
    let nanoseconds = |zone: bool| T::Timestamp(TimeUnit::Nanosecond, zone.then(|| "UTC".into()));
    match data_type {
        T::Timestamp(_, zone) => nanoseconds(zone.is_some()),
        T::Date32 | T::Date64 => nanoseconds(false),
        T::Duration(_) => T::Int64,
        decimal if decimal.is_decimal() => T::Float64,
        T::Time32(_)
        | T::Time64(_)
        | T::Binary
        | T::LargeBinary
        | T::BinaryView
        | T::FixedSizeBinary(_)
        | T::List(_)
        | T::LargeList(_)
        | T::ListView(_)
        | T::LargeListView(_)
        | T::FixedSizeList(..)
        | T::Struct(_)
        | T::Map(..) => T::Utf8,
        other => inner_type(other, Profile::Bi),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn retyped(field: &Field, data_type: DataType) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.retain(|key, _| !key.starts_with(FLIGHT_SQL_METADATA));
    // `arrow.json` is text in any encoding; `arrow.uuid` as hexadecimal text would be a lie.
    if field.data_type() != &data_type && !(is_text(field.data_type()) && is_text(&data_type)) {
        metadata.retain(|key, _| !key.starts_with(EXTENSION_METADATA));
    }
    let nullable = field.is_nullable() || hides_nulls(field.data_type());
    field.clone().with_data_type(data_type).with_nullable(nullable).with_metadata(metadata)
}

/// Whether there may be nulls in a column whose field is not nullable: these types have no nulls of their own.
fn hides_nulls(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null | DataType::Union(..) => true,
        DataType::RunEndEncoded(_, values) => values.is_nullable() || hides_nulls(values.data_type()),
        DataType::Dictionary(_, values) => hides_nulls(values),
        _ => false,
    }
}

/// A schema as an encapsulated IPC message, which is how handles and `GetTables` carry one.
pub(crate) fn schema_bytes(schema: &Schema) -> Result<bytes::Bytes, ArrowError> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let arrow_flight::IpcMessage(bytes) = arrow_flight::SchemaAsIpc::new(schema, &options).try_into()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
