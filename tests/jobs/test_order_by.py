"""Rows are sent in the order of columns of the model."""

from __future__ import annotations

from tests.jobs.conftest import Team, outcomes, planned


def made(team: Team) -> list[str]:
    """Keys in the order in which the org made the records."""
    rows = sorted(team.org.records("Contact"), key=lambda row: row["Id"])
    return [row["Customer_Id__c"] for row in rows]


def test_rows_go_by_columns_of_the_model_before_anything_else(ready: Team) -> None:
    ready.sync(
        "contacts",
        fields={"Lifetime_Value__c": None, "Birthdate": None},
        push={"order_by": ["worth", "born"], "api": "collections"},
    )
    rows = [
        ("C1", "A1", 3, None),
        ("C2", "A2", None, None),
        ("C3", "A1", 1, "2000-01-01"),
        ("C4", "A2", 2, None),
    ]
    rows += [("C5", "A2", 1, "1999-01-01"), ("C6", "A1", 2, None)]
    ready.contacts([{"id": i, "last": "Ito", "account": a, "worth": w, "born": b} for i, a, w, b in rows])
    assert outcomes(ready.run(), "contacts") == {"created": 6}
    # Ties go by parent and key, nulls last.
    assert made(ready) == ["C5", "C3", "C6", "C4", "C1", "C2"]

    ready.sql("UPDATE raw.contacts SET worth = -coalesce(worth, 9)")
    assert not ready.plan().has_changes, "the order is no difference"
    ready.sql("UPDATE raw.contacts SET title = 'CEO' WHERE id <> 'C6'")
    ids = {row["Id"]: row["Customer_Id__c"] for row in ready.org.records("Contact")}
    before = len(ready.org.writes())
    assert outcomes(ready.run(), "contacts") == {"updated": 5, "unchanged": 1}
    assert [ids[write["id"]] for write in ready.org.writes()[before:]] == ["C2", "C1", "C4", "C5", "C3"]

    back = planned(ready.plan("contacts", undo="latest"), "contacts")
    assert back.changes.updates == 5, "the way back has no rows of the model"

    # Rows that are to be deleted have columns, too.
    mapped = (
        "LastName",
        "FirstName",
        "Email",
        "Title",
        "AccountId",
        "Last_Login__c",
        "Is_Champion__c",
        "Interests__c",
    )
    ready.sync("contacts", mode="delete", match="unknown", fields=dict.fromkeys(mapped))
    before = len(ready.org.writes())
    allow = ["contacts.max_delete_share"]
    assert outcomes(ready.run("contacts", allow=allow), "contacts") == {"deleted": 6}
    assert [ids[w["id"]] for w in ready.org.writes()[before:]] == ["C2", "C1", "C4", "C6", "C5", "C3"]
