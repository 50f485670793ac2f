"""The official exporters of other languages send, SQL reads, and every value is the one the application gave.

The applications are in exporters/, what they send is in content.py.
"""

import json
import os
import subprocess
import time

import content
import expected
import pytest
import stored
from harness import query, rows
from languages import LANGUAGES

APPLICATION_LIMIT_S = 120

SENDERS = [
    (language, protocol, compression)
    for language, its in LANGUAGES.items()
    for protocol in its.protocols
    for compression in ("none", "gzip")
]


class Sent:
    """An application has run: what it reports, when it ran, and a reader of the tenant it sent to."""

    def __init__(self, server, language, protocol, compression):
        self.language, self.protocol = LANGUAGES[language], protocol
        self.tenant = f"{language}-{protocol.replace('/', '-')}-{compression}"
        before = time.time_ns()
        self.report = self.run(server, compression)
        self.period = (before, time.time_ns())

    def run(self, server, compression):
        address = server.address if self.protocol == "grpc" else server.http_address
        headers = f"authorization=Bearer%20{server.token(self.tenant)}"
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}",
            "OTEL_EXPORTER_OTLP_HEADERS": headers,
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        ended = subprocess.run(
            self.language.command,
            input=json.dumps(content.as_json(self.language, self.protocol)),
            env=inherited | environment,
            capture_output=True,
            text=True,
            timeout=APPLICATION_LIMIT_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture(scope="module", params=SENDERS, ids=lambda sender: " ".join(sender))
def sent(request, shared_server):
    return Sent(shared_server, *request.param)


@pytest.fixture(scope="module")
def read(shared_server, sent):
    with shared_server.adbc(shared_server.token(sent.tenant, roles=("read",))) as connection:
        yield lambda sql: rows(query(connection, sql))


def test_spans_are_those_of_the_application(sent, read):
    message = expected.traces(sent.language, sent.protocol, sent.report)
    stored.assert_stored(read, "traces", sent, stored.span_rows(message))


def test_log_records_are_those_of_the_application(sent, read):
    message = expected.logs(sent.language, sent.protocol, sent.report)
    stored.assert_stored(read, "logs", sent, stored.log_rows(message))


def test_data_points_are_those_of_the_application(sent, read):
    message = expected.metrics(sent.language, sent.protocol, sent.report)
    stored.assert_stored(read, "metrics", sent, stored.point_rows(message))


def test_every_measurement_is_in_a_data_point_of_either_temporality(sent):
    """Guarantees: the test above compares all of them, not only what happened to be exported."""
    exported = expected.reported_cases(sent.report)
    for instrument in content.INSTRUMENTS:
        seen = set()
        for round_number, measured in enumerate(instrument.rounds):
            measured = {case for case, _ in measured}
            seen |= measured
            for preference in ("delta", "cumulative"):
                cases = exported[preference, round_number, instrument.name]
                assert measured <= set(cases) <= seen and len(cases) == len(set(cases)), instrument.name
    exemplars = sum(len(point["exemplars"]) for point in sent.report["points"])
    assert (exemplars > 0) == sent.language.makes_exemplars
