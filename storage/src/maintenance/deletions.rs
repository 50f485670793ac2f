//! Completes deletions that no file has a row of any more, so that scans need not look for one.

use super::{Pace, Step, Task};
use crate::Result;
use crate::store::Store;

/// The task.
#[derive(Debug)]
pub(crate) struct CompleteDeletions;

impl Task for CompleteDeletions {
    fn name(&self) -> &'static str {
        "complete deletions"
    }

    fn step(&mut self, store: &Store, _: &mut Pace) -> Result<Step> {
        let num_deletions = store.complete_deletions()?;
        if num_deletions > 0 {
            tracing::debug!(num_deletions, "no file has rows of these deletions any more");
        }
        Ok(Step::Idle)
    }
}
