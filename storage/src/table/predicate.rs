//! [`SqlPredicates`]: the conditions of deletions, as SQL says them.
//!
//! A condition is kept as text for as long as rows that it is true of may be in files, and must mean the same all that time.
//! So it may use only what depends on a row and on nothing else: no clock, no chance, no other row.

use std::fmt;
use std::sync::Arc;
use std::thread;

use alula_catalog::schema::{TIMESTAMP, table_schema};
use alula_catalog::{Signal, TimeRange};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::sqlparser::ast::{self, ExprWithAlias, Visit, Visitor};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;

use crate::{PredicateCompiler, PredicateError, RowPredicate};

/// Planning recurses over expressions, and compaction plans too, on a thread with a small stack.
const STACK_BYTES: usize = 64 << 20;

pub(super) const ALWAYS: TimeRange = TimeRange { min_ns: i64::MIN, max_ns: i64::MAX };

/// Plans conditions with the functions and operators of a session.
pub struct SqlPredicates {
    state: SessionState,
    parse: fn(&str) -> Result<ast::Expr>,
}

impl fmt::Debug for SqlPredicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlPredicates").finish_non_exhaustive()
    }
}

impl SqlPredicates {
    pub fn new(state: SessionState, parse: fn(&str) -> Result<ast::Expr>) -> Self {
        Self { state, parse }
    }

    /// Plans a condition over the table of `signal`, parameters included.
    ///
    /// # Errors
    /// `Plan`, `SchemaError` and others — it is no condition on a row alone.
    pub fn plan(&self, signal: Signal, condition: ast::Expr) -> Result<Expr> {
        if condition.visit(&mut FindQuery).is_break() {
            return plan_err!(
                "the condition of DELETE cannot have a subquery: select the values first and list them with IN (...)"
            );
        }
        let condition = ExprWithAlias { expr: condition, alias: None };
        let schema = qualified_schema(signal)?;
        let expr = self.state.create_logical_expr_from_sql_expr(condition, &schema)?;
        expr.apply(|node| check(node).map(|()| TreeNodeRecursion::Continue))?;
        match expr.get_type(&schema) {
            // That of a parameter is not known.
            Ok(DataType::Boolean | DataType::Null) | Err(_) => Ok(expr),
            Ok(other) => {
                plan_err!("the condition of DELETE must be true or false, and this one is a {other}")
            }
        }
    }

    fn compile_here(&self, signal: Signal, predicate: &str) -> Result<SqlPredicate> {
        let expr = self.plan(signal, (self.parse)(predicate)?)?;
        if expr.exists(|node| Ok(matches!(node, Expr::Placeholder(_))))? {
            return plan_err!("a parameter of the condition of DELETE has no value");
        }
        let schema = Arc::new(qualified_schema(signal)?);
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(&schema))
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        let expr = simplifier.simplify(simplifier.coerce(expr, &schema)?)?;
        let mut columns = Vec::new();
        for column in expr.column_refs() {
            columns.push(schema.index_of_column(column)?);
        }
        columns.sort_unstable();
        let narrow = table_schema(signal).project(&columns)?;
        let narrow = DFSchema::try_from_qualified_schema(signal.table_name(), &narrow)?;
        let timestamps = timestamps(&expr);
        let expr = self.state.create_physical_expr(expr, &narrow)?;
        Ok(SqlPredicate { columns, timestamps, expr })
    }
}

impl PredicateCompiler for SqlPredicates {
    fn compile(&self, signal: Signal, predicate: &str) -> Result<Arc<dyn RowPredicate>, PredicateError> {
        thread::scope(|scope| {
            let compile = || self.compile_here(signal, predicate);
            let compiling = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, compile)?;
            let compiled = compiling.join().map_err(|_| "the predicate cannot be planned")?;
            Ok(Arc::new(compiled?) as Arc<dyn RowPredicate>)
        })
    }
}

fn qualified_schema(signal: Signal) -> Result<DFSchema> {
    DFSchema::try_from_qualified_schema(signal.table_name(), &table_schema(signal))
}

/// Breaks at a query.
struct FindQuery;

impl Visitor for FindQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Break(())
    }
}

/// Refuses what is not a function of the row.
fn check(node: &Expr) -> Result<()> {
    match node {
        Expr::Alias(_)
        | Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Placeholder(_)
        | Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::InList(_) => Ok(()),
        Expr::ScalarFunction(function) if function.func.signature().volatility == Volatility::Immutable => {
            Ok(())
        }
        Expr::ScalarFunction(function) => plan_err!(
            "the condition of DELETE cannot use {}(): its answer is not always the same",
            function.func.name()
        ),
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
            plan_err!("the condition of DELETE is about one row: it cannot use aggregate or window functions")
        }
        other => {
            let name = format!("{other:?}");
            let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            plan_err!("the condition of DELETE cannot use {name}")
        }
    }
}

/// Bounds on `timestamp` that follow from a condition.
pub(super) fn timestamps(expr: &Expr) -> TimeRange {
    let bounds = split_conjunction(expr).into_iter().map(bound);
    bounds.fold(ALWAYS, |all, one| TimeRange {
        min_ns: all.min_ns.max(one.min_ns),
        max_ns: all.max_ns.min(one.max_ns),
    })
}

fn bound(expr: &Expr) -> TimeRange {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return ALWAYS };
    let is_timestamp = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == TIMESTAMP);
    let (op, value) = match (left.as_ref(), right.as_ref()) {
        (column, Expr::Literal(value, _)) if is_timestamp(column) => (Some(*op), value),
        (Expr::Literal(value, _), column) if is_timestamp(column) => (op.swap(), value),
        _ => return ALWAYS,
    };
    let ScalarValue::TimestampNanosecond(Some(at), _) = *value else { return ALWAYS };
    match op {
        Some(Operator::Eq) => TimeRange { min_ns: at, max_ns: at },
        // The ends of time are included all the same.
        Some(Operator::Lt) => TimeRange { max_ns: at.saturating_sub(1), ..ALWAYS },
        Some(Operator::LtEq) => TimeRange { max_ns: at, ..ALWAYS },
        Some(Operator::Gt) => TimeRange { min_ns: at.saturating_add(1), ..ALWAYS },
        Some(Operator::GtEq) => TimeRange { min_ns: at, ..ALWAYS },
        _ => ALWAYS,
    }
}

/// A compiled condition.
#[derive(Debug)]
struct SqlPredicate {
    columns: Vec<usize>,
    timestamps: TimeRange,
    /// Over a schema of these columns.
    expr: Arc<dyn PhysicalExpr>,
}

impl RowPredicate for SqlPredicate {
    fn columns(&self) -> &[usize] {
        &self.columns
    }

    fn timestamps(&self) -> TimeRange {
        self.timestamps
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray, PredicateError> {
        let values = self.expr.evaluate(rows)?.into_array(rows.num_rows())?;
        match values.as_boolean_opt() {
            Some(values) => Ok(values.clone()),
            None if values.data_type().is_null() => Ok(BooleanArray::new_null(rows.num_rows())),
            None => Err(DataFusionError::Internal("a condition is not true or false".to_owned()).into()),
        }
    }
}
