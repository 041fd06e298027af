"""What happens because a day or a week has passed: the clock is handed in and moved, nobody waits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.jobs.conftest import Team, fill, outcomes, planned

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def described(team: Team) -> int:
    """Describes the org itself has counted."""
    return sum(1 for request in team.org.requests() if request["kind"] == "describe" and request["counted"])


@pytest.mark.parametrize(
    ("said", "held_for"), [(None, 7 * DAY), ("12h", DAY / 2), ("30d", 30 * DAY)], ids=["7d", "12h", "30d"]
)
def test_a_held_row_is_tried_again_after_its_time(ready: Team, said: str | None, held_for: timedelta) -> None:
    fields = {"ReportsToId": {"column": "title"}, "Title": None}
    ready.sync("contacts", retry_rejected_after=said, fields=fields)
    ready.sql("UPDATE raw.contacts SET title = if(id = 'C3', '003000000000009AAA', NULL)")
    assert planned(ready.plan(), "contacts").changes.upserts == 3, (
        "only the org knows that there is no such Contact"
    )
    assert outcomes(ready.run(), "contacts") == {"created": 2, "rejected": 1}
    started = ready.clock.offset
    for share in (0.5, 0.9):  # being held does not begin the time anew
        ready.clock.offset = started + held_for * share
        assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "held": 1}
    ready.clock.offset = started + held_for + MINUTE
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "rejected": 1}
    ready.clock.offset += held_for - 2 * MINUTE
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "held": 1}, "a new refusal begins a new time"


def test_a_held_delete_is_tried_again_after_its_time(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete")
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C3'")
    body = '[{"message":"Your attempt to delete could not be completed","errorCode":"DELETE_FAILED"}]'
    ready.org.faults([{"match": "DELETE /composite", "fault": "status", "status": 400, "body": body}])
    ready.run()
    ready.clock.offset += 7 * DAY - MINUTE
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "held": 1}
    ready.clock.offset += 2 * MINUTE
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "deleted": 1}


def test_a_run_describes_anew_after_a_day_and_a_plan_does_not(team: Team) -> None:
    ready = fill(team)
    ready.init_state()  # described now, and not when the state that other tests copy was made
    ready.run()
    ready.clock.offset += DAY - MINUTE
    before = described(ready)
    ready.run()
    assert described(ready) == before
    ready.clock.offset += 2 * MINUTE
    ready.plan()
    assert described(ready) == before, "planning is content with what is known"
    result = ready.run()
    assert result.calls_by_kind["describe"] == described(ready) - before == 2, "counted, once per object"
    assert outcomes(result, "contacts") == {"unchanged": 3}
    ready.run()
    assert described(ready) == before + 2


def test_retry_describes_anew_after_a_day_too(ready: Team) -> None:
    ready.run()
    before = described(ready)
    ready.clock.offset += DAY + MINUTE
    ready.retry()
    assert described(ready) == before + 2
