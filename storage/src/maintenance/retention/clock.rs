//! Whether the system's clock can be trusted.

use std::time::Instant;

use alula_catalog::ClockRecord;

const HOUR_NS: i64 = 3_600_000_000_000;
/// A clock that is set back by less is being adjusted.
const BACKWARD_NS: i64 = HOUR_NS / 12;
/// A clock that runs ahead of the monotonic one by less is being adjusted.
const FORWARD_NS: i64 = HOUR_NS;
/// The clock has to go steadily for as long as it jumped, within these bounds.
const SHORTEST_HOLD_NS: i64 = HOUR_NS;
const LONGEST_HOLD_NS: i64 = 24 * HOUR_NS;

/// Compares the system's clock with the monotonic one, and at start with what it said last.
///
/// A server that was off for a while looks like one whose clock jumped, so it waits as well.
#[derive(Debug)]
pub(super) struct ClockGuard {
    last_wall_ns: i64,
    last_look: Instant,
    /// How much longer the clock has to go steadily.
    hold_ns: i64,
}

/// What a look at the clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Steady,
    /// It is off by this from what it should say.
    Jumped {
        by_ns: i64,
    },
}

impl ClockGuard {
    pub(super) fn new(record: ClockRecord, now: Instant) -> Self {
        Self { last_wall_ns: record.last_seen_ns, last_look: now, hold_ns: record.hold_ns }
    }

    pub(super) fn look(&mut self, wall_ns: i64, now: Instant, is_confirmed: bool) -> Trust {
        let passed_ns = i64::try_from((now - self.last_look).as_nanos()).unwrap_or(i64::MAX);
        let expected_ns = self.last_wall_ns.saturating_add(passed_ns);
        let is_first_ever = self.last_wall_ns == 0;
        (self.last_wall_ns, self.last_look) = (wall_ns, now);
        if is_confirmed {
            self.hold_ns = 0;
            return Trust::Steady;
        }
        let by_ns = wall_ns.saturating_sub(expected_ns);
        if is_first_ever || (-BACKWARD_NS..=FORWARD_NS).contains(&by_ns) {
            self.hold_ns = self.hold_ns.saturating_sub(passed_ns).max(0);
            return Trust::Steady;
        }
        let hold_ns = by_ns.saturating_abs().clamp(SHORTEST_HOLD_NS, LONGEST_HOLD_NS);
        self.hold_ns = self.hold_ns.max(hold_ns);
        Trust::Jumped { by_ns }
    }

    /// 0: the clock is trusted.
    pub(super) fn hold_ns(&self) -> i64 {
        self.hold_ns
    }
}
