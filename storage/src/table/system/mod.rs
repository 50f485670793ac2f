//! The schema `system`: what the server knows about a tenant besides its telemetry.
//!
//! Each table is a file: its name, its schema, and its rows as one batch. A table is made of what [`SystemSchema`] took
//! from the snapshot for one tenant, each time a statement names it; so all mentions in a statement have the same rows,
//! and a statement that names none pays nothing.

mod data_loss;
mod deletions;
mod ingest_rejections;

use std::sync::Arc;

use alula_catalog::schema::TENANT_ID;
use alula_catalog::{RecordedLoss, TenantId};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::internal_err;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::figures::Planned;
use super::scan::TelemetryScan;
use crate::Snapshot;
use crate::deletion::Deletion;
use crate::rejections::TenantRejections;

/// The SQL name of the schema.
pub const SYSTEM_SCHEMA_NAME: &str = "system";

const NAMES: [&str; 3] = [data_loss::NAME, deletions::NAME, ingest_rejections::NAME];

/// The system tables of one tenant at one instant.
#[derive(Debug)]
pub(super) struct SystemSchema {
    tenant: TenantId,
    rejections: Arc<TenantRejections>,
    losses: Vec<RecordedLoss>,
    /// Oldest first.
    deletions: Vec<Arc<Deletion>>,
}

impl SystemSchema {
    /// Takes what is the tenant's: nothing of another one can be reached from here on.
    pub(super) fn new(snapshot: &Snapshot, tenant: &TenantId) -> Self {
        Self {
            tenant: tenant.clone(),
            rejections: snapshot.rejections(tenant),
            losses: snapshot.data_losses(tenant),
            deletions: snapshot.deletions(tenant),
        }
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        NAMES.map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let (name, rows) = match name {
            data_loss::NAME => (data_loss::NAME, data_loss::rows(&self.tenant, &self.losses)?),
            deletions::NAME => (deletions::NAME, deletions::rows(&self.tenant, &self.deletions)?),
            ingest_rejections::NAME => (ingest_rejections::NAME, ingest_rejections::rows(&self.rejections)?),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(SystemTable::try_new(&self.tenant, name, rows)?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        NAMES.contains(&name)
    }
}

/// One system table, bound to one tenant.
#[derive(Debug)]
pub struct SystemTable {
    tenant: TenantId,
    name: &'static str,
    rows: RecordBatch,
}

impl SystemTable {
    /// # Errors
    /// `Internal` — a row is not the tenant's.
    pub fn try_new(tenant: &TenantId, name: &'static str, rows: RecordBatch) -> Result<Self> {
        let owners = rows.column_by_name(TENANT_ID).and_then(|column| column.as_string_opt::<i32>());
        if !owners.is_some_and(|owners| owners.iter().all(|owner| owner == Some(tenant.as_str()))) {
            return internal_err!("system.{name} has a row that is not the tenant's");
        }
        Ok(Self { tenant: tenant.clone(), name, rows })
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = [vec![self.rows.clone()]];
        let source =
            MemorySourceConfig::try_new(&rows, self.schema(), projection.cloned())?.with_limit(limit);
        let input = DataSourceExec::from_data_source(source);
        let planned = Planned { num_rows: self.rows.num_rows() as u64, files_pruned: 0 };
        Ok(Arc::new(TelemetryScan::try_new(self.tenant.clone(), self.name, vec![input], planned)?))
    }
}

#[cfg(test)]
mod tests;
