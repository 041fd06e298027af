"""Bulk batches are governed like API calls: counted before a job is opened, deferred, refused, free again after a day."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from sfsync.artifacts import StatusResult
from sfsync.errors import RefusedError
from sfsync.jobs.status import status_command
from sfsync.report.plan_text import plan_text
from tests.jobs.conftest import Team, of, outcomes

DAY = timedelta(days=1)
OPENED = ("POST", "/jobs/ingest")


def contacts(team: Team, rows: int) -> None:
    """Contacts B00001..Bn: an order that text and number share."""
    team.sql(
        "DELETE FROM raw.contacts",
        "INSERT INTO raw.contacts (id, last, title) SELECT format('B{:05d}', i), 'Last ' || i,"
        f" 'A title that fills the file' FROM range(1, {rows + 1}) AS r(i)",
    )


def status(team: Team) -> StatusResult:
    return status_command(team.options())


def jobs_opened(team: Team) -> int:
    """Jobs that the org itself has seen asked for."""
    method, path = OPENED
    return sum(1 for r in team.org.requests() if r["method"] == method and r["path"].endswith(path))


@pytest.fixture
def bulk(ready: Team) -> Team:
    """Every sync goes by Bulk jobs."""
    for name in ("accounts", "contacts"):
        ready.sync(name, push={"api": "bulk"})
    return ready


def test_what_the_batches_do_not_carry_is_deferred_and_goes_on_the_next_day(bulk: Team) -> None:
    contacts(bulk, 12_000)
    bulk.daily_batches = 1
    first = bulk.run("contacts")
    assert outcomes(first, "contacts") == {"created": 10_000, "deferred": 2_000}
    assert first.exit_code == 1
    assert "Bulk batches" in (first.reason or "")
    bulk.clock.offset += DAY / 2
    opened, again = jobs_opened(bulk), bulk.run("contacts")
    assert outcomes(again, "contacts") == {"unchanged": 10_000, "deferred": 2_000}
    assert (again.exit_code, jobs_opened(bulk)) == (1, opened), "no job is opened that could not be filled"
    bulk.clock.offset += DAY / 2 + timedelta(minutes=10)
    rest = bulk.run("contacts")
    assert outcomes(rest, "contacts") == {"unchanged": 10_000, "created": 2_000}
    assert rest.exit_code == 0
    assert len(bulk.org.records("Contact")) == 12_000


def test_batches_go_to_what_comes_first_and_calls_are_not_needed_for_the_rest(bulk: Team) -> None:
    bulk.daily_batches = 1
    result = bulk.run()
    assert outcomes(result, "accounts") == {"created": 2}
    assert outcomes(result, "contacts") == {"deferred": 3}
    assert of(result, "contacts").calls == 0
    assert status(bulk).batches == 1


def test_what_goes_by_collections_goes_on_when_no_batch_is_left(ready: Team) -> None:
    """Children of records that had to wait wait too, and no record is deleted that a deferred write is about."""
    ready.sync("accounts", on_removed="delete", allow_cascade=True, guards={"min_rows": 0})
    ready.run("accounts")
    ready.sync("accounts", push={"api": "bulk"})
    ready.sync("contacts", push={"api": "collections"})
    ready.sql(
        "INSERT INTO raw.accounts VALUES ('A3', 'Cobalt', NULL)",
        "DELETE FROM raw.accounts WHERE id = 'A2'",
        "UPDATE raw.contacts SET account = 'A3' WHERE id = 'C2'",
    )
    ready.daily_batches = 0
    result = ready.run()
    assert of(result, "accounts").model == {"unchanged": 1, "deferred": 1}
    assert of(result, "accounts").removals == {"deferred": 1}
    assert outcomes(result, "contacts") == {"created": 2, "waiting": 1}
    assert (result.exit_code, jobs_opened(ready)) == (1, 0)
    assert "Bulk batches" in (result.reason or "")
    ready.daily_batches = 2
    assert ready.run().exit_code == 0
    assert set(ready.org.by("Account", "Account_Id__c")) == {"A1", "A3"}
    assert len(ready.org.records("Contact")) == 3


def test_the_part_that_got_a_batch_goes_and_later_collections_too(ready: Team) -> None:
    contacts(ready, 12_000)
    ready.sync("contacts", push={"api": "bulk"}, fields={"AccountId": None}, priority=1)
    ready.sync("accounts", push={"api": "collections"})
    ready.daily_batches = 1
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 10_000, "deferred": 2_000}
    assert outcomes(result, "accounts") == {"created": 2}


def test_higher_priority_takes_the_batches(bulk: Team) -> None:
    contacts(bulk, 2)
    bulk.sync("contacts", fields={"AccountId": None}, priority=1)
    bulk.daily_batches = 1
    result = bulk.run()
    assert outcomes(result, "contacts") == {"created": 2}
    assert outcomes(result, "accounts") == {"deferred": 2}


def test_on_limit_refuse_opens_no_job(bulk: Team) -> None:
    bulk.sync("contacts", on_limit="refuse")
    bulk.daily_batches = 1
    with pytest.raises(
        RefusedError, match=r"needs 2 Bulk batches and 1 are allowed now; contacts says on_limit: refuse"
    ) as caught:
        bulk.run()
    assert caught.value.exit_code == 3
    assert jobs_opened(bulk) == 0
    bulk.daily_batches = 2
    assert bulk.run().exit_code == 0


def test_collections_need_no_batches(ready: Team) -> None:
    ready.sync("contacts", push={"api": "collections"}, on_limit="refuse")
    ready.daily_batches = 0
    result = ready.run()
    assert (result.exit_code, outcomes(result, "contacts")) == (0, {"created": 3})
    assert status(ready).batches == 0


def test_the_plan_shows_batches_beside_calls(bulk: Team) -> None:
    contacts(bulk, 10_001)
    bulk.daily_batches = 2
    plan = bulk.plan()
    text = plan_text(plan, color=False, width=0)
    assert "Bulk batches: 3; 2 allowed" in text
    assert "The plan needs 3 Bulk batches and 2 are allowed now; run would send by priority" in text
    api = json.loads((bulk.folder / "target/plan.json").read_text("utf-8"))["api"]
    assert (api["bulk_batches"], api["bulk_batches_allowed"]) == (3, 2)


def test_a_quarter_of_the_platforms_batches_is_the_default(bulk: Team) -> None:
    assert bulk.plan().api.batches_allowed == 3_750
    bulk.run()
    found = status(bulk)
    assert (found.batches, found.batches_allowed, bulk.plan().api.batches_allowed) == (2, 3_750, 3_748)


LOST: list[tuple[str, int, dict[str, Any], int]] = [
    # id, rows (4,000 do not fit one request), fault, batches booked
    ("nothing lost", 4_000, {}, 1),
    ("the upload: the job that is made anew is the only one closed", 4_000, {"match": "PUT /jobs"}, 1),
    ("making the job: what the org made stays empty", 4_000, {"match": "POST /jobs"}, 1),
    ("a job in one request may have been worked on twice", 3, {"match": "POST /jobs"}, 2),
]


@pytest.mark.parametrize(("rows", "fault", "booked"), [c[1:] for c in LOST], ids=[c[0] for c in LOST])
def test_a_lost_answer_books_what_the_org_may_have_counted(
    bulk: Team, rows: int, fault: dict[str, Any], booked: int
) -> None:
    contacts(bulk, rows)
    bulk.run("accounts")
    before = status(bulk).batches
    if fault:
        bulk.org.faults([{"fault": "lost_after_commit", "times": 1, **fault}])
    result = bulk.run("contacts")
    assert sum(outcomes(result, "contacts").values()) == rows
    assert set(outcomes(result, "contacts")) <= {"created", "adopted"}
    assert ("upload" in result.calls_by_kind) == (rows == 4_000)
    assert status(bulk).batches - before == booked
