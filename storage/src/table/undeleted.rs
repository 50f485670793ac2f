//! [`Undeleted`]: leaves deleted rows out of a part of a scan.
//!
//! It stands below everything that a statement can see, so no answer, no error and no statistic of a statement depends on a
//! deleted row.

use std::fmt;
use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, config::ConfigOptions, internal_datafusion_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions,
};
use datafusion::physical_plan::filter_pushdown::{FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{StreamExt, future};

use crate::Error;
use crate::deletion::RowFilter;

/// The rows of its input that stay, without the columns that only the filter needs.
#[derive(Debug)]
pub(super) struct Undeleted {
    /// The wanted columns, then those that only the filter needs.
    input: Arc<dyn ExecutionPlan>,
    num_columns: usize,
    filter: Arc<RowFilter>,
    properties: Arc<PlanProperties>,
}

impl Undeleted {
    pub(super) fn try_new(
        input: Arc<dyn ExecutionPlan>,
        num_columns: usize,
        filter: Arc<RowFilter>,
    ) -> Result<Self> {
        let wanted: Vec<usize> = (0..num_columns).collect();
        let schema = Arc::new(input.schema().project(&wanted)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(Self { input, num_columns, filter, properties: Arc::new(properties) })
    }
}

/// The columns to read for `projection` and `filter`: those of the projection first. None if they are all columns.
pub(super) fn widened(projection: Option<&Vec<usize>>, filter: &RowFilter) -> Option<Vec<usize>> {
    let mut columns = projection?.clone();
    let wanted = columns.len();
    columns.extend(filter.columns());
    let mut only_filtered = columns.split_off(wanted);
    only_filtered.retain(|column| !columns.contains(column));
    columns.extend(only_filtered);
    Some(columns)
}

impl DisplayAs for Undeleted {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undeleted")
    }
}

impl ExecutionPlan for Undeleted {
    fn name(&self) -> &'static str {
        "Undeleted"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
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
        let input =
            children.pop().ok_or_else(|| internal_datafusion_err!("no input to leave rows out of"))?;
        Ok(Arc::new(Self::try_new(input, self.num_columns, Arc::clone(&self.filter))?))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let (filter, schema) = (Arc::clone(&self.filter), self.schema());
        let wanted: Arc<[usize]> = (0..self.num_columns).collect();
        let rows = rows.map(move |batch| keep(&batch?, &filter, &wanted));
        let rows = rows.filter(|kept| future::ready(!matches!(kept, Ok(batch) if batch.num_rows() == 0)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&schema), rows)))
    }

    /// Nothing is exact any more: how many rows stay is not known, nor which values they have.
    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let input =
            inputs.first().ok_or_else(|| internal_datafusion_err!("no input to leave rows out of"))?;
        let wanted: Vec<usize> = (0..self.num_columns).collect();
        Ok(Arc::new(Statistics::clone(input).project(Some(&wanted)).to_inexact()))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    /// Files use filters to skip row groups and pages, which leaves out no row that is asked for.
    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(parent_filters, &self.children())
    }
}

fn keep(batch: &RecordBatch, filter: &RowFilter, wanted: &[usize]) -> Result<RecordBatch> {
    let kept = filter.keep(batch).map_err(|error| match error {
        // The reason why a statement's own condition fails is for its sender.
        Error::Predicate { deletion, source } => match source.downcast::<DataFusionError>() {
            Ok(reason) => *reason,
            Err(source) => DataFusionError::External(Error::Predicate { deletion, source }.into()),
        },
        error => DataFusionError::External(error.into()),
    })?;
    let batch = batch.project(wanted)?;
    if kept.values().count_set_bits() == batch.num_rows() {
        return Ok(batch);
    }
    Ok(filter_record_batch(&batch, &kept)?)
}
