"""`on_removed: hard_delete` over HTTPS: past the recycle bin, by Bulk jobs alone, and never taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sfsync.errors import RefusedError
from sfsync.records import Operation, Way
from sfsync.report.plan_json import plan_json
from sfsync.report.plan_text import plan_text
from tests.jobs.conftest import Team, of, planned
from tests.jobs.test_recovery import crash, left_open


@pytest.fixture
def team_may(ready: Team) -> Iterator[Team]:
    """A team whose user may delete past the bin, with three contacts in the org."""
    ready.org.local("PUT", "/_local/rules", {"hard_delete": True})
    ready.sync("contacts", on_removed="hard_delete")
    ready.run()
    yield ready
    ready.org.local("PUT", "/_local/rules", {})


def in_bin(team: Team) -> int:
    answer = team.org.get("/queryAll", params={"q": "SELECT Id FROM Contact WHERE IsDeleted = true"})
    return int(answer.json()["totalSize"])


def test_records_skip_the_bin_by_a_job_and_the_plan_says_so(team_may: Team) -> None:
    team_may.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    plan = team_may.plan()
    item = planned(plan, "contacts")
    assert [(b.operation, b.way) for b in item.batches] == [(Operation.DELETE, Way.MULTIPART)]
    assert "for good: past the recycle bin" in plan_text(plan, color=False, width=0)
    assert '"hard_delete": true' in plan_json(plan)
    assert any("neither `--undo` nor anybody brings them back" in warning for warning in plan.warnings)
    result = team_may.run()
    assert of(result, "contacts").removals == {"deleted": 1}
    assert result.calls == plan.api.calls - 1  # one poll was enough
    assert set(team_may.org.by("Contact", "Customer_Id__c")) == {"C1", "C3"}
    assert in_bin(team_may) == 0
    assert not team_may.plan().has_changes


def test_it_is_never_taken_back_but_what_the_run_made_is(team_may: Team) -> None:
    team_may.sql(
        "DELETE FROM raw.contacts WHERE id = 'C2'", "INSERT INTO raw.accounts VALUES ('A3', 'New', NULL)"
    )
    team_may.run()
    with pytest.raises(RefusedError, match="past the recycle bin") as caught:
        team_may.plan(undo="latest")
    assert "--exclude contacts" in (caught.value.fix or "")
    team_may.run("accounts", undo="latest")
    assert set(team_may.org.by("Account", "Account_Id__c")) == {"A1", "A2"}


def test_undoing_a_create_of_such_a_sync_goes_into_the_bin(team_may: Team) -> None:
    team_may.sql("INSERT INTO raw.contacts (id, last) VALUES ('C9', 'New')")
    team_may.run()
    team_may.run(undo="latest")
    assert set(team_may.org.by("Contact", "Customer_Id__c")) == {"C1", "C2", "C3"}
    assert in_bin(team_may) == 1


def test_without_the_permission_nothing_is_lost_and_the_reason_is_told(team_may: Team) -> None:
    team_may.org.local("PUT", "/_local/rules", {})
    team_may.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    result = team_may.run()
    assert of(result, "contacts").removals == {"failed": 1} or of(result, "contacts").removals == {
        "rejected": 1
    }
    assert [code.code for code in of(result, "contacts").rejected_codes] == ["FEATURENOTENABLED"]
    assert result.exit_code == 1
    assert len(team_may.org.records("Contact")) == 3


@pytest.mark.parametrize("point", ["after intent", "after create", "after poll", "before record"])
def test_a_killed_run_is_mended_by_the_next(team_may: Team, point: str) -> None:
    team_may.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    crash(team_may, point)
    team_may.org.until_quiet()
    assert team_may.run().exit_code == 0
    assert left_open(team_may) == 0
    assert set(team_may.org.by("Contact", "Customer_Id__c")) == {"C1", "C3"}
    assert in_bin(team_may) == 0
    assert not team_may.plan().has_changes
