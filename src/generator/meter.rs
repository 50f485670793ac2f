//! The meters of the shop: what its services did, as data points of all five types.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, Gauge, Histogram, Metric, Sum, Summary,
};

use super::otlp::{Of, metrics_request, text, whole};
use super::points::{Distribution, PointOf};
use super::transaction::{Served, Statement};
use super::{Activity, Random, Topology};

type RouteKey = (usize, &'static str, &'static str, i64);
type StatementKey = (usize, &'static str, &'static str);

/// Counts since the start, exported in cumulative temporality as SDKs do by default.
#[derive(Debug)]
pub(crate) struct Meter {
    topology: Topology,
    random: Random,
    start_ns: u64,
    last_export_ns: u64,
    requests: BTreeMap<RouteKey, Distribution>,
    statements: BTreeMap<StatementKey, Distribution>,
    /// Seen, but not over yet at the last export.
    pending_requests: Vec<Served>,
    pending_statements: Vec<Statement>,
    /// Seconds of processor time of each instance.
    cpu: Vec<f64>,
}

impl Meter {
    pub(crate) fn new(topology: Topology, random: Random, start_ns: u64) -> Self {
        let cpu = vec![0.0; topology.instances().len()];
        Self {
            topology,
            random,
            start_ns,
            last_export_ns: start_ns,
            requests: BTreeMap::new(),
            statements: BTreeMap::new(),
            pending_requests: Vec::new(),
            pending_statements: Vec::new(),
            cpu,
        }
    }

    pub(crate) fn observe(&mut self, activity: &Activity) {
        self.pending_requests.extend_from_slice(&activity.served);
        self.pending_statements.extend_from_slice(&activity.statements);
    }

    /// What a periodic reader would export at `at_ns`: a point of every series.
    pub(crate) fn export(&mut self, at_ns: u64) -> ExportMetricsServiceRequest {
        self.count_what_ended(at_ns);
        let elapsed = at_ns.saturating_sub(self.last_export_ns) as f64 / 1e9;
        self.last_export_ns = at_ns;
        let mut metrics = self.request_metrics(at_ns);
        metrics.extend(self.statement_metrics(at_ns));
        for instance in 0..self.topology.instances().len() {
            metrics.extend(self.process_metrics(instance, at_ns, elapsed));
        }
        for distribution in self.requests.values_mut() {
            distribution.forget_exemplar();
        }
        metrics_request(&self.topology, metrics)
    }

    fn count_what_ended(&mut self, at_ns: u64) {
        for served in self.pending_requests.extract_if(.., |served| served.end_ns <= at_ns) {
            let key = (served.instance, served.method, served.route, served.status);
            let seconds = (served.end_ns - served.start_ns) as f64 / 1e9;
            let values = self.requests.entry(key).or_default();
            values.observe_traced(seconds, served.end_ns, served.trace_id, served.span_id);
        }
        for statement in self.pending_statements.extract_if(.., |statement| statement.end_ns <= at_ns) {
            let key = (statement.instance, statement.operation, statement.table);
            self.statements.entry(key).or_default().observe(statement.seconds);
        }
    }

    fn request_metrics(&self, at_ns: u64) -> Vec<Of<Metric>> {
        let mut points: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (&(instance, method, route, status), values) in &self.requests {
            let attributes = vec![
                text("http.request.method", method),
                text("http.route", route),
                whole("http.response.status_code", status),
                text("url.scheme", "http"),
            ];
            let point = PointOf { attributes, start_ns: self.start_ns, at_ns };
            points.entry(instance).or_default().push(point.histogram(values));
        }
        let metric = |data_points| {
            let data = Data::Histogram(Histogram { data_points, aggregation_temporality: cumulative() });
            metric("http.server.request.duration", "s", "Duration of HTTP server requests.", data)
        };
        points.into_iter().map(|(instance, points)| (instance, metric(points))).collect()
    }

    fn statement_metrics(&self, at_ns: u64) -> Vec<Of<Metric>> {
        let mut points: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (&(instance, operation, table), values) in &self.statements {
            let attributes = vec![
                text("db.system.name", "postgresql"),
                text("db.operation.name", operation),
                text("db.collection.name", table),
            ];
            let point = PointOf { attributes, start_ns: self.start_ns, at_ns };
            points.entry(instance).or_default().push(point.exponential_histogram(values));
        }
        let metric = |data_points| {
            let aggregation_temporality = cumulative();
            let data =
                Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality });
            metric("db.client.operation.duration", "s", "Duration of database client operations.", data)
        };
        points.into_iter().map(|(instance, points)| (instance, metric(points))).collect()
    }

    fn process_metrics(&mut self, instance: usize, at_ns: u64, elapsed: f64) -> Vec<Of<Metric>> {
        let utilization = self.random.between(0.05, 0.35);
        self.cpu[instance] += utilization * elapsed;
        let memory = 180_000_000 + self.random.below(40_000_000) as i64;
        let active = self.pending_requests.iter().filter(|served| served.instance == instance).count();
        let collections = (at_ns.saturating_sub(self.start_ns) / 10_000_000_000).max(1);
        let pause = self.random.between(0.0004, 0.0012);

        let point = || PointOf { attributes: Vec::new(), start_ns: self.start_ns, at_ns };
        let gauge = Gauge { data_points: vec![point().number(Value::AsDouble(utilization))] };
        let sum = |value, is_monotonic| {
            let aggregation_temporality = cumulative();
            Data::Sum(Sum { data_points: vec![point().number(value)], aggregation_temporality, is_monotonic })
        };
        let quantiles = [(0.0, pause * 0.3), (0.5, pause), (0.99, pause * 2.4), (1.0, pause * 3.0)];
        let pauses = point().summary(collections, collections as f64 * pause, &quantiles);
        [
            metric("process.cpu.utilization", "1", "Share of the processor in use.", Data::Gauge(gauge)),
            metric(
                "process.cpu.time",
                "s",
                "Processor time since the start.",
                sum(Value::AsDouble(self.cpu[instance]), true),
            ),
            metric("process.memory.usage", "By", "Physical memory in use.", sum(Value::AsInt(memory), false)),
            metric(
                "http.server.active_requests",
                "{request}",
                "Requests being answered.",
                sum(Value::AsInt(active as i64), false),
            ),
            metric(
                "runtime.gc.pause",
                "s",
                "Pauses of the garbage collector.",
                Data::Summary(Summary { data_points: vec![pauses] }),
            ),
        ]
        .map(|metric| (instance, metric))
        .into()
    }
}

fn cumulative() -> i32 {
    AggregationTemporality::Cumulative.into()
}

pub(super) fn metric(name: &str, unit: &str, description: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    }
}
