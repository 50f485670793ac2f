//! The aggregate functions of a query: DataFusion's, made to take dictionary columns where they do not.
//!
//! Text columns are dictionaries inside, which is no concern of who writes `approx_distinct(service_name)`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature, Volatility,
};

use crate::metric_functions;

/// Functions that refuse dictionaries in DataFusion 55.
const WITHOUT_DICTIONARIES: [&str; 1] = ["approx_distinct"];

/// DataFusion's aggregate functions, each of which takes every text column, and those over data points.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let wrap = |function: Arc<AggregateUDF>| {
        if WITHOUT_DICTIONARIES.contains(&function.name()) {
            Arc::new(AggregateUDF::from(Decoding::new(function)))
        } else {
            function
        }
    };
    let built_in = SessionStateDefaults::default_aggregate_functions().into_iter().map(wrap);
    built_in.chain(metric_functions::aggregate_functions()).collect()
}

/// A function whose dictionary arguments are decoded before it sees them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Decoding {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl Decoding {
    fn new(inner: Arc<AggregateUDF>) -> Self {
        Self { inner, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Decoding {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let decoded = |data_type: &DataType| match data_type {
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            plain => plain.clone(),
        };
        Ok(types.iter().map(decoded).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
