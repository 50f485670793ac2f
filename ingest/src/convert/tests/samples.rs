//! What of a rejected record is kept as text.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;

const TOO_LATE: u64 = i64::MAX as u64 + 1;

fn shop() -> Resource {
    Resource { attributes: vec![attribute("service.name", text("shop"))], ..Default::default() }
}

fn samples(signal: Signal, request: &impl Message) -> Vec<Option<String>> {
    live(signal, request).rejected.into_iter().map(|rejection| rejection.sample.map(String::from)).collect()
}

fn samples_of_logs(log_records: Vec<LogRecord>) -> Vec<Option<String>> {
    let scope_logs = vec![ScopeLogs { log_records, ..Default::default() }];
    let resource_logs = vec![ResourceLogs { resource: Some(shop()), scope_logs, ..Default::default() }];
    samples(Signal::Logs, &ExportLogsServiceRequest { resource_logs })
}

#[test]
fn the_first_log_record_of_each_reason_is_told() {
    let late = |name: &str| LogRecord {
        time_unix_nano: TOO_LATE,
        observed_time_unix_nano: 7,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        event_name: name.to_owned(),
        body: Some(text("it \"failed\"")),
        attributes: vec![attribute("b", value(Value::IntValue(2))), attribute("a", text("x"))],
        ..Default::default()
    };
    let observed_late = LogRecord { observed_time_unix_nano: TOO_LATE, ..Default::default() };
    let samples = samples_of_logs(vec![late("first"), LogRecord::default(), late("second"), observed_late]);
    assert_eq!(
        samples,
        [
            Some(
                "{\"service_name\":\"shop\",\"time_unix_nano\":9223372036854775808,\
                 \"observed_time_unix_nano\":7,\"severity_number\":17,\"severity_text\":\"ERROR\",\
                 \"event_name\":\"first\",\"body\":\"it \\\"failed\\\"\",\"attributes\":{\"a\":\"x\",\"b\":2}}"
                    .to_owned()
            ),
            None,
            Some(
                "{\"service_name\":\"shop\",\"time_unix_nano\":0,\
                 \"observed_time_unix_nano\":9223372036854775808,\"severity_number\":0,\"attributes\":{}}"
                    .to_owned()
            ),
        ]
    );
}

#[test]
fn a_span_is_told_by_its_name_and_ids_even_bad_ones() {
    let span = Span {
        name: "GET /".to_owned(),
        trace_id: vec![0xab; 3],
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    assert_eq!(
        samples(Signal::Traces, &ExportTraceServiceRequest { resource_spans }),
        [Some(
            "{\"name\":\"GET /\",\"trace_id\":\"ababab\",\"span_id\":\"\",\"start_time_unix_nano\":1,\
             \"end_time_unix_nano\":2,\"attributes\":{}}"
                .to_owned()
        )]
    );
}

#[test]
fn a_data_point_is_told_by_its_metric_and_attributes() {
    let point = NumberDataPoint {
        time_unix_nano: TOO_LATE,
        attributes: vec![attribute("host", text("a"))],
        ..Default::default()
    };
    let data = Some(Data::Sum(Sum { data_points: vec![point], ..Default::default() }));
    let metrics = vec![Metric { name: "requests".to_owned(), data, ..Default::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: Some(shop()), scope_metrics, ..Default::default() }];
    assert_eq!(
        samples(Signal::Metrics, &ExportMetricsServiceRequest { resource_metrics }),
        [Some(
            "{\"service_name\":\"shop\",\"name\":\"requests\",\"type\":\"sum\",\
             \"time_unix_nano\":9223372036854775808,\"start_time_unix_nano\":0,\"attributes\":{\"host\":\"a\"}}"
                .to_owned()
        )]
    );
}

#[test]
fn a_sample_of_a_large_record_is_cut_between_characters() {
    let long = "ä".repeat(100_000);
    for record in [
        LogRecord { body: Some(text(&long)), ..Default::default() },
        LogRecord { severity_text: long.clone(), ..Default::default() },
        LogRecord { event_name: "\u{1}".repeat(2_000), ..Default::default() },
        LogRecord { attributes: vec![attribute(&long, text("x"))], ..Default::default() },
    ] {
        let samples = samples_of_logs(vec![LogRecord { time_unix_nano: TOO_LATE, ..record }]);
        let sample = samples[0].as_deref().unwrap();
        assert!((1_020..=1_024).contains(&sample.len()), "{} bytes: {sample}", sample.len());
        assert!(sample.starts_with("{\"service_name\":\"shop\",\"time_unix_nano\":9223372036854775808,"));
    }
    let ids = Span { trace_id: vec![1; 100_000], ..Default::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![ids], ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    let samples = samples(Signal::Traces, &ExportTraceServiceRequest { resource_spans });
    assert_eq!(samples[0].as_deref().map(str::len), Some(1_024));
}
