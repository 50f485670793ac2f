//! Makes plans ask from time to time whether they are to end.
//!
//! | what runs | where it asks |
//! |---|---|
//! | planning | a [`Checkpoint`] between any two rules of the optimizers |
//! | operators | a [`Watched`] around each, at every batch; it also lets other tasks have their turn |
//! | the condition of a join | a [`WatchedCondition`], at every block of pairs: a join may look at billions and send no batch |
//! | functions of text | between slices of a batch that takes long: `functions.rs` |
//! | functions that make much of little | before they are called, and are refused: `growth.rs` |
//!
//! Where one column of a batch becomes longer than Arrow's offsets can say, some kernels panic; each operator's are caught.
//!
//! DataFusion yields only at the leaves of a plan, which a join reads once before it works for minutes.

mod functions;
mod growth;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use alula_storage::table::TelemetryScan;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{ColumnarValue, LogicalPlan};
use datafusion::optimizer::analyzer::{Analyzer, AnalyzerRule};
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions,
};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt};

pub(crate) use functions::watched_function;

use crate::panics::{Overflow, within_offsets};
use crate::stop::Stop;

/// The rules of the analyzer, each behind a checkpoint.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    Analyzer::new().rules.into_iter().flat_map(|rule| [Arc::new(Checkpoint) as _, rule]).collect()
}

/// The rules of the optimizer, each behind a checkpoint.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    Optimizer::new().rules.into_iter().flat_map(|rule| [Arc::new(Checkpoint) as _, rule]).collect()
}

/// The rules of the physical optimizer, each behind a checkpoint, and what makes the plan ask.
pub(crate) fn physical_optimizer_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let rules = PhysicalOptimizer::new().rules.into_iter();
    let mut rules: Vec<_> = rules.flat_map(|rule| [Arc::new(Checkpoint) as _, rule]).collect();
    rules.push(Arc::new(WatchPlan));
    rules
}

/// A rule that changes nothing, and fails once the statement is to end.
#[derive(Debug)]
struct Checkpoint;

impl Checkpoint {
    const NAME: &'static str = "checkpoint";

    fn pass() -> Result<()> {
        Stop::current().map_or(Ok(()), |stop| stop.check_plan())
    }
}

impl AnalyzerRule for Checkpoint {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Self::pass().map(|()| plan)
    }

    fn name(&self) -> &str {
        Self::NAME
    }
}

impl OptimizerRule for Checkpoint {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        Self::pass().map(|()| Transformed::no(plan))
    }
}

impl PhysicalOptimizerRule for Checkpoint {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Self::pass().map(|()| plan)
    }

    fn name(&self) -> &str {
        Self::NAME
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Puts a [`Watched`] around every operator.
#[derive(Debug)]
struct WatchPlan;

impl PhysicalOptimizerRule for WatchPlan {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        match Stop::current() {
            Some(stop) => watched(plan, &stop),
            None => Ok(plan),
        }
    }

    fn name(&self) -> &'static str {
        "watch_plan"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Leaves are not wrapped: DataFusion makes them yield by itself.
fn watched(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.children().is_empty() || plan.is::<TelemetryScan>() {
        return Ok(plan);
    }
    let max_rows = growth::rows_per_batch(&plan)?;
    let children = plan.children().into_iter().map(|child| {
        let input = watched(Arc::clone(child), stop)?;
        Ok(match max_rows {
            Some(max_rows) => Arc::new(Watched { input, stop: stop.clone(), max_rows }),
            None => input,
        })
    });
    let children = children.collect::<Result<Vec<_>>>()?;
    // A watched plan has the properties of the plan itself, and filters that operators share stay shared.
    let plan = plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))?;
    let input = with_watched_condition(plan, stop)?;
    Ok(Arc::new(Watched { input, stop: stop.clone(), max_rows: usize::MAX }))
}

fn with_watched_condition(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = |filter: &JoinFilter| {
        let inner = Arc::clone(filter.expression());
        let condition = Arc::new(WatchedCondition { inner, stop: stop.clone() });
        JoinFilter::new(condition, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    };
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        if let Some(filter) = join.filter() {
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(watched(filter)));
            return Ok(Arc::new(join.build()?));
        }
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(Some(watched(filter))).build_exec();
    }
    Ok(plan)
}

/// An operator that asks at every batch, of which none has more than so many rows.
#[derive(Debug)]
struct Watched {
    input: Arc<dyn ExecutionPlan>,
    stop: Stop,
    max_rows: usize,
}

impl DisplayAs for Watched {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl ExecutionPlan for Watched {
    fn name(&self) -> &'static str {
        "Watched"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| internal_datafusion_err!("nothing to watch"))?;
        Ok(Arc::new(Self { input, stop: self.stop.clone(), max_rows: self.max_rows }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        Ok(Box::pin(WatchedRows { rows, stop: self.stop.clone(), max_rows: self.max_rows, rest: None }))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

struct WatchedRows {
    rows: SendableRecordBatchStream,
    stop: Stop,
    max_rows: usize,
    /// Of a batch that has too many rows, those that are still to come.
    rest: Option<RecordBatch>,
}

impl WatchedRows {
    fn cut(&mut self, batch: RecordBatch) -> RecordBatch {
        if batch.num_rows() <= self.max_rows {
            return batch;
        }
        self.rest = Some(batch.slice(self.max_rows, batch.num_rows() - self.max_rows));
        batch.slice(0, self.max_rows)
    }
}

impl Stream for WatchedRows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(stopped) = self.stop.check_plan() {
            return Poll::Ready(Some(Err(stopped)));
        }
        let turn = ready!(tokio::task::coop::poll_proceed(cx));
        let polled = match self.rest.take() {
            Some(rest) => Poll::Ready(Some(Ok(rest))),
            None => match within_offsets(|| self.rows.poll_next_unpin(cx)) {
                Ok(polled) => polled,
                Err(Overflow) => Poll::Ready(Some(Err(growth::too_much_text()))),
            },
        };
        if polled.is_ready() {
            turn.made_progress();
        }
        polled.map_ok(|batch| self.cut(batch))
    }
}

impl RecordBatchStream for WatchedRows {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// The condition of a join, which asks at every block of pairs.
#[derive(Debug)]
struct WatchedCondition {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl fmt::Display for WatchedCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for WatchedCondition {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for WatchedCondition {}

impl Hash for WatchedCondition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for WatchedCondition {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, pairs: &RecordBatch) -> Result<ColumnarValue> {
        self.stop.check_plan()?;
        self.inner.evaluate(pairs)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().ok_or_else(|| internal_datafusion_err!("nothing to watch"))?;
        Ok(Arc::new(Self { inner, stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
