//! Records to OTLP requests, and the short forms of OTLP's attributes.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::Topology;

const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// A record and the index of the instance it comes from.
pub(super) type Of<T> = (usize, T);

pub(crate) fn traces_request(topology: &Topology, spans: Vec<Of<Span>>) -> ExportTraceServiceRequest {
    let resource_spans = by_instance(spans)
        .map(|(instance, spans)| ResourceSpans {
            resource: Some(topology.instances()[instance].resource()),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope("shop.tracing")),
                spans,
                schema_url: String::new(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

pub(crate) fn logs_request(topology: &Topology, records: Vec<Of<LogRecord>>) -> ExportLogsServiceRequest {
    let resource_logs = by_instance(records)
        .map(|(instance, log_records)| ResourceLogs {
            resource: Some(topology.instances()[instance].resource()),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope("shop.logging")),
                log_records,
                schema_url: String::new(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        })
        .collect();
    ExportLogsServiceRequest { resource_logs }
}

pub(super) fn metrics_request(topology: &Topology, metrics: Vec<Of<Metric>>) -> ExportMetricsServiceRequest {
    let resource_metrics = by_instance(metrics)
        .map(|(instance, metrics)| ResourceMetrics {
            resource: Some(topology.instances()[instance].resource()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope("shop.metrics")),
                metrics,
                schema_url: String::new(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        })
        .collect();
    ExportMetricsServiceRequest { resource_metrics }
}

/// Groups in a fixed order, so that equal content is equal bytes.
fn by_instance<T>(records: Vec<Of<T>>) -> impl Iterator<Item = (usize, Vec<T>)> {
    let mut groups: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for (instance, record) in records {
        groups.entry(instance).or_default().push(record);
    }
    groups.into_iter()
}

fn scope(name: &str) -> InstrumentationScope {
    InstrumentationScope {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
    }
}

pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub(super) fn whole(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

pub(super) fn float(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}

pub(super) fn boolean(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

/// Cuts or fills up to a wanted number of attributes; without one they stay as they are.
pub(super) fn with_count(mut attributes: Vec<KeyValue>, wanted: Option<usize>) -> Vec<KeyValue> {
    if let Some(wanted) = wanted {
        attributes.truncate(wanted);
        for number in attributes.len()..wanted {
            attributes.push(text(&format!("app.label.{number:02}"), &format!("value-{:02}", number % 7)));
        }
    }
    attributes
}
