"""Merges and converted leads of a local org: by its own controls, by SOAP, and what they do to later writes."""

from __future__ import annotations

import pytest

from sfsync.errors import OrgError
from tests.local_org.test_org_rules import ingest
from tests.local_org.test_soap import PARTNER, create, send


def merge(org, name, master, *others):
    return org.local("POST", "/_local/merge", {"object": name, "master": master, "others": list(others)})


def convert(org, lead, **more):
    return org.local("POST", "/_local/convert", {"lead": lead, **more})


def soap(org, inside):
    token = org.session.headers["Authorization"].removeprefix("Bearer ")
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com">'
        f"<e:Header><SessionHeader><sessionId>{token}</sessionId></SessionHeader></e:Header>"
        f"<e:Body>{inside}</e:Body></e:Envelope>"
    )
    status, root = send(org, body)
    assert status == 200
    return [
        {child.tag.rpartition("}")[2]: child.text or child.findtext(f"{PARTNER}statusCode") for child in one}
        for one in root.iter(f"{PARTNER}result")
    ]


def all_of(org, fields, name, where=""):
    found = org.get("/queryAll", params={"q": f"SELECT {fields} FROM {name} {where}"}).json()["records"]
    return [[r[f.strip()] for f in fields.split(",")] for r in found]


def test_a_merge_moves_children_and_leaves_losers_in_the_bin(org):
    master, loser, other = (create(org, "Account", Name=n, Account_Id__c=n) for n in "abc")
    child = create(org, "Contact", LastName="Ito", AccountId=loser)
    below = create(org, "Account", Name="below", ParentId=other)
    org.patch(f"/sobjects/Account/{master}", json={"ParentId": loser})
    done = merge(org, "Account", master, loser, other)
    assert (done["master"], done["losers"]) == (master, [loser, other])
    assert set(done["related"]) == {child, below, master}
    assert org.by("Contact", "Id")[child]["AccountId"] == master
    live = org.by("Account", "Id")
    assert set(live) == {master, below}
    assert live[below]["ParentId"] == master
    assert "ParentId" not in live[master]
    rows = all_of(
        org, "Id, IsDeleted, MasterRecordId, Account_Id__c", "Account", "WHERE IsDeleted = true ORDER BY Name"
    )
    assert rows == [[loser, True, master, "b"], [other, True, master, "c"]]
    named = org.get("/queryAll", params={"q": f"SELECT MasterRecord.Name FROM Account WHERE Id = '{loser}'"})
    assert named.json()["records"][0]["MasterRecord"]["Name"] == "a"


