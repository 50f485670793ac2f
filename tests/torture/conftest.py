"""Fixtures of the fault suite, and how often each fault happens: see the options that `--help` lists under `faults`."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

# The clients, the ledger and the readers are those of the tests with real clients.
sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from case import Case  # noqa: E402
from file_systems import FileSystems  # noqa: E402
from fixtures import binary, make_server  # noqa: E402, F401

SEED = 20_261_121

# Of each fault: how often in the quick gate, how often in the long one, and what is counted.
COUNTS = {
    "kills": (25, 1000, "SIGKILLs under load"),
    "power_cuts": (5, 200, "power cuts of a disk under load"),
    "io_errors": (50, 50, "the call that fails with EIO: from the first to this one"),
    "io_error_cuts": (0, 50, "the same, with a power cut afterwards"),
    "full_disks": (5, 100, "times that a disk is filled and freed"),
    "wal_flips": (200, 10_000, "flipped bits of log segments"),
    "parquet_flips": (100, 1800, "flipped bits of data files"),
    "catalog_flips": (50, 500, "flipped bits of the catalog"),
    "recovery_kills": (10, 100, "SIGKILLs during recovery"),
    "races": (5, 20, "times that two processes want one directory"),
    "stops": (3, 50, "SIGTERMs under load"),
}


def pytest_addoption(parser):
    group = parser.getgroup("faults")
    group.addoption("--long", action="store_true", help="the long gate: the second of the counts below")
    group.addoption("--seed", type=int, default=SEED, help="of everything that is random (default: %(default)s)")
    for name, (quick, long, what) in COUNTS.items():
        help_text = f"{what} (default: {quick}, or {long} with --long)"
        group.addoption(f"--{name.replace('_', '-')}", type=int, default=None, help=help_text)


@pytest.fixture(scope="session")
def counts(pytestconfig):
    """How often each fault happens."""
    defaults = {name: long if pytestconfig.option.long else quick for name, (quick, long, _) in COUNTS.items()}
    given = {name: getattr(pytestconfig.option, name) for name in COUNTS}
    counted = {name: defaults[name] if given[name] is None else given[name] for name in COUNTS}
    return SimpleNamespace(**counted, is_long=pytestconfig.option.long)


@pytest.fixture
def scratch(tmp_path):
    """A directory in memory where there is one: for copies that need not survive anything."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path
    directory = Path(tempfile.mkdtemp(prefix="alula-torture-", dir=parent))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def file_systems(tmp_path):
    """Makes file systems of this test alone; needs root."""
    made = FileSystems(tmp_path)
    yield made
    made.unmount()


@pytest.fixture
def case(request, pytestconfig, make_server, file_systems, tmp_path):
    """What the test does, kept if it fails. Its servers end before its file systems do."""
    made = Case(request.node.name, pytestconfig.option.seed, make_server, tmp_path)
    yield made
    made.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed and "case" in item.funcargs:
        report.sections.append(("kept", item.funcargs["case"].keep()))
    return report
