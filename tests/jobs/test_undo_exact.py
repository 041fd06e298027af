"""`undo: exact`: what stands in a record is read before it is overwritten, and that is what comes back."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from tests.jobs.conftest import STATE, Team, of, outcomes, planned
from tests.local_org.test_soap import soap
from tests.support import doomed

KEY = "Customer_Id__c"
KIND = "before-images"
SEEN = (
    *("Id", "LastName", "FirstName", "Email", "Title", "AccountId", "Birthdate", "Last_Login__c"),
    *("Lifetime_Value__c", "Is_Champion__c", "Interests__c", KEY),
)


def fields(team: Team) -> dict[str, dict[str, str]]:
    return {k: {f: r[f] for f in SEEN if f in r} for k, r in team.org.by("Contact", KEY).items()}


def by_hand(team: Team, key: str, **changes: Any) -> None:
    """Somebody changes a record in the org."""
    record = team.org.by("Contact", KEY)[key]["Id"]
    assert team.org.patch(f"/sobjects/Contact/{record}", json=changes).status_code == 204


def lines(team: Team, run_id: str) -> list[tuple[str, str, Any]]:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as connection:
        found = connection.execute(
            "SELECT operation, key, texts FROM undo WHERE run_id = ? AND sync = 'contacts' ORDER BY key",
            [run_id],
        ).fetchall()
    return [(operation, key, json.loads(texts or "null")) for operation, key, texts in found]


@pytest.fixture
def exact(ready: Team) -> Team:
    ready.sync("contacts", undo="exact", on_removed="delete")
    return ready


@pytest.fixture
def loaded(exact: Team) -> Team:
    """The two accounts and three contacts are in the org."""
    assert exact.run().exit_code == 0
    return exact


@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_what_a_person_had_changed_comes_back(loaded: Team, api: str) -> None:
    loaded.sync("contacts", push={"api": api})
    other = loaded.org.by("Account", "Account_Id__c")["A2"]["Id"]
    by_hand(
        loaded, "C1", Title="Chair", Email="she@home.example", Birthdate="1979-02-03", Interests__c="Billing;Mobile",
        Last_Login__c="2026-01-02T03:04:05.000Z", Lifetime_Value__c=12345678901234.56, AccountId=other,
        Is_Champion__c=True,
    )  # fmt: skip
    by_hand(loaded, "C2", FirstName="Max", Title=None, AccountId=None)
    before = fields(loaded)
    loaded.sql(
        "UPDATE raw.contacts SET title = 'CEO', email = 'ai@b.example', born = DATE '1980-01-31', interests = 'Security',"
        " seen = TIMESTAMP '2020-01-01 00:00:00', worth = 7, champion = FALSE, account = NULL WHERE id = 'C1'",
        "UPDATE raw.contacts SET title = 'CFO', account = 'A1' WHERE id = 'C2'",
    )
    result = loaded.run()
    assert outcomes(result, "contacts") == {"updated": 2, "unchanged": 1}
    assert result.calls_by_kind[KIND] == 1
    assert fields(loaded) != before
    assert outcomes(loaded.run(undo=result.run_id), "contacts")["updated"] == 2
    assert fields(loaded) == before


@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_what_was_adopted_is_taken_back_too(exact: Team, api: str) -> None:
    exact.sync("contacts", push={"api": api})
    names = ["C1", "it's", "a\\b", "Zoë, 100%", "x" * 30]
    for name in names:
        theirs = {"LastName": "Theirs", "Title": "Old", "FirstName": "Kept", KEY: name}
        assert exact.org.post("/sobjects/Contact", json=theirs).status_code == 201
        if name != "C1":
            text = name.replace("'", "''")
            exact.sql(f"INSERT INTO raw.contacts (id, last, title) VALUES ('{text}', 'Ours', 'New')")
    before = fields(exact)
    result = exact.run()
    assert outcomes(result, "contacts") == {"adopted": 5, "created": 2}
    plan = exact.plan(undo=result.run_id, allow=["contacts.max_delete_share", "contacts.max_change_share"])
    assert not any("adopted" in warning for warning in plan.warnings)
    changes = planned(plan, "contacts").changes
    assert (changes.updates, changes.deletes) == (5, 2)
    exact.run("contacts", undo=result.run_id)
    assert fields(exact) == before


def test_a_deleted_record_is_made_anew_as_it_stood(loaded: Team) -> None:
    by_hand(loaded, "C1", Title="Chair")
    before = fields(loaded)["C1"]
    loaded.sql("DELETE FROM raw.contacts WHERE id = 'C1'")
    result = loaded.run()
    assert result.calls_by_kind[KIND] == 1
    soap(loaded.org, "emptyRecycleBin", [before["Id"]])
    assert outcomes(loaded.run(undo=result.run_id), "contacts") == {"gone": 1}
    assert outcomes(loaded.run(undo=result.run_id), "contacts") == {"created": 1}
    after = fields(loaded)["C1"]
    assert after.pop("Id") != before.pop("Id")
    assert after == before


def test_the_undo_reads_first_too_and_can_be_taken_back_exactly(loaded: Team) -> None:
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    loaded.run()
    by_hand(loaded, "C1", Title="Chair")
    result = loaded.run(undo="latest")
    assert result.calls_by_kind[KIND] == 1
    assert "Title" not in fields(loaded)["C1"]
    loaded.run(undo="latest")
    assert fields(loaded)["C1"]["Title"] == "Chair"


def test_it_is_priced_and_costs_what_the_plan_says(loaded: Team) -> None:
    loaded.sql("INSERT INTO raw.contacts (id, last) SELECT 'N' || n, 'New' FROM range(4500) AS r(n)")
    loaded.sync("contacts", guards={"max_change_share": None}, push={"api": "collections"})
    created = loaded.run()
    plan = loaded.plan()
    loaded.sql("UPDATE raw.contacts SET title = 'T'")
    plan = loaded.plan()
    (each,) = {batch.reading for batch in planned(plan, "contacts").batches}
    reads = -(-4503 // each)
    assert 3 <= reads <= 4
    assert dict(plan.api.by_way) == {KIND: reads, "collections": 5}
    assert (plan.api.calls, planned(plan, "contacts").calls) == (reads + 5, reads + 5)
    used = loaded.calls()
    result = loaded.run()
    assert loaded.calls() - used == plan.api.calls
    assert (result.calls_by_kind[KIND], of(result, "contacts").calls) == (reads, plan.api.calls)
    assert len(lines(loaded, result.run_id)) == 4503
    assert all(
        texts == {"Title": ["", "T"]} for _, key, texts in lines(loaded, result.run_id) if key[0] == "n"
    )
    assert created.calls_by_kind[KIND] == -(-4500 // each), "what may be adopted is read as well"


def test_who_does_not_want_it_does_not_pay(ready: Team) -> None:
    ready.run()
    ready.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    assert KIND not in dict(ready.plan().api.by_way)
    result = ready.run()
    assert KIND not in result.calls_by_kind
    assert result.calls == 1


def test_it_may_stand_in_the_projects_defaults(ready: Team) -> None:
    ready.write("sfsync_project.yml", "name: team\nversion: '1'\nprofile: team\nsyncs: {undo: exact}\n")
    assert dict(ready.plan().api.by_way)[KIND] == 2


def test_masked_fields_are_not_even_read(exact: Team) -> None:
    exact.sync("contacts", fields={"Email": {"column": "email", "pii": True}})
    exact.run()
    by_hand(exact, "C1", Title="Chair", Email="secret@home.example")
    exact.sql("UPDATE raw.contacts SET title = 'CEO', email = 'ai@b.example' WHERE id = 'C1'")
    assert any("masked fields nothing is kept" in warning for warning in exact.plan().warnings)
    result = exact.run()
    assert lines(exact, result.run_id) == [("update", "c1", {"Title": ["Chair", "CEO"], "Email": None})]
    exact.run(undo=result.run_id)
    record = fields(exact)["C1"]
    assert (record["Title"], record["Email"]) == ("Chair", "ai@b.example")


def test_what_cannot_be_read_is_not_overwritten(loaded: Team) -> None:
    before = fields(loaded)
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    loaded.org.faults(
        [
            {
                "fault": "rights_lost",
                "object": "Contact",
                "fields": ["Title"],
                "hidden": True,
                "match": "/composite",
            }
        ]
    )
    result = loaded.run()
    assert outcomes(result, "contacts") == {"failed": 1, "unchanged": 2}
    (refused,) = of(result, "contacts").rejected
    assert refused.code == "NOT_SENT"
    assert "what stands in the record could not be read, so nothing was sent" in refused.message
    loaded.org.faults([])
    assert fields(loaded) == before
    assert outcomes(loaded.run(), "contacts") == {"updated": 1, "unchanged": 2}


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "status", "status": 503},
        {"fault": "lost_before_commit"},
        {"fault": "cut_answer", "looks_whole": True},
        {"fault": "garbled", "edit": "result_missing"},
        {"fault": "garbled", "body": "[]"},
        {"fault": "expired_token"},
    ],
    ids=lambda rule: " ".join(map(str, rule.values())),
)
def test_an_answer_that_does_not_come_is_asked_for_again(loaded: Team, rule: dict[str, Any]) -> None:
    by_hand(loaded, "C1", Title="Chair")
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    loaded.org.faults([{**rule, "match": "POST /composite"}])
    result = loaded.run()
    assert outcomes(result, "contacts") == {"updated": 1, "unchanged": 2}
    assert lines(loaded, result.run_id) == [("update", "c1", {"Title": ["Chair", "CEO"]})]


def test_a_budget_that_ends_while_reading(loaded: Team) -> None:
    before = fields(loaded)
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    used = loaded.org.state()["api_calls"]["used"]
    loaded.profile(api_limit={"daily_calls": used + 1, "keep_free": 0})
    assert loaded.plan().api.calls == 2
    assert outcomes(loaded.run(), "contacts") == {"deferred": 1, "unchanged": 2}
    assert fields(loaded) == before
    loaded.profile(api_limit={"daily_calls": used + 10, "keep_free": 0})
    assert outcomes(loaded.run(), "contacts") == {"updated": 1, "unchanged": 2}


def test_a_job_goes_as_far_as_there_are_calls_to_read_for_it(loaded: Team) -> None:
    loaded.sync("contacts", guards={"max_change_share": None}, push={"api": "bulk"})
    loaded.sql("INSERT INTO raw.contacts (id, last) SELECT 'N' || n, 'New' FROM range(5000) AS r(n)")
    loaded.run()
    loaded.sql("UPDATE raw.contacts SET title = 'T'")
    plan = loaded.plan()
    (batch,) = planned(plan, "contacts").batches
    assert (batch.reads, plan.api.calls) == (3, 3 + batch.calls)
    used = loaded.org.state()["api_calls"]["used"]
    loaded.profile(api_limit={"daily_calls": used + batch.calls, "keep_free": 0})
    assert outcomes(loaded.run(), "contacts") == {"deferred": 5003}
    assert loaded.org.state()["api_calls"]["used"] == used, "nothing is read for a job that cannot begin"
    loaded.profile(api_limit={"daily_calls": used + batch.calls + 2, "keep_free": 0})
    assert outcomes(loaded.run(), "contacts") == {
        "updated": 2 * batch.reading,
        "deferred": 5003 - 2 * batch.reading,
    }
    loaded.profile(api_limit={"daily_calls": used + 50, "keep_free": 0})
    assert outcomes(loaded.run(), "contacts")["updated"] == 5003 - 2 * batch.reading
    assert {record["Title"] for record in loaded.org.records("Contact")} == {"T"}


def test_nothing_is_read_for_want_of_bulk_batches(loaded: Team) -> None:
    loaded.sync("contacts", push={"api": "bulk"})
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    loaded.daily_batches = 0
    used = loaded.calls()
    assert outcomes(loaded.run(), "contacts") == {"deferred": 1, "unchanged": 2}
    assert loaded.calls() == used


def test_a_run_that_was_killed_between_reading_and_writing(loaded: Team) -> None:
    by_hand(loaded, "C1", Title="Chair")
    loaded.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id = 'C1'")
    assert doomed.end(doomed.start(doomed.Order(loaded.folder, point=f"after {KIND}"))) == -9
    result = loaded.run()
    assert lines(loaded, result.run_id) == [("update", "c1", {"Title": ["Chair", "CEO"]})]


def test_a_record_that_went_meanwhile_is_gone_as_ever(loaded: Team) -> None:
    record = loaded.org.by("Contact", KEY)["C1"]["Id"]
    loaded.sql("UPDATE raw.contacts SET title = 'CEO'")
    loaded.org.delete(f"/sobjects/Contact/{record}")
    result = loaded.run(allow=["contacts.max_change_share"])
    assert outcomes(result, "contacts") == {"gone": 1, "updated": 2}
    assert len(lines(loaded, result.run_id)) == 2


def test_the_first_records_of_a_canary_are_read_like_the_others(loaded: Team) -> None:
    by_hand(loaded, "C3", Title="Chair")
    loaded.sql("UPDATE raw.contacts SET title = 'CEO'")
    result = loaded.run(canary=1)
    assert outcomes(result, "contacts") == {"updated": 3}
    assert result.calls_by_kind[KIND] == 1
    assert [texts["Title"][0] for _, _, texts in lines(loaded, result.run_id)] == ["", "CTO", "Chair"]
