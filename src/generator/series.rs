//! Data points of a wanted number of series, for load.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, Gauge, Histogram, Metric, Sum, Summary,
};

use super::meter::metric;
use super::otlp::{Of, metrics_request, text, whole, with_count};
use super::points::{Distribution, PointOf};
use super::{Random, Topology};

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const ROUTES: [&str; 6] = ["/", "/checkout", "/charge", "/orders/{id}", "/products/{id}", "/account/cards"];
const STATUSES: [i64; 4] = [200, 201, 404, 500];

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum MetricType {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl MetricType {
    /// The metrics that series of this type are spread over: name and unit.
    fn metrics(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Gauge => {
                &[("process.cpu.utilization", "1"), ("system.memory.utilization", "1"), ("queue.fill", "1")]
            }
            Self::Sum => &[
                ("http.server.requests", "{request}"),
                ("system.network.io", "By"),
                ("queue.published", "{message}"),
            ],
            Self::Histogram => &[("http.server.request.duration", "s")],
            Self::ExponentialHistogram => &[("db.client.operation.duration", "s")],
            Self::Summary => &[("runtime.gc.pause", "s")],
        }
    }
}

/// Series number `n` is always the same: type, name, instance and attributes follow from it.
#[derive(Debug)]
pub(super) struct SeriesSource {
    pub(super) topology: Topology,
    pub(super) types: Vec<MetricType>,
    pub(super) attributes: Option<usize>,
    pub(super) start_ns: u64,
}

impl SeriesSource {
    /// One data point for each pair of series and time, grouped as an SDK groups them.
    pub(super) fn request(
        &self,
        points: impl Iterator<Item = (usize, u64)>,
        random: &mut Random,
    ) -> ExportMetricsServiceRequest {
        let mut metrics: Vec<Of<Metric>> = Vec::new();
        for (number, at_ns) in points {
            let metric_type = self.types[number % self.types.len()];
            let rest = number / self.types.len();
            let names = metric_type.metrics();
            let (name, unit) = names[rest % names.len()];
            let rest = rest / names.len();
            let instances = self.topology.instances().len();
            let instance = rest % instances;
            let point =
                PointOf { attributes: self.attributes(rest / instances), start_ns: self.start_ns, at_ns };
            let same = |candidate: &Of<Metric>| candidate.0 == instance && candidate.1.name == name;
            let place = metrics.iter().position(same).unwrap_or_else(|| {
                metrics.push((instance, metric(name, unit, "", empty(metric_type))));
                metrics.len() - 1
            });
            add_point(&mut metrics[place].1, point, random);
        }
        metrics_request(&self.topology, metrics)
    }

    /// The first attribute alone tells one series of a metric and an instance from another.
    fn attributes(&self, number: usize) -> Vec<KeyValue> {
        let attributes = vec![
            text("shard", &format!("s{number:06}")),
            text("http.request.method", METHODS[number % METHODS.len()]),
            text("http.route", ROUTES[number % ROUTES.len()]),
            whole("http.response.status_code", STATUSES[number % STATUSES.len()]),
            text("url.scheme", "http"),
        ];
        with_count(attributes, self.attributes)
    }
}

fn empty(metric_type: MetricType) -> Data {
    let data_points = Vec::new();
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    match metric_type {
        MetricType::Gauge => Data::Gauge(Gauge { data_points }),
        MetricType::Sum => Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true }),
        MetricType::Histogram => {
            Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality })
        }
        MetricType::ExponentialHistogram => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: Vec::new(),
            aggregation_temporality,
        }),
        MetricType::Summary => Data::Summary(Summary { data_points: Vec::new() }),
    }
}

fn add_point(metric: &mut Metric, point: PointOf, random: &mut Random) {
    match metric.data.as_mut().expect("every metric is made with its data") {
        Data::Gauge(gauge) => {
            let value = (random.unit() * 1e4).round() / 1e4;
            gauge.data_points.push(point.number(Value::AsDouble(value)));
        }
        Data::Sum(sum) => {
            let value = random.below(1_000_000) as i64;
            sum.data_points.push(point.number(Value::AsInt(value)));
        }
        Data::Histogram(histogram) => {
            histogram.data_points.push(point.histogram(&distribution(random)));
        }
        Data::ExponentialHistogram(histogram) => {
            histogram.data_points.push(point.exponential_histogram(&distribution(random)));
        }
        Data::Summary(summary) => {
            let pause = random.between(0.0004, 0.0012);
            let quantiles = [(0.5, pause), (0.99, pause * 2.4), (1.0, pause * 3.0)];
            summary.data_points.push(point.summary(100, 100.0 * pause, &quantiles));
        }
    }
}

fn distribution(random: &mut Random) -> Distribution {
    let mut values = Distribution::default();
    for _ in 0..40 {
        values.observe(random.latency_ns(25.0) as f64 / 1e9);
    }
    values
}
