"""A script of more than sixty calls by simple-salesforce's own client, as its authors wrote it.

Nothing of the client is patched. It is handed a requests session, which is its own way to be told of a proxy or a certificate:
the session trusts the local org's certificate, and leads ``*.salesforce.com`` to it as an entry in DNS would.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from simple_salesforce import Salesforce, format_external_id, format_soql
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceGeneralError,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)

from sfsync.local_org.control import JWT_KEY
from tests.support.led_to import LedTo

VERSION = "67.0"


@pytest.fixture
def session(org: Any) -> Iterator[requests.Session]:
    with requests.Session() as found:
        found.trust_env = False
        found.verify = str(org.ca_file)
        found.mount("https://", LedTo(org.url))
        yield found


@pytest.fixture
def client(org: Any, session: requests.Session) -> Salesforce:
    return Salesforce(session_id=org.sign_in(), instance_url=org.url, session=session, version=VERSION)


def ways(org: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Each way of the class to sign in: what it calls it, and what it is given."""
    app = {"consumer_key": org.client_id, "consumer_secret": org.client_secret}
    person = {"username": org.username, "password": org.password}
    key = Path(org.folder) / JWT_KEY
    signed = {"username": org.username, "consumer_key": org.client_id}
    return {
        "SOAP": ("password", person | {"security_token": org.security_token, "version": "59.0"}),
        "SOAP, trusted network": ("ipfilter", person | {"organizationId": org.org_id, "version": "59.0"}),
        "password": ("password", person | app | {"password": org.password + org.security_token}),
        "JWT, key in a file": ("jwt-bearer", signed | {"privatekey_file": str(key)}),
        "JWT, key as text": ("jwt-bearer", signed | {"privatekey": key.read_text()}),
        "client credentials": ("client-credentials", app | {"domain": "acme.my"}),
        "token and URL": ("direct", {"session_id": org.sign_in(), "instance_url": org.url}),
        "token and host": ("direct", {"session_id": org.sign_in(), "instance": urlsplit(org.url).netloc}),
    }


def test_every_way_to_sign_in(org, session):
    for name, (kind, given) in ways(org).items():
        client = Salesforce(session=session, **({"version": VERSION} | given))
        assert (name, client.auth_type) == (name, kind)
        assert client.oauth2("userinfo")["organization_id"] == org.org_id  # calls 1 to 8
        assert client.limits()["DailyApiRequests"]["Max"] == 15_000  # calls 9 to 16
        assert client.api_usage["api-usage"].total == 15_000


def test_the_script(org, client, tmp_path):
    describes(client)
    rows(client)
    queries(client)
    other_resources(client, org)
    bulk2(client, tmp_path)
    bulk1(client)
    assert len(org.requests()) > 90  # a line of bulk2 is several


def describes(client: Salesforce) -> None:
    names = {o["name"] for o in client.describe()["sobjects"]}  # 1
    assert {"Account", "Contact", "Opportunity"} <= names
    fields = {f["name"]: f for f in client.Contact.describe()["fields"]}  # 2
    assert fields["Customer_Id__c"]["externalId"] is True
    assert client.Contact.metadata()["objectDescribe"]["keyPrefix"] == "003"  # 3
    assert client.is_sandbox() is False  # 4


