//! What came of a run, as text or JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use alula_catalog::Signal;
use serde_json::json;
use tonic::{Code, Status};

use super::latency::LatencyHistogram;

/// The counts of one worker, or of all. `sent = accepted + rejected + failed`, in records.
#[derive(Debug)]
pub(crate) struct Summary {
    signal: Signal,
    requests: u64,
    sent: u64,
    sent_bytes: u64,
    accepted: u64,
    rejected: u64,
    /// Records in requests that were given up, by the status that ended them.
    failed: BTreeMap<&'static str, u64>,
    retries: u64,
    /// What the server said first about rejected records, and about a failed request.
    rejection: Option<String>,
    failure: Option<String>,
    latencies: LatencyHistogram,
    pub(super) elapsed: Duration,
    /// The status that made further sending pointless.
    pub(super) refused: Option<Status>,
}

impl Summary {
    pub(super) fn new(signal: Signal) -> Self {
        Self {
            signal,
            requests: 0,
            sent: 0,
            sent_bytes: 0,
            accepted: 0,
            rejected: 0,
            failed: BTreeMap::new(),
            retries: 0,
            rejection: None,
            failure: None,
            latencies: LatencyHistogram::new(),
            elapsed: Duration::ZERO,
            refused: None,
        }
    }

    pub(super) fn count_sent(&mut self, records: u64, bytes: usize) {
        self.requests += 1;
        self.sent += records;
        self.sent_bytes += bytes as u64;
    }

    pub(super) fn count_retry(&mut self) {
        self.retries += 1;
    }

    pub(super) fn count_answer(&mut self, records: u64, rejected: u64, message: String, latency: Duration) {
        // A server that rejects more than it was sent is wrong; the sum must still come out.
        let rejected = rejected.min(records);
        self.accepted += records - rejected;
        self.rejected += rejected;
        if rejected > 0 && self.rejection.is_none() {
            self.rejection = Some(message);
        }
        self.latencies.record(latency);
    }

    pub(super) fn count_failure(&mut self, records: u64, status: &Status) {
        *self.failed.entry(code_name(status.code())).or_default() += records;
        self.failure.get_or_insert_with(|| status.message().to_owned());
    }

    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.retries += other.retries;
        for (code, records) in other.failed {
            *self.failed.entry(code).or_default() += records;
        }
        self.rejection = self.rejection.take().or(other.rejection);
        self.failure = self.failure.take().or(other.failure);
        self.latencies.merge(&other.latencies);
        self.refused = self.refused.take().or(other.refused);
    }

    /// Whether every record was accepted.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.rejected == 0
    }

    fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.accepted as f64 / seconds } else { 0.0 }
    }

    fn latencies_ms(&self) -> [Option<f64>; 3] {
        let millis = |latency: Duration| (latency.as_secs_f64() * 1e6).round() / 1e3;
        [self.latencies.quantile(0.5), self.latencies.quantile(0.99), self.latencies.max()]
            .map(|latency| latency.map(millis))
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            writeln!(text, "{name:<9} {value}").expect("a String takes any text");
        };
        let records = format!("{}s", self.signal.record_name());
        let megabytes = self.sent_bytes as f64 / 1e6;
        line("sent", format!("{} {records} in {} requests, {megabytes:.1} MB", self.sent, self.requests));
        line("accepted", self.accepted.to_string());
        line("rejected", with_reason(self.rejected.to_string(), self.rejection.as_deref()));
        let failed: u64 = self.failed.values().sum();
        let codes: Vec<_> = self.failed.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let failed =
            if codes.is_empty() { "0".to_owned() } else { format!("{failed} [{}]", codes.join(", ")) };
        line("failed", with_reason(failed, self.failure.as_deref()));
        line("retries", self.retries.to_string());
        line("rate", format!("{:.0} {records}/s over {:.3} s", self.rate(), self.elapsed.as_secs_f64()));
        if let [Some(p50), Some(p99), Some(max)] = self.latencies_ms() {
            line("latency", format!("p50 {p50:.3} ms, p99 {p99:.3} ms, max {max:.3} ms"));
        }
        text
    }

    /// One line. Times without an acknowledgement are null.
    pub(crate) fn json(&self) -> String {
        let [p50, p99, max] = self.latencies_ms();
        json!({
            "signal": self.signal.table_name(),
            "requests": self.requests,
            "sent": self.sent,
            "sent_bytes": self.sent_bytes,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "rejection": self.rejection,
            "failed": self.failed.values().sum::<u64>(),
            "failed_by_status": self.failed,
            "failure": self.failure,
            "retries": self.retries,
            "seconds": self.elapsed.as_secs_f64(),
            "records_per_second": self.rate(),
            "latency_ms": { "p50": p50, "p99": p99, "max": max },
        })
        .to_string()
            + "\n"
    }
}

fn with_reason(count: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if !reason.is_empty() => format!("{count} ({reason})"),
        _ => count,
    }
}

/// As gRPC's own documents spell it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
