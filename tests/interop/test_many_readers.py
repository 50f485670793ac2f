"""Many statements at once, and results that are read slowly: the answers are right and memory stays bounded.

Environment: ALULA_RESULT_MIB is the size of the slow result (512 if it is not set).
"""

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest
from harness import query, statement_descriptor

STATEMENTS = 16
CONNECTIONS = 64
ROWS = 50_000

RESULT_MIB = int(os.environ.get("ALULA_RESULT_MIB", "512"))
# What a reader who stands still may make the server hold, beside what the other tests have left behind.
MAX_GROWTH_MIB = 192
STANDS_STILL_S = 2


def numbers(of, upto):
    return f"SELECT value * {of} AS product FROM generate_series(1, {upto})"


def memory_mib(server, figure="VmRSS"):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(rf"{figure}:\s+(\d+) kB", status)[1]) / 1024


def products(of, upto):
    return of * upto * (upto + 1) // 2


def test_sixteen_statements_at_once_on_one_connection(shared_server):
    with shared_server.flight(shared_server.token()) as flight:

        def total(of):
            return sum(flight.query(numbers(of, ROWS)).column("product").to_pylist())

        with ThreadPoolExecutor(STATEMENTS) as pool:
            totals = list(pool.map(total, range(1, STATEMENTS + 1)))
        assert totals == [products(of, ROWS) for of in range(1, STATEMENTS + 1)]


def test_sixteen_results_of_one_connection_are_read_in_turn(shared_server):
    token = shared_server.token()
    with ExitStack() as open_until_the_end:
        connection = open_until_the_end.enter_context(shared_server.adbc(token))
        readers = []
        for of in range(1, STATEMENTS + 1):
            cursor = open_until_the_end.enter_context(connection.cursor())
            cursor.execute(numbers(of, ROWS))
            readers.append(cursor.fetch_record_batch())
        totals = [0] * STATEMENTS
        reading = set(range(STATEMENTS))
        while reading:
            for number in sorted(reading):
                try:
                    batch = readers[number].read_next_batch()
                except StopIteration:
                    reading.discard(number)
                    continue
                totals[number] += sum(batch.column("product").to_pylist())
        assert totals == [products(of, ROWS) for of in range(1, STATEMENTS + 1)]


def test_sixty_four_connections_at_once(shared_server):
    token = shared_server.token()

    def total(of):
        with shared_server.adbc(token) as connection:
            return sum(query(connection, numbers(of, ROWS // 10)).column("product").to_pylist())

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        totals = list(pool.map(total, range(1, CONNECTIONS + 1)))
    assert totals == [products(of, ROWS // 10) for of in range(1, CONNECTIONS + 1)]


@pytest.mark.parametrize("readers", [1, 8])
def test_a_result_that_is_read_slowly_does_not_pile_up(shared_server, readers):
    """Each reader stands still after its first batch, with the whole result before it."""
    rows = RESULT_MIB * 1024 // readers
    sql = f"SELECT value, repeat('x', 1024) AS text FROM generate_series(1, {rows})"
    with shared_server.flight(shared_server.token()) as flight, ExitStack() as streams:
        before = memory_mib(shared_server)
        found = []
        for _ in range(readers):
            info = flight.client.get_flight_info(statement_descriptor(sql), flight.options)
            options = pa.flight.FlightCallOptions(headers=[auth(shared_server)], timeout=600)
            reader = flight.client.do_get(info.endpoints[0].ticket, options)
            streams.callback(reader.cancel)
            found.append([reader, reader.read_chunk().data.num_rows])
        time.sleep(STANDS_STILL_S)
        held = memory_mib(shared_server) - before
        for entry in found:
            for chunk in entry[0]:
                entry[1] += chunk.data.num_rows
        assert [count for _, count in found] == [rows] * readers
        peak = memory_mib(shared_server, "VmHWM") - before
    print(f"{readers} readers of {RESULT_MIB} MiB in all: {held:.0f} MiB held while they stood still, peak {peak:.0f} MiB")
    assert held < MAX_GROWTH_MIB, f"{held:.0f} MiB"
    assert peak < MAX_GROWTH_MIB, f"{peak:.0f} MiB"


def auth(server):
    return (b"authorization", f"Bearer {server.token()}".encode())
