//! Every reason to reject a record, and that its neighbours are kept.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, InstrumentationScope};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;

const TOO_LATE: u64 = i64::MAX as u64 + 1;
const FAR_FUTURE: u64 = RECEIVED_NS as u64 + 900_000_000_001;

const TIME_OUT_OF_RANGE: &str =
    "is past 2262-04-11T23:47:16Z, the last time that 64-bit nanoseconds can hold";
const TOO_FAR: &str = "timestamp is more than 900s ahead of the server's clock; \
                       correct the sender's clock or raise ingest.max_future";

fn too_deep() -> Vec<KeyValue> {
    let nested =
        (0..33).fold(text("x"), |inner, _| value(Value::ArrayValue(ArrayValue { values: vec![inner] })));
    vec![attribute("deep", nested)]
}

/// The bad record stands between two good ones; only it may be missing.
fn check_converted(signal: Signal, request: &impl Message, expected: &str) {
    let converted = live(signal, request);
    let reasons: Vec<String> =
        converted.rejected.iter().map(|rejection| rejection.reason.to_string()).collect();
    assert_eq!(reasons, [expected]);
    assert_eq!(converted.rejected[0].ordinal, 1);
    assert_eq!(converted.batch.num_rows(), 2);
}

fn check_log(bad: LogRecord, expected: &str) {
    let good = LogRecord::default();
    let scope_logs = vec![ScopeLogs { log_records: vec![good.clone(), bad, good], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    check_converted(Signal::Logs, &ExportLogsServiceRequest { resource_logs }, expected);
}

fn good_span() -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![1; 8], ..Default::default() }
}

fn check_span(bad: Span, expected: &str) {
    let spans = vec![good_span(), bad, good_span()];
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    check_converted(Signal::Traces, &ExportTraceServiceRequest { resource_spans }, expected);
}

