"""`verify: N`: some of a run's written records are read back, and what the org did not keep is told and priced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sfsync.artifacts import NotKept, Status
from sfsync.compiler.org_texts import RECORD_ID
from sfsync.engine.duckdb import DuckDB
from sfsync.match import ask
from sfsync.plan.cost import verify_calls
from sfsync.report.run_text import run_text
from tests.jobs.conftest import STATE, Team, of, outcomes, planned


def flow(team: Team, **changes: dict[str, Any]) -> Callable[[], bool]:
    """Between two requests of a run, what a flow in the org would do: other values in records that are there."""

    def act() -> bool:
        there = team.org.by("Contact", "Customer_Id__c")
        for key, values in changes.items():
            if key in there:
                answer = team.org.patch(f"/sobjects/Contact/{there[key]['Id']}", json=values)
                assert answer.status_code == 204, answer.text
        return False

    return act


def test_what_the_org_did_not_keep_is_told_masked_and_stays_out_of_the_snapshot(ready: Team) -> None:
    ready.sync("contacts", verify=50, fields={"Email": {"column": "email", "pii": True}})
    plan = ready.plan()
    assert dict(plan.api.by_way)["verify"] == 1
    assert planned(plan, "accounts").verifying == 0
    before = ready.calls()
    changed = {"Title": "Chief", "Email": "secret@home.example", "Department": "not ours"}
    result = ready.run(stop_requested=flow(ready, C2=changed, C1={"Email": "other@home.example"}))
    item = of(result, "contacts")
    assert outcomes(result, "contacts") == {"created": 3}
    assert (item.status, result.exit_code) == (Status.WARN, 0)
    assert result.calls == plan.api.calls == result.calls_by_kind["verify"] + 2
    assert item.calls == planned(plan, "contacts").calls
    assert ready.calls() - before > result.calls, "the flow itself wrote"
    seen = item.verified
    assert seen is not None
    assert (seen.records, seen.differing, seen.missing, seen.skipped) == (3, 2, 0, None)
    assert [(found.field, found.records) for found in seen.fields] == [("Email", 1), ("Title", 1)]
    record = ready.org.by("Contact", "Customer_Id__c")["C2"]["Id"]
    assert seen.fields[1].samples == (NotKept("C2", record, "CTO", "Chief"),)
    assert seen.fields[0].samples[0].sent == seen.fields[0].samples[0].kept == "***"
    page = run_text(result, color=False, width=0)
    assert "Read back: 3 records; 2 with values that the org did not keep" in page
    assert 'C2: sent "CTO", the org has "Chief"' in page
    assert "home.example" not in page
    written = json.loads((ready.folder / "target" / "run_results.json").read_text())["results"]
    told = {one["unique_id"]: one["verified"] for one in written}
    assert (told["sync.accounts"], told["sync.contacts"]["differing"]) == (None, 2)
    with duckdb.connect(str(ready.folder / STATE), read_only=True) as connection:
        kept = connection.execute("SELECT \"Title\" FROM snapshot.contacts WHERE _key = 'c2'").fetchall()
    assert kept == [("CTO",)]
    assert ready.run().calls == 0, "what a flow changed is not sent again and again"


def test_few_of_many_are_chosen_by_the_run_and_lookups_that_follow_are_compared_too(ready: Team) -> None:
    ready.sync(
        "contacts",
        fields={"ReportsToId": {"column": "first", "lookup": "Contact.Customer_Id__c"}, "FirstName": None},
    )
    ready.sync("contacts", verify=4)
    ready.contacts(
        [{"id": f"C{n}", "last": f"Name {n}", "first": f"C{n - 1}" if n else None} for n in range(9)]
    )
    ready.run("accounts")
    keys = [f"C{n}" for n in range(1, 9)]
    plan = ready.plan("contacts")
    result = ready.run(
        "contacts", strict=True, stop_requested=flow(ready, **{key: {"ReportsToId": None} for key in keys})
    )
    item = of(result, "contacts")
    assert outcomes(result, "contacts") == {"created": 9}
    ids = {record["Id"]: key for key, record in ready.org.by("Contact", "Customer_Id__c").items()}
    wanted = sorted(ids, key=lambda one: hashlib.md5(f"{result.run_id}{one}".encode()).hexdigest())[:4]
    seen = item.verified
    assert seen is not None
    assert (seen.records, seen.differing) == (4, len({ids[one] for one in wanted} - {"C0"}))
    (found,) = seen.fields
    assert (found.field, found.records) == ("ReportsToId", seen.differing)
    assert {row.record_id for row in found.samples} <= set(wanted)
    assert (item.status, result.exit_code) == (Status.PARTIAL, 1), "--strict"
    assert result.calls == plan.api.calls


def test_a_record_that_is_not_there_any_more_is_told(ready: Team) -> None:
    ready.run()
    ready.sync("contacts", verify=5)
    ready.sql("UPDATE raw.contacts SET title = 'CFO'")
    record = ready.org.by("Contact", "Customer_Id__c")["C1"]["Id"]

    def deletes() -> bool:
        if "CFO" in {one.get("Title") for one in ready.org.records("Contact")}:
            ready.org.delete(f"/sobjects/Contact/{record}")
        return False

    result = ready.run(stop_requested=deletes)
    seen = of(result, "contacts").verified
    assert seen is not None
    assert (seen.records, seen.missing, seen.differing) == (3, 1, 0)
    assert "1 that the org does not show any more" in run_text(result, color=False, width=0)


def test_where_calls_are_spent_or_refused_it_is_left_out_with_a_word(ready: Team) -> None:
    ready.profile(api_limit={"daily_calls": 2, "keep_free": 0})
    ready.sync("contacts", verify=5)
    result = ready.run()
    item = of(result, "contacts")
    assert outcomes(result, "contacts") == {"created": 3}
    assert (item.status, result.calls) == (Status.SUCCESS, 2)
    assert item.verified is not None
    assert "limit" in str(item.verified.skipped)
    assert "Not read back: " in run_text(result, color=False, width=0)

    ready.profile()
    ready.sql("UPDATE raw.contacts SET title = 'CFO'")
    ready.org.faults([{"fault": "status", "status": 403, "match": "POST /composite"}])
    result = ready.run()
    assert outcomes(result, "contacts") == {"updated": 3}
    assert "403" in str(of(result, "contacts").verified.skipped)


@pytest.mark.parametrize("records", [0, 1, 399, 400, 1999, 2000])
def test_the_price_is_that_of_the_queries_which_are_made(tmp_path: Path, records: int) -> None:
    db = DuckDB(temp_directory=tmp_path)
    db.execute(
        f"CREATE TABLE ids AS SELECT '003' || lpad(n::VARCHAR, 12, '0') || 'AAA' AS _key FROM range({records}) AS r(n)"
    )
    org = ask.Org(None, db, None, None, None)  # type: ignore[arg-type]
    queries = ask._by_key(org, ask.Question("Contact", (RECORD_ID,), "ids"))
    assert verify_calls(records) == -(-len(queries) // 5)


def test_what_is_read_back_refuses_no_run(ready: Team) -> None:
    ready.sync("contacts", verify=50, on_limit="refuse")
    plan = ready.plan()
    ready.profile(api_limit={"daily_calls": plan.api.calls - 1, "keep_free": 0})
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 3}
    seen = of(result, "contacts").verified
    assert seen is not None
    assert seen.skipped is not None
    assert seen.records == 0
