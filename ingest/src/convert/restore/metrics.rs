//! Rows of `metrics` as metrics of one data point, which join where they are of one metric.

use arrow::datatypes::{Float64Type, Int64Type, UInt32Type};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, Gauge, Histogram, Metric, ResourceMetrics, ScopeMetrics, Sum, Summary,
    exemplar,
};

use alula_catalog::Signal;
use alula_catalog::schema::{
    ATTRIBUTES, DESCRIPTION, DROPPED_ATTRIBUTES_COUNT, EXEMPLARS, FLAGS, IS_MONOTONIC, METADATA, NAME,
    SERIES_ID, SPAN_ID, START_TIMESTAMP, TEMPORALITY, TIMESTAMP, TRACE_ID, TYPE, UNIT, VALUE, VALUE_INT,
    exemplar_fields,
};

use super::Read;
use super::columns::{Attributes, Bools, Ids, Lists, Numbers, Texts, Times, shortened};
use super::given::Given;
use super::key::Key;
use super::points::PointColumns;
use super::requests::{Entered, Rows};
use super::shared::{RecordTime, ScopePart};

const TEMPORALITIES: [&str; 3] = ["unspecified", "delta", "cumulative"];

pub(super) struct MetricRows {
    name: Texts,
    description: Texts,
    unit: Texts,
    kind: Texts,
    temporality: Texts,
    is_monotonic: Bools,
    metadata: Attributes,
    pub(super) time: RecordTime,
    pub(super) start_timestamp: Times,
    pub(super) attributes: Attributes,
    pub(super) flags: Numbers<UInt32Type>,
    exemplars: Lists<Exemplars>,
    pub(super) points: PointColumns,
}

impl Rows for MetricRows {
    const SIGNAL: Signal = Signal::Metrics;
    type Record = Metric;
    type Request = ExportMetricsServiceRequest;

    fn try_new(given: &mut Given) -> Read<Self> {
        given.require(&[TIMESTAMP, NAME])?;
        // The second is in the table because others have it; a data point has no such count.
        given.ignore(&[SERIES_ID, DROPPED_ATTRIBUTES_COUNT]);
        Ok(Self {
            name: given.texts(NAME)?,
            description: given.texts(DESCRIPTION)?,
            unit: given.texts(UNIT)?,
            kind: given.texts(TYPE)?,
            temporality: given.texts(TEMPORALITY)?,
            is_monotonic: given.bools(IS_MONOTONIC)?,
            metadata: Attributes::new(given.texts(METADATA)?),
            time: RecordTime::try_new(given)?,
            start_timestamp: given.times(START_TIMESTAMP)?,
            attributes: Attributes::new(given.texts(ATTRIBUTES)?),
            flags: given.numbers(FLAGS)?,
            exemplars: given.struct_lists(EXEMPLARS, &exemplar_fields(), Exemplars::try_new)?,
            points: PointColumns::try_new(given)?,
        })
    }

    fn metric_key(&self, row: usize, key: &mut Key) {
        key.text(self.name.get(row));
        key.text(self.description.get(row));
        key.text(self.unit.get(row));
        key.text(self.kind.get(row));
        key.text(self.temporality.get(row));
        key.number(self.is_monotonic.get(row));
        key.text(self.metadata.text(row));
    }

    fn record(&mut self, row: usize) -> Read<Metric> {
        let name = self.name.needed(row, self.name.get(row), "a metric needs a name")?.to_owned();
        Ok(Metric {
            name,
            description: self.description.text(row),
            unit: self.unit.text(row),
            metadata: self.metadata.list(row)?,
            data: Some(self.data(row)?),
        })
    }

    fn add(request: &mut ExportMetricsServiceRequest, entered: Entered, metric: Metric) {
        let scope_metrics =
            |ScopePart { scope, schema_url }| ScopeMetrics { scope, schema_url, metrics: Vec::new() };
        let joins = matches!(entered, Entered::Nothing);
        match entered {
            Entered::Resource(part, scope) => request.resource_metrics.push(ResourceMetrics {
                resource: part.resource,
                schema_url: part.schema_url,
                scope_metrics: vec![scope_metrics(scope)],
            }),
            Entered::Scope(scope) => {
                if let Some(last) = request.resource_metrics.last_mut() {
                    last.scope_metrics.push(scope_metrics(scope));
                }
            }
            Entered::Metric | Entered::Nothing => {}
        }
        let scope = request.resource_metrics.last_mut().and_then(|last| last.scope_metrics.last_mut());
        let metrics = &mut scope.expect("a scope is entered before its metrics").metrics;
        let alone = match metrics.last_mut() {
            Some(last) if joins => join(last, metric),
            _ => Some(metric),
        };
        metrics.extend(alone);
    }
}

