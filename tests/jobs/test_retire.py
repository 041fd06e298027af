"""`on_removed: {set: ...}` over HTTPS: records are set aside when their row leaves, and brought back with it."""

from __future__ import annotations

import pytest

from sfsync.errors import CompileError
from sfsync.plan.plan import Plan
from sfsync.report.plan_json import plan_json
from sfsync.report.plan_markdown import plan_markdown
from sfsync.report.plan_text import plan_text
from tests.jobs.conftest import Team, of, planned
from tests.jobs.test_recovery import crash, left_open

SET = {"Department": "Left", "Title": None}
BACK = {"Department": "Back"}


def setting(team: Team, **more: object) -> Team:
    team.sync("contacts", on_removed={"set": SET, "on_return": BACK}, **more)
    team.run()
    return team


def contact(team: Team, key: str) -> dict[str, object]:
    return dict(team.org.by("Contact", "Customer_Id__c")[key])


def leave(team: Team, *keys: str) -> None:
    listed = ", ".join(f"'{key}'" for key in keys)
    team.sql(
        f"CREATE OR REPLACE TABLE raw.away AS SELECT * FROM raw.contacts WHERE id IN ({listed})",
        f"DELETE FROM raw.contacts WHERE id IN ({listed})",
    )


def come_back(team: Team) -> None:
    team.sql("INSERT INTO raw.contacts SELECT * FROM raw.away")


def shown(plan: Plan) -> str:
    return plan_text(plan, color=False, width=0) + plan_markdown(plan) + plan_json(plan)


def test_a_row_that_leaves_sets_its_record_aside_once(ready: Team) -> None:
    setting(ready)
    leave(ready, "C2")
    plan = ready.plan()
    changes = planned(plan, "contacts").changes
    assert (changes.retires, changes.updates, changes.deletes, changes.unchanged) == (1, 0, 0, 2)
    text = shown(plan)
    assert "1 to retire" in text
    assert "sets Department, Title" in text
    assert '"operation": "retire"' in text
    result = of(ready.run(), "contacts")
    assert (result.model, result.removals) == ({"unchanged": 2}, {"updated": 1})
    record = contact(ready, "C2")
    assert record["Department"] == "Left"
    assert "Title" not in record
    assert record["LastName"] == "Müller"
    writes = len(ready.org.writes())
    assert not ready.plan().has_changes
    assert of(ready.run(), "contacts").removals == {}
    assert len(ready.org.writes()) == writes


def test_a_row_that_is_back_brings_its_record_back_and_may_leave_again(ready: Team) -> None:
    setting(ready)
    for turn in range(2):
        leave(ready, "C2")
        ready.run()
        assert contact(ready, "C2")["Department"] == "Left", turn
        come_back(ready)
        result = of(ready.run(), "contacts")
        assert (result.model, result.removals) == ({"unchanged": 2, "updated": 1}, {})
        record = contact(ready, "C2")
        assert (record["Department"], record["Title"]) == ("Back", "CTO")
        assert not ready.plan().has_changes


def test_without_on_return_mapped_fields_are_sent_as_usual(ready: Team) -> None:
    ready.sync("contacts", on_removed={"set": {"Title": "Gone"}})
    ready.run()
    leave(ready, "C1", "C2")
    ready.run(allow=["contacts.max_delete_share"])
    assert [contact(ready, key)["Title"] for key in ("C1", "C2")] == ["Gone", "Gone"]
    come_back(ready)
    assert of(ready.run(), "contacts").model == {"unchanged": 1, "updated": 2}
    assert contact(ready, "C2")["Title"] == "CTO"
    assert "Title" not in contact(ready, "C1")


def test_records_that_others_made_are_set_aside_like_all_others(ready: Team) -> None:
    ready.org.post("/sobjects/Contact", json={"LastName": "By hand", "Customer_Id__c": "C3"})
    setting(ready)
    ready.run()
    leave(ready, "C3")
    assert of(ready.run(), "contacts").removals == {"updated": 1}
    assert contact(ready, "C3")["Department"] == "Left"


