"""The part of docs/clients.md that the tests make."""

from pathlib import Path

from drivers import abilities, outcomes, registry

FILE = Path(__file__).parents[3] / "docs" / "clients.md"
START = "<!-- From here on made by `tools/clients-table`. -->\n"

CELLS = {outcomes.ABSENT: "–", outcomes.IS_PENDING: "not yet", outcomes.FAILED: "**fails**"}


def made(found):
    """The tables, by section, and what their footnotes say."""
    notes = []
    sections = [section_text(section, found, notes) for section in abilities.SECTIONS]
    footnotes = [f"{number}. {text}\n" for number, text in enumerate(notes, start=1)]
    return "\n".join([*sections, "## What a client cannot do\n", "".join(footnotes)])


def section_text(section, found, notes):
    titles = [f"{kind.title} {found.driver(kind).version()}" for kind in registry.DRIVERS]
    lines = [f"## {section.title}\n", row(["", *titles]), row(["---"] * (len(titles) + 1))]
    for ability in section.abilities:
        cells = [cell(found.outcome(kind, ability), notes) for kind in registry.DRIVERS]
        lines.append(row([ability.title, *cells]))
    return "\n".join(lines) + "\n"


def row(cells):
    return f"| {' | '.join(cells)} |"


def cell(outcome, notes):
    if outcome.state == outcomes.WORKS:
        return outcome.detail
    if outcome.state != outcomes.LIMIT:
        return CELLS[outcome.state]
    if outcome.detail not in notes:
        notes.append(outcome.detail)
    return f"no ({notes.index(outcome.detail) + 1})"


def committed():
    return FILE.read_text().partition(START)[2].lstrip("\n")


def write(text):
    written_by_hand = FILE.read_text().partition(START)[0]
    FILE.write_text(f"{written_by_hand}{START}\n{text}")
