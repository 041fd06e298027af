"""Promises that are easy to break without noticing: each test here once failed."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sfsync.diff.messages import MASK
from sfsync.errors import SfsyncError, StateError
from sfsync.jobs.history import history_command
from sfsync.jobs.init import init_command
from sfsync.jobs.plan import plan_command
from sfsync.jobs.session import Options
from sfsync.local_org import control
from sfsync.report.run_text import run_text
from tests.jobs.conftest import Team, of, outcomes, planned

PARENT = {"column": "account", "lookup": "Account.Account_Id__c", "on_missing": "reject"}


def contact(team: Team, key: str) -> dict[str, str]:
    found: dict[str, str] = team.org.by("Contact", "Customer_Id__c")[key]
    return found


LOST = [{"match": "/composite", "fault": "lost_after_commit", "times": 20}]


def test_a_to_b_to_a_ends_at_a_although_every_answer_was_lost(ready: Team) -> None:
    ready.sync("contacts", push={"api": "collections"})
    ready.run()
    ready.org.faults(LOST)
    ready.sql("UPDATE raw.contacts SET title = 'B' WHERE id = 'C2'")
    result = ready.run()
    assert outcomes(result, "contacts") == {"unchanged": 2, "in_doubt": 1}
    assert contact(ready, "C2")["Title"] == "B"
    ready.org.faults([])
    ready.sql("UPDATE raw.contacts SET title = 'CTO' WHERE id = 'C2'")
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "updated": 1}
    assert contact(ready, "C2")["Title"] == "CTO"
    assert not ready.plan().has_changes


def test_a_to_b_to_a_ends_at_a_although_the_job_was_left(ready: Team) -> None:
    ready.sync("contacts", push={"api": "bulk"})
    ready.run()
    before = ready.calls()
    ready.sql("UPDATE raw.contacts SET title = 'B' WHERE id = 'C2'")
    result = ready.run(stop_requested=lambda: ready.calls() > before)
    assert result.exit_code == 130
    assert outcomes(result, "contacts") == {"unchanged": 2, "submitted": 1}
    ready.sql("UPDATE raw.contacts SET title = 'CTO' WHERE id = 'C2'")
    for _ in range(50):
        if contact(ready, "C2").get("Title") == "B":
            break
        ready.clock.sleep(0.05)
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2, "updated": 1}
    assert contact(ready, "C2")["Title"] == "CTO"


def test_results_that_cannot_be_read_leave_rows_in_doubt_not_failed(ready: Team) -> None:
    ready.run("accounts")
    ready.sync("contacts", push={"api": "bulk"})
    ready.org.faults(
        [{"match": "successfulResults", "fault": "status", "status": 503, "body": "", "times": 20}]
    )
    result = ready.run("contacts")
    assert outcomes(result, "contacts") == {"in_doubt": 3}
    assert of(result, "contacts").job_ids[0] in of(result, "contacts").rejected[0].message
    ready.org.faults([])
    again = ready.run("contacts")  # first reads the job that could not be read
    assert [dict(item.counts) for item in again.recovered] == [{"created": 3}]
    assert outcomes(again, "contacts") == {"unchanged": 3}


def test_a_populated_org_is_taken_over_without_a_guard_in_the_way(ready: Team) -> None:
    ready.contacts([{"id": f"P{n}", "last": f"L{n}", "title": "T" if n < 15 else None} for n in range(40)])
    ready.run()
    (ready.folder / ".sfsync" / "prod.duckdb").unlink()
    ready.init_state()
    assert outcomes(ready.run(), "contacts") == {"adopted": 40}
    plan = ready.plan()
    assert planned(plan, "contacts").changes.completing == 40
    assert plan.refusals == ()
    assert any("adopted" in warning for warning in plan.warnings)
    assert outcomes(ready.run(), "contacts") == {"updated": 40}
    assert not ready.plan().has_changes


def test_a_copied_state_is_not_taken_for_another_org(ready: Team) -> None:
    ready.run()
    path = ready.folder / ".sfsync" / "prod.duckdb"
    import duckdb

    with duckdb.connect(str(path)) as state:
        state.execute("UPDATE meta SET value = '00D000000000001AAA' WHERE name = 'org_id'")
        state.execute("UPDATE meta SET value = 'https://other.my.salesforce.com' WHERE name = 'connection'")
    with pytest.raises(StateError, match="belongs to org 00D000000000001AAA"):
        ready.plan()
    with pytest.raises(StateError, match="belongs to org 00D000000000001AAA"):
        ready.run()


def test_a_refused_request_is_not_tried_row_by_row(ready: Team) -> None:
    ready.sync("contacts", push={"api": "collections"})
    ready.contacts([{"id": f"P{n}", "last": f"L{n}"} for n in range(300)])
    ready.run("accounts")
    body = '[{"message":"No such column \'Title\' on sobject of type Contact","errorCode":"INVALID_FIELD"}]'
    ready.org.faults([{"match": "/composite", "fault": "status", "status": 400, "body": body, "times": 500}])
    before = ready.calls()
    result = ready.run("contacts")
    assert outcomes(result, "contacts") == {"failed": 300}
    assert ready.calls() - before <= 2
    ready.org.faults([])
    assert outcomes(ready.run("contacts"), "contacts") == {"created": 300}


def test_the_orgs_words_do_not_carry_pii_out(ready: Team) -> None:
    ready.sync("contacts", fields={"Email": {"column": "email", "pii": True}})
    ready.run()
    body = '[{"message":"Contact AI@acme.example is locked","errorCode":"ENTITY_IS_LOCKED"}]'
    ready.org.faults([{"match": "/composite", "fault": "status", "status": 400, "body": body, "times": 500}])
    ready.sql("UPDATE raw.contacts SET title = 'New' WHERE id = 'C1'")
    result = ready.run()
    assert outcomes(result, "contacts")["unchanged"] == 2
    written = [p.read_text("utf-8") for p in (ready.folder / "target").rglob("*") if p.is_file()]
    said = [text for _, text in ready.logged] + [row.message for row in of(result, "contacts").rejected]
    assert of(result, "contacts").rejected
    assert not [text for text in written + said if "ai@acme.example" in text.lower()]


@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_a_parent_that_nobody_brings_is_named_with_its_field(ready: Team, api: str) -> None:
    """The org names the parent's key and its field alone."""
    ready.sync("contacts", push={"api": api})
    ready.sql("UPDATE raw.contacts SET account = 'A9' WHERE id = 'C1'")
    for attempt in (1, 2):
        result = ready.run()
        (row,) = of(result, "contacts").rejected
        assert (row.code, row.field, row.attempts) == ("INVALID_FIELD", "AccountId", attempt)
        assert "a9 not found for field Account_Id__c in entity Account" in row.message
        assert "INVALID_FIELD on AccountId: 1 row" in run_text(result, color=False, width=0)
    with (ready.folder / "target" / "rejected" / "contacts.csv").open() as lines:
        assert [row["field"] for row in csv.DictReader(lines)] == ["AccountId"]


