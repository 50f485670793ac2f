//! One worker: takes the next request of the schedule, waits until it is due, sends it, counts the answer.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alula_catalog::Signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::bodies::Bodies;
use super::summary::Summary;
use crate::generator::template::Stamp;
use crate::generator::{Exporter, Payload};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long requests that are being retried may go on after the end of a run.
const RETRY_GRACE: Duration = Duration::from_secs(5);

/// Which request is sent when, shared by all workers.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) signal: Signal,
    pub(super) bodies: Bodies,
    pub(super) next: AtomicU64,
    pub(super) started: Instant,
    /// Seconds between requests, over all workers; without it there is no waiting.
    pub(super) interval: Option<f64>,
    pub(super) end: Option<Instant>,
    pub(super) stop: CancellationToken,
    pub(super) retry: bool,
}

impl Schedule {
    /// Waits until request `number` is due. False if the run ends before.
    async fn wait_for(&self, number: u64) -> bool {
        let due = match self.interval {
            Some(interval) => self.started + Duration::from_secs_f64(interval * number as f64),
            None => self.started,
        };
        if self.stop.is_cancelled() || self.end.is_some_and(|end| due.max(Instant::now()) >= end) {
            return false;
        }
        if due <= Instant::now() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// When trying again stops making sense.
    async fn over(&self) {
        match self.end {
            Some(end) => {
                tokio::select! {
                    () = tokio::time::sleep_until(end) => {}
                    () = self.stop.cancelled() => {}
                }
            }
            None => self.stop.cancelled().await,
        }
        tokio::time::sleep(RETRY_GRACE).await;
    }
}

#[derive(Debug)]
pub(super) struct Worker {
    exporter: Exporter,
    schedule: Arc<Schedule>,
    tally: Summary,
}

impl Worker {
    pub(super) fn new(exporter: Exporter, schedule: Arc<Schedule>) -> Self {
        let tally = Summary::new(schedule.signal);
        Self { exporter, schedule, tally }
    }

    pub(super) async fn run(mut self) -> Summary {
        let schedule = Arc::clone(&self.schedule);
        loop {
            let number = schedule.next.fetch_add(1, Ordering::Relaxed);
            let Some(template) = schedule.bodies.get(number) else { break };
            if !schedule.wait_for(number).await {
                break;
            }
            let stamp = Stamp { at_ns: now_ns(), number };
            let payload = Payload::template(Arc::clone(template), stamp);
            let records = template.records();
            self.tally.count_sent(records, payload.len_bytes());
            if let Err(status) = self.send(payload, records).await {
                self.tally.count_failure(records, &status);
                if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
                    self.tally.refused = Some(status);
                    schedule.stop.cancel();
                    break;
                }
                // Without this a server that is gone would be hammered as fast as it refuses.
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        }
        self.tally
    }

    /// Sends one request, again and again if that is wanted and the status allows it.
    async fn send(&mut self, payload: Payload, records: u64) -> Result<(), Status> {
        let schedule = Arc::clone(&self.schedule);
        let mut pause = FIRST_PAUSE;
        let mut over = std::pin::pin!(schedule.over());
        loop {
            let sent = Instant::now();
            match self.exporter.export(schedule.signal, payload.clone()).await {
                Ok(answer) => {
                    self.tally.count_answer(records, answer.rejected, answer.message, sent.elapsed());
                    return Ok(());
                }
                Err(status) if schedule.retry && is_retryable(&status) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = &mut over => return Err(status),
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    self.tally.count_retry();
                }
                Err(status) => return Err(status),
            }
        }
    }
}

/// Source: <https://opentelemetry.io/docs/specs/otlp/#failures>. A status with a cause comes from a connection that
/// broke, not from the server.
fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => status.metadata().contains_key("google.rpc.retryinfo-bin"),
        _ => status.source().is_some(),
    }
}

/// Nanoseconds since the epoch. A clock before 1970 counts as 1970.
fn now_ns() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0)
}
