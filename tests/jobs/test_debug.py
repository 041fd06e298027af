"""`sfsync debug` against a real local org: what it looks at, and the calls that it makes."""

from __future__ import annotations

import json

from sfsync.jobs.debug import debug_command
from sfsync.jobs.rights import Check
from sfsync.jobs.status import status_command
from sfsync.report.project_text import debug_json
from tests.jobs.conftest import Team


def looked_at(team: Team) -> dict[str, Check]:
    return {check.name: check for check in debug_command(team.options()).checks}


def test_calls_without_a_state_are_told_since_no_account_keeps_them(team: Team) -> None:
    before = team.calls()
    found = looked_at(team)
    made = team.calls() - before
    assert made == 4  # the org's name, its limits, and two objects
    assert found["state"].ok is False
    assert found["uncounted"].ok is None
    assert found["uncounted"].detail.startswith("4 API calls of this check")
    assert "state init --empty" in str(found["uncounted"].fix)
    assert found["sync contacts"].ok is True


def test_calls_that_end_in_an_error_are_told_too(team: Team) -> None:
    team.org.faults([{"match": "describe", "fault": "status", "status": 500, "body": "", "times": 50}])
    before = team.calls()
    found = looked_at(team)
    assert found["org"].ok is False
    assert found["uncounted"].detail.startswith(f"{team.calls() - before} API calls of this check")


def test_calls_with_a_state_are_booked_in_it(team: Team) -> None:
    team.init_state()
    spent, before = status_command(team.options()).spent, team.calls()
    found = looked_at(team)
    assert "uncounted" not in found
    assert found["state"].ok is True
    assert status_command(team.options()).spent - spent == team.calls() - before == 4


def test_the_limits_that_a_run_can_meet_are_told_and_scarce_ones_warn(team: Team) -> None:
    team.init_state()
    team.org.limits(max=20_000, used=150, batches_max=15_000, batches_used=14_000)
    result = debug_command(team.options())
    found = {check.name: check for check in result.checks}
    assert found["Bulk batches"].ok is None
    assert found["Bulk batches"].detail == "1,000 of 15,000 left in the org (14,000 used)"
    assert "System Overview" in str(found["Bulk batches"].fix)
    assert (found["Bulk query jobs"].ok, found["MB of data storage"].ok) == (True, True)
    assert result.ok, "warnings are no failure"
    told = json.loads(debug_json(result))
    limits = {item["name"]: (item["used"], item["maximum"]) for item in told["limits"]}
    assert limits["DailyBulkApiBatches"] == (14_000, 15_000)
    assert limits["DailyApiRequests"] == (150 + 4, 20_000)
    assert (told["ok"], told["metadata"]["artifact"]) == (True, "debug")
    assert "API calls" in {check["name"] for check in told["checks"]}


def test_a_user_who_may_not_read_the_limits_is_told_of_calls_alone(team: Team) -> None:
    team.init_state()
    body = '[{"message": "no access", "errorCode": "INSUFFICIENT_ACCESS"}]'
    team.org.faults([{"match": "/limits", "fault": "status", "status": 403, "body": body, "times": 9}])
    result = debug_command(team.options())
    found = {check.name: check for check in result.checks}
    assert (result.ok, result.limits) == (True, ())
    assert "View Setup and Configuration" in found["limits"].detail
    assert "left in the org" in found["API calls"].detail
    assert "sync contacts" in found, "what comes after it is looked at"
    team.org.faults([{"match": "/limits", "fault": "status", "status": 500, "body": "", "times": 9}])
    found = looked_at(team)
    assert (found["limits"].ok, found["sync contacts"].ok) == (None, True)
