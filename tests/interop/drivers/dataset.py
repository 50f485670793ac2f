"""The rows that the drivers read: a few of each kind, with every column filled in some row."""

import content
import stored
from drivers import values
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
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
from otlp import attribute_list

# The points of this gauge count from 0.
NUMBERS = "numbers"
NUMBER_OF_POINTS = 10


def metrics():
    delta = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    made = [
        Metric(name=NUMBERS, unit="1", gauge=Gauge(data_points=[point(i, as_int=i) for i in range(NUMBER_OF_POINTS)])),
        Metric(name="level", description="ünit", gauge=Gauge(data_points=[point(20, as_double=-40.125)])),
        Metric(
            name="paid",
            sum=Sum(data_points=[point(21, as_int=2**53 + 1)], aggregation_temporality=delta, is_monotonic=True),
            metadata=attribute_list({"prometheus.type": "counter"}),
        ),
        Metric(name="took", unit="s", histogram=Histogram(data_points=[histogram(22)], aggregation_temporality=delta)),
        Metric(
            name="spread",
            exponential_histogram=ExponentialHistogram(data_points=[spread(23)], aggregation_temporality=delta),
        ),
        Metric(name="quantiles", summary=Summary(data_points=[summary(24)])),
    ]
    scope = ScopeMetrics(scope=content.scope(), metrics=made, schema_url=content.SCOPE_SCHEMA_URL)
    resource = ResourceMetrics(
        resource=content.resource(), scope_metrics=[scope], schema_url=content.RESOURCE_SCHEMA_URL
    )
    return ExportMetricsServiceRequest(resource_metrics=[resource])


def when(number):
    start = content.START_NS
    attributes = attribute_list({"http.route": f"/{number % 2}"})
    return {"time_unix_nano": start + number, "start_time_unix_nano": start - 1000, "attributes": attributes}


def exemplars(number):
    return [
        Exemplar(
            time_unix_nano=content.START_NS + number,
            as_double=0.5,
            trace_id=content.REMOTE["trace_id"],
            span_id=content.REMOTE["span_id"],
            filtered_attributes=attribute_list({"user": "ü"}),
        ),
        Exemplar(time_unix_nano=content.START_NS + number + 1, as_int=2**53 + 1),
    ]


def point(number, **value):
    return NumberDataPoint(**when(number), **value)


def histogram(number):
    return HistogramDataPoint(
        **when(number),
        count=6,
        sum=5.25,
        min=0.25,
        max=2.5,
        bucket_counts=[1, 2, 3],
        explicit_bounds=[0.5, 1.0],
        exemplars=exemplars(number),
    )


def spread(number):
    buckets = ExponentialHistogramDataPoint.Buckets
    return ExponentialHistogramDataPoint(
        **when(number),
        count=8,
        sum=1.5,
        min=-2.0,
        max=4.0,
        scale=-1,
        zero_count=2,
        zero_threshold=0.125,
        positive=buckets(offset=-3, bucket_counts=[1, 0, 2]),
        negative=buckets(offset=1, bucket_counts=[3]),
    )


def summary(number):
    pairs = [SummaryDataPoint.ValueAtQuantile(quantile=q, value=v) for q, v in ((0.5, 1.25), (0.99, 7.0))]
    return SummaryDataPoint(**when(number), count=4, sum=9.5, quantile_values=pairs)


def logs():
    request = ExportLogsServiceRequest(resource_logs=content.logs().resource_logs)
    for record in request.resource_logs[0].scope_logs[0].log_records:
        record.trace_id = content.REMOTE["trace_id"] if record.span_id else b""
    return request


def traces():
    """The ids of spans are the keys of `content`, in one trace."""
    request = ExportTraceServiceRequest(resource_spans=content.traces().resource_spans)
    for span in request.resource_spans[0].scope_spans[0].spans:
        for owner in [span, *span.links]:
            owner.trace_id = content.REMOTE["trace_id"]
    return request


REQUESTS = {"metrics": metrics(), "logs": logs(), "traces": traces()}
ROWS = {
    "metrics": stored.point_rows(REQUESTS["metrics"]),
    "logs": stored.log_rows(REQUESTS["logs"]),
    "traces": stored.span_rows(REQUESTS["traces"]),
}

# Times are whole nanoseconds in `stored`; they are columns, and fields of lists.
TIMES = {"timestamp", "start_timestamp", "end_timestamp", "observed_timestamp"}


def tagged(row):
    """A row of `stored` as a driver gives it."""
    return {name: tagged_value(name, value) for name, value in row.items()}


def tagged_value(name, value):
    if isinstance(value, list):
        return [tagged(item) if isinstance(item, dict) else item for item in value]
    return values.timestamp(value) if name in TIMES and value is not None else value
