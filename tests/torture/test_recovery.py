"""A log that ends anywhere, and a recovery that is interrupted."""

import os
import time

import otlp
from harness import START_LIMIT_S, wait_for
from load import begin_recovery
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from outcome import Copy
from parallel import check_each
from readers import stored_in_files
from segments import HEADER_BYTES, frames, segments
from victim import QUIET, Victim

ENTRIES = 3
KILLS_OF_A_COPY = 10


def test_a_log_cut_off_at_any_byte_gives_every_whole_entry(case, scratch):
    """Scenario: the last segment of a killed server's log, of three entries, is cut off at every byte from none to all,
    and a server is started on each.
    Guarantees: it starts, and has exactly the entries that are whole before the cut. Nothing panics."""
    victim = Victim(case.server(**QUIET), scratch)
    victim.send_messages(("logs", smallest_request(number)) for number in range(ENTRIES))
    victim.server.restart()
    victim.send_messages(("logs", smallest_request(number)) for number in range(ENTRIES, 2 * ENTRIES))
    victim.kill()
    (segment,) = segments(victim.server.data_dir)
    entries = frames(segment)
    assert len(entries) == ENTRIES

    def check(cut):
        with Copy(victim) as copy:
            os.truncate(copy.path(segment), cut)
            if not copy.start():
                assert cut < HEADER_BYTES, "a start refused"
                return
            lost = {seq for _, seq in copy.lost()}
            assert lost == {frame.seq for frame in entries if frame.end > cut}

    check_each(case, "cuts", [(cut,) for cut in range(entries[-1].end + 1)], check)


def smallest_request(number):
    """With little in it, so that there are fewer bytes at which to cut."""
    record = otlp.LogRecord(time_unix_nano=time.time_ns(), attributes=otlp.attributes(n=number))
    return ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[record])])])


def test_a_recovery_that_is_killed_again_and_again_ends_as_an_undisturbed_one(case, counts, scratch):
    """Scenario: a server is killed with many entries in its log; its recovery, which takes several flushes, is killed
    at random times, ten times in a row, and then left alone.
    Guarantees: all rows are what they were before the first kill, to the last column, over Flight SQL and in the files;
    as after a recovery that nobody disturbed."""
    victim = Victim(case.server(**QUIET | {"STORAGE_FLUSH_BYTES": "64KiB"}), scratch)
    victim.send(rounds=60, ages_h=(0, 1, 30), records=10)
    victim.kill()
    with Copy(victim) as copy:
        begin_recovery(copy.server)
        begun = time.monotonic()
        wait_for("the end of the recovery", START_LIMIT_S, copy.server.is_ready)
        recovery_s = time.monotonic() - begun
        copy.server.kill()
        undisturbed = recovered(copy)

    interrupted = 0
    for first in range(0, counts.recovery_kills, KILLS_OF_A_COPY):
        with Copy(victim) as copy:
            for _ in range(min(KILLS_OF_A_COPY, counts.recovery_kills - first)):
                begin_recovery(copy.server)
                time.sleep(case.dice.uniform(0.0, recovery_s))
                interrupted += not copy.server.ready_file.exists()
                copy.server.kill()
            assert recovered(copy) == undisturbed
    assert interrupted, "no kill came before the end of a recovery"


def recovered(copy):
    """What the files have, by the ids of records, after a start that has lost nothing."""
    assert copy.start()
    in_files = {signal: sorted(pairs) for signal, pairs in stored_in_files(copy.server).items()}
    assert copy.lost() == set()
    return in_files
