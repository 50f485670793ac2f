//! What the columns of one record show: the value of every column that is not null.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, EntityRef, InstrumentationScope, KeyValueList};
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

use super::*;

/// 2026-11-21T07:59:59Z.
const TIME: u64 = 1_795_247_999_000_000_000;

/// `column = value` for every column of the row that is not null, in the order of the schema.
fn show(batch: &RecordBatch, row: usize) -> Vec<String> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let shown = columns.filter(|(_, column)| column.logical_nulls().is_none_or(|nulls| nulls.is_valid(row)));
    let options = FormatOptions::default().with_null("null");
    let lines = shown.map(|(field, column)| {
        let formatter = ArrayFormatter::try_new(column, &options).unwrap();
        format!("{} = {}", field.name(), formatter.value(row)).trim_end().to_owned()
    });
    lines.collect()
}

fn check(batch: &RecordBatch, row: usize, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(show(batch, row), expected, "\n{}", show(batch, row).join("\n"));
}

fn resource() -> Resource {
    Resource {
        attributes: vec![attribute("service.name", text("checkout")), attribute("host.name", text("h1"))],
        dropped_attributes_count: 1,
        entity_refs: vec![EntityRef {
            schema_url: "s".to_owned(),
            r#type: "host".to_owned(),
            id_keys: vec!["host.name".to_owned()],
            description_keys: vec![],
        }],
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "lib".to_owned(),
        version: "1.2".to_owned(),
        attributes: vec![attribute("k", value(Value::BoolValue(true)))],
        dropped_attributes_count: 2,
    }
}

fn logs(log_records: Vec<LogRecord>) -> RecordBatch {
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, schema_url: "ss".to_owned() }];
    let resource_logs =
        vec![ResourceLogs { resource: Some(resource()), scope_logs, schema_url: "rs".to_owned() }];
    live(Signal::Logs, &ExportLogsServiceRequest { resource_logs }).batch
}

