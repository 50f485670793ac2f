"""The same rows give the same answers, whether they are in memory, in files, or in both."""

import time
from itertools import groupby

import otlp
import pyarrow.parquet
import pytest
from harness import rows, wait_for

# 2023-11-14 22:13:20 UTC. Rows are 30 s apart, so they lie in three hours of two days.
START_NS = 1_700_000_000_000_000_000
STEP_NS = 30_000_000_007
ROWS = 240
BATCH = 20

SERVICES = ("cart", "checkout", "mail")
ROUTES = ("/", "/cart", "/checkout/{id}", "/mail")
NEVER = "24h"


def service(i):
    return SERVICES[i // 2 % len(SERVICES)]


def route(i):
    return ROUTES[i % len(ROUTES)]


def status_code(i):
    return 500 if i % 10 == 0 else 200


def duration(i):
    return i * 37 % 101 * 1_000_000 + i


def trace_id(i):
    return (i // 3 + 1).to_bytes(16, "big")


def span_id(i):
    return (i + 1).to_bytes(8, "big")


def at(i):
    return START_NS + i * STEP_NS


def batches():
    """The requests of all three signals, in the order in which they are sent."""
    for first in range(0, ROWS, BATCH):
        by_service = sorted(range(first, first + BATCH), key=service)
        for name, numbers in groupby(by_service, key=service):
            numbers = list(numbers)
            yield "metrics", otlp.metrics_request(name, "queue.depth", [point(i) for i in numbers])
            yield "logs", otlp.logs_request(name, [record(i) for i in numbers])
            yield "traces", otlp.traces_request(name, [span(i) for i in numbers])


def point(i):
    value = {"as_int": i} if i % 2 else {"as_double": i / 4}
    attributes = otlp.attribute_list({"http.route": route(i), "shard": i % 6})
    return otlp.NumberDataPoint(time_unix_nano=at(i), attributes=attributes, **value)


def record(i):
    of_a_span = {"trace_id": trace_id(i), "span_id": span_id(i)} if i % 4 < 2 else {}
    return otlp.LogRecord(
        time_unix_nano=at(i),
        severity_number=1 + 4 * (i % 5),
        body=otlp.any_value(f"message {i % 7}"),
        attributes=otlp.attribute_list({"http.route": route(i), "attempt": i % 3}),
        **of_a_span,
    )


def span(i):
    return otlp.Span(
        trace_id=trace_id(i),
        span_id=span_id(i),
        parent_span_id=b"" if i % 3 == 0 else span_id(i - i % 3),
        name=f"GET {route(i)}",
        kind=otlp.Span.SPAN_KIND_SERVER,
        start_time_unix_nano=at(i),
        end_time_unix_nano=at(i) + duration(i),
        attributes=otlp.attribute_list({"http.route": route(i), "http.status_code": status_code(i)}),
    )


def count(numbers):
    return sum(1 for _ in numbers)


def grouped(numbers, key):
    """(key, its numbers) in the order of keys."""
    return [(value, list(group)) for value, group in groupby(sorted(numbers, key=key), key=key)]


ALL = range(ROWS)
LOGS_WITH_A_TRACE = [i for i in ALL if i % 4 < 2]
INTS = [i for i in ALL if i % 2]
METRIC_VALUES = [i if i % 2 else i / 4 for i in ALL]

# Each query with the answer that follows from the rows above. Every order is total.
QUERIES = {
    "count": (
        "SELECT 'metrics' AS t, count(*) FROM metrics UNION ALL SELECT 'logs', count(*) FROM logs "
        "UNION ALL SELECT 'traces', count(*) FROM traces ORDER BY t",
        [("logs", ROWS), ("metrics", ROWS), ("traces", ROWS)],
    ),
    "aggregates": (
        "SELECT count(value_int), sum(value_int), min(value), max(value), avg(value) FROM metrics",
        [(len(INTS), sum(INTS), min(METRIC_VALUES), max(METRIC_VALUES), sum(METRIC_VALUES) / ROWS)],
    ),
    "group by": (
        "SELECT service_name, severity_number, count(*) AS cnt FROM logs GROUP BY 1, 2 ORDER BY 1, 2",
        [
            (*key, len(group))
            for key, group in grouped(ALL, lambda i: (service(i), 1 + 4 * (i % 5)))
        ],
    ),
    "group by with having": (
        "SELECT name, count(*) AS cnt, sum(duration_ns) AS total FROM traces "
        "GROUP BY name HAVING count(*) > 1 ORDER BY name",
        [(f"GET {key}", len(group), sum(map(duration, group))) for key, group in grouped(ALL, route)],
    ),
    "join on trace_id": (
        "SELECT t.service_name, count(*), max(l.severity_number) FROM logs l JOIN traces t ON l.trace_id = t.trace_id "
        "GROUP BY 1 ORDER BY 1",
        [
            (name, len(pairs), max(1 + 4 * (log % 5) for log, _ in pairs))
            for name, pairs in grouped(
                [(log, i) for log in LOGS_WITH_A_TRACE for i in ALL if log // 3 == i // 3],
                lambda pair: service(pair[1]),
            )
        ],
    ),
    "self join": (
        "SELECT count(*), sum(child.duration_ns + parent.duration_ns) FROM traces child JOIN traces parent "
        "ON child.trace_id = parent.trace_id AND child.parent_span_id = parent.span_id",
        [(count(i for i in ALL if i % 3), sum(duration(i) + duration(i - i % 3) for i in ALL if i % 3))],
    ),
    "spans without a log": (
        "SELECT count(*) FROM traces t WHERE NOT EXISTS (SELECT 1 FROM logs l WHERE l.span_id = t.span_id)",
        [(ROWS - len(LOGS_WITH_A_TRACE),)],
    ),
    "attribute": (
        "SELECT attributes->>'http.route' AS route, count(*) FROM metrics GROUP BY 1 ORDER BY 1",
        [(key, len(group)) for key, group in grouped(ALL, route)],
    ),
    "filter by attributes": (
        "SELECT span_id FROM traces WHERE attributes->>'http.route' = '/cart' "
        "AND json_get_int(attributes, 'http.status_code') = 200 AND attributes['http.route'] <> '/' ORDER BY span_id",
        [(span_id(i).hex(),) for i in ALL if route(i) == "/cart" and status_code(i) == 200],
    ),
    "order by with limit": (
        "SELECT timestamp, body FROM logs ORDER BY timestamp DESC LIMIT 7",
        [(at(i), f"message {i % 7}") for i in reversed(ALL[-7:])],
    ),
    "order by a value": (
        "SELECT duration_ns, span_id FROM traces ORDER BY duration_ns DESC, span_id LIMIT 10 OFFSET 3",
        sorted(((duration(i), span_id(i).hex()) for i in ALL), reverse=True)[3:13],
    ),
    "distinct": (
        "SELECT DISTINCT service_name, attributes->>'shard' AS shard FROM metrics ORDER BY 1, 2",
        sorted({(service(i), str(i % 6)) for i in ALL}),
    ),
    "between times": (
        "SELECT count(*), min(timestamp), max(timestamp) FROM metrics "
        "WHERE timestamp BETWEEN TIMESTAMP '2023-11-14T22:43:20Z' AND TIMESTAMP '2023-11-14T23:43:20Z'",
        [
            (len(times), times[0], times[-1])
            for times in [[at(i) for i in ALL if START_NS + 1800 * 10**9 <= at(i) <= START_NS + 5400 * 10**9]]
        ],
    ),
    "one trace": (
        f"SELECT span_id, parent_span_id FROM traces WHERE trace_id = '{trace_id(100).hex()}' ORDER BY timestamp",
        [(span_id(i).hex(), None if i % 3 == 0 else span_id(99).hex()) for i in (99, 100, 101)],
    ),
    "window": (
        "SELECT service_name, timestamp FROM (SELECT service_name, timestamp, row_number() OVER "
        "(PARTITION BY service_name ORDER BY timestamp) AS n FROM logs) WHERE n = 50 ORDER BY 1",
        [(name, at(group[49])) for name, group in grouped(ALL, service)],
    ),
    "like, nulls, case": (
        "SELECT count(*), count(trace_id), sum(CASE WHEN trace_id IS NULL THEN 1 ELSE 0 END) FROM logs "
        "WHERE body LIKE '%3'",
        [
            (len(matching), len([i for i in matching if i % 4 < 2]), len([i for i in matching if i % 4 >= 2]))
            for matching in [[i for i in ALL if i % 7 == 3]]
        ],
    ),
}

# What the store adds to a row says when and as which request it came; all else is the row.
WHOLE_ROWS = "SELECT * EXCEPT (ingested_at, ingest_seq) FROM {} ORDER BY timestamp"


def send(server, token, requests):
    with otlp.Client(server.address, token) as client:
        for signal, request in requests:
            client.export(signal, request)


def rows_in_files(server, signal):
    return sum(pyarrow.parquet.read_metadata(path).num_rows for path in server.parquet_files(signal))


def in_memory(make_server):
    server = make_server(STORAGE_FLUSH_INTERVAL=NEVER).start()
    token = server.token()
    send(server, token, batches())
    assert server.parquet_files() == []
    return server, token


def half_in_files(make_server):
    server = make_server(STORAGE_FLUSH_INTERVAL=NEVER).start()
    token = server.token()
    requests = list(batches())
    send(server, token, requests[: len(requests) // 2])
    server.restart()
    send(server, token, requests[len(requests) // 2 :])
    for signal in otlp.SIGNALS:
        assert rows_in_files(server, signal) == ROWS // 2
    return server, token


def in_files(make_server):
    server = make_server(STORAGE_FLUSH_INTERVAL=NEVER).start()
    token = server.token()
    send(server, token, batches())
    server.restart()
    for signal in otlp.SIGNALS:
        assert rows_in_files(server, signal) == ROWS
    return server, token


def recovered(make_server):
    """Killed before a flush: the rows come from the log, and the recovery has put them into files."""
    server, token = in_memory(make_server)
    server.kill()
    server.start()
    return server, token


@pytest.mark.parametrize("state", [in_memory, half_in_files, in_files, recovered], ids=lambda state: state.__name__)
def test_queries_answer_by_the_rows_and_not_by_where_they_are(make_server, state):
    """Guarantees: each query gives exactly the answer that follows from the rows that were sent, in every state."""
    server, token = state(make_server)
    with server.flight(token) as flight:
        wrong = {}
        for name, (sql, expected) in QUERIES.items():
            answer = [tuple(row.values()) for row in rows(flight.query(sql))]
            if answer != expected:
                wrong[name] = (answer, expected)
    assert not wrong, f"(answer, expected): {wrong}"


def test_whole_rows_are_the_same_in_every_state(make_server):
    """Guarantees: not one value, type or null of any column changes on the way from memory to files."""
    answers = []
    for state in (in_memory, half_in_files, in_files, recovered):
        server, token = state(make_server)
        with server.flight(token) as flight:
            answers.append({signal: flight.query(WHOLE_ROWS.format(signal)) for signal in otlp.SIGNALS})
        server.end()
    for signal in otlp.SIGNALS:
        first = answers[0][signal]
        assert first.num_rows == ROWS
        for answer in answers[1:]:
            assert answer[signal].schema.equals(first.schema, check_metadata=True)
            assert rows(answer[signal]) == rows(first)


def test_a_query_during_a_flush_sees_each_row_once(make_server):
    """Scenario: rows go from memory to files while the server runs and is asked without a break.
    Guarantees: every answer, before, in the middle and after, counts each row once."""
    server = make_server(STORAGE_FLUSH_INTERVAL="1s").start()
    token = server.token()
    send(server, token, batches())
    sql = "SELECT count(*), count(DISTINCT span_id), sum(duration_ns) FROM traces"
    expected = [ROWS, ROWS, sum(map(duration, ALL))]
    with server.flight(token) as flight:

        def all_in_files():
            assert list(rows(flight.query(sql))[0].values()) == expected
            # A file that is being written has another name, and one that is there is whole.
            return rows_in_files(server, "traces") == ROWS

        wait_for("the flush", 30, all_in_files)
        # The files are there before they are part of the store: asked on until that happened too.
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            assert all_in_files()
