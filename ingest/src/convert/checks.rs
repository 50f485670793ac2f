//! Which records of a request are kept.
//!
//! A live request is checked record by record against [`Limits`]; the replay of a logged one drops exactly the
//! records that were dropped then, so that a rule which changes between versions never changes stored data.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::json;

/// The configurable limits of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How far a timestamp may lie after the time of receipt.
    pub(crate) max_future_ns: i64,
}

/// Who decides which records are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Policy<'a> {
    /// A live request: every rule applies.
    Check(Limits),
    /// A logged request: exactly these ordinals are dropped and nothing is checked.
    Replay(&'a [u32]),
}

/// Why a record was rejected. The text goes to the sender, so it says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("{field} is past 2262-04-11T23:47:16Z, the last time that 64-bit nanoseconds can hold")]
    TimeOutOfRange { field: &'static str },
    #[error(
        "timestamp is more than {bound:?} ahead of the server's clock; \
         correct the sender's clock or raise ingest.max_future"
    )]
    TooFarInFuture { bound: Duration },
    #[error("{place} nest deeper than {} levels", json::MAX_DEPTH)]
    TooDeep { place: &'static str },
    #[error("trace_id must be 16 bytes and not all zero")]
    InvalidTraceId,
    #[error("span_id must be 8 bytes and not all zero")]
    InvalidSpanId,
    #[error(
        "the request has more than {limit} records, which is more than its size can fill; \
         records without content are not kept beyond that"
    )]
    TooManyRecords { limit: u64 },
    #[error(
        "the texts of resource, scope and metric, repeated in each row, pass {limit_bytes} bytes for this request; \
         shorten them or send fewer records in a request"
    )]
    TooMuchRepeated { limit_bytes: u64 },
    #[error("bucket_counts must have one element more than explicit_bounds, or both must be empty")]
    BucketsDoNotFit,
    #[error("explicit_bounds must be numbers that rise strictly")]
    BoundsDoNotRise,
}

/// A record that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The record's index in the depth-first order of the request.
    pub(crate) ordinal: u32,
    pub(crate) reason: Reason,
    /// The record as text; only the first of each reason has one.
    pub(crate) sample: Option<Box<str>>,
}

/// Counts the records of one request and decides about each.
#[derive(Debug)]
pub(super) struct Admission {
    policy: Owned,
    next_ordinal: u32,
    rejected: Vec<Rejection>,
    /// The reasons of these, each once.
    reasons: Vec<Reason>,
}

#[derive(Debug)]
enum Owned {
    Check(Limits),
    /// Sorted.
    Replay(Vec<u32>),
}

impl Admission {
    pub(super) fn new(policy: Policy<'_>) -> Self {
        let policy = match policy {
            Policy::Check(limits) => Owned::Check(limits),
            Policy::Replay(ordinals) => {
                let mut ordinals = ordinals.to_vec();
                ordinals.sort_unstable();
                Owned::Replay(ordinals)
            }
        };
        Self { policy, next_ordinal: 0, rejected: Vec::new(), reasons: Vec::new() }
    }

    /// Decides about the next record. Must be called once for each, in the order of the request.
    ///
    /// `sample` makes its text, if that is wanted.
    pub(super) fn admit(
        &mut self,
        check: impl FnOnce(Limits) -> Result<(), Reason>,
        sample: impl FnOnce() -> Box<str>,
    ) -> bool {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        match &self.policy {
            Owned::Replay(dropped) => dropped.binary_search(&ordinal).is_err(),
            Owned::Check(limits) => match check(*limits) {
                Ok(()) => true,
                Err(reason) => {
                    let is_first = !self.reasons.contains(&reason);
                    if is_first {
                        self.reasons.push(reason);
                    }
                    self.rejected.push(Rejection { ordinal, reason, sample: is_first.then(sample) });
                    false
                }
            },
        }
    }

    pub(super) fn finish(self) -> Vec<Rejection> {
        self.rejected
    }
}

pub(super) fn time(unix_nano: u64, field: &'static str) -> Result<(), Reason> {
    ensure(i64::try_from(unix_nano).is_ok(), Reason::TimeOutOfRange { field })
}

pub(super) fn not_in_future(timestamp_ns: i64, received_ns: i64, limits: Limits) -> Result<(), Reason> {
    let latest = received_ns.saturating_add(limits.max_future_ns);
    let bound = Duration::from_nanos(limits.max_future_ns.max(0) as u64);
    ensure(timestamp_ns <= latest, Reason::TooFarInFuture { bound })
}

pub(super) fn depth(attributes: &[KeyValue], place: &'static str) -> Result<(), Reason> {
    ensure(json::depth_is_bounded(attributes), Reason::TooDeep { place })
}

pub(super) fn ensure(holds: bool, reason: Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(reason) }
}
