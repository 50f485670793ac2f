//! The one source of chance. A fixed algorithm, so that a seed means the same on every machine and in every version.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

#[derive(Clone, Debug)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A whole number below `end`, which is more than zero.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// A number in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Never all zero, which OTLP takes for no id.
    pub(super) fn id<const N: usize>(&mut self) -> [u8; N] {
        let mut id = [0; N];
        self.0.fill_bytes(&mut id);
        id[N - 1] |= 1;
        id
    }

    /// A time around `median`, with the long tail that response times have.
    pub(super) fn latency_ns(&mut self, median_ms: f64) -> u64 {
        // Box-Muller: one normally distributed number out of two uniform ones.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        (median_ms * (0.35 * normal).exp() * 1e6) as u64
    }
}
