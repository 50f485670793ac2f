//! The filter and the checks that every plan gets on top of tenant-bound tables.

use std::sync::Arc;

use alula_catalog::TenantId;
use alula_catalog::schema::TENANT_ID;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, plan_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::explain::ExplainExec;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::work_table::WorkTableExec;

use super::provider::TelemetryTable;
use super::scan::TelemetryScan;
use super::system::SystemTable;
use super::user_table::UserTableProvider;

/// The schema whose tables DataFusion makes up from the session's own catalog.
const INFORMATION_SCHEMA: &str = "information_schema";

/// Binds a plan to a tenant: refuses every scan that is not of this tenant, and puts the tenant filter over all others.
///
/// Subqueries in expressions are part of the walk. (`transform_up` alone would skip them.)
///
/// # Errors
/// `Plan` — the plan changes something, or reads something that is not the tenant's.
pub fn bind_tenant(plan: LogicalPlan, tenant: &TenantId) -> Result<LogicalPlan> {
    let bound = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(scan) => bind_scan(scan, tenant),
        LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
            plan_err!("this statement changes data or settings; only queries are allowed here")
        }
        LogicalPlan::Extension(_) => plan_err!("this statement uses a plan node that is not allowed here"),
        node => Ok(Transformed::no(node)),
    })?;
    Ok(bound.data)
}

fn bind_scan(scan: TableScan, tenant: &TenantId) -> Result<Transformed<LogicalPlan>> {
    let provider = source_as_provider(&scan.source)?;
    let telemetry = provider.downcast_ref::<TelemetryTable>().map(TelemetryTable::tenant);
    let owner = telemetry.or_else(|| provider.downcast_ref::<SystemTable>().map(SystemTable::tenant));
    if let Some(owner) = owner {
        if owner != tenant {
            return plan_err!("the plan reads a table of another tenant");
        }
        let column = Column::new(Some(scan.table_name.clone()), TENANT_ID);
        let filter = Expr::Column(column).eq(lit(tenant.as_str()));
        let filtered = LogicalPlanBuilder::from(LogicalPlan::TableScan(scan)).filter(filter)?.build()?;
        return Ok(Transformed::yes(filtered));
    }
    // Its rows have no column for the tenant: that they are the tenant's own is for the table and for the other guard.
    if let Some(table) = provider.downcast_ref::<UserTableProvider>() {
        if table.tenant() != tenant {
            return plan_err!("the plan reads a table of another tenant");
        }
        return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
    }
    // These hold no tenant's rows: a recursive query's own intermediate rows, generated numbers, and descriptions of the
    // session's catalog, which has this tenant's tables only.
    let harmless = provider.is::<CteWorkTable>()
        || provider.is::<GenerateSeriesTable>()
        // Written without a schema where that is the default one.
        || (provider.is::<StreamingTable>()
            && scan.table_name.schema().is_none_or(|schema| schema == INFORMATION_SCHEMA));
    if harmless {
        return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
    }
    plan_err!("the plan reads a table that is not one of the tenant's")
}

/// Refuses to run a plan with a leaf that is neither a scan of this tenant nor free of stored rows.
///
/// # Errors
/// `Plan` — see above. It means that an earlier lock failed.
pub fn guard_physical(plan: &Arc<dyn ExecutionPlan>, tenant: &TenantId) -> Result<()> {
    plan.apply(|node| {
        if let Some(scan) = node.downcast_ref::<TelemetryScan>() {
            if scan.tenant() != tenant {
                return plan_err!("the plan reads a table of another tenant");
            }
            // Its inputs were made by the tenant's own table.
            return Ok(TreeNodeRecursion::Jump);
        }
        if node.children().is_empty() && !holds_no_stored_rows(node) {
            return plan_err!("the plan reads from {}, which is not one of the tenant's tables", node.name());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn holds_no_stored_rows(leaf: &Arc<dyn ExecutionPlan>) -> bool {
    leaf.is::<EmptyExec>()
        || leaf.is::<PlaceholderRowExec>()
        || leaf.is::<WorkTableExec>()
        || leaf.is::<ExplainExec>()
        || leaf.is::<LazyMemoryExec>()
        || leaf.is::<StreamingTableExec>()
        || leaf.downcast_ref::<DataSourceExec>().is_some_and(|exec| {
            (exec.data_source().as_ref() as &dyn std::any::Any).is::<MemorySourceConfig>()
        })
}
