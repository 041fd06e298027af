"""Bulk API 1.0 over HTTPS: XML with CSV as cumulusci sends it, JSON, queries, states, errors, a restart."""

from __future__ import annotations

import csv
import io
import json
import time
import xml.etree.ElementTree as ET
from typing import Any

import pytest
import requests

from sfsync.local_org import control
from sfsync.local_org.bulk1_jobs import ClassicJobs
from sfsync.local_org.bulk1_worker import ClassicWorker
from sfsync.local_org.org import open_org
from sfsync.local_org.schema import load_schema

NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"
N = f"{{{NAMESPACE}}}"
XML, JSON, CSV = "application/xml", "application/json", "text/csv"


class Bulk1:
    """The calls of Bulk 1.0, with the session's token in its own header."""

    def __init__(self, org: Any, version: str = "67.0") -> None:
        self.org, self.base = org, f"{org.url}/services/async/{version}"
        self.token = org.session.headers["Authorization"].removeprefix("Bearer ")

    def call(
        self, method: str, path: str, body: Any = None, kind: str = XML, **headers: str
    ) -> requests.Response:
        sent = {
            "X-SFDC-Session": self.token,
            "Content-Type": f"{kind}; charset=UTF-8",
            "Authorization": "",
        } | headers
        found: requests.Response = self.org.session.request(method, self.base + path, data=body, headers=sent)
        return found

    def job(self, **wanted: str) -> str:
        found = ET.fromstring(self.call("POST", "/job", info(**wanted)).content)
        return str(found.findtext(f"{N}id"))

    def add(self, job: str, body: Any, kind: str = CSV) -> str:
        answer = self.call("POST", f"/job/{job}/batch", body, kind)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"] if kind == JSON else str(ET.fromstring(answer.content).findtext(f"{N}id"))

    def wait(self, job: str, batch: str) -> dict[str, str]:
        end = time.monotonic() + 30
        while True:
            root = ET.fromstring(self.call("GET", f"/job/{job}/batch/{batch}").content)
            found = {e.tag.removeprefix(N): e.text or "" for e in root}
            if found["state"] not in ("Queued", "InProgress"):
                return found
            assert time.monotonic() < end
            time.sleep(0.02)

    def result(self, job: str, batch: str) -> list[dict[str, str]]:
        text = self.call("GET", f"/job/{job}/batch/{batch}/result").text
        return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def bulk(org: Any) -> Bulk1:
    return Bulk1(org)


