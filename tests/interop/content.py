"""What the applications of tests/interop/exporters send, as the OTLP messages that say it.

An application gets it as JSON (see exporters/README.md) and carries it out through the API of its language's SDK. Ids
are keys here: the SDK makes the real ones.
"""

from dataclasses import dataclass, field

from google.protobuf import json_format
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData
from otlp import any_value, attribute_list
from sdk_app import EVERY_TYPE

# 2026-03-04T05:06:07.000000001Z: its last digits tell whether a time went through a double.
START_NS = 1_772_600_767_000_000_001
RESOURCE = {"service.name": "shop", "service.version": "1.4.2", **EVERY_TYPE}
RESOURCE_SCHEMA_URL = "https://opentelemetry.io/schemas/1.30.0"
SCOPE_ATTRIBUTES = {"library.kind": "interop", "library.level": 7}
SCOPE_SCHEMA_URL = "https://opentelemetry.io/schemas/1.29.0"

# Where the trace of the application comes from. The ids of the other spans are only keys.
REMOTE = {
    "trace_id": bytes.fromhex("0123456789abcdef0123456789abcdef"),
    "span_id": bytes.fromhex("00000000deadbeef"),
    "trace_state": "vendor=a:1,other=b",
}
SERVER, CLIENT, INNER, PRODUCER, CONSUMER = (bytes([0] * 7 + [number]) for number in range(1, 6))


def resource():
    return Resource(attributes=attribute_list(RESOURCE))


def scope():
    return InstrumentationScope(name="shop.checkout", version="0.9", attributes=attribute_list(SCOPE_ATTRIBUTES))


def traces():
    """Parents before their children."""
    spans = ScopeSpans(scope=scope(), spans=make_spans(), schema_url=SCOPE_SCHEMA_URL)
    made = ResourceSpans(resource=resource(), scope_spans=[spans], schema_url=RESOURCE_SCHEMA_URL)
    return TracesData(resource_spans=[made])


def logs():
    records = ScopeLogs(scope=scope(), log_records=make_logs(), schema_url=SCOPE_SCHEMA_URL)
    made = ResourceLogs(resource=resource(), scope_logs=[records], schema_url=RESOURCE_SCHEMA_URL)
    return LogsData(resource_logs=[made])


def make_spans():
    def span(key, name, kind, start, duration, parent=b"", **more):
        begin = START_NS + start
        times = {"start_time_unix_nano": begin, "end_time_unix_nano": begin + duration}
        return Span(span_id=key, name=name, kind=kind, parent_span_id=parent, **times, **more)

    def event(name, after, **attributes):
        return Span.Event(name=name, time_unix_nano=START_NS + after, attributes=attribute_list(attributes))

    def link(key, **attributes):
        return Span.Link(span_id=key, attributes=attribute_list(attributes))

    return [
        span(
            SERVER,
            "POST /checkout 🪶",
            Span.SPAN_KIND_SERVER,
            0,
            987_654_321,
            REMOTE["span_id"],
            attributes=attribute_list(EVERY_TYPE),
            links=[link(REMOTE["span_id"], **EVERY_TYPE), link(REMOTE["span_id"])],
            status=Status(code=Status.STATUS_CODE_OK),
        ),
        span(
            CLIENT,
            "charge card",
            Span.SPAN_KIND_CLIENT,
            1_000,
            2_000_000,
            SERVER,
            attributes=attribute_list({"http.route": "/charge"}),
            events=[
                event("retry", 1_500, attempt=1, reasons=["timeout", "reset"]),
                event("retry", 1_501),
                event("every type", 1_502, **EVERY_TYPE),
            ],
            status=Status(code=Status.STATUS_CODE_ERROR, message="card declined: ünlucky"),
        ),
        span(INNER, "encode", Span.SPAN_KIND_INTERNAL, 2_000, 1, CLIENT),
        span(PRODUCER, "publish", Span.SPAN_KIND_PRODUCER, 3_000, 0),
        span(CONSUMER, "consume", Span.SPAN_KIND_CONSUMER, 4_000, 5_000, links=[link(PRODUCER, weight=0.5)]),
    ]


