"""The load under which faults happen: senders of all signals, queriers, and settings by which everything runs often."""

import subprocess
import threading
from functools import cache

import otlp
import pyarrow as pa
from harness import START_LIMIT_S, rows, wait_for
from ledger import Senders, check
from readers import counted, stored, stored_in_files

TENANT = "acme"
# The records of this tenant pass their retention a moment after they were sent.
FLEETING = "fleeting"
KEEP_S = 24 * 3600

# Small, so that a second has several flushes, log segments and compactions, and faults hit them too.
SETTINGS = {
    "SERVER_LOG_LEVEL": "warn",
    "INGEST_MAX_MESSAGE_BYTES": "32KiB",
    "INGEST_MAX_HTTP_MESSAGE_BYTES": "32KiB",
    "STORAGE_FLUSH_INTERVAL": "300ms",
    "STORAGE_WAL_SEGMENT_BYTES": "64KiB",
    "STORAGE_MAINTENANCE_INTERVAL": "250ms",
    "STORAGE_MAINTENANCE_CPU_SHARE": "100%",
    "STORAGE_COMPACTION_COLD_AFTER": "500ms",
    "STORAGE_COMPACTION_DAY_AFTER": "1s",
}

# Records of this hour, of the one before, and of the day before yesterday: each flush writes into partitions of which
# compaction makes files of an hour and of a day.
AGES_S = {TENANT: (0, 0, 0, 3600, 49 * 3600), FLEETING: (KEEP_S - 1,)}
SENDERS_PER_SIGNAL = {TENANT: 2, FLEETING: 1}
# As fast as they are answered; the few records of the other one are enough to lose.
PAUSE_S = {TENANT: 0, FLEETING: 0.05}

QUERIERS = 2


class Store:
    """A server under load, and what was sent to it."""

    def __init__(self, case, name, data_dir=None):
        self.server = case.server(**SETTINGS)
        self.server.data_dir = data_dir or self.server.data_dir
        self.server.start()
        tenants = [TENANT, FLEETING] if has_retention(self.server.binary) else [TENANT]
        self.tokens = {tenant: self.server.token(tenant, ttl="24h") for tenant in tenants}
        self.ledgers = {tenant: case.new_ledgers(f"{name}, {tenant}") for tenant in tenants}
        if FLEETING in tenants:
            for signal in otlp.SIGNALS:
                keep_for(self.server, FLEETING, signal, KEEP_S)

    def check(self, when, **allowed):
        """By all three readers. The server has started, so all is in files, and nobody sends."""
        check_all_readers(when, self.server, self.tokens[TENANT], self.ledgers[TENANT], **allowed)
        if FLEETING in self.tokens:
            found = stored(self.server, self.tokens[FLEETING])
            check(f"{when}, {FLEETING}", self.server, self.ledgers[FLEETING], found, may_be_gone=True, **allowed)

    def all_ledgers(self):
        return [ledger for by_signal in self.ledgers.values() for ledger in by_signal.values()]

    def assert_some_has_expired(self):
        """Where the server has a retention."""
        if FLEETING in self.tokens:
            sent = sum(len(ledger.acknowledged) for ledger in self.ledgers[FLEETING].values())
            assert sum(counted(self.server, self.tokens[FLEETING]).values()) < sent


class Load:
    """Senders of all signals, and queriers."""

    def __init__(self, store, dice):
        self.store = store
        self.senders = [
            Senders(
                store.server.address,
                token,
                store.ledgers[tenant],
                dice.randrange(2**32),
                per_signal=SENDERS_PER_SIGNAL[tenant],
                ages_s=AGES_S[tenant],
                pause_s=PAUSE_S[tenant],
            )
            for tenant, token in store.tokens.items()
        ]
        self.answers = 0
        self.failures = []
        self.stopping = threading.Event()
        self.queriers = [threading.Thread(target=self.ask) for _ in range(QUERIERS)]
        for querier in self.queriers:
            querier.start()

    def ask(self):
        """Asks until the server is gone: every answer has each record once, and all that were acknowledged before."""
        try:
            with self.store.server.flight(self.store.tokens[TENANT]) as flight:
                while not self.stopping.is_set():
                    for signal, ledger in self.store.ledgers[TENANT].items():
                        self.ask_once(flight, signal, ledger)
        except (pa.lib.ArrowException, OSError) as error:
            # How a query ends when the server goes away in the middle of it is of no interest.
            if not self.stopping.wait(5):
                self.failures.append(error)
        except Exception as error:
            self.failures.append(error)

    def ask_once(self, flight, signal, ledger):
        known = len(ledger.acknowledged)
        sql = f"SELECT count(*) AS found, count(DISTINCT attributes->>'id') AS different FROM {signal}"
        ((found, different),) = [row.values() for row in rows(flight.query(sql))]
        assert found == different, f"{signal}: {found} rows of {different} records"
        assert found >= known, f"{signal}: {found} rows, but {known} records were acknowledged before"
        self.answers += 1

    def end(self):
        """After the server has gone away, or when it shall have peace."""
        self.stopping.set()
        for senders in self.senders:
            senders.stop()
        for querier in self.queriers:
            querier.join(60)
            assert not querier.is_alive(), "a query got no answer and no error"
        assert not self.failures, self.failures


def check_all_readers(when, server, token, ledgers, **allowed):
    """Flight SQL, DuckDB on the live files, `count(*)`. All is in files: the server has started and nobody sends."""
    found = stored(server, token)
    check(f"{when}, over Flight SQL", server, ledgers, found, **allowed)
    check(f"{when}, in the files", server, ledgers, stored_in_files(server, TENANT), **allowed)
    numbers = {signal: len(of_signal) for signal, of_signal in found.items()}
    assert counted(server, token) == numbers, f"{when}: count(*) differs"


def begin_recovery(server):
    """Starts a process, and returns when it has the data directory and has not answered yet."""
    server.launch()
    # Not before the process does anything at all.
    wait_for("the lock of the data directory", START_LIMIT_S, lambda: server.holder() == server.process.pid)


@cache
def has_retention(binary):
    return subprocess.run([binary, "retention", "--help"], capture_output=True, check=False).returncode == 0


def keep_for(server, tenant, signal, keep_s):
    command = [server.binary, "retention", "set", "--tenant", tenant, "--signal", signal, "--keep", f"{keep_s}s"]
    command += ["--data-dir", server.data_dir]
    done = subprocess.run(command, env=server.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
