"""The disk loses power: what was not synced is gone, names included."""

import time

from file_systems import FLUSH_ALL, FLUSH_JOURNAL, FLUSH_NOTHING
from load import TENANT, Load, Store

CUTS_OF_A_DISK = 20


def test_a_power_cut_under_load_loses_and_doubles_nothing(case, counts, file_systems):
    """Scenario: the file system under the data directory is shut down at random times under load, half of the times
    without flushing its journal; the server, which goes on for a moment, is killed, and the journal is replayed as
    after a boot.
    Guarantees: after every start each record that was acknowledged before the cut is there exactly once, a batch that
    was refused or has no answer is there whole or not at all, and all three readers agree."""
    for cut in range(counts.power_cuts):
        if cut % CUTS_OF_A_DISK == 0:
            disk = file_systems.ext4()
            store = Store(case, f"disk {cut // CUTS_OF_A_DISK}", data_dir=disk.path / "data-dir")
        load = Load(store, case.dice)
        pause_s, grace_s = case.dice.uniform(0.05, 1.0), case.dice.uniform(0.0, 0.1)
        flush = FLUSH_NOTHING if cut % 2 == 0 else case.dice.choice((FLUSH_JOURNAL, FLUSH_ALL))
        case.note(cut=cut, after_s=pause_s, killed_after_s=grace_s, flush=flush)
        # The moments of the cut and of the kill are what is random here; nothing is waited for.
        time.sleep(pause_s)
        with disk.without_power(flush, store.all_ledgers()):
            time.sleep(grace_s)
            store.server.kill()
            load.end()
        store.server.start()
        store.check(f"after cut {cut + 1}", refused_may_be_there=True)
        if cut + 1 == counts.power_cuts or (cut + 1) % CUTS_OF_A_DISK == 0:
            for ledger in store.ledgers[TENANT].values():
                assert ledger.acknowledged and ledger.refused + ledger.unanswered
            case.forget(store.server)
            file_systems.forget(disk)
