"""The setup of a local org, over HTTPS: validation, duplicate and assignment rules, denials, hard deletes."""

from __future__ import annotations

import csv
import io
import time

import pytest

from sfsync.errors import OrgError
from sfsync.local_org import control

NO_EMAIL = {
    "object": "Contact",
    "name": "e-mail needed",
    "error_if": "Email IS NULL AND NOT DoNotCall",
    "message": "Give an e-mail, or say do not call",
    "field": "Email",
}


def setup(org, **rules):
    return org.local("PUT", "/_local/rules", rules)


def error_of(answer):
    assert answer.status_code == 400, answer.text
    return answer.json()[0]


def ingest(org, operation, data, sobject="Contact", **more):
    """One Bulk job: its answer, and its failed rows as (first data cell, error)."""
    made = org.post("/jobs/ingest", json={"object": sobject, "operation": operation, **more})
    assert made.status_code == 200, made.text
    path = f"/jobs/ingest/{made.json()['id']}"
    org.put(f"{path}/batches", data=data, headers={"Content-Type": "text/csv"})
    org.patch(path, json={"state": "UploadComplete"})
    end = time.monotonic() + 60
    while (found := org.get(path).json())["state"] in ("UploadComplete", "InProgress"):
        assert time.monotonic() < end
        time.sleep(0.01)
    failed = list(csv.reader(io.StringIO(org.get(f"{path}/failedResults").text)))[1:]
    return found, [(row[2], row[1]) for row in failed]


# ---------------------------------------------------------------- validation


def test_a_validation_rule_refuses_creates_and_updates(org):
    setup(org, validation=[NO_EMAIL])
    refused = error_of(org.post("/sobjects/Contact", json={"LastName": "Ito"}))
    assert refused == {
        "message": "Give an e-mail, or say do not call",
        "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "fields": ["Email"],
    }
    made = org.post("/sobjects/Contact", json={"LastName": "Ito", "Email": "a@b.example"}).json()["id"]
    path = f"/sobjects/Contact/{made}"
    assert error_of(org.patch(path, json={"Email": None}))["errorCode"] == "FIELD_CUSTOM_VALIDATION_EXCEPTION"
    assert org.patch(path, json={"Email": None, "DoNotCall": True}).status_code == 204
    assert org.patch(path, json={"LastName": "Ono"}).status_code == 204
    assert error_of(org.patch(path, json={"DoNotCall": False}))["fields"] == ["Email"]


def test_a_rule_may_look_at_what_was_there_before(org):
    rule = {
        **NO_EMAIL,
        "error_if": "prior.Email IS NOT NULL AND prior.Email IS DISTINCT FROM Email",
        "field": None,
    }
    setup(org, validation=[rule])
    made = org.post("/sobjects/Contact", json={"LastName": "Ito", "Email": "a@b.example"}).json()["id"]
    assert org.patch(f"/sobjects/Contact/{made}", json={"LastName": "Ono"}).status_code == 204
    refused = error_of(org.patch(f"/sobjects/Contact/{made}", json={"Email": "c@b.example"}))
    assert refused.get("fields", []) == []


def test_rules_see_types_and_made_fields(org):
    rules = [
        ("Opportunity", "Amount > 1000 AND StageName <> 'Closed Won'"),
        ("Opportunity", "CloseDate < DATE '2020-01-01'"),
        ("Opportunity", "IsWon AND Amount IS NULL"),
        ("Contact", "Name = 'Ada Ito'"),
    ]
    setup(org, validation=[
        {"object": o, "name": f"r{n}", "error_if": sql, "message": f"m{n}"} for n, (o, sql) in enumerate(rules)
    ])  # fmt: skip
    base = {"Name": "x", "CloseDate": "2026-01-01", "StageName": "Prospecting"}

    def message(more, sobject="Opportunity"):
        return error_of(org.post(f"/sobjects/{sobject}", json={**base, **more}))["message"]

    assert message({"Amount": 1000.5}) == "m0"
    assert message({"Amount": 10, "CloseDate": "2019-12-31"}) == "m1"
    assert message({"StageName": "Closed Won"}) == "m2"
    assert org.post("/sobjects/Opportunity", json={**base, "Amount": 1000}).status_code == 201
    person = {"FirstName": "Ada", "LastName": "Ito"}
    assert error_of(org.post("/sobjects/Contact", json=person))["message"] == "m3"


