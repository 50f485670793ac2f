"""The remote tier in a real S3 server: every row is there, once, before and after its file moves, whatever fails on the way."""

import base64
import os
import random
import time
from collections import Counter

import otlp
import pyarrow as pa
import pytest
import readers
from harness import rows, wait_for
from ledger import Senders, check, new_ledgers
from s3 import BUCKET, Proxy, S3Server, credentials

SEED = 20_261_117
KILLS = 6

# Files move as soon as they are written. Maintenance goes on without a pause, and its steps are short.
SETTINGS = {
    "STORAGE_REMOTE_URL": f"s3://{BUCKET}/some/prefix",
    "STORAGE_REMOTE_AFTER": "0s",
    "STORAGE_REMOTE_ORPHAN_AGE": "1s",
    "STORAGE_REMOTE_CACHE_BYTES": "64MiB",
    "STORAGE_MAINTENANCE_INTERVAL": "100ms",
    "STORAGE_MAINTENANCE_CPU_SHARE": "100%",
    "STORAGE_FLUSH_INTERVAL": "300ms",
    "SERVER_LOG_LEVEL": "info",
}


@pytest.fixture
def s3(tmp_path):
    server = S3Server(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def proxy(s3, monkeypatch):
    """Stands before the S3 server; the servers of the test find it in their environment."""
    made = Proxy(s3.address, SEED)
    for name, value in credentials(made.address).items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


def tiers(server):
    """How many live files are in which tier."""
    listed = readers.catalog(server, "SELECT tier, count(*) AS number FROM files WHERE state = 'live' GROUP BY tier")
    return {row["tier"]: row["number"] for row in listed}


def is_settled(server, s3):
    """Every file is remote, its local copy is gone, and the bucket has an object for each of them and no other."""
    number = tiers(server)
    listed = readers.catalog(server, "SELECT id FROM files WHERE state = 'live'")
    stems = {key.rsplit("/", 1)[1].removesuffix(".parquet") for key in s3.objects()}
    return (
        number.get("remote", 0) > 0
        and number.get("local", 0) == 0
        and not server.parquet_files()
        and stems == {row["id"] for row in listed}
        and not s3.unfinished_uploads()
    )


def wait_until_settled(server, s3, limit_s=90):
    wait_for(f"the last file to move, see {server.log_file}", limit_s, lambda: is_settled(server, s3))


def send_for(server, ledgers, token, seconds, seed=SEED):
    senders = Senders(server.address, token, ledgers, seed, per_signal=1, pause_s=0.02)
    time.sleep(seconds)
    senders.stop()


def test_rows_are_the_same_before_and_after_their_files_move(make_server, s3, proxy):
    """Scenario: rows of all signals are stored with the tier unset, then the server starts with it and every file moves;
    it starts again with an empty cache, and again with the one it left.
    Guarantees: each time `SELECT *` gives the same rows; what the S3 server has are plain Parquet files."""
    server = make_server(**{key: value for key, value in SETTINGS.items() if "REMOTE" not in key})
    server.start()
    token, ledgers = server.token(), new_ledgers()
    send_for(server, ledgers, token, 2)
    server.restart()
    before = all_rows(server, token)
    check("before", server, ledgers, readers.stored(server, token))

    server.stop()
    server.settings = SETTINGS
    server.start()
    wait_until_settled(server, s3)
    assert all_rows(server, token) == before
    server.restart()
    assert all_rows(server, token) == before, "with the cache of the process before"
    check("after", server, ledgers, readers.stored(server, token))
    assert readers.counted(server, token) == {name: sum(counts.values()) for name, counts in before.items()}
    assert all((s3.root / BUCKET / key).read_bytes()[:4] == b"PAR1" for key in s3.objects())


def all_rows(server, token):
    with server.flight(token) as flight:
        return {signal: Counter(map(repr, rows(flight.query(f"SELECT * FROM {signal}")))) for signal in otlp.SIGNALS}


def test_kill_9_and_a_bad_network_double_and_lose_nothing(make_server, s3, proxy):
    """Scenario: 20 % of the requests to the store get a 500, a reset before or in the middle of the answer, an answer at
    1 KiB/s, or have their effect and no answer, while rows come in, files move and are read, and the server is killed at
    random moments. Then the network is sound again.
    Guarantees: after every start each acknowledged record is there once; a query fails only as unavailable. In the end
    every file is remote, and there is one object for each and none besides."""
    server = make_server(**SETTINGS)
    server.start()
    token, ledgers, dice = server.token(), new_ledgers(), random.Random(SEED)
    proxy.faults.percent, proxy.faults.slow_left = 20, 4
    unavailable = 0
    for kill in range(KILLS):
        senders = Senders(server.address, token, ledgers, dice.randrange(2**32), per_signal=1, pause_s=0.02)
        time.sleep(dice.uniform(0.5, 1.5))
        server.kill()
        senders.join()
        server.start()
        while True:
            try:
                found = readers.stored(server, token)
                break
            except pa.ArrowException as error:
                assert "object store of the remote tier does not answer" in str(error), error
                unavailable += 1
                assert unavailable < 100
        check(f"after kill {kill + 1} (seed {SEED})", server, ledgers, found)
    assert tiers(server).get("remote", 0) > 0
    assert sum(proxy.faults.counts.values()) > 20, proxy.faults.counts

    proxy.faults.percent = 0
    wait_until_settled(server, s3)
    server.restart()
    check(f"in the end (seed {SEED})", server, ledgers, readers.stored(server, token))


def test_a_store_that_is_down_holds_up_nothing_but_what_needs_it(make_server, s3, proxy):
    """Scenario: rows are in the tier; the S3 server ends; rows of another hour come in for a while; it starts again.
    Guarantees: a query that needs the tier is told that it is unavailable, with no address and no key; others answer, and
    ingest goes on; threads and files that wait are bounded; everything moves once the store is back."""
    server = make_server(**SETTINGS | {"STORAGE_REMOTE_CACHE_BYTES": "0"})
    server.start()
    token, ledgers = server.token(), new_ledgers()
    send_for(server, ledgers, token, 1)
    wait_until_settled(server, s3)
    # What it has in memory is gone.
    server.restart()
    threads = num_threads(server)
    s3.stop()
    with pytest.raises(pa.ArrowException) as refused, server.flight(token) as flight:
        flight.query("SELECT * FROM logs")
    assert isinstance(refused.value, pa.flight.FlightUnavailableError), refused.value
    text = str(refused.value)
    port = proxy.address.split(":")[1]
    assert "remote tier" in text and not any(word in text for word in ("http", "s3:", BUCKET, port)), text

    send_for(server, ledgers, token, 3, seed=SEED + 1)
    now = time.time_ns()
    with server.flight(token) as flight, otlp.Client(server.address, token) as client:
        client.export("logs", otlp.logs_request("apart", [record(now + 600 * 10**9)]))
        later = flight.query(f"SELECT count(*) AS n FROM logs WHERE timestamp > to_timestamp_nanos({now + 300 * 10**9})")
        assert later.to_pylist() == [{"n": 1}]
    assert tiers(server).get("local", 0) > 0
    assert num_threads(server) <= threads + 20, "threads pile up"

    s3.start()
    wait_until_settled(server, s3)
    found = readers.stored(server, token)
    found["logs"] = [pair for pair in found["logs"] if pair[0] is not None]
    check("after the outage", server, ledgers, found)


def num_threads(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def record(time_ns):
    return otlp.LogRecord(time_unix_nano=time_ns, body=otlp.any_value("0"))


def test_a_large_file_goes_in_parts_and_a_kill_leaves_no_upload_behind(make_server, s3, proxy):
    """Scenario: a file of more than 64 MiB, which goes up in parts; the server is killed in the middle, and started again.
    Guarantees: the upload that was cut off is aborted, the file gets there, and it is read back in full."""
    server = make_server(
        **SETTINGS
        | {
            "STORAGE_FLUSH_INTERVAL": "1h",
            "STORAGE_FLUSH_BYTES": "400MiB",
            "STORAGE_MAX_BUFFER_BYTES": "600MiB",
            "INGEST_MAX_MESSAGE_BYTES": "4MiB",
        }
    )
    server.start()
    token, dice = server.token(), random.Random(SEED)
    bodies = [base64.b85encode(dice.randbytes(48 << 10)).decode() for _ in range(1600)]
    with otlp.Client(server.address, token) as client:
        now = time.time_ns()
        for first in range(0, len(bodies), 50):
            records = [
                otlp.LogRecord(time_unix_nano=now + i, body=otlp.any_value(bodies[i])) for i in range(first, first + 50)
            ]
            client.export("logs", otlp.logs_request("large", records))
    # The end of the server flushes all of it into one file.
    server.stop()
    (path,) = server.parquet_files()
    assert path.stat().st_size > 64 << 20
    proxy.faults.parts_held.set()
    server.start()
    assert proxy.faults.part_waits.wait(60), "no part was sent"
    assert s3.unfinished_uploads()
    server.kill()
    proxy.faults.parts_held.clear()
    proxy.faults.percent = 10
    server.start()
    wait_for("the file to move", 120, lambda: tiers(server) == {"remote": 1})
    proxy.faults.percent = 0
    wait_until_settled(server, s3)
    with server.flight(token) as flight:
        found = flight.query("SELECT body FROM logs").column(0).to_pylist()
    assert Counter(found) == Counter(bodies)


def test_a_damaged_object_is_an_error_and_never_a_row(make_server, s3, proxy):
    """Scenario: a bit of each object is flipped in the store, one object after the other.
    Guarantees: the query fails and names no row; with the bit as it was, it answers again."""
    server = make_server(**SETTINGS | {"STORAGE_REMOTE_CACHE_BYTES": "0", "STORAGE_REMOTE_CACHE_MEMORY": "0"})
    server.start()
    token, ledgers, dice = server.token(), new_ledgers(), random.Random(SEED)
    send_for(server, ledgers, token, 1)
    wait_until_settled(server, s3)
    for key in sorted(s3.objects()):
        path, signal = s3.root / BUCKET / key, key.split("/")[3]
        sound = path.read_bytes()
        at = dice.randrange(len(sound))
        # Its attributes stay, as they would on a disk that rots.
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(bytes([sound[at] ^ 1 << dice.randrange(8)]))
        with pytest.raises(pa.ArrowException), server.flight(token) as flight:
            flight.query(f"SELECT * FROM {signal}")
        with open(path, "r+b") as file:
            file.write(sound)
    check("with sound objects", server, ledgers, readers.stored(server, token))


def test_a_secret_in_the_url_is_refused_and_not_repeated(make_server):
    server = make_server(STORAGE_REMOTE_URL="s3://key:hunter2@bucket/path")
    server.launch()
    assert server.process.wait(30) == 2
    server.process = None
    log = server.log_tail()
    assert "remote" in log and "hunter2" not in log, log


def test_the_cache_stays_within_its_bounds(make_server, s3, proxy):
    """Guarantees: with 64 MiB of cache the directory has at most that, whatever was read."""
    server = make_server(**SETTINGS)
    server.start()
    token, ledgers = server.token(), new_ledgers()
    send_for(server, ledgers, token, 1)
    wait_until_settled(server, s3)
    readers.stored(server, token)
    server.stop()
    cache = list((server.data_dir / "cache").iterdir())
    assert cache and sum(os.stat(path).st_size for path in cache) <= 64 << 20
