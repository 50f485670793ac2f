"""Backups of a server that takes all it can get, and backups and servers that are killed."""

import json
import random
import subprocess
import time
from collections import Counter

from ledger import Senders, new_ledgers
from readers import counted, stored, stored_in_files

BACKUPS = 5
KILLS = 8
SEED = 20_261_121

# Small, so that there are flushes, compactions and new log segments all the time.
SETTINGS = {
    "STORAGE_FLUSH_INTERVAL": "100ms",
    "STORAGE_WAL_SEGMENT_BYTES": "64KiB",
    "STORAGE_MAINTENANCE_INTERVAL": "20ms",
    "STORAGE_MAINTENANCE_CPU_SHARE": "100%",
    "STORAGE_COMPACTION_COLD_AFTER": "1s",
    "INGEST_MAX_MESSAGE_BYTES": "32KiB",
    "INGEST_MAX_HTTP_MESSAGE_BYTES": "32KiB",
    "SERVER_LOG_LEVEL": "warn",
}


def command(server, name, *arguments):
    return [server.binary, name, *map(str, arguments), "--data-dir", str(server.data_dir)]


def run(server, name, *arguments):
    """The summary of a command that succeeds."""
    done = subprocess.run(
        [*command(server, name, *arguments), "--format", "json"],
        env=server.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def acknowledged(ledgers):
    """What is acknowledged at this moment, and so has to be in a backup that begins after it."""
    found = {}
    for signal, ledger in ledgers.items():
        with ledger.lock:
            found[signal] = set(ledger.acknowledged)
    return found


def assert_complete(when, before, ledgers, found):
    for signal, ledger in ledgers.items():
        times = Counter(identity for identity, _ in found[signal])
        lost = sorted(before[signal] - times.keys())
        doubled = sorted(identity for identity, count in times.items() if count > 1)
        invented = sorted(identity for identity in times if identity >= ledger.sent)
        mixed = [pair for pair in found[signal] if pair[0] != pair[1]]
        assert not (lost or doubled or invented or mixed), (
            f"{when}, {signal}: {len(lost)} lost {lost[:5]}, {len(doubled)} doubled {doubled[:5]}, "
            f"{len(invented)} invented {invented[:5]}, {len(mixed)} mixed {mixed[:5]}"
        )


def assert_restorable(when, make_server, backups, snapshot, before, ledgers, token):
    """Three readers agree on the restored store: Flight SQL, with a token of the original, `count(*)`, and DuckDB."""
    restored = make_server(**SETTINGS)
    run(restored, "restore", "--from", backups, "--snapshot", snapshot)
    restored.start()
    found = stored(restored, token)
    assert_complete(when, before, ledgers, found)
    assert counted(restored, token) == {signal: len(pairs) for signal, pairs in found.items()}, when
    losses = restored.adbc(restored.token(roles=("admin",)))
    with losses, losses.cursor() as cursor:
        cursor.execute("SELECT * FROM system.data_loss")
        assert cursor.fetchall() == [], when
    restored.stop()
    in_files = stored_in_files(restored)
    assert {signal: sorted(pairs) for signal, pairs in in_files.items()} == {
        signal: sorted(pairs) for signal, pairs in found.items()
    }, when


def test_backups_of_a_busy_server_have_every_acknowledged_record_once(make_server, tmp_path):
    """Scenario: six senders export all signals as fast as they are acknowledged, while the server flushes and compacts and
    backups are made of it. Then each backup is restored.
    Guarantees: a backup has every record that was acknowledged before it began, each once, and none that was not sent; the
    original has lost nothing by being backed up; a token made for the original opens the restored store."""
    server = make_server(**SETTINGS).start()
    token = server.token()
    backups = tmp_path / "backups"
    ledgers = new_ledgers()
    senders = Senders(server.address, token, ledgers, SEED)
    taken = []
    for _ in range(BACKUPS):
        # So that the store differs from one backup to the next; nothing is waited for.
        time.sleep(0.3)
        before = acknowledged(ledgers)
        taken.append((before, run(server, "backup", "--to", backups)))
    senders.stop()
    everything = acknowledged(ledgers)
    assert_complete("the original", everything, ledgers, stored(server, token))
    server.stop()

    for number, (before, report) in enumerate(taken):
        assert_restorable(f"backup {number}", make_server, backups, report["snapshot"], before, ledgers, token)
    # The scenario took place.
    assert all(ledger.acknowledged for ledger in ledgers.values())
    assert sum(report["data_files"] for _, report in taken) > 0
    pool = {path.name for path in (backups / "files").iterdir()}
    assert len(pool) == sum(report["new_data_files"] for _, report in taken)


def test_killed_backups_and_servers_leave_a_backup_that_can_be_made(make_server, tmp_path):
    """Scenario: again and again a backup of a busy server is begun, and the backup, or the server under it, is killed at a
    random moment. Then the server is started, if need be, and a backup is made of it.
    Guarantees: what a killed backup left is never taken for a snapshot and is in nobody's way; a backup of which the server
    was killed is as good as any."""
    server = make_server(**SETTINGS).start()
    token = server.token()
    backups = tmp_path / "backups"
    ledgers = new_ledgers()
    dice = random.Random(SEED)
    whole = []
    for kill in range(KILLS):
        senders = Senders(server.address, token, ledgers, dice.randrange(2**32))
        time.sleep(0.2)
        before = acknowledged(ledgers)
        backup = subprocess.Popen(
            [*command(server, "backup", "--to", backups), "--format", "json"],
            env=server.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        # The moment of the kill is what is random here; nothing is waited for.
        time.sleep(dice.uniform(0.0, 0.3))
        if kill % 2:
            backup.kill()
            backup.communicate()
            senders.stop()
        else:
            server.kill()
            output, _ = backup.communicate(timeout=60)
            senders.join()
            assert backup.returncode == 0
            whole.append((before, json.loads(output)["snapshot"]))
            server.start()
        before = acknowledged(ledgers)
        whole.append((before, run(server, "backup", "--to", backups, "--keep", "5")["snapshot"]))
        assert not (server.data_dir / "backup.tmp").exists()
    server.stop()

    kept = {path.parent.name for path in backups.glob("snapshots/*/MANIFEST.json")}
    assert len(kept) == 5 and kept <= {snapshot for _, snapshot in whole} | kept
    # The newest is of a store that nobody wrote to any more; the others were made under load and under kills.
    for before, snapshot in [pair for pair in whole if pair[1] in kept][-3:]:
        assert_restorable(snapshot, make_server, backups, snapshot, before, ledgers, token)
