//! [`TelemetryTable`]: one table, bound to one tenant and one snapshot when it is built.

use std::sync::Arc;

use alula_catalog::schema::{TENANT_ID, TIMESTAMP, table_schema};
use alula_catalog::{DataFile, SequenceNumber, Signal, TenantId, TimeRange};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::buffer_source::BufferSource;
use super::figures::Planned;
use super::file_reader::FileReaders;
use super::file_set::{FileSet, ScanFile};
use super::pruning::Pruner;
use super::scan::TelemetryScan;
use super::undeleted::{Undeleted, widened};
use crate::buffer::{Chunk, TableSnapshot};
use crate::data_files::DataFiles;
use crate::deletion::Part;
use crate::layout::Layout;
use crate::{Error, Snapshot};

/// The name under which plans speak of the data directory. The session's registry resolves no URL at all; files are
/// opened by the reader factory that the scan carries.
pub(super) const STORE_URL: &str = "alula://data";

/// One signal's table of one tenant, at one instant.
#[derive(Debug)]
pub struct TelemetryTable {
    tenant: TenantId,
    signal: Signal,
    rows: Arc<TableSnapshot>,
    data_files: Arc<DataFiles>,
}

impl TelemetryTable {
    /// Binds the table to `tenant`: from here on nothing of another tenant can be reached through it.
    pub fn new(snapshot: &Snapshot, tenant: &TenantId, signal: Signal) -> Self {
        Self {
            tenant: tenant.clone(),
            signal,
            rows: snapshot.table(tenant, signal),
            data_files: Arc::clone(snapshot.data_files()),
        }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The highest sequence number of its rows; 0 if it has none.
    pub fn last_seq(&self) -> SequenceNumber {
        self.rows.last_seq()
    }

    /// The chunks and files that may hold a row that the filters let through.
    pub(super) fn kept(&self, state: &dyn Session, filters: &[Expr]) -> Result<Kept> {
        let filters: Vec<Expr> =
            filters.iter().filter(|filter| !is_own_tenant(filter, &self.tenant)).cloned().collect();
        let pruner = Pruner::try_new(state, &self.schema(), &filters)?;
        let chunks: Vec<_> = self.rows.frozen.iter().chain(&self.rows.hot).map(Arc::clone).collect();
        Ok(Kept { chunks: pruner.keep(&chunks)?, files: pruner.keep(&self.rows.files)? })
    }

    /// Parts that no filter rules out, those with deleted rows read through what leaves these out.
    fn scan_parts<T>(
        &self,
        parts: &[Arc<T>],
        read: impl Fn(&[Arc<T>], Read<'_>) -> Result<Arc<dyn ExecutionPlan>>,
        wanted: Read<'_>,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>>
    where
        for<'a> Part: From<&'a T>,
    {
        let external = |error: Error| DataFusionError::External(error.into());
        let divided = self.rows.divide(self.signal, parts).map_err(external)?;
        let mut inputs = Vec::new();
        if !divided.untouched.is_empty() {
            inputs.push(read(&divided.untouched, wanted)?);
        }
        if let Some((touched, filter)) = divided.touched {
            let widened = widened(wanted.projection, &filter);
            // How many rows have to be read for a number that stay is not known.
            let rows = read(&touched, Read { projection: widened.as_ref(), limit: None })?;
            let num_columns = wanted.projection.map_or(rows.schema().fields().len(), Vec::len);
            inputs.push(Arc::new(Undeleted::try_new(rows, num_columns, Arc::new(filter))?));
        }
        Ok(inputs)
    }

    /// Chunks, dealt out to `target_partitions` at most.
    fn read_chunks(
        &self,
        state: &dyn Session,
        chunks: &[Arc<Chunk>],
        Read { projection, limit }: Read<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = table_schema(self.signal);
        let statistics =
            table_statistics(&schema, chunks.iter().map(|chunk| (chunk.timestamps, chunk.num_rows() as u64)));
        let partitions = state.config().target_partitions();
        let buffer = BufferSource::try_new(&schema, chunks, statistics, projection, partitions, limit)?;
        Ok(DataSourceExec::from_data_source(buffer))
    }

    /// Files, in `target_partitions` groups.
    fn read_files(
        &self,
        state: &dyn Session,
        kept: &[Arc<DataFile>],
        Read { projection, limit }: Read<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = table_schema(self.signal);
        let statistics = table_statistics(&schema, kept.iter().map(|file| (file.timestamps, file.num_rows)));
        let groups = FileGroup::new(kept.iter().map(|file| partitioned_file(&schema, file)).collect())
            .split_files(state.config().target_partitions());
        let metadata_cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let files = kept.iter().map(|file| ScanFile::Telemetry(Arc::clone(file)));
        let reader = FileReaders::new(FileSet::new(&self.data_files, files), metadata_cache);
        let source =
            ParquetSource::new(TableSchema::from(schema)).with_parquet_file_reader_factory(Arc::new(reader));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_limit(limit)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// What of a table has to be read.
pub(super) struct Kept {
    pub(super) chunks: Vec<Arc<Chunk>>,
    pub(super) files: Vec<Arc<DataFile>>,
}

/// What is wanted of the parts of a table.
#[derive(Clone, Copy)]
struct Read<'a> {
    projection: Option<&'a Vec<usize>>,
    limit: Option<usize>,
}

#[async_trait]
impl TableProvider for TelemetryTable {
    fn schema(&self) -> SchemaRef {
        table_schema(self.signal)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The filter on the table's own tenant holds for every row, so it costs nothing. One on another tenant is left to be
    /// evaluated, row by row, and finds none.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match filter {
            filter if is_own_tenant(filter, &self.tenant) => TableProviderFilterPushDown::Exact,
            _ => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Kept { chunks, files } = self.kept(state, filters)?;
        let planned = Planned {
            num_rows: chunks.iter().map(|chunk| chunk.num_rows() as u64).sum::<u64>()
                + files.iter().map(|file| file.num_rows).sum::<u64>(),
            files_pruned: (self.rows.files.len() - files.len()) as u64,
        };
        let wanted = Read { projection, limit };
        let mut inputs =
            self.scan_parts(&chunks, |chunks, read| self.read_chunks(state, chunks, read), wanted)?;
        if inputs.is_empty() {
            inputs.push(self.read_chunks(state, &[], wanted)?);
        }
        inputs.extend(self.scan_parts(&files, |files, read| self.read_files(state, files, read), wanted)?);
        let scan = TelemetryScan::try_new(self.tenant.clone(), self.signal.table_name(), inputs, planned)?;
        Ok(Arc::new(scan))
    }
}

fn partitioned_file(schema: &SchemaRef, file: &DataFile) -> PartitionedFile {
    let statistics = table_statistics(schema, [(file.timestamps, file.num_rows)].into_iter());
    PartitionedFile::new(Layout::data_file_name(file), file.size_bytes).with_statistics(Arc::new(statistics))
}

/// Exact row count and time bounds; nothing about other columns.
fn table_statistics(schema: &SchemaRef, parts: impl Iterator<Item = (TimeRange, u64)> + Clone) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    let num_rows: u64 = parts.clone().map(|(_, rows)| rows).sum();
    statistics.num_rows = Precision::Exact(num_rows as usize);
    let min = parts.clone().map(|(range, _)| range.min_ns).min();
    let max = parts.map(|(range, _)| range.max_ns).max();
    if let (Ok(index), Some(min), Some(max)) = (schema.index_of(TIMESTAMP), min, max) {
        statistics.column_statistics[index] = ColumnStatistics::new_unknown()
            .with_min_value(Precision::Exact(timestamp_scalar(min)))
            .with_max_value(Precision::Exact(timestamp_scalar(max)))
            .with_null_count(Precision::Exact(0));
    }
    statistics
}

pub(super) fn timestamp_scalar(timestamp_ns: i64) -> ScalarValue {
    ScalarValue::TimestampNanosecond(Some(timestamp_ns), Some(alula_catalog::schema::UTC.into()))
}

/// Whether `filter` is `tenant_id = '<tenant>'` and nothing more.
fn is_own_tenant(filter: &Expr, tenant: &TenantId) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return false };
    let (Expr::Column(column), Expr::Literal(value, _)) = (left.as_ref(), right.as_ref()) else {
        return false;
    };
    column.name() == TENANT_ID && value.try_as_str().flatten() == Some(tenant.as_str())
}
