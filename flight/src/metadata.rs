//! The metadata commands: one schema and one batch each.
//!
//! Clients compare these schemas for equality, nullability included, so none carries metadata. A filter that is not
//! given means everything. All of it describes the caller's tenant, and tables describe what is sent on the wire.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use alula_storage::table::CATALOG_NAME;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use datafusion::catalog::CatalogProvider;
use datafusion::datasource::TableType;
use datafusion::execution::SessionState;

use crate::context::QueryContext;
use crate::wire::{Profile, wire_schema};
use crate::{Error, Result};

/// The table types there are.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

pub(crate) static PRIMARY_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        // The order of the Go, Java and C++ servers; the comment in FlightSql.proto has these two the other way.
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("key_name", DataType::Utf8, true),
    ]))
});

/// Of imported keys, exported keys and cross references alike.
pub(crate) static FOREIGN_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
});

pub(crate) fn catalogs_schema() -> SchemaRef {
    GetCatalogsBuilder::new().schema()
}

pub(crate) fn catalogs() -> Result<RecordBatch> {
    let mut rows = GetCatalogsBuilder::new();
    rows.append(CATALOG_NAME);
    rows.build().map_err(failed)
}

pub(crate) fn db_schemas_schema() -> SchemaRef {
    GetDbSchemasBuilder::new(None::<String>, None::<String>).schema()
}

pub(crate) fn db_schemas(state: &SessionState, command: &CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut rows = GetDbSchemasBuilder::new(None::<String>, None::<String>);
    if let Some(catalog) = catalog(state, command.catalog.as_deref()) {
        for schema in catalog.schema_names() {
            if matches(command.db_schema_filter_pattern.as_deref(), &schema) {
                rows.append(CATALOG_NAME, schema);
            }
        }
    }
    rows.build().map_err(failed)
}

pub(crate) fn table_types_schema() -> SchemaRef {
    CommandGetTableTypes {}.into_builder().schema()
}

pub(crate) fn table_types() -> Result<RecordBatch> {
    let mut rows = CommandGetTableTypes {}.into_builder();
    rows.append(TABLE);
    rows.append(VIEW);
    rows.build().map_err(failed)
}

pub(crate) fn tables_schema(command: &CommandGetTables) -> SchemaRef {
    tables_builder(command).schema()
}

pub(crate) async fn tables(context: &QueryContext, command: &CommandGetTables) -> Result<RecordBatch> {
    let mut rows = tables_builder(command);
    let Some(catalog) = catalog(&context.state, command.catalog.as_deref()) else {
        return rows.build().map_err(failed);
    };
    for schema_name in catalog.schema_names() {
        let Some(schema) = catalog.schema(&schema_name) else { continue };
        if !matches(command.db_schema_filter_pattern.as_deref(), &schema_name) {
            continue;
        }
        for table_name in schema.table_names() {
            // pandas sends a whole statement as the pattern, to see whether it is the name of a table.
            if !matches(command.table_name_filter_pattern.as_deref(), &table_name) {
                continue;
            }
            let Some(table) = schema.table(&table_name).await? else { continue };
            let table_type = match table.table_type() {
                TableType::Base => TABLE,
                TableType::View | TableType::Temporary => VIEW,
            };
            if !is_wanted(&command.table_types, table_type) {
                continue;
            }
            let described =
                describe(&table.schema(), context.settings.wire_profile(), &schema_name, &table_name);
            rows.append(CATALOG_NAME, &schema_name, &table_name, table_type, &described).map_err(failed)?;
        }
    }
    rows.build().map_err(failed)
}

/// Filters are applied here, not by the builder: it takes `BASE TABLE` for another type than `TABLE`.
fn tables_builder(command: &CommandGetTables) -> GetTablesBuilder {
    let everything = None::<String>;
    GetTablesBuilder::new(
        everything.clone(),
        everything.clone(),
        everything,
        [] as [String; 0],
        command.include_schema,
    )
}

fn catalog(state: &SessionState, wanted: Option<&str>) -> Option<Arc<dyn CatalogProvider>> {
    if wanted.is_some_and(|name| name != CATALOG_NAME) {
        return None;
    }
    state.catalog_list().catalog(CATALOG_NAME)
}