def test_a_run_says_whom_its_rows_wait_for(ready: Team) -> None:
    ready.sync("contacts", fields={"AccountId": {**PARENT, "pii": True}})
    ready.sql(
        "INSERT INTO raw.accounts VALUES ('A3', NULL, NULL)",
        "UPDATE raw.contacts SET account = 'A3' WHERE id = 'C3'",
    )
    ready.org.faults([{"fault": "rights_lost", "object": "Account", "rights": ["create"]}])
    ready.sync("accounts", push={"api": "collections"})
    told = []
    ready.progress = lambda task, done, total, **more: told.append((task, done))  # type: ignore[method-assign]
    result = ready.run()
    assert outcomes(result, "contacts") == {"waiting": 3}
    waiting = of(result, "contacts").waiting
    assert [(row.key, row.field, row.parent) for row in waiting] == [
        ("C3", "AccountId", "accounts"),
        ("C1", "AccountId", "accounts"),
        ("C2", "AccountId", "accounts"),
    ]
    assert {row.parent_key for row in waiting} == {MASK}
    assert "C1 waits: AccountId refers to *** of accounts" in run_text(result, color=False, width=0)
    written = json.loads((ready.folder / "target" / "run_results.json").read_text())
    assert written["results"][1]["waiting"][1]["key"] == "C1"
    assert ("contacts", 2) not in told, "nothing was done about them"


