"""Every row of docs/reference/status-codes.md, as an org answers it over HTTPS: what the row ends as, and the help it gets."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import duckdb
import pytest

from sfsync.jobs.status import status_command
from sfsync.records import Operation
from sfsync.report.run_text import run_text
from sfsync.report.status_text import status_text
from sfsync.salesforce.status_actions import Action
from sfsync.salesforce.status_help import WHAT_WE_DO
from tests.jobs.conftest import STATE, Team, of, outcomes
from tests.support.status_codes import CALLS, Answer, Call, answers

ENDS_AS = {
    Action.RETRY_NOW: "failed",
    Action.RETRY_SMALLER: "failed",
    Action.ISOLATE: "rejected",
    Action.NEXT_RUN: "failed",
    Action.FIX: "rejected",
    Action.NEW_TOKEN: "failed",
    Action.IN_DOUBT: "in_doubt",
    Action.LIMIT_DAILY: "deferred",
    Action.LIMIT_CONCURRENT: "failed",
    Action.ROLLED_BACK: "stopped",
    Action.GONE: "gone",
    Action.CONVERTED: "rejected",  # but for leads: see test_match
    Action.ALREADY_DELETED: "already_deleted",
}
TRIED_AGAIN = (Action.RETRY_NOW, Action.RETRY_SMALLER, Action.LIMIT_CONCURRENT, Action.ISOLATE)


def groups() -> list[tuple[Operation, Action, list[Answer]]]:
    """What one run can play: rows of one operation that end alike."""
    found = sorted(
        (answer for answer in answers() if answer.operation is not Operation.UNDELETE),
        key=lambda answer: (answer.operation, answer.row.action),
    )
    grouped = groupby(found, lambda answer: (answer.operation, answer.row.action))
    return [(operation, action, list(rows)) for (operation, action), rows in grouped]


GROUPS = groups()


def row(key: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "last": "Ito", "title": "CEO", **more}


def refusing(answers: list[Answer], ids: dict[str, str]) -> list[dict[str, Any]]:
    """A rule for each row: its answer, and nothing for its neighbours."""
    rules = []
    for n, answer in enumerate(answers):
        key = f"K{n:03}"
        rule = {"fault": "refused_rows", "object": "Contact", "values": [ids.get(key, key)]}
        rule |= {"code": answer.row.code, "message": answer.message}
        rules.append(rule | ({"fields": list(answer.fields)} if answer.fields else {}))
    return rules


def play(team: Team, operation: Operation, rows: list[Answer], api: str) -> Any:
    """A run in which each of these rows, and one more that is welcome, is sent and answered."""
    team.sync("contacts", push={"api": api}, on_removed="delete", fields={"AccountId": None})
    keys = [f"K{n:03}" for n in range(len(rows))] + ["OK"]
    ids: dict[str, str] = {}
    team.contacts([row(key) for key in keys])
    allowed = ["contacts.max_deletes", "contacts.max_delete_share", "contacts.max_change_share"]
    if operation is not Operation.UPSERT:
        assert outcomes(team.run("contacts"), "contacts") == {"created": len(keys)}
        ids = {key: record["Id"] for key, record in team.org.by("Contact", "Customer_Id__c").items()}
        changed = [row(key, title="CFO") for key in keys] if operation is Operation.UPDATE else []
        team.contacts([*changed, row("NEW")])
    team.org.faults(refusing(rows, ids))
    return team.run("contacts", allow=allowed)


def refused(team: Team) -> dict[str, tuple[str, bool]]:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as connection:
        return {
            key: (code, transient)
            for key, code, transient in connection.execute(
                "SELECT key, code, transient FROM rejected"
            ).fetchall()
        }


@pytest.mark.parametrize(
    ("operation", "action", "rows"), GROUPS, ids=[f"{operation}-{action}" for operation, action, _ in GROUPS]
)
def test_rows_end_as_the_page_says(
    ready: Team, operation: Operation, action: Action, rows: list[Answer]
) -> None:
    result = play(ready, operation, rows, "collections")
    found = outcomes(result, "contacts")
    good = {Operation.UPSERT: "created", Operation.UPDATE: "updated", Operation.DELETE: "deleted"}[operation]
    new = {} if operation is Operation.UPSERT else {"created": 1}
    assert found == {ENDS_AS[action]: len(rows), good: 1} | new
    told = refused(ready)
    if ENDS_AS[action] in ("rejected", "failed", "in_doubt"):
        assert told == {
            f"k{n:03}": (answer.row.code, ENDS_AS[action] != "rejected") for n, answer in enumerate(rows)
        }
        page = run_text(result, color=False, width=0)
        shown = status_text(status_command(ready.options()), color=False, width=0)
        lines = {(code.code, code.help) for code in of(result, "contacts").rejected_codes}
        assert lines == {(answer.row.code, answer.row.help) for answer in rows}
        assert all(answer.row.help in page for answer in rows)
        assert any(answer.row.help in shown for answer in rows)
        written = json.loads((ready.folder / "target" / "run_results.json").read_text())
        assert {c["help"] for c in written["results"][0]["rejected_codes"]} == {a.row.help for a in rows}
    else:
        assert told == {}
    calls = [request for request in ready.org.requests() if "/composite" in request["path"]]
    assert (len(calls) > 3) == (action in TRIED_AGAIN)


@pytest.mark.parametrize("action", [Action.FIX, Action.NEXT_RUN, Action.GONE, Action.ALREADY_DELETED])
def test_a_bulk_job_says_the_same(ready: Team, action: Action) -> None:
    operation, _, rows = next(group for group in reversed(GROUPS) if group[1] is action)
    result = play(ready, operation, rows, "bulk")
    found = outcomes(result, "contacts")
    assert found[ENDS_AS[action]] == len(rows)
    assert "in_doubt" not in found


def test_the_recycle_bin_says_that_a_record_is_lost(ready: Team) -> None:
    rows = [answer for answer in answers() if answer.operation is Operation.UNDELETE]
    assert len(rows) == 3
    ready.sync("contacts", on_removed="delete", fields={"AccountId": None})
    ready.contacts([row(f"K{n:03}") for n in range(len(rows))] + [row("OK")])
    ready.run("contacts")
    ids = {key: record["Id"] for key, record in ready.org.by("Contact", "Customer_Id__c").items()}
    ready.contacts([row("OK")])
    assert outcomes(ready.run("contacts"), "contacts") == {"deleted": len(rows), "unchanged": 1}
    ready.org.faults(refusing(rows, ids))
    assert outcomes(ready.run("contacts", undo="latest"), "contacts") == {"gone": len(rows)}


@pytest.mark.parametrize("call", CALLS, ids=[f"{call.status}-{call.code}" for call in CALLS])
def test_calls_that_are_refused_whole(ready: Team, call: Call) -> None:
    ready.sync("contacts", push={"api": "collections"}, fields={"AccountId": None})
    ready.contacts([row(f"K{n}") for n in range(3)])
    ready.org.faults([call.fault])
    result = ready.run("contacts")
    assert outcomes(result, "contacts") == {call.outcome: 3}
    assert ready.org.by("Contact", "Customer_Id__c") == {}
    ready.org.faults([])
    if call.outcome != "rejected":
        assert outcomes(ready.run("contacts"), "contacts") == {"created": 3}


def test_every_action_is_played_and_worded() -> None:
    assert {action for _, action, _ in GROUPS} == set(Action) == set(WHAT_WE_DO) == set(ENDS_AS)