/// Grafana asks for `BASE TABLE` and `table`, Metabase and Tableau for `TABLE`: all mean the same.
fn is_wanted(wanted: &[String], table_type: &str) -> bool {
    let is_this = |wanted: &String| match wanted.to_uppercase().as_str() {
        "BASE TABLE" => table_type == TABLE,
        other => table_type == other,
    };
    wanted.is_empty() || wanted.iter().any(is_this)
}

/// `LIKE` with `%`, `_` and `\` as escape. No pattern matches everything.
fn matches(pattern: Option<&str>, text: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let mut tokens = Vec::new();
    // Characters that the text must still have: a pattern that asks for more is not read to its end.
    let mut room = text.chars().count();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let token = match character {
            '%' if matches!(tokens.last(), Some(Like::Any)) => continue,
            '%' => Like::Any,
            '_' => Like::One,
            '\\' => Like::Exactly(characters.next().unwrap_or('\\')),
            other => Like::Exactly(other),
        };
        if !matches!(token, Like::Any) {
            let Some(less) = room.checked_sub(1) else { return false };
            room = less;
        }
        tokens.push(token);
    }
    // `reached[i]` says whether the first i tokens match the text so far.
    let mut reached = vec![false; tokens.len() + 1];
    reached[0] = true;
    skip_any(&tokens, &mut reached);
    for character in text.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (i, token) in tokens.iter().enumerate() {
            match token {
                Like::Any => next[i] |= reached[i],
                Like::One => next[i + 1] |= reached[i],
                Like::Exactly(wanted) => next[i + 1] |= reached[i] && *wanted == character,
            }
        }
        skip_any(&tokens, &mut next);
        reached = next;
    }
    reached[tokens.len()]
}

enum Like {
    Any,
    One,
    Exactly(char),
}

/// A `%` also stands for nothing.
fn skip_any(tokens: &[Like], reached: &mut [bool]) {
    for (i, token) in tokens.iter().enumerate() {
        if matches!(token, Like::Any) && reached[i] {
            reached[i + 1] = true;
        }
    }
}

/// The schema of a table as it is sent, with the column metadata that drivers show.
fn describe(schema: &Schema, profile: Profile, schema_name: &str, table_name: &str) -> Schema {
    let wire = wire_schema(schema, profile);
    let fields = wire.fields().iter().map(|field| {
        let mut about = HashMap::from([
            key("CATALOG_NAME", CATALOG_NAME),
            key("SCHEMA_NAME", schema_name),
            key("TABLE_NAME", table_name),
            key("TYPE_NAME", type_name(field.data_type())),
            key("IS_AUTO_INCREMENT", "0"),
            key("IS_CASE_SENSITIVE", if field.data_type() == &DataType::Utf8 { "1" } else { "0" }),
            key("IS_READ_ONLY", "1"),
            key("IS_SEARCHABLE", "1"),
        ]);
        if let Some((precision, scale)) = precision_and_scale(field.data_type()) {
            about.extend([key("PRECISION", &precision.to_string()), key("SCALE", &scale.to_string())]);
        }
        field.as_ref().clone().with_metadata(about)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn key(name: &str, value: &str) -> (String, String) {
    (format!("ARROW:FLIGHT:SQL:{name}"), value.to_owned())
}

/// The name of a wire type in `GetXdbcTypeInfo`.
fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INTEGER UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Decimal128(..) => "DECIMAL",
        DataType::Utf8 => "VARCHAR",
        DataType::Binary | DataType::FixedSizeBinary(_) => "VARBINARY",
        DataType::Date32 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::List(_) | DataType::FixedSizeList(..) => "ARRAY",
        DataType::Struct(_) => "STRUCT",
        DataType::Map(..) => "MAP",
        _ => "OTHER",
    }
}

fn precision_and_scale(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Float32 => (7, 0),
        DataType::Float64 => (15, 0),
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (29, 9),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (26, 6),
        _ => return None,
    })
}

/// The builders fail only where Arrow does.
pub(crate) fn failed(error: FlightError) -> Error {
    match error {
        FlightError::Arrow(error) => Error::Encode(error),
        other => Error::Encode(arrow::error::ArrowError::from_external_error(Box::new(other))),
    }
}

#[cfg(test)]
mod tests;