def test_what_is_deferred_does_not_count_as_done(ready: Team) -> None:
    ready.sync("contacts", push={"api": "bulk"}, fields={"AccountId": None})
    ready.sync("accounts", push={"api": "collections"})
    ready.daily_batches = 0
    told: list[tuple[str, int]] = []
    ready.progress = lambda task, done, total, **more: told.append((task, done))  # type: ignore[method-assign]
    assert outcomes(ready.run(), "contacts") == {"deferred": 3}
    assert told == [("accounts", 2)]


def test_a_pii_identity_has_one_digest_that_nobody_can_rebuild(ready: Team) -> None:
    import hashlib

    ready.sync("contacts", identity={"Customer_Id__c": {"column": "id", "pii": True}})
    shown = planned(ready.plan(), "contacts").samples[0].key
    assert planned(ready.plan(), "contacts").samples[0].key == shown, "also before anything was written"
    ready.run()
    assert shown != "C1"
    assert shown not in {
        hashlib.md5(f"{a}{b}".encode()).hexdigest() for a in ("contacts", "") for b in ("C1", "c1")
    }
    ready.sql("UPDATE raw.contacts SET title = 'x' WHERE id = 'C1'")
    assert (
        planned(ready.plan(), "contacts").samples[0].key == planned(ready.plan(), "contacts").samples[0].key
    )


