//! [`Watched`]: an operator that asks at every batch whether it is to end, and gets no more rows than it can take.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions,
};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt};

use super::growth;
use super::pace::{Pace, Paces, bytes_of};
use crate::panics::{Overflow, within_offsets};
use crate::stop::Stop;

/// An operator that asks at every batch.
#[derive(Debug)]
pub(super) struct Watched {
    input: Arc<dyn ExecutionPlan>,
    stop: Stop,
    /// How fast it may work.
    own_pace: Option<Arc<Paces>>,
    /// For whom it works: the operator that it is an input of.
    output: Output,
}

/// What an operator can take of its input.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) max_rows: usize,
    pub(super) paces: Option<Arc<Paces>>,
    /// Whether it keeps all rows until the last one has come, which it does not count.
    pub(super) is_kept: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self { max_rows: usize::MAX, paces: None, is_kept: false }
    }
}

impl Output {
    fn is_limited(&self) -> bool {
        self.max_rows < usize::MAX || self.paces.is_some() || self.is_kept
    }
}

impl Watched {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, stop: &Stop, own_pace: Option<Arc<Paces>>) -> Self {
        Self { input, stop: stop.clone(), own_pace, output: Output::default() }
    }

    /// As an input of an operator that cannot take all that comes.
    pub(super) fn limited(
        input: Arc<dyn ExecutionPlan>,
        stop: &Stop,
        output: &Output,
    ) -> Arc<dyn ExecutionPlan> {
        if output.is_limited() {
            Arc::new(Self { output: output.clone(), ..Self::new(input, stop, None) })
        } else {
            input
        }
    }
}

impl DisplayAs for Watched {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl ExecutionPlan for Watched {
    fn name(&self) -> &'static str {
        "Watched"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| internal_datafusion_err!("nothing to watch"))?;
        Ok(Arc::new(Self {
            input,
            stop: self.stop.clone(),
            own_pace: self.own_pace.clone(),
            output: self.output.clone(),
        }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let kept = self.output.is_kept.then(|| {
            let consumer = MemoryConsumer::new(format!("rows of a window[{partition}]"));
            consumer.register(context.memory_pool())
        });
        let pace_of = |paces: &Arc<Paces>| paces.of(partition);
        Ok(Box::pin(WatchedRows {
            own_pace: self.own_pace.as_ref().map(pace_of),
            output_pace: self.output.paces.as_ref().map(pace_of),
            max_rows: self.output.max_rows,
            kept,
            ..WatchedRows::unlimited(self.input.execute(partition, context)?, self.stop.clone())
        }))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

pub(super) struct WatchedRows {
    rows: SendableRecordBatchStream,
    stop: Stop,
    own_pace: Option<Arc<Pace>>,
    output_pace: Option<Arc<Pace>>,
    max_rows: usize,
    kept: Option<MemoryReservation>,
    /// Of a batch that has too many rows, those that are still to come.
    rest: Option<RecordBatch>,
}

impl WatchedRows {
    /// As they come, to whoever can take them.
    pub(super) fn unlimited(rows: SendableRecordBatchStream, stop: Stop) -> Self {
        let max_rows = usize::MAX;
        Self { rows, stop, own_pace: None, output_pace: None, max_rows, kept: None, rest: None }
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        if let Some(pace) = &self.own_pace {
            pace.begin_turn();
        }
        let polled = match within_offsets(|| self.rows.poll_next_unpin(cx)) {
            Ok(polled) => polled,
            Err(Overflow) => Poll::Ready(Some(Err(growth::too_much_text()))),
        };
        if let Some(pace) = &self.own_pace {
            pace.end_turn(match &polled {
                Poll::Ready(Some(Ok(batch))) => Some(batch),
                _ => None,
            });
        }
        polled
    }

    fn give(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let paced = self.output_pace.as_ref().map_or(usize::MAX, |pace| pace.next_rows());
        let max_rows = self.max_rows.min(paced);
        let batch = if batch.num_rows() <= max_rows {
            batch
        } else {
            self.rest = Some(batch.slice(max_rows, batch.num_rows() - max_rows));
            batch.slice(0, max_rows)
        };
        if let Some(kept) = &self.kept {
            // Once as they come, and once put together.
            kept.try_grow(2 * bytes_of(&batch) as usize)?;
        }
        if let Some(pace) = &self.output_pace {
            pace.give(batch.num_rows());
        }
        Ok(batch)
    }
}

impl Stream for WatchedRows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pace) = &self.output_pace {
            pace.settle();
        }
        if let Err(stopped) = self.stop.check_plan() {
            return Poll::Ready(Some(Err(stopped)));
        }
        let turn = ready!(tokio::task::coop::poll_proceed(cx));
        let polled = match self.rest.take() {
            Some(rest) => Poll::Ready(Some(Ok(rest))),
            None => self.poll_input(cx),
        };
        if polled.is_ready() {
            turn.made_progress();
        }
        polled.map(|polled| polled.map(|batch| batch.and_then(|batch| self.give(batch))))
    }
}

impl RecordBatchStream for WatchedRows {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}
