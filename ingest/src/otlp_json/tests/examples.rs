//! The examples of the opentelemetry-proto repository: see `tests/otlp/examples`.

use opentelemetry_proto::tonic::common::v1::{ArrayValue, InstrumentationScope, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, NumberDataPoint, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::*;

const TIME: u64 = 1_544_712_660_300_000_000;

fn trace_id() -> Vec<u8> {
    0x5b8e_fff7_9803_8103_d269_b633_813f_c60c_u128.to_be_bytes().to_vec()
}

fn span_id(last: u8) -> Vec<u8> {
    vec![0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, last]
}

fn resource() -> Resource {
    Resource { attributes: vec![attribute("service.name", text("my.service"))], ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "my.library".to_owned(),
        version: "1.0.0".to_owned(),
        attributes: vec![attribute("my.scope.attribute", text("some scope attribute"))],
        dropped_attributes_count: 0,
    }
}

fn logs(record: LogRecord) -> ExportLogsServiceRequest {
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope()), log_records: vec![record], schema_url: String::new() }];
    let resource_logs =
        vec![ResourceLogs { resource: Some(resource()), scope_logs, schema_url: String::new() }];
    ExportLogsServiceRequest { resource_logs }
}

fn metric(kind: &str, name: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: format!("I am a{kind}"),
        unit: "1".to_owned(),
        metadata: vec![],
        data: Some(data),
    }
}

fn number(value: f64, attributes: Vec<KeyValue>, start_time_unix_nano: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano,
        time_unix_nano: TIME,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

#[test]
fn the_example_of_a_trace_is_read_as_it_says() {
    let span = Span {
        trace_id: trace_id(),
        span_id: span_id(0x74),
        parent_span_id: span_id(0x73),
        name: "I'm a server span".to_owned(),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: 1_544_712_660_000_000_000,
        end_time_unix_nano: 1_544_712_661_000_000_000,
        attributes: vec![attribute("my.span.attr", text("some value"))],
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans: vec![span], schema_url: String::new() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource()), scope_spans, schema_url: String::new() }];
    let json = include_str!("../../../../tests/otlp/examples/trace.json");
    check(Signal::Traces, json, &ExportTraceServiceRequest { resource_spans });
}

#[test]
fn the_example_of_logs_is_read_as_it_says() {
    let array = ArrayValue { values: vec![text("many"), text("values")] };
    let map = KeyValueList { values: vec![attribute("some.map.key", text("some value"))] };
    let record = LogRecord {
        time_unix_nano: TIME,
        observed_time_unix_nano: TIME,
        severity_number: 10,
        severity_text: "Information".to_owned(),
        trace_id: trace_id(),
        span_id: span_id(0x74),
        body: Some(text("Example log record")),
        attributes: vec![
            attribute("string.attribute", text("some string")),
            attribute("boolean.attribute", value(Value::BoolValue(true))),
            attribute("int.attribute", value(Value::IntValue(10))),
            attribute("double.attribute", value(Value::DoubleValue(637.704))),
            attribute("array.attribute", value(Value::ArrayValue(array))),
            attribute("map.attribute", value(Value::KvlistValue(map))),
        ],
        ..LogRecord::default()
    };
    check(Signal::Logs, include_str!("../../../../tests/otlp/examples/logs.json"), &logs(record));
}

#[test]
fn the_example_of_events_is_read_as_it_says() {
    let body = KeyValueList {
        values: vec![
            attribute("type", value(Value::IntValue(0))),
            attribute("url", text("https://www.guidgenerator.com/online-guid-generator.aspx")),
            attribute("referrer", text("https://wwww.google.com")),
            attribute("title", text("Free Online GUID Generator")),
        ],
    };
    let record = LogRecord {
        event_name: "browser.page_view".to_owned(),
        time_unix_nano: TIME,
        observed_time_unix_nano: TIME,
        severity_number: 9,
        severity_text: "test severity text".to_owned(),
        attributes: vec![attribute("event.attribute", text("some event attribute"))],
        body: Some(value(Value::KvlistValue(body))),
        ..LogRecord::default()
    };
    check(Signal::Logs, include_str!("../../../../tests/otlp/examples/events.json"), &logs(record));
}

#[test]
fn the_example_of_metrics_is_read_as_it_says() {
    let attributes = |key: &str| vec![attribute(key, text("some value"))];
    let delta = AggregationTemporality::Delta as i32;
    let sum = Sum {
        data_points: vec![number(5.0, attributes("my.counter.attr"), TIME)],
        aggregation_temporality: delta,
        is_monotonic: true,
    };
    let gauge = Gauge { data_points: vec![number(10.0, attributes("my.gauge.attr"), 0)] };
    let histogram = HistogramDataPoint {
        attributes: attributes("my.histogram.attr"),
        start_time_unix_nano: TIME,
        time_unix_nano: TIME,
        count: 2,
        sum: Some(2.0),
        bucket_counts: vec![1, 1],
        explicit_bounds: vec![1.0],
        min: Some(0.0),
        max: Some(2.0),
        ..HistogramDataPoint::default()
    };
    let exponential_histogram = ExponentialHistogramDataPoint {
        attributes: attributes("my.exponential.histogram.attr"),
        start_time_unix_nano: TIME,
        time_unix_nano: TIME,
        count: 3,
        sum: Some(10.0),
        zero_count: 1,
        positive: Some(Buckets { offset: 1, bucket_counts: vec![0, 2] }),
        min: Some(0.0),
        max: Some(5.0),
        ..ExponentialHistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![histogram], aggregation_temporality: delta };
    let exponential_histogram =
        ExponentialHistogram { data_points: vec![exponential_histogram], aggregation_temporality: delta };
    let metrics = vec![
        metric(" Counter", "my.counter", Data::Sum(sum)),
        metric(" Gauge", "my.gauge", Data::Gauge(gauge)),
        metric(" Histogram", "my.histogram", Data::Histogram(histogram)),
        metric(
            "n Exponential Histogram",
            "my.exponential.histogram",
            Data::ExponentialHistogram(exponential_histogram),
        ),
    ];
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: Some(resource()), scope_metrics, schema_url: String::new() }];
    let json = include_str!("../../../../tests/otlp/examples/metrics.json");
    check(Signal::Metrics, json, &ExportMetricsServiceRequest { resource_metrics });
}