def test_what_a_writer_meets_after_a_merge(org):
    master, loser = (create(org, "Contact", LastName=n, Customer_Id__c=n) for n in "ab")
    merge(org, "Contact", master, loser)
    gone = org.patch(f"/sobjects/Contact/{loser}", json={"LastName": "x"})
    assert (gone.status_code, gone.json()[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")
    again = org.patch("/sobjects/Contact/Customer_Id__c/b", json={"LastName": "again"})
    assert again.status_code == 201
    assert again.json()["id"] != loser


def test_an_undeleted_loser_is_a_record_of_its_own_again(org):
    master, loser = (create(org, "Contact", LastName=n) for n in "ab")
    merge(org, "Contact", master, loser)
    soap(org, f"<undelete><ids>{loser}</ids></undelete>")
    assert all_of(org, "Id, MasterRecordId", "Contact", "ORDER BY LastName") == [
        [master, None],
        [loser, None],
    ]


def test_soap_merge(org):
    master, loser = (create(org, "Lead", LastName=n, Company=n) for n in "ab")
    asked = (
        f"<request><masterRecord><type>Lead</type><Id>{master}</Id></masterRecord>"
        f"<recordToMergeIds>{loser}</recordToMergeIds></request>"
    )
    [result] = soap(org, f"<merge>{asked}</merge>")
    assert (result["id"], result["mergedRecordIds"], result["success"]) == (master, loser, "true")
    [again] = soap(org, f"<merge>{asked}</merge>")
    assert (again["errors"], again["success"]) == ("ENTITY_IS_DELETED", "false")


@pytest.mark.parametrize(("body", "words"), [
    (("Opportunity", "M", "A"), "INVALID_TYPE"),
    (("Account", "M"), "LIMIT_EXCEEDED"),
    (("Account", "M", "A", "B", "C"), "LIMIT_EXCEEDED"),
    (("Account", "M", "M"), "DUPLICATE_VALUE"),
    (("Account", "M", "001000000000000AAA"), "INVALID_CROSS_REFERENCE_KEY"),
    (("Account", "M", "nonsense"), "MALFORMED_ID"),
    (("Contact", "M", "A"), "MALFORMED_ID"),
], ids=lambda v: v if isinstance(v, str) else "")  # fmt: skip
def test_merges_that_are_refused(org, body, words):
    ids = {n: create(org, "Account", Name=n) for n in "MABC"}
    with pytest.raises(OrgError, match=words):
        merge(org, *(ids.get(part, part) for part in body))
    assert len(org.records("Account")) == 4


def test_a_conversion_makes_account_contact_and_opportunity(org):
    lead = create(
        org, "Lead", FirstName="Ada", LastName="Ito", Company="Acme", Email="a@b.example", Lead_Id__c="L-1"
    )
    done = convert(org, lead)
    assert org.by("Account", "Id")[done["account"]]["Name"] == "Acme"
    contact = org.by("Contact", "Id")[done["contact"]]
    assert (contact["Name"], contact["Email"], contact["AccountId"]) == (
        "Ada Ito",
        "a@b.example",
        done["account"],
    )
    opportunity = org.by("Opportunity", "Id")[done["opportunity"]]
    assert (opportunity["Name"], opportunity["AccountId"]) == ("Acme-", done["account"])
    fields = "IsConverted, Status, ConvertedAccountId, ConvertedContactId, ConvertedOpportunityId, IsDeleted"
    became = [done["account"], done["contact"], done["opportunity"]]
    assert all_of(org, fields, "Lead") == [[True, "Closed - Converted", *became, False]]
    named = org.get("/query", params={"q": "SELECT ConvertedContact.Name, ConvertedDate FROM Lead"}).json()[
        "records"
    ][0]
    assert named["ConvertedContact"]["Name"] == "Ada Ito"
    assert named["ConvertedDate"] is not None


def test_a_converted_lead_is_read_only(org):
    lead = create(org, "Lead", LastName="Ito", Company="Acme", Lead_Id__c="L-1")
    create(org, "Lead", LastName="Ono", Company="Acme", Lead_Id__c="L-2")
    convert(org, lead, opportunity=False)
    assert org.records("Opportunity") == []
    refused = org.patch(f"/sobjects/Lead/{lead}", json={"LastName": "x"})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "CANNOT_UPDATE_CONVERTED_LEAD")
    data = "Lead_Id__c,LastName,Company\nL-1,x,y\nL-2,x,y\nL-3,x,y\n"
    found, failed = ingest(org, "upsert", data, "Lead", externalIdFieldName="Lead_Id__c")
    assert found["numberRecordsProcessed"] == 3
    assert failed == [("L-1", "CANNOT_UPDATE_CONVERTED_LEAD:cannot reference converted lead:--")]
    for again in (lambda: convert(org, lead), lambda: merge(org, "Lead", lead, lead)):
        with pytest.raises(OrgError, match="CANNOT_UPDATE_CONVERTED_LEAD"):
            again()


def test_soap_convert_into_records_that_are_there(org):
    account = create(org, "Account", Name="Acme")
    contact = create(org, "Contact", LastName="Ito", AccountId=account)
    leads = [create(org, "Lead", LastName=n, Company="Acme") for n in "ab"]
    asked = (
        f"<leadConverts><leadId>{leads[0]}</leadId><accountId>{account}</accountId><contactId>{contact}</contactId>"
        "<doNotCreateOpportunity>true</doNotCreateOpportunity><convertedStatus>Closed - Not Converted</convertedStatus>"
        f"</leadConverts><leadConverts><leadId>{leads[1]}</leadId><accountId>{contact}</accountId></leadConverts>"
    )
    good, bad = soap(org, f"<convertLead>{asked}</convertLead>")
    assert (good["accountId"], good["contactId"], good["success"]) == (account, contact, "true")
    assert "opportunityId" not in good
    assert bad["errors"] == "MALFORMED_ID"
    assert len(org.records("Account")) == len(org.records("Contact")) == 1
    saved = org.by("Lead", "Id")
    assert saved[leads[0]]["Status"] == "Closed - Not Converted"
    assert saved[leads[1]]["IsConverted"] == "false"


def test_a_conversion_that_a_rule_refuses_leaves_nothing(org):
    rule = {"object": "Contact", "name": "r", "error_if": "Email IS NULL", "message": "needs an e-mail"}
    org.local("PUT", "/_local/rules", {"validation": [rule]})
    lead = create(org, "Lead", LastName="Ito", Company="Acme")
    with pytest.raises(OrgError, match="needs an e-mail"):
        convert(org, lead)
    assert org.records("Account") == []
    assert org.records("Lead")[0]["IsConverted"] == "false"


@pytest.mark.parametrize(("path", "body"), [
    ("merge", {}), ("merge", {"object": "Account", "master": "x", "others": "y"}), ("merge", []),
    ("convert", {}), ("convert", {"lead": "x", "colour": 1}), ("convert", {"lead": "x", "account": 1}),
], ids=str)  # fmt: skip
def test_bodies_that_are_not_understood(org, path, body):
    with pytest.raises(OrgError):
        org.local("POST", f"/_local/{path}", body)
