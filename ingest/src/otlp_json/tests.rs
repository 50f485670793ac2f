//! Text in, messages out: the rules one by one, the official examples, and arbitrary requests.

mod accepted;
mod encode;
mod examples;
mod grammar;
mod numbers;
mod random;
mod refused;
mod schema;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::partial_success::PartialSuccess;

use super::*;

const LIMIT: SizeLimit = SizeLimit { bytes: 1 << 20, setting: "ingest.max_http_message_bytes" };

fn to_protobuf(signal: Signal, text: &[u8]) -> Result<Vec<u8>> {
    super::to_protobuf(signal, text, LIMIT)
}

/// Also holds the result to the bound on its length.
fn decode<M: Message + Default>(signal: Signal, text: &str) -> M {
    let bytes =
        to_protobuf(signal, text.as_bytes()).unwrap_or_else(|error| panic!("{text}\n{}", reason(&error)));
    assert!(bytes.len() <= 4 * text.len(), "{} bytes of {text}", bytes.len());
    M::decode(bytes.as_slice()).unwrap()
}

/// What is wrong with the text, without the sentence that says that something is.
fn reason(error: &Error) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

/// What an error says of a request for logs.
fn refusal(text: &str) -> String {
    reason(&to_protobuf(Signal::Logs, text.as_bytes()).unwrap_err())
}

fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> AnyValue {
    value(Value::StringValue(text.to_owned()))
}

fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), key_strindex: 0 }
}

fn with_record(members: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{members}}}]}}]}}]}}"#)
}

fn with_span(members: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{members}}}]}}]}}]}}"#)
}

fn with_metric(members: &str) -> String {
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{{members}}}]}}]}}]}}"#)
}

fn one_record(record: LogRecord) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn one_span(span: Span) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

fn one_metric(metric: Metric) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }],
    }
}

/// Compares the bytes, which have a NaN equal to itself.
fn check<M: Message + Default + std::fmt::Debug>(signal: Signal, text: &str, expected: &M) {
    let message: M = decode(signal, text);
    assert!(
        message.encode_to_vec() == expected.encode_to_vec(),
        "{text}\n{message:#?}\nis not\n{expected:#?}"
    );
}

fn check_record(members: &str, expected: LogRecord) {
    check(Signal::Logs, &with_record(members), &one_record(expected));
}

fn check_span(members: &str, expected: Span) {
    check(Signal::Traces, &with_span(members), &one_span(expected));
}

fn check_metric(members: &str, data: Data) {
    check(
        Signal::Metrics,
        &with_metric(members),
        &one_metric(Metric { data: Some(data), ..Metric::default() }),
    );
}

fn check_value(object: &str, expected: Option<Value>) {
    let body = Some(AnyValue { value: expected });
    check_record(&format!(r#""body":{object}"#), LogRecord { body, ..LogRecord::default() });
}

fn check_point(members: &str, expected: NumberDataPoint) {
    let data = Data::Gauge(Gauge { data_points: vec![expected] });
    check_metric(&format!(r#""gauge":{{"dataPoints":[{{{members}}}]}}"#), data);
}

#[test]
fn a_response_names_the_rejected_records_of_its_signal() {
    let partial_success =
        |rejected, message: &str| Some(PartialSuccess { rejected, message: message.to_owned() });
    for (signal, partial_success, expected) in [
        (Signal::Logs, None, "{}"),
        (
            Signal::Logs,
            partial_success(3, "no"),
            r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"no"}}"#,
        ),
        (Signal::Traces, partial_success(1, ""), r#"{"partialSuccess":{"rejectedSpans":"1"}}"#),
        (
            Signal::Metrics,
            partial_success(u64::MAX >> 1, "a \"b\"\n"),
            r#"{"partialSuccess":{"rejectedDataPoints":"9223372036854775807","errorMessage":"a \"b\"\n"}}"#,
        ),
        (Signal::Metrics, partial_success(0, "old"), r#"{"partialSuccess":{"errorMessage":"old"}}"#),
    ] {
        assert_eq!(response(signal, partial_success), expected);
    }
}

#[test]
fn a_status_has_its_code_as_a_number() {
    assert_eq!(status(3, "no \"such\" field"), r#"{"code":3,"message":"no \"such\" field"}"#);
}

#[test]
fn the_status_of_a_bad_request_describes_it_in_its_details() {
    assert_eq!(
        bad_request(3, "no \"such\" field"),
        r#"{"code":3,"message":"no \"such\" field","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"description":"no \"such\" field"}]}]}"#
    );
}
