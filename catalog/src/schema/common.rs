//! Columns that all three tables share, and the constructors for fields.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};

use super::columns::*;

/// The time zone of every timestamp column.
pub const UTC: &str = "UTC";

/// The key type of every dictionary column.
pub const DICTIONARY_KEY_TYPE: DataType = DataType::Int32;

/// Text that repeats: names, services, and attributes as canonical JSON. Stored once per distinct value.
pub(super) fn repeated_text(name: &str, nullable: bool) -> Field {
    let values = Box::new(DataType::Utf8);
    Field::new(name, DataType::Dictionary(Box::new(DICTIONARY_KEY_TYPE), values), nullable)
}

/// Text that seldom repeats: ids and log bodies.
pub(super) fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// Units: nanoseconds since the Unix epoch, UTC.
pub(super) fn timestamp(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())), nullable)
}

pub(super) fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// A list whose items are never null; the list itself is null where the row has none.
pub(super) fn list(name: &str, item: DataType) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new_list_field(item, false))), true)
}

pub(super) fn list_of_structs(name: &str, fields: Fields) -> Field {
    list(name, DataType::Struct(fields))
}

/// What every `SELECT *` starts with.
pub(super) fn leading_fields() -> Vec<Field> {
    vec![timestamp(TIMESTAMP, false), repeated_text(SERVICE_NAME, true)]
}

/// Attributes, resource, scope and bookkeeping, in the order they follow a signal's own columns.
///
/// `timestamp_source` says where `timestamp` came from: `record`, `observed` (a log record without a time) or
/// `received` (no time at all).
pub(super) fn trailing_fields() -> Vec<Field> {
    vec![
        repeated_text(ATTRIBUTES, false),
        optional(DROPPED_ATTRIBUTES_COUNT, DataType::UInt32),
        optional(FLAGS, DataType::UInt32),
        repeated_text(RESOURCE_ATTRIBUTES, true),
        optional(RESOURCE_DROPPED_ATTRIBUTES_COUNT, DataType::UInt32),
        repeated_text(RESOURCE_ENTITY_REFS, true),
        repeated_text(RESOURCE_SCHEMA_URL, true),
        repeated_text(SCOPE_NAME, true),
        repeated_text(SCOPE_VERSION, true),
        repeated_text(SCOPE_ATTRIBUTES, true),
        optional(SCOPE_DROPPED_ATTRIBUTES_COUNT, DataType::UInt32),
        repeated_text(SCOPE_SCHEMA_URL, true),
        repeated_text(TIMESTAMP_SOURCE, false),
        repeated_text(TENANT_ID, false),
        timestamp(INGESTED_AT, false),
    ]
}

/// The WAL sequence number of the request that carried the row.
pub(super) fn sequence_field() -> Field {
    Field::new(INGEST_SEQ, DataType::UInt64, false)
}