def test_bulk_refuses_row_by_row(org):
    setup(org, validation=[NO_EMAIL])
    found, failed = ingest(org, "insert", "LastName,Email\nIto,a@b.example\nOno,\nUeda,c@b.example\n")
    assert (found["numberRecordsProcessed"], found["numberRecordsFailed"]) == (3, 1)
    text = "FIELD_CUSTOM_VALIDATION_EXCEPTION:Give an e-mail, or say do not call:Email --"
    assert failed == [("Ono", text)]


def test_all_or_none_counts_a_broken_rule(org):
    setup(org, validation=[NO_EMAIL])
    records = [
        {"attributes": {"type": "Contact"}, "LastName": "Ito", "Email": "a@b.example"},
        {"attributes": {"type": "Contact"}, "LastName": "Ono"},
    ]
    answer = org.post("/composite/sobjects", json={"allOrNone": True, "records": records}).json()
    assert [a["errors"][0]["statusCode"] for a in answer] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    ]
    assert org.records("Contact") == []


# ---------------------------------------------------------------- duplicates

SAME = {"object": "Contact", "name": "same e-mail", "match": ["Email"], "action": "block"}


@pytest.mark.parametrize(("action", "allowed", "status"), [
    ("block", False, 400), ("block", True, 400), ("alert", False, 400), ("alert", True, 201),
])  # fmt: skip
def test_duplicate_rules_and_the_header_that_passes_alerts(org, action, allowed, status):
    org.post("/sobjects/Contact", json={"LastName": "Ito", "Email": "a@b.example"})
    setup(org, duplicates=[{**SAME, "action": action}])
    headers = {"Sforce-Duplicate-Rule-Header": "allowSave=true; runAsCurrentUser=true"} if allowed else {}
    answer = org.post("/sobjects/Contact", json={"LastName": "Ono", "Email": "A@B.example"}, headers=headers)
    assert answer.status_code == status
    if status == 400:
        assert error_of(answer) == {
            "message": "Use one of these records?",
            "errorCode": "DUPLICATES_DETECTED",
        }


def test_what_is_no_duplicate(org):
    first = org.post("/sobjects/Contact", json={"LastName": "Ito", "Email": "a@b.example"}).json()["id"]
    second = org.post("/sobjects/Contact", json={"LastName": "Ono"}).json()["id"]
    setup(org, duplicates=[{**SAME, "match": ["Email", "LastName"]}])
    assert org.patch(f"/sobjects/Contact/{first}", json={"Email": "a@b.example"}).status_code == 204
    assert (
        org.post("/sobjects/Contact", json={"LastName": "Other", "Email": "a@b.example"}).status_code == 201
    )
    assert org.post("/sobjects/Contact", json={"LastName": "Ono"}).status_code == 201
    become = {"LastName": "ito", "Email": "a@b.example"}
    assert (
        error_of(org.patch(f"/sobjects/Contact/{second}", json=become))["errorCode"] == "DUPLICATES_DETECTED"
    )
    org.delete(f"/sobjects/Contact/{first}")
    assert org.patch(f"/sobjects/Contact/{second}", json=become).status_code == 204


def test_bulk_runs_duplicate_rules(org):
    org.post("/sobjects/Contact", json={"LastName": "Ito", "Email": "a@b.example"})
    setup(org, duplicates=[{**SAME, "action": "alert"}])
    _, failed = ingest(org, "insert", "LastName,Email\nOno,a@b.example\nUeda,\n")
    assert failed == [("Ono", "DUPLICATES_DETECTED:Use one of these records?:--")]


# ---------------------------------------------------------------- assignment

LEADS = [
    {"object": "Lead", "name": "by country", "entries": [
        {"when": "Country = 'Japan'", "owner": "ada.marsh@local.sfsync.example"}, {"owner": "Support_Queue"}]},
    {"object": "Lead", "name": "other", "active": False, "entries": [{"owner": "ada.marsh@local.sfsync.example"}]},
]  # fmt: skip
LEAD = {"LastName": "Ito", "Company": "Acme"}


def owners(org):
    found = org.get("/query", params={"q": "SELECT Owner.Name FROM Lead ORDER BY Id"}).json()["records"]
    return [r["Owner"]["Name"] for r in found]


