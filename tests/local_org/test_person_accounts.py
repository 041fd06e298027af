"""Person accounts of a local org over HTTPS: the contact behind each, names, and business accounts beside them."""

from __future__ import annotations

import json

import pytest

from sfsync.errors import SpecError
from sfsync.local_org import control
from sfsync.local_org.schema import load_schema
from tests.conftest import OrgForTests
from tests.local_org.test_org_rules import ingest

TEXT = {"type": "string", "length": 80}
REQUIRED = {**TEXT, "nillable": False}
KEY = {**TEXT, "external_id": True, "id_lookup": True, "unique": True}
ACCOUNT = {"Name": {**REQUIRED, "name_field": True}, "Key__c": KEY}
CONTACT = {
    "FirstName": TEXT,
    "LastName": REQUIRED,
    "Name": {**TEXT, "createable": False, "updateable": False, "name_field": True},
    "Email": {"type": "email", "length": 80},
    "Birthdate": {"type": "date"},
    "DoNotCall": {"type": "boolean", "nillable": False, "defaulted_on_create": True},
    "AccountId": {"type": "reference", "length": 18, "reference_to": ["Account"], "relationship_name": "Account",
                  "cascade_delete": True},
}  # fmt: skip
SCHEMA = {
    "person_accounts": True,
    "objects": {"Account": {"fields": ACCOUNT}, "Contact": {"fields": CONTACT}},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    schema = folder / "schema.json"
    schema.write_text(json.dumps(SCHEMA), "utf-8")
    yield OrgForTests(control.start(folder / "org", schema=schema, idle_minutes=60), folder)
    control.stop(folder / "org")


@pytest.fixture
def org(running):
    running.begin()
    return running


def query(org, text):
    return org.get("/query", params={"q": text}).json()["records"]


def test_a_person_has_a_contact_of_its_own(org):
    person = {
        "FirstName": "Ada",
        "LastName": "Ito",
        "PersonEmail": "a@b.example",
        "PersonBirthdate": "1990-02-03",
    }
    made = org.post("/sobjects/Account", json=person)
    assert made.status_code == 201
    [account] = query(
        org, "SELECT Id, Name, IsPersonAccount, PersonContactId, PersonContact.Email FROM Account"
    )
    assert (account["Name"], account["IsPersonAccount"]) == ("Ada Ito", True)
    assert account["PersonContact"]["Email"] == "a@b.example"
    [contact] = org.records("Contact")
    assert (contact["Id"], contact["AccountId"]) == (account["PersonContactId"], account["Id"])
    assert (contact["Name"], contact["Birthdate"], contact["IsPersonAccount"]) == (
        "Ada Ito",
        "1990-02-03",
        "true",
    )
    org.patch(f"/sobjects/Account/{account['Id']}", json={"LastName": "Ono", "PersonEmail": None})
    [contact] = org.records("Contact")
    assert (contact["Name"], contact.get("Email")) == ("Ada Ono", None)
    assert org.records("Account")[0]["Name"] == "Ada Ono"


def test_a_business_account_has_none(org):
    assert org.post("/sobjects/Account", json={"Name": "Acme"}).status_code == 201
    [account] = query(org, "SELECT Name, IsPersonAccount, PersonContactId FROM Account")
    assert (account["Name"], account["IsPersonAccount"], account["PersonContactId"]) == ("Acme", False, None)
    assert org.records("Contact") == []
    refused = org.post("/sobjects/Account", json={"FirstName": "Ada"})
    assert refused.json()[0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    closed = org.post("/sobjects/Account", json={"Name": "x", "IsPersonAccount": True})
    assert closed.json()[0]["errorCode"] == "INVALID_FIELD_FOR_INSERT_UPDATE"


def test_bulk_takes_both_kinds_and_makes_no_second_contact(org):
    key = {"externalIdFieldName": "Key__c"}
    data = "Key__c,Name,FirstName,LastName,PersonEmail\n1,Acme,,,\n2,,Ada,Ito,a@b.example\n3,,,Ono,\n4,,,,\n"
    for _ in range(2):
        found, failed = ingest(org, "upsert", data, "Account", **key)
        assert (found["numberRecordsFailed"], [f[0] for f in failed]) == (1, ["4"])
    names = {k: r["Name"] for k, r in org.by("Account", "Key__c").items()}
    assert names == {"1": "Acme", "2": "Ada Ito", "3": "Ono"}
    assert sorted(r["Name"] for r in org.records("Contact")) == ["Ada Ito", "Ono"]
    links = {r["PersonContactId"] for r in org.records("Account") if "PersonContactId" in r}
    assert links == {r["Id"] for r in org.records("Contact")}


def test_a_deleted_person_takes_its_contact_along(org):
    made = org.post("/sobjects/Account", json={"LastName": "Ito"}).json()["id"]
    org.delete(f"/sobjects/Account/{made}")
    assert (org.records("Account"), org.records("Contact")) == ([], [])


def test_person_accounts_are_on_or_off(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({**SCHEMA, "person_accounts": "yes"}))
    with pytest.raises(SpecError, match="true or false"):
        load_schema(path)
    path.write_text(json.dumps({**SCHEMA, "person_accounts": False}))
    assert load_schema(path).object("Account").field("IsPersonAccount") is None
