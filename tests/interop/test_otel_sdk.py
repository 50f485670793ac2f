"""The OpenTelemetry SDK of Python sends, three clients read, and every value is the one the SDK sent."""

import json
import time

import canonical
import polars
import pytest
import sdk_app
from harness import query, rows
from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Sum
from stored import assert_equal_rows, assert_stored, in_order


@pytest.fixture(scope="module", params=["grpc", "grpc-gzip", "http", "http-gzip"])
def sent(request, shared_server):
    """The application has run; what it sent, when, and as which tenant."""
    tenant = request.param
    protocol, _, compression = tenant.partition("-")
    make_exporter = sdk_app.connect(shared_server, shared_server.token(tenant), protocol, gzip=bool(compression))
    before = time.time_ns()
    recorded = sdk_app.run(make_exporter)
    recorded.period, recorded.tenant = (before, time.time_ns()), tenant
    return recorded


@pytest.fixture(scope="module")
def clients(shared_server, sent):
    """Each client as a function from a statement to its rows."""
    token = shared_server.token(sent.tenant, roles=("read",))
    with shared_server.adbc(token) as connection, shared_server.flight(token) as flight:

        def by_polars(sql):
            frame = polars.read_database(sql, connection)
            return rows(frame.to_arrow())

        yield {
            "adbc": lambda sql: rows(query(connection, sql)),
            "pyarrow": lambda sql: rows(flight.query(sql)),
            "polars": by_polars,
        }


@pytest.fixture(params=["adbc", "pyarrow", "polars"])
def client(request, clients):
    return clients[request.param]


def test_all_clients_give_equal_rows(sent, clients):
    """Guarantees: what a user sees does not depend on the client, in any column of any table."""
    for table in ("metrics", "logs", "traces"):
        by_adbc, *others = (in_order(read(f"SELECT * FROM {table}")) for read in clients.values())
        assert by_adbc
        for other in others:
            assert_equal_rows(other, by_adbc)


def test_spans_are_as_the_sdk_reports_them(sent, client):
    assert_stored(client, "traces", sent, [expected_span(span) for span in sent.spans])


def test_log_records_are_as_the_sdk_reports_them(sent, client):
    assert_stored(client, "logs", sent, [expected_log(record) for record in sent.logs])


def test_data_points_are_as_the_sdk_reports_them(sent, client):
    expected = [
        expected_point(resource_metrics, scope_metrics, metric, point)
        for data in sent.metrics
        for resource_metrics in data.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
        for point in metric.data.data_points
    ]
    assert_stored(client, "metrics", sent, expected)


def test_a_series_has_one_id_and_an_id_one_series(sent, client):
    identity = "name, unit, type, temporality, is_monotonic, attributes, resource_attributes, scope_name, scope_version"
    found = client(f"SELECT DISTINCT series_id, {identity} FROM metrics")
    series = {json.dumps({key: value for key, value in row.items() if key != "series_id"}) for row in found}
    assert len(found) == len(series) == len({row["series_id"] for row in found}) > 10


