"""Every way to send, what it costs, and what happens when calls go wrong."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from sfsync.errors import RefusedError
from sfsync.records import Way
from tests.jobs.conftest import STATE, Team, of, outcomes, planned


def many(team: Team, rows: int, *, account: str | None = None) -> None:
    """Contacts P1..Pn of the usual shape."""
    parent = f"'{account}'" if account else "NULL"
    team.sql(
        "DELETE FROM raw.contacts",
        "INSERT INTO raw.contacts SELECT 'P' || i, 'Last ' || i, 'First', 'p' || i || '@acme.example', 'Title',"
        f" {parent}, DATE '1980-01-01', TIMESTAMP '2026-01-01 10:00:00', i, i % 2 = 0, 'Mobile;Billing'"
        f" FROM range(1, {rows + 1}) AS r(i)",
    )


@pytest.mark.parametrize("api", ["bulk", "collections", "auto"])
def test_each_way_ends_in_the_same_org(ready: Team, api: str) -> None:
    ready.sync("contacts", push={"api": api}, on_removed="delete")
    many(ready, 450, account="A1")
    assert outcomes(ready.run(), "contacts") == {"created": 450}
    assert not ready.plan().has_changes
    ready.sql(
        "UPDATE raw.contacts SET title = 'New', account = CASE WHEN id < 'P3' THEN NULL ELSE 'A2' END WHERE id < 'P4'",
        "DELETE FROM raw.contacts WHERE id IN ('P77', 'P78')",
    )
    result = ready.run(allow=["contacts.max_change_share"])
    counts = outcomes(result, "contacts")
    assert counts["deleted"] == 2
    assert counts["updated"] + counts["unchanged"] == 448
    assert result.exit_code == 0
    contacts = ready.org.by("Contact", "Customer_Id__c")
    accounts = ready.org.by("Account", "Account_Id__c")
    assert len(contacts) == 448
    assert "AccountId" not in contacts["P10"]
    assert contacts["P33"]["AccountId"] == accounts["A2"]["Id"]
    assert contacts["P45"]["AccountId"] == accounts["A1"]["Id"]
    assert contacts["P33"]["Interests__c"] == "Billing;Mobile"
    assert not ready.plan().has_changes


def test_rows_that_clear_a_lookup_never_share_a_csv_with_rows_that_set_it(ready: Team) -> None:
    ready.sync("contacts", push={"api": "bulk"})
    many(ready, 20, account="A1")
    ready.run()
    ready.sql("UPDATE raw.contacts SET account = CASE WHEN id < 'P15' THEN NULL ELSE 'A2' END")
    plan = planned(ready.plan(), "contacts")
    assert sorted(batch.clearing for batch in plan.batches) == [(), ("AccountId",)]
    assert outcomes(ready.run(allow=["contacts.max_change_share"]), "contacts") == {"updated": 20}


ODD_TEXTS = [
    "#N/A",
    'say "hi"',
    "a,b;c|d^e`f\tg",
    "line\nbreak",
    "  padded  ",
    "emoji 👩‍👩‍👧 é",
    "0",
    "null",
    "=cmd()",
    "\\N",
    "'",
    "#",
    "日本語",
    "a\u2028b",
    "-- ;DROP",
]


@pytest.mark.parametrize("api", ["bulk", "collections"])
def test_odd_texts_arrive_as_they_are(ready: Team, api: str) -> None:
    ready.sync("contacts", push={"api": api}, fields={"Description": "title"})
    ready.contacts([{"id": f"K{n}", "last": "x", "title": text} for n, text in enumerate(ODD_TEXTS)])
    assert outcomes(ready.run(), "contacts") == {"created": len(ODD_TEXTS)}
    contacts = ready.org.by("Contact", "Customer_Id__c")
    assert [contacts[f"K{n}"]["Description"] for n in range(len(ODD_TEXTS))] == [
        t.strip(" ") for t in ODD_TEXTS
    ]
    assert not ready.plan().has_changes


def test_the_literal_text_of_null_goes_by_json(ready: Team) -> None:
    ready.sync("contacts", push={"api": "bulk"})
    many(ready, 3)
    ready.sql("UPDATE raw.contacts SET title = '#N/A' WHERE id = 'P2'")
    ways = {batch.way for batch in planned(ready.plan(), "contacts").batches}
    assert Way.COLLECTIONS in ways
    assert len(ways) == 2
    ready.run()
    assert ready.org.by("Contact", "Customer_Id__c")["P2"]["Title"] == "#N/A"


def test_rows_the_org_refuses_are_held_until_something_changes(ready: Team) -> None:
    # A key that another record took: the org alone can know.
    ready.run()
    ready.sync("contacts", push={"api": "bulk"}, fields={"ReportsToId": {"column": "title"}, "Title": None})
    ready.contacts([{"id": "C1", "last": "Ito", "title": "003000000000009AAA"}, {"id": "C4", "last": "New"}])
    result = ready.run("contacts", allow=["contacts.max_change_share"])
    item = of(result, "contacts")
    assert [(row.code, row.action) for row in item.rejected] == [("INVALID_CROSS_REFERENCE_KEY", "update")]
    calls = ready.calls()
    again = ready.run("contacts")
    assert outcomes(again, "contacts")["held"] == 1
    assert again.exit_code == 0
    assert ready.calls() == calls
    assert outcomes(ready.retry("contacts"), "contacts")["rejected"] == 1
    assert ready.calls() > calls
    ready.sql("UPDATE raw.contacts SET title = NULL WHERE id = 'C1'")
    assert ready.run("contacts").exit_code == 0


def test_what_the_budget_does_not_allow_is_deferred_and_goes_next(ready: Team) -> None:
    ready.run("accounts")
    many(ready, 2500)
    ready.sync("contacts", push={"api": "collections"})
    ready.profile(api_limit={"daily_calls": ready.calls() + 2})
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 2000, "deferred": 500}
    assert result.exit_code == 1
    assert "API limit" in (result.reason or "")
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2000, "deferred": 500}
    ready.profile(api_limit={"daily_calls": 5000})
    assert outcomes(ready.run(), "contacts") == {"unchanged": 2000, "created": 500}


def test_on_limit_refuse_begins_nothing(ready: Team) -> None:
    ready.run("accounts")
    many(ready, 2500)
    ready.sync("contacts", push={"api": "collections"}, on_limit="refuse")
    ready.profile(api_limit={"daily_calls": ready.calls() + 2})
    before = ready.calls()
    with pytest.raises(RefusedError, match="on_limit: refuse"):
        ready.run()
    assert ready.calls() == before


def test_higher_priority_goes_first_when_calls_are_short(ready: Team) -> None:
    ready.sync("accounts", priority=1)
    ready.profile(api_limit={"daily_calls": ready.calls() + 1})
    result = ready.run()
    assert outcomes(result, "accounts") == {"created": 2}
    assert outcomes(result, "contacts")["deferred"] == 3


def test_other_peoples_use_of_the_org_is_seen(ready: Team) -> None:
    ready.run("accounts")
    ready.org.limits(max=1000, used=749)
    ready.run("accounts")
    many(ready, 10)
    ready.run()
    result = ready.run()
    many(ready, 30)
    result = ready.run()
    assert outcomes(result, "contacts").get("deferred", 0) == 20


FAULTS: list[tuple[str, list[dict[str, Any]]]] = [
    ("lost before commit", [{"match": "POST /composite", "fault": "lost_before_commit", "times": 1}]),
    ("lost after commit", [{"match": "POST /composite", "fault": "lost_after_commit", "times": 1}]),
    (
        "503 with HTML",
        [{"match": "POST /composite", "fault": "status", "status": 503, "body": "<html>", "times": 2}],
    ),
    ("expired token", [{"match": "POST /composite", "fault": "expired_token", "times": 1}]),
    ("locked rows", [{"fault": "locked_rows", "object": "Contact", "share": 0.3, "times": 2}]),
]


@pytest.mark.parametrize("rules", [f[1] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_passing_faults_of_collections_are_outlived(ready: Team, rules: list[dict[str, Any]]) -> None:
    ready.sync("contacts", push={"api": "collections"})
    many(ready, 600, account="A1")
    ready.run("accounts")
    ready.org.faults(rules)
    result = ready.run("contacts")
    counts = outcomes(result, "contacts")
    assert counts.get("created", 0) + counts.get("adopted", 0) == 600, counts
    assert len(ready.org.records("Contact")) == 600
    assert result.exit_code == 0
    ready.org.faults([])
    assert ready.run("contacts").exit_code == 0
    assert not ready.plan("contacts").has_changes


JOB_FAULTS: list[tuple[str, list[dict[str, Any]]]] = [
    ("create lost", [{"match": "POST /jobs/ingest", "fault": "lost_after_commit", "times": 1}]),
    ("upload lost", [{"match": "PUT /jobs/ingest", "fault": "lost_after_commit", "times": 1}]),
    ("close lost", [{"match": "PATCH /jobs/ingest", "fault": "lost_after_commit", "times": 1}]),
    ("poll fails", [{"match": "GET /jobs/ingest", "fault": "status", "status": 502, "body": "", "times": 2}]),
    ("expired token", [{"match": "PUT /jobs/ingest", "fault": "expired_token", "times": 1}]),
    ("locked rows", [{"fault": "locked_rows", "object": "Contact", "share": 0.05, "times": 1}]),
]


@pytest.mark.parametrize("rules", [f[1] for f in JOB_FAULTS], ids=[f[0] for f in JOB_FAULTS])
def test_passing_faults_of_jobs_are_outlived(ready: Team, rules: list[dict[str, Any]]) -> None:
    ready.sync("contacts", push={"api": "bulk"})
    many(ready, 1500, account="A1")
    ready.run("accounts")
    ready.org.faults(rules)
    result = ready.run("contacts")
    counts = outcomes(result, "contacts")
    assert counts.get("created", 0) + counts.get("adopted", 0) == 1500, (counts, ready.logged)
    assert len(ready.org.records("Contact")) == 1500
    assert result.exit_code == 0
    ready.org.faults([])
    assert ready.run("contacts").exit_code == 0
    assert not ready.plan("contacts").has_changes


def test_a_server_that_stays_down_leaves_rows_in_doubt_and_a_difference(ready: Team) -> None:
    ready.run("accounts")
    ready.org.faults([{"match": "/composite", "fault": "status", "status": 503, "body": "", "times": 50}])
    result = ready.run("contacts")
    assert outcomes(result, "contacts") == {"in_doubt": 3}
    assert result.exit_code == 1
    ready.org.faults([])
    assert outcomes(ready.run("contacts"), "contacts") == {"created": 3}


def test_a_stop_request_ends_after_the_exchange_and_records_it(ready: Team) -> None:
    ready.sync("contacts", push={"api": "collections"})
    many(ready, 3000)
    ready.run("accounts")
    start = ready.calls()
    result = ready.run("contacts", stop_requested=lambda: ready.calls() > start)
    assert result.exit_code == 130
    assert outcomes(result, "contacts") == {"created": 1000, "stopped": 2000}
    assert outcomes(ready.run("contacts"), "contacts") == {"unchanged": 1000, "created": 2000}


def test_how_long_a_job_takes_is_learned_from_the_org_not_from_when_it_was_asked(ready: Team) -> None:
    """Else each job is asked later than the one before: what is waited for grows by itself."""
    ready.sync("contacts", push={"api": "bulk"})
    many(ready, 2500)
    result = ready.run()
    (job,) = of(result, "contacts").job_ids
    took = ready.org.get(f"/jobs/ingest/{job}").json()["totalProcessingTime"] / 1000
    with duckdb.connect(str(ready.folder / STATE), read_only=True) as db:
        found = dict(
            db.execute("SELECT object, value FROM learned WHERE name = 'job_seconds_per_row'").fetchall()
        )
    assert found == {"Contact": pytest.approx(took / 2500)}, "the job of two accounts says nothing of a row"


COSTS = [
    # rows, most calls for creates, most calls for updates (polls at most 3 a job; the cheapest safe way for each)
    (1, 1, 1),
    (50, 1, 1),
    (200, 1, 1),
    (1000, 1, 1),
    (2000, 2, 2),
    (10_000, 7, 6),
    pytest.param(100_000, 7, 6, marks=pytest.mark.slow),
    pytest.param(1_000_000, 7, 6, marks=pytest.mark.slow),  # short rows: one job of 90 MB holds them all
]
BUT_NAME_AND_TITLE = (
    *("FirstName", "Email", "AccountId", "Birthdate", "Last_Login__c"),
    *("Lifetime_Value__c", "Is_Champion__c", "Interests__c"),
)


@pytest.mark.parametrize(("rows", "creates", "updates"), COSTS)
def test_api_calls(ready: Team, rows: int, creates: int, updates: int) -> None:
    """Counted by the org itself, the describe being cached; one call more is allowed for the run."""
    if rows == 1_000_000:
        ready.sync("contacts", fields=dict.fromkeys(BUT_NAME_AND_TITLE))
    ready.run("accounts")
    many(ready, rows)
    before = ready.calls()
    result = ready.run("contacts", allow=["contacts.max_change_share"])
    assert outcomes(result, "contacts") == {"created": rows}
    assert ready.calls() - before <= creates + 1
    assert result.calls == ready.calls() - before
    ready.sql("UPDATE raw.contacts SET title = 'T' || id")
    before = ready.calls()
    plan = ready.plan("contacts", allow=["contacts.max_change_share"])
    assert outcomes(ready.run("contacts", allow=["contacts.max_change_share"]), "contacts") == {
        "updated": rows
    }
    assert ready.calls() - before <= updates + 1
    assert ready.calls() - before <= plan.api.calls + 1
