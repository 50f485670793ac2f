"""Connections are cut, senders send again, and at the end every batch is there once.

A proxy between the senders and the server cuts 30 % of the connections: before, in or after the request, before or in the
answer. In the middle the server is killed and started again at the same addresses.
"""

import http.client
import random
import socket
import threading
import time
from collections import Counter

import grpc
import otlp
from harness import free_address, query

BATCHES = 10_000
SENDERS_PER_PROTOCOL = 4
# Of the connections. Some end by themselves before they get to where they would be cut, so more are drawn.
CUT_SHARE = 0.3
DRAWN_SHARE = 0.5
SEED = 20_261_121
RECORDS = 2

# How long a batch may take to be acknowledged: a bound for a test that went wrong.
BATCH_LIMIT_S = 60
PAUSE_S = 0.02
PIECE_BYTES = 4096

# Where a connection is cut: after so many bytes of one of its directions. A request is 600 to 1,000 bytes with all that
# comes before it, an answer 100 to 200.
CUTS = {
    "before the request": ("up", (0, 1)),
    "in the request": ("up", (1, 600)),
    "after the request": ("up", (600, 900)),
    "before the answer": ("down", (0, 1)),
    "in the answer": ("down", (1, 150)),
}


class Proxy:
    """Passes bytes on and cuts some connections, by the dice."""

    def __init__(self, target, dice):
        self.target, self.dice = target, dice
        self.cuts = Counter()
        self.connections = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "%s:%d" % self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def end(self):
        # A closed socket alone does not wake the thread that waits for a connection.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def draw(self):
        """Where the next connection is cut, and after how many bytes each direction ends."""
        with self.lock:
            self.connections += 1
            if self.dice.random() >= DRAWN_SHARE:
                return None, {}
            where = self.dice.choice(list(CUTS))
            direction, span = CUTS[where]
            return where, {direction: self.dice.randrange(*span)}

    def serve(self, client):
        where, limits = self.draw()
        with client:
            try:
                server = socket.create_connection(self.target)
            except OSError:
                # The server is away at this moment.
                return
            with server:
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                up = threading.Thread(target=self.pump, args=(client, server, where, limits.get("up")), daemon=True)
                up.start()
                self.pump(server, client, where, limits.get("down"))
                up.join()

    def pump(self, source, sink, where, limit):
        """Passes on what comes, at most `limit` bytes of it; whoever ends it ends both directions."""
        try:
            while piece := source.recv(PIECE_BYTES):
                if limit is not None and len(piece) >= limit:
                    with self.lock:
                        self.cuts[where] += 1
                    sink.sendall(piece[:limit])
                    break
                sink.sendall(piece)
                limit = None if limit is None else limit - len(piece)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class GrpcSender:
    """Raw bytes over a channel that is made anew for each attempt after a failure."""

    def __init__(self, address, token):
        self.address, self.metadata = address, (("authorization", f"Bearer {token}"),)
        self.calls = {}
        self.channel = None

    def send(self, signal, body):
        """Whether the batch is acknowledged in full; false if nobody knows."""
        if self.channel is None:
            self.open()
        try:
            answer = self.calls[signal](body, timeout=10, metadata=self.metadata)
        except grpc.RpcError as error:
            retried = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
            # A connection that ends within the headers of an answer is INTERNAL to the client.
            assert error.code() in retried or "RST_STREAM" in error.details(), error
            self.close()
            return False
        assert answer == b"", answer
        return True

    def open(self):
        # Without a subchannel of its own gRPC shares connections, and their state, between channels of a process.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self.channel = grpc.insecure_channel(self.address, options=options)
        services = {"metrics": "metrics.v1.Metrics", "logs": "logs.v1.Logs", "traces": "trace.v1.Trace"}
        self.calls = {
            signal: self.channel.unary_unary(f"/opentelemetry.proto.collector.{name}Service/Export")
            for signal, name in services.items()
        }

    def close(self):
        if self.channel is not None:
            self.channel.close()
            self.channel = None


