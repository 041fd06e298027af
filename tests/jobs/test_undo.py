"""`--undo RUN`: a run is taken back by a plan like any other; what has moved since stays as it is."""

from __future__ import annotations

import json

import pytest

from sfsync.errors import StateError
from sfsync.jobs.state_forget import state_forget_command
from sfsync.jobs.state_mv import state_mv_command
from sfsync.report.plan_markdown import plan_markdown
from sfsync.report.plan_text import plan_text
from sfsync.state.undo import KEPT_RUNS
from tests.jobs.conftest import Team, of, outcomes, planned

READ_ONLY = ("Id", "LastModifiedDate", "SystemModstamp", "CreatedDate")


def contacts(team: Team) -> dict[str, dict[str, str]]:
    """What people see of the records, by key."""
    return {
        key: {field: text for field, text in record.items() if field not in READ_ONLY}
        for key, record in team.org.by("Contact", "Customer_Id__c").items()
    }


def team_ids(team: Team) -> dict[str, str]:
    return {key: record["Id"] for key, record in team.org.by("Contact", "Customer_Id__c").items()}


@pytest.fixture
def loaded(ready: Team) -> Team:
    """The two accounts and three contacts are in the org."""
    ready.sync("contacts", on_removed="delete")
    assert ready.run().exit_code == 0
    return ready


def change(team: Team) -> None:
    """Two updates, of a text, a lookup and blanks; a create; a delete."""
    team.sql(
        "UPDATE raw.contacts SET title = 'CEO', account = NULL, born = DATE '1980-01-31' WHERE id = 'C1'",
        "UPDATE raw.contacts SET title = NULL, last = 'Mueller' WHERE id = 'C2'",
        "DELETE FROM raw.contacts WHERE id = 'C3'",
        "INSERT INTO raw.contacts (id, last) VALUES ('C4', 'Nguyen')",
    )
    counts = outcomes(team.run(), "contacts")
    assert counts == {"updated": 2, "created": 1, "deleted": 1}


@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_a_run_is_taken_back(loaded: Team, api: str) -> None:
    before, ids = contacts(loaded), team_ids(loaded)
    loaded.sync("contacts", push={"api": api})
    change(loaded)
    assert contacts(loaded) != before
    plan = loaded.plan(undo="latest")
    changes = planned(plan, "contacts").changes
    counts = (changes.updates, changes.updated_fields, changes.deletes, changes.upserts, changes.undeletes)
    assert counts == (2, 5, 1, 0, 1)
    assert [item.sync.name for item in plan.syncs] == ["contacts"], "nothing of the accounts was changed"
    assert any("come out of the recycle bin with their Ids" in warning for warning in plan.warnings)
    result = loaded.run(undo="latest")
    assert outcomes(result, "contacts") == {"updated": 2, "restored": 1, "deleted": 1}
    assert result.exit_code == 0
    assert (contacts(loaded), team_ids(loaded)) == (before, ids)
    written = json.loads((loaded.folder / "target" / "run_results.json").read_text())
    assert written["undo"] == plan.undo


def test_the_next_run_sends_again_what_the_model_says(loaded: Team) -> None:
    change(loaded)
    after = contacts(loaded)
    loaded.run(undo="latest")
    loaded.run()
    assert contacts(loaded) == after
    assert not loaded.plan().has_changes


def test_a_model_that_was_taken_back_too_has_nothing_to_do(loaded: Team) -> None:
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    loaded.run()
    loaded.run(undo="latest")
    loaded.sql("UPDATE raw.contacts SET title = NULL WHERE id = 'C1'")
    assert not loaded.plan().has_changes


def test_an_undo_is_a_run_that_can_be_taken_back(loaded: Team) -> None:
    change(loaded)
    after = contacts(loaded)
    loaded.run(undo="latest")
    loaded.run(undo="latest")
    assert contacts(loaded) == after


