"""The server that the drivers are asked about: its address, a token that reads and writes, and rows that are known."""

import os
import time
from functools import cached_property
from pathlib import Path

import otlp
from drivers import dataset
from drivers.type_matrix import COLUMNS
from harness import wait_for

TENANT = "acme"
# What a server that runs nothing may use of a CPU: its background threads look around now and then.
IDLE_SHARE = 0.1
IDLE_LIMIT_S = 5
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Site:
    def __init__(self, server):
        self.server = server
        self.address = server.address
        self.token = server.token(TENANT)
        with otlp.Client(self.address, self.token) as client:
            for signal, request in dataset.REQUESTS.items():
                client.export(signal, request)

    @cached_property
    def table_of_types(self):
        """The name of a table with a column of each type, made by the server at the first call."""
        columns = ", ".join(f"{each.first} AS c{number}" for number, each in enumerate(COLUMNS))
        with self.server.adbc(self.token) as connection, connection.cursor() as cursor:
            cursor.executescript(f"CREATE TABLE every_type AS SELECT {columns}")
        return "every_type"

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.server.process.pid}/stat").read_text().rpartition(")")[2].split()
        # utime and stime of proc(5).
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def wait_until_idle(self):
        """Returns once the server has left off the work that a cancelled statement made."""
        seen = [(time.monotonic(), self.cpu_seconds())]

        def is_idle():
            (then, used), (now, using) = seen[-1], (time.monotonic(), self.cpu_seconds())
            if now - then < 0.5:
                return False
            seen.append((now, using))
            return (using - used) / (now - then) < IDLE_SHARE

        wait_for("a server that has stopped to work on what was cancelled", IDLE_LIMIT_S, is_idle)
