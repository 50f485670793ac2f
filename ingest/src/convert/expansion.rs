//! How much larger than the request its rows may become.
//!
//! A resource is sent once and repeated in each of its rows; an empty record is two bytes and a whole row. So a few
//! megabytes can ask for hundreds of gigabytes of rows, which no later stage could refuse: the log would bring them back at
//! every start.

use super::checks::Reason;

/// Rows that any request may make, and one more for each [`BYTES_PER_ROW`].
const BASE_ROWS: u64 = 10_000;
/// The smallest data point that says anything takes about 20 bytes.
const BYTES_PER_ROW: u64 = 16;
/// Text that a request's rows may repeat: this much, or [`REPEATED_PER_BYTE`] times the request.
const BASE_REPEATED_BYTES: u64 = 256 << 20;
const REPEATED_PER_BYTE: u64 = 64;

/// What is left of a request's allowance.
#[derive(Debug)]
pub(super) struct Expansion {
    max_rows: u64,
    max_repeated_bytes: u64,
    rows: u64,
    repeated_bytes: u64,
}

impl Expansion {
    pub(super) fn of(payload_bytes: usize) -> Self {
        let payload_bytes = payload_bytes as u64;
        Self {
            max_rows: BASE_ROWS + payload_bytes / BYTES_PER_ROW,
            max_repeated_bytes: BASE_REPEATED_BYTES.max(payload_bytes.saturating_mul(REPEATED_PER_BYTE)),
            rows: 0,
            repeated_bytes: 0,
        }
    }

    /// Takes one row, with the texts of its resource, scope and metric, off the allowance.
    pub(super) fn take(&mut self, repeated_bytes: usize) -> Result<(), Reason> {
        let repeated = self.repeated_bytes.saturating_add(repeated_bytes as u64);
        if self.rows >= self.max_rows {
            return Err(Reason::TooManyRecords { limit: self.max_rows });
        }
        if repeated > self.max_repeated_bytes {
            return Err(Reason::TooMuchRepeated { limit_bytes: self.max_repeated_bytes });
        }
        self.rows += 1;
        self.repeated_bytes = repeated;
        Ok(())
    }
}
