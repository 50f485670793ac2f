"""The real binary as a child process, and what connects the clients to it."""

import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi
import pyarrow as pa
import pyarrow.flight
from google.protobuf.any_pb2 import Any

# How long a start or an orderly stop may take: bounds for a test that went wrong, not waiting times.
START_LIMIT_S = 60
STOP_LIMIT_S = 60
POLL_S = 0.01

STATEMENT_QUERY = "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"


def wait_for(what, limit_s, condition):
    """Returns the first true answer of `condition`; fails the test when the limit has passed."""
    deadline = time.monotonic() + limit_s
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {limit_s} s"
        time.sleep(POLL_S)


def free_address():
    """An address that stays free while nobody listens: below the ports that outgoing connections get."""
    while True:
        address = ("127.0.0.1", random.randrange(10_000, 30_000))
        with socket.socket() as probe:
            try:
                probe.bind(address)
            except OSError:
                continue
        return "%s:%d" % address


class Server:
    """`alula serve` over one data directory; it can be killed and started again."""

    def __init__(self, binary, directory, **settings):
        """`settings` are configuration keys as environment variables have them: STORAGE_FLUSH_INTERVAL="1h"."""
        self.binary = str(binary)
        self.data_dir = Path(directory) / "data-dir"
        self.ready_file = Path(directory) / "ready.json"
        self.log_file = Path(directory) / "server.log"
        self.settings = settings
        self.process = None
        self.listen = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"}
        self.address = None
        self.http_address = None

    def environment(self):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ALULA_")}
        return inherited | {f"ALULA_{key}": value for key, value in self.settings.items()}

    def launch(self):
        """Starts the process and does not wait until it answers."""
        assert self.process is None, "the server runs already"
        self.ready_file.unlink(missing_ok=True)
        addresses = ["--grpc-addr", self.listen["grpc"], "--http-addr", self.listen["http"]]
        command = [self.binary, "serve", "--data-dir", self.data_dir, *addresses]
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--ready-file", self.ready_file],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self):
        self.launch()
        wait_for(f"the start of the server, see {self.log_file}", START_LIMIT_S, self.is_ready)
        return self

    def is_ready(self):
        """Whether the server answers; its addresses are known from then on."""
        status = self.process.poll()
        assert status is None, f"the server ended with {status}:\n{self.log_tail()}"
        if not self.ready_file.exists():
            return False
        ready = json.loads(self.ready_file.read_text())
        assert ready["pid"] == self.process.pid
        self.address, self.http_address = ready["grpc"], ready["http"]
        return True

    def kill(self):
        """Ends the process as `kill -9` does: it gets to do nothing more."""
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(STOP_LIMIT_S) == -signal.SIGKILL
        self.process = None

    def stop(self):
        """Ends the process in order: SIGTERM drains, flushes and ends with 0."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_LIMIT_S)
        self.process = None
        assert status == 0, f"the server ended with {status}:\n{self.log_tail()}"

    def restart(self):
        self.stop()
        return self.start()

    def end(self):
        """Leaves no process behind, whatever the test did."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_LIMIT_S)
            self.process = None

    def holder(self):
        """The process that says it has the data directory; None if nobody does."""
        lock = self.data_dir / "LOCK"
        text = lock.read_text().strip() if lock.exists() else ""
        return int(text) if text else None

    def log_tail(self):
        return self.log_file.read_text(errors="replace")[-4000:]

    def token(self, tenant="acme", roles=("read", "write"), ttl="1h"):
        command = [self.binary, "token", "create", "--tenant", tenant, "--ttl", ttl]
        for role in roles:
            command += ["--role", role]
        made = subprocess.run(
            [*command, "--data-dir", self.data_dir],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def parquet_files(self, signal="*"):
        return sorted(self.data_dir.glob(f"data/{signal}/**/*.parquet"))

    def adbc(self, token):
        """A DB-API connection. `token` None sends no credential."""
        return adbc_driver_flightsql.dbapi.connect(
            f"grpc://{self.address}", db_kwargs=adbc_options(token), autocommit=True
        )

    def flight(self, token):
        return RawFlight(self.address, token)


def adbc_options(token):
    if token is None:
        return {}
    return {adbc_driver_flightsql.DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}


class RawFlight:
    """`pyarrow.flight` with Flight SQL messages made by hand."""

    def __init__(self, address, token):
        self.client = pa.flight.FlightClient(f"grpc://{address}")
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        self.options = pa.flight.FlightCallOptions(headers=headers, timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def info(self, sql):
        return self.client.get_flight_info(statement_descriptor(sql), self.options)

    def schema(self, sql):
        return self.client.get_schema(statement_descriptor(sql), self.options).schema

    def fetch(self, ticket):
        return self.client.do_get(ticket, self.options).read_all()

    def query(self, sql):
        info = self.info(sql)
        assert len(info.endpoints) == 1 and info.endpoints[0].locations == []
        table = self.fetch(info.endpoints[0].ticket)
        assert table.schema.equals(info.schema, check_metadata=True), "the stream has another schema than promised"
        return table


def statement_descriptor(sql):
    # CommandStatementQuery has the text in field 1.
    text = sql.encode()
    command = b"\x0a" + varint(len(text)) + text
    return pa.flight.FlightDescriptor.for_command(Any(type_url=STATEMENT_QUERY, value=command).SerializeToString())


def varint(number):
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def query(connection, sql, parameters=None):
    """The Arrow table that an ADBC connection gives for a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


def scalar(connection, sql, parameters=None):
    """The only value of a statement's only row."""
    (row,) = query(connection, sql, parameters).to_pylist()
    (value,) = row.values()
    return value


def rows(table):
    """The rows of an Arrow table as dictionaries, times as whole nanoseconds at any depth."""
    columns = [values(column) for column in table.columns]
    return [dict(zip(table.column_names, row)) for row in zip(*columns)]


def values(array):
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in values(chunk)]
    kind = array.type
    if pa.types.is_timestamp(kind):
        assert kind.unit == "ns" and kind.tz == "UTC", kind
        return array.cast(pa.int64()).to_pylist()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        items = iter(values(array.flatten()))
        lengths = array.value_lengths().to_pylist()
        return [None if length is None else [next(items) for _ in range(length)] for length in lengths]
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        fields = [values(column) for column in array.flatten()]
        valid = array.is_valid().to_pylist()
        return [dict(zip(names, item)) if is_valid else None for is_valid, *item in zip(valid, *fields)]
    return array.to_pylist()
