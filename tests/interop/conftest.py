"""Fixtures: the binary under test, and servers that end with their test.

Environment: ALULA_BINARY is the path of the built `alula`.
"""

import os
from pathlib import Path

import pytest
from harness import Server


@pytest.fixture(scope="session")
def binary():
    path = Path(os.environ.get("ALULA_BINARY", ""))
    assert path.is_file(), "ALULA_BINARY must name the built alula (tools/interop builds it and sets this)"
    return path.resolve()


@pytest.fixture
def make_server(binary, tmp_path):
    """Makes a server that is not started yet; keyword arguments are settings, see `Server`."""
    made = []

    def make(**settings):
        directory = tmp_path / f"server-{len(made)}"
        directory.mkdir()
        made.append(Server(binary, directory, **settings))
        return made[-1]

    yield make
    for server in made:
        server.end()


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
