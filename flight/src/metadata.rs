//! The metadata commands: one schema and one batch each.
//!
//! Clients compare these schemas for equality, nullability included, so none carries metadata. A filter that is not
//! given means everything. All of it describes the caller's tenant, and tables describe what is sent on the wire.
//!
//! | file | purpose |
//! |---|---|
//! | `like.rs` | patterns of names |
//! | `columns.rs` | the schema of a table as drivers show it |
//! | `keys.rs` | the schemas of keys |

mod columns;
mod keys;
mod like;

use std::collections::HashSet;
use std::sync::Arc;

use alula_storage::table::{CATALOG_NAME, SCHEMA_NAME, SYSTEM_SCHEMA_NAME};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::catalog::{CatalogProvider, TableProvider};
use datafusion::datasource::TableType;
use datafusion::execution::SessionState;

use crate::context::QueryContext;
use crate::{Error, Result};

pub(crate) use columns::{origin, type_name, with_more};
pub(crate) use keys::{FOREIGN_KEYS, PRIMARY_KEYS};
pub(crate) use like::matches;

use columns::describe;

/// The table types there are, by the names that JDBC gives them.
const SYSTEM_TABLE: &str = "SYSTEM TABLE";
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

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
    for table_type in [SYSTEM_TABLE, TABLE, VIEW] {
        rows.append(table_type);
    }
    rows.build().map_err(failed)
}

pub(crate) fn tables_schema(command: &CommandGetTables) -> SchemaRef {
    tables_builder(command).schema()
}

pub(crate) async fn tables(context: &QueryContext, command: &CommandGetTables) -> Result<RecordBatch> {
    let mut rows = tables_builder(command);
    let wanted = wanted_types(&command.table_types);
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
            let table_type = table_type(&schema_name, table.as_ref());
            if !wanted.as_ref().is_none_or(|wanted| wanted.contains(table_type)) {
                continue;
            }
            let is_own = schema_name == SCHEMA_NAME && context.user_tables.get(&table_name).is_some();
            let profile = context.settings.wire_profile();
            let is_read_only = !(is_own && context.can_write);
            let described = describe(&table.schema(), profile, &schema_name, &table_name, is_read_only);
            rows.append(CATALOG_NAME, &schema_name, &table_name, table_type, &described).map_err(failed)?;
        }
    }
    rows.build().map_err(failed)
}

/// Catalog, schema and name of the tables whose name, alone or behind their schema's, has the pattern.
pub(crate) fn paths(state: &SessionState, pattern: Option<&str>) -> Vec<[String; 3]> {
    let Some(catalog) = catalog(state, None) else { return Vec::new() };
    let mut paths = Vec::new();
    for schema_name in catalog.schema_names() {
        let Some(schema) = catalog.schema(&schema_name) else { continue };
        for table_name in schema.table_names() {
            if matches(pattern, &table_name) || matches(pattern, &format!("{schema_name}.{table_name}")) {
                paths.push([CATALOG_NAME.to_owned(), schema_name.clone(), table_name]);
            }
        }
    }
    paths.sort_unstable();
    paths
}

fn table_type(schema_name: &str, table: &dyn TableProvider) -> &'static str {
    match (schema_name, table.table_type()) {
        // What is about the server does not stand among the data of who asks for tables.
        (SYSTEM_SCHEMA_NAME | INFORMATION_SCHEMA, _) => SYSTEM_TABLE,
        (_, TableType::Base) => TABLE,
        (_, TableType::View | TableType::Temporary) => VIEW,
    }
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

/// The catalog, unless another is wanted. No name stands for every catalog, the empty name for tables without one.
fn catalog(state: &SessionState, wanted: Option<&str>) -> Option<Arc<dyn CatalogProvider>> {
    if wanted.is_some_and(|name| name != CATALOG_NAME) {
        return None;
    }
    state.catalog_list().catalog(CATALOG_NAME)
}

/// The types that are asked for; none for all of them. Grafana asks for `BASE TABLE` and `table`, Metabase and Tableau for
/// `TABLE`: all mean the same.
fn wanted_types(given: &[String]) -> Option<HashSet<String>> {
    let one = |given: &String| match given.to_uppercase().as_str() {
        "BASE TABLE" => TABLE.to_owned(),
        other => other.to_owned(),
    };
    (!given.is_empty()).then(|| given.iter().map(one).collect())
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
