"""Constants of a sync, from its file to the records of a real org and back into the plan."""

from __future__ import annotations

import json
from datetime import date

from sfsync.jobs.compile import compile_command
from sfsync.jobs.explain import explain_command
from sfsync.records import Operation
from tests.jobs.conftest import Team, of, outcomes, planned


def values(team: Team, field: str) -> dict[str, str | None]:
    return {key: row.get(field) for key, row in team.org.by("Contact", "Customer_Id__c").items()}


def test_constants_are_sent_compared_and_changed_like_values_of_the_model(ready: Team) -> None:
    ready.sync(
        "contacts",
        fields={
            "Department": {"value": "50%; O'Neil's"},
            "Title": {"value": "New here", "write": "on_create"},
            "Is_Champion__c": {"value": True},
            "Lifetime_Value__c": {"value": 12.5},
            "Birthdate": {"value": date(1980, 2, 29)},
            "FirstName": {"value": None},
            "Phone": {"value": "+49 30 1", "pii": True},
        },
    )
    assert outcomes(ready.run(), "contacts") == {"created": 3}
    wanted = {
        "Department": "50%; O'Neil's",
        "Title": "New here",
        "Is_Champion__c": "true",
        "Lifetime_Value__c": "12.5",
        "Birthdate": "1980-02-29",
        "FirstName": None,
        "Phone": "+49 30 1",
    }
    for field, text in wanted.items():
        assert values(ready, field) == dict.fromkeys(("C1", "C2", "C3"), text), field
    again = ready.run()
    assert (outcomes(again, "contacts"), of(again, "contacts").calls, again.calls) == ({"unchanged": 3}, 0, 0)

    # Another constant in the file is a difference of every record; one for new records is of none.
    ready.sync(
        "contacts",
        fields={"Department": {"value": "Sales"}, "Title": {"value": "Newer", "write": "on_create"}},
    )
    ready.sql("INSERT INTO raw.contacts (id, last) VALUES ('C4', 'Sato')")
    plan = planned(ready.plan(), "contacts")
    assert (plan.changes.upserts, plan.changes.updates) == (1, 3)
    shown = [sample.changes for sample in plan.samples if sample.operation is Operation.UPDATE]
    assert shown == [{"Department": ("50%; O'Neil's", "Sales")}] * 3
    assert outcomes(ready.run(), "contacts") == {"created": 1, "updated": 3}
    assert values(ready, "Department") == dict.fromkeys(("C1", "C2", "C3", "C4"), "Sales")
    assert values(ready, "Title") == {"C1": "New here", "C2": "New here", "C3": "New here", "C4": "Newer"}
    assert values(ready, "Phone")["C4"] == "+49 30 1", "the plan's compile was kept, with the value as it is"

    told = {field.field: field for field in explain_command(ready.options(), "contacts", "C1").fields}
    assert (told["Department"].acknowledged, told["Department"].model) == ("Sales", "Sales")
    compile_command(ready.options())
    manifest = json.loads((ready.folder / "target/manifest.json").read_text("utf-8"))
    fields = {f["field"]: f for f in manifest["syncs"]["sync.team.contacts"]["fields"]}
    assert (fields["Department"]["column"], fields["Department"]["value"]) == (None, "Sales")
    assert fields["Phone"]["value"] == "***"
    assert fields["LastName"]["column"] == "last"
    assert "value" not in fields["LastName"]
