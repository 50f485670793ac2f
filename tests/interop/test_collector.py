"""A real Collector between the sender and Alula: every field arrives, refusals end it, outages do not.

The Collector exports by every protocol, encoding and compression at once, each to a tenant of its own.
"""

import time
from types import SimpleNamespace

import content
import otlp
import pytest
import stored
from collector import ROUTES, Collector
from harness import free_address, query, rows, wait_for
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from sdk_app import EVERY_TYPE

# One of each way out.
SOME_ROUTES = ("grpc-proto-gzip", "http-proto-gzip", "http-json-zstd")
ARRIVAL_LIMIT_S = 60


@pytest.fixture
def make_collector(tmp_path):
    made = []

    def make(server, routes=SOME_ROUTES, tokens=None, **queue):
        tokens = tokens or {route: server.token(route) for route in routes}
        made.append(Collector(tmp_path, server, routes, tokens, **queue))
        return made[-1]

    yield make
    for collector in made:
        collector.end()


def read(server, tenant, sql):
    with server.adbc(server.token(tenant, roles=("read",))) as connection:
        return rows(query(connection, sql))


def traces():
    """What the applications send, with ids, and what only a message made by hand can have."""
    message = ExportTraceServiceRequest(resource_spans=content.traces().resource_spans)
    resource = message.resource_spans[0]
    resource.resource.dropped_attributes_count = 3
    scope_spans = resource.scope_spans[0]
    scope_spans.scope.dropped_attributes_count = 4
    for span in scope_spans.spans:
        span.trace_id, span.flags = bytes(range(16)), 0x301
        span.trace_state = content.REMOTE["trace_state"]
        span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = 5, 6, 7
        for event in span.events:
            event.dropped_attributes_count = 8
        for link in span.links:
            link.trace_id, link.trace_state, link.flags = bytes(range(16, 32)), "linked=1", 0x100
            link.dropped_attributes_count = 9
        # The Collector always sends one.
        span.status.SetInParent()
    return message


def logs():
    message = ExportLogsServiceRequest(resource_logs=content.logs().resource_logs)
    records = message.resource_logs[0].scope_logs[0].log_records
    for record in records:
        if record.span_id:
            record.trace_id, record.flags = bytes(range(16)), 1
    records.add(observed_time_unix_nano=content.START_NS, body=otlp.any_value("observed"), dropped_attributes_count=2)
    records.add(time_unix_nano=content.START_NS, body=otlp.any_value([None, {"nested": [b"\x00", -0.0]}]))
    return message


