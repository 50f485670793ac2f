//! A request with one resource, scope and metric for each record, its attributes in canonical order, and the time of receipt
//! where a record has none: the form in which an original can be compared with what was restored.

use std::collections::HashSet;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

/// What is done with the records.
struct Kept<'a> {
    /// The ordinals of those that are left out.
    rejected: &'a HashSet<u32>,
    next_ordinal: u32,
    received_ns: u64,
}

impl<'a> Kept<'a> {
    fn new(rejected: &'a HashSet<u32>, received_ns: i64) -> Self {
        Self { rejected, next_ordinal: 0, received_ns: received_ns.unsigned_abs() }
    }

    fn time(&self, unix_nano: u64) -> u64 {
        if unix_nano == 0 { self.received_ns } else { unix_nano }
    }

    fn next(&mut self) -> bool {
        self.next_ordinal += 1;
        !self.rejected.contains(&(self.next_ordinal - 1))
    }
}

pub(crate) fn split_logs(
    request: ExportLogsServiceRequest,
    rejected: &HashSet<u32>,
    received_ns: i64,
) -> ExportLogsServiceRequest {
    let mut kept = Kept::new(rejected, received_ns);
    let mut resource_logs = Vec::new();
    for of_resource in request.resource_logs {
        for of_scope in of_resource.scope_logs {
            for mut record in of_scope.log_records {
                if !kept.next() {
                    continue;
                }
                if record.observed_time_unix_nano == 0 {
                    record.time_unix_nano = kept.time(record.time_unix_nano);
                }
                sort(&mut record.attributes);
                if let Some(body) = &mut record.body {
                    sort_value(body);
                }
                resource_logs.push(ResourceLogs {
                    resource: resource(of_resource.resource.as_ref()),
                    scope_logs: vec![ScopeLogs {
                        scope: scope(of_scope.scope.as_ref()),
                        log_records: vec![record],
                        schema_url: of_scope.schema_url.clone(),
                    }],
                    schema_url: of_resource.schema_url.clone(),
                });
            }
        }
    }
    ExportLogsServiceRequest { resource_logs }
}

pub(crate) fn split_traces(
    request: ExportTraceServiceRequest,
    rejected: &HashSet<u32>,
    received_ns: i64,
) -> ExportTraceServiceRequest {
    let mut kept = Kept::new(rejected, received_ns);
    let mut resource_spans = Vec::new();
    for of_resource in request.resource_spans {
        for of_scope in of_resource.scope_spans {
            for mut span in of_scope.spans {
                if !kept.next() {
                    continue;
                }
                span.start_time_unix_nano = kept.time(span.start_time_unix_nano);
                sort(&mut span.attributes);
                span.events.iter_mut().for_each(|event| sort(&mut event.attributes));
                span.links.iter_mut().for_each(|link| sort(&mut link.attributes));
                resource_spans.push(ResourceSpans {
                    resource: resource(of_resource.resource.as_ref()),
                    scope_spans: vec![ScopeSpans {
                        scope: scope(of_scope.scope.as_ref()),
                        spans: vec![span],
                        schema_url: of_scope.schema_url.clone(),
                    }],
                    schema_url: of_resource.schema_url.clone(),
                });
            }
        }
    }
    ExportTraceServiceRequest { resource_spans }
}

pub(crate) fn split_metrics(
    request: ExportMetricsServiceRequest,
    rejected: &HashSet<u32>,
    received_ns: i64,
) -> ExportMetricsServiceRequest {
    let mut kept = Kept::new(rejected, received_ns);
    let mut resource_metrics = Vec::new();
    for of_resource in request.resource_metrics {
        for of_scope in of_resource.scope_metrics {
            for metric in of_scope.metrics {
                for data in split_points(&metric, &mut kept) {
                    let mut metric = Metric { data: Some(data), ..metric.clone() };
                    sort(&mut metric.metadata);
                    resource_metrics.push(ResourceMetrics {
                        resource: resource(of_resource.resource.as_ref()),
                        scope_metrics: vec![ScopeMetrics {
                            scope: scope(of_scope.scope.as_ref()),
                            metrics: vec![metric],
                            schema_url: of_scope.schema_url.clone(),
                        }],
                        schema_url: of_resource.schema_url.clone(),
                    });
                }
            }
        }
    }
    ExportMetricsServiceRequest { resource_metrics }
}

fn split_points(metric: &Metric, kept: &mut Kept<'_>) -> Vec<Data> {
    macro_rules! each_point {
        ($variant:ident, $data:ident) => {{
            let mut split = Vec::new();
            for point in &$data.data_points {
                if kept.next() {
                    let mut point = point.clone();
                    point.time_unix_nano = kept.time(point.time_unix_nano);
                    sort(&mut point.attributes);
                    sort_exemplars!($variant, point);
                    let mut one = $data.clone();
                    one.data_points = vec![point];
                    split.push(Data::$variant(one));
                }
            }
            split
        }};
    }
    macro_rules! sort_exemplars {
        (Summary, $point:ident) => {};
        ($variant:ident, $point:ident) => {
            $point.exemplars.iter_mut().for_each(|e: &mut Exemplar| sort(&mut e.filtered_attributes))
        };
    }
    match metric.data.as_ref() {
        None => Vec::new(),
        Some(Data::Gauge(data)) => each_point!(Gauge, data),
        Some(Data::Sum(data)) => each_point!(Sum, data),
        Some(Data::Histogram(data)) => each_point!(Histogram, data),
        Some(Data::ExponentialHistogram(data)) => each_point!(ExponentialHistogram, data),
        Some(Data::Summary(data)) => each_point!(Summary, data),
    }
}

fn resource(resource: Option<&Resource>) -> Option<Resource> {
    let mut resource = resource?.clone();
    sort(&mut resource.attributes);
    Some(resource)
}

fn scope(scope: Option<&InstrumentationScope>) -> Option<InstrumentationScope> {
    let mut scope = scope?.clone();
    sort(&mut scope.attributes);
    Some(scope)
}

/// Also drops the difference between an attribute without a value and one with an empty value: OTLP makes none.
fn sort(attributes: &mut [KeyValue]) {
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
    for attribute in attributes {
        if let Some(value) = &mut attribute.value {
            sort_value(value);
            if value.value.is_none() {
                attribute.value = None;
            }
        }
    }
}

fn sort_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::KvlistValue(map)) => sort(&mut map.values),
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(sort_value),
        _ => {}
    }
}
