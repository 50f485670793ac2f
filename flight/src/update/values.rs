//! Many rows of parameters as one plan: an `INSERT` of ten thousand of them is planned, run and written once.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Values};

/// One plan in the place of plans that differ in the rows of the `VALUES` below them and in nothing else; otherwise the same.
pub(super) fn one_plan(plans: Vec<LogicalPlan>) -> Vec<LogicalPlan> {
    let [first, _, ..] = &plans[..] else { return plans };
    let rows: Option<Vec<_>> = plans.iter().map(|plan| rows_of(plan, first)).collect();
    let merged = rows.and_then(|rows| with_rows(first, rows.into_iter().flatten().cloned().collect()));
    merged.map_or(plans, |plan| vec![plan])
}

/// The rows of a plan that is `like` another one but for them.
fn rows_of<'a>(plan: &'a LogicalPlan, like: &LogicalPlan) -> Option<&'a Vec<Vec<Expr>>> {
    match (plan, like) {
        (LogicalPlan::Projection(plan), LogicalPlan::Projection(like)) if plan.expr == like.expr => {
            rows_of(&plan.input, &like.input)
        }
        (LogicalPlan::Values(plan), LogicalPlan::Values(like)) if plan.schema == like.schema => {
            Some(&plan.values)
        }
        _ => None,
    }
}

fn with_rows(plan: &LogicalPlan, values: Vec<Vec<Expr>>) -> Option<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let input = Arc::new(with_rows(&projection.input, values)?);
            let schema = Arc::clone(&projection.schema);
            let projection = Projection::try_new_with_schema(projection.expr.clone(), input, schema);
            projection.ok().map(LogicalPlan::Projection)
        }
        LogicalPlan::Values(rows) => {
            Some(LogicalPlan::Values(Values { schema: Arc::clone(&rows.schema), values }))
        }
        _ => None,
    }
}
