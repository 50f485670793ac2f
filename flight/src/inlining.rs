//! Refuses statements whose expressions would double until memory ends.
//!
//! `WITH t1 AS (SELECT v + v AS v FROM t0), t2 AS (SELECT v + v AS v FROM t1), ...` is short, and so is its plan. But to
//! push a filter down, the optimizer puts expressions in the place of the columns that stand for them, and each step
//! doubles the size. The optimizer never yields, so no timeout would stop it: this has to be found out before.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::{Error, Result};

/// Nodes that an expression may have after everything in it was put in place. A real one has hundreds.
const MAX_INLINED_NODES: u64 = 50_000;

/// # Errors
/// `TooComplex` — an expression of the plan would grow past the limit.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    column_sizes(plan).map(|_| ())
}

/// The size of each output column of a plan, as an expression of what lies below all projections.
fn column_sizes(plan: &LogicalPlan) -> Result<Vec<u64>> {
    let inputs = plan.inputs().into_iter().map(column_sizes).collect::<Result<Vec<_>>>()?;
    let width = plan.schema().fields().len();
    let mut sizes = match plan {
        LogicalPlan::Projection(projection) => expression_sizes(&projection.expr, plan, &inputs)?,
        LogicalPlan::Aggregate(aggregate) => expression_sizes(&aggregate.group_expr, plan, &inputs)?,
        LogicalPlan::Union(_) => {
            let widest =
                |column| inputs.iter().filter_map(|sizes: &Vec<u64>| sizes.get(column)).copied().max();
            (0..width).map(|column| widest(column).unwrap_or(1)).collect()
        }
        _ => {
            for expr in plan.expressions() {
                expression_sizes(std::slice::from_ref(&expr), plan, &inputs)?;
            }
            inputs.concat()
        }
    };
    // What a node adds itself (aggregates, windows, scanned columns) is a column to those above.
    sizes.resize(width, 1);
    Ok(sizes)
}

fn expression_sizes(exprs: &[Expr], plan: &LogicalPlan, inputs: &[Vec<u64>]) -> Result<Vec<u64>> {
    let children = plan.inputs();
    let of_column = |column| {
        children.iter().zip(inputs).find_map(|(child, sizes)| {
            let index = child.schema().maybe_index_of_column(column)?;
            sizes.get(index).copied()
        })
    };
    exprs
        .iter()
        .map(|expr| {
            let mut size = 0_u64;
            expr.apply(|node| {
                let added = match node {
                    Expr::Column(column) => of_column(column).unwrap_or(1),
                    _ => 1,
                };
                size = size.saturating_add(added);
                Ok(TreeNodeRecursion::Continue)
            })?;
            if size > MAX_INLINED_NODES {
                return Err(Error::TooComplex {
                    what: "operations in one expression, counting those of the columns it is made of",
                    limit: MAX_INLINED_NODES as usize,
                    advice: "compute less from computed columns",
                });
            }
            Ok(size)
        })
        .collect()
}