def test_what_the_application_did_is_there(sent, client):
    """Guarantees: the values that the code of the application names, without the SDK as a witness."""
    counted = client(
        "SELECT max(value_int) AS total FROM metrics WHERE name = 'requests' AND temporality = 'cumulative'"
    )
    assert counted == [{"total": 2 * (2**53 + 1 + 3)}]
    buckets = client(
        "SELECT count, sum, min, max, bucket_counts, explicit_bounds FROM metrics WHERE name = 'duration' "
        "AND attributes->>'http.route' = '/checkout' AND temporality = 'cumulative' ORDER BY count LIMIT 1"
    )
    assert buckets == [
        {
            "count": 4,
            "sum": pytest.approx(100.306, rel=1e-12),
            "min": 0.001,
            "max": 100.0,
            "bucket_counts": [2, 0, 1, 0, 1],
            "explicit_bounds": [0.005, 0.05, 0.5, 5.0],
        }
    ]
    exponential = client(
        "SELECT DISTINCT name, count, zero_count, min, max, positive_bucket_counts, negative_bucket_counts "
        "FROM metrics WHERE type = 'exponential_histogram' AND temporality = 'cumulative' ORDER BY name, count"
    )
    spread = [(row["count"], row["zero_count"], row["min"], row["max"]) for row in exponential]
    assert spread == [(4, 1, -4.25, 250.0), (8, 2, -4.25, 250.0), (6, 1, 0.0, 1000.0), (12, 2, 0.0, 1000.0)]
    filled = [(sum(row["positive_bucket_counts"]), sum(row["negative_bucket_counts"])) for row in exponential]
    assert filled == [(1, 2), (2, 4), (5, 0), (10, 0)]
    exemplars = client("SELECT exemplars FROM metrics WHERE name = 'requests' AND temporality = 'delta'")
    assert len(exemplars) == 2
    for row in exemplars:
        (exemplar,) = row["exemplars"]
        assert (exemplar["value_int"], exemplar["attributes"]) == (3, '{"user":"b","vip":true}')
    levels = client(
        "SELECT server.name AS a, client.name AS b, innermost.name AS c FROM traces server "
        "JOIN traces client ON client.parent_span_id = server.span_id AND client.trace_id = server.trace_id "
        "JOIN traces innermost ON innermost.parent_span_id = client.span_id AND innermost.trace_id = client.trace_id"
    )
    assert levels == [{"a": "POST /checkout", "b": "charge card", "c": "encode"}]
    failed = client("SELECT status_message, kind FROM traces WHERE status_code = 'error'")
    assert failed == [{"status_message": "card declined", "kind": "client"}]
    logged = client(
        "SELECT l.body, t.name FROM logs l JOIN traces t ON l.trace_id = t.trace_id AND l.span_id = t.span_id "
        "ORDER BY 1"
    )
    assert logged == [{"body": "failed", "name": "logged"}, {"body": "in a span", "name": "logged"}]
    exact = client("SELECT json_get_int(attributes, 'int.exact') AS n FROM logs WHERE event_name = 'order.placed'")
    assert exact == [{"n": 2**53 + 1}]


def common(resource, scope, timestamp, attributes, dropped, flags, source="record"):
    return {
        "timestamp": timestamp,
        "timestamp_source": source,
        "service_name": resource.attributes["service.name"],
        "attributes": canonical.attributes(attributes),
        "dropped_attributes_count": dropped,
        "flags": flags,
        "resource_attributes": canonical.attributes(resource.attributes),
        "resource_dropped_attributes_count": 0,
        "resource_entity_refs": None,
        "resource_schema_url": resource.schema_url,
        "scope_name": scope.name,
        "scope_version": scope.version or "",
        "scope_attributes": canonical.attributes(scope.attributes),
        "scope_dropped_attributes_count": 0,
        "scope_schema_url": scope.schema_url or "",
    }


def hex_id(number, digits):
    return f"{number:0{digits}x}" if number else None


def expected_span(span):
    context = span.get_span_context()
    return common(
        span.resource,
        span.instrumentation_scope,
        span.start_time,
        span.attributes,
        span.dropped_attributes,
        context_flags(span.parent),
    ) | {
        "name": span.name,
        "kind": span.kind.name.lower(),
        "status_code": span.status.status_code.name.lower(),
        "status_message": span.status.description or "",
        "duration_ns": span.end_time - span.start_time,
        "trace_id": hex_id(context.trace_id, 32),
        "span_id": hex_id(context.span_id, 16),
        "parent_span_id": hex_id(span.parent.span_id, 16) if span.parent else None,
        "end_timestamp": span.end_time,
        "trace_state": ",".join(f"{key}={value}" for key, value in context.trace_state.items()),
        "events": [
            {
                "timestamp": event.timestamp,
                "name": event.name,
                "attributes": canonical.attributes(event.attributes),
                "dropped_attributes_count": event.dropped_attributes,
            }
            for event in span.events
        ],
        "links": [
            {
                "trace_id": hex_id(link.context.trace_id, 32),
                "span_id": hex_id(link.context.span_id, 16),
                # The exporter sends none.
                "trace_state": "",
                "attributes": canonical.attributes(link.attributes),
                "dropped_attributes_count": link.dropped_attributes,
                "flags": context_flags(link.context),
            }
            for link in span.links
        ],
        "dropped_events_count": span.dropped_events,
        "dropped_links_count": span.dropped_links,
    }


