"""kill -9 in the middle of ingest: what was acknowledged is there, once; what was never sent is not."""

import random
import threading
import time
from collections import Counter

import duckdb
import grpc
import otlp
from harness import wait_for

KILLS = 25
SENDERS_PER_SIGNAL = 2
LARGEST_BATCH = 20
SEED = 20_260_101

# Small, so that a round has several flushes and several log segments, and kills hit them too.
SETTINGS = {
    "STORAGE_FLUSH_INTERVAL": "300ms",
    "STORAGE_WAL_SEGMENT_BYTES": "64KiB",
    "INGEST_MAX_MESSAGE_BYTES": "32KiB",
    "INGEST_MAX_HTTP_MESSAGE_BYTES": "32KiB",
    "SERVER_LOG_LEVEL": "warn",
}

# Where a signal's own number of a record is, besides the attribute `id`: both must name the same record.
OWN_NUMBER = {"metrics": "value_int", "logs": "CAST(body AS BIGINT)", "traces": "duration_ns"}


class Ledger:
    """Which records were sent, and what became of them. One per signal, shared by its senders."""

    def __init__(self):
        # Guards all three: senders run at the same time.
        self.lock = threading.Lock()
        self.sent = 0
        self.acknowledged = set()
        # Batches without an answer: each is there whole or not at all.
        self.unanswered = []

    def take(self, count):
        with self.lock:
            first = self.sent
            self.sent += count
            return range(first, first + count)

    def note_acknowledged(self, ids):
        with self.lock:
            self.acknowledged.update(ids)

    def note_unanswered(self, ids):
        with self.lock:
            self.unanswered.append(ids)

    def judge(self, found):
        """What is wrong with the records found in the store, in words; empty if nothing is."""
        times = Counter(identity for identity, _ in found)
        mixed = [pair for pair in found if pair[0] != pair[1]]
        lost = sorted(self.acknowledged - times.keys())
        doubled = sorted(identity for identity, count in times.items() if count > 1)
        unanswered = {identity for batch in self.unanswered for identity in batch}
        invented = sorted(times.keys() - self.acknowledged - unanswered)
        torn = [batch[0] for batch in self.unanswered if len(times.keys() & set(batch)) not in (0, len(batch))]
        wrong = {
            "acknowledged but lost": lost,
            "there more than once": doubled,
            "there but never sent": invented,
            "batches there in part": torn,
            "records with values of another": mixed,
        }
        return "; ".join(f"{len(ids)} {what}, such as {ids[:5]}" for what, ids in wrong.items() if ids)


def test_kill_9_in_the_middle_of_ingest_loses_and_doubles_nothing(make_server):
    """Scenario: 25 times on one data directory: six senders export batches of all three signals as fast as they are
    acknowledged, the server is killed at a random moment, every third time while it writes a file, and started again;
    every fifth time it is killed during that start as well. At the end it stops in order.
    Guarantees: after every start each acknowledged record is there exactly once and nothing is there that was not sent;
    a batch without an answer is there whole or not at all. The files alone say the same, read by DuckDB."""
    server = make_server(**SETTINGS)
    server.start()
    token = server.token()
    dice = random.Random(SEED)
    ledgers = {signal: Ledger() for signal in otlp.SIGNALS}
    kills_with_files = 0

    for kill in range(KILLS):
        senders = Senders(server.address, token, ledgers, dice.randrange(2**32))
        # The moment of the kill is what is random here; nothing is waited for.
        time.sleep(dice.uniform(0.05, 1.0))
        if kill % 3 == 2:
            wait_for("a flush", 30, lambda: list(server.data_dir.glob("data/**/*.tmp")))
        server.kill()
        senders.join()
        kills_with_files += bool(server.parquet_files())
        if kill % 5 == 4:
            server.launch()
            # Not before the process does anything at all, and mostly in the middle of the recovery.
            wait_for("the lock of the data directory", 30, lambda: holder(server) == server.process.pid)
            time.sleep(dice.uniform(0.0, 0.05))
            server.kill()
        server.start()
        check(f"after kill {kill + 1}", server, ledgers, stored(server, token))

    server.stop()
    check("in the files", server, ledgers, stored_in_files(server))
    for ledger in ledgers.values():
        # The scenario took place: there was ingest, it was hit, and there were flushes before and after.
        assert len(ledger.acknowledged) > 100 * KILLS and ledger.unanswered
    assert kills_with_files > KILLS / 2