def test_the_guards_of_deletes_judge_it(ready: Team) -> None:
    setting(ready, guards={"max_deletes": 1})
    leave(ready, "C1", "C2")
    [refusal] = ready.plan().refusals
    assert refusal.name == "max_deletes"
    assert "would retire 2 records" in refusal.what
    ready.sql("INSERT INTO raw.contacts (last) VALUES ('Nobody')")
    changes = planned(ready.plan(), "contacts").changes
    assert (changes.retires, changes.removals_held_back) == (0, 2)
    ready.sql("DELETE FROM raw.contacts")
    assert [r.name for r in ready.plan().refusals] == ["min_rows", "max_deletes"]


@pytest.mark.parametrize("undo", ["acknowledged", "exact"])
def test_it_is_taken_back_like_any_update(ready: Team, undo: str) -> None:
    setting(ready, undo=undo)
    record = contact(ready, "C2")["Id"]
    ready.org.patch(f"/sobjects/Contact/{record}", json={"Department": "Sales"})
    leave(ready, "C2")
    ready.run()
    ready.run(undo="latest")
    found = contact(ready, "C2")
    assert (found["Department"], found["Title"]) == ("Sales" if undo == "exact" else "Back", "CTO")
    assert planned(ready.plan(), "contacts").changes.retires == 1


def test_what_the_org_refuses_is_held_and_the_sums_close(ready: Team) -> None:
    setting(ready)
    leave(ready, "C2")
    ready.org.faults([{"fault": "locked_rows", "object": "Contact", "share": 1.0, "times": "always"}])
    result = of(ready.run(), "contacts")
    assert (result.model, result.removals) == ({"unchanged": 2}, {"failed": 1})
    ready.org.faults([])
    assert of(ready.run(), "contacts").removals == {"updated": 1}


WRONG = [
    ({"set": {"Departement": "x"}}, "no field 'Departement'"),
    ({"set": {"Is_Champion__c": None}}, "cannot be null"),
    ({"set": {"Is_Champion__c": "no"}}, "must be true or false"),
    ({"set": {"Title": "x" * 129}}, "at most 128 characters"),
    ({"set": {"Birthdate": "soon"}}, "must be a date"),
    ({"set": {"Lifetime_Value__c": 10**17}}, "digits before the point"),
    ({"set": {"CreatedDate": "2026-01-01T00:00:00Z"}}, "cannot be written"),
    ({"set": {"Customer_Id__c": "x"}}, "is the identity"),
    ({"set": {"AccountId": "A1"}}, "only be set to null"),
    ({"set": {"Department": "x"}, "on_return": {"Title": "x"}}, "is mapped"),
    ({"set": {"Title": "x"}, "on_return": {"Department": "x"}}, "does not map"),
]


@pytest.mark.parametrize(("on_removed", "said"), WRONG, ids=[said for _, said in WRONG])
def test_constants_are_checked_against_the_fields(ready: Team, on_removed: object, said: str) -> None:
    ready.sync("contacts", on_removed=on_removed)
    with pytest.raises(CompileError) as caught:
        ready.plan()
    assert said in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.line


POINTS = {
    "collections": ["after intent", "after write", "before record", "after record"],
    "bulk": ["after intent", "after poll", "before record", "after record"],
}
CELLS = [(api, point) for api, points in POINTS.items() for point in points]


@pytest.mark.parametrize("back", [False, True], ids=["still away", "back meanwhile"])
@pytest.mark.parametrize(("api", "point"), CELLS, ids=[f"{api} {point}" for api, point in CELLS])
def test_a_killed_run_is_mended_by_the_next(ready: Team, api: str, point: str, back: bool) -> None:
    setting(ready, push={"api": api})
    ready.org.patch(f"/sobjects/Contact/{contact(ready, 'C2')['Id']}", json={"Department": "Sales"})
    leave(ready, "C2")
    crash(ready, point)
    ready.org.until_quiet()
    written = contact(ready, "C2")["Department"] == "Left"
    assert written == (point != "after intent")
    if back:
        come_back(ready)
    assert ready.run().exit_code == 0
    assert left_open(ready) == 0
    found = contact(ready, "C2")
    wanted = ("Back" if written else found["Department"], "CTO") if back else ("Left", None)
    assert (found["Department"], found.get("Title")) == wanted
    assert not ready.plan().has_changes
