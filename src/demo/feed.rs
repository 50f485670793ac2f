//! The shop's telemetry, sent as its services would send it.

use std::time::Duration;

use alula_catalog::Signal;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tokio::time::{MissedTickBehavior, interval};

use super::say;
use crate::cli::CliError;
use crate::generator::{
    Activity, Exporter, Incident, Meter, Payload, Random, Shop, Topology, logs_request, traces_request,
};
use crate::sql_client::{Credentials, Error, Result, ServerUrl};

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;

const HISTORY_NS: u64 = 30 * MINUTE_NS;
/// How long before the start of the demo the incident begins, and how long it lasts.
const INCIDENT_AGO_NS: u64 = 20 * MINUTE_NS;
const INCIDENT_NS: u64 = 6 * MINUTE_NS;

/// Two user requests a second.
const TRANSACTION_NS: u64 = SECOND_NS / 2;
/// How often meters export.
const EXPORT_NS: u64 = 15 * SECOND_NS;
/// Live transactions are sent when they are this old: their spans have ended by then.
const LIVE_DELAY_NS: u64 = SECOND_NS;

/// Any seed makes a shop; this one makes the same shop in every demo.
const SEED: u64 = 1;

/// Records that the server has acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) spans: usize,
    pub(super) logs: usize,
    pub(super) points: usize,
}

/// Sends everything that happened up to some moment, which only moves forward.
pub(super) struct Feed {
    exporter: Exporter,
    url: ServerUrl,
    shop: Shop,
    meter: Meter,
    /// When the demo began.
    begun_ns: u64,
    next_transaction_ns: u64,
    next_export_ns: u64,
    sent: Sent,
}

impl Feed {
    pub(super) async fn connect(url: &ServerUrl, credentials: Credentials) -> Result<Self> {
        let exporter = Exporter::connect(url, credentials, None).await?;
        let begun_ns = now_ns();
        let start_ns = begun_ns - HISTORY_NS;
        // Whole minutes, so that the questions that count by the minute show it without blurred ends.
        let incident_ns = (begun_ns - INCIDENT_AGO_NS) / MINUTE_NS * MINUTE_NS;
        let incident = Incident { start_ns: incident_ns, end_ns: incident_ns + INCIDENT_NS };
        let topology = Topology::new(3);
        Ok(Self {
            exporter,
            url: url.clone(),
            shop: Shop::new(topology.clone(), Random::new(SEED), None, Some(incident)),
            meter: Meter::new(topology, Random::new(SEED), start_ns),
            begun_ns,
            next_transaction_ns: start_ns,
            next_export_ns: start_ns + EXPORT_NS,
            sent: Sent::default(),
        })
    }

    /// Everything up to the beginning of the demo.
    pub(super) async fn history(&mut self) -> Result<Sent> {
        let end_ns = self.begun_ns - LIVE_DELAY_NS;
        while self.next_export_ns <= end_ns {
            self.send_until(self.next_export_ns).await?;
        }
        self.send_until(end_ns).await?;
        Ok(self.sent)
    }

    /// Goes on for ever. What a busy server does not take is not sent again; a line on stderr says so.
    pub(super) async fn live(&mut self) -> Result<(), CliError> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.send_until(now_ns() - LIVE_DELAY_NS).await {
                say(&format!("live data was not taken: {error}"))?;
            }
        }
    }

    /// Sends the transactions that start before `end_ns`, and the meters' export if one is due.
    async fn send_until(&mut self, end_ns: u64) -> Result<()> {
        let mut activity = Activity::default();
        while self.next_transaction_ns < end_ns {
            self.shop.transaction(self.next_transaction_ns, &mut activity);
            self.next_transaction_ns += TRANSACTION_NS;
        }
        self.meter.observe(&activity);
        let Activity { spans, logs, .. } = activity;
        let (span_count, log_count) = (spans.len(), logs.len());
        if span_count > 0 {
            let request = traces_request(self.shop.topology(), spans);
            self.export(Signal::Traces, Payload::message(&request)).await?;
            self.sent.spans += span_count;
        }
        if log_count > 0 {
            let request = logs_request(self.shop.topology(), logs);
            self.export(Signal::Logs, Payload::message(&request)).await?;
            self.sent.logs += log_count;
        }
        if self.next_export_ns <= end_ns {
            let request = self.meter.export(self.next_export_ns);
            // Not before the export is made: a failed one is not made again, as with an SDK.
            self.next_export_ns += EXPORT_NS;
            self.export(Signal::Metrics, Payload::message(&request)).await?;
            self.sent.points += points_in(&request);
        }
        Ok(())
    }

    async fn export(&mut self, signal: Signal, payload: Payload) -> Result<()> {
        let answer = self
            .exporter
            .export(signal, payload)
            .await
            .map_err(|status| Error::from_status(status, &self.url))?;
        if answer.rejected > 0 {
            let message = format!("{} generated {signal} were rejected: {}", answer.rejected, answer.message);
            return Err(Error::Server { code: tonic::Code::InvalidArgument, message });
        }
        Ok(())
    }
}

fn points_in(request: &ExportMetricsServiceRequest) -> usize {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    scopes
        .flat_map(|scope| &scope.metrics)
        .map(|metric| match &metric.data {
            Some(Data::Gauge(gauge)) => gauge.data_points.len(),
            Some(Data::Sum(sum)) => sum.data_points.len(),
            Some(Data::Histogram(histogram)) => histogram.data_points.len(),
            Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
            Some(Data::Summary(summary)) => summary.data_points.len(),
            None => 0,
        })
        .sum()
}

/// Nanoseconds since the epoch, and late enough that a history fits before it.
fn now_ns() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0).max(2 * HISTORY_NS)
}