def test_a_delete_the_org_refuses_is_held(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete")
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C3'")
    body = '[{"message":"Your attempt to delete could not be completed","errorCode":"DELETE_FAILED"}]'
    ready.org.faults(
        [{"match": "DELETE /composite", "fault": "status", "status": 400, "body": body, "times": 1}]
    )
    assert of(ready.run(), "contacts").removals == {"rejected": 1}
    calls = ready.calls()
    again = ready.run()
    assert of(again, "contacts").removals == {"held": 1}
    assert again.exit_code == 0
    assert ready.calls() == calls
    assert of(ready.retry(), "contacts").removals == {"deleted": 1}


def test_children_wait_for_a_parent_sync_that_a_guard_refuses(ready: Team) -> None:
    ready.sync("accounts", guards={"max_creates": 1})
    result = ready.run()
    assert result.exit_code == 3
    assert outcomes(result, "contacts") == {"created": 1, "waiting": 2}
    assert outcomes(ready.run(allow=["accounts.max_creates"]), "contacts") == {"unchanged": 1, "created": 2}


def test_many_null_keys_cost_no_more_the_second_time(ready: Team) -> None:
    """Quadratic matching made this take minutes; it is bounded by the size of its inputs alone."""
    ready.run("accounts")
    ready.sql("INSERT INTO raw.contacts (last) SELECT 'N' || i FROM range(20000) AS r(i)")
    assert outcomes(ready.run("contacts"), "contacts")["rejected"] == 20000
    again = ready.run("contacts", allow=["contacts.max_reject_share"])
    assert outcomes(again, "contacts") == {"unchanged": 3, "held": 20000}


def test_a_run_that_cannot_sign_in_ends_in_the_history(ready: Team) -> None:
    ready.profile(password="wrong")
    with pytest.raises(SfsyncError):
        ready.run()
    ready.profile()
    assert [line.run.status for line in history_command(ready.options())] == ["error"]


def test_the_time_of_a_run_in_the_history_is_that_of_the_whole_command(ready: Team) -> None:
    def planning_took_a_minute(plan: Any) -> None:
        ready.clock.offset += timedelta(minutes=1)

    result = ready.run(on_plan=planning_took_a_minute)
    [line] = history_command(ready.options())
    assert line.run.ended_at is not None
    assert line.run.ended_at - line.run.started_at >= timedelta(minutes=1)
    assert abs(line.run.started_at - result.started_at) < timedelta(milliseconds=1)


def test_a_project_folder_that_cannot_be_written_is_an_error_not_a_bug(ready: Team) -> None:
    shutil.rmtree(ready.folder / ".sfsync")
    (ready.folder / ".sfsync").write_text("in the way")
    with pytest.raises(SfsyncError, match="cannot write") as caught:
        ready.plan()
    assert caught.value.exit_code == 2
    assert caught.value.fix


def test_resetting_the_local_org_puts_the_state_aside(tmp_path: Any) -> None:
    from sfsync.jobs.init import init_command
    from sfsync.jobs.org import org_reset_command, org_stop_command
    from sfsync.jobs.plan import plan_command
    from sfsync.jobs.run import run_command
    from sfsync.jobs.session import Options

    init_command(tmp_path / "demo")
    options = Options(project_dir=tmp_path / "demo", select=("accounts",))
    try:
        assert run_command(options).exit_code == 0
        aside = org_reset_command(options)
        assert aside is not None
        assert aside.name == "dev.before-reset.duckdb"
        assert planned(plan_command(options), "accounts").changes.upserts == 2000
    finally:
        org_stop_command(options)


def test_texts_that_a_collation_holds_for_equal_are_still_a_change(ready: Team) -> None:
    """The org shows the capitals, so the model decides, whatever the warehouse's column would call equal."""
    ready.write(
        "models/dim_contacts.sql",
        "select * replace (last collate nocase as last, title collate noaccent as title) from raw.contacts",
    )
    assert outcomes(ready.run(), "contacts") == {"created": 3}
    ready.sql("UPDATE raw.contacts SET last = 'ITO', title = 'CTÖ' WHERE id = 'C1'")
    ready.sql("UPDATE raw.contacts SET last = 'Mueller', title = 'ÇTO' WHERE id = 'C2'")
    assert planned(ready.plan(), "contacts").fields == (("LastName", 2), ("Title", 2))
    assert outcomes(ready.run(), "contacts") == {"unchanged": 1, "updated": 2}
    found = ready.org.by("Contact", "Customer_Id__c")
    assert [(found[key]["LastName"], found[key]["Title"]) for key in ("C1", "C2")] == [
        ("ITO", "CTÖ"),
        ("Mueller", "ÇTO"),
    ]
    assert not ready.plan().has_changes


def test_keys_that_a_collation_holds_for_equal_are_two(ready: Team) -> None:
    ready.write("models/dim_contacts.sql", "select * replace (id collate noaccent as id) from raw.contacts")
    ready.sql("INSERT INTO raw.contacts (id, last) VALUES ('Ç1', 'Sedilla')")
    assert outcomes(ready.run(), "contacts") == {"created": 4}
    ready.sql("UPDATE raw.contacts SET last = 'Cedilla' WHERE id = 'Ç1'")
    assert outcomes(ready.run(), "contacts") == {"unchanged": 3, "updated": 1}
    assert ready.org.by("Contact", "Customer_Id__c")["Ç1"]["LastName"] == "Cedilla"


def test_a_key_that_the_org_holds_for_the_same_is_not_deleted_under_its_old_form(ready: Team) -> None:
    """sfsync folds ASCII letters alone; the org may know more capitals."""
    ready.sync("contacts", on_removed="delete")
    ready.sql("UPDATE raw.contacts SET id = 'CAFÉ-1' WHERE id = 'C1'")
    assert outcomes(ready.run(), "contacts") == {"created": 3}
    before = ready.org.by("Contact", "LastName")["Ito"]["Id"]
    ready.sql("UPDATE raw.contacts SET id = 'café-1' WHERE id = 'CAFÉ-1'")
    result = ready.run()
    assert outcomes(result, "contacts") == {"unchanged": 3, "adopted": 1}
    assert ready.org.by("Contact", "LastName")["Ito"]["Id"] == before
    ready.run()
    assert not ready.plan().has_changes
    assert len(ready.org.records("Contact")) == 3


def test_a_damaged_file_of_seeds_is_made_anew(tmp_path: Path) -> None:
    """All that it holds stands in the CSV files."""
    init_command(tmp_path / "demo")
    options = Options(project_dir=tmp_path / "demo", env={})
    assert plan_command(options).has_changes
    file = tmp_path / "demo" / ".sfsync" / "dev.seeds.duckdb"
    before = file.stat().st_size
    file.write_bytes(b"x" * 20_000)
    assert plan_command(options).has_changes
    assert file.stat().st_size > before // 2
    file.write_bytes(b"")
    assert plan_command(options).has_changes
    control.stop(tmp_path / "demo" / ".sfsync" / "org")
