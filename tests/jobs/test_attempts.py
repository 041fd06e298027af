"""Rows that fail again and again: bad ones are found among good ones, and nothing is tried for ever."""

from __future__ import annotations

from typing import Any

import pytest

from sfsync.jobs.status import status_command
from sfsync.push.retry import MOST_ISOLATING_CALLS
from sfsync.report.status_text import status_text
from tests.jobs.conftest import Team, of, outcomes
from tests.jobs.test_push_paths import many


def limit(*keys: str, **more: Any) -> list[dict[str, Any]]:
    """A trigger gives up on these contacts, and takes all rows of the same transaction with them."""
    return [
        {"fault": "apex_limit", "object": "Contact", "field": "Customer_Id__c", "values": list(keys), **more}
    ]


def ready_for(team: Team, api: str, rows: int) -> None:
    team.run("accounts")
    team.sync("contacts", push={"api": api})
    many(team, rows)


@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_one_bad_row_is_found_and_all_others_pass(ready: Team, api: str) -> None:
    ready_for(ready, api, 400)
    ready.org.faults(limit("P77"))
    before = ready.calls()
    result = ready.run("contacts")
    assert outcomes(result, "contacts") == {"created": 399, "rejected": 1}
    (refused,) = of(result, "contacts").rejected
    assert "LimitException" in refused.message
    assert ready.calls() - before <= 8 + 1 + 6, "halves of 200 down to 1, five groups a call"
    assert sorted(ready.org.by("Contact", "Customer_Id__c")) == sorted(
        f"P{n}" for n in range(1, 401) if n != 77
    )

    before = ready.calls()
    again = ready.run("contacts")
    assert outcomes(again, "contacts") == {"unchanged": 399, "held": 1}
    assert ready.calls() == before, "a row that is too much alone is not tried again by itself"
    ready.org.faults([])
    assert outcomes(ready.retry("contacts"), "contacts") == {"unchanged": 399, "created": 1}


def test_rows_that_are_only_too_many_together_all_pass(ready: Team) -> None:
    ready_for(ready, "collections", 300)
    ready.org.faults(limit("P5", "P6", "P250", passes_alone=True))
    result = ready.run("contacts")
    assert outcomes(result, "contacts") == {"created": 300}
    assert result.exit_code == 0


def test_looking_for_bad_rows_has_a_bound(ready: Team) -> None:
    """A tenth of the rows is bad: to find them all would take more calls than are allowed for it."""
    ready_for(ready, "collections", 600)
    ready.org.faults([{"fault": "apex_limit", "object": "Contact", "share": 0.1}])
    before = ready.calls()
    counts = outcomes(ready.run("contacts"), "contacts")
    assert ready.calls() - before <= MOST_ISOLATING_CALLS + 2
    assert counts["created"] + counts.get("rejected", 0) + counts.get("failed", 0) == 600
    assert counts["failed"] > 0
    assert counts["created"] == len(ready.org.records("Contact")) > 300
    second = outcomes(ready.run("contacts"), "contacts")
    assert second["unchanged"] == counts["created"]
    assert second.get("created", 0) + second.get("rejected", 0) > 0, "the next run goes on there"


LOCKED: list[dict[str, Any]] = [
    {"fault": "locked_rows", "object": "Contact", "share": 1.0, "times": "always"}
]
AWAY: list[dict[str, Any]] = [
    {"fault": "status", "match": "PATCH /composite", "status": 503, "times": "always"}
]


def test_a_row_that_fails_in_too_many_runs_is_held(ready: Team) -> None:
    ready_for(ready, "collections", 3)
    ready.sync("contacts", max_attempts=3)
    ready.org.faults(LOCKED)
    for _ in range(3):
        assert outcomes(ready.run("contacts"), "contacts") == {"failed": 3}
    before = ready.calls()
    plan = ready.plan("contacts")
    assert not plan.has_changes
    assert any("3 of the held rows failed in 3 runs in a row" in warning for warning in plan.warnings)
    result = ready.run("contacts")
    assert outcomes(result, "contacts") == {"held": 3}
    assert result.exit_code == 0
    assert ready.calls() == before
    status = status_text(status_command(ready.options()), color=False, width=0)
    assert "contacts: 3 rows of these failed for reasons that were to pass, up to 3 runs in a row" in status

    # It is let go as every held row is: by retry, once, or by a change.
    assert outcomes(ready.retry("contacts"), "contacts") == {"failed": 3}
    assert outcomes(ready.run("contacts"), "contacts") == {"held": 3}
    ready.sql("UPDATE raw.contacts SET title = 'New' WHERE id = 'P1'")
    assert outcomes(ready.run("contacts"), "contacts") == {"failed": 1, "held": 2}
    assert outcomes(ready.run("contacts"), "contacts") == {"failed": 1, "held": 2}, (
        "a changed row begins anew"
    )
    ready.org.faults([])
    assert outcomes(ready.retry("contacts"), "contacts") == {"created": 3}


def test_max_attempts_0_tries_for_ever(ready: Team) -> None:
    ready_for(ready, "collections", 1)
    ready.sync("contacts", max_attempts=0)
    ready.org.faults(LOCKED)
    for _ in range(3):
        assert outcomes(ready.run("contacts"), "contacts") == {"failed": 1}


def test_an_org_that_is_away_wears_no_row_out(ready: Team) -> None:
    ready_for(ready, "collections", 2)
    ready.sync("contacts", max_attempts=2)
    ready.org.faults(AWAY)
    for _ in range(4):
        assert "held" not in outcomes(ready.run("contacts"), "contacts")
    ready.org.faults([])
    assert outcomes(ready.run("contacts"), "contacts").get("held") is None
    assert len(ready.org.records("Contact")) == 2
