"""What was sent by a run that was killed, or by a job that was left, can be taken back to what stood there before it."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tests.jobs.conftest import STATE, Team, outcomes
from tests.jobs.test_recovery import crash, left_open
from tests.jobs.test_undo_exact import by_hand, fields, lines

OPEN_GUARDS = dict.fromkeys(("max_deletes", "max_delete_share", "max_change_share")) | {"min_rows": 0}
POINTS = {
    "collections": ("before intent", "after intent", "no answer: PATCH /composite/sobjects", "no answer: DELETE /composite/sobjects", "after write", "before record"),
    "bulk": ("after intent", "no answer: POST /jobs/ingest", "after create", "after poll", "before record"),
}  # fmt: skip
CELLS = [(api, point) for api, points in POINTS.items() for point in points]


@pytest.fixture(params=["acknowledged", "exact"])
def loaded(ready: Team, request: pytest.FixtureRequest) -> Team:
    """Two accounts and three contacts; where what stood there is read first, a person had changed one of them."""
    ready.sync("contacts", on_removed="delete", guards=OPEN_GUARDS, undo=request.param)
    assert ready.run().exit_code == 0
    if request.param == "exact":
        by_hand(ready, "C1", Title="Chair", FirstName="Ada")
        by_hand(ready, "C3", Title="Founder")
    return ready


def change(team: Team) -> None:
    team.sql(
        "UPDATE raw.contacts SET title = 'one', first = 'First' WHERE id IN ('C1', 'C2')",
        "DELETE FROM raw.contacts WHERE id = 'C3'",
    )


@pytest.mark.parametrize(("api", "point"), CELLS, ids=[f"{api} {point}" for api, point in CELLS])
def test_what_a_killed_run_wrote_goes_back_to_what_stood_there_before(
    loaded: Team, api: str, point: str
) -> None:
    before = fields(loaded)
    loaded.sync("contacts", push={"api": api})
    change(loaded)
    if point.startswith("no answer"):
        loaded.org.faults([{"fault": "lost_after_commit", "match": point.partition(": ")[2]}])
    crash(loaded, point)
    loaded.org.until_quiet()
    loaded.org.faults([])
    loaded.sql("UPDATE raw.contacts SET title = 'two' WHERE id = 'C1'")  # and the others as they were
    result = loaded.run()
    assert left_open(loaded) == 0
    assert fields(loaded) != before
    killed = {run for (run,) in asked(loaded, "SELECT DISTINCT run_id FROM undo WHERE operation <> 'create'")}
    for run_id in (result.run_id, *(killed - {result.run_id})):  # of the killed run, what had been answered
        assert loaded.run("contacts", undo=run_id).exit_code == 0
    assert fields(loaded) == before
    assert asked(loaded, "SELECT key, texts FROM doubts") == []


def asked(team: Team, query: str) -> list[Any]:
    """What the state holds."""
    with duckdb.connect(str(team.folder / STATE), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_a_run_that_was_killed_twice(loaded: Team) -> None:
    before = fields(loaded)
    for title in ("one", "two", "three"):
        loaded.sql(f"UPDATE raw.contacts SET title = '{title}'")
        loaded.org.faults([{"fault": "lost_after_commit", "match": "PATCH /composite/sobjects"}])
        crash(loaded, "no answer: PATCH /composite/sobjects")
    result = loaded.run()
    assert {record["Title"] for record in fields(loaded).values()} == {"three"}
    loaded.run("contacts", undo=result.run_id)
    assert fields(loaded) == before


def test_what_a_person_changed_since_is_what_stood_there(loaded: Team) -> None:
    """Read where it is read: without `undo: exact` nobody can know."""
    loaded.sync("contacts", undo="exact")
    loaded.sql("UPDATE raw.contacts SET title = 'one' WHERE id = 'C2'")
    loaded.org.faults([{"fault": "lost_after_commit", "match": "PATCH /composite/sobjects"}])
    crash(loaded, "no answer: PATCH /composite/sobjects")
    by_hand(loaded, "C2", Title="Owner")
    result = loaded.run()
    assert lines(loaded, result.run_id)[0][2]["Title"] == ["Owner", "one"]


def test_what_a_person_deleted_is_not_brought_back(loaded: Team) -> None:
    loaded.sql("DELETE FROM raw.contacts WHERE id = 'C3'")
    crash(loaded, "before intent")
    record = loaded.org.by("Contact", "Customer_Id__c")["C3"]["Id"]
    assert loaded.org.delete(f"/sobjects/Contact/{record}").status_code == 204
    result = loaded.run()
    assert not any(operation == "delete" for operation, _, _ in lines(loaded, result.run_id))


def test_a_delete_whose_answer_was_lost_in_a_call_that_was_split_is_taken_back(loaded: Team) -> None:
    before = fields(loaded)
    loaded.sql("DELETE FROM raw.contacts WHERE id IN ('C2', 'C3')")
    loaded.org.faults(
        [
            {"fault": "lost_after_commit", "match": "DELETE /composite/sobjects"},
            {"fault": "status", "status": 413, "match": "DELETE /composite/sobjects"},
        ]
    )
    result = loaded.run()
    assert outcomes(result, "contacts")["unchanged"] == 1
    loaded.run("contacts", undo=result.run_id)
    assert fields(loaded) == before
