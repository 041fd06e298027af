"""Record types of a local org over HTTPS: describe, SOQL, what a write may name, defaults, and narrowed picklists."""

from __future__ import annotations

import json

import pytest

from sfsync.contract import SObject, from_json, to_file, to_json
from sfsync.errors import SpecError
from sfsync.local_org import control
from sfsync.local_org.schema import load_schema
from tests.conftest import OrgForTests

PICKLIST = {"type": "picklist", "length": 255, "restricted_picklist": True, "picklist": ["A", "B", "C"]}
MULTI = {**PICKLIST, "type": "multipicklist"}
TYPES = {
    "Retail": {"label": "Retail shop", "default": True, "picklists": {"Tier__c": ["A", "B"]}},
    "Wholesale": {"picklists": {"Tier__c": ["C"], "Likes__c": ["A", "C"]}},
    "Closed": {"active": False},
    "Theirs": {"available": False},
}
FIELDS = {
    "Name": {"type": "string", "length": 80, "nillable": False, "name_field": True},
    "Key__c": {"type": "string", "length": 10, "external_id": True, "id_lookup": True, "unique": True},
    "Tier__c": PICKLIST,
    "Likes__c": MULTI,
}
SCHEMA = {
    "objects": {
        "Shop__c": {"label": "Shop", "record_type_infos": TYPES, "fields": FIELDS},
        "Depot__c": {"label": "Depot", "record_type_infos": {"Retail": {}}, "fields": FIELDS},
        "Plain__c": {"label": "Plain", "fields": FIELDS},
    }
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("typed")
    schema = folder / "schema.json"
    schema.write_text(json.dumps(SCHEMA), "utf-8")
    yield OrgForTests(control.start(folder / "org", schema=schema, idle_minutes=60), folder)
    control.stop(folder / "org")


@pytest.fixture
def org(running):
    running.begin()
    return running


@pytest.fixture
def ids(org):
    """Record type Ids by object and developer name, as SOQL gives them."""
    found = org.get(
        "/query", params={"q": "SELECT Id, DeveloperName, SobjectType, IsActive, Name FROM RecordType"}
    )
    return {(r["SobjectType"], r["DeveloperName"]): r["Id"] for r in found.json()["records"]}


def described(org, name):
    return {r["developerName"]: r for r in org.get(f"/sobjects/{name}/describe").json()["recordTypeInfos"]}


def error_of(answer):
    assert answer.status_code == 400, answer.text
    return answer.json()[0]["errorCode"], answer.json()[0]["message"]


def test_describe_and_soql_name_the_same(org, ids):
    infos = described(org, "Shop__c")
    assert {n: i["recordTypeId"] for n, i in infos.items() if not i["master"]} == {
        name: record for (sobject, name), record in ids.items() if sobject == "Shop__c"
    }
    assert infos["Retail"]["name"] == "Retail shop"
    flags = {n: (i["active"], i["available"], i["defaultRecordTypeMapping"]) for n, i in infos.items()}
    assert flags == {
        "Master": (True, True, False),
        "Retail": (True, True, True),
        "Wholesale": (True, True, False),
        "Closed": (False, True, False),
        "Theirs": (True, False, False),
    }
    assert [i["master"] for i in described(org, "Plain__c").values()] == [True]
    assert described(org, "Plain__c")["Master"]["defaultRecordTypeMapping"] is True
    assert len(set(ids.values())) == len(ids) == 5


def test_describe_gives_a_contract_with_all_of_it(org, ids):
    body = org.get("/sobjects/Shop__c/describe").json()
    found = SObject.from_describe(body)
    assert found.record_types == 4
    wholesale = found.record_type("wholesale")
    assert (wholesale.id, wholesale.available, wholesale.default) == (
        ids["Shop__c", "Wholesale"],
        True,
        False,
    )
    assert found.record_type("Theirs").available is False


def test_a_new_record_gets_the_default(org, ids):
    made = org.post("/sobjects/Shop__c", json={"Name": "a"}).json()["id"]
    org.post("/sobjects/Plain__c", json={"Name": "a"})
    assert org.by("Shop__c", "Id")[made]["RecordTypeId"] == ids["Shop__c", "Retail"]
    assert org.get("/sobjects/Plain__c/describe").json()["name"] == "Plain__c"
    assert "RecordTypeId" not in org.records("Plain__c")[0]
    query = "SELECT RecordType.DeveloperName, RecordType.Name FROM Shop__c"
    [record] = org.get("/query", params={"q": query}).json()["records"]
    assert record["RecordType"]["DeveloperName"] == "Retail"


def test_a_record_type_by_id_and_by_developer_name(org, ids):
    by_id = org.post(
        "/sobjects/Shop__c", json={"Name": "a", "RecordTypeId": ids["Shop__c", "Wholesale"]}
    ).json()
    named = {"Name": "b", "RecordType": {"DeveloperName": "wholesale"}}
    by_name = org.post("/sobjects/Shop__c", json=named).json()
    saved = org.by("Shop__c", "Id")
    assert {saved[r["id"]]["RecordTypeId"] for r in (by_id, by_name)} == {ids["Shop__c", "Wholesale"]}
    depot = org.post("/sobjects/Depot__c", json={"Name": "c", "RecordType": {"DeveloperName": "Retail"}})
    assert depot.status_code == 201
    assert org.records("Depot__c")[0]["RecordTypeId"] == ids["Depot__c", "Retail"]


@pytest.mark.parametrize(
    "which", [("Shop__c", "Closed"), ("Shop__c", "Theirs"), ("Depot__c", "Retail")], ids=lambda w: w[1] + w[0]
)
def test_record_types_that_cannot_be_given(org, ids, which):
    code, message = error_of(org.post("/sobjects/Shop__c", json={"Name": "a", "RecordTypeId": ids[which]}))
    assert code == "INVALID_CROSS_REFERENCE_KEY"
    assert message.startswith("Record Type ID: this ID value isn't valid for the user: ")
    made = org.post("/sobjects/Shop__c", json={"Name": "a"}).json()["id"]
    assert error_of(org.patch(f"/sobjects/Shop__c/{made}", json={"RecordTypeId": ids[which]}))[0] == code


def test_a_developer_name_that_cannot_be_given(org):
    closed = {"Name": "a", "RecordType": {"DeveloperName": "Closed"}}
    assert error_of(org.post("/sobjects/Shop__c", json=closed))[0] == "INVALID_CROSS_REFERENCE_KEY"
    nobody = {"Name": "a", "RecordType": {"DeveloperName": "Nope"}}
    assert error_of(org.post("/sobjects/Shop__c", json=nobody))[0] == "INVALID_FIELD"


def test_picklists_are_narrowed_by_the_records_record_type(org, ids):
    wholesale = ids["Shop__c", "Wholesale"]
    bad = org.post("/sobjects/Shop__c", json={"Name": "a", "Tier__c": "C"})
    assert error_of(bad)[0] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    made = org.post("/sobjects/Shop__c", json={"Name": "a", "Tier__c": "A"}).json()["id"]
    path = f"/sobjects/Shop__c/{made}"
    assert error_of(org.patch(path, json={"Tier__c": "C"}))[0] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert org.patch(path, json={"Tier__c": "C", "RecordTypeId": wholesale}).status_code == 204
    assert error_of(org.patch(path, json={"Tier__c": "A"}))[0] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert error_of(org.patch(path, json={"Likes__c": "A;B"}))[0] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert org.patch(path, json={"Likes__c": "C;A", "Tier__c": None}).status_code == 204
    assert org.records("Shop__c")[0]["Likes__c"] == "A;C"


def test_bulk_takes_developer_names_row_by_row(org, ids):
    asked = {"object": "Shop__c", "operation": "upsert", "externalIdFieldName": "Key__c"}
    job = org.post("/jobs/ingest", json=asked).json()["id"]
    data = "Key__c,Name,Tier__c,RecordType.DeveloperName\n1,a,A,Retail\n2,b,A,Wholesale\n3,c,C,Wholesale\n4,d,C,Theirs\n5,e,C,\n"
    org.put(f"/jobs/ingest/{job}/batches", data=data, headers={"Content-Type": "text/csv"})
    org.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
    while org.get(f"/jobs/ingest/{job}").json()["state"] in ("UploadComplete", "InProgress"):
        pass
    assert set(org.by("Shop__c", "Key__c")) == {"1", "3"}
    failed = org.get(f"/jobs/ingest/{job}/failedResults").text
    assert failed.count("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST") == 2
    assert failed.count("INVALID_CROSS_REFERENCE_KEY") == 1


def test_a_permission_set_opens_record_types(org, ids):
    def assign(*types):
        parts = "".join(
            f"<recordTypeVisibilities><recordType>{t}</recordType><visible>true</visible></recordTypeVisibilities>"
            for t in types
        )
        text = (
            '<PermissionSet xmlns="http://soap.sforce.com/2006/04/metadata"><label>x</label><objectPermissions>'
            "<object>Shop__c</object><allowRead>true</allowRead><allowEdit>true</allowEdit>"
            f"<allowCreate>true</allowCreate></objectPermissions>{parts}</PermissionSet>"
        )
        headers = {"Authorization": f"Bearer {org.client_secret}"}
        return org.session.put(f"{org.url}/_local/permission_set", data=text, headers=headers)

    def available():
        return {n for n, i in described(org, "Shop__c").items() if i["available"]}

    assert assign().ok
    assert available() == {"Master", "Retail", "Wholesale", "Closed"}
    assert assign("Shop__c.Wholesale").ok
    assert available() == {"Master", "Wholesale"}
    for name, status in (("Retail", 400), ("Wholesale", 201)):
        body = {"Name": "a", "RecordTypeId": ids["Shop__c", name]}
        assert org.post("/sobjects/Shop__c", json=body).status_code == status
    made = org.post("/sobjects/Shop__c", json={"Name": "without"}).json()["id"]
    assert "RecordTypeId" not in org.by("Shop__c", "Id")[made]
    assert "no RecordType named Shop__c.Nope found" in assign("Shop__c.Nope").text
    headers = {"Authorization": f"Bearer {org.client_secret}"}
    org.session.put(f"{org.url}/_local/permission_set", data="", headers=headers).raise_for_status()


def test_the_contract_keeps_record_types_and_reads_older_files():
    contract = from_json(json.dumps(SCHEMA))
    assert from_json(to_json(contract)) == from_json(to_file(contract))
    assert from_json(to_file(contract)).object("Shop__c").record_type_infos == tuple(
        sorted(contract.object("Shop__c").record_type_infos, key=lambda t: t.developer_name)
    )
    older = from_json('{"objects": {"A__c": {"record_types": 2, "fields": {}}}}')
    assert (older.object("A__c").record_types, older.object("A__c").record_type_infos) == (2, ())
    assert "record_type_infos" not in to_file(older)


WRONG = [
    ({"Retail": []}, "record type Retail is no JSON object"),
    ({"Retail": {"colour": 1}}, "unknown property 'colour'"),
    ({"Retail": {"active": "yes"}}, "'active' must be true or false"),
    ({"Retail": {"picklists": {"Tier__c": "A"}}}, "'picklists' must be an object of lists of texts"),
    ({"Retail": {"picklists": {"Tier__c": ["Z"]}}}, "narrows Tier__c to 'Z'"),
    ({"Retail": {"default": True}, "Other": {"default": True}}, "more than one default record type"),
    (["Retail"], "'record_type_infos' must be a JSON object"),
]


@pytest.mark.parametrize(("types", "words"), WRONG, ids=[w[1] for w in WRONG])
def test_wrong_record_types_of_a_schema(tmp_path, types, words):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"objects": {"Shop__c": {"record_type_infos": types, "fields": FIELDS}}}))
    with pytest.raises(SpecError, match=words):
        load_schema(path)
