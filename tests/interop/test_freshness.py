"""What was acknowledged is seen by the query that starts right after."""

import time

import otlp
from harness import rows

ROUNDS = 1000


def test_every_acknowledged_row_is_visible_to_the_next_query(server):
    """Scenario: 1,000 times a record is exported and, when the answer is there, asked for. The signals take turns.
    Guarantees: 1,000 of 1,000 are there, each once, with the value that was sent."""
    token = server.token()
    seen = 0
    with otlp.Client(server.address, token) as client, server.flight(token) as flight:
        for number in range(ROUNDS):
            signal, request, sql = exchange(number)
            client.export(signal, request)
            found = rows(flight.query(sql))
            assert found == [{"number": number}], f"round {number}, {signal}: {found}"
            seen += 1
    assert seen == ROUNDS


def exchange(number):
    """A request with one record, and the query that must find it and nothing else."""
    now = time.time_ns()
    signal = otlp.SIGNALS[number % len(otlp.SIGNALS)]
    if signal == "metrics":
        point = otlp.NumberDataPoint(time_unix_nano=now, as_int=number)
        request = otlp.metrics_request("fresh", "fresh.rounds", [point])
        return signal, request, f"SELECT value_int AS number FROM metrics WHERE value_int = {number}"
    if signal == "logs":
        record = otlp.LogRecord(time_unix_nano=now, severity_number=number)
        request = otlp.logs_request("fresh", [record])
        return signal, request, f"SELECT severity_number AS number FROM logs WHERE severity_number = {number}"
    span_id = (number + 1).to_bytes(8, "big")
    span = otlp.Span(trace_id=span_id * 2, span_id=span_id, start_time_unix_nano=now, end_time_unix_nano=now + number)
    request = otlp.traces_request("fresh", [span])
    return signal, request, f"SELECT duration_ns AS number FROM traces WHERE span_id = '{span_id.hex()}'"
