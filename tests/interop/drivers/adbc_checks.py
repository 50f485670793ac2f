"""Black-box checks of a Flight SQL server by the ADBC driver: what it answers, not how.

Each takes a `Target` and raises if the server does not pass. A name says what the check asks for.
"""

import threading

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions, StatementOptions
from drivers.adbc_target import fails, schemas_of, tables_of

NUMBER_OF_ROWS = 1000
# The rows of the table that the checks read: `id` counts from 0, `svc` is one of four.
SOURCE = (
    "SELECT value AS id, concat('svc-', CAST(value % 4 AS VARCHAR)) AS svc "
    f"FROM generate_series(0, {NUMBER_OF_ROWS - 1}) AS numbers (value)"
)
CANCEL_AFTER_S = 1.0
# What a message may be for clients that never raise the default of gRPC.
SMALL_MESSAGE_BYTES = 4 * 1024 * 1024
INTERNALS = ("DataFusion error", "Plan(", "SchemaError", "src/", "panicked", "Arrow error: External")

CHECKS = {}


def check(name):
    def add(function):
        assert name not in CHECKS, name
        CHECKS[name] = function
        return function

    return add


# Connections and transactions.


@check("connect and close")
def _(target):
    target.connect().close()


@check("connect without autocommit")
def _(target):
    with target.connect(autocommit=False) as connection:
        assert connection._commit_supported


@check("begin, select, commit, rollback")
def _(target):
    with target.connect(autocommit=False) as connection:
        assert connection._commit_supported
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1,)]
        connection.commit()
        connection.rollback()


# Metadata.


@check("get_info")
def _(target):
    with target.connect() as connection:
        info = connection.adbc_get_info()
    assert info["vendor_name"] and info["vendor_version"]


@check("get_table_types")
def _(target):
    with target.connect() as connection:
        assert "TABLE" in connection.adbc_get_table_types()


@check("get_objects, catalogs")
def _(target):
    assert target.objects(depth="catalogs")


@check("get_objects, schemas")
def _(target):
    assert schemas_of(target.objects(depth="db_schemas"))


@check("get_objects, tables")
def _(target):
    assert target.table in [table["table_name"] for table in tables_of(target.objects(depth="tables"))]


@check("get_objects, everything")
def _(target):
    assert all(table["table_columns"] for table in tables_of(target.objects(depth="all")))


@check("get_objects, filtered by a table")
def _(target):
    (table,) = tables_of(target.objects(depth="all", table_name_filter=target.table))
    assert table["table_name"] == target.table and table["table_columns"]


@check("get_objects, filtered by types")
def _(target):
    tables = tables_of(target.objects(depth="tables", table_types_filter=["BASE TABLE", "TABLE"]))
    assert target.table in [table["table_name"] for table in tables]


@check("get_table_schema")
def _(target):
    with target.connect() as connection:
        assert connection.adbc_get_table_schema(target.table).names


@check("get_table_schema of a missing table")
def _(target):
    with target.connect() as connection:
        fails(lambda: connection.adbc_get_table_schema("no_such_table"), "NOT_FOUND")


# Statements.


@check("select 1")
def _(target):
    assert target.query("SELECT 1 AS a").to_pylist() == [{"a": 1}]


@check("select all columns")
def _(target):
    table = target.query(f"SELECT * FROM {target.rows} LIMIT 3")
    assert table.column_names == ["id", "svc"] and table.num_rows == 3


@check("an empty result keeps its schema")
def _(target):
    table = target.query(f"SELECT id, svc FROM {target.rows} WHERE 1 = 0")
    assert table.column_names == ["id", "svc"] and table.num_rows == 0


@check("count(*)")
def _(target):
    assert target.query(f"SELECT count(*) AS n FROM {target.rows}").to_pylist() == [{"n": NUMBER_OF_ROWS}]