def info(**wanted: str) -> str:
    inside = "".join(f"<{k}>{v}</{k}>" for k, v in wanted.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><jobInfo xmlns="{NAMESPACE}">{inside}</jobInfo>'


UPSERT = {"operation": "upsert", "object": "Contact", "externalIdFieldName": "Customer_Id__c", "concurrencyMode": "Parallel", "contentType": "CSV"}  # fmt: skip


def test_a_job_with_csv_in_upload_order(org, bulk):
    created = bulk.call("POST", "/job", info(**UPSERT))
    assert created.status_code == 201
    root = ET.fromstring(created.content)
    assert [e.tag.removeprefix(N) for e in root] == [
        *(
            "id",
            "operation",
            "object",
            "createdById",
            "createdDate",
            "systemModstamp",
            "state",
            "externalIdFieldName",
        ),
        *(
            "concurrencyMode",
            "contentType",
            "numberBatchesQueued",
            "numberBatchesInProgress",
            "numberBatchesCompleted",
        ),
        *(
            "numberBatchesFailed",
            "numberBatchesTotal",
            "numberRecordsProcessed",
            "numberRetries",
            "apiVersion",
        ),
        *("numberRecordsFailed", "totalProcessingTime", "apiActiveProcessingTime", "apexProcessingTime"),
    ]
    assert str(root.findtext(f"{N}createdDate")).endswith("Z")
    job = str(root.findtext(f"{N}id"))
    rows = ["Customer_Id__c,LastName,Email", *(f"C-{i},{'' if i == 1 else 'Ito'},#N/A" for i in range(3))]
    upload = "".join(line + "\r\n" for line in rows).encode()
    batch = bulk.add(job, (piece for piece in (upload[:40], upload[40:])))  # chunked, no Content-Length
    assert batch.startswith("751")
    done = bulk.wait(job, batch)
    assert (done["state"], done["numberRecordsProcessed"], done["numberRecordsFailed"]) == (
        "Completed",
        "3",
        "1",
    )
    text = bulk.call("GET", f"/job/{job}/batch/{batch}/result").text
    assert text.splitlines()[0] == '"Id","Success","Created","Error"'
    good, bad, other = bulk.result(job, batch)
    assert [r["Success"] for r in (good, bad, other)] == ["true", "false", "true"]
    assert (good["Created"], bad["Created"], bad["Id"]) == ("true", "false", "")
    assert bad["Error"] == "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"
    assert {r["Id"] for r in (good, other)} == {r["Id"] for r in org.records("Contact")}
    assert bulk.call("GET", f"/job/{job}/batch/{batch}/request").content == upload
    listed = ET.fromstring(bulk.call("GET", f"/job/{job}/batch").content)
    assert [e.findtext(f"{N}id") for e in listed.iter(f"{N}batchInfo")] == [batch]
    closed = ET.fromstring(bulk.call("POST", f"/job/{job}", info(state="Closed")).content)
    assert (closed.findtext(f"{N}state"), closed.findtext(f"{N}numberRecordsFailed")) == ("Closed", "1")
    assert org.by("Contact", "Customer_Id__c")["C-0"]["LastName"] == "Ito"
    assert {w["operation"] for w in org.writes()} == {"created"}


def test_ten_thousand_rows_keep_their_order(org, bulk):
    job = bulk.job(operation="insert", object="Account", contentType="CSV")
    names = [f"A {(i * 7919) % 10_000}" for i in range(10_000)]
    batch = bulk.add(job, ("Name\n" + "".join(f"{n}\n" for n in names)).encode())
    assert bulk.wait(job, batch)["numberRecordsProcessed"] == "10000"
    by_id = {r["Id"]: r["Name"] for r in org.records("Account")}
    assert [by_id[r["Id"]] for r in bulk.result(job, batch)] == names


def test_a_job_in_json(org, bulk):
    org.post("/sobjects/Account", json={"Name": "Acme", "Account_Id__c": "A-1"})
    asked = {"operation": "insert", "object": "Contact", "concurrencyMode": 0, "contentType": "JSON"}
    created = bulk.call("POST", "/job", json.dumps(asked), JSON)
    assert (created.status_code, created.json()["concurrencyMode"]) == (201, "Parallel")
    assert created.json()["createdDate"].endswith("+0000")
    job = created.json()["id"]
    records = [
        {"attributes": {"type": "Contact"}, "LastName": "Ito", "HasOptedOutOfEmail": True, "Email": None},
        {"FirstName": "Kei"},
        {"LastName": "Ödegård", "Account": {"Account_Id__c": "A-1"}},
        {"LastName": "Lost", "Account": {"Account_Id__c": "A-9"}},
        {"LastName": "None", "Account": None},
    ]
    batch = bulk.add(job, json.dumps(records), JSON)
    done = bulk.wait(job, batch)
    assert done["state"] == "Completed", done
    found = bulk.call("GET", f"/job/{job}/batch/{batch}/result", kind=JSON).json()
    assert [(r["success"], r["created"]) for r in found] == [(True, True), (False, False), (True, True), (False, False), (True, True)]  # fmt: skip
    assert found[1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert found[1]["errors"][0]["fields"] == ["LastName"]
    assert (found[1]["id"], found[0]["errors"]) == (None, [])
    assert "Foreign key external ID" in found[3]["errors"][0]["message"]
    people = org.by("Contact", "LastName")
    assert people["Ito"]["HasOptedOutOfEmail"] == "true"
    assert "AccountId" in people["Ödegård"]
    assert bulk.call("GET", f"/job/{job}/batch/{batch}/request").json() == records
    listed = bulk.call("GET", f"/job/{job}/batch", kind=JSON).json()["batchInfo"]
    assert listed[0]["state"] == "Completed"


def test_update_and_delete(org, bulk):
    ids = [
        org.post("/sobjects/Contact", json={"LastName": n, "Email": "a@example.com"}).json()["id"]
        for n in "abc"
    ]
    job = bulk.job(operation="update", object="Contact", contentType="CSV")
    batch = bulk.add(job, f"Id,LastName,Email\n{ids[0]},A,#N/A\n{ids[1]},,\n")
    bulk.wait(job, batch)
    assert [(r["Success"], r["Created"]) for r in bulk.result(job, batch)] == [("true", "false")] * 2
    people = org.by("Contact", "Id")
    assert people[ids[0]]["LastName"] == "A"
    assert "Email" not in people[ids[0]]
    assert (people[ids[1]]["LastName"], people[ids[1]]["Email"]) == (
        "b",
        "a@example.com",
    )  # blank leaves alone
    job = bulk.job(operation="delete", object="Contact", contentType="CSV")
    batch = bulk.add(job, f"Id\n{ids[2]}\n003000000000000AAA\n")
    bulk.wait(job, batch)
    assert [r["Success"] for r in bulk.result(job, batch)] == ["true", "false"]
    assert set(org.by("Contact", "Id")) == set(ids[:2])


def test_queries(org, bulk):
    for name in ('Ito "x"', "Ode"):
        org.post("/sobjects/Contact", json={"LastName": name})
    job = bulk.job(operation="query", object="Contact", contentType="CSV")
    batch = bulk.add(job, "SELECT LastName, Account.Name FROM Contact ORDER BY LastName")
    assert bulk.wait(job, batch)["numberRecordsProcessed"] == "2"
    answer = bulk.call("GET", f"/job/{job}/batch/{batch}/result")
    root = ET.fromstring(answer.content)
    assert root.tag == f"{N}result-list"
    [result] = [e.text for e in root]
    assert str(result).startswith("752")
    text = bulk.call("GET", f"/job/{job}/batch/{batch}/result/{result}").text
    assert text == '"LastName","Account.Name"\n"Ito ""x""",""\n"Ode",""\n'
    empty = bulk.add(job, "SELECT Id FROM Contact WHERE LastName = 'Nobody'")
    bulk.wait(job, empty)
    [result] = [e.text for e in ET.fromstring(bulk.call("GET", f"/job/{job}/batch/{empty}/result").content)]
    text = bulk.call("GET", f"/job/{job}/batch/{empty}/result/{result}").text
    assert text == "Records not found for this query"
    wrong = bulk.add(job, "SELECT Nope FROM Contact")
    assert "INVALID_FIELD" in bulk.wait(job, wrong)["stateMessage"]
    other = bulk.add(job, "SELECT Id FROM Account")
    assert "the query is of Account, the job of Contact" in bulk.wait(job, other)["stateMessage"]


def test_a_query_of_many_records_in_json(org, bulk):
    load = "LastName,Description\n" + "".join(f'L{i:05},"a ""b"", c\nd"\n' for i in range(2_500))
    job = bulk.job(operation="insert", object="Contact", contentType="CSV")
    bulk.wait(job, bulk.add(job, load))
    asked = {"operation": "queryAll", "object": "Contact", "contentType": "JSON"}
    job = bulk.call("POST", "/job", json.dumps(asked), JSON).json()["id"]
    batch = bulk.add(job, "SELECT LastName, Description FROM Contact ORDER BY LastName", JSON)
    bulk.wait(job, batch)
    [result] = bulk.call("GET", f"/job/{job}/batch/{batch}/result", kind=JSON).json()
    records = bulk.call("GET", f"/job/{job}/batch/{batch}/result/{result}", kind=JSON).json()
    assert [r["LastName"] for r in records] == [f"L{i:05}" for i in range(2_500)]
    assert records[0]["attributes"]["type"] == "Contact"
    assert {r["Description"] for r in records} == {'a "b", c\nd'}
    batch = bulk.add(job, "SELECT Id FROM Contact WHERE LastName = 'Nobody'", JSON)
    bulk.wait(job, batch)
    [result] = bulk.call("GET", f"/job/{job}/batch/{batch}/result", kind=JSON).json()
    assert bulk.call("GET", f"/job/{job}/batch/{batch}/result/{result}", kind=JSON).json() == []


FAILED = [  # id, data, kind, words of the stateMessage
    ("unknown column", "LastName,Nope\nx,y\n", CSV, "Field name not found : Nope"),
    ("open quote", 'LastName\n"x\n', CSV, "not closed"),
    ("too many rows", "LastName\n" + "x\n" * 10_001, CSV, "10001; the limit is 10000"),
    ("too many bytes", "LastName,Description\n" + f"x,{'y' * 30_000}\n" * 340, CSV, "the limit is 10000000"),
    ("ragged", "LastName,Email\nx\n", CSV, "InvalidBatch"),
]


@pytest.mark.parametrize(("data", "kind", "words"), [c[1:] for c in FAILED], ids=[c[0] for c in FAILED])
def test_a_batch_that_fails_whole(org, bulk, data, kind, words):
    job = bulk.job(operation="insert", object="Contact", contentType="CSV")
    batch = bulk.add(job, data, kind)
    done = bulk.wait(job, batch)
    assert done["state"] == "Failed"
    assert words in done["stateMessage"]
    assert org.records("Contact") == []
    found = ET.fromstring(bulk.call("GET", f"/job/{job}").content)
    assert found.findtext(f"{N}numberBatchesFailed") == "1"
    assert bulk.call("GET", f"/job/{job}/batch/{batch}/result").status_code == 400


def test_json_that_is_none(bulk):
    asked = {"operation": "insert", "object": "Contact", "contentType": "JSON"}
    job = bulk.call("POST", "/job", json.dumps(asked), JSON).json()["id"]
    for body in ("{", '{"LastName":"x"}', "[1]", "[]"):
        batch = bulk.add(job, body, JSON)
        assert bulk.wait(job, batch)["state"] == "Failed"


REFUSED = [  # id, info, code
    ("no operation", {"object": "Contact", "contentType": "CSV"}, "InvalidJob"),
    ("unknown object", {"operation": "insert", "object": "Nope", "contentType": "CSV"}, "InvalidEntity"),
    ("no key", {"operation": "upsert", "object": "Contact", "contentType": "CSV"}, "InvalidJob"),
    ("XML rows", {"operation": "insert", "object": "Contact", "contentType": "XML"}, "FeatureNotEnabled"),
    ("hard delete", {"operation": "hardDelete", "object": "Contact", "contentType": "CSV"}, "FeatureNotEnabled"),
    ("mode", {"operation": "insert", "object": "Contact", "contentType": "CSV", "concurrencyMode": "Fast"}, "InvalidJob"),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "code"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_jobs_that_are_refused(bulk, wanted, code):
    answer = bulk.call("POST", "/job", info(**wanted))
    assert answer.status_code == 400
    root = ET.fromstring(answer.content)
    assert (root.tag, root.findtext(f"{N}exceptionCode")) == (f"{N}error", code)
    assert root.findtext(f"{N}exceptionMessage")
    told = bulk.call("POST", "/job", json.dumps(wanted), JSON)
    assert (told.status_code, told.json()["exceptionCode"]) == (400, code)


def test_states(bulk):
    job = bulk.job(**UPSERT)
    assert code(bulk.call("POST", "/job/750000000000000AAA", info(state="Closed"))) == "InvalidJob"
    assert code(bulk.call("POST", f"/job/{job}", info(state="Done"))) == "InvalidJob"
    assert code(bulk.call("GET", f"/job/{job}/batch/751000000000000AAA")) == "InvalidBatch"
    assert code(bulk.call("GET", "/nothing")) == "InvalidUrl"
    assert bulk.call("POST", f"/job/{job}", info(state="Closed")).ok
    assert code(bulk.call("POST", f"/job/{job}", info(state="Closed"))) == "InvalidJobState"
    assert code(bulk.call("POST", f"/job/{job}/batch", "LastName\nx\n", CSV)) == "InvalidJobState"
    assert bulk.call("POST", f"/job/{job}", info(state="Aborted")).ok
    assert bulk.call("GET", f"/job/{job}/batch").text.endswith(
        f'<batchInfoList xmlns="{NAMESPACE}"></batchInfoList>'
    )
    for wrong in ("<jobInfo/>", "no XML", "<!DOCTYPE x []><jobInfo/>"):
        assert code(bulk.call("POST", "/job", wrong)) == "InvalidJob"


def code(answer: requests.Response) -> str | None:
    assert answer.status_code == 400
    return ET.fromstring(answer.content).findtext(f"{N}exceptionCode")


def test_sessions_versions_and_counting(org, bulk):
    assert code(bulk.call("GET", "/job/1", **{"X-SFDC-Session": "x"})) == "InvalidSessionId"
    old = Bulk1(org, "20.0")
    assert code(old.call("GET", "/job/1")) == "InvalidVersion"
    before = org.state()["api_calls"]["used"]
    bulk.job(**UPSERT)
    assert org.state()["api_calls"]["used"] == before + 1
    line = org.requests()[-1]
    assert (line["kind"], line["status"], line["counted"]) == ("bulk", 201, True)
    org.limits(max=5, used=5)
    assert code(bulk.call("POST", "/job", info(**UPSERT))) == "ExceededQuota"
    org.limits(max=50, used=5, batches_max=1, batches_used=1)
    job = bulk.job(**UPSERT)
    assert code(bulk.call("POST", f"/job/{job}/batch", "LastName\nx\n", CSV)) == "ExceededQuota"
    org.faults([{"fault": "expired_token", "match": "/services/async"}])
    assert code(bulk.call("GET", f"/job/{job}")) == "InvalidSessionId"


def test_an_aborted_job_leaves_what_waits(tmp_path):
    """Without HTTP and before the worker starts: here nothing is under way at the abort."""
    org = open_org(tmp_path, load_schema(None), [])
    try:
        jobs = ClassicJobs(org.store, org.now)
        asked = {"object": "Contact", "operation": "insert", "external_id": None, "concurrency": "Parallel"}
        asked |= {"content_type": "CSV", "api_version": "67.0", "created_by": org.identity.user_id}
        waiting, other = jobs.create(**asked), jobs.create(**asked)
        batches = []
        for job in (waiting, waiting, other):
            batch = jobs.new_batch_id()
            (jobs.folder(job.id) / f"{batch}.request").write_text("LastName\nIto\n")
            batches.append(jobs.add(job, batch, 1, None))
        assert jobs.close(waiting.id, "Aborted")
        assert jobs.add(waiting, jobs.new_batch_id(), 1, None) is None
        assert not jobs.begin(batches[0].id)
        worker = ClassicWorker(org.store, jobs, org.faults, org.seen_by)
        worker.start()
        worker.stop()
        assert [b.state for b in jobs.batches(waiting.id)] == ["Not Processed"] * 2
        assert [b.state for b in jobs.batches(other.id)] == ["Completed"]
        assert org.store.counts()["Contact"] == 1
    finally:
        org.store.close()


def test_an_abort_in_the_middle(org, bulk):
    job = bulk.job(operation="insert", object="Contact", contentType="CSV")
    batches = [bulk.add(job, "LastName\n" + "x\n" * 10_000) for _ in range(4)]
    assert bulk.call("POST", f"/job/{job}", info(state="Aborted")).ok
    states = [bulk.wait(job, batch)["state"] for batch in batches]
    assert states == sorted(states)  # Completed, then Not Processed
    assert len(org.records("Contact")) == 10_000 * states.count("Completed")
    told = bulk.call("GET", f"/job/{job}/batch", kind=JSON).json()["batchInfo"]
    assert [b["state"] for b in told] == [state.replace(" ", "") for state in states]


def test_jobs_outlive_a_restart(tmp_path):
    """What was under way at the end of the process is taken up by the next one, once."""
    from tests.conftest import OrgForTests

    folder = tmp_path / "org"
    try:
        org = OrgForTests(control.start(folder), folder)
        org.sign_in()
        bulk = Bulk1(org)
        job = bulk.job(operation="insert", object="Contact", contentType="CSV")
        batches = [bulk.add(job, "LastName\n" + f"x{i}\n" * 10_000) for i in range(3)]
        control.stop(folder)
        org = OrgForTests(control.start(folder), folder)
        org.sign_in()
        bulk = Bulk1(org)
        assert [bulk.wait(job, batch)["state"] for batch in batches] == ["Completed"] * 3
        assert len(org.records("Contact")) == 30_000
        assert all(len(bulk.result(job, batch)) == 10_000 for batch in batches)
    finally:
        control.stop(folder)