def rows(client: Salesforce) -> None:
    made = client.Account.create({"Name": "Acme", "Account_Id__c": "A-1"})  # 5
    assert (made["success"], made["errors"], len(made["id"])) == (True, [], 18)
    account = client.Account.get(made["id"])  # 6
    assert (account["Name"], account["attributes"]["type"]) == ("Acme", "Account")
    assert client.Account.get_by_custom_id("Account_Id__c", "A-1")["Id"] == made["id"]  # 7
    assert client.Account.update(made["id"], {"Name": "Acme Ltd"}) == 204  # 8
    assert client.Account.get(made["id"])["Name"] == "Acme Ltd"  # 9
    assert client.Account.upsert("Account_Id__c/A-2", {"Name": "Best"}) == 201  # 10
    assert client.Account.upsert("Account_Id__c/A-2", {"Name": "Best Inc"}) == 200  # 11
    answer = client.Account.upsert("Account_Id__c/A-2", {"Name": "Best"}, raw_response=True)  # 12
    assert answer.json()["created"] is False
    odd = format_external_id("Account_Id__c", "a/b & c")
    assert client.Account.upsert(odd, {"Name": "Odd"}) == 201  # 13
    assert client.Account.get(odd)["Account_Id__c"] == "a/b & c"  # 14
    child = client.Contact.create(  # 15
        {"LastName": "Ito", "Customer_Id__c": "C-1", "Account": {"Account_Id__c": "A-1"}}
    )
    assert client.Contact.get(child["id"])["AccountId"] == made["id"]  # 16
    quiet = client.Contact.update(
        child["id"], {"Email": "a@example.com"}, headers={"Sforce-Auto-Assign": "FALSE"}
    )
    assert quiet == 204  # 17
    assert client.Contact.update(child["id"], {"Email": None}) == 204  # 18
    assert client.Contact.get(child["id"])["Email"] is None  # 19
    assert client.Contact.delete(child["id"]) == 204  # 20
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=3)
    start = end - datetime.timedelta(minutes=10)
    assert made["id"] in client.Account.updated(start, end)["ids"]  # 21
    gone = client.Contact.deleted(start, end)["deletedRecords"]  # 22
    assert [g["id"] for g in gone] == [child["id"]]


def queries(client: Salesforce) -> None:
    records = [{"attributes": {"type": "Lead"}, "LastName": f"L{i:03}", "Company": "x"} for i in range(200)]
    for _ in range(3):
        body = {"allOrNone": True, "records": records}
        results = client.restful("composite/sobjects", method="POST", json=body)  # 23 to 25
        assert all(r["success"] for r in results)
    assert client.query("SELECT count() FROM Lead")["totalSize"] == 600  # 26
    small = {"headers": {"Sforce-Query-Options": "batchSize=200"}}
    page = client.query("SELECT Id, LastName FROM Lead ORDER BY LastName", **small)  # 27
    assert (page["totalSize"], page["done"], len(page["records"])) == (600, False, 200)
    page = client.query_more(page["nextRecordsUrl"], identifier_is_url=True)  # 28
    assert (page["done"], len(page["records"])) == (False, 200)
    page = client.query_more(page["nextRecordsUrl"].rpartition("/")[2])  # 29
    assert (page["done"], len(page["records"])) == (True, 200)
    assert len(client.query_all("SELECT Id FROM Lead", **small)["records"]) == 600  # 30 to 32
    assert sum(1 for _ in client.query_all_iter("SELECT Id FROM Lead LIMIT 250", **small)) == 250  # 33, 34
    found = client.query(format_soql("SELECT Name FROM Account WHERE Account_Id__c = {}", "a/b & c"))  # 35
    assert [r["Name"] for r in found["records"]] == ["Odd"]
    bin_too = client.query("SELECT Id FROM Contact WHERE IsDeleted = true", include_deleted=True)  # 36
    assert bin_too["totalSize"] == 1
    grouped = client.query("SELECT Company, count(Id) n FROM Lead GROUP BY Company")["records"]  # 37
    assert (grouped[0]["Company"], grouped[0]["n"]) == ("x", 600)
    parent = client.query("SELECT Owner.Name FROM Account LIMIT 1")["records"][0]  # 38
    assert parent["Owner"]["Name"] == "Local Admin"
    plan = client.restful("query", params={"explain": "SELECT Id FROM Lead WHERE LastName = 'L001'"})  # 39
    assert plan["plans"][0]["sobjectCardinality"] == 600


