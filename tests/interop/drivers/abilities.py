"""What every driver is asked and what has to come out: the rows of docs/clients.md."""

from collections.abc import Callable
from dataclasses import dataclass, field

from drivers import dataset, values
from drivers.base import RefusedError
from drivers.limits import LIMITS
from drivers.site import TENANT
from drivers.type_matrix import COLUMNS, TYPES

TABLES = ("logs", "metrics", "traces")
VIEWS = ("metric_exemplars", "span_events", "span_links")

# A million million rows: no machine ends it while a test waits.
ENDLESS = "SELECT sum(value % 7) AS s FROM generate_series(1, 1000000000000) AS t (value)"
STATEMENTS_AT_ONCE = 16

# What a check may return: it passes, in this way.
AS_TEXT = "as text"


@dataclass(frozen=True)
class Ability:
    """`check(driver, site)` asks and asserts; what it raises of `base` is told apart by the caller. It may return how.

    A driver that does not offer all that it `needs` is not asked.
    """

    section: str
    name: str
    title: str
    needs: tuple
    check: Callable = field(repr=False)


@dataclass
class Section:
    """Collects the abilities of one part of the table, in the order in which they are written here."""

    title: str
    key: str
    abilities: list = field(default_factory=list)

    def add(self, name, title, needs, check):
        needs = tuple(needs.split())
        self.abilities.append(Ability(self.title, f"{self.key}-{name}", title, needs, check))

    def asks(self, name, title, operation, expected, /, **arguments):
        """One operation whose answer is known."""

        def check(driver, _):
            found = driver.ask(operation, **arguments)
            assert values.equal(expected, found), f"{found!r} instead of {expected!r}"

        self.add(name, title, operation, check)


def refusal_of(act):
    """What the client says of a failure; None if there was none."""
    try:
        act()
    except RefusedError as error:
        return str(error)
    return None


def only_value(answer):
    ((value,),) = answer["rows"]
    return value


# Connecting.

connecting = Section("Connecting", "connect")


def with_token(driver, site):
    assert driver.ask("connect", token=site.token) == 1


def with_password(driver, site):
    assert driver.ask("connect", user="anyone", password=site.token) == 1


def without_credential(driver, _):
    message = refusal_of(lambda: driver.ask("connect"))
    assert message is not None and "credential" in message, message


def with_a_wrong_token(driver, _):
    message = refusal_of(lambda: driver.ask("connect", token="not.a.token"))
    assert message is not None and ("JWT" in message or "token" in message), message


connecting.add("token", "with a token", "connect", with_token)
connecting.add("password", "with user and password", "connect", with_password)
connecting.add("nothing", "without a credential: told so", "connect", without_credential)
connecting.add("wrong", "with a wrong token: told so", "connect", with_a_wrong_token)

# Browsing.

browsing = Section("Browsing", "browse")


def server_info(driver, _):
    name, version = driver.ask("info")
    assert name == "Alula" and version, (name, version)


def tables(driver, _):
    """A client may leave the type out."""
    found = {name: kind for name, kind in driver.ask("tables", schema="public")}
    for name, kind in [(name, "TABLE") for name in TABLES] + [(name, "VIEW") for name in VIEWS]:
        assert found.get(name, "absent") in (kind, None), found


def columns(driver, _):
    expected = set(dataset.ROWS["logs"][0]) | {"tenant_id", "ingested_at", "ingest_seq"}
    found = driver.ask("columns", table="logs")
    assert set(found) == expected and len(found) == len(expected), found


browsing.add("info", "name and version of the server", "info", server_info)
browsing.asks("catalogs", "catalogs", "catalogs", ["alula"])
browsing.asks(
    "schemas",
    "schemas",
    "schemas",
    [["alula", "information_schema"], ["alula", "public"], ["alula", "system"]],
)
browsing.add("tables", "tables and views", "tables", tables)
browsing.asks("types", "types of tables", "table_types", ["SYSTEM TABLE", "TABLE", "VIEW"])
browsing.add("columns", "columns of a table", "columns", columns)
browsing.asks("keys", "primary keys (there are none)", "keys", [], table="logs")

# Reading.

reading = Section("Reading", "read")


