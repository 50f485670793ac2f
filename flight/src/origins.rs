//! Which columns of a result are columns of a table, for drivers that ask (`getTableName` of JDBC, `SQLColAttribute`).
//!
//! A column is one of a table as long as it is handed on under its name; a new name or a computation makes another column of
//! it. Views are made of unnested lists, and what comes out of those is no column of a table.

use std::sync::Arc;

use alula_storage::table::CATALOG_NAME;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

use crate::metadata::{origin, with_more};

/// The schema with catalog, schema and table at each column of `plan` that is one of a table.
///
/// `schema` has the columns of `plan`, and `default_schema` is that of tables named without one.
pub(crate) fn with_origins(schema: &SchemaRef, plan: &LogicalPlan, default_schema: &str) -> SchemaRef {
    let tables = origins(plan);
    if tables.len() != schema.fields().len() || tables.iter().all(Option::is_none) {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().zip(tables).map(|(field, table)| match table {
        Some(table) => {
            let table = table.resolve(CATALOG_NAME, default_schema);
            Arc::new(with_more(field, origin(&table.catalog, &table.schema, &table.table)))
        }
        None => Arc::clone(field),
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// For each column of the plan the table that it is a column of.
fn origins(plan: &LogicalPlan) -> Vec<Option<TableReference>> {
    let width = plan.schema().fields().len();
    let mut tables = match plan {
        LogicalPlan::TableScan(scan) => vec![Some(scan.table_name.clone()); width],
        LogicalPlan::Projection(projection) => of_expressions(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => of_expressions(&aggregate.group_expr, &aggregate.input),
        LogicalPlan::Window(window) => origins(&window.input),
        LogicalPlan::Filter(filter) => origins(&filter.input),
        LogicalPlan::Sort(sort) => origins(&sort.input),
        LogicalPlan::Limit(limit) => origins(&limit.input),
        LogicalPlan::SubqueryAlias(alias) => origins(&alias.input),
        LogicalPlan::Distinct(distinct) => {
            let input = distinct.input();
            // `DISTINCT ON` has expressions of its own.
            if input.schema().fields().len() == width { origins(input) } else { Vec::new() }
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => origins(&join.left),
            JoinType::RightSemi | JoinType::RightAnti => origins(&join.right),
            _ => [origins(&join.left), origins(&join.right)].concat(),
        },
        _ => Vec::new(),
    };
    // What a node adds itself (aggregates, windows, marks) is no column of a table.
    tables.resize(width, None);
    tables
}

fn of_expressions(exprs: &[Expr], input: &LogicalPlan) -> Vec<Option<TableReference>> {
    let tables = origins(input);
    let of = |expr: &Expr| match expr {
        Expr::Column(column) => {
            let index = input.schema().maybe_index_of_column(column)?;
            tables.get(index).cloned().flatten()
        }
        _ => None,
    };
    exprs.iter().map(of).collect()
}
