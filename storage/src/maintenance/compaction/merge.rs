//! Merges sorted files into one sorted stream of batches, in bounded memory.
//!
//! A tournament among the inputs finds the next row in log2(inputs) comparisons of encoded keys. Rows are gathered once per
//! output batch, column by column ([`Gatherer`]).
//!
//! Bounds: of each input there is one batch, and those that were used up since the last output batch; see
//! [`Input::open`] for their size.

use alula_catalog::Signal;
use arrow::array::RecordBatch;
use arrow::row::RowConverter;

use super::gather::Gatherer;
use super::input::{BATCH_ROWS, Input, key_converter};
use super::tally::Tally;
use crate::Result;

/// Bytes of an output batch, by the average width of rows.
const BATCH_BYTES: usize = 16 << 20;

/// The rows of some files in the table's order. Rows of equal keys come in the order of their files.
pub(super) struct Merge<'a> {
    converter: RowConverter,
    inputs: Vec<Input<'a>>,
    tree: LoserTree,
    gatherer: Gatherer,
    /// By input, the number of its current batch in the gatherer.
    current: Vec<usize>,
    batch_rows: usize,
}

impl<'a> Merge<'a> {
    /// `inputs` are at their start, oldest first.
    pub(super) fn new(signal: Signal, mut inputs: Vec<Input<'a>>) -> Result<Self> {
        let converter = key_converter(signal)?;
        let mut gatherer = Gatherer::new(signal);
        let mut current = vec![0; inputs.len()];
        for (input, current) in inputs.iter_mut().zip(&mut current) {
            if let Some(batch) = input.advance(&converter)? {
                *current = gatherer.add_source(batch);
            }
        }
        let tree = LoserTree::new(inputs.len(), |a, b| is_before(&inputs, a, b));
        let row_bytes = inputs.iter().map(Input::row_bytes).max().unwrap_or(1);
        let batch_rows = (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS);
        Ok(Self { converter, inputs, tree, gatherer, current, batch_rows })
    }

    /// The next rows; none at the end.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.gatherer.num_rows() < self.batch_rows {
            let winner = self.tree.winner();
            let input = &mut self.inputs[winner];
            if input.key().is_none() {
                break;
            }
            self.gatherer.push(self.current[winner], input.row());
            if let Some(batch) = input.advance(&self.converter)? {
                self.current[winner] = self.gatherer.add_source(batch);
            }
            self.tree.replay(|a, b| is_before(&self.inputs, a, b));
        }
        if self.gatherer.num_rows() == 0 {
            return Ok(None);
        }
        let open: Vec<bool> = self.inputs.iter().map(|input| input.key().is_some()).collect();
        self.gatherer.gather(&mut self.current, &open).map(Some)
    }

    /// What was read, once the merge is at its end.
    pub(super) fn tally(&self) -> Result<Tally> {
        self.inputs.iter().try_fold(Tally::default(), |sum, input| Ok(sum.and(&input.tally()?)))
    }
}

/// Whether the current row of input `a` comes before that of `b`. An input at its end comes after all others.
fn is_before(inputs: &[Input<'_>], a: usize, b: usize) -> bool {
    match (inputs[a].key(), inputs[b].key()) {
        (Some(x), Some(y)) => (x, a) < (y, b),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// A tournament: inner node `n` has the loser of the match between the winners of its children, `2n` and `2n + 1`; node 0 has
/// the winner of all. Leaf `i` is node `num_leaves + i`.
#[derive(Debug)]
struct LoserTree {
    nodes: Vec<usize>,
}

impl LoserTree {
    fn new(num_leaves: usize, is_before: impl Fn(usize, usize) -> bool) -> Self {
        let mut winners: Vec<usize> = (0..num_leaves).map(|_| 0).chain(0..num_leaves).collect();
        let mut nodes = vec![0; num_leaves.max(1)];
        for node in (1..num_leaves).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            let (winner, loser) = if is_before(right, left) { (right, left) } else { (left, right) };
            winners[node] = winner;
            nodes[node] = loser;
        }
        nodes[0] = winners.get(1).copied().unwrap_or_default();
        Self { nodes }
    }

    fn winner(&self) -> usize {
        self.nodes[0]
    }

    /// Plays the matches of the winner again, whose row changed.
    fn replay(&mut self, is_before: impl Fn(usize, usize) -> bool) {
        let mut winner = self.nodes[0];
        let mut node = usize::midpoint(winner, self.nodes.len());
        while node > 0 {
            if is_before(self.nodes[node], winner) {
                std::mem::swap(&mut self.nodes[node], &mut winner);
            }
            node /= 2;
        }
        self.nodes[0] = winner;
    }
}

#[cfg(test)]
mod tests;
