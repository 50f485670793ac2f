"""A data directory that a killed server left, of which it is known what is in it: copies of it are damaged."""

import time
from itertools import count
from types import SimpleNamespace

import otlp
import stored
from harness import rows
from ledger import request
from load import TENANT

ROWS_OF = {"metrics": stored.point_rows, "logs": stored.log_rows, "traces": stored.span_rows}

# Nothing but what a test asks for: no flush by time, no maintenance in between.
QUIET = {
    "SERVER_LOG_LEVEL": "error",
    "INGEST_MAX_MESSAGE_BYTES": "2KiB",
    "INGEST_MAX_HTTP_MESSAGE_BYTES": "2KiB",
    "STORAGE_FLUSH_INTERVAL": "24h",
    "STORAGE_WAL_SEGMENT_BYTES": "4KiB",
}

HOUR_NS = 3600 * 10**9


class Victim:
    """A server that is sent records and then killed; what is in it is learned by heart before."""

    def __init__(self, server, scratch):
        """`scratch` is where its copies go."""
        self.server = server.start()
        self.scratch = scratch
        self.token = server.token(TENANT, ttl="24h")
        self.messages = {signal: [] for signal in otlp.SIGNALS}
        self.sent = 0
        self.started_ns = time.time_ns()
        # Of each signal the rows by their attributes, of which no two records have the same.
        self.rows = {}
        self.copies = count()

    def send(self, rounds, ages_h=(0,), records=3):
        """So many batches of each signal, one after the other: each is a group of the log of its own."""
        for number in range(rounds):
            time_ns = time.time_ns() - ages_h[number % len(ages_h)] * HOUR_NS
            ids = range(self.sent, self.sent + records)
            self.sent += records
            self.send_messages((signal, request(signal, ids, time_ns)) for signal in otlp.SIGNALS)

    def send_messages(self, messages):
        with otlp.Client(self.server.address, self.token) as client:
            for signal, message in messages:
                client.export(signal, message)
                self.messages[signal].append(message)

    def kill(self):
        """Everything that was sent is there now, in every column; then the server is no more."""
        period = self.started_ns, time.time_ns()
        with self.server.flight(self.token) as flight:
            for signal in otlp.SIGNALS:
                expected = [row for message in self.messages[signal] for row in ROWS_OF[signal](message)]
                found = rows(flight.query(f"SELECT * FROM {signal}"))
                self.rows[signal] = {row["attributes"]: row for row in found}
                assert len(self.rows[signal]) == len(found) == len(expected)
                if expected:
                    sent = SimpleNamespace(tenant=TENANT, period=period)
                    stored.assert_stored(lambda _, found=found: found, signal, sent, expected)
        self.server.kill()

    def compare(self, signal, found):
        """The entries of which rows are missing, as (signal, sequence number); no row may be wrong or there twice."""
        known, seen = self.rows[signal], set()
        for row in found:
            identity = row["attributes"]
            assert identity in known, f"{signal}: a row that was never sent: {row}"
            assert row == known[identity], f"{signal}: {row} instead of {known[identity]}"
            assert identity not in seen, f"{signal}: twice: {row}"
            seen.add(identity)
        return {(signal, known[identity]["ingest_seq"]) for identity in known.keys() - seen}
