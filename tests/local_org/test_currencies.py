"""A local org of several currencies: the field of every record, its default, what it refuses, and CurrencyType."""

from __future__ import annotations

import json

import pytest

from sfsync.errors import CompileError, SpecError
from sfsync.local_org import control
from sfsync.local_org.schema import load_schema
from tests.conftest import OrgForTests
from tests.jobs.conftest import Team, outcomes

FIELDS = {
    "Name": {"type": "string", "length": 80, "nillable": False, "name_field": True},
    "Amount__c": {"type": "currency", "precision": 18, "scale": 2},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("currencies")
    schema = folder / "schema.json"
    body = {"currencies": ["EUR", "USD"], "objects": {"Bill__c": {"label": "Bill", "fields": FIELDS}}}
    schema.write_text(json.dumps(body), "utf-8")
    yield OrgForTests(control.start(folder / "org", schema=schema, idle_minutes=60), folder)
    control.stop(folder / "org")


@pytest.fixture
def org(running):
    running.begin()
    return running


def test_describe_has_the_field_with_its_values_and_default(org):
    fields = {f["name"]: f for f in org.get("/sobjects/Bill__c/describe").json()["fields"]}
    code = fields["CurrencyIsoCode"]
    assert (code["type"], code["restrictedPicklist"], code["nillable"], code["defaultedOnCreate"]) == (
        "picklist",
        True,
        False,
        True,
    )
    assert [(p["value"], p["defaultValue"]) for p in code["picklistValues"]] == [
        ("EUR", True),
        ("USD", False),
    ]


def test_a_sync_says_which_currency_its_amounts_are_in(org, tmp_path):
    team = Team(tmp_path / "team", org)
    for path in (team.folder / "syncs").iterdir():
        path.unlink()
    team.write("models/bills.sql", "select 'a' as name, 5 as amount")
    bills = (
        "version: 1\nsyncs:\n  - name: bills\n    model: bills\n    object: Bill__c\n    match: unknown\n"
        "    identity: {Name: name}\n    fields:\n      Amount__c: amount\n"
    )
    team.write("syncs/bills.yml", bills)
    team.init_state()
    with pytest.raises(CompileError, match="several currencies, and nothing says which Amount__c is in"):
        team.run()
    team.write("syncs/bills.yml", f"{bills}      CurrencyIsoCode: {{value: USD}}\n")
    assert outcomes(team.run(), "bills") == {"created": 1}
    assert [(r["Amount__c"], r["CurrencyIsoCode"]) for r in org.records("Bill__c")] == [("5", "USD")]
    assert not team.plan().has_changes


def test_a_record_without_a_currency_gets_the_corporate_one(org):
    org.post("/sobjects/Bill__c", json={"Name": "a", "Amount__c": 1})
    usd = org.post("/sobjects/Bill__c", json={"Name": "b", "CurrencyIsoCode": "USD"}).json()["id"]
    assert {r["Name"]: r["CurrencyIsoCode"] for r in org.records("Bill__c")} == {"a": "EUR", "b": "USD"}
    for value, code in (("GBP", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"), (None, "REQUIRED_FIELD_MISSING")):
        answer = org.patch(f"/sobjects/Bill__c/{usd}", json={"CurrencyIsoCode": value})
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_the_currencies_are_records(org):
    query = "SELECT IsoCode, IsCorporate, IsActive FROM CurrencyType ORDER BY IsoCode"
    found = org.get("/query", params={"q": query}).json()["records"]
    assert [(r["IsoCode"], r["IsCorporate"], r["IsActive"]) for r in found] == [
        ("EUR", True, True),
        ("USD", False, True),
    ]


def loaded(tmp_path, body):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(body))
    return load_schema(path)


def test_an_org_of_one_currency_has_neither(tmp_path):
    contract = loaded(tmp_path, {"objects": {"Bill__c": {"fields": FIELDS}}})
    assert contract.object("CurrencyType") is None
    assert contract.object("Bill__c").field("CurrencyIsoCode") is None


def test_a_contract_that_was_pulled_names_them_by_its_fields(tmp_path):
    code = {"type": "picklist", "length": 3, "restricted_picklist": True, "picklist": ["CHF", "EUR"]}
    contract = loaded(tmp_path, {"objects": {"Bill__c": {"fields": {**FIELDS, "CurrencyIsoCode": code}}}})
    assert contract.object("CurrencyType").field("IsoCode").picklist == ("CHF", "EUR")


@pytest.mark.parametrize("named", ["EUR", ["eur"], ["EUR", "EUR"], [1]], ids=str)
def test_wrong_currencies(tmp_path, named):
    with pytest.raises(SpecError, match="list of ISO codes"):
        loaded(tmp_path, {"currencies": named, "objects": {"Bill__c": {"fields": FIELDS}}})