impl MetricRows {
    /// A row without a type is of a gauge, unless it has what a gauge has not.
    fn data(&mut self, row: usize) -> Read<Data> {
        let kind = match self.kind.get(row) {
            None if self.points.has_count(row) => {
                return Err(self.kind.fault(row, "is null, and the row has a count: say which type it is"));
            }
            kind => kind.unwrap_or("gauge").to_owned(),
        };
        let aggregation_temporality = self.temporality.number(row, &TEMPORALITIES)?;
        Ok(match kind.as_str() {
            "gauge" => Data::Gauge(Gauge { data_points: vec![self.number_point(row)?] }),
            "sum" => Data::Sum(Sum {
                data_points: vec![self.number_point(row)?],
                aggregation_temporality,
                is_monotonic: self.is_monotonic.get(row).unwrap_or_default(),
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: vec![self.histogram_point(row)?],
                aggregation_temporality,
            }),
            "exponential_histogram" => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![self.exponential_point(row)?],
                aggregation_temporality,
            }),
            "summary" => Data::Summary(Summary { data_points: vec![self.summary_point(row)?] }),
            other => {
                let what = format!(
                    "is {:?} and must be gauge, sum, histogram, exponential_histogram or summary",
                    shortened(other)
                );
                return Err(self.kind.fault(row, what));
            }
        })
    }

    pub(super) fn exemplars(&mut self, row: usize) -> Read<Vec<Exemplar>> {
        Ok(self.exemplars.get(row, Exemplars::read)?.unwrap_or_default())
    }
}

/// Adds the points of a metric to those of another with the same columns. Gives it back if it is of another type after all.
fn join(last: &mut Metric, metric: Metric) -> Option<Metric> {
    match (&mut last.data, metric.data) {
        (Some(Data::Gauge(last)), Some(Data::Gauge(data))) => last.data_points.extend(data.data_points),
        (Some(Data::Sum(last)), Some(Data::Sum(data))) => last.data_points.extend(data.data_points),
        (Some(Data::Histogram(last)), Some(Data::Histogram(data))) => {
            last.data_points.extend(data.data_points);
        }
        (Some(Data::ExponentialHistogram(last)), Some(Data::ExponentialHistogram(data))) => {
            last.data_points.extend(data.data_points);
        }
        (Some(Data::Summary(last)), Some(Data::Summary(data))) => last.data_points.extend(data.data_points),
        (_, data) => return Some(Metric { data, ..metric }),
    }
    None
}

struct Exemplars {
    timestamp: Times,
    value: Numbers<Float64Type>,
    value_int: Numbers<Int64Type>,
    trace_id: Ids,
    span_id: Ids,
    attributes: Attributes,
}

impl Exemplars {
    fn try_new(given: &mut Given) -> Read<Self> {
        Ok(Self {
            timestamp: given.times(TIMESTAMP)?,
            value: given.numbers(VALUE)?,
            value_int: given.numbers(VALUE_INT)?,
            trace_id: given.ids(TRACE_ID)?,
            span_id: given.ids(SPAN_ID)?,
            attributes: Attributes::new(given.texts(ATTRIBUTES)?),
        })
    }

    fn read(&mut self, item: usize) -> Read<Exemplar> {
        let int = self.value_int.get(item).map(exemplar::Value::AsInt);
        Ok(Exemplar {
            filtered_attributes: self.attributes.list(item)?,
            time_unix_nano: self.timestamp.get(item)?,
            span_id: self.span_id.get(item)?,
            trace_id: self.trace_id.get(item)?,
            value: int.or(self.value.get(item).map(exemplar::Value::AsDouble)),
        })
    }
}
