"""How the applications of tests/interop/exporters are started, and in what the exporters of a language differ.

`sayable` leaves out of a message what the API of the language does not take; `sent` makes of it what is sent.
"""

import math
import os
from pathlib import Path

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

# Where tools/exporters builds what is not Python; tools/interop sets this.
BUILT = Path(os.environ["ALULA_INTEROP_DIR"])


class Go:
    protocols = ("grpc", "http/protobuf")
    command = (BUILT / "go" / "sdk",)
    makes_exemplars = True
    # Signals whose scopes can have attributes.
    scope_attributes = {"metrics", "logs", "traces"}
    sends_trace_state_of_links = False
    # What is sent as the sum of a histogram that has negative values, for which the SDK keeps none.
    no_sum = 0.0

    @staticmethod
    def sayable(message, protocol):
        return message

    @staticmethod
    def sent(message, protocol):
        return message


class JavaScript:
    protocols = ("grpc", "http/protobuf", "http/json")
    command = ("node", BUILT / "js" / "main.js")
    makes_exemplars = False
    # The API takes no attributes of tracers and meters.
    scope_attributes = {"logs"}
    sends_trace_state_of_links = True
    no_sum = None

    @staticmethod
    def sayable(message, protocol):
        """A number is a double; only attributes of log records are bytes, maps or nothing."""

        def change(owner, value):
            simple = value.WhichOneof("value") not in (None, "bytes_value", "kvlist_value")
            return value if all(map(is_safe, leaves(value))) and (simple or isinstance(owner, LogRecord)) else None

        def is_safe(value):
            return abs(value.int_value) < 2**53

        return rewritten(message, change)

    @staticmethod
    def sent(message, protocol):
        """A whole number is sent as an integer, and the JSON of NaN and the infinities is null."""

        def change(_, value):
            return each_leaf(value, as_json if protocol == "http/json" else as_protobuf)

        def as_protobuf(value):
            number = value.double_value
            is_integer = value.HasField("double_value") and number.is_integer() and -(2**63) <= number < 2**63
            return AnyValue(int_value=int(number)) if is_integer else value

        def as_json(value):
            return as_protobuf(value) if math.isfinite(value.double_value) else AnyValue()

        return rewritten(message, change)


LANGUAGES = {"go": Go, "javascript": JavaScript}


def rewritten(message, change):
    """A copy in which `change(owner, value)` took the place of every attribute's value and of bodies; None drops it."""
    copy = type(message)()
    copy.CopyFrom(message)
    rewrite(copy, change)
    return copy


def rewrite(message, change):
    for field, content in message.ListFields():
        if field.message_type is KeyValue.DESCRIPTOR:
            changed = [(entry.key, change(message, entry.value)) for entry in content]
            del content[:]
            content.extend(KeyValue(key=key, value=value) for key, value in changed if value is not None)
        elif field.message_type is AnyValue.DESCRIPTOR:
            content.CopyFrom(change(message, content) or AnyValue(string_value="not sayable"))
        elif field.message_type is not None:
            for item in content if field.is_repeated else [content]:
                rewrite(item, change)


def leaves(value):
    found = []
    each_leaf(value, lambda leaf: found.append(leaf) or leaf)
    return found


def each_leaf(value, change):
    """The same value with `change` made of what is neither array nor map."""
    if value.HasField("array_value"):
        return AnyValue(array_value=ArrayValue(values=[each_leaf(item, change) for item in value.array_value.values]))
    if value.HasField("kvlist_value"):
        entries = [(entry.key, each_leaf(entry.value, change)) for entry in value.kvlist_value.values]
        return AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=key, value=item) for key, item in entries]))
    return change(value)
