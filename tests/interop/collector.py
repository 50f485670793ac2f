"""A real OpenTelemetry Collector as a child process: OTLP in, OTLP out to Alula."""

import json
import signal
import subprocess
from pathlib import Path

import otlp
from harness import START_LIMIT_S, STOP_LIMIT_S, free_address, wait_for
from languages import BUILT

BINARY = BUILT / "go" / "collector"

# Retries soon and for longer than a test takes, so that giving up is never why something is not there.
RETRY = {"enabled": True, "initial_interval": "50ms", "max_interval": "500ms", "max_elapsed_time": "10m"}

# The exporters by what they differ in; each name is a tenant too.
ROUTES = {
    f"{protocol}-{encoding}-{compression}": (protocol, encoding, compression)
    for protocol, encoding in (("grpc", "proto"), ("http", "proto"), ("http", "json"))
    for compression in ("none", "gzip", "zstd")
}


class Collector:
    """Every message that it is sent goes to each of the `routes`."""

    def __init__(self, directory, server, routes, tokens, **queue):
        self.address = free_address()
        self.log_file = Path(directory) / "collector.log"
        config_file = Path(directory) / "collector.json"
        exporters = {}
        for route in routes:
            exporters |= exporter(route, server, tokens[route], queue)
        config_file.write_text(json.dumps(configuration(self.address, exporters)))
        with open(self.log_file, "wb") as log:
            command = [BINARY, "--config", f"file:{config_file}"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(f"the start of the Collector, see {self.log_file}", START_LIMIT_S, self.ready)

    def ready(self):
        assert self.process.poll() is None, self.log()
        return "Everything is ready" in self.log()

    def log(self):
        return self.log_file.read_text(errors="replace")

    def send(self, *messages):
        """Each message is a signal and a request. The Collector's answer says only that it will try."""
        with otlp.Client(self.address, None) as client:
            for signal, request in messages:
                # It sets `partial_success` always, though without a record in it.
                assert client.call(signal, request).partial_success.ByteSize() == 0

    def stop(self):
        """Ends when everything has been exported or given up."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STOP_LIMIT_S) == 0, self.log()

    def end(self):
        """Leaves no process behind, whatever the test did."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_LIMIT_S)


def exporter(route, server, token, queue):
    protocol, encoding, compression = ROUTES[route]
    settings = {
        "compression": compression,
        "headers": {"authorization": f"Bearer {token}"},
        "retry_on_failure": RETRY,
        "sending_queue": {"enabled": True, "queue_size": 10_000} | queue,
        "tls": {"insecure": True},
    }
    if protocol == "grpc":
        return {f"otlp_grpc/{route}": settings | {"endpoint": server.address}}
    return {f"otlp_http/{route}": settings | {"endpoint": f"http://{server.http_address}", "encoding": encoding}}


def configuration(address, exporters):
    pipeline = {"receivers": ["otlp"], "exporters": list(exporters)}
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": address}}}},
        "exporters": exporters,
        "service": {
            "pipelines": dict.fromkeys(("metrics", "logs", "traces"), pipeline),
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
