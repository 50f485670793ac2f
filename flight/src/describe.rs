//! The metadata commands: which schema and which rows answer each.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::command::Description;
use crate::context::QueryContext;
use crate::sql_info::SqlInfos;
use crate::{Result, metadata, sql_info, xdbc_type_info};

impl Description {
    pub(crate) fn schema(&self) -> SchemaRef {
        match self {
            Self::Catalogs => metadata::catalogs_schema(),
            Self::DbSchemas(_) => metadata::db_schemas_schema(),
            Self::Tables(command) => metadata::tables_schema(command),
            Self::TableTypes => metadata::table_types_schema(),
            Self::PrimaryKeys => Arc::clone(&metadata::PRIMARY_KEYS),
            Self::ForeignKeys => Arc::clone(&metadata::FOREIGN_KEYS),
            Self::SqlInfo(_) => sql_info::schema(),
            Self::XdbcTypeInfo(_) => xdbc_type_info::schema(),
        }
    }

    /// All rows, of schema [`Self::schema`].
    pub(crate) async fn rows(self, context: &QueryContext, infos: &SqlInfos) -> Result<RecordBatch> {
        match self {
            Self::Catalogs => metadata::catalogs(),
            Self::DbSchemas(command) => metadata::db_schemas(&context.state, &command),
            Self::Tables(command) => metadata::tables(context, &command).await,
            Self::TableTypes => metadata::table_types(),
            // Telemetry has no keys.
            Self::PrimaryKeys | Self::ForeignKeys => Ok(RecordBatch::new_empty(self.schema())),
            Self::SqlInfo(codes) => sql_info::rows(infos.of(context), codes),
            Self::XdbcTypeInfo(data_type) => xdbc_type_info::rows(context.settings.wire_profile(), data_type),
        }
    }
}
