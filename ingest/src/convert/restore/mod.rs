//! The inverse of the conversion: a batch back to an OTLP request, for the tests that prove that nothing is lost.
//!
//! Each row becomes a resource, a scope and a metric of its own; [`split`] brings an original into the same form.

mod columns;
mod json;
mod split;

use arrow::array::RecordBatch;
use arrow::datatypes::{Float64Type, UInt64Type};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use alula_catalog::schema::*;

use columns::Columns;
pub(super) use json::parse;
pub(super) use split::{split_logs, split_metrics, split_traces};

pub(super) fn logs(batch: &RecordBatch) -> ExportLogsServiceRequest {
    let columns = Columns::of_batch(batch);
    let resource_logs = (0..batch.num_rows()).map(|row| ResourceLogs {
        resource: resource(&columns, row),
        scope_logs: vec![ScopeLogs {
            scope: scope(&columns, row),
            log_records: vec![log_record(&columns, row)],
            schema_url: columns.text(SCOPE_SCHEMA_URL, row).unwrap(),
        }],
        schema_url: columns.text(RESOURCE_SCHEMA_URL, row).unwrap(),
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

pub(super) fn traces(batch: &RecordBatch) -> ExportTraceServiceRequest {
    let columns = Columns::of_batch(batch);
    let resource_spans = (0..batch.num_rows()).map(|row| ResourceSpans {
        resource: resource(&columns, row),
        scope_spans: vec![ScopeSpans {
            scope: scope(&columns, row),
            spans: vec![span(&columns, row)],
            schema_url: columns.text(SCOPE_SCHEMA_URL, row).unwrap(),
        }],
        schema_url: columns.text(RESOURCE_SCHEMA_URL, row).unwrap(),
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

pub(super) fn metrics(batch: &RecordBatch) -> ExportMetricsServiceRequest {
    let columns = Columns::of_batch(batch);
    let resource_metrics = (0..batch.num_rows()).map(|row| ResourceMetrics {
        resource: resource(&columns, row),
        scope_metrics: vec![ScopeMetrics {
            scope: scope(&columns, row),
            metrics: vec![metric(&columns, row)],
            schema_url: columns.text(SCOPE_SCHEMA_URL, row).unwrap(),
        }],
        schema_url: columns.text(RESOURCE_SCHEMA_URL, row).unwrap(),
    });
    ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() }
}

fn resource(columns: &Columns, row: usize) -> Option<Resource> {
    Some(Resource {
        attributes: json::attributes(&columns.text(RESOURCE_ATTRIBUTES, row)?),
        dropped_attributes_count: columns.u32(RESOURCE_DROPPED_ATTRIBUTES_COUNT, row).unwrap(),
        entity_refs: columns
            .text(RESOURCE_ENTITY_REFS, row)
            .map_or(Vec::new(), |text| json::entity_refs(&text)),
    })
}

fn scope(columns: &Columns, row: usize) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: columns.text(SCOPE_NAME, row)?,
        version: columns.text(SCOPE_VERSION, row).unwrap(),
        attributes: json::attributes(&columns.text(SCOPE_ATTRIBUTES, row).unwrap()),
        dropped_attributes_count: columns.u32(SCOPE_DROPPED_ATTRIBUTES_COUNT, row).unwrap(),
    })
}

fn attributes(columns: &Columns, row: usize) -> Vec<KeyValue> {
    json::attributes(&columns.text(ATTRIBUTES, row).unwrap())
}

fn time_if(source: &str, columns: &Columns, row: usize) -> u64 {
    let is_from = columns.text(TIMESTAMP_SOURCE, row).unwrap() == source;
    if is_from { columns.time(TIMESTAMP, row) } else { 0 }
}

fn log_record(columns: &Columns, row: usize) -> LogRecord {
    let body = columns.text(BODY_TYPE, row).map(|body_type| {
        let text = columns.text(BODY, row);
        AnyValue {
            value: match body_type.as_str() {
                "empty" => None,
                "string" => Some(Value::StringValue(text.unwrap())),
                _ => parse(&text.unwrap()).value,
            },
        }
    });
    LogRecord {
        time_unix_nano: time_if("record", columns, row),
        observed_time_unix_nano: columns.time(OBSERVED_TIMESTAMP, row),
        severity_number: columns.i32(SEVERITY_NUMBER, row).unwrap(),
        severity_text: columns.text(SEVERITY_TEXT, row).unwrap(),
        body,
        attributes: attributes(columns, row),
        dropped_attributes_count: columns.u32(DROPPED_ATTRIBUTES_COUNT, row).unwrap(),
        flags: columns.u32(FLAGS, row).unwrap(),
        trace_id: columns.id(TRACE_ID, row),
        span_id: columns.id(SPAN_ID, row),
        event_name: columns.text(EVENT_NAME, row).unwrap(),
    }
}

fn span(columns: &Columns, row: usize) -> Span {
    let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
    Span {
        trace_id: columns.id(TRACE_ID, row),
        span_id: columns.id(SPAN_ID, row),
        trace_state: columns.text(TRACE_STATE, row).unwrap(),
        parent_span_id: columns.id(PARENT_SPAN_ID, row),
        flags: columns.u32(FLAGS, row).unwrap(),
        name: columns.text(NAME, row).unwrap(),
        kind: number(&columns.text(KIND, row).unwrap(), &kinds),
        start_time_unix_nano: time_if("record", columns, row),
        end_time_unix_nano: columns.time(END_TIMESTAMP, row),
        attributes: attributes(columns, row),
        dropped_attributes_count: columns.u32(DROPPED_ATTRIBUTES_COUNT, row).unwrap(),
        events: columns.structs(EVENTS, row, event).unwrap(),
        dropped_events_count: columns.u32(DROPPED_EVENTS_COUNT, row).unwrap(),
        links: columns.structs(LINKS, row, link).unwrap(),
        dropped_links_count: columns.u32(DROPPED_LINKS_COUNT, row).unwrap(),
        status: columns.text(STATUS_CODE, row).map(|code| Status {
            message: columns.text(STATUS_MESSAGE, row).unwrap(),
            code: number(&code, &["unset", "ok", "error"]),
        }),
    }
}

fn event(columns: &Columns, row: usize) -> Event {
    Event {
        time_unix_nano: columns.time(TIMESTAMP, row),
        name: columns.text(NAME, row).unwrap(),
        attributes: attributes(columns, row),
        dropped_attributes_count: columns.u32(DROPPED_ATTRIBUTES_COUNT, row).unwrap(),
    }
}

fn link(columns: &Columns, row: usize) -> Link {
    Link {
        trace_id: columns.id(TRACE_ID, row),
        span_id: columns.id(SPAN_ID, row),
        trace_state: columns.text(TRACE_STATE, row).unwrap(),
        attributes: attributes(columns, row),
        dropped_attributes_count: columns.u32(DROPPED_ATTRIBUTES_COUNT, row).unwrap(),
        flags: columns.u32(FLAGS, row).unwrap(),
    }
}

fn metric(columns: &Columns, row: usize) -> Metric {
    let kind = columns.text(TYPE, row).unwrap();
    let temporality = columns.text(TEMPORALITY, row);
    let aggregation_temporality =
        temporality.map_or(0, |text| number(&text, &["unspecified", "delta", "cumulative"]));
    let data = match kind.as_str() {
        "gauge" => Data::Gauge(Gauge { data_points: vec![number_point(columns, row)] }),
        "sum" => Data::Sum(Sum {
            data_points: vec![number_point(columns, row)],
            aggregation_temporality,
            is_monotonic: columns.bool(IS_MONOTONIC, row).unwrap(),
        }),
        "histogram" => Data::Histogram(Histogram {
            data_points: vec![histogram_point(columns, row)],
            aggregation_temporality,
        }),
        "exponential_histogram" => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential_point(columns, row)],
            aggregation_temporality,
        }),
        "summary" => Data::Summary(Summary { data_points: vec![summary_point(columns, row)] }),
        other => panic!("unknown metric type {other}"),
    };
    Metric {
        name: columns.text(NAME, row).unwrap(),
        description: columns.text(DESCRIPTION, row).unwrap(),
        unit: columns.text(UNIT, row).unwrap(),
        metadata: columns.text(METADATA, row).map_or(Vec::new(), |text| json::attributes(&text)),
        data: Some(data),
    }
}

