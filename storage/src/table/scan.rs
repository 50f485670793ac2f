//! [`TelemetryScan`]: the plan node that streams buffer and files of a table, or the files of a user table.
//!
//! Not a `UnionExec`: this node carries the tenant, which the execution guard checks, and it is where sort and limit push-down
//! over both sides belong.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use alula_catalog::TenantId;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, config::ConfigOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, CardinalityEffect, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, FilterDescription, FilterPushdownPhase,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::TryStreamExt;

use super::figures::Planned;

/// Streams one table of one tenant: the partitions of its inputs, one after the other.
#[derive(Debug)]
pub struct TelemetryScan {
    tenant: TenantId,
    /// What it is called in a plan.
    name: &'static str,
    table: Arc<str>,
    /// Of the buffer, then of the files if there are any.
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    planned: Planned,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl TelemetryScan {
    pub(super) fn try_new(
        tenant: TenantId,
        table: &'static str,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        planned: Planned,
    ) -> Result<Self> {
        Self::of_inputs(tenant, "TelemetryScan", table.into(), inputs, planned)
    }

    /// A scan of a table of the tenant's own.
    pub(super) fn of_user_table(
        tenant: TenantId,
        table: &str,
        input: Arc<dyn ExecutionPlan>,
        planned: Planned,
    ) -> Result<Self> {
        Self::of_inputs(tenant, "UserTableScan", table.into(), vec![input], planned)
    }

    fn of_inputs(
        tenant: TenantId,
        name: &'static str,
        table: Arc<str>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        planned: Planned,
    ) -> Result<Self> {
        let Some(first) = inputs.first() else {
            return Err(DataFusionError::Internal("a telemetry scan has at least one input".to_owned()));
        };
        let partitions = inputs.iter().map(|input| input.output_partitioning().partition_count()).sum();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(first.schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { tenant, name, table, inputs, planned, metrics, properties: Arc::new(properties) })
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub(super) fn planned(&self) -> Planned {
        self.planned
    }

    pub(super) fn metrics_set(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    /// The input that owns a partition of this node, and its number there.
    fn owner(&self, mut partition: usize) -> Result<(usize, usize)> {
        for (index, input) in self.inputs.iter().enumerate() {
            let count = input.output_partitioning().partition_count();
            if partition < count {
                return Ok((index, partition));
            }
            partition -= count;
        }
        Err(DataFusionError::Internal("the telemetry scan has no such partition".to_owned()))
    }
}

impl DisplayAs for TelemetryScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: table={}", self.name, self.table)
    }
}

impl ExecutionPlan for TelemetryScan {
    fn name(&self) -> &'static str {
        self.name
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.inputs.len()]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (tenant, table) = (self.tenant.clone(), Arc::clone(&self.table));
        let scan = Self::of_inputs(tenant, self.name, table, children, self.planned)?;
        Ok(Arc::new(Self { metrics: self.metrics.clone(), ..scan }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (input, partition) = self.owner(partition)?;
        let rows = self.inputs[input].execute(partition, context)?;
        let schema = rows.schema();
        let rows = rows.inspect_ok(move |batch| metrics.record_output(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        let Some(partition) = partition else { return vec![ChildStats::At(None); self.inputs.len()] };
        let owner = self.owner(partition).ok();
        (0..self.inputs.len())
            .map(|index| match owner {
                Some((input, partition)) if input == index => ChildStats::At(Some(partition)),
                _ => ChildStats::Skip,
            })
            .collect()
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match args.partition() {
            Some(partition) => Ok(Arc::clone(&inputs[self.owner(partition)?.0])),
            None => {
                let inputs = inputs.iter().map(AsRef::as_ref);
                Ok(Arc::new(Statistics::try_merge_iter(inputs, &self.schema())?))
            }
        }
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    /// Filters go on to both sides. Files use them to skip row groups and pages; what remains is filtered above.
    ///
    /// Those on floats stay here: NaN is above every number to a comparison, and in no smallest and largest value of Parquet's.
    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let schema = self.schema();
        let fields = schema.fields().iter().enumerate();
        let exact: HashSet<usize> =
            fields.filter(|(_, field)| !has_floats(field.data_type())).map(|(index, _)| index).collect();
        self.children().into_iter().try_fold(FilterDescription::new(), |all, child| {
            let filters = &parent_filters;
            let own = ChildFilterDescription::from_child_with_allowed_indices(filters, exact.clone(), child)?;
            Ok(all.with_child(own))
        })
    }
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_floats(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::Dictionary(_, value) => has_floats(value),
        other => other.is_floating(),
    }
}

#[cfg(test)]
mod tests;
