"""The rows that OTLP messages become, written down a second time from docs/sql.md, and comparing a table with them."""

import json

import canonical
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

# What the store adds to a row: known only by what must hold for it.
ADDED = {"ingested_at", "ingest_seq"}
ADDED_TO = {"metrics": ADDED | {"series_id"}, "logs": ADDED, "traces": ADDED}


def assert_stored(read, table, sent, expected):
    """Every column of every row of `table` is as expected, and what the store adds is plausible.

    `read` gives the rows of a statement; `sent` has the tenant and the period in which all was sent.
    """
    found = read(f"SELECT * FROM {table}")
    added = ADDED_TO[table]
    before, after = sent.period
    expected = [row | {"tenant_id": sent.tenant} for row in expected]
    for row in found:
        assert before <= row["ingested_at"] <= after
        assert row["ingest_seq"] > 0
        assert set(row) - added == set(expected[0]), "columns of the table"
    kept = [{name: value for name, value in row.items() if name not in added} for row in found]
    assert_equal_rows(in_order(kept), in_order(expected))


def assert_equal_rows(found, expected):
    for one, other in zip(found, expected):
        differing = {name: (one[name], other[name]) for name in other if differs(one[name], other[name])}
        assert not differing, f"column: (found, expected): {differing}"
    assert len(found) == len(expected)


def differs(one, other):
    # By the text, so that 1, 1.0 and true are not the same.
    return json.dumps(one) != json.dumps(other)


def in_order(found):
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


def any_value(message):
    """The value that `canonical` writes."""
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(message, kind)
    if kind == "array_value":
        return [any_value(item) for item in value.values]
    if kind == "kvlist_value":
        return {entry.key: any_value(entry.value) for entry in value.values}
    return value


def attributes(messages):
    return canonical.attributes({entry.key: any_value(entry.value) for entry in messages})


def optional(message, name):
    return getattr(message, name) if message.HasField(name) else None


def common(resource, scope, record, timestamp, source="record"):
    """The columns of all tables; `resource` and `scope` are ResourceSpans and ScopeSpans or the like."""
    has_resource, has_scope = resource.HasField("resource"), scope.HasField("scope")
    named = {entry.key: any_value(entry.value) for entry in resource.resource.attributes}
    return {
        "timestamp": timestamp,
        "timestamp_source": source,
        "service_name": named.get("service.name"),
        "attributes": attributes(record.attributes),
        "dropped_attributes_count": getattr(record, "dropped_attributes_count", None),
        "flags": record.flags,
        "resource_attributes": attributes(resource.resource.attributes) if has_resource else None,
        "resource_dropped_attributes_count": resource.resource.dropped_attributes_count if has_resource else None,
        "resource_entity_refs": None,
        "resource_schema_url": resource.schema_url,
        "scope_name": scope.scope.name if has_scope else None,
        "scope_version": scope.scope.version if has_scope else None,
        "scope_attributes": attributes(scope.scope.attributes) if has_scope else None,
        "scope_dropped_attributes_count": scope.scope.dropped_attributes_count if has_scope else None,
        "scope_schema_url": scope.schema_url,
    }


def hex_id(data):
    return data.hex() or None


def enum_name(enum, prefix, number):
    return enum.Name(number).removeprefix(prefix).lower()


