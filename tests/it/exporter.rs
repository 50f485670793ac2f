//! The official Rust exporter as a client: by every protocol, with gzip and without, SQL gives back what was sent.
//!
//! The SDK makes exponential histograms only with an unstable feature and no exemplars, and measures no NaN.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{IdGenerator, SdkTracerProvider, SpanData};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tonic::metadata::MetadataMap;

use alula_auth::{Role, Roles};

use crate::fixture::otlp::BASE_NS;
use crate::fixture::{Client, TestServer, within_bound};

const NEVER: Duration = Duration::from_secs(24 * 3600);

const PROTOCOLS: [Protocol; 3] = [Protocol::Grpc, Protocol::HttpBinary, Protocol::HttpJson];

/// How an application sends; each has a tenant of its own.
struct Sender {
    protocol: Protocol,
    gzip: bool,
    base_url: String,
    authorization: String,
    runtime: Handle,
}

/// Makes the exporter of a signal: the builders have the same methods and no trait that says so.
macro_rules! exporter {
    ($sender:expr, $builder:expr, $path:literal) => {{
        let sender: &Sender = $sender;
        let exporter = if sender.protocol == Protocol::Grpc {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", sender.authorization.parse().unwrap());
            let mut builder = $builder.with_tonic().with_endpoint(&sender.base_url).with_metadata(metadata);
            if sender.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()
        } else {
            let headers = HashMap::from([("authorization".to_owned(), sender.authorization.clone())]);
            let endpoint = format!("{}{}", sender.base_url, $path);
            let mut builder = $builder
                .with_http()
                .with_protocol(sender.protocol)
                .with_endpoint(endpoint)
                .with_headers(headers);
            if sender.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()
        };
        OnRuntime { exporter: exporter.unwrap(), runtime: sender.runtime.clone() }
    }};
}

/// An exporter on the runtime of the test: the SDK calls it from threads of its own.
#[derive(Debug)]
struct OnRuntime<E> {
    exporter: E,
    runtime: Handle,
}

