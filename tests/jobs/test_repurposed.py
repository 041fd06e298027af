"""Records that somebody gave another key: their identity is read before a delete, and they are not deleted."""

from __future__ import annotations

from typing import Any

import pytest

from sfsync.jobs.explain import explain_command
from sfsync.jobs.plan import plan_command
from sfsync.jobs.state_check import state_check_command
from sfsync.jobs.state_forget import state_forget_command
from sfsync.report.explain_text import explain_text
from sfsync.report.plan_text import plan_text
from tests.jobs.conftest import SYNCS, Team, of, outcomes, planned
from tests.jobs.test_jobs_at_work import BULK, stuck
from tests.jobs.test_match import NAME_AND_ACCOUNT

KEY = "Customer_Id__c"
ALLOWED = ("contacts.max_delete_share", "contacts.max_change_share")


def rows(*keys: str, last: str = "Ito", **more: Any) -> list[dict[str, Any]]:
    return [{"id": key, "last": last, **more} for key in keys]


@pytest.fixture
def mirror(ready: Team) -> Team:
    """Three contacts that sfsync made and mirrors, C1 to C3; the org is asked for keys."""
    ready.sync("contacts", mode="mirror", match="unknown")
    ready.contacts(rows("C1", "C2", "C3"))
    ready.run("contacts")
    return ready


def rename(team: Team, key: str, to: str | None, field: str = KEY) -> str:
    """Give the record of a key another one, as somebody in the org would; its Id."""
    record = str(team.org.by("Contact", KEY)[key]["Id"])
    answer = team.org.patch(f"/sobjects/Contact/{record}", json={field: to})
    assert answer.status_code == 204, answer.text
    return record


def removals(team: Team, **how: Any) -> dict[str, int]:
    return {str(o): n for o, n in of(team.run("contacts", allow=ALLOWED, **how), "contacts").removals.items()}


def test_it_stays_and_the_plan_tells_until_it_is_forgotten(mirror: Team) -> None:
    record = rename(mirror, "C1", "C77")
    mirror.contacts(rows("C3"))
    plan = mirror.plan("contacts")
    changes = planned(plan, "contacts").changes
    assert (changes.deletes, changes.conflicts, changes.removed_kept) == (1, 1, 0)
    assert plan.api.planning_calls == 1
    [warning] = [w for w in plan.warnings if "another key" in w]
    assert f"C1 ({record})" in warning
    text = plan_text(plan, color=False, width=0)
    assert "1 conflict" in text
    assert "1 to delete" in text
    told = explain_command(mirror.options(), "contacts", "C1")
    assert told.verdict == "conflict"
    assert "its record is another's by now" in explain_text(told, color=False, width=0)

    assert removals(mirror) == {"deleted": 1, "conflict": 1}
    assert set(mirror.org.by("Contact", KEY)) == {"C77", "C3"}
    again = mirror.run("contacts")
    assert (again.calls, of(again, "contacts").removals) == (1, {"conflict": 1})
    assert state_check_command(mirror.options()).faults == ()
    state_forget_command(mirror.options(), "contacts", ["C1"])
    assert (mirror.run("contacts").calls, mirror.plan("contacts").api.planning_calls) == (0, 0)


def test_who_gets_the_key_back_is_deleted(mirror: Team) -> None:
    record = rename(mirror, "C1", "C77")
    mirror.contacts(rows("C2", "C3"))
    assert removals(mirror) == {"conflict": 1}
    mirror.org.patch(f"/sobjects/Contact/{record}", json={KEY: "C1"})
    assert removals(mirror) == {"deleted": 1}


def test_alone_it_is_told_too(mirror: Team) -> None:
    rename(mirror, "C1", "C77")
    mirror.contacts(rows("C2", "C3"))
    text = plan_text(mirror.plan("contacts"), color=False, width=0)
    assert "1 conflict" in text
    assert "as far as sfsync has seen" not in text


def test_one_whose_key_was_taken_away_stays_too(mirror: Team) -> None:
    record = rename(mirror, "C1", None)
    mirror.contacts(rows("C2", "C3"))
    assert removals(mirror) == {"conflict": 1}
    assert record in {row["Id"] for row in mirror.org.records("Contact")}


