"""OTLP over gRPC without an SDK: requests are made field by field, and each answer is seen."""

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

SIGNALS = ("metrics", "logs", "traces")

# The trailer in which the server says when to send again what it refused.
RETRY_INFO = "google.rpc.retryinfo-bin"


class Client:
    """The three export services on one connection."""

    def __init__(self, address, token):
        # Without a subchannel of its own gRPC shares connections, and their state, between channels of a process.
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.stubs = {
            "metrics": MetricsServiceStub(self.channel),
            "logs": LogsServiceStub(self.channel),
            "traces": TraceServiceStub(self.channel),
        }
        self.metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def export(self, signal, request, timeout_s=30):
        """Returns when the request is acknowledged in full; raises `grpc.RpcError` if it is not."""
        answer = self.call(signal, request, timeout_s)
        # A full success leaves the field unset.
        assert not answer.HasField("partial_success"), answer

    def call(self, signal, request, timeout_s=30):
        return self.stubs[signal].Export(request, timeout=timeout_s, metadata=self.metadata)


def is_refusal(error):
    """Whether the server itself has answered, and asks to send again later."""
    return any(key == RETRY_INFO for key, _ in error.trailing_metadata() or ())


def attributes(**given):
    return attribute_list(given)


def attribute_list(given):
    return [KeyValue(key=key, value=any_value(value)) for key, value in given.items()]


def any_value(value):
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=attribute_list(value)))
    if value is None:
        return AnyValue()
    assert isinstance(value, str), value
    return AnyValue(string_value=value)


def resource(service):
    return Resource(attributes=attribute_list({"service.name": service}))


SCOPE = InstrumentationScope(name="interop", version="1.0")


def metrics_request(service, name, points):
    """Points of one gauge; each is a `NumberDataPoint`."""
    metric = Metric(name=name, unit="1", gauge=Gauge(data_points=points))
    scope = ScopeMetrics(scope=SCOPE, metrics=[metric])
    resource_metrics = ResourceMetrics(resource=resource(service), scope_metrics=[scope])
    return ExportMetricsServiceRequest(resource_metrics=[resource_metrics])


def logs_request(service, records):
    scope = ScopeLogs(scope=SCOPE, log_records=records)
    return ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=resource(service), scope_logs=[scope])])


def traces_request(service, spans):
    scope = ScopeSpans(scope=SCOPE, spans=spans)
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource(service), scope_spans=[scope])])


__all__ = [
    "SIGNALS",
    "Client",
    "LogRecord",
    "NumberDataPoint",
    "Span",
    "any_value",
    "attribute_list",
    "attributes",
    "is_refusal",
    "logs_request",
    "metrics_request",
    "traces_request",
]
