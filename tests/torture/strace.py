"""One system call of a running server fails with EIO: strace attached to some of its threads.

strace counts the calls of each thread by itself, so a fault hits the same step of the thread's work in every run.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import wait_for

SYNC = "fsync,fdatasync"
# Not `write`: a thread that wakes another writes to an event, which no disk can make fail.
WRITE_AT = "pwrite64,?pwritev,?pwritev2"
WRITE = f"write,{WRITE_AT}"
RENAME = "?rename,renameat,renameat2"

# What the check for a second sync needs to see besides the syncs.
NAMING = f"openat,{RENAME}"

ATTACH_LIMIT_S = 20


class Fault:
    """EIO at one of the calls that a thread makes, once."""

    def __init__(self, server, thread, calls, number, log, paths=()):
        """`paths`: only calls on these, and only these are counted."""
        if shutil.which("strace") is None:
            pytest.skip("strace is not installed")
        self.log = log
        threads = threads_of(server, thread)
        assert threads, f"the server has no thread {thread}"
        command = ["strace", "-y", "-o", log, "-e", f"trace={SYNC},{NAMING},{calls}"]
        command += ["-e", f"inject={calls}:error=EIO:when={number}"]
        for path in paths:
            command += ["-P", path]
        for task in threads:
            command += ["-p", task.name]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for("strace", ATTACH_LIMIT_S, lambda: self.is_attached(threads))

    def is_attached(self, threads):
        if self.process.poll() is not None:
            pytest.skip(f"strace cannot attach here: {self.process.stderr.read().decode()}")
        return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in threads)

    def has_happened(self):
        return "(INJECTED)" in self.log.read_text(errors="replace")

    def end(self):
        """After the server has ended."""
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()

    def call(self):
        """The call that failed, as strace shows it."""
        return next((line for line in self.lines() if "(INJECTED)" in line), None)

    def lines(self):
        return self.log.read_text(errors="replace").splitlines()

    def second_syncs(self):
        """Syncs of log segments of which one had failed before: what another says is not to be trusted."""
        failed, again = set(), []
        for line in self.lines():
            synced = re.search(r"f(?:data)?sync\(\d+<(.*\.wal(?:\.tmp)?)>\) += (-?\d+)", line)
            named = re.search(r'(?:rename.*"(.*)"|openat\(.*"(.*)", [A-Z_|]*O_TRUNC.*)', line)
            if synced and synced[1] in failed:
                again.append(line)
            elif synced and synced[2] == "-1":
                failed.add(synced[1])
            elif named:
                # Another file by the same name.
                failed -= set(named.groups())
        return again


def threads_of(server, name):
    """The directories under /proc of the threads with that name, or with a name that begins so."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return [task for task in tasks if (task / "comm").read_text().strip().startswith(name)]
