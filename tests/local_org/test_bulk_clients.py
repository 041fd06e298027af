"""Bulk 2.0 and queries of a running local org through a client that others wrote, and through faults."""

from __future__ import annotations

import time

import pytest
import requests
from simple_salesforce import Salesforce


@pytest.fixture
def salesforce(org):
    session = requests.Session()
    session.trust_env = False
    session.verify = str(org.ca_file)
    return Salesforce(session_id=org.sign_in(), instance_url=org.url, session=session, version="67.0")


def test_simple_salesforce(org, salesforce):
    rows = [{"Customer_Id__c": f"C-{i}", "LastName": 'Ito "x"\ny' if i else ""} for i in range(3)]
    [answer] = salesforce.bulk2.Contact.upsert(records=rows, external_id_field="Customer_Id__c")
    assert (answer["numberRecordsProcessed"], answer["numberRecordsFailed"]) == (3, 1)
    assert "REQUIRED_FIELD_MISSING" in salesforce.bulk2.Contact.get_failed_records(answer["job_id"])
    found = salesforce.query_all("SELECT Id, LastName FROM Contact ORDER BY Customer_Id__c")["records"]
    assert [r["LastName"] for r in found] == ['Ito "x"\ny'] * 2
    [answer] = salesforce.bulk2.Contact.delete(records=[{"Id": r["Id"]} for r in found])
    assert answer["numberRecordsFailed"] == 0
    assert salesforce.query("SELECT count() FROM Contact")["totalSize"] == 0


def submit(org, data):
    asked = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "Customer_Id__c"}
    job = org.post("/jobs/ingest", json=asked).json()["id"]
    org.put(f"/jobs/ingest/{job}/batches", data=data, headers={"Content-Type": "text/csv"})
    return job


def wait(org, job):
    end = time.monotonic() + 60
    while (found := org.get(f"/jobs/ingest/{job}").json())["state"] in ("UploadComplete", "InProgress"):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_a_lost_answer_of_the_close_call(org):
    job = submit(org, "Customer_Id__c,LastName\nC-1,Ito\n")
    org.faults([{"fault": "lost_after_commit", "match": f"PATCH /jobs/ingest/{job}", "times": 1}])
    with pytest.raises(requests.ConnectionError):
        org.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
    assert wait(org, job)["state"] == "JobComplete"
    assert org.by("Contact", "Customer_Id__c")["C-1"]["LastName"] == "Ito"


def test_a_lost_request_of_the_close_call(org):
    job = submit(org, "Customer_Id__c,LastName\nC-1,Ito\n")
    org.faults([{"fault": "lost_before_commit", "match": f"PATCH /jobs/ingest/{job}", "times": 1}])
    with pytest.raises(requests.ConnectionError):
        org.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
    assert org.get(f"/jobs/ingest/{job}").json()["state"] == "Open"
    assert org.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"}).status_code == 200
    assert wait(org, job)["numberRecordsProcessed"] == 1


def test_locked_rows_pass_the_second_time(org):
    org.faults([{"fault": "locked_rows", "object": "Contact", "share": 0.5, "times": 1}])
    data = "Customer_Id__c,LastName\n" + "".join(f"C-{i},Ito\n" for i in range(10))
    first = submit(org, data)
    org.patch(f"/jobs/ingest/{first}", json={"state": "UploadComplete"})
    assert wait(org, first)["numberRecordsFailed"] == 5
    second = submit(org, data)
    org.patch(f"/jobs/ingest/{second}", json={"state": "UploadComplete"})
    assert wait(org, second)["numberRecordsFailed"] == 0
    assert len(org.records("Contact")) == 10


def test_what_a_job_wrote_and_cost_is_in_the_journal(org):
    job = submit(org, "Customer_Id__c,LastName\nC-1,Ito\nC-2,\n")
    closed = org.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
    wait(org, job)
    lines = org.requests()
    bulk = [line for line in lines if line["kind"] == "bulk"]
    assert [line["method"] for line in bulk[:3]] == ["POST", "PUT", "PATCH"]
    assert all(line["counted"] for line in bulk)
    close = next(line for line in lines if line["method"] == "PATCH")
    assert (close["kind"], close["status"], close["counted"]) == ("bulk", closed.status_code, True)
    writes = org.writes()
    assert [(w["operation"], w["fields"]) for w in writes] == [
        ("created", {"Customer_Id__c": "C-1", "LastName": "Ito"})
    ]
    assert writes[0]["request"] == close["request"]
