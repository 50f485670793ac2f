//! A tenant's tables as DataFusion sees them. The only DataFusion code in this crate.
//!
//! | file | purpose |
//! |---|---|
//! | `provider.rs` | [`TelemetryTable`]: one table, bound to one tenant and one snapshot when it is built |
//! | `user_table.rs` | [`UserTableProvider`]: a table of the tenant's own, bound the same way |
//! | `system/` | [`SystemTable`]: the tables of the schema `system`, bound the same way |
//! | `scan.rs` | [`TelemetryScan`]: the plan node that streams buffer and files |
//! | `undeleted.rs`, `predicate.rs` | leaves deleted rows out of a scan; the conditions of deletions |
//! | `buffer_source.rs` | the buffer side of a scan |
//! | `file_set.rs` | the object store that a scan reads its files from, and only those |
//! | `file_reader.rs` | readers of those files that fail with storage's own errors |
//! | `figures.rs` | [`ScanWatch`]: what a scan was to read and has read |
//! | `pruning.rs` | leaves out files and chunks whose statistics rule a filter out |
//! | `sealed_stores.rs` | the object-store registry that a session must have |
//! | `sequences.rs` | [`bind_sequences`]: lets a plan see the rows of some entries alone |
//! | `times.rs` | [`bind_times`]: lets a plan see the rows of some time alone; how many there are when |
//! | `guard.rs` | the filter and the checks that every plan gets on top |
//!
//! **Isolation has three locks**, and each holds alone:
//! 1. A [`TelemetryTable`] is built for one tenant and holds chunks and file names of that tenant only; a [`SystemTable`]
//!    holds that tenant's rows, a [`UserTableProvider`] the names of that table's files. Rows of another tenant are never read, so no filter, error or statistic can depend on them.
//! 2. [`bind_tenant`] puts a filter on `tenant_id` over every scan of a plan, in subqueries too. (User tables have no such
//!    column; their files say in their names and in the catalog whose they are, and both are compared.)
//! 3. [`bind_tenant`] and [`guard_physical`] refuse a plan with a leaf that is not the tenant's.

mod buffer_source;
mod figures;
mod file_reader;
mod file_set;
mod guard;
mod predicate;
mod provider;
mod pruning;
mod scan;
mod sealed_stores;
mod sequences;
mod system;
mod times;
mod undeleted;
mod user_table;

use std::sync::Arc;

use alula_catalog::{Signal, TenantId};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::error::Result;

pub use figures::{ScanFigures, ScanWatch};
pub use guard::{bind_tenant, guard_physical};
pub use predicate::SqlPredicates;
pub use provider::TelemetryTable;
pub use scan::TelemetryScan;
pub use sealed_stores::SealedObjectStores;
pub use sequences::{SequenceRange, bind_sequences};
pub use system::{SYSTEM_SCHEMA_NAME, SystemTable};
pub use times::{TimeSlice, TimedRows, bind_times};
pub use user_table::UserTableProvider;

use crate::{Snapshot, UserTables};
use system::SystemSchema;

/// The SQL name of the catalog that holds a tenant's tables.
pub const CATALOG_NAME: &str = "alula";
/// The SQL name of the schema that holds its telemetry.
pub const SCHEMA_NAME: &str = "public";

/// The tables of one tenant at one instant, and nothing else.
pub fn tenant_catalog(snapshot: &Arc<Snapshot>, tenant: &TenantId) -> Result<Arc<dyn CatalogProvider>> {
    tenant_catalog_with(snapshot, &snapshot.user_tables(tenant))
}

/// [`tenant_catalog`] of the tenant of `user_tables`, with its own tables as a transaction sees them
/// ([`UserTransaction::tables`]).
///
/// The snapshot must be one that was taken after the transaction's first change: an earlier one may not know the tenant.
///
/// [`UserTransaction::tables`]: crate::UserTransaction::tables
pub fn tenant_catalog_with(
    snapshot: &Arc<Snapshot>,
    user_tables: &UserTables,
) -> Result<Arc<dyn CatalogProvider>> {
    let tenant = user_tables.tenant();
    let schema = MemorySchemaProvider::new();
    for table in user_tables.iter() {
        if let Some(provider) = UserTableProvider::try_new(snapshot, user_tables, table.name())? {
            schema.register_table(table.name().to_owned(), Arc::new(provider))?;
        }
    }
    for signal in Signal::ALL {
        let table: Arc<dyn TableProvider> = Arc::new(TelemetryTable::new(snapshot, tenant, signal));
        schema.register_table(signal.table_name().to_owned(), table)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA_NAME, Arc::new(schema))?;
    catalog.register_schema(SYSTEM_SCHEMA_NAME, Arc::new(SystemSchema::new(snapshot, tenant)))?;
    Ok(Arc::new(catalog))
}

#[cfg(test)]
pub(crate) mod tests;
