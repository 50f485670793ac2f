//! Clauses that the parser takes and the planner leaves out without a word: `TABLESAMPLE` would give all rows. Who asks for
//! something is not to get something else, so they are refused. A few of them only another dialect parses.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, Function, FunctionArg, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    GroupByExpr, NamedWindowDefinition, NamedWindowExpr, OrderByOptions, PipeOperator, Query, Select,
    SetExpr, Statement, TableAlias, TableFactor, Visit, Visitor, WindowType, visit_expressions,
};

use crate::functions::is_scalar_function;
use crate::{Error, Result};

/// # Errors
/// `Unsupported` — the planner would leave out a part of the statement.
pub(super) fn refuse_dropped(statement: &Statement) -> Result<()> {
    match statement.visit(&mut Dropped) {
        ControlFlow::Break(what) => Err(Error::Unsupported { what: what.to_owned() }),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Ends at the first clause that would be left out, with its name.
struct Dropped;

type Found = ControlFlow<&'static str>;

impl Visitor for Dropped {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> Found {
        let with = query.with.iter();
        let is_recursive = with.clone().any(|with| with.recursive);
        let named = || with.clone().flat_map(|with| &with.cte_tables);
        first([
            (!query.locks.is_empty(), "FOR UPDATE or FOR SHARE"),
            (query.for_clause.is_some(), "FOR XML, FOR JSON or FOR BROWSE"),
            (query.settings.is_some(), "SETTINGS in a query (there are session options and headers)"),
            (query.format_clause.is_some(), "FORMAT in a query"),
            (names_window(&query.order_by) || names_window(&query.pipe_operators), NAMED_WINDOW),
            (query.pipe_operators.iter().any(is_ordered_aggregate), "ASC or DESC in AGGREGATE"),
            (named().any(|cte| cte.from.is_some()), "FROM behind a WITH query"),
            (named().any(|cte| has_types(&cte.alias)), TYPED_ALIAS),
            (
                is_recursive && named().any(is_cut_recursion),
                "WITH, ORDER BY, LIMIT or |> inside of a query of WITH RECURSIVE that has a UNION (put it where that query is \
                 read)",
            ),
        ])
    }

    fn pre_visit_select(&mut self, select: &Select) -> Found {
        let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = &select.group_by;
        let is_extended = |window: &NamedWindowDefinition| match &window.1 {
            NamedWindowExpr::WindowSpec(window) => window.window_name.is_some(),
            NamedWindowExpr::NamedWindow(_) => false,
        };
        first([
            (select.into.is_some(), "SELECT INTO (write CREATE TABLE ... AS SELECT ...)"),
            (select.prewhere.is_some(), "PREWHERE (write WHERE)"),
            (!select.connect_by.is_empty(), "CONNECT BY (write WITH RECURSIVE)"),
            (
                !modifiers.is_empty(),
                "WITH ROLLUP, CUBE or TOTALS, or GROUPING SETS behind what is grouped by (write GROUP BY ROLLUP (...))",
            ),
            (select.exclude.is_some(), "EXCLUDE behind the list of columns (write * EXCLUDE (...))"),
            (select.value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE"),
            (select.named_window.iter().any(is_extended), EXTENDED_WINDOW),
            (names_window(&select.qualify) || names_window(&select.having), NAMED_WINDOW),
        ])
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Found {
        match factor {
            TableFactor::Table {
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                name: _,
            } => first([
                (sample.is_some(), SAMPLE),
                (version.is_some(), "a version of a table (AS OF)"),
                (*with_ordinality, WITH_ORDINALITY),
                (!partitions.is_empty(), "PARTITION behind a table (write WHERE)"),
                (!with_hints.is_empty() || !index_hints.is_empty(), "a hint behind a table"),
                (json_path.is_some(), "a path behind a table"),
                (args.as_ref().is_some_and(|args| args.settings.is_some()), "SETTINGS of a function"),
                (alias.as_ref().is_some_and(has_types), TYPED_ALIAS),
            ]),
            TableFactor::Derived { sample, alias, .. } => {
                first([(sample.is_some(), SAMPLE), (alias.as_ref().is_some_and(has_types), TYPED_ALIAS)])
            }
            TableFactor::Function { args, with_ordinality, alias, .. } => first([
                (*with_ordinality, WITH_ORDINALITY),
                (
                    args.iter().any(|arg| !matches!(arg, FunctionArg::Unnamed(_))),
                    "a named argument of a function in FROM",
                ),
                (alias.as_ref().is_some_and(has_types), TYPED_ALIAS),
            ]),
            TableFactor::UNNEST { alias, .. } | TableFactor::NestedJoin { alias, .. } => {
                first([(alias.as_ref().is_some_and(has_types), TYPED_ALIAS)])
            }
            // The planner refuses the others.
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Found {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let is_extended = |window: &WindowType| match window {
            WindowType::WindowSpec(window) => window.window_name.is_some(),
            WindowType::NamedWindow(_) => false,
        };
        first([
            (function.parameters != FunctionArguments::None, "a second list of arguments of a function"),
            (matches!(function.args, FunctionArguments::Subquery(_)), "a query as the list of arguments"),
            (function.over.as_ref().is_some_and(is_extended), EXTENDED_WINDOW),
            (
                is_aggregation(function) && is_scalar_function(&function.name.to_string().to_lowercase()),
                "OVER, FILTER, WITHIN GROUP, DISTINCT, ORDER BY or NULLS of a function that is no aggregate",
            ),
        ])
    }
}

const SAMPLE: &str = "TABLESAMPLE (write WHERE random() < 0.01 for a hundredth of the rows)";
const WITH_ORDINALITY: &str = "WITH ORDINALITY (write row_number() OVER ())";
const TYPED_ALIAS: &str = "a type, or AT, behind the name that AS gives (write CAST)";
const NAMED_WINDOW: &str = "a named window outside of the list of columns (write it out: OVER (...))";
const EXTENDED_WINDOW: &str = "a window that is made of a named one (write it out: OVER (...))";

fn first<const N: usize>(clauses: [(bool, &'static str); N]) -> Found {
    match clauses.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => ControlFlow::Break(what),
        None => ControlFlow::Continue(()),
    }
}

/// The planner knows names of windows in the list of columns alone; elsewhere it makes an aggregate of the function.
fn names_window(node: &impl Visit) -> bool {
    let found = visit_expressions(node, |expr| match expr {
        Expr::Function(Function { over: Some(WindowType::NamedWindow(_)), .. }) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn is_ordered_aggregate(operator: &PipeOperator) -> bool {
    let PipeOperator::Aggregate { full_table_exprs, group_by_expr } = operator else { return false };
    let plain = OrderByOptions { asc: None, nulls_first: None };
    full_table_exprs.iter().chain(group_by_expr).any(|expr| expr.order_by != plain)
}

/// The planner takes the two sides of the `UNION` and nothing else of the query, so that it may never end.
fn is_cut_recursion(cte: &Cte) -> bool {
    let query = &cte.query;
    matches!(*query.body, SetExpr::SetOperation { .. })
        && (query.with.is_some()
            || query.order_by.is_some()
            || query.limit_clause.is_some()
            || query.fetch.is_some()
            || !query.pipe_operators.is_empty())
}

fn has_types(alias: &TableAlias) -> bool {
    alias.at.is_some() || alias.columns.iter().any(|column| column.data_type.is_some())
}

/// Whether it says something that only means something for many rows together.
fn is_aggregation(function: &Function) -> bool {
    let in_list = |list: &FunctionArgumentList| {
        let means_many = |clause: &FunctionArgumentClause| {
            matches!(
                clause,
                FunctionArgumentClause::OrderBy(_) | FunctionArgumentClause::IgnoreOrRespectNulls(_)
            )
        };
        list.duplicate_treatment.is_some() || list.clauses.iter().any(means_many)
    };
    function.over.is_some()
        || function.filter.is_some()
        || function.null_treatment.is_some()
        || !function.within_group.is_empty()
        || matches!(&function.args, FunctionArguments::List(list) if in_list(list))
}

#[cfg(test)]
mod tests;