class HttpSender:
    """The same over HTTP/1.1."""

    def __init__(self, address, token):
        self.address = address
        self.headers = {"authorization": f"Bearer {token}", "content-type": "application/x-protobuf"}
        self.connection = None

    def send(self, signal, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            self.connection.request("POST", f"/v1/{signal}", body, self.headers)
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return False
        if answer.status == 503:
            return False
        assert (answer.status, content) == (200, b""), (answer.status, content)
        return True

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Work:
    """The batches that are left, and what became of the others."""

    def __init__(self):
        self.lock = threading.Lock()
        self.next = 0
        self.acknowledged = 0
        self.attempts = 0
        self.failures = []
        self.half_done = threading.Event()

    def take(self):
        with self.lock:
            if self.next == BATCHES or self.failures:
                return None
            self.next += 1
            return self.next - 1

    def note(self, attempts):
        with self.lock:
            self.acknowledged += 1
            self.attempts += attempts
            if self.acknowledged >= BATCHES // 2:
                self.half_done.set()


def run(sender, work, dice):
    try:
        while (batch := work.take()) is not None:
            signal = otlp.SIGNALS[batch % len(otlp.SIGNALS)]
            body = message(signal, batch)
            # A new connection for most batches, so that cuts hit them and not a few long ones.
            if dice.random() < 0.7:
                sender.close()
            deadline = time.monotonic() + BATCH_LIMIT_S
            attempts = 1
            while not sender.send(signal, body):
                assert time.monotonic() < deadline, f"batch {batch} is not acknowledged"
                time.sleep(dice.uniform(0, PAUSE_S))
                attempts += 1
            work.note(attempts)
    except Exception as error:
        work.failures.append(error)
        work.half_done.set()
    finally:
        sender.close()


def message(signal, batch):
    """The bytes of a batch, the same at each call. Every record carries its number and a time."""
    attributes, start = otlp.attributes(batch=batch), 1_735_689_600_000_000_000 + batch
    records = range(RECORDS)
    if signal == "metrics":
        points = [otlp.NumberDataPoint(time_unix_nano=start, as_int=n, attributes=attributes) for n in records]
        request = otlp.metrics_request("retries", "retries.points", points)
    elif signal == "logs":
        logs = [otlp.LogRecord(time_unix_nano=start, severity_number=n, attributes=attributes) for n in records]
        request = otlp.logs_request("retries", logs)
    else:
        spans = [
            otlp.Span(
                trace_id=(batch + 1).to_bytes(16, "big"),
                span_id=(n + 1).to_bytes(8, "big"),
                start_time_unix_nano=start,
                end_time_unix_nano=start,
                attributes=attributes,
            )
            for n in records
        ]
        request = otlp.traces_request("retries", spans)
    return request.SerializeToString()


def test_every_batch_is_stored_once_through_cut_connections_and_a_restart(make_server):
    server = make_server(SERVER_LOG_LEVEL="warn")
    server.listen = {"grpc": free_address(), "http": free_address()}
    server.start()
    token = server.token()
    dice = random.Random(SEED)
    proxies = {
        sender: Proxy(split(address), random.Random(dice.random()))
        for sender, address in ((GrpcSender, server.address), (HttpSender, server.http_address))
    }
    work = Work()
    threads = [
        threading.Thread(target=run, args=(sender(proxy.address, token), work, random.Random(dice.random())))
        for sender, proxy in proxies.items()
        for _ in range(SENDERS_PER_PROTOCOL)
    ]
    for thread in threads:
        thread.start()
    assert work.half_done.wait(300)
    server.kill()
    server.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive(), "a sender does not end"
    for proxy in proxies.values():
        proxy.end()
    assert not work.failures, work.failures

    assert work.acknowledged == BATCHES
    for proxy in proxies.values():
        assert set(proxy.cuts) == set(CUTS), proxy.cuts
        assert proxy.connections > BATCHES / 4 and proxy.cuts.total() >= CUT_SHARE * proxy.connections, proxy.cuts
    # Far more were sent than there are.
    assert work.attempts > BATCHES * 1.1, work.attempts
    check_stored(server, token)
    server.restart()
    check_stored(server, token)


def check_stored(server, token):
    with server.adbc(token) as connection:
        for number, signal in enumerate(otlp.SIGNALS):
            counted = query(
                connection, f"SELECT json_get_int(attributes, 'batch') AS batch, count(*) AS n FROM {signal} GROUP BY 1"
            )
            found = dict(zip(counted["batch"].to_pylist(), counted["n"].to_pylist()))
            expected = dict.fromkeys(range(number, BATCHES, len(otlp.SIGNALS)), RECORDS)
            wrong = {batch: found.get(batch, 0) for batch in expected if found.get(batch) != RECORDS}
            some = list(wrong.items())[:10]
            assert not wrong, f"{len(wrong)} batches of {signal} are not there once (seed {SEED}): {some}"
            assert found == expected


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)
