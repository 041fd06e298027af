"""`on_removed.after` over HTTPS: so many runs in a row must have missed a row before its record is removed."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from sfsync.jobs.state_check import state_check_command
from sfsync.report.plan_json import plan_json
from sfsync.report.plan_markdown import plan_markdown
from sfsync.report.plan_text import plan_text
from tests.jobs.conftest import STATE, Team, of, planned
from tests.jobs.test_recovery import crash

DELETE = {"action": "delete", "after": "3 runs"}


def away(team: Team) -> Team:
    """Three contacts in the org; the row of one has left."""
    team.run()
    team.sql(
        "CREATE OR REPLACE TABLE raw.away AS SELECT * FROM raw.contacts WHERE id = 'C2'",
        "DELETE FROM raw.contacts WHERE id = 'C2'",
    )
    return team


def waits(team: Team) -> tuple[int, int]:
    found = planned(team.plan(), "contacts").changes
    assert found.deletes + found.retires + found.removed_kept == (0 if found.missing.rows else 1)
    return found.missing.rows, found.missing.more_runs


def counts(team: Team) -> list[Any]:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        return db.execute("SELECT key, runs FROM missing").fetchall()


@pytest.mark.parametrize(
    "how", [DELETE, {"set": {"Title": "Left"}, "after": "3 runs"}], ids=["delete", "set"]
)
def test_only_the_third_run_in_a_row_removes(ready: Team, how: dict[str, Any]) -> None:
    ready.sync("contacts", on_removed=how)
    away(ready)
    for run in (1, 2):
        for _ in range(2):  # a plan counts nothing
            assert waits(ready) == (1, 3 - run)
        result = ready.run()
        assert (of(result, "contacts").removals, result.exit_code) == ({}, 0)
        assert f"removed after {3 - run} more run" in (of(result, "contacts").message or "")
        assert counts(ready) == [("c2", run)] or counts(ready) == [("C2", run)]
    assert waits(ready) == (0, 0)
    assert of(ready.run(), "contacts").removals == {"deleted" if "action" in how else "updated": 1}
    ready.run()
    assert not ready.plan().has_changes
    assert state_check_command(ready.options()).exit_code == 0


def test_the_plan_says_what_waits(ready: Team) -> None:
    ready.sync("contacts", on_removed=DELETE)
    plan = away(ready).plan()
    assert "1 missing from the model" in plan_text(plan, color=False, width=0)
    assert "removed after 2 more runs that miss it" in plan_text(plan, color=False, width=0)
    assert "| missing |" in plan_markdown(plan)
    assert '"missing_more_runs": 2' in plan_json(plan)


def test_a_row_that_is_back_begins_anew(ready: Team) -> None:
    ready.sync("contacts", on_removed=DELETE)
    away(ready).run()
    ready.run()
    ready.sql("INSERT INTO raw.contacts SELECT * FROM raw.away")
    ready.run()
    assert counts(ready) == []
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    assert waits(ready) == (1, 2)


def test_runs_that_do_not_look_at_it_do_not_count_it(ready: Team) -> None:
    ready.sync("contacts", on_removed=DELETE)
    away(ready).run()
    assert waits(ready) == (1, 1)
    ready.run("accounts")  # another sync
    ready.sync("contacts", guards={"min_rows": 50})
    assert ready.run().exit_code == 3  # refused
    ready.sync("contacts", guards={})
    ready.sql("INSERT INTO raw.contacts (last) VALUES ('Nobody')")
    ready.sql("UPDATE raw.accounts SET name = 'Other' WHERE id = 'A1'")
    crash(ready, "after write")
    ready.sql("DELETE FROM raw.contacts WHERE id IS NULL")
    assert waits(ready) == (1, 1)
    ready.run()
    assert waits(ready) == (0, 0)


def test_a_sync_that_did_not_count_for_a_while_begins_anew(ready: Team) -> None:
    ready.sync("contacts", on_removed=DELETE)
    away(ready).run()
    ready.run()
    ready.sync("contacts", on_removed="keep")
    ready.run()
    ready.sync("contacts", on_removed=DELETE)
    assert waits(ready) == (1, 2)


def test_records_that_others_made_are_not_counted(ready: Team) -> None:
    ready.org.post("/sobjects/Contact", json={"LastName": "By hand", "Customer_Id__c": "C2"})
    ready.sync("contacts", on_removed=DELETE)
    away(ready)
    assert waits(ready) == (0, 0)
    ready.run()
    assert counts(ready) == []