def test_the_active_assignment_rule_runs_unless_switched_off(org):
    setup(org, assignment=LEADS)
    org.post("/sobjects/Lead", json={**LEAD, "Country": "Japan"})
    org.post("/sobjects/Lead", json=LEAD)
    made = org.post("/sobjects/Lead", json=LEAD, headers={"Sforce-Auto-Assign": "FALSE"}).json()["id"]
    assert owners(org) == ["Ada Marsh", "Support Queue", "Local Admin"]
    off = {"Sforce-Auto-Assign": "false"}
    org.patch(f"/sobjects/Lead/{made}", json={"Country": "Japan"}, headers=off)
    assert owners(org)[2] == "Local Admin"
    org.patch(f"/sobjects/Lead/{made}", json={"Country": "Japan"})
    assert owners(org)[2] == "Ada Marsh"
    org.post("/sobjects/Contact", json={"LastName": "Ono"})
    assert org.records("Contact")[0]["OwnerId"] == org.by("User", "Alias")["admin"]["Id"]


def test_an_assignment_rule_by_its_id(org):
    rules = setup(org, assignment=LEADS)["assignment_ids"]
    answer = org.post("/sobjects/Lead", json=LEAD, headers={"Sforce-Auto-Assign": rules["other"]})
    assert answer.status_code == 201
    assert owners(org) == ["Ada Marsh"]
    wrong = org.post("/sobjects/Lead", json=LEAD, headers={"Sforce-Auto-Assign": "01Q000000000999"})
    assert error_of(wrong)["errorCode"] == "INVALID_CROSS_REFERENCE_KEY"


def test_bulk_assigns_only_by_the_rule_of_its_job(org):
    rules = setup(org, assignment=LEADS)["assignment_ids"]
    data = "LastName,Company,Country\nIto,Acme,Japan\nOno,Acme,\n"
    ingest(org, "insert", data, "Lead")
    assert owners(org) == ["Local Admin", "Local Admin"]
    ingest(org, "insert", data, "Lead", assignmentRuleId=rules["by country"])
    assert owners(org)[2:] == ["Ada Marsh", "Support Queue"]
    asked = {"object": "Lead", "operation": "insert", "assignmentRuleId": "01Q000000000999"}
    assert error_of(org.post("/jobs/ingest", json=asked))["errorCode"] == "INVALIDJOB"


# ---------------------------------------------------------------- denials


def test_records_that_are_closed_to_a_user(org):
    vip = org.post("/sobjects/Account", json={"Name": "VIP", "Rating": "Hot"}).json()["id"]
    plain = org.post("/sobjects/Account", json={"Name": "Plain"}).json()["id"]
    setup(org, denials=[{"object": "Account", "when": "Rating = 'Hot'"}])
    refused = error_of(org.patch(f"/sobjects/Account/{vip}", json={"Name": "x"}))
    assert refused["errorCode"] == "INSUFFICIENT_ACCESS_OR_READONLY"
    assert error_of(org.delete(f"/sobjects/Account/{vip}"))["errorCode"] == "INSUFFICIENT_ACCESS_OR_READONLY"
    child = org.post("/sobjects/Contact", json={"LastName": "Ito", "AccountId": vip})
    assert error_of(child) == {
        "errorCode": "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "message": f"insufficient access rights on cross-reference id: {vip[:15]}",
    }
    assert org.patch(f"/sobjects/Account/{plain}", json={"Name": "x"}).status_code == 204
    assert org.post("/sobjects/Contact", json={"LastName": "Ito", "AccountId": plain}).status_code == 201
    assert org.delete(f"/sobjects/Account/{plain}").status_code == 204


def test_denials_by_user_and_by_kind(org):
    made = org.post("/sobjects/Account", json={"Name": "VIP"}).json()["id"]
    setup(org, denials=[
        {"object": "Account", "user": "ada.marsh@local.sfsync.example"},
        {"object": "Account", "access": ["delete"]},
    ])  # fmt: skip
    assert org.patch(f"/sobjects/Account/{made}", json={"Name": "x"}).status_code == 204
    assert error_of(org.delete(f"/sobjects/Account/{made}"))["errorCode"] == "INSUFFICIENT_ACCESS_OR_READONLY"
    form = {"grant_type": "password", "client_id": org.client_id, "client_secret": org.client_secret,
            "username": "ada.marsh@local.sfsync.example", "password": org.password + org.security_token}  # fmt: skip
    token = org.session.post(f"{org.url}/services/oauth2/token", data=form).json()["access_token"]
    ada = {"Authorization": f"Bearer {token}"}
    refused = org.patch(f"/sobjects/Account/{made}", json={"Name": "y"}, headers=ada)
    assert error_of(refused)["errorCode"] == "INSUFFICIENT_ACCESS_OR_READONLY"
    child = org.post("/sobjects/Contact", json={"LastName": "Ito", "AccountId": made}, headers=ada)
    assert error_of(child)["errorCode"] == "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"


