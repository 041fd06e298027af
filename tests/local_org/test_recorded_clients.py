"""What the Salesforce CLI and cumulusci send, as it was recorded of them, and what they read of the answers.

Neither program is here: their requests are played with plain HTTP, in their order, with their headers and bodies. What is
asserted is what the program looks at; where it would stop without a key, the key is asserted.
"""

from __future__ import annotations

import csv
import io
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.consent import CALLBACK, came_back, exchange, press, question

CLI = {  # every request of the CLI: header names in lower case, a content type even on GET
    "content-type": "application/json",
    "sforce-call-options": "client=sfdx toolbelt:org",
    "user-agent": "sfdx toolbelt:",
    "accept-encoding": "gzip, deflate",
}
ORGANIZATION = "SELECT Name, InstanceName, IsSandbox, TrialExpirationDate, NamespacePrefix, OrganizationType FROM Organization"


class Cli:
    """One signed-in CLI."""

    def __init__(self, org: Any, token: str) -> None:
        self.org, self.headers = org, {**CLI, "authorization": f"Bearer {token}"}
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(org.ca_file)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return self.session.request(method, f"{self.org.url}{path}", data=data, headers=sent)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        return answer.json()


@pytest.fixture
def cli(org: Any) -> Iterator[Cli]:
    found = Cli(org, org.sign_in())
    yield found
    found.session.close()


def after_login(cli: Cli) -> None:
    """What follows every `sf org login`: who, which name, a dev hub or not, which versions, what kind of org."""
    who = cli.get("/services/oauth2/userinfo")
    assert who["organization_id"] == cli.org.org_id
    user = cli.get(f"/services/data/v51.0/sobjects/User/{who['user_id']}")
    assert user["Username"] == cli.org.username == who["preferred_username"]
    probe = cli.call("GET", "/services/data/v51.0/query?q=SELECT%20Id%20FROM%20ScratchOrgInfo%20limit%201")
    assert probe.status_code >= 400  # no dev hub
    versions = cli.get("/services/data")
    assert [float(v["version"]) for v in versions] == sorted(float(v["version"]) for v in versions)
    newest = versions[-1]["version"]
    body = cli.get(f"/services/data/v{newest}/query?q={requests.utils.quote(ORGANIZATION)}")
    [found] = body["records"]
    assert {
        "Name",
        "InstanceName",
        "IsSandbox",
        "TrialExpirationDate",
        "NamespacePrefix",
        "OrganizationType",
    } <= set(found)
    assert (found["IsSandbox"], found["NamespacePrefix"], found["TrialExpirationDate"]) == (False, None, None)


def test_sf_org_login_access_token(cli):
    after_login(cli)


def test_sf_org_login_web_and_the_refresh_after_it(org):
    answer = came_back(press(org, question(org)))
    found = exchange(org, answer["code"]).json()
    assert CALLBACK.startswith("http://localhost")
    assert {"access_token", "refresh_token", "instance_url", "id"} <= set(found)
    after_login(Cli(org, found["access_token"]))
    form = {
        "grant_type": "refresh_token",
        "client_id": org.client_id,
        "refresh_token": found["refresh_token"],
    }
    renewed = org.session.post(f"{org.url}/services/oauth2/token", data=form)
    after_login(Cli(org, renewed.json()["access_token"]))


