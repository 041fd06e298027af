"""Every way of sending, every operation, every point: the run is killed there, and the next one ends as if it had not been.

    pytest tests/jobs/test_crash_matrix.py                         four pairs of way and operation, all their points
    pytest tests/jobs/test_crash_matrix.py -m slow                 the other pairs, some points of each
    pytest tests/jobs/test_crash_matrix.py -m 'slow or not slow' --matrix-results FOLDER
                                                                   every cell, on both machines

`python -m tests.support.matrix FOLDER` writes what the last one found into docs/reliability.md.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sfsync.artifacts import Result
from tests.jobs.conftest import STATE, Team
from tests.jobs.test_recovery import left_open, model, snapshot
from tests.support import doomed, matrix
from tests.support.matrix import Way, points

QUICK = {("composite", "create"), ("full job", "create"), ("multipart job", "update"), ("single", "delete")}
KEY = "Customer_Id__c"


def cases() -> list[Any]:
    found = []
    for way in matrix.WAYS.values():
        for operation in matrix.OPERATIONS:
            marks = () if (way.name, operation) in QUICK else pytest.mark.slow
            found.append(pytest.param(way, operation, id=f"{way.name}-{operation}", marks=marks))
    return found


@pytest.mark.parametrize(("way", "operation"), cases())
def test_a_run_killed_anywhere_is_mended_by_the_next(
    ready: Team, way: Way, operation: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.config.getoption("--matrix-results")
    if small := way.most_characters(operation):
        monkeypatch.setattr("sfsync.plan.cost.MAX_MULTIPART_CHARACTERS", small)
        monkeypatch.setattr("sfsync.push.jobs.MAX_MULTIPART_CHARACTERS", small)
    cells = _cells(way, operation, complete=folder is not None)
    _prepare(ready, way, operation, len(cells))
    results = matrix.Results()
    unanswered: list[str] = []
    for step, (point, elsewhere) in enumerate(cells):
        _change(ready, way, operation, step)
        _kill(ready, way, operation, point)
        told, adopted = _mend(ready, point, elsewhere=elsewhere)
        if operation == "upsert" or adopted:
            unanswered.append(f"new{step}-")
        _compare(ready, tuple(unanswered), f"{point}, step {step}")
        results.add(way.name, operation, point.name, told, elsewhere=elsewhere)
        if folder is not None:
            results.write(Path(folder))
        else:
            page = matrix.on_page(way.name, operation, point.name, elsewhere=elsewhere)
            assert told == page, f"{point.name}: docs/reliability.md is not what happens"
    assert not ready.plan().has_changes
    assert _made_twice(ready) == []


def _cells(way: Way, operation: str, *, complete: bool) -> list[tuple[matrix.Point, bool]]:
    """(point, on another machine): for the table both of every point; else every third, and the machines take turns."""
    if complete:
        return [(point, elsewhere) for point in points(way) for elsewhere in (False, True)]
    turn = list(matrix.WAYS).index(way.name) + matrix.OPERATIONS.index(operation)
    whole = (way.name, operation) in QUICK
    found = enumerate(points(way))
    return [(point, (number + turn) % 2 == 0) for number, point in found if whole or number % 3 == turn % 3]


# ---------------------------------------------------------------- what is to be sent


def _prepare(team: Team, way: Way, operation: str, steps: int) -> None:
    """Accounts, and the contacts that are to be changed or deleted step by step."""
    guards = dict.fromkeys(("max_deletes", "max_delete_share", "max_change_share")) | {"min_rows": 0}
    fields = {"FirstName": None, "Description": "first"}
    team.sync("contacts", push={"api": way.api}, on_removed="delete", guards=guards, fields=fields)
    team.contacts([])
    if operation == "update":
        _add(team, way, "old", way.rows)
    elif operation == "delete":
        for step in range(steps):
            _add(team, way, f"old{step}", way.rows)
    team.run()


def _add(team: Team, way: Way, name: str, rows: int) -> None:
    team.sql(
        "INSERT INTO raw.contacts (id, last, title, first, account) SELECT"
        f" '{name}-' || i, 'Last', 'first', {way.note}, CASE WHEN i % 3 > 0 THEN 'A1' END FROM range({rows}) AS r(i)"
    )


def _change(team: Team, way: Way, operation: str, step: int) -> None:
    """What the next run has to send: as many rows as the way is for."""
    match operation:
        case "update":
            note = f"{way.note} || '{step}'" if way.note != "NULL" else "NULL"
            team.sql(f"UPDATE raw.contacts SET title = 'step {step}', first = {note}")
        case "delete":
            team.sql(f"DELETE FROM raw.contacts WHERE id LIKE 'old{step}-%'")
        case _:
            _add(team, way, f"new{step}", way.rows)
    if operation == "upsert":
        _stood_before(team, [f"new{step}-{n}" for n in range(way.rows)])


def _stood_before(team: Team, keys: list[str]) -> None:
    """Somebody else made these records yesterday."""
    records = [{KEY: key, "LastName": "Theirs", "Title": "theirs"} for key in keys]
    team.org.faults([{"fault": "clock_off", "seconds": -86_400}])
    team.org.local("POST", "/_local/load?object=Contact", records)
    team.org.faults([])


# ---------------------------------------------------------------- crash and recovery


def _kill(team: Team, way: Way, operation: str, point: matrix.Point) -> None:
    """A run that dies there; afterwards nothing of it is under way in the org any more, but Bulk jobs."""
    place, before = way.request(operation), team.org.state()
    team.org.faults(point.faults(place, operation))
    order = doomed.Order(
        team.folder, point=point.moment(place), most_characters=way.most_characters(operation)
    )
    code = doomed.end(doomed.start(order))
    assert code == -9, f"{point.name}: the run ended with {code}; before it: {before}"
    team.org.until_quiet()
    team.org.faults([])


def _mend(team: Team, point: matrix.Point, *, elsewhere: bool) -> tuple[str, bool]:
    """The next run: what it says it found out, and whether records were found that no answer had told of."""
    open_before = left_open(team)
    assert open_before == point.open, point.name
    if elsewhere:
        for path in (team.folder / STATE).parent.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (Path(STATE).name, Path(STATE).name + ".wal"):
                path.unlink()
        shutil.rmtree(team.folder / "target")
    result = team.run()
    assert result.exit_code == 0, (point.name, result)
    assert len(result.recovered) == open_before, point.name
    assert left_open(team) == 0, point.name
    return _words(result), any("adopted" in item.counts for item in result.recovered)


def _words(result: Result) -> str:
    """What was found out, in the words of the table."""
    return matrix.short(result.recovered[0].what) if result.recovered else matrix.NOTHING


def _compare(team: Team, unanswered: tuple[str, ...], where: str) -> None:
    """Org and snapshot are as if nothing had happened; but who made a record only the answer tells.

    unanswered: beginnings of keys whose create was never answered, or had been there before.
    """
    if unanswered:
        team.run()  # what an adoption left blank is cleared by the run after it
    titles = model(team)
    records = team.org.records("Contact")
    held = {record[KEY]: record["Title"] for record in records}
    assert len(held) == len(records), f"{where}: a record twice"
    assert held == titles, where
    expected = {
        key.lower(): (title, "adopted" if key.startswith(unanswered) else "created")
        for key, title in titles.items()
    }
    assert snapshot(team) == expected, where


def _made_twice(team: Team) -> list[str]:
    """Keys that were created more than once, by the org's own journal."""
    made = Counter(
        write["fields"].get(KEY)
        for write in team.org.writes()
        if write["object"] == "Contact" and write["operation"] == "created"
    )
    return [str(key) for key, times in made.items() if times > 1]
