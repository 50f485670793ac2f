//! Leaves out files and chunks whose statistics rule a filter out, before any of them is opened.

use std::collections::HashSet;
use std::sync::Arc;

use alula_catalog::schema::{INGEST_SEQ, TIMESTAMP};
use alula_catalog::{DataFile, SequenceNumber, TimeRange};
use arrow::array::{ArrayRef, BooleanArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};

use crate::buffer::Chunk;

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
    pub(super) fn keep<T>(&self, parts: &[Arc<T>]) -> Result<Vec<Arc<T>>>
    where
        for<'a> Bounds: From<&'a T>,
    {
        let Some(predicate) = self.predicate.as_ref().filter(|_| !parts.is_empty()) else {
            return Ok(parts.to_vec());
        };
        let bounds = PartStatistics(parts.iter().map(|part| Bounds::from(part.as_ref())).collect());
        let keep = predicate.prune(&bounds)?;
        Ok(parts.iter().zip(keep).filter(|(_, keep)| *keep).map(|(part, _)| Arc::clone(part)).collect())
    }
}

/// What is known of the rows of a file or chunk without reading them.
pub(super) struct Bounds {
    timestamps: TimeRange,
    first_seq: SequenceNumber,
    last_seq: SequenceNumber,
    num_rows: u64,
}

impl From<&Chunk> for Bounds {
    fn from(chunk: &Chunk) -> Self {
        let Chunk { timestamps, first_seq, last_seq, .. } = *chunk;
        Self { timestamps, first_seq, last_seq, num_rows: chunk.num_rows() as u64 }
    }
}

impl From<&DataFile> for Bounds {
    fn from(file: &DataFile) -> Self {
        let DataFile { timestamps, first_seq, last_seq, num_rows, .. } = *file;
        Self { timestamps, first_seq, last_seq, num_rows }
    }
}

/// The bounds of several parts.
struct PartStatistics(Vec<Bounds>);

impl PartStatistics {
    /// One end of a column in each part.
    fn ends(
        &self,
        column: &Column,
        timestamp: fn(&Bounds) -> i64,
        seq: fn(&Bounds) -> SequenceNumber,
    ) -> Option<ArrayRef> {
        match column.name() {
            TIMESTAMP => {
                let ends = TimestampNanosecondArray::from_iter_values(self.0.iter().map(timestamp));
                Some(Arc::new(ends.with_timezone(alula_catalog::schema::UTC)))
            }
            INGEST_SEQ => {
                Some(Arc::new(UInt64Array::from_iter_values(self.0.iter().map(|part| seq(part).0))))
            }
            _ => None,
        }
    }
}

impl PruningStatistics for PartStatistics {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(column, |part| part.timestamps.min_ns, |part| part.first_seq)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(column, |part| part.timestamps.max_ns, |part| part.last_seq)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        [TIMESTAMP, INGEST_SEQ]
            .contains(&column.name())
            .then(|| Arc::new(UInt64Array::from_value(0, self.0.len())) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.0.iter().map(|part| part.num_rows))))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