fn number_point(columns: &Columns, row: usize) -> NumberDataPoint {
    let int = columns.i64(VALUE_INT, row).map(number_data_point::Value::AsInt);
    NumberDataPoint {
        attributes: attributes(columns, row),
        start_time_unix_nano: columns.time(START_TIMESTAMP, row),
        time_unix_nano: time_if("record", columns, row),
        exemplars: exemplars(columns, row),
        flags: columns.u32(FLAGS, row).unwrap(),
        value: int.or(columns.f64(VALUE, row).map(number_data_point::Value::AsDouble)),
    }
}

fn histogram_point(columns: &Columns, row: usize) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(columns, row),
        start_time_unix_nano: columns.time(START_TIMESTAMP, row),
        time_unix_nano: time_if("record", columns, row),
        count: columns.u64(COUNT, row).unwrap(),
        sum: columns.f64(SUM, row),
        bucket_counts: columns.numbers::<UInt64Type>(BUCKET_COUNTS, row).unwrap(),
        explicit_bounds: columns.numbers::<Float64Type>(EXPLICIT_BOUNDS, row).unwrap(),
        exemplars: exemplars(columns, row),
        flags: columns.u32(FLAGS, row).unwrap(),
        min: columns.f64(MIN, row),
        max: columns.f64(MAX, row),
    }
}