def metrics():
    """Every type of metric with every field."""
    attributes = {"attributes": otlp.attribute_list(EVERY_TYPE)}
    times = {"start_time_unix_nano": content.START_NS, "time_unix_nano": content.START_NS + 1}
    exemplars = [
        Exemplar(
            filtered_attributes=otlp.attribute_list({"user": "u1", "vip": True}),
            time_unix_nano=content.START_NS + 2,
            trace_id=bytes(range(16)),
            span_id=bytes(range(8)),
            as_int=2**53 + 1,
        ),
        Exemplar(time_unix_nano=content.START_NS + 3, as_double=-0.5),
    ]
    shared = attributes | times | {"exemplars": exemplars}
    delta, cumulative = (
        AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
        AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
    )
    numbers = [
        NumberDataPoint(as_int=2**53 + 1, **shared),
        NumberDataPoint(as_int=-(2**63), **times),
        NumberDataPoint(as_double=float("nan"), **times),
        NumberDataPoint(as_double=float("inf"), **times),
        NumberDataPoint(as_double=-0.0, **times),
        NumberDataPoint(flags=DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK, **times),
    ]
    histogram = HistogramDataPoint(
        count=6, sum=-1.5, min=-4.0, max=7.25, bucket_counts=[1, 2, 3], explicit_bounds=[-1.0, 5.0], **shared
    )
    exponential = ExponentialHistogramDataPoint(
        count=2**60, sum=0.1, min=-9.0, max=9.0, scale=-3, zero_count=2**59, zero_threshold=0.001, **shared
    )
    exponential.positive.offset, exponential.negative.offset = -(2**31), 2**31 - 1
    exponential.positive.bucket_counts.extend([1, 0, 2**63])
    exponential.negative.bucket_counts.extend([0, 5])
    summary = SummaryDataPoint(count=4, sum=2.5, **attributes, **times)
    summary.quantile_values.add(quantile=0.5, value=0.25)
    summary.quantile_values.add(quantile=1.0, value=1.5)
    made = [
        Metric(gauge=Gauge(data_points=numbers)),
        Metric(sum=Sum(data_points=numbers, aggregation_temporality=delta, is_monotonic=True)),
        Metric(sum=Sum(data_points=numbers, aggregation_temporality=cumulative)),
        Metric(histogram=Histogram(data_points=[histogram], aggregation_temporality=delta)),
        Metric(histogram=Histogram(data_points=[HistogramDataPoint(**times)], aggregation_temporality=cumulative)),
        Metric(exponential_histogram=ExponentialHistogram(data_points=[exponential], aggregation_temporality=delta)),
        Metric(summary=Summary(data_points=[summary])),
    ]
    for number, metric in enumerate(made):
        metric.name, metric.unit, metric.description = f"metric.{number}", "By", "naïve 🪶"
        metric.metadata.append(KeyValue(key="from", value=otlp.any_value("a test")))
    scope = ScopeMetrics(scope=content.scope(), metrics=made, schema_url=content.SCOPE_SCHEMA_URL)
    resource = ResourceMetrics(
        resource=content.resource(), scope_metrics=[scope], schema_url=content.RESOURCE_SCHEMA_URL
    )
    return ExportMetricsServiceRequest(resource_metrics=[resource])


SENT = {"traces": traces(), "logs": logs(), "metrics": metrics()}
EXPECTED = {
    "traces": stored.span_rows(SENT["traces"]),
    "logs": stored.log_rows(SENT["logs"]),
    "metrics": stored.point_rows(SENT["metrics"]),
}


@pytest.fixture(scope="module")
def passed_on(shared_server, tmp_path_factory):
    """A Collector has exported every signal by every route; when it did."""
    tokens = {route: shared_server.token(route) for route in ROUTES}
    before = time.time_ns()
    collector = Collector(tmp_path_factory.mktemp("collector"), shared_server, ROUTES, tokens)
    try:
        collector.send(*SENT.items())
        collector.stop()
    finally:
        collector.end()
    return (before, time.time_ns())


@pytest.mark.parametrize("signal", SENT)
@pytest.mark.parametrize("route", ROUTES)
def test_every_field_passes_through(shared_server, passed_on, route, signal):
    sent = SimpleNamespace(tenant=route, period=passed_on)
    stored.assert_stored(lambda sql: read(shared_server, route, sql), signal, sent, EXPECTED[signal])


def log_batch(first, size=1, body="sent"):
    records = [
        otlp.LogRecord(
            time_unix_nano=content.START_NS + number,
            body=otlp.any_value(body),
            attributes=otlp.attributes(id=number),
        )
        for number in range(first, first + size)
    ]
    return otlp.logs_request("collector", records)


def test_a_partial_success_is_reported_and_not_sent_again(server, make_collector):
    """Guarantees: what can be kept is stored once, the rest is in the Collector's log."""
    collector = make_collector(server)
    spans = [
        otlp.Span(trace_id=trace_id, span_id=b"8 bytes.", name=name, start_time_unix_nano=content.START_NS)
        for name, trace_id in (("good", bytes(range(16))), ("bad", b""))
    ]
    collector.send(("traces", otlp.traces_request("collector", spans)))
    collector.stop()
    for route in SOME_ROUTES:
        assert read(server, route, "SELECT name FROM traces") == [{"name": "good"}]
    warnings = [line for line in collector.log().splitlines() if "Partial success" in line]
    assert len(warnings) == len(SOME_ROUTES), collector.log()
    assert all('"dropped_spans": 1' in line for line in warnings)


