//! Keeps background work to its share of a CPU.

use std::thread;
use std::time::{Duration, Instant};

use crate::store::Store;
use crate::{Error, Result};

/// The longest rest in one piece, so that the end of the engine is noticed.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// Lets a thread rest in proportion to its work.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Part of a CPU, above 0 and up to 1.
    share: f64,
    working_since: Instant,
}

impl Pace {
    pub(crate) fn new(share: f64) -> Self {
        Self { share: share.clamp(0.01, 1.0), working_since: Instant::now() }
    }

    /// Work begins: what came before was no work.
    pub(crate) fn begin(&mut self) {
        self.working_since = Instant::now();
    }

    /// Rests for what was worked since the last rest.
    ///
    /// # Errors
    /// `Closed` — the engine is closing: give up what can be given up.
    pub(crate) fn breathe(&mut self, store: &Store) -> Result<()> {
        let mut left = self.working_since.elapsed().mul_f64((1.0 - self.share) / self.share);
        while !left.is_zero() && !store.is_stopping() {
            let rest = left.min(LONGEST_REST);
            thread::sleep(rest);
            left -= rest;
        }
        self.begin();
        if store.is_stopping() { Err(Error::Closed) } else { Ok(()) }
    }
}