def all_rows(table):
    """Every column of every row, against what was sent; of what the server adds, only that it is there."""

    def check(driver, _):
        found = driver.ask("query", sql=f"SELECT * FROM {table} ORDER BY timestamp")
        rows = [dict(zip(found["columns"], row)) for row in found["rows"]]
        expected = sorted(map(dataset.tagged, dataset.ROWS[table]), key=lambda row: row["timestamp"]["$timestamp"])
        for row, wanted in zip(rows, expected, strict=True):
            assert row["tenant_id"] == TENANT and row["ingested_at"] and row["ingest_seq"]
            differing = {
                name: (wanted[name], row[name]) for name in wanted if not values.equal(wanted[name], row[name])
            }
            assert not differing, f"column: (expected, found): {differing}"

    return check


def empty_result(driver, _):
    found = driver.ask("query", sql="SELECT name, value_int FROM metrics WHERE false")
    assert found == {"columns": ["name", "value_int"], "rows": []}, found


def large_result(driver, _):
    """400 rows of 20 kB are more than any client takes in one message."""
    sql = "SELECT value AS n, repeat('x', 20000) AS s FROM generate_series(1, 400) AS t (value)"
    rows = driver.ask("query", sql=sql)["rows"]
    assert sorted(number for number, _ in rows) == list(range(1, 401))
    assert all(text == "x" * 20000 for _, text in rows)


def one_large_value(driver, _):
    value = only_value(driver.ask("query", sql="SELECT repeat('x', 3000000) AS s"))
    assert value == "x" * 3_000_000


def quoted_names(driver, _):
    found = driver.ask("query", sql='SELECT 1 AS "MyCol", 2 AS "ünï", 3 AS "a b"')
    assert found == {"columns": ["MyCol", "ünï", "a b"], "rows": [[1, 2, 3]]}, found


def telling(sql, *parts):
    def check(driver, _):
        message = refusal_of(lambda: driver.ask("query", sql=sql))
        assert message is not None, "no error"
        assert all(part in message for part in parts), message
        # What it is made of is nobody's business.
        assert not any(part in message for part in ("DataFusion", "panicked", "src/")), message

    return check


def at_once(driver, _):
    expected = list(range(STATEMENTS_AT_ONCE))
    assert driver.ask("concurrent", sql="SELECT CAST({} AS BIGINT) AS v", times=STATEMENTS_AT_ONCE) == expected


for each in TABLES:
    reading.add(each, f"`SELECT *` from `{each}`", "query", all_rows(each))
reading.add("empty", "a result without rows keeps its columns", "query", empty_result)
reading.add("large", "a result of 8 MB", "query", large_result)
reading.add("value", "a value of 3 MB", "query", one_large_value)
reading.add("names", "names of columns as written", "query", quoted_names)
reading.asks("shape", "columns without running the statement", "shape", ["a", "b"], sql="SELECT 1 AS a, 1 / 0 AS b")
reading.add("syntax", "a syntax error: where it is", "query", telling("SELEC 1", "line 1, column 1"))
reading.add("missing", "a missing table: which there are", "query", telling("SELECT * FROM metric", "metrics"))
reading.add(
    "runtime",
    "a failing row: what it is",
    "query",
    telling("SELECT 1 / (value_int - 3) FROM metrics", "division by zero"),
)
reading.add("at-once", f"{STATEMENTS_AT_ONCE} statements at once on one connection", "concurrent", at_once)
reading.asks(
    "partitions",
    "partitions, read one by one",
    "partitions",
    {"columns": ["v"], "rows": [[1]]},
    sql="SELECT 1 AS v",
)
reading.asks(
    "raw", "bare SQL text as command and ticket", "raw", {"columns": ["v"], "rows": [[1]]}, sql="SELECT 1 AS v"
)

# Parameters.

parameters = Section("Parameters", "parameter")

