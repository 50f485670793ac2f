"""kill -9 in the middle of ingest: what was acknowledged is there, once; what was never sent is not."""

import random
import time

from harness import wait_for
from ledger import Senders, check, new_ledgers
from readers import stored, stored_in_files

KILLS = 25
SEED = 20_260_101

# Small, so that a round has several flushes and several log segments, and kills hit them too.
SETTINGS = {
    "STORAGE_FLUSH_INTERVAL": "300ms",
    "STORAGE_WAL_SEGMENT_BYTES": "64KiB",
    "INGEST_MAX_MESSAGE_BYTES": "32KiB",
    "INGEST_MAX_HTTP_MESSAGE_BYTES": "32KiB",
    "SERVER_LOG_LEVEL": "warn",
}


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
    ledgers = new_ledgers()
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
            wait_for("the lock of the data directory", 30, lambda: server.holder() == server.process.pid)
            time.sleep(dice.uniform(0.0, 0.05))
            server.kill()
        server.start()
        check(f"after kill {kill + 1} (seed {SEED})", server, ledgers, stored(server, token))

    server.stop()
    check(f"in the files (seed {SEED})", server, ledgers, stored_in_files(server))
    for ledger in ledgers.values():
        # The scenario took place: there was ingest, it was hit, and there were flushes before and after.
        assert len(ledger.acknowledged) > 100 * KILLS and ledger.unanswered
    assert kills_with_files > KILLS / 2
