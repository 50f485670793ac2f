//! One data point of each metric type.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint, exemplar,
    number_data_point,
};

/// The bounds that the semantic conventions advise for durations in seconds.
///
/// Source: <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>
pub(super) const DURATION_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// 2^scale buckets for each doubling: bounds about 4.4% apart.
const SCALE: i32 = 4;

/// What every data point has. Times are nanoseconds since the epoch.
#[derive(Clone, Debug)]
pub(super) struct PointOf {
    pub(super) attributes: Vec<KeyValue>,
    pub(super) start_ns: u64,
    pub(super) at_ns: u64,
}

impl PointOf {
    pub(super) fn number(self, value: number_data_point::Value) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes,
            start_time_unix_nano: self.start_ns,
            time_unix_nano: self.at_ns,
            exemplars: Vec::new(),
            flags: 0,
            value: Some(value),
        }
    }

    pub(super) fn histogram(self, values: &Distribution) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes,
            start_time_unix_nano: self.start_ns,
            time_unix_nano: self.at_ns,
            count: values.count,
            sum: Some(values.sum),
            bucket_counts: values.buckets.to_vec(),
            explicit_bounds: DURATION_BOUNDS.to_vec(),
            exemplars: values.exemplar.iter().map(Slowest::exemplar).collect(),
            flags: 0,
            min: values.extremes.map(|(min, _)| min),
            max: values.extremes.map(|(_, max)| max),
        }
    }

    pub(super) fn exponential_histogram(self, values: &Distribution) -> ExponentialHistogramDataPoint {
        let offset = values.exponential.first().map_or(0, |(index, _)| *index);
        let end = values.exponential.last().map_or(offset, |(index, _)| index + 1);
        let mut bucket_counts = vec![0; (end - offset) as usize];
        for (index, count) in &values.exponential {
            bucket_counts[(index - offset) as usize] = *count;
        }
        ExponentialHistogramDataPoint {
            attributes: self.attributes,
            start_time_unix_nano: self.start_ns,
            time_unix_nano: self.at_ns,
            count: values.count,
            sum: Some(values.sum),
            scale: SCALE,
            zero_count: 0,
            positive: Some(Buckets { offset, bucket_counts }),
            negative: None,
            flags: 0,
            exemplars: Vec::new(),
            min: values.extremes.map(|(min, _)| min),
            max: values.extremes.map(|(_, max)| max),
            zero_threshold: 0.0,
        }
    }

    pub(super) fn summary(self, count: u64, sum: f64, quantiles: &[(f64, f64)]) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes,
            start_time_unix_nano: self.start_ns,
            time_unix_nano: self.at_ns,
            count,
            sum,
            quantile_values: quantiles
                .iter()
                .map(|&(quantile, value)| ValueAtQuantile { quantile, value })
                .collect(),
            flags: 0,
        }
    }
}

/// Seconds seen since the start, counted both ways. All values are more than zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Distribution {
    count: u64,
    sum: f64,
    extremes: Option<(f64, f64)>,
    buckets: [u64; DURATION_BOUNDS.len() + 1],
    /// Counts of the exponential buckets by index, ascending.
    exponential: Vec<(i32, u64)>,
    exemplar: Option<Slowest>,
}

/// The slowest request since the last export, to find its trace by.
#[derive(Clone, Debug)]
struct Slowest {
    seconds: f64,
    at_ns: u64,
    trace_id: [u8; 16],
    span_id: [u8; 8],
}

impl Slowest {
    fn exemplar(&self) -> Exemplar {
        Exemplar {
            filtered_attributes: Vec::new(),
            time_unix_nano: self.at_ns,
            span_id: self.span_id.to_vec(),
            trace_id: self.trace_id.to_vec(),
            value: Some(exemplar::Value::AsDouble(self.seconds)),
        }
    }
}

impl Distribution {
    pub(super) fn observe(&mut self, seconds: f64) {
        self.count += 1;
        self.sum += seconds;
        let (min, max) = self.extremes.unwrap_or((seconds, seconds));
        self.extremes = Some((min.min(seconds), max.max(seconds)));
        self.buckets[DURATION_BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        // Bucket i holds (base^i, base^(i+1)] with base = 2^(2^-scale).
        let index = (seconds.log2() * f64::from(1 << SCALE)).ceil() as i32 - 1;
        match self.exponential.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(found) => self.exponential[found].1 += 1,
            Err(place) => self.exponential.insert(place, (index, 1)),
        }
    }

    pub(super) fn observe_traced(&mut self, seconds: f64, at_ns: u64, trace_id: [u8; 16], span_id: [u8; 8]) {
        self.observe(seconds);
        if self.exemplar.as_ref().is_none_or(|slowest| slowest.seconds < seconds) {
            self.exemplar = Some(Slowest { seconds, at_ns, trace_id, span_id });
        }
    }

    pub(super) fn forget_exemplar(&mut self) {
        self.exemplar = None;
    }
}
