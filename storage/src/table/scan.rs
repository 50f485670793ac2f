//! [`TelemetryScan`]: the plan node that streams buffer and files.
//!
//! Not a `UnionExec`: this node carries the tenant, which the execution guard checks, and it is where sort and limit push-down
//! over both sides belong.

use std::fmt;
use std::sync::Arc;

use alula_catalog::TenantId;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, config::ConfigOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, CardinalityEffect, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::filter_pushdown::{FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};

/// Streams one table of one tenant: the partitions of its inputs, one after the other.
#[derive(Debug)]
pub struct TelemetryScan {
    tenant: TenantId,
    table: &'static str,
    /// Of the buffer, then of the files if there are any.
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl TelemetryScan {
    pub(super) fn try_new(
        tenant: TenantId,
        table: &'static str,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
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
        Ok(Self { tenant, table, inputs, properties: Arc::new(properties) })
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
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
        write!(f, "TelemetryScan: table={}", self.table)
    }
}

impl ExecutionPlan for TelemetryScan {
    fn name(&self) -> &'static str {
        "TelemetryScan"
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
        Ok(Arc::new(Self::try_new(self.tenant.clone(), self.table, children)?))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (input, partition) = self.owner(partition)?;
        self.inputs[input].execute(partition, context)
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
    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(parent_filters, &self.children())
    }
}
