//! [`Followed`]: a query that can be asked for its rows entry by entry.
//!
//! Each of its rows must come of one row of one table and depend on nothing else. Then the rows that some entries of the log
//! add to its result are the result of the same query over these entries alone.
//!
//! The plan is kept without the tables that it was planned with, which would keep their rows in memory and their files on
//! disk. Columns are added to it, through all its nodes: the entry that a row is of, and its time.

use std::sync::Arc;

use alula_catalog::schema::{INGEST_SEQ, TIMESTAMP, table_schema};
use alula_catalog::{Signal, TenantId};
use alula_storage::Snapshot;
use alula_storage::table::{
    ScanWatch, SequenceRange, TelemetryTable, bind_sequences, bind_tenant, guard_physical,
};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use datafusion::catalog::{MemoryCatalogProviderList, TableProvider};
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias};
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use futures::TryStreamExt;

use crate::context::{QueryContext, task_context};
use crate::plan::wire_schema_of;
use crate::queries::Query;
use crate::wire::to_wire_parts;
use crate::{Error, Result};

/// The added columns. No table has any of these names.
const ENTRY: &str = "__entry";
const TIME: &str = "__time";
const NUM_ADDED: usize = 2;

/// A query over one table, without the rows of that table.
pub(crate) struct Followed {
    /// Over an empty table; its last columns are [`ENTRY`] and [`TIME`].
    plan: LogicalPlan,
    pub(super) tenant: TenantId,
    pub(super) signal: Signal,
    state: SessionState,
    /// What a client is sent.
    pub(super) schema: SchemaRef,
    /// The run that it is followed for; none while it is only planned.
    pub(super) query: Option<Arc<Query>>,
}

/// Rows in the order of their entries, and in that of their times within an entry.
pub(super) struct OrderedRows {
    pub(super) rows: RecordBatch,
    /// Which entry each is of.
    pub(super) entries: Vec<u64>,
}

pub(crate) fn not_followable(what: &'static str) -> Error {
    Error::NotFollowable { what }
}

impl Followed {
    /// # Errors
    /// `NotFollowable` — it is more than a selection of rows of one table.
    pub(crate) fn try_new(plan: LogicalPlan, context: QueryContext) -> Result<Self> {
        if context.settings.transaction.is_some() {
            return Err(not_followable("a transaction around it"));
        }
        let schema = wire_schema_of(&context, &plan);
        let QueryContext { mut state, tenant, query, .. } = context;
        if let Some(query) = &query {
            query.expect_runs(usize::MAX);
        }
        let mut signal = None;
        let plan = with_entries(plan, &mut signal)?;
        let signal = signal.ok_or(not_followable("no table"))?;
        let plan = over(plan, Arc::new(EmptyTable::new(table_schema(signal))))?;
        state.register_catalog_list(Arc::new(MemoryCatalogProviderList::new()));
        Ok(Self { plan, tenant, signal, state, schema, query })
    }

    /// The first rows that these entries add, at least `limit` if there are so many. Of the last entry there may be more.
    pub(super) async fn first_rows(
        &self,
        snapshot: Arc<Snapshot>,
        range: SequenceRange,
        limit: usize,
    ) -> Result<OrderedRows> {
        let plan = self.plan_over(&snapshot, range)?;
        let in_order = added_columns(&plan).map(|column| column.sort(true, false));
        let plan = LogicalPlanBuilder::from(plan).sort_with_limit(in_order, Some(limit))?.build()?;
        let rows = self.run(plan).await?;
        let schema = rows.schema();
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        let rows = concat_batches(&schema, &rows)?;
        let entries = rows.column(rows.num_columns() - NUM_ADDED).as_primitive::<UInt64Type>();
        Ok(OrderedRows { entries: entries.values().to_vec(), rows })
    }

    /// All rows that these entries add, in no order.
    pub(super) async fn all_rows(
        &self,
        snapshot: &Arc<Snapshot>,
        range: SequenceRange,
    ) -> Result<SendableRecordBatchStream> {
        self.run(self.plan_over(snapshot, range)?).await
    }

    /// How many rows these entries add.
    pub(super) async fn count(&self, snapshot: Arc<Snapshot>, range: SequenceRange) -> Result<u64> {
        let plan = LogicalPlanBuilder::from(self.plan_over(&snapshot, range)?);
        let plan = plan.aggregate(Vec::<Expr>::new(), [count_all()])?.build()?;
        let counts: Vec<RecordBatch> = self.run(plan).await?.try_collect().await?;
        let count: i64 =
            counts.iter().map(|count| count.column(0).as_primitive::<Int64Type>().value(0)).sum();
        Ok(count.unsigned_abs())
    }

