"""Every driver is asked for every ability: see drivers/README.md.

The expectations are in drivers/abilities.py, what is not there yet in drivers/pending.py, and what a client cannot do
in drivers/limits.py.
"""

import pytest
from drivers import compatibility, outcomes
from drivers.abilities import ABILITIES
from drivers.limits import LIMITS
from drivers.outcomes import Outcomes
from drivers.pending import PENDING
from drivers.registry import DRIVERS
from drivers.site import Site


@pytest.fixture(scope="module")
def found(shared_server):
    made = Outcomes(Site(shared_server))
    yield made
    made.close()


@pytest.mark.parametrize("ability", ABILITIES)
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_a_driver_does_what_its_client_offers(found, driver, ability):
    outcome = found.outcome(driver, ABILITIES[ability])
    if outcome.state == outcomes.ABSENT:
        pytest.skip("the client has no call for it")
    if outcome.state == outcomes.IS_PENDING:
        pytest.xfail(f"pending: {outcome.detail}")
    assert outcome.state in (outcomes.WORKS, outcomes.LIMIT), outcome.detail


def test_the_lists_name_what_there_is(found):
    """Guarantees: an ability that is renamed, or that a client no longer offers, leaves nothing behind in the lists."""
    asked = {f"{driver.name}/{ability}": (driver, ABILITIES[ability]) for driver in DRIVERS for ability in ABILITIES}
    of_drivers = {name for name in PENDING if not name.startswith(("checks/", "jdbc/"))}
    assert of_drivers | LIMITS.keys() <= asked.keys()
    assert not PENDING & LIMITS.keys()
    absent = [name for name in of_drivers | LIMITS.keys() if found.outcome(*asked[name]).state == outcomes.ABSENT]
    assert absent == []


def test_the_table_in_the_documents_is_what_was_found(found, pytestconfig):
    """`tools/clients-table` writes it."""
    text = compatibility.made(found)
    if pytestconfig.getoption("--write-clients-table"):
        compatibility.write(text)
    assert compatibility.committed().splitlines() == text.splitlines(), (
        "run tools/clients-table and look at the difference"
    )
