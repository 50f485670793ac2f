//! An encoded request that is sent many times, each time with times, ids and values of its own.
//!
//! Encoding a request costs several times what a server needs to store it. A template is encoded once; sending it
//! is a copy with eight bytes replaced here and there.

use bytes::{BufMut, Bytes};
use prost::Message;

use super::wire::{self, Layout, Meaning};

/// What makes one use of a template differ from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// The latest time in the request; the others keep their distance to it. Nanoseconds since the epoch.
    pub(super) at_ns: u64,
    /// Which request this is, counted over the whole run.
    pub(super) number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Time { behind_ns: u64 },
    Id(u64),
    Gauge(f64),
    Counter(i64),
}

#[derive(Debug)]
pub(super) struct Template {
    bytes: Bytes,
    /// Offset of the eight bytes and what they become, ascending.
    changes: Vec<(usize, Change)>,
    records: u64,
}

impl Template {
    pub(super) fn new(request: &impl Message, layout: &Layout, records: u64) -> Self {
        let bytes: Bytes = request.encode_to_vec().into();
        let found = wire::find(layout, &bytes).expect("prost reads what prost wrote");
        let word = |offset: usize| -> [u8; 8] {
            bytes[offset..offset + 8].try_into().expect("the walk only reports eight bytes")
        };
        let times = found.iter().filter(|(_, meaning)| *meaning == Meaning::Time);
        let latest_ns = times.map(|(offset, _)| u64::from_le_bytes(word(*offset))).max().unwrap_or(0);
        let changes = found
            .iter()
            .map(|&(offset, meaning)| {
                let word = word(offset);
                let change = match meaning {
                    Meaning::Time => Change::Time { behind_ns: latest_ns - u64::from_le_bytes(word) },
                    Meaning::Id => Change::Id(u64::from_le_bytes(word)),
                    Meaning::Gauge => Change::Gauge(f64::from_le_bytes(word)),
                    Meaning::Counter => Change::Counter(i64::from_le_bytes(word)),
                };
                (offset, change)
            })
            .collect();
        Self { bytes, changes, records }
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn write(&self, stamp: Stamp, out: &mut impl BufMut) {
        let salt = mix(stamp.number);
        let mut written = 0;
        for (offset, change) in &self.changes {
            out.put_slice(&self.bytes[written..*offset]);
            match *change {
                Change::Time { behind_ns } => out.put_u64_le(stamp.at_ns.saturating_sub(behind_ns)),
                // The same for all ids of a request, so that parents and links still point at their spans.
                Change::Id(id) => out.put_u64_le(id ^ salt),
                Change::Gauge(value) => out.put_f64_le(wander(value, salt ^ *offset as u64)),
                Change::Counter(value) => out.put_i64_le(value.wrapping_add(stamp.number as i64)),
            }
            written = offset + 8;
        }
        out.put_slice(&self.bytes[written..]);
    }
}

/// A gauge near its first value, within `[0, 1)` and with four decimals, as measured shares are.
fn wander(value: f64, salt: u64) -> f64 {
    let step = mix(salt) % 1_000;
    let ten_thousandths = ((value * 1e4) as u64 + step) % 10_000;
    ten_thousandths as f64 / 1e4
}

/// Spreads consecutive numbers over all 64 bits.
///
/// Source: the finaliser of `SplitMix64`, <https://prng.di.unimi.it/splitmix64.c>
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
