"""A driver in a process of its own, for clients that are not Python: a line of JSON each way."""

import json
import select
import subprocess
import tempfile

from drivers import values
from drivers.base import Driver, NotOfferedError, RefusedError

END_LIMIT_S = 30
# For an answer: a bound for a client that hangs, not a waiting time.
ANSWER_LIMIT_S = 60


class ProcessDriver(Driver):
    """Runs `command`, which reads requests until its input ends."""

    command = ()

    def __init__(self, site):
        super().__init__(site)
        # A file, because a pipe that nobody reads would fill.
        self.complaints = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True
        )
        try:
            self.opened = self.ask("open", address=site.address, token=site.token)
        except BaseException:
            self.close()
            raise

    def ask(self, operation, /, **arguments):
        request = json.dumps({"operation": operation, **arguments})
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # It has ended; the reading below says how.
            pass
        # An answer is one line, so nothing of it is left in the buffer of the reader.
        ready, _, _ = select.select([self.process.stdout], [], [], ANSWER_LIMIT_S)
        if not ready:
            self.process.kill()
        line = self.process.stdout.readline()
        if not line:
            self.complaints.seek(0)
            raise AssertionError(f"{self.name} has ended: {self.complaints.read()[-4000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RefusedError(answer["error"])
        if "value" not in answer:
            raise NotOfferedError(operation)
        return values.decoded(answer["value"])

    def offers(self, operation):
        return operation in self.opened["operations"]

    def version(self):
        return self.opened["version"]

    def has_ended(self):
        return self.process.poll() is not None

    def close(self):
        # The end of its input is the end of the process.
        try:
            self.process.stdin.close()
            self.process.wait(END_LIMIT_S)
        except BrokenPipeError:
            # It has ended already.
            pass
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.complaints.close()
