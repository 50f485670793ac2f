"""Values as every driver gives them: JSON, with a tag where JSON has no type. README.md has the list.

A driver in another language writes the tagged form itself; here are the makers of expected values, the readers of Arrow
and of Python objects, and the comparison.
"""

import datetime
import decimal
import math
import uuid

import pyarrow as pa

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = datetime.date(1970, 1, 1)


def binary(data):
    return {"$bytes": data.hex()}


def decimal_number(text):
    return {"$decimal": text}


def timestamp(ns):
    """Nanoseconds since 1970, as text: `2026-01-02T03:04:05.000000006`, without zeros at the end."""
    seconds, fraction = divmod(ns, 10**9)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return {"$timestamp": moment.isoformat(timespec="seconds") + fraction_text(fraction)}


def date(days):
    return {"$date": (EPOCH + datetime.timedelta(days=days)).isoformat()}


def time(ns):
    """Nanoseconds since midnight."""
    seconds, fraction = divmod(ns, 10**9)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return {"$time": moment.time().isoformat(timespec="seconds") + fraction_text(fraction)}


def duration(ns):
    return {"$duration": ns}


def interval(months, days, ns):
    return {"$interval": [months, days, ns]}


def fraction_text(ns):
    return f".{ns:09}".rstrip("0") if ns else ""


def of_table(table):
    """What `query` gives, of an Arrow table."""
    return result(table.column_names, [of_arrow(column) for column in table.columns])


def result(names, columns):
    return {"columns": list(names), "rows": [list(row) for row in zip(*columns, strict=True)]}


def of_arrow(array):
    """The values of an Arrow array."""
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in of_arrow(chunk)]
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return of_arrow(array.storage)
    if pa.types.is_dictionary(kind):
        return of_arrow(array.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return [of_scalar(scalar.value) for scalar in array]
    return [of_scalar(scalar) for scalar in array]


def of_scalar(scalar):
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_dictionary(kind) or pa.types.is_union(kind):
        return of_scalar(scalar.value)
    if pa.types.is_timestamp(kind):
        return timestamp(scalar.value * 10**9 // PER_SECOND[kind.unit])
    if pa.types.is_time(kind):
        return time(scalar.value * 10**9 // PER_SECOND[kind.unit])
    if pa.types.is_duration(kind):
        return duration(scalar.value * 10**9 // PER_SECOND[kind.unit])
    if pa.types.is_date(kind):
        return date((scalar.as_py() - EPOCH).days)
    if pa.types.is_map(kind):
        return {pair["key"].as_py(): of_scalar(pair["value"]) for pair in scalar.values}
    if pa.types.is_struct(kind):
        return {name: of_scalar(item) for name, item in scalar.items()}
    if pa.types.is_nested(kind):
        return of_arrow(scalar.values)
    return of_python(scalar.as_py())


def of_python(value):
    """An object as a DB-API, Polars or pandas gives it."""
    if isinstance(value, pa.MonthDayNano):
        return interval(*value)
    if isinstance(value, (list, tuple)):
        return [of_python(item) for item in value]
    if isinstance(value, dict):
        return {name: of_python(item) for name, item in value.items()}
    for kind, make in BY_CLASS:
        if isinstance(value, kind):
            return make(value)
    assert value is None or isinstance(value, (bool, int, float, str)), type(value)
    return value


def of_datetime(value):
    """Also of pandas' subclass, which has nanoseconds and a moment that is none."""
    if value != value:
        return None
    naive = value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo else value
    microseconds = (naive - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
    return timestamp(microseconds * 1000 + getattr(value, "nanosecond", 0))


def of_time(value):
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return time(seconds * 10**9 + value.microsecond * 1000)


def of_timedelta(value):
    return duration(value // datetime.timedelta(microseconds=1) * 1000 + getattr(value, "nanoseconds", 0))


# A datetime is a date too, so it comes first.
BY_CLASS = [
    (bytes, binary),
    (uuid.UUID, lambda value: binary(value.bytes)),
    (decimal.Decimal, lambda value: decimal_number(format(value, "f"))),
    (datetime.datetime, of_datetime),
    (datetime.date, lambda value: date((value - EPOCH).days)),
    (datetime.time, of_time),
    (datetime.timedelta, of_timedelta),
]


def to_python(value):
    """The object that stands for a tagged value as a parameter of a DB-API."""
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    return {
        "$bytes": bytes.fromhex,
        "$decimal": decimal.Decimal,
        "$timestamp": datetime.datetime.fromisoformat,
        "$date": datetime.date.fromisoformat,
        "$time": datetime.time.fromisoformat,
    }[tag](content)


def decoded(value):
    """A value from the JSON of another process: its large integers and its NaN are plain then."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"$int"}:
            return int(value["$int"])
        if value.keys() == {"$double"}:
            return float(value["$double"])
        return {name: decoded(item) for name, item in value.items()}
    return value


def equal(expected, found):
    """Whether a driver gave the value, in a type that can hold it.

    A decimal without a fraction stands for an integer, an interval without days for a duration, and the nanoseconds
    since 1970 for a time inside of a list. A field of a struct that is missing is null.
    """
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(equal, expected, found))
    if isinstance(expected, dict) and "$timestamp" in expected and isinstance(found, int):
        return timestamp(found) == expected
    if isinstance(expected, dict) and isinstance(found, dict) and "$decimal" in expected.keys() & found.keys():
        return decimal.Decimal(found["$decimal"]) == decimal.Decimal(expected["$decimal"])
    if isinstance(expected, dict) and "$duration" in expected and isinstance(found, dict) and "$interval" in found:
        return found == interval(0, 0, expected["$duration"])
    if isinstance(expected, dict):
        is_part = isinstance(found, dict) and found.keys() <= expected.keys()
        return is_part and all(equal(expected[name], found.get(name)) for name in expected)
    if isinstance(expected, (bool, str)) or expected is None:
        return type(found) is type(expected) and found == expected
    if isinstance(found, dict) and isinstance(expected, int):
        return decimal.Decimal(found.get("$decimal", "NaN")) == expected
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return False
    return found == expected or (math.isnan(expected) and math.isnan(found))
