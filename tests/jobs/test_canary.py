"""`run --canary N`: the first records of each sync decide whether the rest is sent."""

from __future__ import annotations

import pytest

from tests.jobs.conftest import Team, of, outcomes
from tests.jobs.test_push_paths import many


def refused_by_the_org(team: Team) -> None:
    """Contacts report to a record that is not there, which only the org can know."""
    team.sync("contacts", fields={"ReportsToId": {"column": "title"}, "Title": None})
    team.sql("UPDATE raw.contacts SET title = '003000000000009AAA'")


@pytest.mark.parametrize("api", ["auto", "collections", "bulk"])
def test_the_first_go_first_and_the_rest_follows(ready: Team, api: str) -> None:
    ready.sync("contacts", push={"api": api})
    many(ready, 450)
    result = ready.run(canary=10)
    assert result.exit_code == 0
    assert outcomes(result, "accounts") == {"created": 2}
    assert outcomes(result, "contacts") == {"created": 450}
    writes = [write["object"] for write in ready.org.writes()]
    assert writes[:12] == ["Account"] * 2 + ["Contact"] * 10
    assert len(writes) == 452
    assert not ready.plan().has_changes


def test_a_canary_costs_one_call_a_sync(ready: Team) -> None:
    many(ready, 450)
    ready.run("accounts")
    before = ready.calls()
    planned = ready.plan("contacts").api.calls
    ready.run("contacts", canary=10)
    assert ready.calls() - before <= planned + 1


def test_too_many_that_do_not_go_through_stop_the_rest(ready: Team) -> None:
    many(ready, 450)
    refused_by_the_org(ready)
    result = ready.run(canary=10)
    assert result.exit_code == 1
    assert outcomes(result, "accounts") == {"created": 2}
    assert outcomes(result, "contacts") == {"rejected": 10, "stopped": 440}
    assert "10 of the first 10 records of contacts did not go through" in (result.reason or "")
    assert of(result, "contacts").closes
    assert ready.org.records("Contact") == []
    ready.sql("UPDATE raw.contacts SET title = NULL")
    assert outcomes(ready.run(canary=10), "contacts") == {"created": 450}


def test_what_the_share_allows_does_not_stop_it(ready: Team) -> None:
    many(ready, 450)
    refused_by_the_org(ready)
    first = sorted(f"P{n}" for n in range(1, 451))[0]
    ready.sql(f"UPDATE raw.contacts SET title = NULL WHERE id <> '{first}'")
    ready.sync("contacts", guards={"max_reject_share": "10%"})
    counts = outcomes(ready.run(canary=10), "contacts")
    assert counts == {"created": 449, "rejected": 1}


def test_children_whose_parents_come_later_wait_for_their_turn(ready: Team) -> None:
    """No canary of a child is sent to a parent that is not there yet, and none is left without one."""
    ready.accounts([(f"A{n:03}", f"Name {n}") for n in range(100, 200)])
    ready.contacts([{"id": f"C{n}", "last": "x", "account": f"A{299 - n:03}"} for n in range(100, 200)])
    result = ready.run(canary=5)
    assert outcomes(result, "accounts") == {"created": 100}
    assert outcomes(result, "contacts") == {"created": 100}
    assert result.exit_code == 0
    assert not ready.plan().has_changes


def test_a_child_of_a_refused_canary_waits(ready: Team) -> None:
    ready.org.faults(
        [{"fault": "apex_limit", "object": "Account", "field": "Account_Id__c", "values": ["A1"]}]
    )
    ready.sync("accounts", guards={"max_reject_share": "90%"})
    result = ready.run(canary=1)
    assert (
        outcomes(result, "accounts").get("rejected", 0) + outcomes(result, "accounts").get("stopped", 0) >= 1
    )
    assert all(item.closes for item in result.syncs)
    assert "failed" not in outcomes(result, "contacts")


def test_deletions_have_a_canary_of_their_own(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete", push={"api": "collections"})
    many(ready, 300)
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id LIKE 'P1%'")
    ready.org.faults([{"fault": "rights_lost", "object": "Contact", "rights": ["delete"]}])
    gone = 111
    allow = ["contacts.max_deletes", "contacts.max_delete_share", "contacts.max_change_share"]
    result = ready.run(canary=7, allow=allow)
    counts = outcomes(result, "contacts")
    assert counts["stopped"] == gone - 7, counts
    assert len(ready.org.records("Contact")) == 300
    ready.org.faults([])
    ready.retry("contacts")
    assert outcomes(ready.run(canary=7, allow=allow), "contacts").get("stopped") is None
