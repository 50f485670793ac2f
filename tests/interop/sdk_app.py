"""An instrumented application: the OpenTelemetry SDK with everything it can send, and a record of what it sent."""

import math
import time
from types import SimpleNamespace

import grpc
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

# One value of every type an attribute can have, and the ends of the ranges.
EVERY_TYPE = {
    "text": "plain",
    "text.unicode": "naïve \"quoted\" \\ 日本語 🪶 \n\t\x1f/",
    "text.empty": "",
    "bool.true": True,
    "bool.false": False,
    "int": 42,
    "int.exact": 2**53 + 1,
    "int.max": 2**63 - 1,
    "int.min": -(2**63),
    "double": 0.1,
    "double.whole": 3.0,
    "double.large": 1e300,
    "double.small": 5e-324,
    "double.negative_zero": -0.0,
    "double.nan": math.nan,
    "double.infinite": -math.inf,
    "texts": ["a", "", "ü"],
    "bools": [True, False],
    "ints": [1, -2, 2**62],
    "doubles": [0.5, -1.5, 2.0],
    "empty": [],
    "bytes": b"\x00\xff alula",
    "map": {"b": 1, "a": {"deep": [None, True, "x"]}},
    "marker": {"$bytes": "not bytes"},
    "none": None,
}
RESOURCE = Resource.create(
    {"service.name": "shop", "service.version": "1.4.2", **EVERY_TYPE},
    schema_url="https://opentelemetry.io/schemas/1.30.0",
)
SCOPE = {
    "schema_url": "https://opentelemetry.io/schemas/1.29.0",
    "attributes": {"library.language": "python", "library.level": 7},
}
LIMITS = SpanLimits(max_span_attributes=30, max_events=4, max_links=2, max_event_attributes=3)
NEVER_MS = 24 * 3600 * 1000

GRPC_EXPORTERS = {"traces": GrpcSpanExporter, "logs": GrpcLogExporter, "metrics": GrpcMetricExporter}
HTTP_EXPORTERS = {"traces": HttpSpanExporter, "logs": HttpLogExporter, "metrics": HttpMetricExporter}
SUCCESS = {
    "traces": SpanExportResult.SUCCESS,
    "logs": LogRecordExportResult.SUCCESS,
    "metrics": MetricExportResult.SUCCESS,
}


def recording(exporter_class, success):
    """The exporter, keeping what it was given; every export must succeed."""

    class Recording(exporter_class):
        def __init__(self, **options):
            super().__init__(**options)
            self.recorded = []
            self.results = []

        def export(self, batch, *args, **kwargs):
            self.recorded.append(batch)
            result = super().export(batch, *args, **kwargs)
            self.results.append(result is success)
            return result

    return Recording


def connect(server, token, protocol, gzip):
    """A function that makes the recording exporter of a signal."""

    def make(signal, **options):
        options |= {"headers": {"authorization": f"Bearer {token}"}, "timeout": 30}
        if protocol == "grpc":
            exporter, endpoint = GRPC_EXPORTERS[signal], f"http://{server.address}"
            compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
        else:
            exporter, endpoint = HTTP_EXPORTERS[signal], f"http://{server.http_address}/v1/{signal}"
            compression = Compression.Gzip if gzip else Compression.NoCompression
        return recording(exporter, SUCCESS[signal])(endpoint=endpoint, compression=compression, **options)

    return make


def run(make_exporter):
    """Runs the application to its end. Gives what the SDK handed to its exporters: metrics data, log records, spans."""
    spans, logs, cumulative = map(make_exporter, ("traces", "logs", "metrics"))
    delta = make_exporter(
        "metrics",
        preferred_temporality=dict.fromkeys((Counter, Histogram, ObservableCounter), AggregationTemporality.DELTA),
    )

    tracing = TracerProvider(resource=RESOURCE, span_limits=LIMITS, shutdown_on_exit=False)
    tracing.add_span_processor(BatchSpanProcessor(spans))
    logging = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    logging.add_log_record_processor(BatchLogRecordProcessor(logs))
    metering = MeterProvider(
        resource=RESOURCE,
        metric_readers=[PeriodicExportingMetricReader(exporter, NEVER_MS) for exporter in (cumulative, delta)],
        views=[
            View(instrument_name="payload.size", aggregation=ExponentialBucketHistogramAggregation(max_size=20)),
            # A histogram takes no negative values, so that only this one has negative buckets.
            View(instrument_name="balance", aggregation=ExponentialBucketHistogramAggregation()),
            View(instrument_name="requests", attribute_keys={"http.route"}),
        ],
        shutdown_on_exit=False,
    )

    make_traces(tracing.get_tracer("shop.checkout", "0.9", **SCOPE))
    make_logs(logging, tracing)
    make_metrics(metering, tracing)
    for provider in (tracing, logging, metering):
        provider.shutdown()
    exporters = (spans, logs, cumulative, delta)
    assert all(all(exporter.results) and exporter.results for exporter in exporters), "an export failed"
    return SimpleNamespace(
        spans=[span for batch in spans.recorded for span in batch],
        logs=[record for batch in logs.recorded for record in batch],
        metrics=cumulative.recorded + delta.recorded,
    )


