"""SIGKILL and SIGTERM while everything runs at once."""

import time

from load import TENANT, Load, Store, begin_recovery

# Reading everything after each kill would take longer and longer: then a new directory is begun.
KILLS_OF_A_DIRECTORY = 25


def test_sigkill_under_load_loses_and_doubles_nothing(case, counts):
    """Scenario: at random times the server is killed while six senders export all three signals into old and new hours,
    two queriers ask, and flushes, compaction and retention run; every fifth time it is killed during the next start as
    well. Three more senders send what is past its retention a second later.
    Guarantees: no answer counts a record twice or leaves one out that was acknowledged before the question. After every
    start each acknowledged record is there exactly once, nothing that was refused or never sent is there, and a batch
    without an answer is there whole or not at all; rows over Flight SQL, DuckDB on the live files and `count(*)` agree.
    What is past its retention may be gone, and is not there twice."""
    for kill in range(counts.kills):
        if kill % KILLS_OF_A_DIRECTORY == 0:
            store = Store(case, f"directory {kill // KILLS_OF_A_DIRECTORY}")
            answers = 0
        load = Load(store, case.dice)
        pause_s = case.dice.uniform(0.05, 0.6)
        case.note(kill=kill, after_s=pause_s)
        # The moment of the kill is what is random here; nothing is waited for.
        time.sleep(pause_s)
        store.server.kill()
        load.end()
        answers += load.answers
        if kill % 5 == 4:
            begin_recovery(store.server)
            # Mostly in the middle of it.
            time.sleep(case.dice.uniform(0.0, 0.05))
            store.server.kill()
        store.server.start()
        store.check(f"after kill {kill + 1}")
        if kill + 1 == counts.kills or (kill + 1) % KILLS_OF_A_DIRECTORY == 0:
            assert_it_took_place(store, answers, kills=kill % KILLS_OF_A_DIRECTORY + 1)
            case.forget(store.server)


def assert_it_took_place(store, answers, kills):
    for ledger in store.ledgers[TENANT].values():
        assert ledger.acknowledged and ledger.unanswered
    assert answers
    if kills == KILLS_OF_A_DIRECTORY:
        store.assert_some_has_expired()


def test_sigterm_under_load_loses_and_doubles_nothing(case, counts):
    """Scenario: the server is stopped in order, again and again, while senders export and queriers ask.
    Guarantees: it ends with 0. After the next start each acknowledged record is there exactly once, and nothing that
    was refused on the way down is there."""
    store = Store(case, "directory")
    for stop in range(counts.stops):
        load = Load(store, case.dice)
        pause_s = case.dice.uniform(0.2, 0.8)
        case.note(stop=stop, after_s=pause_s)
        time.sleep(pause_s)
        store.server.stop()
        load.end()
        store.server.start()
        store.check(f"after stop {stop + 1}")
    assert all(ledger.acknowledged for ledger in store.all_ledgers())
