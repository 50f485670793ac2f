"""What the exporters send of content.py: the same messages with the ids and times that the SDK chose, and the data
points that follow from the measurements by arithmetic of our own.
"""

import base64
import math
from bisect import bisect_left
from collections import defaultdict

import content
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags
from otlp import attribute_list

IS_REMOTE_KNOWN = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
IS_REMOTE = SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
SAMPLED = 1

EXPONENTIAL_MAX_SCALE = 20
EXPONENTIAL_MAX_BUCKETS = 160


class Ids:
    """The contexts of spans, by the keys of the content."""

    def __init__(self, report):
        self.by_key = {base64.b64decode(key): ids for key, ids in report["spans"].items()}

    def trace_id(self, key):
        return bytes.fromhex(self.by_key[key]["traceId"]) if key in self.by_key else content.REMOTE["trace_id"]

    def span_id(self, key):
        return bytes.fromhex(self.by_key[key]["spanId"]) if key in self.by_key else key

    @staticmethod
    def trace_state(key):
        """The state is handed down from the caller; two spans are in traces of their own."""
        return "" if key in (content.PRODUCER, content.CONSUMER) else content.REMOTE["trace_state"]

    @staticmethod
    def flags(key):
        return SAMPLED | IS_REMOTE_KNOWN | (IS_REMOTE if key == content.REMOTE["span_id"] else 0)


def traces(language, protocol, report):
    ids = Ids(report)
    message = language.sent(language.sayable(content.traces(), protocol), protocol)
    (scope_spans,) = message.resource_spans[0].scope_spans
    trim_scope(scope_spans.scope, language, "traces")
    for span in scope_spans.spans:
        key = span.span_id
        span.trace_id, span.trace_state = ids.trace_id(key), ids.trace_state(key)
        span.flags = ids.flags(span.parent_span_id)
        span.parent_span_id = ids.span_id(span.parent_span_id)
        span.span_id = ids.span_id(key)
        span.status.SetInParent()
        for link in span.links:
            key = link.span_id
            link.trace_id, link.span_id, link.flags = ids.trace_id(key), ids.span_id(key), ids.flags(key)
            link.trace_state = ids.trace_state(key) if language.sends_trace_state_of_links else ""
    return message


def logs(language, protocol, report):
    ids = Ids(report)
    message = language.sent(language.sayable(content.logs(), protocol), protocol)
    (scope_logs,) = message.resource_logs[0].scope_logs
    trim_scope(scope_logs.scope, language, "logs")
    for record in scope_logs.log_records:
        if record.span_id:
            record.trace_id, record.flags = ids.trace_id(record.span_id), SAMPLED
            record.span_id = ids.span_id(record.span_id)
    return message


def trim_scope(scope, language, signal):
    if signal not in language.scope_attributes:
        del scope.attributes[:]


def metrics(language, protocol, report):
    """A metric for every point: how an exporter groups them makes no difference to rows."""
    resource_spans = language.sent(language.sayable(content.traces(), protocol), protocol).resource_spans[0]
    (scope_spans,) = resource_spans.scope_spans
    trim_scope(scope_spans.scope, language, "metrics")
    scope = ScopeMetrics(
        scope=scope_spans.scope,
        schema_url=scope_spans.schema_url,
        metrics=[expected_metric(language, protocol, reported, report) for reported in report["points"]],
    )
    resource = ResourceMetrics(
        resource=resource_spans.resource, schema_url=resource_spans.schema_url, scope_metrics=[scope]
    )
    return MetricsData(resource_metrics=[resource])


def reported_cases(report):
    """The cases that were exported, by collection and instrument."""
    cases = defaultdict(list)
    for point in report["points"]:
        cases[point["temporality"], point["round"], point["name"]].append(point["case"])
    return cases


def is_delta(instrument, preference):
    return preference == "delta" and instrument.kind in ("counter", "histogram", "observable_counter")


def values(instrument, case, round_number, is_delta):
    """What a point of the round is about."""

    def of(measured):
        return [value for name, value in measured if name == case]

    if instrument.kind.startswith("observable_"):
        last = of(instrument.rounds[round_number])
        before = of(instrument.rounds[round_number - 1]) if is_delta and round_number else []
        return last + [-value for value in before]
    rounds = instrument.rounds[round_number : round_number + 1] if is_delta else instrument.rounds[: round_number + 1]
    return [value for measured in rounds for value in of(measured)]


