"""Fixtures that more than one directory of tests uses: the binary under test, and servers that end with their test.

Environment: ALULA_BINARY is the path of the built `alula`.
"""

import os
from pathlib import Path

import pytest
from harness import Server


@pytest.fixture(scope="session")
def binary():
    path = Path(os.environ.get("ALULA_BINARY", ""))
    assert path.is_file(), "ALULA_BINARY must name the built alula (tools/clients builds it and sets this)"
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
