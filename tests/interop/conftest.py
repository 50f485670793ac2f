"""Fixtures of the tests with real clients."""

import pytest
from fixtures import binary, make_server  # noqa: F401
from harness import Server


def pytest_addoption(parser):
    group = parser.getgroup("drivers")
    group.addoption("--write-clients-table", action="store_true", help="write docs/clients.md, see tools/clients-table")


@pytest.fixture
def server(make_server):
    """A running server of this test alone."""
    return make_server().start()


@pytest.fixture(scope="module")
def shared_server(binary, tmp_path_factory):
    """A running server for all tests of a module."""
    server = Server(binary, tmp_path_factory.mktemp("shared"))
    try:
        yield server.start()
    finally:
        server.end()