fn check_metrics(data: Data, expected: &str) {
    let metrics = vec![Metric { data: Some(data), ..Default::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    check_converted(Signal::Metrics, &ExportMetricsServiceRequest { resource_metrics }, expected);
}

fn check_point(bad: NumberDataPoint, expected: &str) {
    let good = NumberDataPoint::default();
    check_metrics(Data::Gauge(Gauge { data_points: vec![good.clone(), bad, good] }), expected);
}

fn check_histogram(bucket_counts: Vec<u64>, explicit_bounds: Vec<f64>, expected: &str) {
    let good = HistogramDataPoint { bucket_counts: vec![1], ..Default::default() };
    let bad = HistogramDataPoint { bucket_counts, explicit_bounds, ..Default::default() };
    let histogram = Histogram { data_points: vec![good.clone(), bad, good], aggregation_temporality: 1 };
    check_metrics(Data::Histogram(histogram), expected);
}

#[test]
fn times_past_the_last_nanosecond_are_rejected_by_name() {
    let message = |field: &str| format!("{field} {TIME_OUT_OF_RANGE}");
    check_log(LogRecord { time_unix_nano: TOO_LATE, ..Default::default() }, &message("time_unix_nano"));
    check_log(
        LogRecord { observed_time_unix_nano: u64::MAX, ..Default::default() },
        &message("observed_time_unix_nano"),
    );
    check_span(Span { start_time_unix_nano: TOO_LATE, ..good_span() }, &message("start_time_unix_nano"));
    check_span(Span { end_time_unix_nano: TOO_LATE, ..good_span() }, &message("end_time_unix_nano"));
    let events = vec![Event { time_unix_nano: TOO_LATE, ..Default::default() }];
    check_span(Span { events, ..good_span() }, &message("time_unix_nano of an event"));
    check_point(
        NumberDataPoint { time_unix_nano: TOO_LATE, ..Default::default() },
        &message("time_unix_nano"),
    );
    check_point(
        NumberDataPoint { start_time_unix_nano: TOO_LATE, ..Default::default() },
        &message("start_time_unix_nano"),
    );
    let exemplars = vec![Exemplar { time_unix_nano: TOO_LATE, ..Default::default() }];
    check_point(
        NumberDataPoint { exemplars, ..Default::default() },
        &message("time_unix_nano of an exemplar"),
    );
}

#[test]
fn timestamps_past_the_bound_on_the_future_are_rejected() {
    check_log(LogRecord { time_unix_nano: FAR_FUTURE, ..Default::default() }, TOO_FAR);
    check_log(LogRecord { observed_time_unix_nano: FAR_FUTURE, ..Default::default() }, TOO_FAR);
    check_span(Span { start_time_unix_nano: FAR_FUTURE, ..good_span() }, TOO_FAR);
    check_point(NumberDataPoint { time_unix_nano: FAR_FUTURE, ..Default::default() }, TOO_FAR);
}

#[test]
fn a_timestamp_at_the_bound_is_kept() {
    let record = LogRecord { time_unix_nano: FAR_FUTURE - 1, ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
    assert_eq!(live(Signal::Logs, &ExportLogsServiceRequest { resource_logs }).rejected, []);
}

#[test]
fn values_that_nest_too_deep_are_rejected_wherever_they_are() {
    let message = |place: &str| format!("{place} nest deeper than 32 levels");
    check_log(LogRecord { attributes: too_deep(), ..Default::default() }, &message("attributes"));
    let body = too_deep().remove(0).value;
    check_log(LogRecord { body, ..Default::default() }, &message("the values in the body"));
    check_span(Span { attributes: too_deep(), ..good_span() }, &message("attributes"));
    let events = vec![Event { attributes: too_deep(), ..Default::default() }];
    check_span(Span { events, ..good_span() }, &message("attributes of an event"));
    let links = vec![Link { attributes: too_deep(), ..Default::default() }];
    check_span(Span { links, ..good_span() }, &message("attributes of a link"));
    let exemplars = vec![Exemplar { filtered_attributes: too_deep(), ..Default::default() }];
    check_point(NumberDataPoint { exemplars, ..Default::default() }, &message("attributes of an exemplar"));
}

#[test]
fn a_resource_or_scope_that_nests_too_deep_takes_only_its_own_records() {
    let log = LogRecord::default;
    let scope_logs = |scope| ScopeLogs { scope, log_records: vec![log()], ..Default::default() };
    let deep_scope = InstrumentationScope { attributes: too_deep(), ..Default::default() };
    let deep_resource = Resource { attributes: too_deep(), ..Default::default() };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![
            ResourceLogs {
                resource: Some(deep_resource),
                scope_logs: vec![scope_logs(None)],
                ..Default::default()
            },
            ResourceLogs {
                scope_logs: vec![scope_logs(None), scope_logs(Some(deep_scope)), scope_logs(None)],
                ..Default::default()
            },
        ],
    };
    let converted = live(Signal::Logs, &request);
    let rejected: Vec<_> = converted.rejected.iter().map(|r| (r.ordinal, r.reason)).collect();
    assert_eq!(
        rejected,
        [
            (0, Reason::TooDeep { place: "resource attributes" }),
            (2, Reason::TooDeep { place: "scope attributes" }),
        ]
    );
    assert_eq!(converted.batch.num_rows(), 2);
}

#[test]
fn metadata_that_nests_too_deep_takes_the_points_of_its_metric() {
    let metric = |metadata| Metric {
        metadata,
        data: Some(Data::Gauge(Gauge { data_points: vec![NumberDataPoint::default()] })),
        ..Default::default()
    };
    let metrics = vec![metric(vec![]), metric(too_deep()), metric(vec![])];
    let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    check_converted(
        Signal::Metrics,
        &ExportMetricsServiceRequest { resource_metrics },
        "metadata of the metric nest deeper than 32 levels",
    );
}

#[test]
fn spans_need_whole_ids_that_are_not_zero() {
    for trace_id in [vec![], vec![0; 16], vec![1; 15], vec![1; 17]] {
        check_span(Span { trace_id, ..good_span() }, "trace_id must be 16 bytes and not all zero");
    }
    for span_id in [vec![], vec![0; 8], vec![1; 7], vec![1; 16]] {
        check_span(Span { span_id, ..good_span() }, "span_id must be 8 bytes and not all zero");
    }
}

#[test]
fn histograms_need_one_count_more_than_bounds() {
    let message = "bucket_counts must have one element more than explicit_bounds, or both must be empty";
    check_histogram(vec![1, 2], vec![], message);
    check_histogram(vec![1], vec![1.0], message);
    check_histogram(vec![], vec![1.0], message);
    check_histogram(vec![1, 2, 3], vec![1.0], message);
}

/// A bucket between bounds that do not rise holds nothing, so no function over such buckets has an answer.
#[test]
fn the_bounds_of_a_histogram_rise() {
    let message = "explicit_bounds must be numbers that rise strictly";
    check_histogram(vec![1, 2, 3], vec![2.0, 1.0], message);
    check_histogram(vec![1, 2, 3], vec![1.0, 1.0], message);
    check_histogram(vec![1, 2], vec![f64::NAN], message);
    check_histogram(vec![1, 2, 3], vec![1.0, f64::NAN], message);
}

#[test]
fn replay_drops_what_it_is_told_and_checks_nothing() {
    let good = LogRecord::default();
    let bad = LogRecord { time_unix_nano: TOO_LATE, attributes: too_deep(), ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![good, bad], ..Default::default() }];
    let request =
        ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..Default::default() }] };
    let payload = request.encode_to_vec();
    for (ordinals, rows) in [(&[][..], 2), (&[0][..], 1), (&[1, 0][..], 0), (&[7][..], 2)] {
        let converted = convert(Signal::Logs, &payload, &context(Policy::Replay(ordinals))).unwrap();
        assert_eq!(converted.batch.num_rows(), rows, "{ordinals:?}");
    }
}

fn logs_of(resource_text: usize, count: usize) -> ExportLogsServiceRequest {
    let resource = Resource {
        attributes: vec![attribute("large", text(&"x".repeat(resource_text)))],
        ..Default::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default(); count], ..Default::default() }];
    let resource = ResourceLogs { resource: Some(resource), scope_logs, ..Default::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource] }
}

/// Scenario: one resource of a megabyte with a hundred thousand empty records, a request of 1.2 MB that would be 100 GB of
/// rows. Accepted once, the log would bring it back at every start.
#[test]
fn texts_repeated_beyond_measure_are_rejected_and_what_fits_is_kept() {
    let converted = live(Signal::Logs, &logs_of(1 << 20, 100_000));
    assert_eq!(converted.batch.num_rows(), 255, "256 MiB of a resource of a little over 1 MiB");
    assert_eq!(converted.batch.num_rows() + converted.rejected.len(), 100_000);
    assert!(converted.rejected[0].reason.to_string().contains("repeated in each row, pass 268435456 bytes"));
    let converted = live(Signal::Logs, &logs_of(2 << 10, 10_000));
    assert_eq!(converted.rejected, [], "a large but real resource");
}

#[test]
fn records_without_content_are_rejected_beyond_what_the_size_can_fill() {
    let request = logs_of(0, 50_000);
    let limit = 10_000 + request.encoded_len() / 16;
    let converted = live(Signal::Logs, &request);
    assert_eq!(converted.batch.num_rows(), limit);
    assert_eq!(converted.rejected.len(), 50_000 - limit);
}