def span_rows(message):
    """Of an ExportTraceServiceRequest or TracesData."""
    return [
        span_row(resource, scope, span)
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def span_row(resource, scope, span):
    has_status = span.HasField("status")
    return common(resource, scope, span, span.start_time_unix_nano) | {
        "name": span.name,
        "kind": enum_name(Span.SpanKind, "SPAN_KIND_", span.kind),
        "status_code": enum_name(Status.StatusCode, "STATUS_CODE_", span.status.code) if has_status else None,
        "status_message": span.status.message if has_status else None,
        "duration_ns": span.end_time_unix_nano - span.start_time_unix_nano,
        "trace_id": hex_id(span.trace_id),
        "span_id": hex_id(span.span_id),
        "parent_span_id": hex_id(span.parent_span_id),
        "end_timestamp": span.end_time_unix_nano,
        "trace_state": span.trace_state,
        "events": [
            {
                "timestamp": event.time_unix_nano,
                "name": event.name,
                "attributes": attributes(event.attributes),
                "dropped_attributes_count": event.dropped_attributes_count,
            }
            for event in span.events
        ],
        "links": [
            {
                "trace_id": hex_id(link.trace_id),
                "span_id": hex_id(link.span_id),
                "trace_state": link.trace_state,
                "attributes": attributes(link.attributes),
                "dropped_attributes_count": link.dropped_attributes_count,
                "flags": link.flags,
            }
            for link in span.links
        ],
        "dropped_events_count": span.dropped_events_count,
        "dropped_links_count": span.dropped_links_count,
    }


def log_rows(message):
    """Of an ExportLogsServiceRequest or LogsData."""
    return [
        log_row(resource, scope, record)
        for resource in message.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def log_row(resource, scope, record):
    time_ns, source = record.time_unix_nano, "record"
    if not time_ns:
        time_ns, source = record.observed_time_unix_nano, "observed"
    body = any_value(record.body)
    kind = (record.body.WhichOneof("value") or "empty").removesuffix("_value").replace("kvlist", "map")
    return common(resource, scope, record, time_ns, source) | {
        "severity_number": record.severity_number,
        "severity_text": record.severity_text,
        "body": body if body is None or isinstance(body, str) else canonical.text(body),
        "body_type": kind if record.HasField("body") else None,
        "event_name": record.event_name,
        "trace_id": hex_id(record.trace_id),
        "span_id": hex_id(record.span_id),
        "observed_timestamp": record.observed_time_unix_nano or None,
    }


def point_rows(message):
    """Of an ExportMetricsServiceRequest or MetricsData."""
    return [
        point_row(resource, scope, metric, point)
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


NOT_OF_EVERY_TYPE = (
    "value value_int temporality is_monotonic count sum min max bucket_counts explicit_bounds scale zero_count "
    "zero_threshold positive_offset positive_bucket_counts negative_offset negative_bucket_counts quantiles exemplars"
).split()


def point_row(resource, scope, metric, point):
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    row = common(resource, scope, point, point.time_unix_nano) | dict.fromkeys(NOT_OF_EVERY_TYPE)
    row |= {
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
        "type": kind,
        "metadata": attributes(metric.metadata) if metric.metadata else None,
        "start_timestamp": point.start_time_unix_nano or None,
    }
    if kind not in ("gauge", "summary"):
        temporality = data.aggregation_temporality
        row["temporality"] = enum_name(AggregationTemporality, "AGGREGATION_TEMPORALITY_", temporality)
    if kind == "sum":
        row["is_monotonic"] = data.is_monotonic
    if kind in ("gauge", "sum"):
        row |= number(point)
    if kind in ("histogram", "exponential_histogram"):
        row |= {name: optional(point, name) for name in ("sum", "min", "max")} | {"count": point.count}
    if kind == "histogram":
        row |= {"bucket_counts": list(point.bucket_counts), "explicit_bounds": list(point.explicit_bounds)}
    if kind == "exponential_histogram":
        row |= {name: getattr(point, name) for name in ("scale", "zero_count", "zero_threshold")}
        for sign in ("positive", "negative"):
            if point.HasField(sign):
                buckets = getattr(point, sign)
                row |= {f"{sign}_offset": buckets.offset, f"{sign}_bucket_counts": list(buckets.bucket_counts)}
    if kind == "summary":
        quantiles = [{"quantile": entry.quantile, "value": entry.value} for entry in point.quantile_values]
        return row | {"count": point.count, "sum": point.sum, "quantiles": quantiles}
    return row | {"exemplars": [exemplar_row(exemplar) for exemplar in point.exemplars] or None}


def exemplar_row(exemplar):
    return {
        "timestamp": exemplar.time_unix_nano,
        **number(exemplar),
        "trace_id": hex_id(exemplar.trace_id),
        "span_id": hex_id(exemplar.span_id),
        "attributes": attributes(exemplar.filtered_attributes),
    }


def number(message):
    """Of a NumberDataPoint or Exemplar."""
    kind = message.WhichOneof("value")
    if kind is None:
        return {"value": None, "value_int": None}
    value = getattr(message, kind)
    return {"value": float(value), "value_int": value if kind == "as_int" else None}