def test_bulk_is_denied_row_by_row(org):
    found, _ = ingest(org, "insert", "Account_Id__c,Name,Rating\n1,a,Hot\n2,b,\n", "Account")
    assert found["numberRecordsFailed"] == 0
    setup(org, denials=[{"object": "Account", "when": "Rating = 'Hot'"}])
    key = {"externalIdFieldName": "Account_Id__c"}
    _, failed = ingest(org, "upsert", "Account_Id__c,Name\n1,x\n2,x\n3,x\n", "Account", **key)
    assert failed == [("1", "INSUFFICIENT_ACCESS_OR_READONLY:insufficient access rights on object id:--")]
    _, failed = ingest(org, "insert", "LastName,Account.Account_Id__c\nIto,1\nOno,2\n")
    assert [(name, text.partition(":")[0]) for name, text in failed] == [
        ("Ito", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY")
    ]


# ---------------------------------------------------------------- hard deletes


def test_hard_delete_is_off_by_default(org):
    refused = error_of(org.post("/jobs/ingest", json={"object": "Contact", "operation": "hardDelete"}))
    assert refused["errorCode"] == "FEATURENOTENABLED"


def test_a_hard_delete_leaves_no_bin(org):
    account = org.post("/sobjects/Account", json={"Name": "a"}).json()["id"]
    contact = org.post("/sobjects/Contact", json={"LastName": "Ito", "AccountId": account}).json()["id"]
    setup(org, hard_delete=True)
    found, failed = ingest(org, "hardDelete", f"Id\n{contact}\n003000000000000AAA\n")
    assert (found["operation"], found["numberRecordsProcessed"], found["numberRecordsFailed"]) == (
        "hardDelete",
        2,
        1,
    )
    assert failed[0][1].startswith("INVALID_CROSS_REFERENCE_KEY:")
    assert org.records("Contact", deleted=True) == []
    soql = "SELECT count() FROM Contact"
    assert org.get("/queryAll", params={"q": soql}).json()["totalSize"] == 0
    last = org.writes()[-1]
    assert (last["operation"], last["id"]) == ("deleted", contact)
    assert org.get(f"/sobjects/Contact/{contact}").status_code == 404


def test_a_hard_delete_takes_along_what_cascades(org):
    account = org.post("/sobjects/Account", json={"Name": "a"}).json()["id"]
    fields = {
        f["childSObject"]: f for f in org.get("/sobjects/Account/describe").json()["childRelationships"]
    }
    for name in ("Contact", "Case"):
        body = {"LastName": "x"} if name == "Contact" else {"Subject": "x"}
        assert org.post(f"/sobjects/{name}", json={**body, "AccountId": account}).status_code == 201
    setup(org, hard_delete=True)
    _, failed = ingest(org, "hardDelete", f"Id\n{account}\n", "Account")
    if fields["Case"]["restrictedDelete"] or fields["Contact"]["restrictedDelete"]:
        assert failed[0][1].startswith("DELETE_FAILED:")
        return
    assert failed == []
    for name in ("Contact", "Case"):
        kept = org.records(name, deleted=True)
        assert kept == [] if fields[name]["cascadeDelete"] else "AccountId" not in kept[0]


def test_the_permission_of_a_permission_set_allows_hard_deletes(org):
    text = (
        '<PermissionSet xmlns="http://soap.sforce.com/2006/04/metadata"><label>x</label>'
        "<userPermissions><enabled>true</enabled><name>BulkApiHardDelete</name></userPermissions>"
        "<objectPermissions><object>Lead</object><allowRead>true</allowRead><allowEdit>true</allowEdit>"
        "<allowDelete>true</allowDelete></objectPermissions></PermissionSet>"
    )
    headers = {"Authorization": f"Bearer {org.client_secret}"}
    org.session.put(f"{org.url}/_local/permission_set", data=text, headers=headers).raise_for_status()
    asked = {"object": "Lead", "operation": "hardDelete"}
    assert org.post("/jobs/ingest", json=asked).status_code == 200
    without = text.replace("<enabled>true", "<enabled>false")
    org.session.put(f"{org.url}/_local/permission_set", data=without, headers=headers).raise_for_status()
    assert error_of(org.post("/jobs/ingest", json=asked))["errorCode"] == "FEATURENOTENABLED"


# ---------------------------------------------------------------- the setup itself

WRONG = [
    ({"colour": 1}, "unknown key 'colour'"),
    ({"hard_delete": 1}, "hard_delete is true or false"),
    ({"validation": {}}, "validation is a list"),
    ({"validation": [{**NO_EMAIL, "object": "Nope"}]}, "no object 'Nope'"),
    ({"validation": [{**NO_EMAIL, "field": "Nope"}]}, "Contact has no field 'Nope'"),
    ({"validation": [{**NO_EMAIL, "message": " "}]}, "message is a text"),
    ({"validation": [{**NO_EMAIL, "error_if": "Emial IS NULL"}]}, "no expression over Contact"),
    ({"validation": [{**NO_EMAIL, "error_if": "Email IS"}]}, "no expression over Contact"),
    ({"duplicates": [{**SAME, "match": []}]}, "match is a list"),
    ({"duplicates": [{**SAME, "match": ["Nope"]}]}, "Contact has no field 'Nope'"),
    ({"duplicates": [{**SAME, "action": "warn"}]}, "action is 'warn'"),
    ({"assignment": [{**LEADS[0], "object": "Contact"}]}, "Contact has no assignment rules"),
    ({"assignment": [{**LEADS[0], "entries": []}]}, "entries is a list"),
    ({"assignment": [{**LEADS[0], "entries": [{"owner": "x", "when": "Nope = 1"}]}]}, "no expression over Lead"),
    ({"denials": [{"object": "Account", "access": ["see"]}]}, "access is a list"),
    ({"denials": [{"object": "Account", "when": "1 +"}]}, "no expression over Account"),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "words"), WRONG, ids=[f"{n}-{w[1]}" for n, w in enumerate(WRONG)])
