//! Data points: the columns that only `metrics` has, and the loop over the five metric types.

use arrow::array::{BooleanBuilder, UInt64Builder};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric};

use alula_catalog::{Signal, schema};

use super::checks;
use super::columns::{Column, Key, NamedColumns, RepeatedText, Times};
use super::common::{CommonColumns, Shared};
use super::exemplars::{self, Exemplars};
use super::points::{Point, PointColumns};
use super::sample::Sample;
use super::series::SeriesHasher;
use super::{Converted, finish};
use crate::Result;

pub(super) fn convert(request: &ExportMetricsServiceRequest, common: CommonColumns) -> Result<Converted> {
    let mut writer = Writer { common, own: MetricColumns::default() };
    for resource_metrics in &request.resource_metrics {
        writer.common.enter_resource(resource_metrics.resource.as_ref(), &resource_metrics.schema_url);
        let resource = SeriesHasher::new().with(&[writer.common.resource_text()]);
        for scope_metrics in &resource_metrics.scope_metrics {
            writer.common.enter_scope(scope_metrics.scope.as_ref(), &scope_metrics.schema_url);
            let scope = resource.with(&writer.common.scope_texts());
            for metric in &scope_metrics.metrics {
                writer.metric(metric, &scope);
            }
        }
    }
    let columns = writer.own.finish(writer.common.rows());
    finish(Signal::Metrics, writer.common, columns)
}

struct Writer {
    common: CommonColumns,
    own: MetricColumns,
}

/// The shared part of a metric's rows.
struct MetricKeys {
    series: SeriesHasher,
    name: Key,
    description: Key,
    unit: Key,
    kind: Key,
    temporality: Option<Key>,
    is_monotonic: Option<bool>,
    metadata: Option<Key>,
}

impl Writer {
    fn metric(&mut self, metric: &Metric, scope: &SeriesHasher) {
        match &metric.data {
            None => {}
            Some(Data::Gauge(gauge)) => {
                let keys = self.enter(metric, scope, "gauge", None, None);
                self.points(metric, &keys, &gauge.data_points);
            }
            Some(Data::Sum(sum)) => {
                let temporality = Some(sum.aggregation_temporality);
                let keys = self.enter(metric, scope, "sum", temporality, Some(sum.is_monotonic));
                self.points(metric, &keys, &sum.data_points);
            }
            Some(Data::Histogram(histogram)) => {
                let keys =
                    self.enter(metric, scope, "histogram", Some(histogram.aggregation_temporality), None);
                self.points(metric, &keys, &histogram.data_points);
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                let temporality = Some(histogram.aggregation_temporality);
                let keys = self.enter(metric, scope, "exponential_histogram", temporality, None);
                self.points(metric, &keys, &histogram.data_points);
            }
            Some(Data::Summary(summary)) => {
                let keys = self.enter(metric, scope, "summary", None, None);
                self.points(metric, &keys, &summary.data_points);
            }
        }
    }

    fn enter(
        &mut self,
        metric: &Metric,
        scope: &SeriesHasher,
        kind: &str,
        temporality: Option<i32>,
        is_monotonic: Option<bool>,
    ) -> MetricKeys {
        let temporality = temporality.map(temporality_text);
        let series = scope.with(&[
            Some(&metric.name),
            Some(&metric.unit),
            Some(kind),
            temporality.as_deref(),
            is_monotonic.map(|is_monotonic| if is_monotonic { "true" } else { "false" }),
        ]);
        let metadata = (!metric.metadata.is_empty())
            .then(|| self.own.metadata.intern(self.common.json.attributes(&metric.metadata)));
        let metadata_bytes = metadata.map_or(0, |key| self.own.metadata.text(key).len());
        let text_bytes = metric.name.len() + metric.description.len() + metric.unit.len() + metadata_bytes;
        self.common.enter_metric(text_bytes);
        MetricKeys {
            series,
            name: self.own.name.intern(&metric.name),
            description: self.own.description.intern(&metric.description),
            unit: self.own.unit.intern(&metric.unit),
            kind: self.own.kind.intern(kind),
            temporality: temporality.map(|text| self.own.temporality.intern(&text)),
            is_monotonic,
            metadata,
        }
    }

