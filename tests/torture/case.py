"""One test of the suite: its dice, its servers and its ledgers, and what is kept of them when it fails."""

import json
import random
import shutil
import subprocess
import threading
from functools import cache

from ledger import new_ledgers


class Case:
    def __init__(self, name, seed, make_server, directory):
        self.seed = seed
        self.dice = random.Random(f"{name}-{seed}")
        self.make_server = make_server
        self.directory = directory
        # Guards the servers: some tests run several at a time.
        self.lock = threading.Lock()
        self.servers = []
        # By the name of the load that keeps them.
        self.ledgers = {}
        self.steps = []

    def server(self, **settings):
        with self.lock:
            server = self.make_server()
            self.servers.append(server)
        server.settings = known(server.binary, settings)
        return server

    def new_ledgers(self, name):
        self.ledgers[name] = new_ledgers()
        return self.ledgers[name]

    def note(self, **step):
        """Adds a step to the history."""
        self.steps.append(step)

    def keep(self):
        """Writes down what happened, and says where that and the data are."""
        self.end()
        ledgers = {
            name: {signal: ledger.history() for signal, ledger in by_signal.items()}
            for name, by_signal in self.ledgers.items()
        }
        path = self.directory / "history.json"
        path.write_text(json.dumps({"seed": self.seed, "steps": self.steps, "ledgers": ledgers}, indent=1, default=str))
        lines = [f"seed {self.seed}, history: {path}"]
        for number, server in enumerate(self.servers):
            data_dir = server.data_dir
            if not data_dir.is_relative_to(server.ready_file.parent):
                # On a file system that goes with the test.
                data_dir = self.directory / f"kept-{number}"
                copied = subprocess.run(["cp", "--archive", server.data_dir, data_dir], check=False)
                lines += [f"not everything could be copied from {server.data_dir}"] if copied.returncode else []
            lines.append(f"data directory: {data_dir}, log: {server.log_file}")
        return "\n".join(lines)

    def end(self):
        for server in self.servers:
            server.end()

    def forget(self, server):
        """Removes a server that has passed, and all that it stored."""
        server.end()
        with self.lock:
            self.servers.remove(server)
        shutil.rmtree(server.ready_file.parent)


def known(binary, settings):
    """Those of the settings that the binary has: compaction and retention run in tests of one that knows them."""
    return {key: value for key, value in settings.items() if f"`ALULA_{key}`" in default_configuration(binary)}


@cache
def default_configuration(binary):
    return subprocess.run([binary, "config", "default"], capture_output=True, text=True, check=True).stdout
