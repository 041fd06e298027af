"""What a delete takes along: named in the plan, guarded, and known to the other syncs, over HTTPS."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from sfsync.jobs.state_check import state_check_command
from sfsync.plan.plan import Plan
from sfsync.report.plan_json import plan_json
from sfsync.report.plan_markdown import plan_markdown
from sfsync.report.plan_text import plan_text
from tests.jobs.conftest import STATE, Team, of, planned


@pytest.fixture
def leaving(ready: Team) -> Team:
    """Two accounts and three contacts are in the org; the account A2, with the contact C2, leaves the model."""
    ready.sync("accounts", on_removed="delete")
    ready.run()
    ready.sql("DELETE FROM raw.accounts WHERE id = 'A2'")
    return ready


def refusals(plan: Plan, name: str = "accounts") -> list[str]:
    return [refusal.name for refusal in planned(plan, name).refusals]


def tombstones(team: Team, sync: str) -> int:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        found: tuple[Any, ...] = db.execute(
            f"SELECT count(*) FROM snapshot.{sync} WHERE _gone_at IS NOT NULL"
        ).fetchall()[0]
    return int(found[0])


def test_a_delete_that_would_cascade_is_named_and_refused(leaving: Team) -> None:
    plan = leaving.plan()
    (refusal,) = planned(plan, "accounts").refusals
    assert refusal.allow == "accounts.cascade"
    assert "whoever made it: records of Contact, Opportunity" in refusal.what
    assert "allow_cascade: [Contact, Opportunity]" in refusal.fix
    text = plan_text(plan, color=False, width=0)
    assert "deleted along with them, whoever made it: Contact (AccountId), Opportunity (AccountId)\n" in text
    assert "refused by Salesforce (DELETE_FAILED) where one has: Case (AccountId)\n" in text
    assert "Deleted along with them, whoever made it: Contact (AccountId)" in plan_markdown(plan)
    told = next(s for s in json.loads(plan_json(plan))["syncs"] if s["name"] == "accounts")
    assert told["deletes_along"] == [
        {"object": name, "field": "AccountId", "of": "Account", "guarded": True, "deleted_first_by": None}
        for name in ("Contact", "Opportunity")
    ]
    assert told["deletes_forbidden_by"] == [{"object": "Case", "field": "AccountId", "of": "Account"}]
    assert leaving.run().exit_code == 3
    assert len(leaving.org.records("Account")) == 2
    assert refusals(leaving.plan(allow=["accounts.cascade"])) == []


def test_what_may_go_is_said_by_object(leaving: Team) -> None:
    leaving.sync("accounts", allow_cascade=["contact"])
    (refusal,) = planned(leaving.plan(), "accounts").refusals
    assert "records of Opportunity" in refusal.what
    leaving.sync("accounts", allow_cascade=["Contact", "Opportunity"])
    assert refusals(leaving.plan()) == []
    leaving.sync("accounts", allow_cascade=True)
    assert refusals(leaving.plan()) == []


def test_records_that_a_sync_deletes_first_do_not_count(leaving: Team) -> None:
    leaving.sync("accounts", allow_cascade="Opportunity")
    leaving.sync("contacts", on_removed="delete")
    leaving.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    plan = leaving.plan()
    assert refusals(plan) == []
    assert "deleted before them: Contact by sync contacts" in plan_text(plan, color=False, width=0)
    assert refusals(leaving.plan("accounts")) == ["cascade"], "that sync is not in the plan"
    leaving.sync("contacts", guards={"max_deletes": 0})
    held = planned(leaving.plan(), "accounts").refusals
    assert [(r.name, "sync 'contacts', which was to delete" in r.what) for r in held] == [("cascade", True)]
    leaving.sync("contacts", guards={"max_deletes": 5})
    result = leaving.run()
    assert (of(result, "accounts").removals, of(result, "contacts").removals) == (
        {"deleted": 1},
        {"deleted": 1},
    )
    leaving.sync("contacts", on_removed={"action": "delete", "after": "3 runs"})
    leaving.sql("DELETE FROM raw.accounts")
    leaving.sync("accounts", guards={"min_rows": 0})
    assert refusals(leaving.plan()) == ["cascade"], "its records would not be due yet"


def test_a_sync_that_leaves_records_it_knows_opens_nothing(leaving: Team) -> None:
    """The contacts C1 and C3 hang on the account A1, and C2 on A2, which goes."""
    leaving.sync("accounts", allow_cascade="Opportunity")
    leaving.sync("contacts", on_removed="delete")
    plan = leaving.plan()
    (refusal,) = planned(plan, "accounts").refusals
    assert (
        "records of Contact; this plan of sync 'contacts' does not delete all of them first" in refusal.what
    )
    assert "whoever made it: Contact (AccountId)" in plan_text(plan, color=False, width=0)
    leaving.sql("DELETE FROM raw.contacts WHERE id = 'C3'")
    assert planned(leaving.plan(), "contacts").changes.deletes == 1
    assert refusals(leaving.plan()) == ["cascade"], "what contacts deletes is no contact of A2"
    leaving.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    assert refusals(leaving.plan()) == []
    with duckdb.connect(str(leaving.folder / STATE)) as db:
        db.execute("UPDATE snapshot.contacts SET _origin = 'adopted' WHERE upper(_key) = 'C2'")
    assert planned(leaving.plan(), "contacts").changes.deletes == 1
    assert refusals(leaving.plan()) == ["cascade"], "C2 was there before sfsync, and stays"
    assert refusals(leaving.plan(allow=["accounts.cascade"])) == []
    assert leaving.run().exit_code == 3
    assert set(leaving.org.by("Contact", "Customer_Id__c")) == {"C1", "C2"}


@pytest.mark.parametrize("on_gone", ["recreate", "skip", "stop"])
def test_what_went_along_is_known_to_its_own_sync(leaving: Team, on_gone: str) -> None:
    leaving.sync("accounts", allow_cascade=True)
    leaving.sync("contacts", on_gone=on_gone)
    leaving.run()
    assert set(leaving.org.by("Contact", "Customer_Id__c")) == {"C1", "C3"}
    assert tombstones(leaving, "contacts") == 1
    assert state_check_command(leaving.options()).exit_code == 0
    leaving.sql("UPDATE raw.contacts SET account = 'A1' WHERE id = 'C2'")
    result = leaving.run()
    made = set(leaving.org.by("Contact", "Customer_Id__c"))
    if on_gone == "recreate":
        assert (result.exit_code, made) == (0, {"C1", "C2", "C3"})
    elif on_gone == "skip":
        assert (result.exit_code, made) == (0, {"C1", "C3"})
    else:
        assert (result.exit_code, made) == (3, {"C1", "C3"})


def test_what_comes_back_with_its_parent_is_found_again(leaving: Team) -> None:
    leaving.sync("accounts", allow_cascade=True)
    leaving.sync("contacts", on_gone="skip", match="unknown")
    before = leaving.org.by("Contact", "Customer_Id__c")["C2"]["Id"]
    leaving.run()
    leaving.run(undo="latest")
    assert tombstones(leaving, "contacts") == 0
    leaving.sql("INSERT INTO raw.accounts SELECT 'A2', 'Bolt', NULL")
    leaving.run()
    assert leaving.org.by("Contact", "Customer_Id__c")["C2"]["Id"] == before
    assert not leaving.plan().has_changes


def test_the_way_back_names_what_goes_along_and_is_not_refused(ready: Team) -> None:
    ready.run()
    plan = ready.plan("accounts", undo="latest")
    assert planned(plan, "accounts").changes.deletes == 2
    assert refusals(plan) == []
    assert "whoever made it: Contact (AccountId), Opportunity" in plan_text(plan, color=False, width=0)


def test_the_way_back_forgets_only_what_went_along(leaving: Team) -> None:
    leaving.sync("accounts", allow_cascade=True)
    leaving.sync("contacts", on_gone="skip", match="unknown")
    leaving.org.delete(f"/sobjects/Contact/{leaving.org.by('Contact', 'Customer_Id__c')['C3']['Id']}")
    leaving.sql("UPDATE raw.contacts SET title = 'CTO' WHERE id = 'C3'")
    leaving.run()
    assert tombstones(leaving, "contacts") == 2, (
        "C2 went with its account, and C3 was found gone in the same run"
    )
    assert state_check_command(leaving.options()).exit_code == 0
    leaving.run(undo="latest")
    assert tombstones(leaving, "contacts") == 1
    leaving.sql("INSERT INTO raw.accounts SELECT 'A2', 'Bolt', NULL")
    leaving.run()
    assert set(leaving.org.by("Contact", "Customer_Id__c")) == {"C1", "C2"}, "on_gone: skip keeps C3 gone"
