//! Follows what operators say of losses: they do it in another process, and health speaks of a loss until then.

use super::{Pace, Step, Task};
use crate::Result;
use crate::store::Store;

/// The task.
#[derive(Debug)]
pub(crate) struct FollowAcknowledgements;

impl Task for FollowAcknowledgements {
    fn name(&self) -> &'static str {
        "look which losses are acknowledged"
    }

    fn step(&mut self, store: &Store, _: &mut Pace) -> Result<Step> {
        store.losses.follow_acknowledgements()?;
        Ok(Step::Idle)
    }
}
