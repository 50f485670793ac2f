"""Three ways to read what is stored: rows over Flight SQL, `count(*)`, and DuckDB on the files of the catalog."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone

import duckdb
import otlp
from harness import rows

# As `catalog.db` has them, see docs/formats.md.
SIGNAL_CODES = {"metrics": 1, "logs": 2, "traces": 3}

# Where a signal's own number of a record is, besides the attribute `id`: both must name the same record.
OWN_NUMBER = {"metrics": "value_int", "logs": "CAST(body AS BIGINT)", "traces": "duration_ns"}

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# How often the list of files may turn out to be out of date: each time, a compaction ended in between.
LISTINGS = 5


def stored(server, token):
    """All records of each signal, as Flight SQL answers: the attribute `id` and the own number."""
    identity = "CAST(attributes->>'id' AS BIGINT)"
    with server.flight(token) as flight:
        return {
            signal: pairs(flight.query(f"SELECT {identity} AS id, {number} AS own FROM {signal}"))
            for signal, number in OWN_NUMBER.items()
        }


def pairs(table):
    return list(zip(*(column.to_pylist() for column in table.columns)))


def counted(server, token):
    """The number of records of each signal, as `count(*)` answers."""
    parts = [f"SELECT '{signal}' AS name, count(*) AS number FROM {signal}" for signal in otlp.SIGNALS]
    with server.flight(token) as flight:
        return {row["name"]: row["number"] for row in rows(flight.query(" UNION ALL ".join(parts)))}


def stored_in_files(server, tenant="acme"):
    """The same as `stored` from the live Parquet files of a tenant, read by DuckDB."""
    return {signal: in_files(server, signal, tenant) for signal in otlp.SIGNALS}


def in_files(server, signal, tenant):
    sql = f"SELECT CAST(attributes->>'$.id' AS BIGINT), {OWN_NUMBER[signal]} FROM read_parquet(?)"
    for attempt in range(LISTINGS):
        files = live_files(server, signal, tenant)
        if not files:
            return []
        with duckdb.connect() as connection:
            try:
                return connection.execute(sql, [[str(path) for path in files]]).fetchall()
            except duckdb.IOException:
                # A file that was compacted away since may be gone, one that is live may not.
                if attempt + 1 == LISTINGS or live_files(server, signal, tenant) == files:
                    raise
    return None


def live_files(server, signal, tenant="acme"):
    """The data files that queries of a tenant read, by the catalog.

    Not of a server that was killed: who reads its catalog recovers it.
    """
    sql = (
        "SELECT files.* FROM files JOIN tenants ON tenants.number = files.tenant_number "
        "WHERE files.state = 'live' AND files.signal = ? AND tenants.id = ?"
    )
    listed = catalog(server, sql, SIGNAL_CODES[signal], tenant)
    return sorted(path_of(server, signal, dict(row)) for row in listed)


def path_of(server, signal, file):
    assert file.get("tier", "local") == "local", file
    start = EPOCH + timedelta(hours=file["hour"])
    directory = start.strftime("%Y/%m/%d/%H" if file.get("num_hours", 1) == 1 else "%Y/%m/%d")
    return server.data_dir / "data" / signal / str(file["tenant_number"]) / directory / f"{file['id']}.parquet"


def catalog(server, sql, *parameters):
    """The rows of a statement on `catalog.db`, which is not changed."""
    with closing(sqlite3.connect(f"file:{server.data_dir}/catalog.db?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql, parameters).fetchall()
