"""Bits that flip on the disk: what is served is what was sent, and what cannot be served is on record."""

from harness import wait_for
from outcome import Copy
from parallel import check_each
from readers import live_files
from segments import BATCH, HEADER_BYTES, frames, segments
from victim import QUIET, Victim


def test_flipped_bits_of_the_log_are_told_from_what_is_whole(case, counts, scratch):
    """Scenario: a server is killed with entries in several log segments and files, one bit of one segment is flipped,
    and a server is started on it: 200 times, each on a copy of its own.
    Guarantees: no row is wrong, nothing panics. Nothing is lost but the entry with the bit, or the segment if it is in
    its header, and that is on record with its sequence number. (The last entry of the log may be missing without a
    word: nothing tells it from one that was never acknowledged.)"""
    victim = Victim(case.server(**QUIET), scratch)
    victim.send(rounds=2)
    victim.server.restart()
    victim.send(rounds=15)
    victim.kill()
    entries = {path: frames(path) for path in segments(victim.server.data_dir)}
    assert len(entries) > 2
    last_seq = max(frame.seq for of_segment in entries.values() for frame in of_segment)

    def check(path, position, bit):
        batches = [frame for frame in entries[path] if frame.kind == BATCH]
        if position >= HEADER_BYTES:
            # Padding belongs to the entry before it, and so does the seal.
            batches = [frame for frame in batches if frame.start <= position][-1:]
        hit = {frame.seq for frame in batches}
        with Copy(victim) as copy:
            flip_bit(copy.path(path), position, bit)
            if not copy.start():
                return
            lost = copy.lost()
            intact = {(signal, seq) for signal, seq in lost if seq not in hit}
            assert not intact, f"lost although the bit is not in it: {intact}"
            silent = copy.not_on_record({(signal, seq) for signal, seq in lost if seq != last_seq})
            assert not silent, f"lost without a word: {silent}"

    # Not in what a segment has room for beyond its last entry.
    sizes = {path: of_segment[-1].end for path, of_segment in entries.items() if of_segment}
    check_each(case, "flips", random_bits(case.dice, sizes, counts.wal_flips), check)


def test_flipped_bits_of_data_files_are_never_served(case, counts, scratch):
    """Scenario: one bit of one data file is flipped after the server was killed, and a server is started: 100 times,
    each on a copy of its own.
    Guarantees: no row is wrong, none is left out without a word: a query that needs the file fails, and it or the log
    names the file; or the loss is on record, or the server does not start and says why. Nothing panics."""
    victim = Victim(case.server(**QUIET), scratch)
    for _ in range(2):
        victim.send(rounds=4, ages_h=(0, 1))
        victim.server.restart()
    files = [path for signal in victim.messages for path in live_files(victim.server, signal)]
    assert len(files) > 8
    victim.kill()
    sizes = {path: path.stat().st_size for path in files}
    flips = random_bits(case.dice, sizes, counts.parquet_flips)
    check_each(case, "flips", flips, lambda *flip: check_nothing_is_lost_silently(victim, *flip))


def test_flipped_bits_of_the_catalog_lose_nothing_silently(case, counts, scratch):
    """Scenario: one bit of `catalog.db` or of `catalog.db-wal`, which both have files, is flipped after the server was
    killed, and a server is started: 50 times, each on a copy of its own.
    Guarantees: no row is wrong, none is left out without a word, nothing panics: see the flipped bits of data files."""
    victim = Victim(case.server(**QUIET | {"STORAGE_FLUSH_INTERVAL": "250ms"}), scratch)
    victim.send(rounds=4, ages_h=(0, 1))
    victim.server.restart()
    # These are in files by a commit that is in the log of the database only.
    victim.send(rounds=4, ages_h=(0, 1))
    wait_for("a flush", 30, lambda: not segments_with_entries(victim.server.data_dir))
    victim.kill()
    paths = [victim.server.data_dir / name for name in ("catalog.db", "catalog.db-wal")]
    sizes = {path: path.stat().st_size for path in paths}
    assert all(sizes.values())
    # As many in each.
    flips = [flip for path in paths for flip in random_bits(case.dice, {path: sizes[path]}, counts.catalog_flips // 2)]
    check_each(case, "flips", flips, lambda *flip: check_nothing_is_lost_silently(victim, *flip))


def segments_with_entries(data_dir):
    return [path for path in segments(data_dir) if path.stat().st_size > HEADER_BYTES]


def check_nothing_is_lost_silently(victim, path, position, bit):
    with Copy(victim) as copy:
        flip_bit(copy.path(path), position, bit)
        if copy.start():
            silent = copy.not_on_record(copy.lost())
            assert not silent, f"lost without a word: {silent}"


def random_bits(dice, sizes, times):
    """Of each: file, byte, bit. `sizes` has the bytes of each file that may be hit."""
    paths = dice.choices(list(sizes), list(sizes.values()), k=times)
    return [(path, dice.randrange(sizes[path]), dice.randrange(8)) for path in paths]


def flip_bit(path, position, bit):
    with open(path, "r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))
