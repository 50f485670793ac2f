"""Every Arrow type that a statement can give: two values and a null each, and what a client has to make of them.

The server may send another type than the statement has: the one that this client reads right. What counts is the value.
"""

from dataclasses import dataclass, field

from drivers.values import binary, date, decimal_number, duration, interval, time, timestamp

SECOND = 10**9
# 2026-01-02T03:04:05Z.
MOMENT_S = 1_767_323_045
MOMENT = "2026-01-02T03:04:05"
MIDNIGHT_S = 1_767_312_000
DAYS = MIDNIGHT_S // 86_400
CLOCK = (3 * 60 + 4) * 60 + 5


@dataclass(frozen=True)
class ArrowType:
    name: str
    sql: str
    expected: list
    # As text, where that is how the server sends it.
    text: list = field(default=None)
    # The first value as an expression of its own.
    first: str = None


def cast(name, first, second, expected, text=None):
    """Two literals cast to an Arrow type."""
    sql = f"SELECT arrow_cast(v, '{name}') AS c FROM (VALUES ({first}), ({second}), (NULL)) AS t (v)"
    text = None if text is None else [*text, None]
    return ArrowType(name, sql, [*expected, None], text, f"arrow_cast({first}, '{name}')")


def of(name, sql, expected, text=None):
    """A statement of its own, whose first column counts."""
    return ArrowType(name, sql, expected, text)


def after_cast(name, expression, kind, expected):
    """An expression around `v`, which has the type `kind`."""
    sql = f"SELECT {expression} AS c FROM (SELECT arrow_cast(w, '{kind}') AS v FROM (VALUES ('a'), ('ü')) AS t (w))"
    return of(name, sql, expected)


def moments(unit, digits, zone=None):
    """Two times with all digits that the unit has; the zone moves none of them."""
    fraction = "123456789"[:digits]
    ns = int(fraction.ljust(9, "0"))
    literal = f"{MOMENT}.{fraction}" if digits else MOMENT
    expected = [timestamp(MOMENT_S * SECOND + ns), timestamp(0)]
    if zone is None:
        return cast(f"Timestamp({unit})", f"'{literal}'", "'1970-01-01T00:00:00'", expected)
    sql = (
        f"SELECT arrow_cast(arrow_cast(v, 'Timestamp({unit}, \"UTC\")'), 'Timestamp({unit}, \"{zone}\")') AS c "
        f"FROM (VALUES ('{literal}Z'), ('1970-01-01T00:00:00Z'), (NULL)) AS t (v)"
    )
    return of(f"Timestamp({unit}, {zone})", sql, [*expected, None])


def integers(name, low, high):
    return cast(name, str(high), str(low), [high, low])