impl opentelemetry_sdk::trace::SpanExporter for OnRuntime<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.runtime.block_on(self.exporter.export(batch))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl opentelemetry_sdk::logs::LogExporter for OnRuntime<LogExporter> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.runtime.block_on(self.exporter.export(batch))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl PushMetricExporter for OnRuntime<MetricExporter> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.runtime.block_on(self.exporter.export(metrics))
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// Runs `application` once for each way to send, then `check` with what the protocol makes of NaN.
async fn for_each_sender(application: fn(&Sender), check: impl AsyncFn(&Client, &str)) {
    let server = TestServer::start().await;
    for protocol in PROTOCOLS {
        for gzip in [false, true] {
            let tenant = format!("{protocol:?}-{gzip}").to_lowercase();
            let addr = if protocol == Protocol::Grpc { server.addr() } else { server.http_addr() };
            let roles: Roles = [Role::Write].into_iter().collect();
            let sender = Sender {
                protocol,
                gzip,
                base_url: format!("http://{addr}"),
                authorization: format!("Bearer {}", server.token(&tenant, "application", roles)),
                runtime: Handle::current(),
            };
            within_bound(&tenant, spawn_blocking(move || application(&sender))).await.unwrap();
            // The exporter writes JSON in which NaN is null.
            let nan = if protocol == Protocol::HttpJson { "null" } else { r#"{"$double":"NaN"}"# };
            check(&server.client(&tenant).await, nan).await;
        }
    }
}

fn every_type() -> Vec<KeyValue> {
    vec![
        KeyValue::new("bool", true),
        KeyValue::new("double", 0.1),
        KeyValue::new("double.whole", 3.0),
        KeyValue::new("int", (1_i64 << 53) + 1),
        KeyValue::new("int.min", i64::MIN),
        KeyValue::new("ints", Value::Array(Array::I64(vec![1, -2]))),
        KeyValue::new("text", "naïve \"quoted\" 🪶"),
        KeyValue::new("texts", Value::Array(Array::String(vec!["a".into(), "".into()]))),
    ]
}

const EVERY_TYPE: &str = concat!(
    r#"{"bool":true,"double":0.1,"double.whole":3.0,"int":9007199254740993,"int.min":-9223372036854775808,"#,
    r#""ints":[1,-2],"text":"naïve \"quoted\" 🪶","texts":["a",""]}"#
);

fn resource() -> Resource {
    let attributes = [KeyValue::new("service.name", "shop"), KeyValue::new("replica", 7)];
    Resource::builder_empty().with_schema_url(attributes, "https://example.com/resource").build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("shop.checkout")
        .with_version("0.9")
        .with_schema_url("https://example.com/scope")
        .with_attributes([KeyValue::new("level", 1)])
        .build()
}

async fn assert_envelope(client: &Client, table: &str) {
    let sql = format!(
        "SELECT DISTINCT service_name, resource_attributes, resource_schema_url, scope_name, scope_version, \
         scope_attributes, scope_schema_url FROM {table}"
    );
    client
        .assert_rows(
            &sql,
            "service_name | resource_attributes | resource_schema_url | scope_name | scope_version | \
             scope_attributes | scope_schema_url
             shop | {\"replica\":7,\"service.name\":\"shop\"} | https://example.com/resource | shop.checkout | 0.9 | \
             {\"level\":1} | https://example.com/scope",
        )
        .await;
}

fn after(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(BASE_NS + nanoseconds)
}

/// Ids that count up from 1, so that a test can name them.
#[derive(Debug, Default)]
struct Counting {
    traces: AtomicU64,
    spans: AtomicU64,
}

impl IdGenerator for Counting {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from(u128::from(self.traces.fetch_add(1, Ordering::Relaxed)) + 1)
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

fn remote() -> SpanContext {
    let state = TraceState::from_key_value([("vendor", "a:1"), ("other", "b")]).unwrap();
    SpanContext::new(TraceId::from(0xabc), SpanId::from(0xdef), TraceFlags::SAMPLED, true, state)
}

fn make_traces(sender: &Sender) {
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter!(sender, SpanExporter::builder(), "/v1/traces"))
        .with_id_generator(Counting::default())
        .with_resource(resource())
        .build();
    let tracer = provider.tracer_with_scope(scope());
    let parent = Context::new().with_remote_span_context(remote());
    let builder = SpanBuilder::from_name("POST /checkout")
        .with_kind(SpanKind::Server)
        .with_start_time(after(1))
        .with_attributes(every_type())
        .with_links(vec![Link::new(remote(), vec![KeyValue::new("weight", 0.5)], 0)]);
    let mut server = tracer.build_with_context(builder, &parent);
    server.add_event_with_timestamp("retry", after(3), vec![KeyValue::new("ratio", f64::NAN)]);
    server.add_event_with_timestamp("retry", after(4), Vec::new());
    server.set_status(Status::error("card declined"));
    let child = Context::new().with_remote_span_context(server.span_context().clone());
    let builder = SpanBuilder::from_name("encode").with_start_time(after(5));
    tracer.build_with_context(builder, &child).end_with_timestamp(after(7));
    server.end_with_timestamp(after(1_000_000_001));
    provider.shutdown().unwrap();
}

#[tokio::test]
async fn spans_arrive_as_the_application_made_them() {
    for_each_sender(make_traces, async |client, nan| {
        assert_envelope(client, "traces").await;
        client
            .assert_rows(
                "SELECT name, kind, timestamp, end_timestamp, trace_id, span_id, parent_span_id, trace_state, \
                 status_code, status_message, flags, attributes FROM traces ORDER BY timestamp",
                &format!(
                    "name | kind | timestamp | end_timestamp | trace_id | span_id | parent_span_id | trace_state | \
                     status_code | status_message | flags | attributes
                     POST /checkout | server | 2025-01-01T00:00:00.000000001Z | 2025-01-01T00:00:01.000000001Z | \
                     00000000000000000000000000000abc | 0000000000000001 | 0000000000000def | vendor=a:1,other=b | \
                     error | card declined | 769 | {EVERY_TYPE}
                     encode | internal | 2025-01-01T00:00:00.000000005Z | 2025-01-01T00:00:00.000000007Z | \
                     00000000000000000000000000000abc | 0000000000000002 | 0000000000000001 | vendor=a:1,other=b | \
                     unset | | 257 | {{}}"
                ),
            )
            .await;
        client
            .assert_rows(
                "SELECT events, links FROM traces WHERE name = 'POST /checkout'",
                &format!(
                    "events | links
                     [{{timestamp: 2025-01-01T00:00:00.000000003Z, name: retry, attributes: {{\"ratio\":{nan}}}, \
                     dropped_attributes_count: 0}}, {{timestamp: 2025-01-01T00:00:00.000000004Z, name: retry, \
                     attributes: {{}}, dropped_attributes_count: 0}}] | \
                     [{{trace_id: 00000000000000000000000000000abc, span_id: 0000000000000def, \
                     trace_state: vendor=a:1,other=b, attributes: {{\"weight\":0.5}}, dropped_attributes_count: 0, \
                     flags: 769}}]"
                ),
            )
            .await;
    })
    .await;
}

fn make_logs(sender: &Sender) {
    let provider = SdkLoggerProvider::builder()
        .with_batch_exporter(exporter!(sender, LogExporter::builder(), "/v1/logs"))
        .with_resource(resource())
        .build();
    let logger = provider.logger_with_scope(scope());
    let lines = AnyValue::ListAny(Box::new(vec![AnyValue::Int(1), AnyValue::Double(-0.5), "x".into()]));
    let structured = AnyValue::Map(Box::new(HashMap::from([
        (Key::new("paid"), AnyValue::Boolean(true)),
        (Key::new("lines"), lines),
    ])));
    let bodies = [
        "a text 🪶".into(),
        AnyValue::Int((1 << 53) + 1),
        AnyValue::Double(f64::NAN),
        AnyValue::Bytes(Box::new(vec![0, 1, 254])),
        structured,
    ];
    for (body, number) in bodies.into_iter().zip(1..) {
        let mut record = logger.create_log_record();
        record.set_timestamp(after(number));
        record.set_observed_timestamp(after(number + 100));
        record.set_body(body);
        if number == 1 {
            record.set_event_name("order.placed");
            record.set_severity_number(Severity::Warn2);
            record.set_severity_text("WARNING");
            record.set_trace_context(TraceId::from(0xabc), SpanId::from(0xdef), Some(TraceFlags::SAMPLED));
            record.add_attribute("order.id", AnyValue::Int(7));
            record.add_attribute("raw", AnyValue::Bytes(Box::new(vec![255])));
        }
        logger.emit(record);
    }
    provider.shutdown().unwrap();
}

#[tokio::test]
async fn log_records_arrive_as_the_application_made_them() {
    for_each_sender(make_logs, async |client, nan| {
        assert_envelope(client, "logs").await;
        client
            .assert_rows(
                "SELECT timestamp, observed_timestamp, event_name, severity_number, severity_text, trace_id, span_id, \
                 flags, attributes FROM logs WHERE severity_number > 0",
                "timestamp | observed_timestamp | event_name | severity_number | severity_text | trace_id | span_id | \
                 flags | attributes
                 2025-01-01T00:00:00.000000001Z | 2025-01-01T00:00:00.000000101Z | order.placed | 14 | WARNING | \
                 00000000000000000000000000000abc | 0000000000000def | 1 | \
                 {\"order.id\":7,\"raw\":{\"$bytes\":\"/w==\"}}",
            )
            .await;
        // A null is a value that is absent.
        let (nan, nan_type) = if nan == "null" { ("NULL", "empty") } else { (nan, "double") };
        client
            .assert_rows(
                "SELECT body, body_type FROM logs ORDER BY timestamp",
                &format!(
                    "body | body_type
                     a text 🪶 | string
                     9007199254740993 | int
                     {nan} | {nan_type}
                     {{\"$bytes\":\"AAH+\"}} | bytes
                     {{\"lines\":[1,-0.5,\"x\"],\"paid\":true}} | map"
                ),
            )
            .await;
    })
    .await;
}

fn make_metrics(sender: &Sender) {
    let mut providers = SdkMeterProvider::builder().with_resource(resource());
    for temporality in [Temporality::Delta, Temporality::Cumulative] {
        let builder = MetricExporter::builder().with_temporality(temporality);
        let exporter = exporter!(sender, builder, "/v1/metrics");
        providers = providers.with_reader(PeriodicReader::builder(exporter).with_interval(NEVER).build());
    }
    let provider = providers.build();
    let meter = provider.meter_with_scope(scope());
    let requests = meter.u64_counter("requests").with_unit("1").with_description("Requests answered").build();
    let balance = meter.f64_up_down_counter("balance").build();
    let level = meter.i64_gauge("level").build();
    let duration = meter.f64_histogram("duration").with_boundaries(vec![0.5, 5.0]).build();
    let _load =
        meter.f64_observable_gauge("load").with_callback(|observer| observer.observe(0.75, &[])).build();
    for round in 1..=2 {
        requests.add(if round == 1 { (1 << 53) + 1 } else { 2 }, &every_type());
        balance.add(-1.25, &[]);
        level.record(i64::MIN + round, &[]);
        for value in [0.25, 0.5, 40.0] {
            duration.record(value, &[KeyValue::new("http.route", "/cart")]);
        }
        // The last collection is the one of the shutdown.
        if round == 1 { provider.force_flush() } else { provider.shutdown() }.unwrap();
    }
}

#[tokio::test]
async fn data_points_arrive_as_the_application_measured_them() {
    for_each_sender(make_metrics, async |client, _| {
        assert_envelope(client, "metrics").await;
        client
            .assert_rows(
                "SELECT type, unit, description, temporality, is_monotonic, value_int, attributes FROM metrics \
                 WHERE name = 'requests' ORDER BY temporality, timestamp",
                &format!(
                    "type | unit | description | temporality | is_monotonic | value_int | attributes
                     sum | 1 | Requests answered | cumulative | true | 9007199254740993 | {EVERY_TYPE}
                     sum | 1 | Requests answered | cumulative | true | 9007199254740995 | {EVERY_TYPE}
                     sum | 1 | Requests answered | delta | true | 9007199254740993 | {EVERY_TYPE}
                     sum | 1 | Requests answered | delta | true | 2 | {EVERY_TYPE}"
                ),
            )
            .await;
        // None of these is ever a delta, so that both readers send the same.
        client
            .assert_rows(
                "SELECT name, type, temporality, is_monotonic, value, value_int, count(*) AS sent FROM metrics \
                 WHERE name IN ('balance', 'level', 'load') GROUP BY ALL ORDER BY name, value DESC, value_int",
                "name | type | temporality | is_monotonic | value | value_int | sent
                 balance | sum | cumulative | false | -1.25 | NULL | 2
                 balance | sum | cumulative | false | -2.5 | NULL | 2
                 level | gauge | NULL | NULL | -9.223372036854776e18 | -9223372036854775807 | 2
                 level | gauge | NULL | NULL | -9.223372036854776e18 | -9223372036854775806 | 2
                 load | gauge | NULL | NULL | 0.75 | NULL | 4",
            )
            .await;
        client
            .assert_rows(
                "SELECT temporality, count, sum, min, max, bucket_counts, explicit_bounds, attributes FROM metrics \
                 WHERE type = 'histogram' ORDER BY temporality, timestamp",
                "temporality | count | sum | min | max | bucket_counts | explicit_bounds | attributes
                 cumulative | 3 | 40.75 | 0.25 | 40.0 | [2, 0, 1] | [0.5, 5.0] | {\"http.route\":\"/cart\"}
                 cumulative | 6 | 81.5 | 0.25 | 40.0 | [4, 0, 2] | [0.5, 5.0] | {\"http.route\":\"/cart\"}
                 delta | 3 | 40.75 | 0.25 | 40.0 | [2, 0, 1] | [0.5, 5.0] | {\"http.route\":\"/cart\"}
                 delta | 3 | 40.75 | 0.25 | 40.0 | [2, 0, 1] | [0.5, 5.0] | {\"http.route\":\"/cart\"}",
            )
            .await;
        client
            .assert_rows(
                "SELECT count(*) AS impossible FROM metrics WHERE timestamp < start_timestamp \
                 OR timestamp > ingested_at OR (start_timestamp IS NULL AND type <> 'gauge')",
                "impossible
                 0",
            )
            .await;
    })
    .await;
}
