"""Canonical JSON text of attributes, written down a second time from docs/formats.md."""

import base64
import json
import math
from collections.abc import Mapping, Sequence

MARKERS = ("$bytes", "$double", "$map")


def attributes(given):
    """The text of an attribute set. None is an empty set, as it is to the SDK."""
    return json_object(given or {})


def text(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return double(value)
    if isinstance(value, bytes):
        return json_object({"$bytes": base64.b64encode(value).decode()})
    if isinstance(value, Sequence):
        return "[" + ",".join(map(text, value)) + "]"
    assert isinstance(value, Mapping), value
    plain = json_object(value)
    return f'{{"$map":{plain}}}' if len(value) == 1 and next(iter(value)) in MARKERS else plain


def double(value):
    if math.isnan(value):
        return '{"$double":"NaN"}'
    if math.isinf(value):
        return '{"$double":"Infinity"}' if value > 0 else '{"$double":"-Infinity"}'
    # Shortest digits are Python's too; it writes the exponent with a sign.
    return repr(value).replace("e+", "e")


def json_object(value):
    entries = sorted(value.items(), key=lambda entry: entry[0].encode())
    return "{" + ",".join(f"{text(key)}:{text(item)}" for key, item in entries) + "}"
