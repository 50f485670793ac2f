"""The disk is full, and has room again."""

import grpc
import otlp
import pytest
from harness import START_LIMIT_S, wait_for
from ledger import Senders
from load import SETTINGS, check_all_readers
from outcome import last_words, launch_and_wait
from readers import counted

DISK_BYTES = 48 << 20
# Within this, senders are refused on a full disk: the server may have a segment that it has taken room for.
REFUSAL_LIMIT_S = 20
RESUMPTION_LIMIT_S = 5

# A directory this small gets full of what is stored, too: then a new one is begun.
CYCLES_OF_A_DISK = 5
PAUSE_S = 0.02


# What is kept free: nothing, so that writes fail; or what is the default, so that senders are refused before that.
@pytest.mark.parametrize("kept_free", [{"STORAGE_MIN_FREE_BYTES": "0"}, {}], ids=["writes_fail", "some_is_kept_free"])
def test_a_full_disk_refuses_and_goes_on_once_there_is_room(case, counts, file_systems, kept_free):
    """Scenario: while senders send, the disk is filled up to the last byte and freed; the last time in a row the server
    is killed while the disk is full, and started again before there is room.
    Guarantees: while the disk is full, senders are told to send again later (UNAVAILABLE with RetryInfo) and reads go
    on. With room again, batches of every signal are acknowledged within 5 s, by the same process. A start on a full
    disk either succeeds or says in one line what is missing. Nothing acknowledged is lost, nothing is there twice."""
    for cycle in range(counts.full_disks):
        is_last = cycle + 1 == counts.full_disks or (cycle + 1) % CYCLES_OF_A_DISK == 0
        if cycle % CYCLES_OF_A_DISK == 0:
            disk = file_systems.memory(DISK_BYTES)
            server = case.server(**SETTINGS | kept_free)
            server.data_dir = disk.path / "data-dir"
            ledgers = case.new_ledgers(f"sender of disk {cycle // CYCLES_OF_A_DISK}")
            server.start()
            token = server.token()
            senders = new_senders(case, server, token, ledgers)
        case.note(cycle=cycle)
        wait_for_acknowledgements(ledgers, START_LIMIT_S)
        disk.fill()
        wait_for_refusals(senders)
        assert_reads_go_on(server, token, ledgers)
        if is_last:
            server.kill()
            senders.stop()
            start_on_a_full_disk(server, token, ledgers)
            disk.free()
            if server.process is None:
                server.start()
            senders = new_senders(case, server, token, ledgers)
        else:
            disk.free()
        wait_for_acknowledgements(ledgers, RESUMPTION_LIMIT_S)
        if is_last:
            senders.stop()
            server.kill()
            server.start()
            check_all_readers(f"after cycle {cycle + 1}", server, token, ledgers, refused_may_be_there=True)
            case.forget(server)
            file_systems.forget(disk)


def new_senders(case, server, token, ledgers):
    return Senders(server.address, token, ledgers, case.dice.randrange(2**32), per_signal=1, pause_s=PAUSE_S)


def wait_for_acknowledgements(ledgers, limit_s):
    """One more batch of every signal."""
    before = {signal: len(ledger.acknowledged) for signal, ledger in ledgers.items()}
    wait_for(
        "an acknowledgement of every signal",
        limit_s,
        lambda: all(len(ledger.acknowledged) > before[signal] for signal, ledger in ledgers.items()),
    )


def wait_for_refusals(senders):
    before = len(senders.refusals)
    # Each sender sends again what was refused, so every one is refused by then.
    enough = before + 3 * len(otlp.SIGNALS)
    wait_for("refusals", REFUSAL_LIMIT_S, lambda: senders.failures or len(senders.refusals) >= enough)
    assert not senders.failures, senders.failures
    assert {error.code() for error in senders.refusals} == {grpc.StatusCode.UNAVAILABLE}


def assert_reads_go_on(server, token, ledgers):
    acknowledged = {signal: len(ledger.acknowledged) for signal, ledger in ledgers.items()}
    found = counted(server, token)
    assert all(found[signal] >= acknowledged[signal] for signal in otlp.SIGNALS), (found, acknowledged)


def start_on_a_full_disk(server, token, ledgers):
    """Either reads work, or the process has ended and said why."""
    if launch_and_wait(server):
        assert_reads_go_on(server, token, ledgers)
    else:
        words = last_words(server)
        assert any(word in words for word in ("space", "full", "room")), words