TYPES = [
    cast("Boolean", "true", "false", [True, False]),
    *(integers(f"Int{bits}", -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)),
    *(integers(f"UInt{bits}", 0, 2**bits - 1) for bits in (8, 16, 32)),
    cast("UInt64", "18446744073709551615", "9223372036854775808", [2**64 - 1, 2**63]),
    cast("Float16", "1.5", "-0.25", [1.5, -0.25]),
    cast("Float32", "1.5", "-0.25", [1.5, -0.25]),
    cast("Float64", "0.1", "1e300", [0.1, 1e300]),
    *(
        cast(f"{name}({precision}, 2)", "1.25", "-2.50", [decimal_number("1.25"), decimal_number("-2.50")])
        for name, precision in (("Decimal32", 7), ("Decimal64", 15), ("Decimal128", 30), ("Decimal256", 38))
    ),
    cast(
        "Decimal256(60, 2)", "1.25", "-2.50", [decimal_number("1.25"), decimal_number("-2.50")], text=["1.25", "-2.50"]
    ),
    cast("Utf8", "'a'", "'naïve 🪶'", ["a", "naïve 🪶"]),
    cast("LargeUtf8", "'a'", "'naïve 🪶'", ["a", "naïve 🪶"]),
    cast("Utf8View", "'a'", "'longer than a view holds itself'", ["a", "longer than a view holds itself"]),
    cast("Binary", "X'00ff'", "X''", [binary(b"\0\xff"), binary(b"")]),
    cast("LargeBinary", "X'00ff'", "X''", [binary(b"\0\xff"), binary(b"")]),
    cast("BinaryView", "X'00ff'", "X''", [binary(b"\0\xff"), binary(b"")]),
    cast("FixedSizeBinary(2)", "X'00ff'", "X'6162'", [binary(b"\0\xff"), binary(b"ab")]),
    cast("Date32", "'2026-01-02'", "'1969-12-31'", [date(DAYS), date(-1)]),
    cast("Date64", "'2026-01-02'", "'1969-12-31'", [date(DAYS), date(-1)]),
    cast("Time32(Second)", "'03:04:05'", "'00:00:00'", [time(CLOCK * SECOND), time(0)]),
    cast("Time32(Millisecond)", "'03:04:05.123'", "'00:00:00'", [time(CLOCK * SECOND + 123 * 10**6), time(0)]),
    cast("Time64(Microsecond)", "'03:04:05.123456'", "'00:00:00'", [time(CLOCK * SECOND + 123456000), time(0)]),
    cast("Time64(Nanosecond)", "'03:04:05.123456'", "'00:00:00'", [time(CLOCK * SECOND + 123456000), time(0)]),
    moments("Second", 0),
    moments("Millisecond", 3),
    moments("Microsecond", 6),
    moments("Nanosecond", 9),
    moments("Second", 0, "UTC"),
    moments("Millisecond", 3, "UTC"),
    moments("Microsecond", 6, "UTC"),
    moments("Nanosecond", 9, "UTC"),
    moments("Nanosecond", 9, "+00:00"),
    moments("Nanosecond", 9, "+02:00"),
    *(
        cast(f"Duration({unit})", "7", "-1", [duration(7 * ns), duration(-ns)])
        for unit, ns in (("Second", SECOND), ("Millisecond", 10**6), ("Microsecond", 10**3), ("Nanosecond", 1))
    ),
    cast(
        "Interval(MonthDayNano)",
        "INTERVAL '1 month 2 days 3 seconds'",
        "INTERVAL '1 second'",
        [interval(1, 2, 3 * SECOND), interval(0, 0, SECOND)],
        text=["1 mons 2 days 3.000000000 secs", "1.000000000 secs"],
    ),
    of("Null", "SELECT NULL AS c FROM (VALUES (1), (2), (3)) AS t (v)", [None, None, None]),
    cast("Dictionary(Int32, Utf8)", "'a'", "'ü'", ["a", "ü"]),
    cast("Dictionary(Int32, Int64)", "7", "-1", [7, -1]),
    of("List", "SELECT * FROM (VALUES ([1, 2]), ([3]), (NULL)) AS t (c)", [[1, 2], [3], None]),
    of(
        "LargeList",
        "SELECT arrow_cast(v, 'LargeList(Int64)') AS c FROM (VALUES ([1, 2]), ([3]), (NULL)) AS t (v)",
        [[1, 2], [3], None],
    ),
    of(
        "FixedSizeList",
        "SELECT arrow_cast(v, 'FixedSizeList(2, Int64)') AS c FROM (VALUES ([1, 2]), ([3, 4]), (NULL)) AS t (v)",
        [[1, 2], [3, 4], None],
    ),
    of(
        "ListView",
        "SELECT arrow_cast(v, 'ListView(Int64)') AS c FROM (VALUES ([1, 2]), ([3]), (NULL)) AS t (v)",
        [[1, 2], [3], None],
    ),
    of(
        "Struct",
        "SELECT named_struct('a', v, 'b', w) AS c FROM (VALUES (1, 'x'), (2, NULL)) AS t (v, w)",
        [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
    ),
    of("Map", "SELECT map(['k', 'l'], [1, 2]) AS c", [{"k": 1, "l": 2}]),
    of("List of Struct", "SELECT [named_struct('a', 1)] AS c", [[{"a": 1}]]),
    of("List of Map", "SELECT [map(['k'], ['v'])] AS c", [[{"k": "v"}]]),
    after_cast("Dictionary in Struct", "named_struct('d', v)", "Dictionary(Int32, Utf8)", [{"d": "a"}, {"d": "ü"}]),
    after_cast("Dictionary in List", "make_array(v, v)", "Dictionary(Int32, Utf8)", [["a", "a"], ["ü", "ü"]]),
    of(
        "Union",
        """SELECT v->'k' AS c FROM (VALUES ('{"k": 7}'), ('{"k": "x"}'), ('{"k": [1]}'), ('{}')) AS t (v)""",
        [7, "x", "[1]", None],
        text=["7", '"x"', "[1]", None],
    ),
]

# The types that a table of one's own can have columns of: what a Parquet file has a type for.
COLUMNS = [each for each in TYPES if each.first is not None and not each.name.startswith(("Float16", "Interval"))]