def test_what_is_refused_for_good_is_given_up_at_once(make_server, make_collector):
    """Scenario: a message that is too large, and a credential that is none."""
    server = make_server(INGEST_MAX_MESSAGE_BYTES="64KiB", INGEST_MAX_HTTP_MESSAGE_BYTES="64KiB").start()
    stranger = SOME_ROUTES[1]
    tokens = {route: server.token(route) for route in SOME_ROUTES} | {stranger: "of nobody"}
    collector = make_collector(server, tokens=tokens, num_consumers=1)
    # Were the first one sent again and again, the only consumer of a route would not come to the second.
    collector.send(("logs", log_batch(0, body="too large" * 20_000)), ("logs", log_batch(1)))
    collector.stop()
    for route in SOME_ROUTES:
        found = read(server, route, "SELECT json_get_int(attributes, 'id') AS id FROM logs")
        assert found == ([] if route == stranger else [{"id": 1}])
    dropped = [line for line in collector.log().splitlines() if "Dropping data" in line]
    # Each route gave up the large one; the stranger the small one too.
    assert len(dropped) == len(SOME_ROUTES) + 1, collector.log()


@pytest.mark.parametrize(
    ("answers", "settings"),
    [
        (
            ("Unavailable", "503"),
            dict.fromkeys(("MAX_IN_FLIGHT_BYTES", "MAX_MESSAGE_BYTES", "MAX_HTTP_MESSAGE_BYTES"), "64KiB"),
        ),
        (("ResourceExhausted", "429"), {"TENANT_BYTES_PER_SECOND": "100KiB"}),
    ],
    ids=["overload", "quota"],
)
def test_what_is_refused_for_now_is_sent_again(make_server, make_collector, answers, settings):
    """Guarantees: an exporter of either protocol understands that it may try again, and nothing is lost or doubled."""
    server = make_server(**{f"INGEST_{name}": value for name, value in settings.items()}).start()
    collector = make_collector(server)
    batches = 8
    # Several are under way at a time, and a second batch does not fit beside one.
    collector.send(*(("logs", log_batch(number, body="large" * 8_000)) for number in range(batches)))
    assert_all_arrive(server, collector, batches)
    retries = [line for line in collector.log().splitlines() if "Will retry" in line]
    for answer in answers:
        assert any(answer in line for line in retries), retries


def test_nothing_is_lost_or_doubled_when_the_server_is_killed(make_server, make_collector):
    """Scenario: the server dies twice while batches are on their way, and comes back at the same addresses."""
    server = make_server()
    server.listen = {"grpc": free_address(), "http": free_address()}
    server.start()
    collector = make_collector(server)
    batches, size = 120, 5
    for batch in range(batches):
        collector.send(("logs", log_batch(batch * size, size)))
        if batch in (batches // 3, batches * 2 // 3):
            server.kill()
        # Some batches are sent while nobody listens.
        if batch in (batches // 3 + 10, batches * 2 // 3 + 10):
            server.start()
    assert_all_arrive(server, collector, batches * size)


def assert_all_arrive(server, collector, count):
    """Each of the records numbered from 0 arrives by each route, once."""
    ids = "SELECT json_get_int(attributes, 'id') AS id FROM logs ORDER BY id"
    # Before it ends: then a Collector does not try again what failed.
    for route in SOME_ROUTES:
        wait_for(f"all of {route}", ARRIVAL_LIMIT_S, lambda: len(read(server, route, ids)) >= count)
    collector.stop()
    for route in SOME_ROUTES:
        assert [row["id"] for row in read(server, route, ids)] == list(range(count))
