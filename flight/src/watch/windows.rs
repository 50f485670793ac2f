//! Aggregates that make more of every row that they see, over windows: `array_agg(body) OVER (PARTITION BY service_name)`.
//!
//! The value of a window comes once for each of its rows, and all of them are there before the first is sent. None of it is
//! counted by the memory pool.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::exec_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, ReversedUDAF, Signature,
    WindowFunctionDefinition,
};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

/// Those whose values grow with the rows.
const GROWING: [&str; 4] = ["array_agg", "exp_histogram_merge", "histogram_merge", "string_agg"];

/// What the values of one of them may take together, without those that are no larger than a row may well be.
const MAX_BYTES: u64 = 256 << 20;
const SMALL_BYTES: usize = 4 << 10;

/// Bounds what they make.
#[derive(Debug)]
pub(super) struct WatchWindows;

impl AnalyzerRule for WatchWindows {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|plan| {
            if matches!(plan, LogicalPlan::Window(_)) {
                plan.map_expressions(|expr| expr.transform_up(|expr| Ok(watched(expr))))
            } else {
                Ok(Transformed::no(plan))
            }
        });
        Ok(plan?.data)
    }

    fn name(&self) -> &'static str {
        "watch_windows"
    }
}

fn watched(expr: Expr) -> Transformed<Expr> {
    let Expr::WindowFunction(function) = expr else { return Transformed::no(expr) };
    match &function.fun {
        WindowFunctionDefinition::AggregateUDF(inner)
            if GROWING.contains(&inner.name()) && !inner.inner().is::<OverWindow>() =>
        {
            let over_window = OverWindow { inner: Arc::clone(inner) };
            let fun = WindowFunctionDefinition::AggregateUDF(Arc::new(AggregateUDF::from(over_window)));
            Transformed::yes(Expr::from(WindowFunction { fun, params: function.params }))
        }
        _ => Transformed::no(Expr::WindowFunction(function)),
    }
}

/// An aggregate function over windows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OverWindow {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for OverWindow {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::NotSupported
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args).map(bounded)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args).map(bounded)
    }
}

fn bounded(inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
    Box::new(Bounded { inner, rows: 0, made: 0 })
}

/// Fails once its values are too much together.
#[derive(Debug)]
struct Bounded {
    inner: Box<dyn Accumulator>,
    /// That have come since the last value: each of them gets the next.
    rows: u64,
    made: u64,
}

impl Accumulator for Bounded {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.rows += values.first().map_or(0, |values| values.len() as u64);
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        let size = value.size();
        if size > SMALL_BYTES {
            self.made = self.made.saturating_add((size as u64).saturating_mul(self.rows.max(1)));
        }
        self.rows = 0;
        if self.made > MAX_BYTES {
            return exec_err!(
                "an aggregate over a window would make more than {} MiB, as each row gets what it has made of all rows \
                 of the window: use GROUP BY, or a smaller frame (ROWS BETWEEN 100 PRECEDING AND CURRENT ROW)",
                MAX_BYTES >> 20
            );
        }
        Ok(value)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

#[cfg(test)]
mod tests;
