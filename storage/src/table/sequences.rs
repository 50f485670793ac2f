//! [`bind_sequences`]: lets a plan see the rows of some entries of the log alone.
//!
//! Entries become visible in the order of their numbers, so those up to a number are the same rows at any later time, less
//! what was deleted or is past its retention.

use alula_catalog::schema::INGEST_SEQ;
use alula_catalog::{SequenceNumber, Signal, TenantId};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

use super::provider::TelemetryTable;
use crate::Snapshot;

/// The entries after one, up to another and with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceRange {
    pub after: SequenceNumber,
    pub up_to: SequenceNumber,
}

impl SequenceRange {
    /// Everything up to an entry and with it.
    pub fn up_to(up_to: SequenceNumber) -> Self {
        Self { after: SequenceNumber(0), up_to }
    }
}

/// Puts a filter on `ingest_seq` over every scan of telemetry, in subqueries too. Tables of other kinds are as they are.
///
/// # Errors
/// The plan cannot be walked, which means a bug.
pub fn bind_sequences(plan: LogicalPlan, range: SequenceRange) -> Result<LogicalPlan> {
    filter_telemetry(plan, |table| {
        let seq = Expr::Column(Column::new(Some(table.clone()), INGEST_SEQ));
        let up_to = seq.clone().lt_eq(lit(range.up_to.0));
        if range.after > SequenceNumber(0) { seq.gt(lit(range.after.0)).and(up_to) } else { up_to }
    })
}

/// Puts a filter over every scan of telemetry, in subqueries too.
pub(super) fn filter_telemetry(
    plan: LogicalPlan,
    filter: impl Fn(&TableReference) -> Expr,
) -> Result<LogicalPlan> {
    let filtered = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(Transformed::no(node)) };
        if !source_as_provider(&scan.source)?.is::<TelemetryTable>() {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        }
        let filter = filter(&scan.table_name);
        let filtered = LogicalPlanBuilder::from(LogicalPlan::TableScan(scan)).filter(filter)?.build()?;
        Ok(Transformed::yes(filtered))
    })?;
    Ok(filtered.data)
}

impl Snapshot {
    /// The most rows that one table of a tenant can have of these entries. Costs no look at a row.
    pub fn max_rows_between(&self, tenant: &TenantId, signal: Signal, range: SequenceRange) -> u64 {
        let table = self.table(tenant, signal);
        let overlaps =
            |first: SequenceNumber, last: SequenceNumber| first <= range.up_to && last > range.after;
        let chunks = table.hot.iter().chain(&table.frozen);
        let chunks = chunks.filter(|chunk| overlaps(chunk.first_seq, chunk.last_seq));
        let files = table.files.iter().filter(|file| overlaps(file.first_seq, file.last_seq));
        chunks.map(|chunk| chunk.num_rows() as u64).sum::<u64>()
            + files.map(|file| file.num_rows).sum::<u64>()
    }
}
