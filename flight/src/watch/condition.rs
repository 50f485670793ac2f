//! [`WatchedCondition`]: a join may look at billions of pairs and send no batch.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::growth;
use super::pace::{FIRST_ROWS, is_costly, rows_of_a_turn};
use crate::stop::Stop;

/// The condition of a join, which asks at every block of pairs, and oftener where it may take long over one.
#[derive(Debug)]
pub(super) struct WatchedCondition {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
    is_costly: bool,
}

impl WatchedCondition {
    pub(super) fn try_new(inner: Arc<dyn PhysicalExpr>, stop: &Stop) -> Result<Self> {
        let is_costly = is_costly(&inner)?;
        Ok(Self { inner, stop: stop.clone(), is_costly })
    }

    fn evaluate_in_turns(&self, pairs: &RecordBatch) -> Result<ColumnarValue> {
        let (mut start, mut rows) = (0, FIRST_ROWS);
        let mut answers = Vec::new();
        while start < pairs.num_rows() {
            self.stop.check_plan()?;
            let turn = pairs.slice(start, rows.min(pairs.num_rows() - start));
            let begun = Instant::now();
            growth::begin_counting();
            let answer = self.inner.evaluate(&turn);
            let bytes = growth::end_counting();
            answers.push(answer?.into_array(turn.num_rows())?);
            start += turn.num_rows();
            rows = rows_of_a_turn(turn.num_rows(), begun.elapsed(), bytes);
        }
        let answers: Vec<_> = answers.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&answers)?))
    }
}

impl fmt::Display for WatchedCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for WatchedCondition {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for WatchedCondition {}

impl Hash for WatchedCondition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for WatchedCondition {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, pairs: &RecordBatch) -> Result<ColumnarValue> {
        if self.is_costly && pairs.num_rows() > FIRST_ROWS {
            return self.evaluate_in_turns(pairs);
        }
        self.stop.check_plan()?;
        self.inner.evaluate(pairs)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().ok_or_else(|| internal_datafusion_err!("nothing to watch"))?;
        Ok(Arc::new(Self::try_new(inner, &self.stop)?))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
