//! What a power cut leaves of that which was not synced.

use super::rng::Rng;

/// The way in which bytes and names that were not synced are kept or lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TearMode {
    /// Nothing of it is kept.
    LoseAll,
    /// Everything up to a moment is kept, and part of the write of that moment.
    Prefix,
    /// Each sector and each change of a name is kept or not, whatever its neighbours are.
    Subset,
    /// Everything since a moment is kept, with part of the write of that moment; what came before it is lost.
    Reorder,
}

impl TearMode {
    pub(crate) const ALL: [Self; 4] = [Self::LoseAll, Self::Prefix, Self::Subset, Self::Reorder];
}

/// Decides, for one power cut, what is kept.
#[derive(Debug)]
pub(super) struct PowerCut {
    mode: TearMode,
    /// The moment of [`TearMode::Prefix`] and [`TearMode::Reorder`].
    moment: u64,
    rng: Rng,
}

impl PowerCut {
    /// `pending` is when changes happened that were not synced.
    pub(super) fn new(mode: TearMode, seed: u64, pending: &[u64]) -> Self {
        let mut rng = Rng::new(seed);
        let moment = if pending.is_empty() { 0 } else { *rng.pick(pending) };
        Self { mode, moment, rng }
    }

    /// Whether a change of a name, or a truncation, is kept.
    pub(super) fn keeps(&mut self, at: u64) -> bool {
        match self.mode {
            TearMode::LoseAll => false,
            TearMode::Prefix => at <= self.moment,
            TearMode::Subset => self.rng.coin(),
            TearMode::Reorder => at >= self.moment,
        }
    }

    /// Which of a sector's versions is on disk, given when they came to be, oldest first. None: what was synced.
    pub(super) fn version(&mut self, times: &[u64]) -> Option<usize> {
        match self.mode {
            TearMode::LoseAll => None,
            TearMode::Prefix => {
                let kept = times.partition_point(|at| *at <= self.moment);
                let is_torn = kept > 0 && times[kept - 1] == self.moment && self.rng.coin();
                (kept - usize::from(is_torn)).checked_sub(1)
            }
            TearMode::Subset => (self.rng.below(times.len() as u64 + 1) as usize).checked_sub(1),
            TearMode::Reorder => {
                let last = times.len().checked_sub(1)?;
                let is_torn = times[last] == self.moment && self.rng.coin();
                (times[last] >= self.moment && !is_torn).then_some(last)
            }
        }
    }

    /// The length of a file whose synced length and last kept sector give `least`, and which a read showed with `most`.
    pub(super) fn length(&mut self, least: usize, most: usize) -> usize {
        // The length is kept in another place than the bytes: a file may be long and empty.
        let is_long = matches!(self.mode, TearMode::Subset | TearMode::Reorder) && self.rng.coin();
        if is_long { least.max(most) } else { least }
    }
}
