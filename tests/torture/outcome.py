"""What becomes of a server that is started on a damaged data directory, and whether that is allowed."""

import re
import shutil
import sqlite3

import otlp
import pyarrow as pa
from harness import START_LIMIT_S, Server, rows, wait_for
from readers import SIGNAL_CODES, catalog, counted

STATUS_OF_REFUSAL = (1, 2)

# A file of the store, as messages name it.
FILE_NAME = re.compile(r"[0-9a-f]{32}|\d{20}|the catalog|catalog\.db")


class Copy:
    """A copy of what a killed server left, to be damaged and started."""

    def __init__(self, victim):
        self.victim = victim
        directory = victim.scratch / str(next(victim.copies))
        directory.mkdir()
        self.server = Server(victim.server.binary, directory, **victim.server.settings)
        shutil.copytree(victim.server.data_dir, self.server.data_dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.end()
        shutil.rmtree(self.server.ready_file.parent)

    def path(self, of_victim):
        return self.server.data_dir / of_victim.relative_to(self.victim.server.data_dir)

    def start(self):
        """Whether the server has started; if not, it has said why, and named the file."""
        if launch_and_wait(self.server):
            return True
        words = last_words(self.server)
        assert FILE_NAME.search(words), f"the refusal names no file: {words}"
        return False

    def lost(self):
        """The entries of which rows are not there any more, as (signal, sequence number). All others are unchanged.

        A query that fails because of a file has lost nothing: who asked knows.
        """
        lost, numbers = set(), {}
        signals = [signal for signal in otlp.SIGNALS if self.victim.rows[signal]]
        with self.server.flight(self.victim.token) as flight:
            for signal in signals:
                table = self.answer(flight, f"SELECT * FROM {signal}")
                if table is not None:
                    numbers[signal] = table.num_rows
                    lost |= self.victim.compare(signal, rows(table))
        if len(numbers) == len(otlp.SIGNALS):
            assert counted(self.server, self.victim.token) == numbers, "count(*) differs"
        assert self.server.process.poll() is None, "the server has ended"
        assert_no_panic(self.server)
        return lost

    def answer(self, flight, sql):
        """None if the query failed, and the error or the server's log names the file that cannot be read."""
        try:
            return flight.query(sql)
        except pa.lib.ArrowException as error:
            assert FILE_NAME.search(f"{error}\n{self.server.log_tail()}"), f"nothing names the file: {error}"
            return None

    def not_on_record(self, lost):
        """Those of the lost entries of which the store does not say that they are lost."""
        records = self.recorded_losses() if lost else []

        def is_on_record(signal, seq):
            return any(
                record["first_seq"] <= seq <= record["last_seq"]
                and record.get("signal") in (None, SIGNAL_CODES[signal])
                for record in records
            )

        return {(signal, seq) for signal, seq in lost if not is_on_record(signal, seq)}

    def recorded_losses(self):
        try:
            return [dict(row) for row in catalog(self.server, "SELECT * FROM data_loss")]
        except sqlite3.DatabaseError as error:
            raise AssertionError("what is on record cannot be read") from error


def launch_and_wait(server):
    """Whether the server answers; if not, it has ended."""
    server.launch()

    def decided():
        return server.process.poll() is not None or server.ready_file.exists()

    wait_for("a start or a refusal", START_LIMIT_S, decided)
    return server.process.poll() is None and server.is_ready()


def last_words(server):
    """The one line with which a process says why it ended. It must have ended by itself, and in order."""
    status = server.process.wait()
    server.process = None
    assert_no_panic(server)
    log = server.log_file.read_text(errors="replace")
    assert status in STATUS_OF_REFUSAL, f"ended with {status}:\n{log[-4000:]}"
    lines = log.splitlines()
    assert lines and lines[-1].startswith("error: "), f"no last line that says why:\n{log[-4000:]}"
    return lines[-1]


def assert_no_panic(server):
    found = re.search(r".*panicked at.*\n?.*", server.log_file.read_text(errors="replace"))
    assert not found, found[0]
