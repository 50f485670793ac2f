"""Rows that ADBC ingests into the tables of telemetry."""

import datetime

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import pandas
import pyarrow as pa
import pytest
from harness import adbc_options, scalar

COUNT = "SELECT count(*) FROM logs"
START = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)


def numbered(numbers):
    times = [START + datetime.timedelta(seconds=number) for number in numbers]
    return pa.table({
        "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "service_name": pa.array([f"s{number % 2}" for number in numbers]).dictionary_encode(),
        "body": [f"body {number}" for number in numbers],
    })


def append(connection, table, rows):
    with connection.cursor() as cursor:
        return cursor.adbc_ingest(table, rows, mode="append")


def test_rows_are_there_when_an_ingest_returns(server):
    with server.adbc(server.token()) as connection:
        assert append(connection, "logs", numbered(range(3))) == 3
        assert scalar(connection, COUNT) == 3
        assert scalar(connection, "SELECT count(*) FROM logs WHERE service_name = 's1'") == 1
        # The same again, as after a connection that broke.
        append(connection, "logs", numbered(range(3)))
        assert scalar(connection, COUNT) == 3
        with pytest.raises(adbc_driver_manager.Error, match="column host is none of the columns of logs"):
            append(connection, "logs", numbered(range(1)).append_column("host", pa.array(["h"])))


def test_the_driver_ingests_outside_of_its_transaction(server):
    """Guarantees: what docs/backfill.md says of ADBC, whose ingest names no transaction, is still so."""
    options = adbc_options(server.token())
    connect = adbc_driver_flightsql.dbapi.connect
    with (
        server.adbc(server.token()) as other,
        connect(f"grpc://{server.address}", db_kwargs=options) as connection,
    ):
        append(connection, "logs", numbered(range(2)))
        assert scalar(other, COUNT) == 2
        connection.rollback()
        append(connection, "logs", numbered(range(2, 4)))
        connection.commit()
        assert scalar(other, COUNT) == 4


@pytest.mark.parametrize("table", ["logs", "metrics", "traces"])
def test_a_table_that_was_read_can_be_ingested_by_another_tenant(server, table):
    end = pa.array([START], pa.timestamp("ns", "UTC"))
    least = {
        "logs": numbered(range(3)),
        "metrics": pa.table({"timestamp": end, "name": ["m"], "value": [7], "type": ["sum"]}),
        "traces": pa.table({
            "timestamp": end, "end_timestamp": end, "name": ["s"], "trace_id": [b"t" * 16], "span_id": [b"s" * 8],
        }),
    }
    columns = f"SELECT * EXCEPT (tenant_id, ingested_at, ingest_seq) FROM {table} ORDER BY timestamp"
    with server.adbc(server.token()) as source, server.adbc(server.token("other")) as copy:
        append(source, table, least[table])
        with source.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            read = cursor.fetch_arrow_table()
        assert append(copy, table, read) == len(least[table])
        answers = []
        for connection in (source, copy):
            with connection.cursor() as cursor:
                cursor.execute(columns)
                answers.append(cursor.fetch_arrow_table().to_pylist())
        assert answers[0] == answers[1] and answers[0]


def test_pandas_appends_what_it_has(server):
    frame = pandas.DataFrame({"timestamp": [pandas.Timestamp(START)] * 2, "body": ["a", None]})
    with server.adbc(server.token()) as connection:
        assert frame.to_sql("logs", connection, if_exists="append", index=False) == 2
        assert scalar(connection, COUNT) == 2