    fn points<P: Point>(&mut self, metric: &Metric, keys: &MetricKeys, points: &[P]) {
        let metadata = checks::depth(&metric.metadata, "metadata of the metric");
        for point in points {
            let fields = point.fields();
            let shared = Shared {
                timestamp: self.common.timestamp(fields.time_unix_nano, 0),
                attributes: fields.attributes,
                dropped_attributes_count: None,
                flags: fields.flags,
            };
            let check = || {
                metadata?;
                checks::time(fields.time_unix_nano, "time_unix_nano")?;
                checks::time(fields.start_time_unix_nano, "start_time_unix_nano")?;
                exemplars::check(fields.exemplars)?;
                point.check()
            };
            let describe = |sample: &mut Sample| {
                sample.text("name", &metric.name);
                sample.text("type", self.own.kind.text(keys.kind));
                sample.number("time_unix_nano", fields.time_unix_nano);
                sample.number("start_time_unix_nano", fields.start_time_unix_nano);
            };
            if self.common.admit(&shared, check, describe) {
                let (row, attributes) = self.common.push(&shared);
                self.own.series_id.set(row, keys.series.id(attributes));
                self.own.start_timestamp.set_otlp(row, fields.start_time_unix_nano);
                self.own.exemplars.push(row, fields.exemplars, &mut self.common.json);
                self.own.push_metric(row, keys);
                point.write(row, &mut self.own.points);
            }
        }
    }
}

/// The name of a temporality, or its number where OTLP defines none.
fn temporality_text(number: i32) -> String {
    match AggregationTemporality::try_from(number) {
        Ok(AggregationTemporality::Unspecified) => "unspecified".to_owned(),
        Ok(AggregationTemporality::Delta) => "delta".to_owned(),
        Ok(AggregationTemporality::Cumulative) => "cumulative".to_owned(),
        Err(_) => number.to_string(),
    }
}

#[derive(Debug, Default)]
struct MetricColumns {
    name: RepeatedText,
    description: RepeatedText,
    unit: RepeatedText,
    kind: RepeatedText,
    temporality: RepeatedText,
    is_monotonic: Column<BooleanBuilder>,
    metadata: RepeatedText,
    start_timestamp: Times,
    series_id: Column<UInt64Builder>,
    exemplars: Exemplars,
    points: PointColumns,
}

impl MetricColumns {
    fn push_metric(&mut self, row: usize, keys: &MetricKeys) {
        self.name.set_key(row, keys.name);
        self.description.set_key(row, keys.description);
        self.unit.set_key(row, keys.unit);
        self.kind.set_key(row, keys.kind);
        self.temporality.set_some_key(row, keys.temporality);
        self.is_monotonic.set_some(row, keys.is_monotonic);
        self.metadata.set_some_key(row, keys.metadata);
    }

    fn finish(self, rows: usize) -> NamedColumns {
        let mut columns = vec![
            (schema::NAME, self.name.finish(rows)),
            (schema::DESCRIPTION, self.description.finish(rows)),
            (schema::UNIT, self.unit.finish(rows)),
            (schema::TYPE, self.kind.finish(rows)),
            (schema::TEMPORALITY, self.temporality.finish(rows)),
            (schema::IS_MONOTONIC, self.is_monotonic.finish(rows)),
            (schema::METADATA, self.metadata.finish(rows)),
            (schema::START_TIMESTAMP, self.start_timestamp.finish(rows)),
            (schema::SERIES_ID, self.series_id.finish(rows)),
            (schema::EXEMPLARS, self.exemplars.finish(rows)),
        ];
        self.points.finish(rows, &mut columns);
        columns
    }
}