def other_resources(client: Salesforce, org: Any) -> None:
    assert client.limits()["DailyApiRequests"]["Remaining"] < 15_000  # 40
    assert client.restful("limits/recordCount", params={"sObjects": "Lead"}) == {  # 41
        "sObjects": [{"count": 600, "name": "Lead"}]
    }
    assert client.oauth2("userinfo")["preferred_username"] == org.username  # 42
    found = client.toolingexecute("query/?q=SELECT+Id+FROM+ApexClass")  # 43
    assert found["totalSize"] == 0
    base = f"/services/data/v{VERSION}"
    steps = [
        {"method": "POST", "url": f"{base}/sobjects/Account", "referenceId": "a", "body": {"Name": "Made"}},
        {"method": "PATCH", "url": f"{base}/sobjects/Account/@{{a.id}}", "referenceId": "b", "body": {"Name": "Changed"}},
    ]  # fmt: skip
    answer = client.restful("composite", method="POST", json={"compositeRequest": steps})  # 44
    assert [r["httpStatusCode"] for r in answer["compositeResponse"]] == [201, 204]
    graphs = {"graphs": [{"graphId": "g", "compositeRequest": steps}]}
    assert client.restful("composite/graph", method="POST", json=graphs)["graphs"][0]["isSuccessful"]  # 45
    asked = {"batchRequests": [{"method": "GET", "url": f"v{VERSION}/limits"}]}
    assert client.restful("composite/batch", method="POST", json=asked)["hasErrors"] is False  # 46
    child = {"attributes": {"type": "Contact", "referenceId": "c"}, "LastName": "Ode"}
    tree = {
        "attributes": {"type": "Account", "referenceId": "a"},
        "Name": "Tree",
        "Contacts": {"records": [child]},
    }
    made = client.restful("composite/tree/Account", method="POST", json={"records": [tree]})  # 47
    assert [r["referenceId"] for r in made["results"]] == ["a", "c"]
    ids = [r["id"] for r in made["results"]][:1]
    read = client.restful(
        "composite/sobjects/Account", method="POST", json={"ids": ids, "fields": ["Name"]}
    )  # 48
    assert read[0]["Name"] == "Tree"
    gone = client.restful("composite/sobjects", method="DELETE", params={"ids": ids[0]})  # 49
    assert gone[0]["success"] is True


def bulk2(client: Salesforce, folder: Path) -> None:
    """One line here is several calls: create, upload, close, polls, results."""
    bulk = client.bulk2.Contact
    rows = [
        {"Customer_Id__c": f"B-{i}", "LastName": 'Ito "x", y' if i else "", "Email": "#N/A"} for i in range(4)
    ]
    [told] = bulk.insert(records=rows, wait=0)  # 50
    assert (told["numberRecordsProcessed"], told["numberRecordsFailed"], told["numberRecordsTotal"]) == (
        4,
        1,
        4,
    )
    good = list(csv.DictReader(io.StringIO(bulk.get_successful_records(told["job_id"]))))  # 51
    assert {r["LastName"] for r in good} == {'Ito "x", y'}
    bad = list(csv.DictReader(io.StringIO(bulk.get_failed_records(told["job_id"]))))  # 52
    assert bad[0]["sf__Error"].startswith("REQUIRED_FIELD_MISSING:")
    rest = bulk.get_unprocessed_records(told["job_id"])  # 53
    assert sorted(rest.strip().split(",")) == ["Customer_Id__c", "Email", "LastName"]  # no row, but a header
    [told] = bulk.update(records=[{"Id": r["sf__Id"], "LastName": "Ode"} for r in good], wait=0)  # 54
    assert told["numberRecordsFailed"] == 0
    [told] = bulk.upsert(  # 55
        records=[{"Customer_Id__c": f"B-{i}", "LastName": f"U{i}"} for i in range(6)],
        external_id_field="Customer_Id__c",
        wait=0,
    )
    created = [
        r["sf__Created"] for r in csv.DictReader(io.StringIO(bulk.get_successful_records(told["job_id"])))
    ]  # 56
    assert sorted(created) == ["false"] * 3 + ["true"] * 3
    text = "SELECT Id, Customer_Id__c, LastName FROM Contact WHERE Customer_Id__c LIKE 'B-%' ORDER BY Customer_Id__c"
    pages = list(bulk.query(text, max_records=4, wait=0))  # 57
    read = [row for page in pages for row in csv.DictReader(io.StringIO(page))]
    assert (len(pages), [r["LastName"] for r in read]) == (2, [f"U{i}" for i in range(6)])
    [file] = bulk.download(text, str(folder), wait=0)  # 58
    assert file["number_of_records"] == 6
    assert Path(file["file"]).read_text().count("\n") == 7
    [told] = bulk.delete(records=[{"Id": r["Id"]} for r in read], wait=0)  # 59
    assert (told["numberRecordsProcessed"], told["numberRecordsFailed"]) == (6, 0)
    [page] = bulk.query_all(text, wait=0)  # 60
    assert len(list(csv.DictReader(io.StringIO(page)))) == 6
    assert client.query("SELECT count() FROM Contact WHERE Customer_Id__c LIKE 'B-%'")["totalSize"] == 0  # 61


