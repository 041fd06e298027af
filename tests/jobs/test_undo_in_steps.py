"""`--undo` with `--canary`, and an undo that is killed: the way back is a push like any other, and so are its accidents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.jobs.conftest import Team, of, outcomes
from tests.jobs.test_recovery import contacts, crash, left_open
from tests.support import doomed

OPEN_GUARDS = dict.fromkeys(("max_deletes", "max_delete_share", "max_change_share")) | {"min_rows": 0}


@pytest.fixture
def changed(ready: Team) -> Team:
    """A run that updated 30 contacts, made 20 and deleted 10 is the last one."""
    ready.sync("contacts", on_removed="delete", guards=OPEN_GUARDS, push={"api": "collections"})
    ready.contacts([])
    ready.sql(
        "INSERT INTO raw.contacts (id, last, title) SELECT 'O' || i, 'Old', 'one' FROM range(40) AS r(i)"
    )
    ready.run()
    ready.sql(
        "UPDATE raw.contacts SET title = 'two'",
        "DELETE FROM raw.contacts WHERE length(id) = 2",
        "INSERT INTO raw.contacts (id, last, title) SELECT 'N' || i, 'New', 'two' FROM range(20) AS r(i)",
    )
    counts = outcomes(ready.run(), "contacts")
    assert counts == {"updated": 30, "created": 20, "deleted": 10}
    return ready


def before(team: Team) -> dict[str, Any]:
    return {f"O{n}": "one" for n in range(40)}


def held(team: Team) -> dict[str, Any]:
    return {key: record.get("Title") for key, record in contacts(team).items()}


def test_a_run_is_taken_back_by_a_canary_first(changed: Team) -> None:
    writes = len(changed.org.writes())
    result = changed.run(undo="latest", canary=4)
    assert result.exit_code == 0
    assert outcomes(result, "contacts") == {"updated": 30, "restored": 10, "deleted": 20}
    assert held(changed) == before(changed)
    done = [write["operation"] for write in changed.org.writes()][writes:]
    assert done[:4] == ["undeleted"] * 4, "the canary"
    assert "deleted" not in done[:40], "deletes come last"


@pytest.mark.parametrize("right", ["update", "delete"])
def test_a_canary_that_does_not_go_through_stops_the_way_back(changed: Team, right: str) -> None:
    run_id = changed.plan(undo="latest").undo
    changed.org.faults([{"fault": "rights_lost", "object": "Contact", "rights": [right]}])
    result = changed.run(undo=run_id, canary=14)
    counts = outcomes(result, "contacts")
    assert result.exit_code == 1
    assert "did not go through" in (result.reason or "")
    # Without the right to delete nothing comes out of the recycle bin either.
    told = {"restored": 10, "rejected": 4} if right == "update" else {"rejected": 10, "updated": 4}
    assert counts == {**told, "stopped": 26 + 20}
    assert sum(key.startswith("N") for key in held(changed)) == 20, "nothing was deleted"
    changed.org.faults([])
    changed.retry()  # what the org refused is let go
    for _ in range(2):
        changed.run(undo=run_id, canary=14)
    found = held(changed)
    assert {key: found[key] for key in before(changed)} == before(changed)


@pytest.mark.parametrize("point", ["after intent", "after write", "before record"])
def test_a_way_back_that_was_killed_is_finished_by_the_next(changed: Team, point: str) -> None:
    run_id = changed.plan(undo="latest").undo
    order = doomed.Order(changed.folder, point=point, undo=run_id)
    assert doomed.end(doomed.start(order)) == -9
    assert left_open(changed) == 1
    for _ in range(2):
        result = changed.run(undo=run_id)
    assert of(result, "contacts").closes
    assert left_open(changed) == 0
    found = held(changed)
    assert {key: found.get(key) for key in before(changed)} == before(changed)
    assert not [key for key in found if key.startswith("N")]


def test_a_record_that_the_run_met_under_another_key_stays_when_it_is_taken_back(ready: Team) -> None:
    """sfsync folds ASCII letters alone; the org knows more capitals, and so has one record for both keys."""
    ready.sync("contacts", on_removed="delete", guards=OPEN_GUARDS, push={"api": "collections"})
    ready.sql("UPDATE raw.contacts SET id = 'CAFÉ-1', title = 'one' WHERE id = 'C1'")
    first = ready.run().run_id
    mine = ready.org.by("Contact", "LastName")["Ito"]["Id"]
    ready.sql("UPDATE raw.contacts SET id = 'café-1', title = 'two' WHERE id = 'CAFÉ-1'")
    code = doomed.end(doomed.start(doomed.Order(ready.folder, point="after write")))
    assert code == -9
    second = ready.run()
    assert outcomes(second, "contacts").get("deleted") is None, (
        "found again under its new key, and not deleted"
    )
    for run_id in (second.run_id, first):
        ready.run("contacts", undo=run_id)
        assert ready.org.by("Contact", "LastName")["Ito"]["Id"] == mine, "whose it is nobody knows any more"


@pytest.fixture
def harvested(ready: Team) -> tuple[Team, dict[str, Any]]:
    """A run was killed when its Bulk job had set each Title to "one" and made C9; with it, how the records were before."""
    ready.sync("contacts", on_removed="delete", guards=OPEN_GUARDS)
    ready.run()
    stood = shown(ready)
    ready.sync("contacts", push={"api": "bulk"})
    ready.sql(
        "UPDATE raw.contacts SET title = 'one'", "INSERT INTO raw.contacts (id, last) VALUES ('C9', 'Nine')"
    )
    crash(ready, "after poll")
    ready.org.until_quiet()
    return ready, stood


def shown(team: Team) -> dict[str, Any]:
    return {key: (record.get("Title"), record.get("FirstName")) for key, record in contacts(team).items()}


@pytest.mark.parametrize("column", ["title", "first"], ids=["the same field", "another field"])
def test_what_a_run_wrote_twice_goes_back_to_what_stood_there_first(
    harvested: tuple[Team, dict[str, Any]], column: str
) -> None:
    team, stood = harvested
    team.sql(f"UPDATE raw.contacts SET {column} = 'two'")
    result = team.run()
    assert result.recovered, "the job is read by this run, so its changes are this run's, too"
    assert shown(team) != stood
    undone = team.run(undo=result.run_id)
    assert undone.exit_code == 0
    assert not of(undone, "contacts").rejected_codes
    assert shown(team) == stood