class Senders:
    """Threads that export until the server is gone."""

    def __init__(self, address, token, ledgers, seed):
        self.failures = []
        self.threads = [
            threading.Thread(target=self.send, args=(address, token, signal, ledgers[signal], f"{seed}-{sender}"))
            for signal in otlp.SIGNALS
            for sender in range(SENDERS_PER_SIGNAL)
        ]
        for thread in self.threads:
            thread.start()

    def send(self, address, token, signal, ledger, seed):
        dice = random.Random(f"{seed}-{signal}")
        try:
            with otlp.Client(address, token) as client:
                while True:
                    ids = ledger.take(dice.randint(1, LARGEST_BATCH))
                    try:
                        client.export(signal, request(signal, ids))
                    except grpc.RpcError as error:
                        ledger.note_unanswered(ids)
                        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                        return
                    ledger.note_acknowledged(ids)
        except Exception as error:
            self.failures.append(error)

    def join(self):
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a sender got no answer and no error"
        assert not self.failures, self.failures


def holder(server):
    lock = server.data_dir / "LOCK"
    text = lock.read_text().strip() if lock.exists() else ""
    return int(text) if text else None


def request(signal, ids):
    now = time.time_ns()
    if signal == "metrics":
        points = [
            otlp.NumberDataPoint(time_unix_nano=now, as_int=identity, attributes=otlp.attributes(id=identity))
            for identity in ids
        ]
        return otlp.metrics_request("sender", "kill9.points", points)
    if signal == "logs":
        records = [
            otlp.LogRecord(
                time_unix_nano=now, body=otlp.any_value(str(identity)), attributes=otlp.attributes(id=identity)
            )
            for identity in ids
        ]
        return otlp.logs_request("sender", records)
    spans = [
        otlp.Span(
            trace_id=(identity + 1).to_bytes(16, "big"),
            span_id=(identity + 1).to_bytes(8, "big"),
            name="kill9",
            start_time_unix_nano=now,
            end_time_unix_nano=now + identity,
            attributes=otlp.attributes(id=identity),
        )
        for identity in ids
    ]
    return otlp.traces_request("sender", spans)


def check(when, server, ledgers, found):
    """`found` has a pair for each record of a signal: its attribute `id`, and its own number."""
    wrong = {signal: ledger.judge(found[signal]) for signal, ledger in ledgers.items()}
    report = "\n".join(f"{signal}: {text}" for signal, text in wrong.items() if text)
    assert not report, f"{when} (seed {SEED}):\n{report}\ndata directory: {server.data_dir}\nlog: {server.log_file}"


def stored(server, token):
    """All records of each signal, as Flight SQL answers."""
    identity = "CAST(attributes->>'id' AS BIGINT)"
    with server.flight(token) as flight:
        return {
            signal: pairs(flight.query(f"SELECT {identity} AS id, {number} AS own FROM {signal}"))
            for signal, number in OWN_NUMBER.items()
        }


def pairs(table):
    return list(zip(*(column.to_pylist() for column in table.columns)))


def stored_in_files(server):
    """The same from the Parquet files, read by DuckDB."""
    found = {}
    with duckdb.connect() as connection:
        for signal, number in OWN_NUMBER.items():
            files = f"{server.data_dir}/data/{signal}/**/*.parquet"
            sql = f"SELECT CAST(attributes->>'$.id' AS BIGINT), {number} FROM read_parquet(?)"
            found[signal] = connection.execute(sql, [files]).fetchall()
    return found
