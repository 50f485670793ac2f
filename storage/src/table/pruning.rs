//! Leaves out files and chunks whose statistics rule a filter out, before any of them is opened.

use std::collections::HashSet;
use std::sync::Arc;

use alula_catalog::TimeRange;
use alula_catalog::schema::TIMESTAMP;
use arrow::array::{ArrayRef, BooleanArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};

/// The filters of a scan, as a question to the statistics of a file or chunk.
#[derive(Debug)]
pub(super) struct Pruner {
    /// None where the filters say nothing that the statistics could answer.
    predicate: Option<Arc<PruningPredicate>>,
}

impl Pruner {
    pub(super) fn try_new(state: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Result<Self> {
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(Self { predicate: None }) };
        let df_schema = DFSchema::try_from(Arc::clone(schema))?;
        let filter = state.create_physical_expr(filter, &df_schema)?;
        // A filter that no statistics can answer gives none, and everything is kept.
        let predicate = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).build(filter);
        Ok(Self { predicate })
    }

    /// The parts that may hold a matching row.
    pub(super) fn keep<T>(
        &self,
        parts: &[Arc<T>],
        statistics: impl Fn(&T) -> (TimeRange, u64),
    ) -> Result<Vec<Arc<T>>> {
        let Some(predicate) = self.predicate.as_ref().filter(|_| !parts.is_empty()) else {
            return Ok(parts.to_vec());
        };
        let statistics = TimeStatistics(parts.iter().map(|part| statistics(part)).collect());
        let keep = predicate.prune(&statistics)?;
        Ok(parts.iter().zip(keep).filter(|(_, keep)| *keep).map(|(part, _)| Arc::clone(part)).collect())
    }
}

/// Time bounds and row counts of several parts.
struct TimeStatistics(Vec<(TimeRange, u64)>);

impl TimeStatistics {
    fn timestamps(&self, column: &Column, value: fn(&TimeRange) -> i64) -> Option<ArrayRef> {
        let values = self.0.iter().map(|(range, _)| value(range));
        let array =
            TimestampNanosecondArray::from_iter_values(values).with_timezone(alula_catalog::schema::UTC);
        (column.name() == TIMESTAMP).then(|| Arc::new(array) as ArrayRef)
    }
}

impl PruningStatistics for TimeStatistics {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.timestamps(column, |range| range.min_ns)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.timestamps(column, |range| range.max_ns)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        (column.name() == TIMESTAMP).then(|| Arc::new(UInt64Array::from_value(0, self.0.len())) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.0.iter().map(|(_, rows)| *rows))))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
