"""The crash matrix: ways of sending, operations and points, and the table of what the next run found out.

``python -m tests.support.matrix FOLDER`` renders what tests/jobs/test_crash_matrix.py wrote there into
docs/reliability.md.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BLOCK = re.compile(r"(<!-- crash matrix -->\n)(.*?)(<!-- end -->)", re.DOTALL)

OPERATIONS = ("create", "upsert", "update", "delete")
"""create: the key is new to the org. upsert: it is new to us, but the org has it already."""

NOTHING = "nothing open"
UNPLAYED = "–"
ELSEWHERE = "; ° "
"""Stands before what was found out on another machine, where it is something else than here."""
LONG = "repeat('long text, ', 300)"


@dataclass(frozen=True)
class Way:
    """One way of sending, and the rows that make the planner choose it."""

    name: str
    api: str  # push.api
    rows: int
    note: str = "NULL"  # SQL of a long text
    by_job: bool = False
    steps: bool = False  # a job that is made, filled and closed by three calls

    def most_characters(self, operation: str) -> int | None:
        """Deletes carry Ids alone: it would take 5,000 of them to pass what one call may carry."""
        return 300 if self.steps and operation == "delete" else None

    def request(self, operation: str) -> str:
        """The request that makes the org write."""
        if self.by_job:
            return "PATCH /jobs/ingest" if self.steps else "POST /jobs/ingest"
        if self.name == "composite":
            return "POST /composite"
        return {"update": "PATCH", "delete": "DELETE"}.get(operation, "PATCH") + " /composite/sobjects"


WAYS = {
    way.name: way
    for way in (
        Way("single", "collections", 1),
        Way("collections", "collections", 30),
        Way("composite", "collections", 210),
        Way("multipart job", "bulk", 40, by_job=True),
        Way("full job", "bulk", 40, LONG, by_job=True, steps=True),
    )
}


@dataclass(frozen=True)
class Point:
    """Where a run is killed. at: a moment of tests/support/doomed. open: intents that it leaves."""

    name: str
    at: str
    open: int = 1

    def moment(self, request: str) -> str:
        return f"{self.at}: {request}" if self.at in ("sent", "no answer") else self.at

    def faults(self, request: str, operation: str) -> list[dict[str, Any]]:
        """What the org does so that the point is met."""
        if self.at == "sent":  # it has the request, but begins with it when the sender is dead
            return [{"fault": "slow", "match": request, "seconds": 0.6, "before_work": True}]
        if self.at == "no answer":
            return [{"fault": "lost_after_commit", "match": request}]
        if self.at == "after result" and operation in ("update", "delete"):
            # Of these, nothing is read while the counts say that all went well.
            return [{"fault": "counts_wrong", "object": "Contact", "failed": 1}]
        return []


_FIRST = (
    Point("before the intent", "before intent", 0),
    Point("after the intent", "after intent"),
)
_SENT = (
    Point("after sending", "sent"),
    Point("after the commit, without answer", "no answer"),
)
_LAST = (
    Point("before the record", "before record"),
    Point("in the snapshot's transaction", "in the transaction"),
    Point("after the record", "after record", 0),
)
_CALL = (*_FIRST, *_SENT, Point("after the answer", "after write"), *_LAST)
_HARVEST = (Point("after a poll", "after poll"), Point("during the harvest", "after result"))
_ONE_CALL_JOB = (*_FIRST, *_SENT, Point("after the answer", "after create"), *_HARVEST, *_LAST)
_FULL_JOB = (
    *_FIRST,
    Point("after the job was made", "after create"),
    Point("after the upload", "after upload"),
    *_SENT,
    Point("after the answer", "after close"),
    *_HARVEST,
    *_LAST,
)
COLUMNS = tuple(point.name for point in _FULL_JOB)


def points(way: Way) -> tuple[Point, ...]:
    """Where a run by this way can be killed."""
    if not way.by_job:
        return _CALL
    return _FULL_JOB if way.steps else _ONE_CALL_JOB


WORDS = {
    "was read": "job read",
    "wrote no row": "job wrote nothing",
    "asked for its keys": "keys looked up",
    "compared anew": "compared anew",
    "never filled": "job never filled",
    "sent again": "sent again",
}
"""Of what a run says it found out -> in the table."""


def short(what: str) -> str:
    """What a run found out, in two words."""
    return next(name for words, name in WORDS.items() if words in what)


@dataclass
class Results:
    """What was found, cell by cell."""

    cells: list[dict[str, Any]] = field(default_factory=list)

    def add(self, way: str, operation: str, point: str, told: str, *, elsewhere: bool) -> None:
        self.cells.append(
            {"way": way, "operation": operation, "point": point, "told": told, "elsewhere": elsewhere}
        )

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        first = self.cells[0]
        path = folder / f"{first['way']}-{first['operation']}.json".replace(" ", "-")
        path.write_text(json.dumps(self.cells, indent=1), "utf-8")


def head() -> list[str]:
    """The first two lines of the table: a column for each pair of way and operation would be too wide, so points are rows."""
    return [
        "| killed | way | " + " | ".join(OPERATIONS) + " |",
        "| --- | --- |" + " --- |" * len(OPERATIONS),
    ]


def rows() -> list[tuple[str, str]]:
    """(point, way) of each line of the table, in its order."""
    return [
        (name, way.name)
        for name in COLUMNS
        for way in WAYS.values()
        if name in [point.name for point in points(way)]
    ]


def on_page(way: str, operation: str, point: str, *, elsewhere: bool) -> str:
    """What the page says of a cell."""
    found = BLOCK.search(PAGE.read_text("utf-8"))
    assert found is not None
    for line in found[2].splitlines()[2:]:
        name, by, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if (name, by) == (point, way):
            here, _, there = cells[OPERATIONS.index(operation)].partition(ELSEWHERE)
            return there if there and elsewhere else here
    return UNPLAYED


def render(folder: Path) -> str:
    """The table of all results."""
    found: dict[tuple[str, str, str], dict[bool, str]] = {}
    for path in sorted(folder.glob("*.json")):
        for cell in json.loads(path.read_text("utf-8")):
            where = cell["point"], cell["way"], cell["operation"]
            found.setdefault(where, {})[cell["elsewhere"]] = cell["told"]
    lines = head()
    for point, way in rows():
        told = " | ".join(_cell(found.get((point, way, operation), {})) for operation in OPERATIONS)
        lines.append(f"| {point} | {way} | {told} |")
    return "\n".join(lines) + "\n"


def _cell(told: dict[bool, str]) -> str:
    """What was found out here and elsewhere: one word where it is the same."""
    here, elsewhere = told.get(False, UNPLAYED), told.get(True, UNPLAYED)
    return here if here == elsewhere else f"{here}{ELSEWHERE}{elsewhere}"


def main(folder: str) -> None:
    table = render(Path(folder))
    text = PAGE.read_text("utf-8")
    PAGE.write_text(BLOCK.sub(lambda m: m[1] + table + m[3], text), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