def test_the_row_under_the_new_key_takes_it_over(mirror: Team) -> None:
    record = rename(mirror, "C1", "C77")
    mirror.contacts(rows("C77", "C2", "C3"))
    result = of(mirror.run("contacts", allow=ALLOWED), "contacts")
    assert (result.removals, result.model) == ({}, {"adopted": 1, "unchanged": 2})
    assert mirror.org.by("Contact", KEY)["C77"]["Id"] == record
    assert len(mirror.org.records("Contact")) == 3
    assert outcomes(mirror.run("contacts"), "contacts") == {"unchanged": 3}


def test_what_somebody_deleted_is_for_the_org_to_tell(mirror: Team) -> None:
    mirror.org.delete(f"/sobjects/Contact/{mirror.org.by('Contact', KEY)['C1']['Id']}")
    mirror.contacts(rows("C2", "C3"))
    assert removals(mirror) == {"already_deleted": 1}


@pytest.mark.parametrize("capitals", ["Äa1", "äA1"])
def test_other_capitals_are_the_same_key_where_the_org_says_so(mirror: Team, capitals: str) -> None:
    mirror.contacts(rows("äa1", "C3"))
    mirror.run("contacts", allow=ALLOWED)
    rename(mirror, "äa1", capitals)
    mirror.contacts(rows("C3"))
    assert removals(mirror) == {"deleted": 1}


def test_of_several_fields_each_counts(ready: Team) -> None:
    ready.sync("contacts", mode="mirror", **NAME_AND_ACCOUNT)
    ready.run("accounts")
    ready.contacts([*rows("C1", "C2", account="A1"), {"id": "C3", "last": "Sato", "account": "A1"}][1:])
    ready.run("contacts")
    other = next(r["Id"] for r in ready.org.records("Account") if r["Account_Id__c"] == "A2")
    rename(ready, "C2", other, field="AccountId")
    ready.contacts([{"id": "C9", "last": "Abe", "account": "A1"}])
    assert removals(ready) == {"conflict": 1, "deleted": 1}
    assert set(ready.org.by("Contact", KEY)) == {"C2", "C9"}


def test_a_masked_key_is_not_shown(ready: Team) -> None:
    ready.sync(
        "contacts",
        mode="mirror",
        match="unknown",
        identity={"Email": {"column": "email", "pii": True}},
        fields={"Email": None, KEY: "id"},
    )
    ready.contacts([*rows("C1", email="secret@acme.example"), *rows("C2", email="b@acme.example")])
    ready.run("contacts")
    record = rename(ready, "C1", "other@acme.example", field="Email")
    ready.contacts(rows("C2", email="b@acme.example"))
    [warning] = [w for w in ready.plan("contacts").warnings if "another key" in w]
    assert record in warning
    assert "secret@acme" not in warning


def test_without_calls_left_nothing_is_deleted_unread(mirror: Team) -> None:
    rename(mirror, "C1", "C77")
    mirror.contacts(rows("C3"))
    mirror.profile(api_limit={"daily_calls": 1})
    plan = mirror.plan("contacts")
    assert planned(plan, "contacts").changes.unread == 2
    assert "2 to delete, deferred" in plan_text(plan, color=False, width=0)
    told = explain_command(mirror.options(), "contacts", "C1")
    assert told.verdict == "deferred"
    assert "leaves it for later" in explain_text(told, color=False, width=0)
    assert removals(mirror) == {"deferred": 2}
    assert set(mirror.org.by("Contact", KEY)) == {"C77", "C2", "C3"}


def test_offline_the_plan_tells_the_deletes_and_asks_nobody(mirror: Team) -> None:
    rename(mirror, "C1", "C77")
    mirror.contacts(rows("C3"))
    plan = plan_command(mirror.options(["contacts"], offline=True))
    assert planned(plan, "contacts").changes.deletes == 2
    assert plan.api.planning_calls == 0


def test_match_never_asks_nothing(mirror: Team) -> None:
    mirror.sync("contacts", match="never")
    mirror.contacts(rows("C2", "C3"))
    result = mirror.run("contacts", allow=ALLOWED)
    assert result.calls == 1
    assert of(result, "contacts").removals == {"deleted": 1}