def bulk1(client: Salesforce) -> None:
    """The same by Bulk 1.0 in JSON; here, too, a line is several calls."""
    bulk = client.bulk.Contact
    rows = [
        {"Customer_Id__c": f"D-{i}", "LastName": "Ito" if i else None, "HasOptedOutOfEmail": True}
        for i in range(5)
    ]
    results = bulk.insert(rows, batch_size=2)  # 62: three batches
    assert [r["success"] for r in results] == [False, True, True, True, True]
    assert results[0]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    rows[0]["LastName"] = "Ode"
    results = bulk.upsert(rows, "Customer_Id__c", batch_size="auto", use_serial=True)  # 63
    assert [r["created"] for r in results] == [True, False, False, False, False]
    ids = [r["id"] for r in results]
    read = bulk.query(
        "SELECT Id, LastName FROM Contact WHERE Customer_Id__c LIKE 'D-%' ORDER BY Customer_Id__c"
    )  # 64
    assert [r["LastName"] for r in read] == ["Ode", "Ito", "Ito", "Ito", "Ito"]
    detailed = bulk.update([{"Id": ids[0], "LastName": "Roy"}], include_detailed_results=True)  # 65
    assert (detailed[0]["success"], detailed[0]["LastName"]) == (True, "Roy")
    told = client.bulk.submit_dml("Contact", "delete", [{"Id": i} for i in ids])  # 66
    assert all(r["success"] for r in told)
    gone = bulk.query_all("SELECT Id FROM Contact WHERE IsDeleted = true AND Customer_Id__c LIKE 'D-%'")  # 67
    assert len(gone) == 5
    with pytest.raises(SalesforceGeneralError):
        list(bulk.query("SELECT Nope FROM Contact"))  # 68


def test_errors_by_class(org, client, session):
    """Each class of the client for the status that it stands for."""
    org.post("/sobjects/Lead", json={"LastName": "x", "Company": "x"})
    with pytest.raises(SalesforceMalformedRequest) as caught:
        client.query("SELECT Nope FROM Contact")
    assert caught.value.content[0]["errorCode"] == "INVALID_FIELD"
    with pytest.raises(SalesforceMalformedRequest) as caught:
        client.Contact.create({"FirstName": "Kei"})
    assert caught.value.content[0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    with pytest.raises(SalesforceResourceNotFound):
        client.Contact.get("003000000000000AAA")
    with pytest.raises(SalesforceResourceNotFound):
        client.Nothing__c.describe()
    for _ in range(2):
        client.Contact.create({"LastName": "Ito", "Email": "twice@example.com"})
    with pytest.raises(SalesforceMoreThanOneRecord) as several:
        client.Contact.get_by_custom_id("Email", "twice@example.com")
    assert len(several.value.content) == 2
    with pytest.raises(SalesforceGeneralError) as general:
        client.restful("limits", method="DELETE")
    assert general.value.status == 405
    org.limits(max=10, used=10)
    with pytest.raises(SalesforceRefusedRequest) as refused:
        client.Contact.describe()
    assert refused.value.content[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"
    org.limits(max=15_000, used=0)
    org.faults([{"fault": "expired_token", "match": "GET /limits"}])
    with pytest.raises(SalesforceExpiredSession):
        client.restful("limits/")
    with pytest.raises(SalesforceAuthenticationFailed):
        Salesforce(session=session, username=org.username, password="x", security_token="x", version="59.0")


def test_a_session_that_expired_is_renewed(org, session):
    """Of a client that signed in itself: it signs in again and repeats the call."""
    _, given = ways(org)["password"]
    client = Salesforce(session=session, version=VERSION, **given)
    org.faults([{"fault": "expired_token", "match": "GET /sobjects"}])
    assert client.describe()["maxBatchSize"] == 200