def context_flags(context):
    """SpanFlags of OTLP: bit 8 says that bit 9 is known, bit 9 that the context came from elsewhere."""
    return 0x100 | (0x200 if context and context.is_remote else 0)


BODY_TYPES = {
    str: "string",
    bool: "bool",
    int: "int",
    float: "double",
    bytes: "bytes",
    dict: "map",
    tuple: "array",
    list: "array",
    type(None): "empty",
}


def expected_log(readable):
    record = readable.log_record
    time_ns, source = (record.timestamp, "record") if record.timestamp else (record.observed_timestamp, "observed")
    body = record.body
    return common(
        readable.resource,
        readable.instrumentation_scope,
        time_ns,
        record.attributes,
        readable.dropped_attributes,
        int(record.trace_flags),
        source,
    ) | {
        "severity_number": record.severity_number.value if record.severity_number else 0,
        "severity_text": record.severity_text or "",
        "body": body if body is None or isinstance(body, str) else canonical.text(body),
        "body_type": BODY_TYPES[type(body)],
        "event_name": record.event_name or "",
        "trace_id": hex_id(record.trace_id, 32),
        "span_id": hex_id(record.span_id, 16),
        "observed_timestamp": record.observed_timestamp,
    }


TEMPORALITIES = {1: "delta", 2: "cumulative"}

NOT_OF_EVERY_TYPE = (
    "value value_int start_timestamp temporality is_monotonic count sum min max bucket_counts explicit_bounds scale "
    "zero_count zero_threshold positive_offset positive_bucket_counts negative_offset negative_bucket_counts "
    "quantiles exemplars metadata"
).split()


def expected_point(resource_metrics, scope_metrics, metric, point):
    data = metric.data
    flags = getattr(point, "flags", 0)
    row = common(resource_metrics.resource, scope_metrics.scope, point.time_unix_nano, point.attributes, None, flags)
    row |= dict.fromkeys(NOT_OF_EVERY_TYPE)
    row |= {
        "name": metric.name,
        "description": metric.description or "",
        "unit": metric.unit or "",
        "exemplars": [expected_exemplar(exemplar) for exemplar in point.exemplars] or None,
    }
    if isinstance(data, Gauge):
        # The exporter sends no start of a gauge.
        return row | {"type": "gauge"} | expected_value(point.value)
    row |= {
        "temporality": TEMPORALITIES[data.aggregation_temporality],
        "start_timestamp": point.start_time_unix_nano,
    }
    if isinstance(data, Sum):
        return row | {"type": "sum", "is_monotonic": data.is_monotonic} | expected_value(point.value)
    row |= {
        "count": point.count,
        "sum": float(point.sum),
        "min": float(point.min),
        "max": float(point.max),
    }
    if isinstance(data, Histogram):
        bounds = [float(bound) for bound in point.explicit_bounds]
        return row | {"type": "histogram", "bucket_counts": list(point.bucket_counts), "explicit_bounds": bounds}
    assert isinstance(data, ExponentialHistogram), data
    row |= {
        "type": "exponential_histogram",
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": 0.0,
    }
    for sign in ("positive", "negative"):
        buckets = getattr(point, sign)
        if buckets.bucket_counts:
            row |= {f"{sign}_offset": buckets.offset, f"{sign}_bucket_counts": list(buckets.bucket_counts)}
    return row


def expected_exemplar(exemplar):
    return {
        "timestamp": exemplar.time_unix_nano,
        **expected_value(exemplar.value),
        "trace_id": hex_id(exemplar.trace_id, 32),
        "span_id": hex_id(exemplar.span_id, 16),
        "attributes": canonical.attributes(exemplar.filtered_attributes),
    }


def expected_value(value):
    return {"value": float(value), "value_int": value if isinstance(value, int) else None}