def make_traces(tracer):
    remote = SpanContext(
        trace_id=0x0123456789ABCDEF0123456789ABCDEF,
        span_id=0x00000000DEADBEEF,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "a:1"), ("other", "b")]),
    )
    parent = trace.set_span_in_context(NonRecordingSpan(remote))
    links = [Link(remote, {"link.kind": "follows", "weight": 0.5}), Link(remote), Link(remote, {"dropped": True})]
    with tracer.start_as_current_span("POST /checkout", parent, SpanKind.SERVER, EVERY_TYPE, links) as server:
        with tracer.start_as_current_span("charge card", kind=SpanKind.CLIENT) as client:
            client.set_attribute("http.route", "/charge")
            client.add_event("retry", {"attempt": 1, "reasons": ["timeout", "reset"]}, timestamp=time.time_ns() - 1)
            client.add_event("retry")
            with tracer.start_as_current_span("encode") as innermost:
                innermost.set_attributes({f"key.{i}": i for i in range(33)})
            try:
                raise ValueError("card declined: ünlucky")
            except ValueError as error:
                client.record_exception(error, {"exception.code": 51})
            client.set_status(Status(StatusCode.ERROR, "card declined"))
        server.set_status(StatusCode.OK)
    # Without a parent, in a trace of its own.
    with tracer.start_as_current_span("publish", kind=SpanKind.PRODUCER) as producer:
        for attempt in range(6):
            producer.add_event("attempt", {"number": attempt})
    link = Link(producer.get_span_context())
    started = time.time_ns() - 10**9
    consumer = tracer.start_span("consume", kind=SpanKind.CONSUMER, links=[link], start_time=started)
    consumer.end(end_time=started + 123_456_789)


def make_logs(logging, tracing):
    logger = logging.get_logger("shop.log", "2.0", **SCOPE)
    bare = logging.get_logger("shop.bare")
    bodies = ["a text with ünicode 🪶", "", {"order": {"id": 7, "paid": True}}, ["a", 1, 2.5, None]]
    bodies += [True, 2**53 + 1, -0.25, b"\x00\x01\xfe", None]
    for body in bodies:
        bare.emit(timestamp=time.time_ns(), body=body)
    for severity in SeverityNumber:
        logger.emit(timestamp=time.time_ns(), severity_number=severity, severity_text=severity.name, body="severity")
    with tracing.get_tracer("shop.log").start_as_current_span("logged") as span:
        logger.emit(timestamp=time.time_ns(), body="in a span", attributes=EVERY_TYPE, event_name="order.placed")
        try:
            raise KeyError("missing")
        except KeyError as error:
            logger.emit(timestamp=time.time_ns(), body="failed", exception=error, attributes={"order.id": 7})
        assert span.is_recording()
    # Without a time of its own: the time it was observed at counts.
    logger.emit(body="observed", observed_timestamp=time.time_ns() - 5)


def make_metrics(metering, tracing):
    meter = metering.get_meter("shop.metrics", "3.1", **SCOPE)
    tracer = tracing.get_tracer("shop.metrics")
    requests = meter.create_counter("requests", "1", "Requests answered")
    paid = meter.create_counter("paid", "EUR")
    waiting = meter.create_up_down_counter("waiting", description="In the queue")
    temperature = meter.create_gauge("temperature", "Cel")
    duration = meter.create_histogram(
        "duration", "s", "How long it took", explicit_bucket_boundaries_advisory=[0.005, 0.05, 0.5, 5.0]
    )
    payload = meter.create_histogram("payload.size", "By")
    balance = meter.create_up_down_counter("balance", "EUR")
    meter.create_observable_counter("cpu.time", [lambda _: [Observation(1.5, {"cpu": 0}), Observation(2, {"cpu": 1})]])
    meter.create_observable_up_down_counter("threads", [lambda _: [Observation(-3)]])
    meter.create_observable_gauge("load", [lambda _: [Observation(0.75, EVERY_TYPE)]])

    for round_number in (1, 2):
        requests.add(2**53 + 1, {"http.route": "/checkout", "user": "a"})
        paid.add(19.99, {"currency": "EUR"})
        paid.add(0.01, {"currency": "EUR"})
        waiting.add(5)
        waiting.add(-7 * round_number)
        temperature.set(-40.0, {"room": "cold"})
        temperature.set(21, {"room": "server"})
        for value in (0.001, 0.005, 0.3, 100.0):
            duration.record(value, {"http.route": "/checkout"})
        for value in (0, 1, 2, 3.5, 1000):
            payload.record(value, {"http.route": "/upload"})
        for value in (0, -4.25, -1e-3, 250):
            balance.add(value)
        # In a span that is sampled measurements become exemplars, with the attributes that the view drops.
        with tracer.start_as_current_span("measured"):
            requests.add(3, {"http.route": "/checkout", "user": "b", "vip": True})
            duration.record(0.02, {"http.route": "/pay"})
            payload.record(12, {"http.route": "/upload"})
        metering.force_flush()
