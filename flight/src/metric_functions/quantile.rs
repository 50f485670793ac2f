//! `histogram_quantile` and `exp_histogram_quantile`.

use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_MATH;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{Arguments, Numbers, Parameter, Wanted, coerce, spelt};
use super::histograms::{EXPLICIT, EXPONENTIAL, ExplicitRows, ExponentialRows};

const Q: Parameter = ("q", Wanted::Float);
const MIN: Parameter = ("min", Wanted::Float);
const MAX: Parameter = ("max", Wanted::Float);

/// `histogram_quantile(q, bounds, counts [, min, max])`; what `histogram_merge` gives may stand for bounds and counts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HistogramQuantile {
    signature: Signature,
}

impl HistogramQuantile {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HistogramQuantile {
    fn name(&self) -> &'static str {
        "histogram_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerce_quantile(self.name(), &EXPLICIT, &[MIN, MAX], given)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = Arguments::try_new(args.args)?.unpacked(1)?.with_whole_counts(&EXPLICIT, 1)?;
        let q = arguments.numbers::<Float64Type>(0);
        let histograms = ExplicitRows::new(&arguments, 1);
        let extreme = |index| (index < arguments.len()).then(|| arguments.numbers::<Float64Type>(index));
        let (min, max) = (extreme(3), extreme(4));
        arguments.map(args.number_rows, |row| {
            let (Some(q), Some(buckets)) = (q.get(row), histograms.get(row)?) else { return Ok(None) };
            let (min, max) = (min.as_ref(), max.as_ref());
            let of_row = |column: &Numbers<'_, Float64Type>| column.get(row);
            Ok(buckets.quantile(q, min.and_then(of_row), max.and_then(of_row)))
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            let about =
                "Estimates the value below which the share q of a histogram with explicit bounds lies.";
            let parameters = [&[Q], &EXPLICIT[..], &[MIN, MAX]].concat();
            let syntax = format!("histogram_quantile{}", spelt(&parameters, 2));
            Documentation::builder(DOC_SECTION_MATH, about, syntax).build()
        });
        Some(&DOCUMENTATION)
    }
}

/// `exp_histogram_quantile(q, scale, zero_count, ...)`; what `exp_histogram_merge` gives may stand for all after `q`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExpHistogramQuantile {
    signature: Signature,
}

impl ExpHistogramQuantile {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ExpHistogramQuantile {
    fn name(&self) -> &'static str {
        "exp_histogram_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerce_quantile(self.name(), &EXPONENTIAL, &[], given)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = Arguments::try_new(args.args)?.unpacked(1)?.with_whole_counts(&EXPONENTIAL, 1)?;
        let q = arguments.numbers::<Float64Type>(0);
        let histograms = ExponentialRows::new(&arguments, 1);
        arguments.map(args.number_rows, |row| {
            let (Some(q), Some(buckets)) = (q.get(row), histograms.get(row)?) else { return Ok(None) };
            Ok(buckets.quantile(q))
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            let about = "Estimates the value below which the share q of an exponential histogram lies.";
            let syntax = format!("exp_histogram_quantile{}", spelt(&[&[Q], &EXPONENTIAL[..]].concat(), 0));
            Documentation::builder(DOC_SECTION_MATH, about, syntax).build()
        });
        Some(&DOCUMENTATION)
    }
}

/// Takes `q`, the histogram as columns or as one struct, and what may follow, all of it or none.
fn coerce_quantile(
    function: &str,
    histogram: &[Parameter],
    optional: &[Parameter],
    given: &[DataType],
) -> Result<Vec<DataType>> {
    if let Some(DataType::Struct(fields)) = given.get(1) {
        let field = |(name, _): &Parameter| fields.find(name).map(|(_, field)| field.data_type().clone());
        let Some(given_fields) = histogram.iter().map(field).collect::<Option<Vec<_>>>() else {
            let names: Vec<_> = histogram.iter().map(|(name, _)| *name).collect();
            return plan_err!("the struct given to {function} must have the fields {}", names.join(", "));
        };
        let field_types = coerce(function, histogram, 0, &given_fields)?;
        let named = histogram.iter().zip(field_types);
        let wanted = named.map(|((name, _), data_type)| Field::new(*name, data_type, true)).collect();
        let others: Vec<_> = given[..1].iter().chain(&given[2..]).cloned().collect();
        let mut types = coerce(function, &[&[Q], optional].concat(), optional.len(), &others)?;
        types.insert(1, DataType::Struct(wanted));
        return Ok(types);
    }
    coerce(function, &[&[Q], histogram, optional].concat(), optional.len(), given)
}