def make_logs():
    def record(number, body, **more):
        time_ns = START_NS + 10_000 + number
        times = {"time_unix_nano": time_ns, "observed_time_unix_nano": time_ns + 7}
        return LogRecord(body=any_value(body), **times, **more)

    bodies = ["a text with ünicode 🪶", "", True, 42, 2**53 + 1, -0.25, b"\x00\x01\xfe"]
    bodies += [["a", 1, 2.5], {"order": {"id": 7, "paid": True, "lines": [{"sku": "x"}]}}]
    severities = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
    return [
        *(record(number, body) for number, body in enumerate(bodies)),
        *(
            record(100 + number, "severity", severity_number=number, severity_text=severities[(number - 1) // 4])
            for number in range(1, 25)
        ),
        record(200, "in a span", span_id=CLIENT, attributes=attribute_list(EVERY_TYPE), severity_number=9),
        record(201, "an event", event_name="order.placed", attributes=attribute_list({"order.id": 7})),
    ]


@dataclass
class Instrument:
    """What an application measures: per round `(case, value)`; a case is one set of attributes."""

    name: str
    kind: str
    number: type
    rounds: tuple = ()
    unit: str = ""
    description: str = ""
    boundaries: list = field(default_factory=list)
    exponential: bool = False


# Cases by name. Each has an attribute that says which one it is.
CASES = {
    "a": {"case": "a", "http.route": "/checkout", "retries": 3},
    "b": {"case": "b", "ratio": 0.5, "ok": True, "tags": ["x", "y"]},
}
# Measurements of these are made in a span that is sampled, so that an SDK that knows exemplars makes some.
SAMPLED = ("requests", "duration")

INSTRUMENTS = [
    Instrument(
        "requests", "counter", int, ([("a", 2**52), ("b", 5)], [("a", 3)]), "{request}", "Requests answered, naïvely"
    ),
    Instrument("paid", "counter", float, ([("a", 19.5), ("a", 0.25)], [("b", 1.0)]), "EUR"),
    Instrument("waiting", "up_down_counter", int, ([("a", 5), ("a", -7)], [("a", -7)]), description="In the queue"),
    Instrument("balance", "up_down_counter", float, ([("a", 0.5)], [("a", -2.75)])),
    Instrument("temperature", "gauge", float, ([("a", -40.125), ("b", 21.0)], [("a", -39.5)]), "Cel"),
    Instrument("level", "gauge", int, ([("a", -3)], [("a", 2**52 + 1)])),
    Instrument(
        "duration",
        "histogram",
        float,
        ([("a", 0.00390625), ("a", 0.5), ("a", 0.375), ("a", 100.0)], [("a", 0.75), ("b", 5.0)]),
        "s",
        "How long it took",
        boundaries=[0.005, 0.05, 0.5, 5.0],
    ),
    Instrument("size", "histogram", int, ([("a", 0), ("a", 11), ("a", 4096)], [("a", 10)]), boundaries=[0, 10, 100]),
    Instrument(
        "spread",
        "histogram",
        float,
        ([("a", value) for value in (0.0, 0.0009765625, 3.5, 4.0, 1000.0)], [("a", 0.25), ("b", 1.0)]),
        exponential=True,
    ),
    # A histogram takes no negative values, so that only this one has negative buckets.
    Instrument(
        "signed",
        "up_down_counter",
        float,
        ([("a", value) for value in (0.0, -4.25, -0.0009765625, 250.0)], [("a", -4.25)]),
        exponential=True,
    ),
    Instrument("cpu.time", "observable_counter", float, ([("a", 1.5), ("b", 2.0)], [("a", 1.75), ("b", 4.5)]), "s"),
    Instrument("threads", "observable_up_down_counter", int, ([("a", -3)], [("a", 12)])),
    Instrument("load", "observable_gauge", float, ([("a", 0.75)], [("a", 0.125)])),
]


def as_json(language, protocol):
    """What an application reads: see exporters/README.md."""
    return {
        "remote": {name: value if isinstance(value, str) else value.hex() for name, value in REMOTE.items()},
        "traces": as_dict(language.sayable(traces(), protocol)),
        "logs": as_dict(language.sayable(logs(), protocol)),
        "instruments": [instrument_json(instrument) for instrument in INSTRUMENTS],
    }


def instrument_json(instrument):
    def measurement(case, value):
        return {"value": value, "attributes": [as_dict(attribute) for attribute in attribute_list(CASES[case])]}

    return vars(instrument) | {
        "number": instrument.number.__name__,
        "sampled": instrument.name in SAMPLED,
        "rounds": [[measurement(*each) for each in measured] for measured in instrument.rounds],
    }


def as_dict(message):
    return json_format.MessageToDict(message, use_integers_for_enums=True)
