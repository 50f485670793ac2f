//! Which requests can be told from another by their times.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;

#[test]
fn log_records_carry_a_time_if_they_were_stamped_or_observed() {
    for (times, expected) in [
        (&[(1, 0), (1, 1)][..], true),
        (&[(1, 0), (0, 1)], true),
        (&[(1, 0), (0, 0), (1, 0)], false),
        // The second is rejected: its time is past what can be held.
        (&[(1, 0), (u64::MAX, 0)], true),
    ] {
        let record = |(time_unix_nano, observed_time_unix_nano): &(u64, u64)| LogRecord {
            time_unix_nano: *time_unix_nano,
            observed_time_unix_nano: *observed_time_unix_nano,
            ..LogRecord::default()
        };
        let scope_logs =
            vec![ScopeLogs { log_records: times.iter().map(record).collect(), ..Default::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..Default::default() }];
        let converted = live(Signal::Logs, &ExportLogsServiceRequest { resource_logs });
        assert_eq!(converted.all_timed, expected, "{times:?}");
    }
}

#[test]
fn a_rejected_record_without_time_counts_as_well() {
    // Neither has an id.
    for (start_time_unix_nano, expected) in [(1, true), (0, false)] {
        let spans = vec![Span { start_time_unix_nano, ..Span::default() }];
        let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        let converted = live(Signal::Traces, &ExportTraceServiceRequest { resource_spans });
        assert_eq!((converted.rejected.len(), converted.all_timed), (1, expected));
    }
}

#[test]
fn the_start_of_a_data_point_is_not_its_time() {
    for (time_unix_nano, expected) in [(1, true), (0, false)] {
        let point = NumberDataPoint { start_time_unix_nano: 1, time_unix_nano, ..Default::default() };
        let metrics = vec![Metric {
            data: Some(Data::Gauge(Gauge { data_points: vec![point] })),
            ..Default::default()
        }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..Default::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
        let converted = live(Signal::Metrics, &ExportMetricsServiceRequest { resource_metrics });
        assert_eq!(converted.all_timed, expected);
    }
}
