"""The checks of drivers/adbc_checks.py against the real binary."""

import adbc_driver_manager
import pytest
from drivers import adbc_checks
from drivers.adbc_target import Target
from drivers.pending import PENDING, expected
from drivers.site import Site

# These leave a statement behind that the server has to stop; if it does not, the others would wait for its threads.
ON_A_SERVER_OF_THEIR_OWN = ("cancel", "a time limit")
TABLE = "checks_rows"


def target(site):
    """The table is made by the server; while it makes none, statements read from what it would be made of."""
    is_pending = "checks/a table to read from" in PENDING
    try:
        with site.server.adbc(site.token) as connection, connection.cursor() as cursor:
            cursor.executescript(f"CREATE TABLE {TABLE} AS {adbc_checks.SOURCE}")
    except adbc_driver_manager.Error:
        if not is_pending:
            raise
        return Target(site.address, site.token, rows=f"({adbc_checks.SOURCE})", table="metrics")
    assert not is_pending, "tables can be made: take `checks/a table to read from` off drivers/pending.py"
    return Target(site.address, site.token, rows=TABLE, table=TABLE)


@pytest.fixture(scope="module")
def shared_target(shared_server):
    return target(Site(shared_server))


@pytest.mark.parametrize("name", [name for name in adbc_checks.CHECKS if name not in ON_A_SERVER_OF_THEIR_OWN])
def test_the_server_passes(shared_target, name):
    with expected(f"checks/{name}"):
        adbc_checks.CHECKS[name](shared_target)


@pytest.mark.parametrize("name", ON_A_SERVER_OF_THEIR_OWN)
def test_the_server_stops_what_nobody_waits_for(server, name):
    """Guarantees: the client is told at once, and the processors are free again soon after."""
    site = Site(server)
    with expected(f"checks/{name}"):
        adbc_checks.CHECKS[name](target(site))
        site.wait_until_idle()