fn exponential_point(columns: &Columns, row: usize) -> ExponentialHistogramDataPoint {
    let buckets = |offset, counts| {
        Some(Buckets {
            offset: columns.i32(offset, row)?,
            bucket_counts: columns.numbers::<UInt64Type>(counts, row).unwrap(),
        })
    };
    ExponentialHistogramDataPoint {
        attributes: attributes(columns, row),
        start_time_unix_nano: columns.time(START_TIMESTAMP, row),
        time_unix_nano: time_if("record", columns, row),
        count: columns.u64(COUNT, row).unwrap(),
        sum: columns.f64(SUM, row),
        scale: columns.i32(SCALE, row).unwrap(),
        zero_count: columns.u64(ZERO_COUNT, row).unwrap(),
        positive: buckets(POSITIVE_OFFSET, POSITIVE_BUCKET_COUNTS),
        negative: buckets(NEGATIVE_OFFSET, NEGATIVE_BUCKET_COUNTS),
        flags: columns.u32(FLAGS, row).unwrap(),
        exemplars: exemplars(columns, row),
        min: columns.f64(MIN, row),
        max: columns.f64(MAX, row),
        zero_threshold: columns.f64(ZERO_THRESHOLD, row).unwrap(),
    }
}

fn summary_point(columns: &Columns, row: usize) -> SummaryDataPoint {
    let quantile = |columns: &Columns, row| ValueAtQuantile {
        quantile: columns.f64(QUANTILE, row).unwrap(),
        value: columns.f64(VALUE, row).unwrap(),
    };
    SummaryDataPoint {
        attributes: attributes(columns, row),
        start_time_unix_nano: columns.time(START_TIMESTAMP, row),
        time_unix_nano: time_if("record", columns, row),
        count: columns.u64(COUNT, row).unwrap(),
        sum: columns.f64(SUM, row).unwrap(),
        quantile_values: columns.structs(QUANTILES, row, quantile).unwrap(),
        flags: columns.u32(FLAGS, row).unwrap(),
    }
}

fn exemplars(columns: &Columns, row: usize) -> Vec<Exemplar> {
    let exemplar = |columns: &Columns, row| {
        let int = columns.i64(VALUE_INT, row).map(exemplar::Value::AsInt);
        Exemplar {
            filtered_attributes: attributes(columns, row),
            time_unix_nano: columns.time(TIMESTAMP, row),
            span_id: columns.id(SPAN_ID, row),
            trace_id: columns.id(TRACE_ID, row),
            value: int.or(columns.f64(VALUE, row).map(exemplar::Value::AsDouble)),
        }
    };
    columns.structs(EXEMPLARS, row, exemplar).unwrap_or_default()
}

/// The number that a name stands for, or the number that is written out.
fn number(text: &str, names: &[&str]) -> i32 {
    match names.iter().position(|name| *name == text) {
        Some(number) => number as i32,
        None => text.parse().unwrap(),
    }
}
