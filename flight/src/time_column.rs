//! `time` for `timestamp`, in statements that would fail without.
//!
//! The query builder of Grafana's InfluxDB data source puts `WHERE "time" >= ... AND "time" <= ...` into every statement, and
//! takes a series only from a result with a column of that name. No table of telemetry has one; so where a statement cannot
//! be planned for want of it, `time` stands for `timestamp`, and in a result it keeps its name. A `time` that the statement
//! makes itself (`date_bin(...) AS time`), and tables that have one, go before.

use std::collections::HashSet;
use std::ops::ControlFlow;

use alula_catalog::schema::TIMESTAMP;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, VisitMut,
    VisitorMut,
};

const TIME: &str = "time";

/// A name that no statement can have, for a `time` that stays.
const HELD: &str = "\0time";

/// Whether a statement cannot be planned because there is no column `time`.
pub(crate) fn is_missing(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => is_missing(inner),
        DataFusionError::Collection(errors) => errors.iter().any(is_missing),
        DataFusionError::SchemaError(error, _) => {
            matches!(error.as_ref(), SchemaError::FieldNotFound { field, .. } if field.name() == TIME)
        }
        _ => false,
    }
}

/// The statement with `timestamp` for `time` where it reads tables; none if it is not a query.
pub(crate) fn renamed(statement: &Statement) -> Option<Statement> {
    let mut renamed = statement.clone();
    let mut query = &mut renamed;
    while let Statement::Explain(explain) = query {
        query = &mut explain.statement;
    }
    let Statement::Statement(inner) = query else { return None };
    inner.visit(&mut Renaming::default()).is_continue().then_some(renamed)
}

#[derive(Default)]
struct Renaming {
    named_queries: HashSet<String>,
    /// For each query and select that is being visited, the innermost last, whether it reads a table.
    reads_table: Vec<bool>,
}

impl Renaming {
    fn reads_table(&self, select: &Select) -> bool {
        let relations = select.from.iter().flat_map(|table| {
            std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
        });
        let mut tables = relations.filter_map(|relation| match relation {
            TableFactor::Table { name, .. } => Some(name.to_string().to_lowercase()),
            _ => None,
        });
        tables.any(|name| !self.named_queries.contains(&name))
    }
}

impl VisitorMut for Renaming {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        self.named_queries.extend(named.map(|named| named.alias.name.value.to_lowercase()));
        let select = first_select(&query.body);
        self.reads_table.push(select.is_some_and(|select| self.reads_table(select)));
        if select.is_some_and(|select| select.projection.iter().any(is_time_item)) {
            order_keys(query).for_each(|key| rename(key, TIME, HELD));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.reads_table.pop();
        order_keys(query).for_each(|key| rename(key, HELD, TIME));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let reads_table = self.reads_table(select);
        self.reads_table.push(reads_table);
        if !select.projection.iter().any(is_time_item) {
            return ControlFlow::Continue(());
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && is_time_item(&SelectItem::UnnamedExpr(expr.clone()))
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new(TIME) };
            }
        }
        group_keys(select).for_each(|key| rename(key, TIME, HELD));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.reads_table.pop();
        group_keys(select).for_each(|key| rename(key, HELD, TIME));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.reads_table.last() == Some(&true) {
            rename(expr, TIME, TIMESTAMP);
        }
        ControlFlow::Continue(())
    }
}

fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

fn order_keys(query: &mut Query) -> impl Iterator<Item = &mut Expr> {
    let keys = query.order_by.as_mut().and_then(|order| match &mut order.kind {
        OrderByKind::Expressions(keys) => Some(keys),
        OrderByKind::All(_) => None,
    });
    keys.into_iter().flatten().map(|key| &mut key.expr)
}

fn group_keys(select: &mut Select) -> impl Iterator<Item = &mut Expr> {
    let keys = match &mut select.group_by {
        GroupByExpr::Expressions(keys, _) => Some(keys),
        GroupByExpr::All(_) => None,
    };
    keys.into_iter().flatten()
}

/// Whether the result has a column `time` of this item.
fn is_time_item(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => is_named(name, TIME),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => {
            names.last().is_some_and(|name| is_named(name, TIME))
        }
        SelectItem::ExprWithAlias { alias, .. } => is_named(alias, TIME),
        _ => false,
    }
}

fn is_named(ident: &Ident, name: &str) -> bool {
    if ident.quote_style.is_some() { ident.value == name } else { ident.value.eq_ignore_ascii_case(name) }
}

/// Gives a column another name, if it has this one.
fn rename(expr: &mut Expr, from: &str, to: &str) {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last_mut(),
        _ => None,
    };
    if let Some(name) = name.filter(|name| is_named(name, from)) {
        to.clone_into(&mut name.value);
    }
}

#[cfg(test)]
mod tests;
