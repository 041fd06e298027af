"""`sfsync debug` against a real local org: what it looks at, and the calls that it makes."""

from __future__ import annotations

from sfsync.jobs.debug import debug_command
from sfsync.jobs.rights import Check
from sfsync.jobs.status import status_command
from tests.jobs.conftest import Team


def looked_at(team: Team) -> dict[str, Check]:
    return {check.name: check for check in debug_command(team.options()).checks}


def test_calls_without_a_state_are_told_since_no_account_keeps_them(team: Team) -> None:
    before = team.calls()
    found = looked_at(team)
    made = team.calls() - before
    assert made == 3  # the org's name, and two objects
    assert found["state"].ok is False
    assert found["uncounted"].ok is None
    assert found["uncounted"].detail.startswith("3 API calls of this check")
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
    assert status_command(team.options()).spent - spent == team.calls() - before == 3