# (name, kind, SQL type, value)
KINDS = [
    ("tinyint", "int8", "TINYINT", -128),
    ("smallint", "int16", "SMALLINT", 32767),
    ("integer", "int32", "INT", -(2**31)),
    ("bigint", "int64", "BIGINT", 2**53 + 1),
    ("real", "float32", "REAL", 0.5),
    ("double", "float64", "DOUBLE", 0.1),
    ("decimal", "decimal", "DECIMAL(10, 2)", values.decimal_number("-12.34")),
    ("text", "text", "VARCHAR", "it's ünicode; -- $1 ? 🪶"),
    ("empty text", "text", "VARCHAR", ""),
    ("boolean", "bool", "BOOLEAN", True),
    ("bytes", "bytes", "BYTEA", values.binary(b"\0\xff")),
    ("date", "date", "DATE", values.date(20_455)),
    ("time", "time", "TIME", values.time(11_045 * 10**9)),
    ("timestamp", "timestamp", "TIMESTAMP", values.timestamp(1_767_323_045_123_000_000)),
    ("timestamp of microseconds", "timestamp", "TIMESTAMP", values.timestamp(1_767_323_045_123_456_000)),
    ("null", "null", "BIGINT", None),
]


def comes_back(kind, sql_type, value):
    """By either spelling of a placeholder."""

    def check(driver, _):
        for placeholder in ("?", "$1"):
            sql = f"SELECT CAST({placeholder} AS {sql_type}) AS v"
            found = only_value(driver.ask("prepared", sql=sql, parameters=[[kind, value]]))
            assert values.equal(value, found), f"{placeholder}: {found!r}"

    return check


def in_a_filter(driver, _):
    sql = "SELECT value_int FROM metrics WHERE name = ? AND value_int > ? AND attributes->>'http.route' = ? ORDER BY 1"
    given = [["text", dataset.NUMBERS], ["int64", 3], ["text", "/1"]]
    found = driver.ask("prepared", sql=sql, parameters=given)
    assert found["rows"] == [[5], [7], [9]], found


def twelve(driver, _):
    """By their numbers, not by their names as text."""
    sql = "SELECT " + ", ".join(f"CAST(${i} AS BIGINT) AS c{i}" for i in range(1, 13))
    found = driver.ask("prepared", sql=sql, parameters=[["int64", i] for i in range(1, 13)])
    assert found["rows"] == [list(range(1, 13))], found


FILTERED = f"SELECT value_int FROM metrics WHERE name = '{dataset.NUMBERS}' AND value_int = ?"


def again(driver, _):
    found = driver.ask("again", sql=FILTERED, parameters=[[["int64", number]] for number in (7, 3, 100)])
    assert [answer["rows"] for answer in found] == [[[7]], [[3]], []], found


def many_rows(driver, _):
    found = driver.ask("bound_rows", sql=FILTERED, parameters=[[["int64", number]] for number in (1, 2, 3)])
    assert sorted(found["rows"]) == [[1], [2], [3]], found


for name, kind, sql_type, value in KINDS:
    parameters.add(name.replace(" ", "-"), name, "prepared", comes_back(kind, sql_type, value))
parameters.add("filter", "in a filter, three of them", "prepared", in_a_filter)
parameters.add("twelve", "twelve, in their order", "prepared", twelve)
parameters.add("again", "one prepared statement, run again with other values", "again", again)
parameters.add("rows", "several rows bound at once", "bound_rows", many_rows)

# Writing.

writing = Section("Tables of one's own", "write")


def scratch(driver, what):
    """A name of a table that no other check uses."""
    return f"own_{driver.name}_{what}".replace("-", "_").replace(".", "_")


def values_in(driver, table):
    return sorted(value for (value,) in driver.ask("query", sql=f"SELECT a FROM {table}")["rows"])


def create_table(driver, _):
    table = scratch(driver, "made")
    driver.ask("update", sql=f"CREATE TABLE {table} AS SELECT 1 AS a UNION ALL SELECT 2")
    assert values_in(driver, table) == [1, 2]
    assert driver.ask("update", sql=f"INSERT INTO {table} VALUES (3), (4)") == 2
    assert values_in(driver, table) == [1, 2, 3, 4]
    driver.ask("update", sql=f"DROP TABLE {table}")
    assert refusal_of(lambda: values_in(driver, table)) is not None


def prepared_insert(driver, _):
    table = scratch(driver, "inserted")
    driver.ask("update", sql=f"CREATE TABLE {table} (a BIGINT)")
    given = [[["int64", 1]], [["int64", 2]]]
    assert driver.ask("update_rows", sql=f"INSERT INTO {table} VALUES (?)", parameters=given) == 2
    assert values_in(driver, table) == [1, 2]