def test_what_was_changed_again_since_stays(loaded: Team) -> None:
    change(loaded)
    first = loaded.plan(undo="latest").undo
    assert first is not None
    loaded.sql("UPDATE raw.contacts SET title = 'Chair' WHERE id = 'C1'")
    loaded.run()
    plan = loaded.plan(undo=first)
    assert any("1 cell were changed again" in warning or "1 cell" in warning for warning in plan.warnings)
    loaded.run(undo=first)
    found = contacts(loaded)
    assert found["C1"]["Title"] == "Chair"
    assert "Birthdate" not in found["C1"]
    assert found["C2"]["LastName"] == "Müller"


def test_a_first_load_is_taken_back_within_the_guards(ready: Team) -> None:
    ready.run()
    ready.sql(*(f"INSERT INTO raw.contacts (id, last) VALUES ('N{n}', 'New')" for n in range(25)))
    ready.run()
    plan = ready.plan(undo="latest")
    assert [refusal.name for refusal in plan.refusals] == ["max_delete_share"]
    assert outcomes(ready.run(undo="latest"), "contacts") == {}
    result = ready.run(undo="latest", allow=["contacts.max_delete_share"])
    assert outcomes(result, "contacts") == {"deleted": 25}
    assert set(contacts(ready)) == {"C1", "C2", "C3"}


def test_adopted_records_and_other_peoples_deletes_are_left_alone(ready: Team) -> None:
    ready.org.post("/sobjects/Contact", json={"LastName": "Theirs", "Customer_Id__c": "C1"})
    ready.run()
    plan = ready.plan("contacts", undo="latest")
    changes = planned(plan, "contacts").changes
    assert (changes.deletes, changes.updates, changes.unchanged) == (2, 0, 1)
    assert any("1 adopted record stay" in warning for warning in plan.warnings)
    theirs = ready.org.by("Contact", "Customer_Id__c")["C2"]["Id"]
    ready.org.delete(f"/sobjects/Contact/{theirs}")
    assert any("so not taken back: accounts" in warning for warning in plan.warnings)
    result = ready.run("contacts", undo="latest")
    assert outcomes(result, "contacts") == {"unchanged": 1, "deleted": 1, "already_deleted": 1}
    assert set(contacts(ready)) == {"C1"}
    again = planned(ready.plan(undo="latest"), "contacts").changes
    assert (again.upserts, again.undeletes) == (0, 1), "what was gone already is not brought back"


def test_refusals_still_stand_after_an_undo(loaded: Team) -> None:
    loaded.sql("INSERT INTO raw.contacts (id, last, email) VALUES ('C9', 'Bad', 'no address')")
    assert outcomes(loaded.run(), "contacts") == {"rejected": 1, "unchanged": 3}
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    loaded.run()
    loaded.run(undo="latest")
    assert outcomes(loaded.run(), "contacts") == {"held": 1, "updated": 1, "unchanged": 2}


def test_fields_that_are_no_longer_mapped_are_named(loaded: Team) -> None:
    change(loaded)
    loaded.sync("contacts", fields={"Title": None})
    plan = loaded.plan(undo="latest")
    assert any("not restored: Title" in warning for warning in plan.warnings)
    loaded.run(undo="latest")
    assert contacts(loaded)["C1"]["Title"] == "CEO"
    assert contacts(loaded)["C2"]["LastName"] == "Müller"


def test_which_run_is_meant(loaded: Team) -> None:
    change(loaded)
    run_id = loaded.plan(undo="latest").undo
    assert run_id is not None
    assert loaded.plan(undo=run_id[:-2]).undo == run_id
    with pytest.raises(StateError, match="no run 'nonsense' can be taken back") as caught:
        loaded.plan(undo="nonsense")
    assert run_id in (caught.value.fix or "")
    with pytest.raises(StateError, match="could be"):
        loaded.plan(undo=run_id[:4])
    assert not of(loaded.run(), "contacts").model.get("updated")
    assert loaded.plan(undo="latest").undo == run_id, "a run that changed nothing is not the last one"