@check("group by a text")
def _(target):
    table = target.query(f"SELECT svc, count(*) AS n FROM {target.rows} GROUP BY svc ORDER BY svc")
    assert table.to_pydict() == {"svc": [f"svc-{i}" for i in range(4)], "n": [NUMBER_OF_ROWS // 4] * 4}


@check("a semicolon and a comment at the end")
def _(target):
    assert target.query("SELECT 1 AS a; -- done").to_pylist() == [{"a": 1}]


@check("a quoted alias keeps its case")
def _(target):
    assert target.query('SELECT 1 AS "MyCol"').column_names == ["MyCol"]


@check("a join with similar names")
def _(target):
    sql = (
        f"SELECT x.id AS k, y.id AS k2, x.svc, y.svc AS svc2 FROM {target.rows} x JOIN {target.rows} y ON x.id = y.id "
        "LIMIT 2"
    )
    assert target.query(sql).column_names == ["k", "k2", "svc", "svc2"]


@check("16 statements at once on one connection")
def _(target):
    failures = []

    def run(number):
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT id + {number} AS v FROM {target.rows} ORDER BY 1 LIMIT 1")
                assert cursor.fetchone()[0] == number
        except Exception as error:
            failures.append(error)

    with target.connect() as connection:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures, failures


# Prepared statements.


@check("a number for ?")
def _(target):
    assert target.ids("id = ?", (5,)) == [5]


@check("a number for $1")
def _(target):
    assert target.ids("id = $1", (5,)) == [5]


@check("a text")
def _(target):
    assert target.ids("svc = $1 AND id < 9", ("svc-1",)) == [1, 5]


@check("two parameters")
def _(target):
    assert target.ids("svc = $1 AND id < $2", ("svc-1", 5)) == [1]


@check("twelve parameters in their order")
def _(target):
    sql = "SELECT " + ", ".join(f"CAST(${i} AS BIGINT) AS c{i}" for i in range(1, 13))
    assert target.query(sql, tuple(range(1, 13))).to_pylist() == [{f"c{i}": i for i in range(1, 13)}]


@check("a null")
def _(target):
    assert target.ids("id = $1", (None,)) == []


@check("a parameter without a type")
def _(target):
    assert target.query("SELECT $1 AS x", ("hello",)).to_pylist() == [{"x": "hello"}]


@check("a parameter with a name")
def _(target):
    assert target.ids("id = $id", pa.record_batch([pa.array([5])], names=["id"])) == [5]


@check("several rows bound at once")
def _(target):
    sql = f"SELECT id FROM {target.rows} WHERE id = $1"
    table = target.query(sql, pa.record_batch([pa.array([1, 2, 3])], names=["1"]))
    assert sorted(table["id"].to_pylist()) == [1, 2, 3]


@check("the same statement with other values")
def _(target):
    with target.cursor() as cursor:
        for number in (1, 2, 3):
            cursor.execute(f"SELECT id FROM {target.rows} WHERE id = $1", (number,))
            assert cursor.fetchall() == [(number,)]


@check("the schema of the parameters")
def _(target):
    with target.cursor() as cursor:
        schema = cursor.adbc_prepare(f"SELECT * FROM {target.rows} WHERE id = $1 AND svc = $2")
    assert schema.types == [pa.int64(), pa.string()]


@check("the schema of a prepared statement")
def _(target):
    with target.cursor() as cursor:
        assert cursor.adbc_execute_schema(f"SELECT id, svc FROM {target.rows}").names == ["id", "svc"]


@check("the schema of a statement (GetSchema)")
def _(target):
    with target.connect() as connection:
        statement = adbc_driver_manager.AdbcStatement(connection.adbc_connection)
        try:
            statement.set_sql_query(f"SELECT id, svc FROM {target.rows}")
            # The schema lives as long as the handle.
            handle = statement.execute_schema()
            schema = pa.Schema._import_from_c(handle.address)
        finally:
            statement.close()
    assert schema.names == ["id", "svc"]


@check("preparing has no effect")
def _(target):
    with target.cursor() as cursor:
        cursor.adbc_prepare("CREATE TABLE checks_not_made AS SELECT 1 AS a")
    fails(lambda: target.query("SELECT * FROM checks_not_made"), "NOT_FOUND")


# Partitions.


@check("partitions")
def _(target):
    with target.cursor() as cursor:
        parts, _ = cursor.adbc_execute_partitions(f"SELECT * FROM {target.rows}")
        assert sum(rows_of(cursor, part) for part in parts) == NUMBER_OF_ROWS


@check("incremental execution (PollFlightInfo)")
def _(target):
    with target.cursor({"adbc.statement.exec.incremental": "true"}) as cursor:
        found = 0
        while parts := cursor.adbc_execute_partitions(f"SELECT * FROM {target.rows}")[0]:
            found += sum(rows_of(cursor, part) for part in parts)
    assert found == NUMBER_OF_ROWS


def rows_of(cursor, part):
    cursor.adbc_read_partition(part)
    return cursor.fetch_arrow_table().num_rows


# Writing.


@check("CREATE TABLE as an update")
def _(target):
    with target.cursor() as cursor:
        cursor.executescript("CREATE TABLE checks_made (a INT)")
    assert target.query("SELECT * FROM checks_made").column_names == ["a"]


@check("INSERT by execute")
def _(target):
    with target.cursor() as cursor:
        cursor.execute("CREATE TABLE checks_inserted (a INT)")
        cursor.execute("INSERT INTO checks_inserted VALUES (1)")
    assert target.query("SELECT * FROM checks_inserted").to_pylist() == [{"a": 1}]


@check("INSERT of several rows by executemany")
def _(target):
    with target.cursor() as cursor:
        cursor.executescript("CREATE TABLE checks_many (a INT)")
        cursor.executemany("INSERT INTO checks_many VALUES ($1)", [(1,), (2,)])
        assert cursor.rowcount == 2
    assert sorted(target.query("SELECT * FROM checks_many")["a"].to_pylist()) == [1, 2]


def ingest(target, table, mode):
    with target.cursor() as cursor:
        given = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})
        assert cursor.adbc_ingest(table, given, mode=mode) in (-1, 3)


