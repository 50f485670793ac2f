"""A real S3 server as a child process, and a proxy before it that does to requests what networks and busy stores do.

Environment: ALULA_S3_SERVER is the path of the Versity S3 Gateway (tools/s3-server builds it).
"""

import http.client
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness import STOP_LIMIT_S, free_address, wait_for

BUCKET = "alula"
ACCESS_KEY = "tester"
SECRET_KEY = "not-a-secret-of-anybody"

# Of a slow answer: this much at a time, and a pause after each.
SLOW_BYTES = 1024
SLOW_PAUSE_S = 1.0


class S3Server:
    """The gateway over a directory: buckets are directories there, objects are files."""

    def __init__(self, directory):
        self.program = Path(os.environ.get("ALULA_S3_SERVER", ""))
        assert self.program.is_file(), "ALULA_S3_SERVER must name the S3 server (tools/s3-server builds it)"
        self.root = Path(directory) / "buckets"
        (self.root / BUCKET).mkdir(parents=True)
        self.log_file = Path(directory) / "s3.log"
        self.address = free_address()
        self.process = None

    def start(self):
        command = [self.program, "--port", self.address, "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet"]
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "posix", self.root], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for("the start of the S3 server", 30, self.answers)
        return self

    def answers(self):
        assert self.process.poll() is None, self.log_file.read_text()
        host, port = self.address.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(STOP_LIMIT_S)
            self.process = None

    def objects(self):
        """The keys of all data files in the bucket."""
        bucket = self.root / BUCKET
        found = bucket.glob("**/*.parquet")
        return {str(path.relative_to(bucket)) for path in found if not path.relative_to(bucket).parts[0].startswith(".")}

    def unfinished_uploads(self):
        """Uploads in parts that were neither completed nor aborted: their parts are in a directory of the server's own."""
        parts = self.root / BUCKET / ".sgwtmp" / "multipart"
        return [path for path in parts.glob("*/*") if path.is_dir()]


class Faults:
    """What becomes of the next request. Shared by all connections of a proxy."""

    KINDS = ("error", "reset", "reset in the answer", "lost answer", "slow answer")

    def __init__(self, seed):
        # Guards the dice, which connections share.
        self.lock = threading.Lock()
        self.dice = random.Random(seed)
        self.percent = 0
        # A slow answer takes a second for each KiB, so there are only so many.
        self.slow_left = 0
        self.counts = dict.fromkeys(self.KINDS, 0)
        # While set, uploads of parts do not get through: a test can do something in the middle of one.
        self.parts_held = threading.Event()
        self.part_waits = threading.Event()

    def next(self):
        with self.lock:
            if self.dice.randrange(100) >= self.percent:
                return None
            kind = self.dice.choice(self.KINDS)
            if kind == "slow answer":
                if self.slow_left == 0:
                    kind = "error"
                else:
                    self.slow_left -= 1
            self.counts[kind] += 1
            return kind


class Proxy:
    """Passes requests on to an S3 server, with faults. What is signed passes unchanged, the name of the host too."""

    def __init__(self, upstream, seed=0):
        self.faults = Faults(seed)
        host, port = free_address().split(":")
        handler = type("Handler", (Handler,), {"upstream": upstream, "faults": self.faults})
        self.server = ThreadingHTTPServer((host, int(port)), handler)
        self.server.daemon_threads = True
        self.address = f"{host}:{port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.faults.parts_held.clear()
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = None
    faults = None

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "partNumber=" in self.path:
            while self.faults.parts_held.is_set():
                self.faults.part_waits.set()
                time.sleep(0.01)
        fault = self.faults.next()
        if fault == "error":
            return self.refuse()
        if fault == "reset":
            return self.reset()
        try:
            status, headers, answer = self.pass_on(body)
        except OSError:
            # The server is down.
            return self.reset()
        if fault == "lost answer":
            return self.reset()
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if fault == "reset in the answer":
            self.wfile.write(answer[: len(answer) // 2])
            return self.reset()
        if fault == "slow answer":
            for at in range(0, len(answer), SLOW_BYTES):
                self.wfile.write(answer[at : at + SLOW_BYTES])
                time.sleep(SLOW_PAUSE_S)
            return None
        return self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

    def pass_on(self, body):
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def refuse(self):
        answer = b"<Error><Code>InternalError</Code></Error>"
        self.send_response_only(500)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def reset(self):
        # Closed with a linger of zero, a connection is reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()

    def finish(self):
        # A connection that was reset cannot be flushed.
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def handle(self):
        # The client may be killed at any time.
        try:
            super().handle()
        except (OSError, ValueError):
            pass

    def log_message(self, *_):
        pass


def credentials(address):
    """The environment by which a client finds the server."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://{address}",
        "AWS_ALLOW_HTTP": "true",
    }