def expected_metric(language, protocol, reported, report):
    (instrument,) = (each for each in content.INSTRUMENTS if each.name == reported["name"])
    delta = is_delta(instrument, reported["temporality"])
    measured = values(instrument, reported["case"], reported["round"], delta)
    attributes = Metric(metadata=attribute_list(content.CASES[reported["case"]]))
    shared = {
        "attributes": language.sent(attributes, protocol).metadata,
        "start_time_unix_nano": int(reported["start"]),
        "time_unix_nano": int(reported["time"]),
        "exemplars": [expected_exemplar(instrument, measured, each, report) for each in reported["exemplars"]],
    }
    metric = Metric(name=instrument.name, unit=instrument.unit, description=instrument.description)
    temporality = AGGREGATION_TEMPORALITY_DELTA if delta else AGGREGATION_TEMPORALITY_CUMULATIVE
    if instrument.exponential:
        point = exponential_point(measured, language.no_sum, **shared)
        metric.exponential_histogram.data_points.append(point)
        metric.exponential_histogram.aggregation_temporality = temporality
    elif instrument.kind == "histogram":
        metric.histogram.data_points.append(histogram_point(measured, instrument.boundaries, **shared))
        metric.histogram.aggregation_temporality = temporality
    elif "gauge" in instrument.kind:
        metric.gauge.data_points.append(number_point(instrument, measured[-1], **shared))
    else:
        metric.sum.data_points.append(number_point(instrument, sum(measured), **shared))
        metric.sum.aggregation_temporality = temporality
        metric.sum.is_monotonic = "up_down" not in instrument.kind
    return metric


def number_point(instrument, value, **shared):
    return NumberDataPoint(**number(instrument, value), **shared)


def number(instrument, value):
    return {"as_int": value} if instrument.number is int else {"as_double": value}


def expected_exemplar(instrument, measured, reported, report):
    """Which measurements become exemplars is for the SDK to choose; that they are ones of the point is not."""
    assert reported["value"] in measured
    ids = Ids(report)
    assert reported["spanId"] == ids.span_id(content.SERVER).hex()
    return Exemplar(
        time_unix_nano=int(reported["time"]),
        trace_id=ids.trace_id(content.SERVER),
        span_id=ids.span_id(content.SERVER),
        **number(instrument, reported["value"]),
    )


def histogram_point(measured, boundaries, **shared):
    counts = [0] * (len(boundaries) + 1)
    for value in measured:
        # A bucket has its upper bound in it.
        counts[bisect_left(boundaries, value)] += 1
    return HistogramDataPoint(
        bucket_counts=counts, explicit_bounds=boundaries, sum=sum(measured), **spread(measured), **shared
    )


def spread(measured):
    return {"count": len(measured), "min": min(measured), "max": max(measured)}


def exponential_point(measured, no_sum, **shared):
    point = ExponentialHistogramDataPoint(
        zero_count=measured.count(0),
        sum=no_sum if min(measured) < 0 else sum(measured),
        **spread(measured),
        **shared,
    )
    by_sign = [[sign * value for value in measured if sign * value > 0] for sign in (1, -1)]
    # The finest at which the buckets of each sign are few enough.
    point.scale = EXPONENTIAL_MAX_SCALE
    while any(len(bucket_range(positive, point.scale)) > EXPONENTIAL_MAX_BUCKETS for positive in by_sign):
        point.scale -= 1
    for buckets, positive in zip((point.positive, point.negative), by_sign):
        indices = [bucket_index(value, point.scale) for value in positive]
        buckets.SetInParent()
        buckets.offset = min(indices, default=0)
        buckets.bucket_counts.extend(indices.count(index) for index in bucket_range(positive, point.scale))
    return point


def bucket_range(positive, scale):
    if not positive:
        return range(0)
    return range(bucket_index(min(positive), scale), bucket_index(max(positive), scale) + 1)


def bucket_index(value, scale):
    """Bucket `i` is from (exclusive) `base ** i` to (inclusive) `base ** (i + 1)`; `base` is `2 ** (2 ** -scale)`."""
    return math.ceil(math.log2(value) * 2**scale) - 1
