//! Makes plans ask from time to time whether they are to end.
//!
//! | what runs | where it asks |
//! |---|---|
//! | planning | a [`Checkpoint`] between any two rules of the optimizers |
//! | operators | a [`Watched`] around each, at every batch (`operator.rs`); it also lets other tasks have their turn |
//! | operators whose expressions take long | the same, and they get only as many rows as they do in a moment: `pace.rs` |
//! | the condition of a join | a [`WatchedCondition`], at every block of pairs (`condition.rs`) |
//! | functions of text | between slices of a batch that takes long: `functions.rs` |
//! | functions that make much of little | before they are called, and are refused: `growth.rs` |
//! | aggregates over windows | at each value that they make: `windows.rs` |
//!
//! Where one column of a batch becomes longer than Arrow's offsets can say, some kernels panic; each operator's are caught.
//!
//! DataFusion yields only at the leaves of a plan, which a join reads once before it works for minutes.

mod condition;
mod functions;
mod growth;
mod operator;
mod pace;
mod windows;

use std::sync::Arc;

use alula_storage::table::TelemetryScan;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::{Analyzer, AnalyzerRule};
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::windows::WindowAggExec;

use condition::WatchedCondition;
pub(crate) use functions::{is_growing, watched_function};
use operator::{Output, Watched};
use pace::paces_of;

use crate::stop::Stop;

/// The rules of the analyzer, each behind a checkpoint.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let rules = Analyzer::new().rules.into_iter();
    let mut rules: Vec<_> = rules.flat_map(|rule| [Arc::new(Checkpoint) as _, rule]).collect();
    rules.push(Arc::new(windows::WatchWindows));
    rules
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
        // The rules compute constants: what one of them makes of all together counts.
        growth::begin_counting();
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
        // From here on it is what is made of a batch that counts.
        growth::end_counting();
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
    let paces = paces_of(&plan)?;
    let output = Output {
        max_rows: growth::rows_per_batch(&plan)?.unwrap_or(usize::MAX),
        paces: paces.clone(),
        is_kept: plan.is::<WindowAggExec>(),
    };
    let children = plan.children().into_iter().map(|child| {
        let input = watched(Arc::clone(child), stop)?;
        Ok(Watched::limited(input, stop, &output))
    });
    let children = children.collect::<Result<Vec<_>>>()?;
    // A watched plan has the properties of the plan itself, and filters that operators share stay shared.
    let plan = plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))?;
    let input = with_watched_condition(plan, stop)?;
    Ok(Arc::new(Watched::new(input, stop, paces)))
}

fn with_watched_condition(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = |filter: &JoinFilter| -> Result<Option<JoinFilter>> {
        let condition = Arc::new(WatchedCondition::try_new(Arc::clone(filter.expression()), stop)?);
        Ok(Some(JoinFilter::new(condition, filter.column_indices().to_vec(), Arc::clone(filter.schema()))))
    };
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        if let Some(filter) = join.filter() {
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(watched(filter)?);
            return Ok(Arc::new(join.build()?));
        }
    } else if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(watched(filter)?).build_exec();
    }
    Ok(plan)
}