def test_sf_org_display(org, cli):
    root = cli.get("/services/data/v67.0")
    assert {"sobjects", "query", "limits", "tooling", "composite"} <= set(root)
    org.faults([{"fault": "expired_token", "match": "/services/data/v67.0"}])
    dead = cli.call("GET", "/services/data/v67.0")
    assert (dead.status_code, dead.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")


def test_sf_org_list_limits(cli):
    limits = cli.get("/services/data/v67.0/limits")
    assert all({"Max", "Remaining"} <= set(entry) for entry in limits.values())


def test_sf_data_query(org, cli):
    for i in range(2):
        rows = [{"attributes": {"type": "Contact"}, "LastName": f"L{i}{n}"} for n in range(200)]
        org.post("/composite/sobjects", json={"records": rows})
    text = requests.utils.quote("SELECT Id, LastName, Account.Name FROM Contact ORDER BY LastName")
    answer = cli.call("GET", f"/services/data/v67.0/query?q={text}", sforce_query_options="batchSize=200")
    first = answer.json()
    assert (first["totalSize"], first["done"]) == (400, False)
    rest = cli.get(first["nextRecordsUrl"])
    assert (rest["done"], len(rest["records"]), "nextRecordsUrl" in rest) == (True, 200, False)
    columns = cli.get(f"/services/data/v67.0/query?q={text}&columns=true")["columnMetadata"]
    names = [  # as the CLI makes the head of its table
        f"{c['columnName']}.{j['columnName']}" if c["joinColumns"] else c["columnName"]
        for c in columns
        for j in (c["joinColumns"] or [c])
    ]
    assert names == ["Id", "LastName", "Account.Name"]


def test_sf_data_upsert_bulk_and_its_results(cli):
    asked = {"operation": "upsert", "object": "Contact", "externalIdFieldName": "Customer_Id__c", "lineEnding": "LF", "columnDelimiter": "COMMA"}  # fmt: skip
    base = "/services/data/v67.0/jobs/ingest"
    job = cli.call("POST", base, asked, content_type="application/json; charset=utf-8").json()
    assert (job["state"], job["id"][:3]) == ("Open", "750")

    def pieces() -> Iterator[bytes]:  # streamed: chunked, without a Content-Length
        yield b"Customer_Id__c,LastName,Email\n"
        yield b"C-1,Ito,#N/A\nC-2,,\n"

    put = cli.session.put(f"{cli.org.url}{base}/{job['id']}/batches", data=pieces(), headers={**cli.headers, "content-type": "text/csv"})  # fmt: skip
    assert put.status_code == 201
    closed = cli.call("PATCH", f"{base}/{job['id']}", {"state": "UploadComplete"})
    assert closed.json()["state"] == "UploadComplete"
    end = time.monotonic() + 30
    while (info := cli.get(f"{base}/{job['id']}"))["state"] not in ("JobComplete", "Failed", "Aborted"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (info["state"], info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (
        "JobComplete",
        2,
        1,
    )
    found = {}
    for name in ("successfulResults", "failedResults", "unprocessedrecords"):
        answer = cli.call("GET", f"{base}/{job['id']}/{name}")
        assert answer.headers["content-type"].startswith("text/csv")
        found[name] = list(csv.DictReader(io.StringIO(answer.text)))
    assert [r["sf__Created"] for r in found["successfulResults"]] == ["true"]
    assert [r["Customer_Id__c"] for r in found["failedResults"]] == ["C-2"]
    assert found["unprocessedrecords"] == []


def test_sf_data_record_commands(cli):
    base = "/services/data/v67.0/sobjects/Account"
    made = cli.call("POST", base, {"Name": "Acme"}).json()
    assert (made["success"], made["errors"]) == (True, [])
    assert cli.get(f"{base}/{made['id']}")["Name"] == "Acme"
    assert cli.call("PATCH", f"{base}/{made['id']}", {"Name": "Best"}).status_code == 204
    where = requests.utils.quote(
        "SELECT Id FROM Account WHERE Name = 'Best'"
    )  # --where looks the record up first
    assert cli.get(f"/services/data/v67.0/query?q={where}")["records"][0]["Id"] == made["id"]
    assert cli.call("DELETE", f"{base}/{made['id']}").status_code == 204


def test_sf_data_import_tree(cli):
    record = {"attributes": {"type": "Account", "referenceId": "AccountRef1"}, "Name": "Acme"}
    body = {"records": [record]}
    answer = cli.call("POST", "/services/data/v67.0/composite/tree/Account", body)
    assert answer.status_code == 201
    assert [r["referenceId"] for r in answer.json()["results"]] == ["AccountRef1"]


# -------------------------------------------------------------------- cumulusci


N = "{http://www.force.com/2009/06/asyncapi/dataload}"


def test_cumulusci_connects(cli):
    assert cli.get("/services/oauth2/userinfo")["organization_id"] == cli.org.org_id
    found = cli.get(f"/services/data/v67.0/sobjects/Organization/{cli.org.org_id}")
    read = ("OrganizationType", "InstanceName", "IsSandbox", "TrialExpirationDate", "NamespacePrefix", "Name")
    assert set(read) <= set(found)
    assert found["IsSandbox"] is False
    assert cli.get("/services/data")[-1]["version"] == "67.0"


def test_cumulusci_maps_a_data_set(org, cli):
    names = {o["name"] for o in cli.get("/services/data/v67.0/sobjects")["sobjects"]}
    assert {"Account", "Contact"} <= names
    told = cli.get("/services/data/v67.0/sobjects/Account/describe")
    fields = {f["name"]: f for f in told["fields"]}
    assert "IsPersonAccount" not in fields  # the probe for person accounts
    assert all({"name", "createable", "updateable", "type", "referenceTo"} <= set(f) for f in told["fields"])
    org.post("/sobjects/Account", json={"Name": "Acme"})
    counts = cli.get("/services/data/v67.0/limits/recordCount?sObjects=Account")["sObjects"]
    assert counts == [{"count": 1, "name": "Account"}]
    installed = (
        "/services/data/v67.0/tooling/query/?q=SELECT+SubscriberPackage.Id+FROM+InstalledSubscriberPackage"
    )
    assert cli.get(installed)["records"] == []


def test_cumulusci_by_collections(cli):
    base = "/services/data/v67.0/composite/sobjects"
    rows = [{"attributes": {"type": "Contact"}, "LastName": "Ito", "HasOptedOutOfEmail": True}, {"attributes": {"type": "Contact"}, "FirstName": "Kei"}]  # fmt: skip
    results = cli.call("POST", base, {"allOrNone": False, "records": rows}).json()
    assert [r["success"] for r in results] == [True, False]
    assert all({"statusCode", "message", "fields"} <= set(e) for e in results[1]["errors"])
    record = results[0]["id"]
    change = [{"attributes": {"type": "Contact"}, "id": record, "Email": None, "LastName": "Ode"}]
    assert cli.call("PATCH", base, {"allOrNone": False, "records": change}).json()[0]["success"]
    keyed = [
        {"attributes": {"type": "Contact"}, "Customer_Id__c": f"C-{i}", "LastName": "x"} for i in range(2)
    ]
    results = cli.call(
        "PATCH", f"{base}/Contact/Customer_Id__c", {"allOrNone": False, "records": keyed}
    ).json()
    assert [r["created"] for r in results] == [True, True]
    by_id = [{"attributes": {"type": "Contact"}, "Id": record, "LastName": "y"}, {"attributes": {"type": "Contact"}, "Id": None, "LastName": "z"}]  # fmt: skip
    results = cli.call(
        "PATCH", f"{base}/Contact/Id", {"allOrNone": False, "records": by_id}
    ).json()  # smart upsert
    assert [r["created"] for r in results] == [False, True]
    gone = cli.call("DELETE", f"{base}?ids={record}&allOrNone=false").json()
    assert [r["success"] for r in gone] == [True]


def test_cumulusci_by_bulk(org, cli):
    """Jobs in XML; rows chunked, with CRLF and every cell quoted; results read by their place."""
    base = "/services/async/67.0/job"
    headers = {"X-SFDC-Session": org.sign_in(), "Content-Type": "application/xml", "User-Agent": "CumulusCI"}
    accounts, contacts = [f"Account {i}" for i in range(5)], [f"Contact {i}" for i in range(5)]

    def call(method: str, path: str, body: Any = None, kind: str = "application/xml") -> requests.Response:
        sent = {**headers, "Content-Type": kind}
        return cli.session.request(method, f"{org.url}{base}{path}", data=body, headers=sent)

    def load(
        operation: str, name: str, header: str, rows: list[tuple[str, ...]], key: str = ""
    ) -> list[list[str]]:
        told = f"<externalIdFieldName>{key}</externalIdFieldName>" if key else ""
        info = f'<jobInfo xmlns="{N[1:-1]}"><operation>{operation}</operation><object>{name}</object>{told}<contentType>CSV</contentType></jobInfo>'
        job = ET.fromstring(call("POST", "", info).content).findtext(f"{N}id")
        lines = [tuple(header.split(",")), *rows]
        pieces = ((",".join(f'"{cell}"' for cell in row) + "\r\n").encode() for row in lines)
        batch = ET.fromstring(call("POST", f"/{job}/batch", pieces, "text/csv").content).findtext(f"{N}id")
        call("POST", f"/{job}", f'<jobInfo xmlns="{N[1:-1]}"><state>Closed</state></jobInfo>')
        end = time.monotonic() + 30
        while True:
            found = ET.fromstring(call("GET", f"/{job}").content)
            left = sum(int(found.findtext(f"{N}numberBatches{s}") or 0) for s in ("Queued", "InProgress"))
            states = [e.text for e in ET.fromstring(call("GET", f"/{job}/batch").content).iter(f"{N}state")]
            if not left and not {"Queued", "InProgress"} & set(states):
                break
            assert time.monotonic() < end
            time.sleep(0.05)
        assert states == ["Completed"]
        text = call("GET", f"/{job}/batch/{batch}/result").text
        return list(csv.reader(io.StringIO(text)))[1:]

    made = load("insert", "Account", "Name", [(name,) for name in accounts])
    assert [(r[1], r[2], r[3]) for r in made] == [("true", "true", "")] * 5
    ids = [row[0] for row in made]
    rows = [
        (name, "" if i == 2 else record) for i, (name, record) in enumerate(zip(contacts, ids, strict=True))
    ]
    children = load("insert", "Contact", "LastName,AccountId", rows)
    by_id = {c["Id"]: c for c in org.records("Contact")}
    assert [by_id[r[0]].get("AccountId") for r in children] == [None if i == 2 else ids[i] for i in range(5)]
    again = load("upsert", "Account", "Id,Name", [(ids[0], "Best"), ("", "New")], key="Id")
    assert [(r[1], r[2]) for r in again] == [("true", "false"), ("true", "true")]
    gone = load("delete", "Contact", "Id", [(r[0],) for r in children])
    assert [r[1] for r in gone] == ["true"] * 5


def test_cumulusci_closes_a_job_without_a_batch(org, cli):
    headers = {"X-SFDC-Session": org.sign_in(), "Content-Type": "application/xml"}
    info = f'<jobInfo xmlns="{N[1:-1]}"><operation>insert</operation><object>Contact</object><contentType>CSV</contentType></jobInfo>'
    url = f"{org.url}/services/async/67.0/job"
    job = ET.fromstring(cli.session.post(url, data=info, headers=headers).content).findtext(f"{N}id")
    cli.session.post(
        f"{url}/{job}", data=f'<jobInfo xmlns="{N[1:-1]}"><state>Closed</state></jobInfo>', headers=headers
    )
    listed = ET.fromstring(cli.session.get(f"{url}/{job}/batch", headers=headers).content)
    assert list(listed) == []  # which it takes for a success


def test_cumulusci_extracts_by_a_bulk_query(org, cli):
    org.post("/sobjects/Account", json={"Name": "Acme"})
    headers = {"X-SFDC-Session": org.sign_in(), "Content-Type": "application/xml"}
    info = f'<jobInfo xmlns="{N[1:-1]}"><operation>query</operation><object>Account</object><concurrencyMode>Parallel</concurrencyMode><contentType>CSV</contentType></jobInfo>'
    url = f"{org.url}/services/async/67.0/job"
    job = ET.fromstring(cli.session.post(url, data=info, headers=headers).content).findtext(f"{N}id")
    asked = {**headers, "Content-Type": "text/csv"}
    batch = ET.fromstring(cli.session.post(f"{url}/{job}/batch", data="SELECT Id, Name FROM Account", headers=asked).content).findtext(f"{N}id")  # fmt: skip
    end = time.monotonic() + 30
    while (
        ET.fromstring(cli.session.get(f"{url}/{job}/batch/{batch}", headers=headers).content).findtext(
            f"{N}state"
        )
        != "Completed"
    ):
        assert time.monotonic() < end
        time.sleep(0.05)
    listed = ET.fromstring(cli.session.get(f"{url}/{job}/batch/{batch}/result", headers=headers).content)
    [result] = [e.text for e in listed]
    text = cli.session.get(f"{url}/{job}/batch/{batch}/result/{result}", headers=headers).text
    assert [r["Name"] for r in csv.DictReader(io.StringIO(text))] == ["Acme"]
