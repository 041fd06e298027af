"""What a sync asks of the way its rows are sent, seen in the org: all or none, and fields that travel together."""

from __future__ import annotations

from typing import Any

import pytest

from sfsync.report.run_text import run_text
from tests.jobs.conftest import Team, of, outcomes, planned
from tests.jobs.test_push_paths import many


def bad(*keys: str, code: str = "FIELD_CUSTOM_VALIDATION_EXCEPTION") -> list[dict[str, Any]]:
    return [
        {
            "fault": "refused_rows",
            "object": "Contact",
            "field": "Customer_Id__c",
            "values": list(keys),
            "code": code,
        }
    ]


@pytest.fixture
def whole(ready: Team) -> Team:
    ready.run("accounts")
    ready.sync("contacts", push={"all_or_none": True})
    return ready


def test_one_refused_row_keeps_its_request_out_and_no_other(whole: Team) -> None:
    many(whole, 500)
    whole.org.faults(bad("P250"))
    result = whole.run("contacts")
    found = outcomes(result, "contacts")
    assert found == {"created": 300, "rejected": 1, "stopped": 199}, "the second of three requests"
    assert len(whole.org.records("Contact")) == 300
    (refused,) = of(result, "contacts").rejected
    assert refused.code == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    assert "all-or-none" in run_text(result, color=False, width=0)
    assert result.exit_code == 1

    plan = planned(whole.plan("contacts"), "contacts")
    assert (plan.changes.upserts, plan.changes.held, plan.changes.unchanged) == (199, 1, 300)
    whole.org.faults([])
    assert outcomes(whole.run("contacts"), "contacts") == {"created": 199, "held": 1, "unchanged": 300}
    assert outcomes(whole.retry("contacts"), "contacts") == {"created": 1, "unchanged": 499}


def test_a_locked_row_is_not_tried_again_without_its_company(whole: Team) -> None:
    many(whole, 50)
    whole.org.faults(bad("P7", code="UNABLE_TO_LOCK_ROW"))
    before = whole.calls()
    assert outcomes(whole.run("contacts"), "contacts") == {"failed": 1, "stopped": 49}
    assert whole.calls() - before == 1
    whole.org.faults([])
    assert outcomes(whole.run("contacts"), "contacts") == {"created": 50}


def test_updates_and_deletes_are_taken_back_too(whole: Team) -> None:
    whole.sync("contacts", on_removed="delete")
    many(whole, 40)
    assert outcomes(whole.run("contacts"), "contacts") == {"created": 40}
    ids = {key: record["Id"] for key, record in whole.org.by("Contact", "Customer_Id__c").items()}
    whole.sql(
        "UPDATE raw.contacts SET last = 'new' WHERE id IN ('P1', 'P2', 'P3')",
        "DELETE FROM raw.contacts WHERE id IN ('P38', 'P39', 'P40')",
    )
    rule = bad(ids["P2"], ids["P39"])[0]
    whole.org.faults([{key: value for key, value in rule.items() if key != "field"}])
    allow = ["contacts.max_delete_share"]
    found = outcomes(whole.run("contacts", allow=allow), "contacts")
    assert found == {"rejected": 2, "stopped": 4, "unchanged": 34}
    assert {
        r["LastName"] for k, r in whole.org.by("Contact", "Customer_Id__c").items() if k in ("P1", "P3")
    } != {"new"}
    assert len(whole.org.records("Contact")) == 40


def test_bulk_is_not_chosen_however_cheap(whole: Team) -> None:
    many(whole, 12_000)
    batches = planned(whole.plan("contacts"), "contacts").batches
    assert {str(batch.way) for batch in batches} == {"collections"}
    whole.sync("contacts", push={})
    assert {str(b.way) for b in planned(whole.plan("contacts"), "contacts").batches} == {"bulk"}


def test_fields_that_travel_together(ready: Team) -> None:
    ready.sync("contacts", push={"send_together": [["FirstName", "Title"]]})
    ready.run()
    ready.sql(
        "UPDATE raw.contacts SET title = 'CFO' WHERE id = 'C1'",
        "UPDATE raw.contacts SET email = 'x@y.example' WHERE id = 'C2'",
    )
    plan = planned(ready.plan(), "contacts")
    assert {s.key: set(s.changes) for s in plan.samples} == {"C1": {"FirstName", "Title"}, "C2": {"Email"}}
    assert outcomes(ready.run(), "contacts") == {"updated": 2, "unchanged": 1}
    assert not ready.plan().has_changes
