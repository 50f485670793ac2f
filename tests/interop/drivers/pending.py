"""What the server does not do yet. A check of this list that passes is an error, so that the list empties itself.

A name is `driver/ability`, `checks/name` or `jdbc/name`: what pytest shows in brackets.
"""

from contextlib import contextmanager

import pytest


def names(owners, whats):
    return {f"{owner}/{what}" for owner in owners.split() for what in whats.split()}


def checks(*titles):
    return {f"checks/{title}" for title in titles}


JDBC = "jdbc-18.2.0 jdbc-18.3.0"

PENDING = {
    # Tables of the tenant's own: CREATE TABLE, INSERT, DROP TABLE.
    *names(f"adbc-python adbc-go arrow-rs {JDBC}", "write-sql write-prepared"),
    *names("pyarrow", "write-sql"),
    *names(
        f"adbc-python adbc-go {JDBC} pyarrow polars pandas duckdb sqlalchemy arrow-rs firetiger lakehouse", "type-table"
    ),
    *checks(
        "a table to read from",
        "preparing has no effect",
        "CREATE TABLE as an update",
        "INSERT by execute",
        "INSERT of several rows by executemany",
    ),
    # CommandStatementIngest.
    *names("adbc-python adbc-go arrow-rs", "write-create write-append write-create-append write-replace"),
    *names("polars pandas", "write-create write-append write-replace"),
    *checks(
        "ingest, create",
        "ingest, append",
        "ingest, create or append",
        "ingest, replace",
        "ingest, append to a missing table",
    ),
    # BeginTransaction, EndTransaction.
    *names("adbc-python adbc-go pyarrow arrow-rs", "control-commit control-rollback"),
    *checks("connect without autocommit", "begin, select, commit, rollback"),
    # SetSessionOptions, GetSessionOptions, CloseSession.
    *names("adbc-python adbc-go", "control-session"),
    *names("jdbc", "18.2.0-catalog 18.3.0-catalog"),
    *checks("the current catalog and schema", "an option of the session stays set"),
    # PollFlightInfo.
    *names("adbc-python adbc-go", "control-polled"),
    *checks("incremental execution (PollFlightInfo)"),
    # Several rows of parameters bound at once.
    *names("adbc-python adbc-go arrow-rs", "parameter-rows"),
    *checks("several rows bound at once"),
    # Parameters as dense unions, and run on the handle from before the binding.
    *names(
        "sqlalchemy",
        "parameter-tinyint parameter-smallint parameter-integer parameter-bigint parameter-real parameter-double "
        "parameter-text parameter-empty-text parameter-boolean parameter-bytes parameter-filter parameter-twelve",
    ),
    # The wire profile of JDBC: unsigned integers widened, times without a zone for 18.3.0.
    *names(JDBC, "type-UInt8 type-UInt16 type-UInt32 type-UInt64"),
    *names(
        "jdbc-18.3.0",
        "read-logs read-metrics read-traces type-Timestamp(Second-UTC) type-Timestamp(Millisecond-UTC) "
        "type-Timestamp(Microsecond-UTC) type-Timestamp(Nanosecond-UTC) type-Timestamp(Nanosecond-+00:00) "
        "type-Timestamp(Nanosecond-+02:00)",
    ),
    *names("jdbc", "18.3.0-browse"),
    # And its parameters: JDBC binds the milliseconds of a time as they are, whatever unit the parameter has.
    *names(JDBC, "parameter-time parameter-timestamp"),
    # The comments of columns as REMARKS in GetTables.
    *names("jdbc", "18.2.0-remarks 18.3.0-remarks"),
    # ListFlights, bare SQL as a command and as a ticket.
    *names("pyarrow", "control-listed read-raw"),
    # A statement whose operators never yield does not stop, and keeps its thread.
    *checks("cancel", "a time limit"),
    # A value larger than a message may be.
    *checks("a value of 17 MB, over the default limit of ADBC"),
}


@contextmanager
def expected(name):
    """What is in here has to work; of a check that is pending it has to fail."""
    if name not in PENDING:
        yield
        return
    try:
        yield
    except Exception as error:
        pytest.xfail(f"pending: {error}")
    raise AssertionError(f"{name} works: take it off the list of tests/interop/drivers/pending.py")
