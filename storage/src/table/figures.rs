//! What a scan was to read, and what it has read so far: for the progress and the statistics of a query.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricValue, MetricsSet};

use super::scan::TelemetryScan;

/// The metric that counts the data files of a scan that were opened.
pub(super) const FILES_READ: &str = "data_files_read";

/// What the catalog's statistics left to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Planned {
    /// Rows of the chunks and files that were kept.
    pub(super) num_rows: u64,
    /// Data files that were left out.
    pub(super) files_pruned: u64,
}

/// Watches one scan of a plan. It holds neither the plan nor its files.
#[derive(Clone, Debug)]
pub struct ScanWatch {
    planned: Planned,
    scan: ExecutionPlanMetricsSet,
    sources: Vec<ExecutionPlanMetricsSet>,
}

/// Figures of the scans of a query at one instant. None of them ever falls, and what was planned stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanFigures {
    /// Rows that were to be read before any file was opened.
    pub planned_rows: u64,
    /// Rows that came out of the scans.
    pub rows: u64,
    /// Bytes read from data files.
    pub bytes: u64,
    pub files_read: u64,
    pub files_pruned: u64,
    pub row_groups_read: u64,
    pub row_groups_pruned: u64,
}

impl ScanFigures {
    /// The sum over several scans.
    pub fn of<'a>(scans: impl IntoIterator<Item = &'a ScanWatch>) -> Self {
        scans.into_iter().fold(Self::default(), |sum, scan| sum.plus(scan.figures()))
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            planned_rows: self.planned_rows + other.planned_rows,
            rows: self.rows + other.rows,
            bytes: self.bytes + other.bytes,
            files_read: self.files_read + other.files_read,
            files_pruned: self.files_pruned + other.files_pruned,
            row_groups_read: self.row_groups_read + other.row_groups_read,
            row_groups_pruned: self.row_groups_pruned + other.row_groups_pruned,
        }
    }
}

impl ScanWatch {
    /// Watches every scan of a plan that is ready to run.
    pub fn all(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<Self>> {
        let mut watches = Vec::new();
        plan.apply(|node| {
            if let Some(scan) = node.downcast_ref::<TelemetryScan>() {
                watches.push(Self {
                    planned: scan.planned(),
                    scan: scan.metrics_set().clone(),
                    sources: sources(node)?,
                });
                return Ok(TreeNodeRecursion::Jump);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(watches)
    }

    fn figures(&self) -> ScanFigures {
        let mut figures = ScanFigures {
            planned_rows: self.planned.num_rows,
            files_pruned: self.planned.files_pruned,
            rows: self.scan.clone_inner().output_rows().unwrap_or(0) as u64,
            ..ScanFigures::default()
        };
        for metrics in self.sources.iter().map(ExecutionPlanMetricsSet::clone_inner) {
            figures.bytes += count(&metrics, "bytes_scanned");
            figures.files_read += count(&metrics, FILES_READ);
            let (seen, by_statistics) = row_groups(&metrics, "row_groups_pruned_statistics");
            let (_, by_bloom_filter) = row_groups(&metrics, "row_groups_pruned_bloom_filter");
            let (_, by_limit) = row_groups(&metrics, "limit_pruned_row_groups");
            let pruned = by_statistics
                + by_bloom_filter
                + by_limit
                + count(&metrics, "row_groups_pruned_dynamic_filter");
            figures.row_groups_pruned += pruned;
            figures.row_groups_read += seen.saturating_sub(pruned);
        }
        figures
    }
}

fn sources(scan: &Arc<dyn ExecutionPlan>) -> Result<Vec<ExecutionPlanMetricsSet>> {
    let mut sources = Vec::new();
    scan.apply(|node| {
        if let Some(source) = node.downcast_ref::<DataSourceExec>() {
            sources.push(source.data_source().metrics());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(sources)
}

fn count(metrics: &MetricsSet, name: &str) -> u64 {
    metrics.sum_by_name(name).map_or(0, |value| value.as_usize() as u64)
}

/// Row groups that were looked at, and those of them that were left out.
fn row_groups(metrics: &MetricsSet, metric: &str) -> (u64, u64) {
    metrics.iter().fold((0, 0), |(seen, left_out), each| match each.value() {
        MetricValue::PruningMetrics { name, pruning_metrics } if name == metric => {
            let (pruned, matched) = (pruning_metrics.pruned() as u64, pruning_metrics.matched() as u64);
            (seen + pruned + matched, left_out + pruned)
        }
        _ => (seen, left_out),
    })
}