def test_wrong_rules_change_nothing(org, rules, words):
    setup(org, validation=[NO_EMAIL])
    with pytest.raises(OrgError, match=words):
        setup(org, **rules)
    assert org.post("/sobjects/Contact", json={"LastName": "Ito"}).status_code == 400


def test_rules_outlive_the_process_and_end_with_a_reset(tmp_path):
    folder = tmp_path / "org"
    org = control.start(folder)
    try:
        control.call(org, "PUT", "/_local/rules", {"validation": [NO_EMAIL]})
        file = folder / "Contact.csv"
        file.write_text("LastName\nIto\n")
        control.stop(folder)
        control.start(folder)
        assert control.load(folder, file)[0]["failed"] == 1
        control.reset(folder)
        assert control.load(folder, file)[0]["created"] == 1
        control.stop(folder)
        (folder / "rules.json").write_text('{"validation": 1}')
        with pytest.raises(OrgError, match="do not fit its objects"):
            control.start(folder)
    finally:
        control.stop(folder)


def test_rules_from_a_file_of_the_start(tmp_path):
    folder, rules = tmp_path / "org", tmp_path / "rules.yml"
    rules.write_text("hard_delete: true\nvalidation: []\n")
    try:
        org = control.start(folder, rules=rules)
        assert control.call(org, "PUT", "/_local/rules", {})["assignment_ids"] == {}
        assert not (folder / "rules.json").read_text().count("hard_delete")
        control.start(folder, rules=rules)
        assert "hard_delete" in (folder / "rules.json").read_text()
        rules.write_text("hard_delete: [")
        with pytest.raises(OrgError, match="neither JSON nor YAML"):
            control.start(folder, rules=rules)
        rules.write_text("")
        control.start(folder, rules=rules)
        assert "hard_delete" not in (folder / "rules.json").read_text()
        with pytest.raises(OrgError, match="cannot be read"):
            control.start(folder, rules=tmp_path / "none.yml")
    finally:
        control.stop(folder)