def ingest(*steps):
    """Each `(mode, values, expected)`: the values of the table afterwards, or None for a refusal."""

    def check(driver, _):
        table = scratch(driver, "_".join(mode for mode, _, _ in steps))
        for mode, given, expected in steps:
            if expected is None:
                assert refusal_of(lambda: driver.ask("ingest", table=table, mode=mode, values=given)) is not None
            else:
                driver.ask("ingest", table=table, mode=mode, values=given)
                assert values_in(driver, table) == expected

    return check


writing.add("sql", "`CREATE TABLE`, `INSERT`, `DROP TABLE`", "update query", create_table)
writing.add("prepared", "prepared `INSERT`", "update update_rows query", prepared_insert)
writing.add(
    "create",
    "ingest: create, refused if it exists",
    "ingest query",
    ingest(("create", [1, 2], [1, 2]), ("create", [3], None)),
)
writing.add("append", "ingest: append", "ingest query", ingest(("create", [1], [1]), ("append", [2], [1, 2])))
writing.add(
    "create-append",
    "ingest: create or append",
    "ingest query",
    ingest(("create_append", [1], [1]), ("create_append", [2], [1, 2])),
)
writing.add("replace", "ingest: replace", "ingest query", ingest(("create", [1, 2], [1, 2]), ("replace", [3], [3])))

# Control.

control = Section("Control", "control")


def cancelled(driver, site):
    assert driver.ask("cancel", sql=ENDLESS) == "cancelled"
    site.wait_until_idle()


def timed_out(driver, site):
    assert driver.ask("deadline", sql=ENDLESS, seconds=1) == "deadline"
    site.wait_until_idle()


def listing(driver, _):
    found = driver.ask("listed")
    assert set(TABLES) <= set(found["flights"]), found
    needed = {"CreatePreparedStatement", "ClosePreparedStatement", "BeginTransaction", "EndTransaction"}
    needed |= {"CancelFlightInfo", "RenewFlightEndpoint", "SetSessionOptions", "GetSessionOptions", "CloseSession"}
    assert needed <= set(found["actions"]), found


control.asks("commit", "a transaction, committed", "transaction", 1, ending="commit")
control.asks("rollback", "a transaction, rolled back", "transaction", 1, ending="rollback")
control.add("cancel", "cancel: the server stops working on it", "cancel", cancelled)
control.add("deadline", "time limit: the same", "deadline", timed_out)
control.asks("session", "an option of the session", "session", "public", name="schema", value="public")
control.asks("polled", "incremental execution", "polled", {"columns": ["v"], "rows": [[1]]}, sql="SELECT 1 AS v")
control.add("listed", "flights and actions listed", "listed", listing)

# Types.

arrow_types = Section("Arrow types", "type")


def key_of(arrow_type):
    return arrow_type.name.replace(", ", "-").replace(" ", "-")


def comes_out_right(arrow_type):
    def check(driver, _):
        found = [row[0] for row in driver.ask("query", sql=arrow_type.sql)["rows"]]
        if arrow_type.text is not None and values.equal(arrow_type.text, found):
            return AS_TEXT
        assert values.equal(arrow_type.expected, found), f"{found!r} instead of {arrow_type.expected!r}"
        return None

    return check


for each in TYPES:
    arrow_types.add(key_of(each), f"`{each.name}`", "query", comes_out_right(each))


def table_of_types(driver, site):
    """Those that the client cannot read are judged one by one above."""
    table = site.table_of_types
    (row,) = driver.ask("query", sql=f"SELECT * FROM {table}")["rows"]
    for each, found in zip(COLUMNS, row, strict=True):
        is_text = each.text is not None and values.equal(each.text[0], found)
        is_limit = f"{driver.name}/{arrow_types.key}-{key_of(each)}" in LIMITS
        assert is_limit or is_text or values.equal(each.expected[0], found), f"{each.name}: {found!r}"


arrow_types.add("table", "a table of one's own with columns of most of them", "query", table_of_types)

SECTIONS = [connecting, browsing, reading, parameters, writing, control, arrow_types]
ABILITIES = {ability.name: ability for section in SECTIONS for ability in section.abilities}
