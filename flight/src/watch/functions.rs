//! Functions of text, which may take long over the rows of a single batch: `levenshtein` of two pages takes a millisecond.
//!
//! The first rows of a batch tell how long all will take. Where that is long, the rest is done in slices, and between two of
//! them the function asks whether it is to end. It finds the [`Stop`] in the options that it is called with: the tasks that
//! a plan splits off have no current one.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::growth::{self, GROWING};
use crate::stop::Stop;

/// Those whose time is more than a small constant for each byte, or which make many bytes of few.
const SLOW: [&str; 11] = [
    "levenshtein",
    "lpad",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "rpad",
    "translate",
];

/// Those that make a value of any type.
const CASTS: [&str; 2] = ["arrow_cast", "arrow_try_cast"];

/// The widest type of fixed width that a function may make.
const MAX_WIDTH: usize = 64 << 10;

/// Rows that tell how long a batch takes.
const PROBE_ROWS: usize = 4;

/// What a batch may take in one go, and a slice of one that would take longer.
const IN_ONE_GO: Duration = Duration::from_millis(200);
const SLICE: Duration = Duration::from_millis(50);

/// The function, which asks from time to time if it is one of those that may take long, and first what it would make if that
/// may be much.
pub(crate) fn watched_function(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let name = function.name();
    if SLOW.contains(&name) || GROWING.contains(&name) || CASTS.contains(&name) {
        Arc::new(ScalarUDF::new_from_impl(WatchedFunction { inner: function }))
    } else {
        function
    }
}

/// Whether a function may make much of little.
pub(crate) fn is_growing(name: &str) -> bool {
    GROWING.contains(&name)
}

impl ConfigExtension for Stop {
    const PREFIX: &'static str = "stop";
}

impl ExtensionOptions for Stop {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, _: &str, _: &str) -> Result<()> {
        plan_err!("this is no setting")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WatchedFunction {
    inner: Arc<ScalarUDF>,
}

impl WatchedFunction {
    fn invoke(&self, args: &ScalarFunctionArgs, start: usize, num_rows: usize) -> Result<ArrayRef> {
        let slice = |value: &ColumnarValue| match value {
            ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, num_rows)),
            scalar @ ColumnarValue::Scalar(_) => scalar.clone(),
        };
        let args = ScalarFunctionArgs {
            args: args.args.iter().map(slice).collect(),
            number_rows: num_rows,
            arg_fields: args.arg_fields.clone(),
            return_field: Arc::clone(&args.return_field),
            config_options: Arc::clone(&args.config_options),
        };
        self.inner.invoke_with_args(args)?.into_array(num_rows)
    }

    /// All rows, of which the first are done and took `elapsed`.
    fn invoke_in_slices(
        &self,
        args: &ScalarFunctionArgs,
        stop: &Stop,
        probed: ArrayRef,
        elapsed: Duration,
    ) -> Result<ColumnarValue> {
        let mut start = probed.len();
        let mut slices = vec![probed];
        let mut per_row = elapsed / PROBE_ROWS as u32;
        while start < args.number_rows {
            stop.check_plan()?;
            let rows = SLICE.as_nanos() / per_row.as_nanos().max(1);
            let rows = usize::try_from(rows).unwrap_or(usize::MAX).clamp(1, args.number_rows - start);
            let begun = Instant::now();
            slices.push(self.invoke(args, start, rows)?);
            per_row = begun.elapsed() / rows as u32;
            start += rows;
        }
        let slices: Vec<_> = slices.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&slices)?))
    }
}

impl ScalarUDFImpl for WatchedFunction {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?;
        let width = growth::fixed_size(field.data_type());
        if width > MAX_WIDTH {
            return plan_err!(
                "every value of {} would have {width} bytes: ask for at most {MAX_WIDTH}",
                self.name()
            );
        }
        Ok(field)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        growth::check(self.name(), &args)?;
        let stop = args.config_options.extensions.get::<Stop>().cloned();
        let has_rows = args.args.iter().any(|value| matches!(value, ColumnarValue::Array(_)));
        let (Some(stop), true, true) = (stop, has_rows, args.number_rows > PROBE_ROWS) else {
            return self.inner.invoke_with_args(args);
        };
        let begun = Instant::now();
        let probed = self.invoke(&args, 0, PROBE_ROWS)?;
        let elapsed = begun.elapsed();
        if elapsed * (args.number_rows / PROBE_ROWS) as u32 <= IN_ONE_GO {
            return self.inner.invoke_with_args(args);
        }
        self.invoke_in_slices(&args, &stop, probed, elapsed)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }
}
