//! [`Pace`]: how many rows an operator gets at a time.
//!
//! What an expression makes of a batch is not counted by the memory pool, and no call of one can be ended half-way. So an
//! operator whose expressions may take long over a row, or make much of it, gets a few rows first, and from then on as many as
//! it does in a moment, by what the last ones took.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, LikeExpr, TryCastExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::unnest::UnnestExec;

use super::growth;

/// Rows that tell how long a row takes.
pub(super) const FIRST_ROWS: usize = 16;

/// What the rows that are given at one time may take, and what may be made of them.
const TURN: Duration = Duration::from_millis(50);
const TURN_BYTES: u64 = 32 << 20;

/// How many rows are done in a turn, if so many took so long and so much was made of them.
pub(super) fn rows_of_a_turn(rows: usize, spent: Duration, bytes: u64) -> usize {
    let of = |turn: u128, taken: u128| turn * rows as u128 / taken.max(1);
    let rows = of(TURN.as_nanos(), spent.as_nanos()).min(of(TURN_BYTES.into(), bytes.into()));
    usize::try_from(rows).unwrap_or(usize::MAX).max(1)
}

/// Whether an expression may take long over a row, or make much of it.
pub(super) fn is_costly(expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    expr.exists(|expr| {
        let is_text = |operator: &Operator| {
            matches!(
                operator,
                Operator::StringConcat
                    | Operator::RegexMatch
                    | Operator::RegexIMatch
                    | Operator::RegexNotMatch
                    | Operator::RegexNotIMatch
                    | Operator::LikeMatch
                    | Operator::ILikeMatch
                    | Operator::NotLikeMatch
                    | Operator::NotILikeMatch
            )
        };
        let cast_type = expr.downcast_ref::<CastExpr>().map(CastExpr::cast_type);
        let cast_type = cast_type.or_else(|| expr.downcast_ref::<TryCastExpr>().map(TryCastExpr::cast_type));
        Ok(expr.is::<ScalarFunctionExpr>()
            || expr.is::<LikeExpr>()
            || cast_type.is_some_and(|data_type| !data_type.is_primitive())
            || expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| is_text(binary.op())))
    })
}

/// The paces of an operator's partitions, if it needs any.
pub(super) fn paces_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<Paces>>> {
    // What a join compares is cut where it is compared.
    if plan.children().len() != 1 {
        return Ok(None);
    }
    // One row may become millions, each with a copy of its other columns.
    if plan.is::<UnnestExec>() {
        return Ok(Some(Arc::new(Paces::beginning_with(1))));
    }
    let mut is_slow = false;
    plan.apply_expressions(&mut |expr| {
        is_slow |= is_costly(expr)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(is_slow.then(|| Arc::new(Paces::beginning_with(FIRST_ROWS))))
}

/// One for each partition of an operator.
#[derive(Debug)]
pub(super) struct Paces {
    first_rows: usize,
    by_partition: Mutex<HashMap<usize, Arc<Pace>>>,
}

impl Paces {
    fn beginning_with(first_rows: usize) -> Self {
        Self { first_rows, by_partition: Mutex::default() }
    }

    pub(super) fn of(&self, partition: usize) -> Arc<Pace> {
        let mut paces = self.by_partition.lock().unwrap_or_else(PoisonError::into_inner);
        let first = || Arc::new(Pace(Mutex::new(State { next_rows: self.first_rows, given: None })));
        Arc::clone(paces.entry(partition).or_insert_with(first))
    }
}

/// Between an operator and its input: the input gives rows and the operator has its turns at them.
#[derive(Debug)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    next_rows: usize,
    given: Option<Given>,
}

#[derive(Debug)]
struct Given {
    rows: usize,
    /// Since when the operator has its turn; none between two turns.
    since: Option<Instant>,
    spent: Duration,
    bytes: u64,
}

impl Given {
    fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.spent += since.elapsed();
            self.bytes += growth::end_counting();
        }
    }

    fn resume(&mut self) {
        growth::begin_counting();
        self.since = Some(Instant::now());
    }
}

impl Pace {
    /// The operator asks for more: it is done with what it got.
    pub(super) fn settle(&self) {
        let mut state = self.state();
        if let Some(mut given) = state.given.take() {
            given.pause();
            state.next_rows = rows_of_a_turn(given.rows, given.spent, given.bytes);
        }
    }

    /// How many rows it may get.
    pub(super) fn next_rows(&self) -> usize {
        self.state().next_rows
    }

    pub(super) fn give(&self, rows: usize) {
        let mut given = Given { rows: rows.max(1), since: None, spent: Duration::ZERO, bytes: 0 };
        given.resume();
        self.state().given = Some(given);
    }

    pub(super) fn begin_turn(&self) {
        if let Some(given) = &mut self.state().given {
            given.resume();
        }
    }

    pub(super) fn end_turn(&self, made: Option<&RecordBatch>) {
        if let Some(given) = &mut self.state().given {
            given.pause();
            given.bytes += made.map_or(0, bytes_of);
        }
    }

    /// Held for a look, never while the operator or its input is at work.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of its rows alone, whatever else is in the buffers that it shares.
pub(super) fn bytes_of(batch: &RecordBatch) -> u64 {
    let bytes = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or(0);
    batch.columns().iter().map(bytes).sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_given_of_those_that_take_long_or_become_large() {
        let second = Duration::from_secs(1);
        for (rows, spent, bytes, expected) in [
            (16, Duration::ZERO, 0, 16 * TURN_BYTES as usize),
            (16, second, 0, 1),
            (1_000, second, 0, 50),
            (1_000, Duration::from_millis(1), 0, 50_000),
            (16, Duration::from_millis(1), 16 << 20, 32),
            (16, Duration::from_millis(1), 16 << 30, 1),
        ] {
            assert_eq!(rows_of_a_turn(rows, spent, bytes), expected, "{rows} rows, {spent:?}, {bytes} bytes");
        }
    }

    #[test]
    fn the_first_rows_are_few_and_the_next_as_many_as_they_let_expect() {
        let pace = Paces::beginning_with(FIRST_ROWS).of(0);
        assert_eq!(pace.next_rows(), FIRST_ROWS);
        pace.give(FIRST_ROWS);
        pace.end_turn(None);
        pace.settle();
        assert!(pace.next_rows() > FIRST_ROWS, "{pace:?}");
    }
}
