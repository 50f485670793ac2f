//! [`UserTableProvider`]: a table of a tenant's own, bound to that tenant and to one instant when it is built.

use std::sync::Arc;

use alula_catalog::{TenantId, UserFile};
use arrow::datatypes::{FieldRef, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use super::figures::Planned;
use super::file_reader::FileReaders;
use super::file_set::{FileSet, ScanFile};
use super::provider::STORE_URL;
use super::scan::TelemetryScan;
use crate::data_files::{DataFiles, StoredFile};
use crate::parquet::value_bytes;
use crate::{Error, Snapshot, UserTable, UserTableError, UserTables};

/// Bytes of values of fixed size that are read at a time, about.
const READ_BYTES: u64 = 64 << 20;

/// One table of a tenant's own, at one instant or as a transaction sees it.
#[derive(Debug)]
pub struct UserTableProvider {
    tenant: TenantId,
    table: Arc<UserTable>,
    /// Its rows cannot be read.
    is_outdated: bool,
    data_files: Arc<DataFiles>,
}

impl UserTableProvider {
    /// Binds a table to the tenant of `tables`: from here on nothing of another tenant can be reached through it. None if
    /// there is no table of this name.
    ///
    /// # Errors
    /// `Internal` — a file of another tenant or table is among those of the table, which no catalog may have.
    pub fn try_new(snapshot: &Snapshot, tables: &UserTables, name: &str) -> Result<Option<Self>> {
        let Some(table) = tables.get(name) else { return Ok(None) };
        let tenant = tables.tenant().clone();
        let number = snapshot.tenant_number(&tenant);
        let is_foreign = |file: &Arc<UserFile>| file.table != table.id() || Some(file.tenant) != number;
        if table.files().iter().any(is_foreign) {
            let message = format!("the table {} has files that are not its own", table.id());
            return Err(DataFusionError::Internal(message));
        }
        let data_files = Arc::clone(snapshot.data_files());
        Ok(Some(Self { tenant, table: Arc::clone(table), is_outdated: tables.is_outdated(), data_files }))
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub fn table(&self) -> &Arc<UserTable> {
        &self.table
    }

    /// Files, in `target_partitions` groups.
    fn read_files(
        &self,
        state: &dyn Session,
        files: &[Arc<UserFile>],
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.table.schema();
        let partitioned = files.iter().map(|file| {
            PartitionedFile::new(file.name(), file.size_bytes)
                .with_statistics(Arc::new(row_count(schema, file.num_rows)))
        });
        let groups = FileGroup::new(partitioned.collect()).split_files(state.config().target_partitions());
        let metadata_cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let files = files.iter().map(|file| ScanFile::User(Arc::clone(file)));
        let reader = FileReaders::new(FileSet::new(&self.data_files, files), metadata_cache);
        let at_a_time = rows_at_a_time(schema, projection, state.config().batch_size());
        let source = ParquetSource::new(TableSchema::from(Arc::clone(schema)))
            .with_parquet_file_reader_factory(Arc::new(reader));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(row_count(schema, self.table.num_rows()))
            .with_batch_size(Some(at_a_time))
            .with_limit(limit)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// How many rows are read at a time: fewer where values of fixed size are large.
fn rows_at_a_time(schema: &SchemaRef, projection: Option<&Vec<usize>>, at_most: usize) -> usize {
    let width = |field: &FieldRef| value_bytes(field.data_type());
    let row_bytes: u64 = match projection {
        Some(columns) => columns.iter().map(|column| width(&schema.fields()[*column])).sum(),
        None => schema.fields().iter().map(width).sum(),
    };
    let rows = usize::try_from(READ_BYTES / row_bytes.max(1)).unwrap_or(usize::MAX);
    rows.clamp(1, at_most.max(1))
}

fn row_count(schema: &SchemaRef, num_rows: u64) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(num_rows as usize);
    statistics
}

#[async_trait]
impl TableProvider for UserTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Files skip what their own statistics rule out; the rest is filtered above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.is_outdated {
            return Err(DataFusionError::External(Error::from(UserTableError::Outdated).into()));
        }
        let files: Vec<_> =
            self.table.files().iter().filter(|file| file.num_rows > 0).map(Arc::clone).collect();
        let input = if files.is_empty() {
            let schema = match projection {
                Some(projection) => Arc::new(self.table.schema().project(projection)?),
                None => self.schema(),
            };
            Arc::new(EmptyExec::new(schema)) as Arc<dyn ExecutionPlan>
        } else {
            self.read_files(state, &files, projection, limit)?
        };
        let planned = Planned { num_rows: self.table.num_rows(), files_pruned: 0 };
        let scan = TelemetryScan::of_user_table(self.tenant.clone(), self.table.name(), input, planned)?;
        Ok(Arc::new(scan))
    }
}

#[cfg(test)]
mod tests;