/// Without resource and scope, so that only a metric's own columns are shown.
fn metric(data: Data) -> RecordBatch {
    let metric = Metric {
        name: "m".to_owned(),
        description: "d".to_owned(),
        unit: "By".to_owned(),
        metadata: vec![],
        data: Some(data),
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    live(Signal::Metrics, &ExportMetricsServiceRequest { resource_metrics }).batch
}

/// The lines that the points of the tests below have in common.
fn check_metric(batch: &RecordBatch, row: usize, series_id: u64, expected: &str) {
    let (before, after) = expected.split_once("---").unwrap();
    check(
        batch,
        row,
        &format!(
            "timestamp = 2026-11-21T07:59:59Z
             name = m
             {before}
             {after}
             series_id = {series_id}
             attributes = {{\"a\":1}}
             flags = 1
             resource_schema_url =
             scope_schema_url =
             timestamp_source = record
             tenant_id = default
             ingested_at = 2026-11-21T08:00:00Z"
        ),
    );
}

fn attributes() -> Vec<KeyValue> {
    vec![attribute("a", value(Value::IntValue(1)))]
}

#[test]
fn a_log_record() {
    let batch = logs(vec![LogRecord {
        time_unix_nano: TIME,
        observed_time_unix_nano: TIME + 1,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: Some(text("boom")),
        attributes: vec![attribute("http.route", text("/x")), attribute("code", value(Value::IntValue(500)))],
        dropped_attributes_count: 3,
        flags: 1,
        trace_id: vec![0xab; 16],
        span_id: vec![0x01; 8],
        event_name: "e".to_owned(),
    }]);
    check(
        &batch,
        0,
        r#"
        timestamp = 2026-11-21T07:59:59Z
        service_name = checkout
        severity_number = 17
        severity_text = ERROR
        body = boom
        body_type = string
        event_name = e
        trace_id = abababababababababababababababab
        span_id = 0101010101010101
        observed_timestamp = 2026-11-21T07:59:59.000000001Z
        attributes = {"code":500,"http.route":"/x"}
        dropped_attributes_count = 3
        flags = 1
        resource_attributes = {"host.name":"h1","service.name":"checkout"}
        resource_dropped_attributes_count = 1
        resource_entity_refs = [{"schema_url":"s","type":"host","id_keys":["host.name"],"description_keys":[]}]
        resource_schema_url = rs
        scope_name = lib
        scope_version = 1.2
        scope_attributes = {"k":true}
        scope_dropped_attributes_count = 2
        scope_schema_url = ss
        timestamp_source = record
        tenant_id = default
        ingested_at = 2026-11-21T08:00:00Z
        "#,
    );
}

#[test]
fn a_log_body_of_each_kind() {
    let map = value(Value::KvlistValue(KeyValueList { values: vec![attribute("$map", text("x"))] }));
    let bodies = [
        (None, [None, None]),
        (Some(AnyValue { value: None }), [None, Some("body_type = empty")]),
        (Some(text("{\"a\": 1}")), [Some("body = {\"a\": 1}"), Some("body_type = string")]),
        (Some(value(Value::BoolValue(false))), [Some("body = false"), Some("body_type = bool")]),
        (Some(value(Value::IntValue(-1))), [Some("body = -1"), Some("body_type = int")]),
        (
            Some(value(Value::DoubleValue(f64::NAN))),
            [Some(r#"body = {"$double":"NaN"}"#), Some("body_type = double")],
        ),
        (
            Some(value(Value::BytesValue(vec![1]))),
            [Some(r#"body = {"$bytes":"AQ=="}"#), Some("body_type = bytes")],
        ),
        (
            Some(value(Value::ArrayValue(ArrayValue::default()))),
            [Some("body = []"), Some("body_type = array")],
        ),
        (Some(map), [Some(r#"body = {"$map":{"$map":"x"}}"#), Some("body_type = map")]),
    ];
    let records = bodies.iter().map(|(body, _)| LogRecord { body: body.clone(), ..Default::default() });
    let batch = logs(records.collect());
    for (row, (_, expected)) in bodies.iter().enumerate() {
        let shown = show(&batch, row);
        let shown: Vec<&str> =
            shown.iter().map(String::as_str).filter(|line| line.starts_with("body")).collect();
        assert_eq!(shown, expected.iter().flatten().copied().collect::<Vec<_>>());
    }
}

#[test]
fn a_log_record_without_a_time_takes_the_observed_time_or_the_time_of_receipt() {
    let batch = logs(vec![
        LogRecord { observed_time_unix_nano: TIME, ..Default::default() },
        LogRecord { ..Default::default() },
    ]);
    let of = |row, name: &str| show(&batch, row).into_iter().find(|line| line.starts_with(name)).unwrap();
    assert_eq!(of(0, "timestamp ="), "timestamp = 2026-11-21T07:59:59Z");
    assert_eq!(of(0, "timestamp_source"), "timestamp_source = observed");
    assert_eq!(of(1, "timestamp ="), "timestamp = 2026-11-21T08:00:00Z");
    assert_eq!(of(1, "timestamp_source"), "timestamp_source = received");
}

#[test]
fn a_service_name_that_is_not_text_is_no_service_name() {
    let attributes = vec![attribute("service.name", value(Value::IntValue(1)))];
    let resource = Some(Resource { attributes, ..Default::default() });
    let scope_logs = vec![ScopeLogs { log_records: vec![LogRecord::default()], ..Default::default() }];
    let resource_logs = vec![ResourceLogs { resource, scope_logs, ..Default::default() }];
    let batch = live(Signal::Logs, &ExportLogsServiceRequest { resource_logs }).batch;
    assert!(!show(&batch, 0).iter().any(|line| line.starts_with("service_name")));
}

fn spans(spans: Vec<Span>) -> RecordBatch {
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    live(Signal::Traces, &ExportTraceServiceRequest { resource_spans }).batch
}

fn span() -> Span {
    Span {
        trace_id: vec![0xab; 16],
        span_id: vec![0x01; 8],
        trace_state: "ts".to_owned(),
        parent_span_id: vec![0x02; 8],
        flags: 0x101,
        name: "GET /x".to_owned(),
        kind: 2,
        start_time_unix_nano: TIME,
        end_time_unix_nano: TIME + 1500,
        attributes: attributes(),
        dropped_attributes_count: 3,
        events: vec![Event { name: "e".to_owned(), attributes: attributes(), ..Default::default() }],
        dropped_events_count: 4,
        links: vec![Link { trace_id: vec![0xcd], flags: 5, ..Default::default() }],
        dropped_links_count: 6,
        status: Some(Status { message: "bad".to_owned(), code: 2 }),
    }
}

#[test]
fn a_span() {
    check(
        &spans(vec![span()]),
        0,
        r#"
        timestamp = 2026-11-21T07:59:59Z
        name = GET /x
        kind = server
        status_code = error
        status_message = bad
        duration_ns = 1500
        trace_id = abababababababababababababababab
        span_id = 0101010101010101
        parent_span_id = 0202020202020202
        end_timestamp = 2026-11-21T07:59:59.000001500Z
        trace_state = ts
        events = [{timestamp: null, name: e, attributes: {"a":1}, dropped_attributes_count: 0}]
        links = [{trace_id: cd, span_id: null, trace_state: , attributes: {}, dropped_attributes_count: 0, flags: 5}]
        dropped_events_count = 4
        dropped_links_count = 6
        attributes = {"a":1}
        dropped_attributes_count = 3
        flags = 257
        resource_schema_url =
        scope_schema_url =
        timestamp_source = record
        tenant_id = default
        ingested_at = 2026-11-21T08:00:00Z
        "#,
    );
}

#[test]
fn a_span_without_what_can_be_absent() {
    let bare = Span { trace_id: vec![1; 16], span_id: vec![1; 8], ..Default::default() };
    let odd = Span { kind: 99, status: Some(Status { message: String::new(), code: -1 }), ..bare.clone() };
    let backwards = Span { start_time_unix_nano: TIME, end_time_unix_nano: TIME - 1, ..bare.clone() };
    let batch = spans(vec![bare, odd, backwards]);
    let of = |row, name: &str| show(&batch, row).into_iter().find(|line| line.starts_with(name));
    for absent in ["status_code", "status_message", "duration_ns", "end_timestamp", "parent_span_id"] {
        assert_eq!(of(0, absent), None);
    }
    for (name, line) in [
        ("kind", "kind = unspecified"),
        ("events", "events = []"),
        ("links", "links = []"),
        ("timestamp_source", "timestamp_source = received"),
        ("attributes", "attributes = {}"),
    ] {
        assert_eq!(of(0, name).as_deref(), Some(line));
    }
    assert_eq!(of(1, "kind").as_deref(), Some("kind = 99"));
    assert_eq!(of(1, "status_code").as_deref(), Some("status_code = -1"));
    assert_eq!(of(1, "status_message").as_deref(), Some("status_message ="));
    assert_eq!(of(2, "duration_ns"), None);
}

fn number_point(value: Option<number_data_point::Value>) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(),
        time_unix_nano: TIME,
        flags: 1,
        value,
        ..NumberDataPoint::default()
    }
}

#[test]
fn a_gauge_of_a_double_of_an_integer_and_of_nothing() {
    use number_data_point::Value::{AsDouble, AsInt};
    let batch = metric(Data::Gauge(Gauge {
        data_points: vec![
            number_point(Some(AsDouble(1.5))),
            number_point(Some(AsInt((1 << 53) + 1))),
            number_point(None),
        ],
    }));
    let common = "type = gauge";
    let described = "unit = By\ndescription = d\n---";
    let id = GAUGE_SERIES;
    check_metric(&batch, 0, id, &format!("{common}\nvalue = 1.5\n{described}"));
    check_metric(
        &batch,
        1,
        id,
        &format!("{common}\nvalue = 9007199254740992.0\nvalue_int = 9007199254740993\n{described}"),
    );
    check_metric(&batch, 2, id, &format!("{common}\n{described}"));
}

#[test]
fn a_sum_with_an_exemplar() {
    let exemplar = Exemplar {
        filtered_attributes: attributes(),
        time_unix_nano: TIME,
        span_id: vec![1; 8],
        trace_id: vec![],
        value: Some(exemplar::Value::AsInt(7)),
    };
    let point = NumberDataPoint {
        start_time_unix_nano: TIME - 1_000_000_000,
        exemplars: vec![exemplar],
        ..number_point(Some(number_data_point::Value::AsDouble(f64::INFINITY)))
    };
    let batch =
        metric(Data::Sum(Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic: true }));
    check_metric(
        &batch,
        0,
        SUM_SERIES,
        r#"type = sum
        value = inf
        unit = By
        description = d
        start_timestamp = 2026-11-21T07:59:58Z
        temporality = cumulative
        is_monotonic = true
        ---
        exemplars = [{timestamp: 2026-11-21T07:59:59Z, value: 7.0, value_int: 7, trace_id: null, span_id: 0101010101010101, attributes: {"a":1}}]"#,
    );
}

#[test]
fn a_histogram() {
    let point = HistogramDataPoint {
        attributes: attributes(),
        time_unix_nano: TIME,
        count: 3,
        sum: Some(4.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        flags: 1,
        min: Some(0.25),
        ..HistogramDataPoint::default()
    };
    let batch = metric(Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 1 }));
    check_metric(
        &batch,
        0,
        HISTOGRAM_SERIES,
        "type = histogram
         unit = By
         description = d
         temporality = delta
         count = 3
         sum = 4.5
         min = 0.25
         bucket_counts = [1, 2]
         explicit_bounds = [0.5]
         ---",
    );
}

#[test]
fn an_exponential_histogram() {
    let point = ExponentialHistogramDataPoint {
        attributes: attributes(),
        time_unix_nano: TIME,
        count: 3,
        scale: -2,
        zero_count: 1,
        zero_threshold: 0.125,
        positive: Some(Buckets { offset: -3, bucket_counts: vec![1, u64::MAX] }),
        negative: Some(Buckets { offset: 0, bucket_counts: vec![] }),
        flags: 1,
        max: Some(8.0),
        ..ExponentialHistogramDataPoint::default()
    };
    let without = ExponentialHistogramDataPoint { positive: None, negative: None, ..point.clone() };
    let batch = metric(Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![point, without],
        aggregation_temporality: 9,
    }));
    let common = "type = exponential_histogram
         unit = By
         description = d
         temporality = 9
         count = 3
         max = 8.0
         scale = -2
         zero_count = 1
         zero_threshold = 0.125";
    let buckets = "positive_offset = -3
         positive_bucket_counts = [1, 18446744073709551615]
         negative_offset = 0
         negative_bucket_counts = []";
    check_metric(&batch, 0, EXPONENTIAL_SERIES, &format!("{common}\n{buckets}\n---"));
    check_metric(&batch, 1, EXPONENTIAL_SERIES, &format!("{common}\n---"));
}

#[test]
fn a_summary() {
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let point = SummaryDataPoint {
        attributes: attributes(),
        time_unix_nano: TIME,
        count: 2,
        sum: 3.0,
        quantile_values: vec![quantile(0.5, 1.0), quantile(1.0, 2.0)],
        flags: 1,
        ..SummaryDataPoint::default()
    };
    let batch = metric(Data::Summary(Summary { data_points: vec![point] }));
    check_metric(
        &batch,
        0,
        SUMMARY_SERIES,
        "type = summary
         unit = By
         description = d
         count = 2
         sum = 3.0
         quantiles = [{quantile: 0.5, value: 1.0}, {quantile: 1.0, value: 2.0}]
         ---",
    );
}

// Series ids are stored, so their encoding must not change: these were computed by a separate program.
const GAUGE_SERIES: u64 = 7_618_941_774_715_093_871;
const SUM_SERIES: u64 = 15_377_126_921_569_439_684;
const HISTOGRAM_SERIES: u64 = 11_721_103_990_122_571_493;
const EXPONENTIAL_SERIES: u64 = 10_623_141_420_165_787_418;
const SUMMARY_SERIES: u64 = 11_283_756_286_272_581_816;
