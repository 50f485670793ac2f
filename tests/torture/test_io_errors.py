"""The disk says EIO: at the first sync, write or rename, at the second, and so on, in each part of the store."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
from file_systems import FLUSH_NOTHING
from harness import wait_for
from ledger import Senders
from load import AGES_S, SETTINGS, TENANT, check_all_readers
from readers import counted
from strace import RENAME, SYNC, WRITE, WRITE_AT, Fault, threads_of

CATALOG = ("catalog.db", "catalog.db-wal")

# Small segments and files: the calls that make and end them come often.
OFTEN = SETTINGS | {
    "INGEST_MAX_MESSAGE_BYTES": "2KiB",
    "INGEST_MAX_HTTP_MESSAGE_BYTES": "2KiB",
    "STORAGE_WAL_SEGMENT_BYTES": "4KiB",
    "STORAGE_FLUSH_INTERVAL": "100ms",
}

# How long the senders send for a fault to happen. A thread may not get to its n-th call in that time.
FAULT_LIMIT_S = 4
# Within this, senders have an answer again, whatever it is.
ANSWER_LIMIT_S = 5
CASES_OF_A_DIRECTORY = 10


@dataclass(frozen=True)
class Target:
    """Calls of a thread. `reach` is the last of them that a second or two gets to."""

    thread: str
    calls: str
    reach: int
    # Only on these, in the data directory.
    paths: tuple = ()


TARGETS = (
    Target("alula-wal", SYNC, 50),
    Target("alula-flush", SYNC, 20),
    Target("alula-wal", WRITE_AT, 50),
    Target("alula-flush", WRITE, 50),
    Target("alula-flush", WRITE_AT, 50, CATALOG),
    Target("alula-flush", SYNC, 4, CATALOG),
    Target("alula-wal", RENAME, 10),
    Target("alula-flush", RENAME, 8),
    Target("alula-wal", SYNC, 10, ("wal",)),
    Target("alula-maintain", SYNC, 10),
    Target("alula-maintain", WRITE, 20),
    Target("alula-maintain", RENAME, 4),
)


def test_nothing_acknowledged_is_lost_when_a_call_fails_with_eio(case, counts):
    """Scenario: one sync, write or rename of the log, of a data file, of a directory or of the catalog fails while
    senders send: in turn the first, the second, and so on to the 50th that the thread makes. Then the server is killed
    and started without faults. The long gate has every number with every part of the store.
    Guarantees: senders are answered again within 5 s, refused or not, and reads go on. After the start each
    acknowledged record is there exactly once. A log segment whose sync failed is not synced again."""
    run_in_parallel(case, faults_up_to(counts.io_errors, with_every_target=counts.is_long), file_systems=None)


def test_nothing_acknowledged_is_lost_when_power_is_cut_after_eio(case, counts, file_systems):
    """Scenario: the same, and instead of the kill the disk loses power.
    Guarantees: the same. What a sync that failed has not written is gone, so nothing was acknowledged by it."""
    if not counts.io_error_cuts:
        pytest.skip("in the long gate only")
    run_in_parallel(case, faults_up_to(counts.io_error_cuts, with_every_target=True), file_systems)


def faults_up_to(last, with_every_target):
    """Pairs of a number and a target: every number with every target, or once."""
    if with_every_target:
        return [(number, target) for number in range(1, last + 1) for target in TARGETS]
    return [(number, target_in_turn(number)) for number in range(1, last + 1)]


def target_in_turn(number):
    in_turn = [TARGETS[(number + i) % len(TARGETS)] for i in range(len(TARGETS))]
    return next(target for target in in_turn if number <= target.reach)


def run_in_parallel(case, faults, file_systems):
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        parts = [pool.submit(run, case, faults[worker::workers], file_systems, worker) for worker in range(workers)]
        happened = sum(part.result() for part in parts)
    # The scenario took place.
    within_reach = sum(number <= target.reach for number, target in faults)
    assert happened > within_reach / 2, f"{happened} faults happened, of {within_reach} within reach"


def run(case, faults, file_systems, worker):
    """How many of the faults happened. With `file_systems`, the disk loses power at the end of each."""
    happened = 0
    for first in range(0, len(faults), CASES_OF_A_DIRECTORY):
        name = f"worker {worker}, from fault {first}"
        disk = file_systems.ext4() if file_systems else None
        prey = Prey(case, name, disk)
        for number, target in faults[first : first + CASES_OF_A_DIRECTORY]:
            if threads_of(prey.server, target.thread):
                happened += prey.survives(number, target)
        case.forget(prey.server)
        if disk:
            file_systems.forget(disk)
    return happened


class Prey:
    """A server that meets one fault after the other, and what was sent to it."""

    def __init__(self, case, name, disk):
        self.case, self.name, self.disk = case, name, disk
        self.server = case.server(**OFTEN)
        if disk:
            self.server.data_dir = disk.path / "data-dir"
        self.ledgers = case.new_ledgers(name)
        self.log = self.server.ready_file.parent / "strace.log"
        self.server.start()
        self.token = self.server.token()

    def survives(self, number, target):
        """Whether the fault happened; nothing was lost by it."""
        paths = [self.server.data_dir / name for name in target.paths]
        fault = Fault(self.server, target.thread, target.calls, number, self.log, paths)
        seed = f"{self.case.seed}, {self.name}, {number}"
        senders = Senders(
            self.server.address, self.token, self.ledgers, seed, per_signal=1, ages_s=AGES_S[TENANT]
        )
        happened = has_happened_in_time(fault)
        if happened:
            self.assert_answers_go_on(senders)
        self.case.note(name=self.name, target=target, number=number, call=fault.call())
        with self.disk.without_power(FLUSH_NOTHING, self.ledgers.values()) if self.disk else nullcontext():
            self.server.kill()
            senders.stop()
            fault.end()
        when = f"after EIO at {fault.call()}"
        assert not fault.second_syncs(), f"{when}: synced again: {fault.second_syncs()}, see {self.log}"
        self.server.start()
        check_all_readers(when, self.server, self.token, self.ledgers, refused_may_be_there=True)
        return happened

    def assert_answers_go_on(self, senders):
        def answered():
            acknowledged = sum(len(ledger.acknowledged) for ledger in self.ledgers.values())
            return acknowledged + len(senders.refusals)

        before = answered()
        wait_for("an answer after the fault", ANSWER_LIMIT_S, lambda: answered() > before or senders.failures)
        counted(self.server, self.token)


def has_happened_in_time(fault):
    try:
        wait_for("the fault", FAULT_LIMIT_S, fault.has_happened)
    except AssertionError:
        return False
    return True