def counted(target, table):
    return target.query(f"SELECT count(*) AS n FROM {table}")["n"][0].as_py()


@check("ingest, create")
def _(target):
    ingest(target, "checks_create", "create")
    assert counted(target, "checks_create") == 3
    fails(lambda: ingest(target, "checks_create", "create"), "ALREADY_EXISTS")


@check("ingest, append")
def _(target):
    ingest(target, "checks_append", "create")
    ingest(target, "checks_append", "append")
    assert counted(target, "checks_append") == 6


@check("ingest, create or append")
def _(target):
    for expected in (3, 6):
        ingest(target, "checks_create_append", "create_append")
        assert counted(target, "checks_create_append") == expected


@check("ingest, replace")
def _(target):
    for _ in range(2):
        ingest(target, "checks_replace", "replace")
        assert counted(target, "checks_replace") == 3


@check("ingest, append to a missing table")
def _(target):
    fails(lambda: ingest(target, "checks_missing", "append"), "NOT_FOUND")


# Sessions.


@check("the options of the session")
def _(target):
    with target.connect() as connection:
        connection.adbc_connection.get_option(ConnectionOptions.OPTION_SESSION_OPTIONS.value)


@check("the current catalog and schema")
def _(target):
    with target.connect() as connection:
        assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("alula", "public")


@check("an option of the session stays set")
def _(target):
    key = ConnectionOptions.OPTION_SESSION_OPTION_PREFIX.value + "timezone"
    with target.connect() as connection:
        connection.adbc_connection.set_options(**{key: "UTC"})
        assert connection.adbc_connection.get_option(key) == "UTC"


# Errors.


@check("an error of syntax")
def _(target):
    fails(lambda: target.query("SELEC 1"), "INVALID_ARGUMENT")


@check("a missing table")
def _(target):
    fails(lambda: target.query("SELECT * FROM no_such_table"), "NOT_FOUND")


@check("a missing column")
def _(target):
    fails(lambda: target.query(f"SELECT missing FROM {target.rows}"), "NOT_FOUND", "INVALID_ARGUMENT")


@check("a division by zero")
def _(target):
    fails(lambda: target.query(f"SELECT 1 / (id - id) FROM {target.rows}"), "INVALID_ARGUMENT", "INVALID_DATA")


@check("the text of an error has no internals")
def _(target):
    text = str(fails(lambda: target.query("SELECT * FROM no_such_table"), "NOT_FOUND"))
    assert not any(part in text for part in INTERNALS), text


# Statements that would run for hours: a thousand million rows of a cross join.


def endless(target):
    return (
        f"SELECT count(*) FROM {target.rows} a CROSS JOIN {target.rows} b CROSS JOIN {target.rows} c "
        "WHERE a.id + b.id * c.id % 7 = 3"
    )


@check("cancel")
def _(target):
    with target.cursor() as cursor:
        timer = threading.Timer(CANCEL_AFTER_S, cursor.adbc_cancel)
        timer.start()
        try:
            fails(lambda: (cursor.execute(endless(target)), cursor.fetchall()), "CANCELLED")
        finally:
            timer.cancel()


@check("a time limit")
def _(target):
    limits = {StatementOptions.TIMEOUT_FETCH.value: 1.0, StatementOptions.TIMEOUT_QUERY.value: 1.0}
    with target.cursor(limits) as cursor:
        fails(lambda: (cursor.execute(endless(target)), cursor.fetchall()), "TIMEOUT")


# Sizes of messages.


@check("rows of 20 kB, 8 MB in all")
def _(target):
    assert wide(target) == 400


@check("a value of 6 MB")
def _(target):
    assert len(target.query("SELECT repeat('x', 6000000) AS s")["s"][0].as_py()) == 6_000_000


@check("a value of 17 MB, over the default limit of ADBC")
def _(target):
    assert len(target.query("SELECT repeat('x', 17000000) AS s")["s"][0].as_py()) == 17_000_000


def wide(target, **options):
    return target.query(f"SELECT a.id, repeat('x', 20000) AS s FROM {target.rows} a LIMIT 400", **options).num_rows


SMALL = {DatabaseOptions.WITH_MAX_MSG_SIZE.value: str(SMALL_MESSAGE_BYTES)}


@check("a client of 4 MiB: rows of 20 kB")
def _(target):
    assert wide(target, **SMALL) == 400


@check("a client of 4 MiB: six rows of 3 MB among small ones")
def _(target):
    sql = f"SELECT a.id, CASE WHEN a.id < 6 THEN repeat('x', 3000000) ELSE 'y' END AS s FROM {target.rows} a"
    assert target.query(sql, **SMALL).num_rows == NUMBER_OF_ROWS


@check("a client of 4 MiB: a million narrow rows")
def _(target):
    sql = f"SELECT a.id, b.id AS b FROM {target.rows} a CROSS JOIN {target.rows} b"
    assert target.query(sql, **SMALL).num_rows == NUMBER_OF_ROWS**2
