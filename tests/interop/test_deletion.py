"""Rows are deleted by ADBC, and are gone from every answer, then from the files."""

import adbc_driver_manager
import duckdb
import otlp
import pytest
import readers
from harness import scalar, wait_for

# 2023-11-14 22:13:20 UTC.
START_NS = 1_700_000_000_000_000_000
HOUR_NS = 3_600_000_000_000
ROWS = 60
ERASED = "erased-5d2f"

COUNT = "SELECT count(*) FROM logs"
DELETE = "DELETE FROM logs WHERE attributes->>'user.id' = 'u1'"

GONE_LIMIT_S = 60


def user(i):
    return f"u{i % 3}"


def body(i, tenant):
    return f"{ERASED} {tenant} {i}" if user(i) == "u1" else f"kept {tenant} {i}"


def send(server, token, tenant, numbers):
    records = [
        otlp.LogRecord(
            time_unix_nano=START_NS + i * HOUR_NS // 10,
            body=otlp.any_value(body(i, tenant)),
            attributes=otlp.attributes(**{"user.id": user(i)}),
        )
        for i in numbers
    ]
    with otlp.Client(server.address, token) as client:
        client.export("logs", otlp.logs_request("shop", records))


@pytest.fixture
def stored(make_server):
    """A server with the rows of two tenants, half of them in files."""
    server = make_server(STORAGE_FLUSH_INTERVAL="24h", STORAGE_MAINTENANCE_INTERVAL="1h").start()
    for half in (range(ROWS // 2), range(ROWS // 2, ROWS)):
        server.restart()
        for tenant in ("acme", "other"):
            send(server, server.token(tenant), tenant, half)
    return server


def deleted(connection, sql, parameters=None):
    """The count that a DB-API cursor has after a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.rowcount


def test_execute_deletes_and_the_cursor_has_the_count(stored):
    with stored.adbc(stored.token(roles=("admin",))) as connection:
        assert deleted(connection, DELETE) == ROWS // 3
        assert scalar(connection, COUNT) == ROWS - ROWS // 3
        assert deleted(connection, DELETE) == 0
        by_value = "DELETE FROM logs WHERE attributes->>'user.id' = ? AND ingest_seq < ?"
        assert deleted(connection, by_value, ("u2", 1_000_000)) == ROWS // 3
        assert scalar(connection, COUNT) == ROWS - 2 * (ROWS // 3)
    with stored.adbc(stored.token("other")) as connection:
        assert scalar(connection, COUNT) == ROWS


def test_a_delete_that_is_sent_as_a_query_answers_with_the_count(stored):
    with stored.flight(stored.token(roles=("admin",))) as flight:
        assert flight.query(DELETE).to_pylist() == [{"num_rows": ROWS // 3}]
        assert flight.query("VACUUM").to_pylist() == [{"num_rows": ROWS // 3}]


def test_execute_update_and_its_prepared_form_return_the_count(stored):
    with stored.adbc(stored.token(roles=("admin",))) as connection, connection.cursor() as cursor:
        statement = cursor.adbc_statement
        statement.set_sql_query(DELETE)
        assert statement.execute_update() == ROWS // 3
        assert scalar(connection, COUNT) == ROWS - ROWS // 3
        statement.set_sql_query("DELETE FROM logs WHERE attributes->>'user.id' = 'u2'")
        statement.prepare()
        assert statement.execute_update() == ROWS // 3
        statement.set_sql_query("VACUUM logs")
        assert statement.execute_update() == 2 * (ROWS // 3)
        cursor.executescript("DELETE FROM logs WHERE true")
        assert scalar(connection, COUNT) == 0
        cursor.executemany("DELETE FROM logs WHERE body = ?", [("nothing",)])


def test_a_reader_is_told_which_role_it_lacks(stored):
    with stored.adbc(stored.token()) as connection, connection.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.ProgrammingError, match="DELETE needs the role admin"):
            cursor.execute(DELETE)
        cursor.adbc_statement.set_sql_query(DELETE)
        with pytest.raises(adbc_driver_manager.ProgrammingError, match="DELETE needs the role admin"):
            cursor.adbc_statement.execute_update()
        assert scalar(connection, COUNT) == ROWS


def test_after_a_vacuum_the_files_have_nothing_of_the_deleted_rows(stored):
    with stored.adbc(stored.token(roles=("admin",))) as connection:
        assert deleted(connection, DELETE) == ROWS // 3
        assert deleted(connection, "VACUUM") == ROWS // 3
    expected = sorted(body(i, "acme") for i in range(ROWS) if user(i) != "u1")
    assert bodies(readers.live_files(stored, "logs", "acme")) == expected
    # Replaced files are removed once nothing reads them, and then their bytes are gone too.
    wait_for("the removal of replaced files", GONE_LIMIT_S, lambda: sum_of_rows(stored, "acme") == len(expected))
    files = readers.live_files(stored, "logs", "acme")
    assert files == [path for path in stored.parquet_files("logs") if path in set(files)]
    erased = f"{ERASED} acme".encode()
    assert [path for path in stored.data_dir.rglob("*") if path.is_file() and erased in path.read_bytes()] == []
    send(stored, stored.token("other"), "other", range(1))
    with stored.adbc(stored.token("other")) as connection:
        assert scalar(connection, COUNT) == ROWS + 1


def bodies(files):
    with duckdb.connect() as connection:
        found = connection.execute("SELECT body FROM read_parquet(?)", [[str(path) for path in files]]).fetchall()
    return sorted(text for (text,) in found)


def sum_of_rows(server, tenant):
    """Rows of a tenant in all files that are on disk, read by the catalog or not."""
    live = readers.live_files(server, "logs", tenant)
    (number,) = {path.relative_to(server.data_dir / "data" / "logs").parts[0] for path in live}
    files = [str(path) for path in server.parquet_files(f"logs/{number}")]
    with duckdb.connect() as connection:
        return connection.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone()[0]
