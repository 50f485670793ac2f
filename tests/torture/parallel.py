"""Many cases that have nothing to do with each other, a few at a time."""

import os
from concurrent.futures import ThreadPoolExecutor

# Failures that are shown; the rest is only counted.
SHOWN = 10


def check_each(case, what, cases, check):
    """Calls `check` for every case; all failures are told at the end, by the case."""

    def problem(arguments):
        try:
            check(*arguments)
        except AssertionError as error:
            return f"{', '.join(map(str, arguments))}: {error}"
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [found for found in pool.map(problem, cases) if found]
    case.note(problems=problems)
    assert not problems, "\n".join([f"{len(problems)} of {len(cases)} {what}:", *problems[:SHOWN]])