def test_taking_a_run_back_leaves_it_too(mirror: Team) -> None:
    rename(mirror, "C1", "C77")
    plan = mirror.plan("contacts", undo="latest")
    changes = planned(plan, "contacts").changes
    assert (changes.deletes, changes.conflicts) == (2, 1)
    assert removals(mirror, undo="latest") == {"deleted": 2, "conflict": 1}
    assert set(mirror.org.by("Contact", KEY)) == {"C77"}


def test_in_mode_delete_a_known_record_with_another_key_is_none_of_its_rows(mirror: Team) -> None:
    rename(mirror, "C1", "C77")
    mirror.sync("contacts", mode="delete", fields=dict.fromkeys(SYNCS["contacts"]["fields"]))
    result = mirror.run("contacts", allow=ALLOWED)
    assert outcomes(result, "contacts") == {"conflict": 1, "deleted": 2}
    again = mirror.run("contacts")
    assert outcomes(again, "contacts") == {"conflict": 1, "already_deleted": 2}
    assert set(mirror.org.by("Contact", KEY)) == {"C77"}


def test_a_key_that_cannot_be_told_is_another(ready: Team) -> None:
    ready.sync("contacts", mode="mirror", **NAME_AND_ACCOUNT)
    ready.run("accounts")
    ready.contacts([*rows("C2", account="A1"), *rows("C3", last="Sato", account="A1")])
    ready.run("contacts")
    by_hand = ready.org.post("/sobjects/Account", json={"Name": "By hand"}).json()["id"]
    rename(ready, "C2", by_hand, field="AccountId")
    ready.contacts([{"id": "C9", "last": "Abe", "account": "A1"}])
    assert removals(ready) == {"conflict": 1, "deleted": 1}


def test_rows_of_a_job_at_work_wait_for_it_unread(mirror: Team) -> None:
    mirror.sync("contacts", push=BULK)
    stuck(mirror)
    mirror.contacts(rows("C3"))
    assert removals(mirror) == {"submitted": 2}
    rename(mirror, "C1", "C77")
    assert removals(mirror) == {"submitted": 2}


def test_a_record_that_another_was_merged_into_has_no_key_to_change(ready: Team) -> None:
    ready.sync("accounts", mode="mirror", match="unknown", delete_adopted=True, allow_cascade=True)
    ready.accounts([("A1", "Acme", "1"), ("A2", "Bolt", None)])
    ready.run("accounts")
    lost = ready.org.by("Account", "Account_Id__c")["A1"]["Id"]
    master = ready.org.post("/sobjects/Account", json={"Name": "Winner"}).json()["id"]
    ready.org.local("POST", "/_local/merge", {"object": "Account", "master": master, "others": [lost]})
    ready.accounts([("A1", "Acme anew", "1"), ("A2", "Bolt", None)])
    ready.run("accounts")
    ready.run("accounts")
    assert {row["Name"] for row in ready.org.records("Account")} == {"Acme anew", "Bolt"}
    ready.accounts([("A2", "Bolt", None)])
    result = of(ready.run("accounts", allow=["accounts.max_delete_share"]), "accounts")
    assert result.removals == {"deleted": 1}


def test_with_its_parent_it_goes_only_where_the_cascade_is_allowed(ready: Team) -> None:
    ready.sync("accounts", on_removed="delete", allow_cascade="Opportunity")
    ready.sync("contacts", mode="mirror", match="unknown")
    ready.contacts([*rows("C1", "C2", account="A2"), *rows("C3", account="A1")])
    ready.run()
    rename(ready, "C1", "C77")
    ready.contacts([*rows("C2", account="A2"), *rows("C3", account="A1")])
    assert removals(ready) == {"conflict": 1}
    ready.contacts(rows("C3", account="A1"))
    ready.sql("DELETE FROM raw.accounts WHERE id = 'A2'")
    assert [refusal.name for refusal in ready.plan(allow=("accounts.max_delete_share",)).refusals] == [
        "cascade"
    ]


def test_a_refused_delete_is_not_held_against_it(mirror: Team) -> None:
    mirror.org.faults([{"fault": "rights_lost", "object": "Contact", "rights": ["delete"]}])
    mirror.contacts(rows("C2", "C3"))
    assert removals(mirror) == {"rejected": 1}
    mirror.org.faults([])
    rename(mirror, "C1", "C77")
    result = of(mirror.retry("contacts"), "contacts")
    assert result.removals == {"conflict": 1}
    assert not (mirror.folder / "target" / "rejected" / "contacts.csv").exists()
