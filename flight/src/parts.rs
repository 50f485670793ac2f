//! Parts: one query as several tickets, for clients that fetch a big result in parallel.
//!
//! A ticket holds its part, so whoever has the key answers it, whatever becomes of the other tickets. Its parts are the query:
//! - All see the entries of the log up to the same one, as statements of a transaction do. So nothing that is ingested, flushed or
//!   compacted between the calls changes them; what is deleted, or past its retention, is gone from then on.
//! - Each sees the rows of a slice of time. Slices meet, and the first and the last have no end, so a row is in one of them.
//! - `now()` is the time of `GetFlightInfo` in all of them.
//!
//! They are cut by time and not by `ingest_seq`, because files are: they have the rows of an hour or a day, and what late senders
//! sent comes into files of its time. Compaction leaves that as it is, and makes the ranges of `ingest_seq` in files overlap. So a
//! part leaves out the files of the others, while by entries it would read most of them.
//!
//! Only a query each of whose rows is made of one row of one table of telemetry, and of nothing else, is the sum of such parts.
//!
//! | file | purpose |
//! |---|---|
//! | `split.rs` | the times at which is cut |

mod split;

use std::sync::Arc;

use alula_catalog::SequenceNumber;
use alula_storage::table::{
    SequenceRange, TelemetryTable, TimeSlice, bind_sequences, bind_tenant, bind_times,
};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use prost::Message;

use crate::Result;
use crate::context::QueryContext;
use crate::tail::has_query;
use crate::ticket::SignedStatement;

use split::split;

/// The most parts of a query.
pub(crate) const MAX_PARTS: u32 = 64;

/// The most bytes of a query's tickets together: they come in one message, of which many clients take no more than 4 MiB.
const MAX_BYTES: usize = 2 << 20;

/// Bytes of a ticket besides the statement, at most.
const TICKET_BYTES: usize = 1 << 10;

/// One part of a query.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub(crate) struct Part {
    /// The last entry of the log that it sees.
    #[prost(uint64, tag = "1")]
    as_of: u64,
    /// Nanoseconds since the Unix epoch; none in the first part.
    #[prost(sfixed64, optional, tag = "2")]
    from_ns: Option<i64>,
    /// Not part of it; none in the last part.
    #[prost(sfixed64, optional, tag = "3")]
    before_ns: Option<i64>,
    /// What `now()` answers.
    #[prost(sfixed64, optional, tag = "4")]
    pub(crate) now_ns: Option<i64>,
}

impl Part {
    pub(crate) fn as_of(&self) -> SequenceNumber {
        SequenceNumber(self.as_of)
    }

    fn slice(&self) -> TimeSlice {
        TimeSlice { from_ns: self.from_ns, before_ns: self.before_ns }
    }

    /// Lets a plan see the rows of this part's time alone.
    pub(crate) fn bind(&self, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        bind_times(plan, self.slice())
    }
}

/// How many parts a client may ask for.
pub(crate) fn number_of_parts(asked: u64) -> Option<u32> {
    u32::try_from(asked).ok().filter(|number| (1..=MAX_PARTS).contains(number))
}

/// So many of `most` tickets that they come in one message.
pub(crate) fn affordable(statement: &SignedStatement, most: usize) -> usize {
    let bytes = statement.sql.len() + statement.parameters.len() + TICKET_BYTES;
    most.min(MAX_BYTES / bytes).max(1)
}

/// The statements that fetch the parts, or the whole if there are none.
pub(crate) fn apart(statement: SignedStatement, parts: Vec<Part>) -> Vec<SignedStatement> {
    if parts.is_empty() {
        return vec![statement];
    }
    let of_part = |part| {
        let mut statement = statement.clone();
        statement.settings.part = Some(part);
        statement
    };
    parts.into_iter().map(of_part).collect()
}

/// Cuts a query into `most` parts at most, of similar size as far as the catalog and the buffer tell; none if it cannot be cut.
pub(crate) fn cut(plan: LogicalPlan, context: &QueryContext, most: usize) -> Result<Vec<Part>> {
    let Some(table) = only_table(&plan)? else { return Ok(Vec::new()) };
    let Some(table) = table.downcast_ref::<TelemetryTable>() else { return Ok(Vec::new()) };
    let as_of = context.settings.as_of().unwrap_or_else(|| table.last_seq());
    let plan = bind_sequences(bind_tenant(plan, &context.tenant)?, SequenceRange::up_to(as_of))?;
    // Puts the filters into the scan. Where they let nothing through there is no scan, and so no row.
    let plan = context.state.optimize(&plan)?;
    let mut rows = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            rows = table.rows_by_time(&context.state, &unnormalize_cols(scan.filters.iter().cloned()))?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let now = context.state.execution_props().query_execution_start_time;
    let whole =
        Part { as_of: as_of.0, now_ns: now.and_then(|now| now.timestamp_nanos_opt()), ..Part::default() };
    Ok(between(whole, &split(&rows, most)))
}

/// The parts of `whole` between these times, which rise.
fn between(whole: Part, times: &[i64]) -> Vec<Part> {
    let times = || times.iter().copied().map(Some);
    let (from, before) = ([None].into_iter().chain(times()), times().chain([None]));
    from.zip(before).map(|(from_ns, before_ns)| Part { from_ns, before_ns, ..whole }).collect()
}

/// The table of a plan each of whose rows is made of one row of it, and of nothing else.
fn only_table(plan: &LogicalPlan) -> Result<Option<Arc<dyn TableProvider>>> {
    let mut node = plan;
    loop {
        for expr in &node.expressions() {
            if has_query(expr)? || expr.is_volatile() {
                return Ok(None);
            }
        }
        node = match node {
            LogicalPlan::TableScan(scan) => return Ok(Some(source_as_provider(&scan.source)?)),
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            // The views are made of it.
            LogicalPlan::Unnest(unnest) => &unnest.input,
            _ => return Ok(None),
        };
    }
}

#[cfg(test)]
mod tests;
