"""What became of every ability of every driver, each asked once."""

from dataclasses import dataclass

from drivers.base import NotOfferedError
from drivers.limits import LIMITS
from drivers.pending import PENDING

WORKS, ABSENT, LIMIT, IS_PENDING, FAILED = "works", "absent", "limit", "pending", "failed"


@dataclass(frozen=True)
class Outcome:
    state: str
    detail: str = ""


class Outcomes:
    """Opens a driver when it is first asked, and again if its process has ended."""

    def __init__(self, site):
        self.site = site
        self.open = {}
        self.found = {}

    def driver(self, kind):
        if kind in self.open and self.open[kind].has_ended():
            self.open.pop(kind).close()
        if kind not in self.open:
            self.open[kind] = kind(self.site)
        return self.open[kind]

    def close(self):
        for driver in self.open.values():
            driver.close()

    def outcome(self, kind, ability):
        name = f"{kind.name}/{ability.name}"
        if name not in self.found:
            self.found[name] = self.judged(name, *self.asked(kind, ability))
        return self.found[name]

    def asked(self, kind, ability):
        """How it went, and what went wrong; None for either."""
        try:
            driver = self.driver(kind)
            if not all(map(driver.offers, ability.needs)):
                return None, NotOfferedError()
            return ability.check(driver, self.site), None
        except Exception as error:
            return None, error

    @staticmethod
    def judged(name, how, failure):
        if isinstance(failure, NotOfferedError):
            return Outcome(ABSENT)
        if failure is not None:
            detail = f"{type(failure).__name__}: {failure}"
            if name in LIMITS:
                return Outcome(LIMIT, LIMITS[name])
            return Outcome(IS_PENDING if name in PENDING else FAILED, detail)
        for file, names in (("pending.py", PENDING), ("limits.py", LIMITS)):
            if name in names:
                return Outcome(FAILED, f"{name} works: take it off the list of tests/interop/drivers/{file}")
        return Outcome(WORKS, how or "yes")