def test_only_the_last_runs_are_kept(ready: Team) -> None:
    ids = []
    for number in range(KEPT_RUNS + 2):
        ready.sql(f"UPDATE raw.contacts SET title = 'T{number}'")
        ids.append(ready.run(allow=["contacts.max_change_share"]).run_id)
    assert ready.plan(undo=ids[2]).undo == ids[2]
    with pytest.raises(StateError, match="can be taken back"):
        ready.plan(undo=ids[1])


def test_the_reports_say_what_they_are(loaded: Team) -> None:
    change(loaded)
    plan = loaded.plan(undo="latest")
    assert f"takes back run {plan.undo}" in plan_text(plan, color=False, width=0)
    assert f"Takes back run `{plan.undo}`" in plan_markdown(plan)
    written = json.loads((loaded.folder / "target" / "plan.json").read_text())
    assert written["metadata"]["undo"] == plan.undo
    (sync,) = written["syncs"]
    sample = next(s for s in sync["samples"] if s["key"] == "C2")
    assert sample["changes"]["LastName"] == ["Mueller", "Müller"]


def test_a_renamed_sync_with_another_identity_is_taken_back_too(loaded: Team) -> None:
    before = contacts(loaded)
    change(loaded)
    spec = (loaded.folder / "syncs" / "contacts.yml").read_text("utf-8")
    (loaded.folder / "syncs" / "contacts.yml").unlink()
    loaded.write("syncs/people.yml", spec.replace("name: contacts", "name: people"))
    state_mv_command(loaded.options(), "contacts", "people")
    assert outcomes(loaded.run(undo="latest"), "people") == {"updated": 2, "restored": 1, "deleted": 1}
    assert contacts(loaded) == before


def test_the_undo_of_a_forgotten_sync_has_nothing_to_go_by(loaded: Team) -> None:
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    run_id = loaded.run().run_id
    state_forget_command(loaded.options(), "contacts", ())
    with pytest.raises(StateError, match="can be taken back"):
        loaded.plan(undo=run_id)


def test_a_run_is_taken_back_whole_or_not_at_all(ready: Team) -> None:
    """Else parents would be deleted, and the org would delete with them the children that a guard was to keep."""
    ready.sql("INSERT INTO raw.contacts (id, last) SELECT 'N' || n, 'New' FROM range(50) AS r(n)")
    run_id = ready.run().run_id
    before = ready.org.records("Contact"), ready.org.records("Account")
    result = ready.run(undo=run_id)
    assert result.exit_code == 3
    assert [item.status for item in result.syncs] == ["refused", "refused"]
    plan = ready.plan(undo=run_id)
    assert [(r.sync, r.name, r.allow) for r in plan.refusals] == [
        ("accounts", "undo", None),
        ("contacts", "max_delete_share", "contacts.max_delete_share"),
    ]
    assert (ready.org.records("Contact"), ready.org.records("Account")) == before
    assert ready.run("accounts", undo=run_id).exit_code == 0, "but on purpose"
    assert ready.run(undo=run_id, allow=["contacts.max_delete_share"]).exit_code == 0


def test_what_was_made_anew_under_a_deleted_key_is_told_and_taken_back_in_two_steps(loaded: Team) -> None:
    loaded.sync("contacts", on_removed="delete")
    loaded.sql(
        "CREATE TABLE raw.kept AS SELECT * FROM raw.contacts", "DELETE FROM raw.contacts WHERE id = 'C1'"
    )
    mine = loaded.org.by("Contact", "Customer_Id__c")["C1"]["Id"]
    run_id = loaded.run().run_id
    loaded.sql("DELETE FROM raw.contacts", "INSERT INTO raw.contacts SELECT * FROM raw.kept")
    loaded.run()
    plan = loaded.plan(undo=run_id)
    assert any(
        "1 deleted record cannot come back: other records have their keys" in w for w in plan.warnings
    ), plan.warnings
    loaded.run(undo="latest")
    assert not any("cannot come back" in w for w in loaded.plan(undo=run_id).warnings)
    loaded.run(undo=run_id)
    assert loaded.org.by("Contact", "Customer_Id__c")["C1"]["Id"] == mine
