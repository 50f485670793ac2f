//! Time as the tables hold it: nanoseconds since the Unix epoch, UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// What the system's clock says.
pub fn now_ns() -> i64 {
    // A clock before 1970 is wrong in any case; a row must have a time.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

/// The smallest and largest timestamp of some rows, both included.
///
/// Units: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub min_ns: i64,
    pub max_ns: i64,
}

/// Hours since the Unix epoch: the partition that a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

impl Hour {
    const NANOS: i64 = 3_600_000_000_000;

    /// The hour that holds the instant `timestamp_ns`; instants before 1970 have negative hours.
    pub fn of(timestamp_ns: i64) -> Self {
        Self(timestamp_ns.div_euclid(Self::NANOS))
    }

    /// Year, month, day and hour of day, UTC.
    pub fn civil(self) -> (i16, i8, i8, i8) {
        let start = jiff::Timestamp::constant(0, 0) + jiff::SignedDuration::from_hours(self.0);
        let start = start.to_zoned(jiff::tz::TimeZone::UTC);
        (start.year(), start.month(), start.day(), start.hour())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_know_their_calendar_date() {
        for (timestamp_s, expected) in [
            (0, (1970, 1, 1, 0)),
            (-1, (1969, 12, 31, 23)),
            (951_782_400, (2000, 2, 29, 0)),
            (1_795_248_000, (2026, 11, 21, 8)),
            (i64::MAX / 1_000_000_000, (2262, 4, 11, 23)),
        ] {
            assert_eq!(Hour::of(timestamp_s * 1_000_000_000).civil(), expected, "{timestamp_s}");
        }
    }
}