    /// What a client is sent of rows that have the added columns, a part at a time.
    pub(super) fn on_the_wire(
        &self,
        rows: &RecordBatch,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + use<>> {
        let wanted: Vec<usize> = (0..self.schema.fields().len()).collect();
        Ok(to_wire_parts(&rows.project(&wanted)?, &self.schema))
    }

    fn plan_over(&self, snapshot: &Snapshot, range: SequenceRange) -> Result<LogicalPlan> {
        let table = TelemetryTable::new(snapshot, &self.tenant, self.signal);
        let plan = over(self.plan.clone(), Arc::new(table))?;
        Ok(bind_sequences(bind_tenant(plan, &self.tenant)?, range)?)
    }

    async fn run(&self, plan: LogicalPlan) -> Result<SendableRecordBatchStream> {
        let mut state = self.state.clone();
        // What `now()` answers is the time at which the rows are looked at.
        state.mark_start_execution();
        let plan = state.create_physical_plan(&plan).await?;
        guard_physical(&plan, &self.tenant)?;
        if let Some(query) = &self.query {
            query.reads_from(ScanWatch::all(&plan)?);
        }
        Ok(execute_stream(plan, task_context(&state, self.query.as_ref()))?)
    }
}

/// The plan with another table in the place of its one.
fn over(plan: LogicalPlan, table: Arc<dyn TableProvider>) -> Result<LogicalPlan> {
    let source = provider_as_source(table);
    let replaced = plan.transform_up(|node| match node {
        LogicalPlan::TableScan(mut scan) => {
            scan.source = Arc::clone(&source);
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        node => Ok(Transformed::no(node)),
    })?;
    Ok(replaced.data)
}

/// The plan with [`ENTRY`] and [`TIME`] as its last columns. Says which table it is over.
fn with_entries(plan: LogicalPlan, signal: &mut Option<Signal>) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = source_as_provider(&scan.source)?;
            let table =
                table.downcast_ref::<TelemetryTable>().ok_or(not_followable("a table of another kind"))?;
            *signal = Some(table.signal());
            let added = [(INGEST_SEQ, ENTRY), (TIMESTAMP, TIME)].map(|(name, added)| {
                Expr::Column(Column::new(Some(scan.table_name.clone()), name)).alias(added)
            });
            let scan = LogicalPlan::TableScan(scan);
            let columns: Vec<Expr> = scan.schema().columns().into_iter().map(Expr::Column).collect();
            Ok(LogicalPlanBuilder::from(scan).project(columns.into_iter().chain(added))?.build()?)
        }
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().try_for_each(check_expression)?;
            let input = with_entries(Arc::unwrap_or_clone(projection.input), signal)?;
            let mut columns = projection.expr;
            columns.extend(added_columns(&input));
            Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?))
        }
        LogicalPlan::Filter(filter) => {
            check_expression(&filter.predicate)?;
            let input = with_entries(Arc::unwrap_or_clone(filter.input), signal)?;
            Ok(LogicalPlanBuilder::from(input).filter(filter.predicate)?.build()?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = with_entries(Arc::unwrap_or_clone(alias.input), signal)?;
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?))
        }
        // The views are made of it.
        LogicalPlan::Unnest(unnest) => {
            let input = with_entries(Arc::unwrap_or_clone(unnest.input), signal)?;
            let input = LogicalPlanBuilder::from(input);
            Ok(input.unnest_columns_with_options(unnest.exec_columns, unnest.options)?.build()?)
        }
        other => Err(not_followable(name(&other))),
    }
}

/// Refuses what depends on other rows than its own.
fn check_expression(expr: &Expr) -> Result<()> {
    if has_query(expr)? { Err(not_followable("a subquery")) } else { Ok(()) }
}

/// Whether there is a subquery in it.
pub(crate) fn has_query(expr: &Expr) -> Result<bool> {
    let is_query = |expr: &Expr| {
        matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
        )
    };
    Ok(expr.exists(|expr| Ok(is_query(expr)))?)
}

fn added_columns(plan: &LogicalPlan) -> [Expr; NUM_ADDED] {
    let schema = plan.schema();
    let first = schema.fields().len() - NUM_ADDED;
    [first, first + 1].map(|index| Expr::Column(Column::from(schema.qualified_field(index))))
}

/// What a statement would call a node.
fn name(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Limit(_) => "LIMIT or OFFSET",
        LogicalPlan::Aggregate(_) => "GROUP BY or aggregate functions",
        LogicalPlan::Distinct(_) => "DISTINCT",
        LogicalPlan::Window(_) => "window functions",
        LogicalPlan::Join(_) => "a join",
        LogicalPlan::Union(_) => "UNION",
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => "no table",
        _ => "a statement of this kind",
    }
}
