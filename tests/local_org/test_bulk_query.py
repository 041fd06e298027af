"""Bulk API 2.0 query of a running local org: jobs, pages of results, their CSV, and what is refused."""

from __future__ import annotations

import csv
import gzip
import io
import time

import pytest
import requests
from simple_salesforce import Salesforce

QUERIES = "/jobs/query"
CSV_TYPE = {"Content-Type": "text/csv"}


def load(org, data, sobject="Contact"):
    """Rows of a CSV, by one Bulk job; all must be saved."""
    job = org.post("/jobs/ingest", json={"object": sobject, "operation": "insert"}).json()["id"]
    org.put(f"/jobs/ingest/{job}/batches", data=data.encode(), headers=CSV_TYPE)
    org.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
    found = wait(org, job, "/jobs/ingest")
    assert (found["state"], found["numberRecordsFailed"]) == ("JobComplete", 0)


def wait(org, job, base=QUERIES):
    end = time.monotonic() + 60
    while (found := org.get(f"{base}/{job}").json())["state"] in ("UploadComplete", "InProgress"):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def create(org, soql, **more):
    return org.post(QUERIES, json={"operation": "query", "query": soql, **more})


def finished(org, soql, **more):
    answer = create(org, soql, **more)
    assert answer.status_code == 200, answer.text
    found = wait(org, answer.json()["id"])
    assert found["state"] == "JobComplete"
    return found


def pages(org, job, size):
    """Every page of a result as (rows without header, number, locator)."""
    locator, found = None, []
    while locator != "null":
        asked = {"maxRecords": size} | ({"locator": locator} if locator else {})
        answer = org.get(f"{QUERIES}/{job}/results", params=asked, headers={"Accept": "text/csv"})
        assert answer.status_code == 200, answer.text
        locator = answer.headers["Sforce-Locator"]
        rows = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
        found.append((rows[0], rows[1:], int(answer.headers["Sforce-NumberOfRecords"])))
    return found


def test_the_life_of_a_job(org):
    load(org, "LastName\nIto\n")
    made = create(org, "SELECT Id, LastName FROM Contact").json()
    assert (made["state"], made["object"], made["operation"]) == ("UploadComplete", "Contact", "query")
    assert (made["apiVersion"], made["contentType"], made["concurrencyMode"]) == (67.0, "CSV", "Parallel")
    assert made["id"].startswith("750")
    found = wait(org, made["id"])
    assert (found["jobType"], found["numberRecordsProcessed"], found["retries"]) == ("V2Query", 1, 0)
    assert found["isPkChunkingSupported"] is False
    listed = org.get(QUERIES + "/", params={"jobType": "V2Query"}).json()
    assert [j["id"] for j in listed["records"]] == [made["id"]]
    assert listed["done"] is True
    late = org.patch(f"{QUERIES}/{made['id']}", json={"state": "Aborted"})
    assert late.status_code == 400
    assert late.json() == [
        {"errorCode": "INVALIDJOBSTATE", "message": "Aborting already Completed Job not allowed"}
    ]
    assert org.delete(f"{QUERIES}/{made['id']}").status_code == 204
    assert org.get(f"{QUERIES}/{made['id']}").status_code == 404


def test_cells_of_every_kind(org):
    account = org.post("/sobjects/Account", json={"Name": 'A "b"\n,c', "AnnualRevenue": 12}).json()["id"]
    org.post("/sobjects/Contact", json={"LastName": "Ito", "AccountId": account, "Birthdate": "1990-02-03"})
    org.post("/sobjects/Contact", json={"LastName": "Ono"})
    found = finished(
        org,
        "SELECT LastName, account.name, Account.AnnualRevenue, Birthdate, IsDeleted, CreatedDate FROM Contact ORDER BY LastName",
    )
    answer = org.get(f"{QUERIES}/{found['id']}/results")
    assert answer.headers["Content-Type"].lower() == "text/csv; charset=utf-8"
    lines = answer.content.decode()
    assert lines.startswith(
        '"LastName","Account.Name","Account.AnnualRevenue","Birthdate","IsDeleted","CreatedDate"\n'
        '"Ito","A ""b""\n,c","12.0","1990-02-03","false","'
    )
    last = lines.rstrip("\n").rpartition("\n")[2]
    assert last.startswith('"Ono","","","","false","')
    assert last.endswith('.000Z"') or last[-6] == "."
    assert len(last.rpartition(',"')[2]) == len('2026-01-01T00:00:00.000Z"')


def test_pages_by_locator(org):
    load(org, "LastName,Customer_Id__c\n" + "".join(f"N,C-{i:05}\n" for i in range(45_000)))
    job = finished(org, "SELECT Customer_Id__c FROM Contact")
    assert job["numberRecordsProcessed"] == 45_000
    found = pages(org, job["id"], 20_000)
    assert [(len(rows), told) for _, rows, told in found] == [
        (20_000, 20_000),
        (20_000, 20_000),
        (5_000, 5_000),
    ]
    assert {tuple(head) for head, _, _ in found} == {("Customer_Id__c",)}
    assert sorted(r[0] for _, rows, _ in found for r in rows) == [f"C-{i:05}" for i in range(45_000)]
    assert found == pages(org, job["id"], 20_000)
    whole = org.get(f"{QUERIES}/{job['id']}/results")
    assert (whole.headers["Sforce-Locator"], whole.headers["Sforce-NumberOfRecords"]) == ("null", "45000")


def test_result_pages_name_five_at_a_time(org):
    load(org, "LastName\n" + "N\n" * 3)
    job = finished(org, "SELECT Id FROM Contact")["id"]
    found = org.get(f"{QUERIES}/{job}/resultPages").json()
    assert (len(found["resultPages"]), found["done"]) == (1, True)
    assert "nextRecordsUrl" not in found
    page = org.get(found["resultPages"][0]["resultUrl"])
    assert page.headers["Sforce-NumberOfRecords"] == "3"
    assert org.get(f"{QUERIES}/{job}/resultpages").json() == found


def test_nothing_found(org):
    job = finished(org, "SELECT Id, LastName FROM Contact")["id"]
    answer = org.get(f"{QUERIES}/{job}/results", params={"maxRecords": 10})
    assert answer.text == '"Id","LastName"\n'
    assert (answer.headers["Sforce-NumberOfRecords"], answer.headers["Sforce-Locator"]) == ("0", "null")
    assert len(org.get(f"{QUERIES}/{job}/resultPages").json()["resultPages"]) == 1


def test_delimiter_line_ending_and_gzip(org):
    load(org, "LastName\nIto;1\n")
    job = finished(
        org, "SELECT LastName, Email FROM Contact", columnDelimiter="SEMICOLON", lineEnding="CRLF"
    )["id"]
    plain = org.get(f"{QUERIES}/{job}/results", headers={"Accept-Encoding": "identity"})
    assert plain.content == b'"LastName";"Email"\r\n"Ito;1";""\r\n'
    assert plain.headers["Content-Length"] == str(len(plain.content))
    zipped = org.get(f"{QUERIES}/{job}/results", headers={"Accept-Encoding": "gzip"}, stream=True)
    assert gzip.decompress(zipped.raw.read(decode_content=False)) == plain.content


def test_query_all_has_the_recycle_bin(org):
    made = org.post("/sobjects/Contact", json={"LastName": "Gone"}).json()["id"]
    org.delete(f"/sobjects/Contact/{made}")
    soql = "SELECT Id, IsDeleted FROM Contact"
    assert finished(org, soql)["numberRecordsProcessed"] == 0
    job = finished(org, soql, operation="queryAll")["id"]
    assert org.get(f"{QUERIES}/{job}/results").text == f'"Id","IsDeleted"\n"{made}","true"\n'


def test_an_order_and_a_limit(org):
    load(org, "LastName\n" + "".join(f"N{i}\n" for i in range(9)))
    job = finished(org, "SELECT LastName FROM Contact ORDER BY LastName DESC LIMIT 3")["id"]
    assert org.get(f"{QUERIES}/{job}/results").text.split()[1:] == ['"N8"', '"N7"', '"N6"']


REFUSED = [
    ("SELECT count() FROM Contact", "API_ERROR"),
    ("SELECT count(Id) FROM Contact", "API_ERROR"),
    ("SELECT LastName FROM Contact GROUP BY LastName", "API_ERROR"),
    ("SELECT Id FROM Contact LIMIT 5 OFFSET 2", "API_ERROR"),
    ("SELECT Id, Nope FROM Contact", "INVALID_FIELD"),
    ("SELECT Id FROM Nope", "INVALID_TYPE"),
    ("SELECT Id, id FROM Contact", "INVALID_FIELD"),
    ("SELECT Id FRM Contact", "MALFORMED_QUERY"),
    ("", "INVALIDJOB"),
]


@pytest.mark.parametrize(("soql", "code"), REFUSED, ids=[r[0][:40] or "blank" for r in REFUSED])
def test_refused_queries_make_no_job(org, soql, code):
    answer = create(org, soql)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert org.get(QUERIES).json()["records"] == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"operation": "insert"}, "INVALIDJOB"),
        ({"contentType": "JSON"}, "INVALIDJOB"),
        ({"lineEnding": "CR"}, "INVALIDJOB"),
        ({"columnDelimiter": "SPACE"}, "INVALIDJOB"),
        ({"colour": "red"}, "JSON_PARSER_ERROR"),
    ],
)
def test_refused_settings(org, more, code):
    answer = create(org, "SELECT Id FROM Contact", **more)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_what_may_not_be_asked_of_a_result(org):
    job = finished(org, "SELECT Id FROM Contact")["id"]
    base = f"/services/data/v60.0/jobs/query/{job}/results"
    assert org.get(base).status_code == 409
    for asked in ({"locator": "nonsense"}, {"locator": "OTk5"}, {"maxRecords": "0"}, {"maxRecords": "x"}):
        assert org.get(f"{QUERIES}/{job}/results", params=asked).status_code == 400
    assert org.get(f"{QUERIES}/{job}/other").status_code == 404
    assert org.get(f"{QUERIES}/750000000000000AAA/results").status_code == 404
    assert org.patch(f"{QUERIES}/{job}", json={"state": "UploadComplete"}).status_code == 400


def test_an_aborted_job_has_no_result(org):
    load(org, "LastName\n" + "N\n" * 30_000)
    soql = "SELECT " + ", ".join(f["name"] for f in org.get("/sobjects/Contact/describe").json()["fields"]
                                 if f["type"] not in ("address", "location")) + " FROM Contact"  # fmt: skip
    jobs = [create(org, soql + " ORDER BY LastName DESC").json()["id"] for _ in range(8)]
    answer = org.patch(f"{QUERIES}/{jobs[-1]}", json={"state": "Aborted"})
    assert answer.json()["state"] == "Aborted"
    refused = org.get(f"{QUERIES}/{jobs[-1]}/results")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")
    assert all(wait(org, job)["state"] == "JobComplete" for job in jobs[:-1])
    assert org.get(f"{QUERIES}/{jobs[-1]}").json()["state"] == "Aborted"
    assert org.delete(f"{QUERIES}/{jobs[-1]}").status_code == 204


def test_a_user_sees_by_query_job_what_others_queries_show(org):
    """A field that a fault has hidden is hidden from Bulk, too."""
    org.faults([{"fault": "rights_lost", "object": "Contact", "fields": ["Email"], "hidden": True}])
    answer = create(org, "SELECT Email FROM Contact")
    assert answer.json()[0]["errorCode"] == "INVALID_FIELD"


def test_query_jobs_are_limited_by_the_day(org):
    before = org.get("/limits").json()["DailyBulkV2QueryJobs"]
    finished(org, "SELECT Id FROM Contact")
    after = org.get("/limits").json()["DailyBulkV2QueryJobs"]
    assert (before["Max"], before["Remaining"] - after["Remaining"]) == (10_000, 1)


def test_simple_salesforce_pages_through(org):
    load(org, "LastName,Customer_Id__c\n" + "".join(f"N,C-{i}\n" for i in range(1_200)))
    session = requests.Session()
    session.trust_env, session.verify = False, str(org.ca_file)
    client = Salesforce(session_id=org.sign_in(), instance_url=org.url, session=session, version="67.0")
    found = list(client.bulk2.Contact.query("SELECT Customer_Id__c FROM Contact", max_records=500))
    assert len(found) == 3
    keys = [row["Customer_Id__c"] for page in found for row in csv.DictReader(io.StringIO(page))]
    assert sorted(keys) == sorted(f"C-{i}" for i in range(1_200))


def test_a_query_that_fails_and_one_after_it(org):
    org.faults([{"fault": "query_failed", "object": "Contact"}])
    first, second = (create(org, "SELECT Id FROM Contact").json()["id"] for _ in range(2))
    assert (wait(org, first)["state"], wait(org, second)["state"]) == ("Failed", "JobComplete")
    refused = org.get(f"{QUERIES}/{first}/results")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")
    assert org.delete(f"{QUERIES}/{first}").status_code == 204


def test_a_query_that_is_stuck_lets_others_pass_and_goes_on_by_and_by(org):
    load(org, "LastName\nIto\n")
    org.faults([{"fault": "query_stuck", "polls": 4}])
    stuck = create(org, "SELECT Id FROM Contact").json()["id"]
    assert finished(org, "SELECT Id FROM Contact")["numberRecordsProcessed"] == 1
    assert [org.get(f"{QUERIES}/{stuck}").json()["state"] for _ in range(3)] == ["InProgress"] * 3
    found = wait(org, stuck)
    assert (found["state"], found["numberRecordsProcessed"]) == ("JobComplete", 1)


def test_a_query_that_is_stuck_for_good_can_be_aborted(org):
    org.faults([{"fault": "query_stuck"}])
    stuck = create(org, "SELECT Id FROM Contact").json()["id"]
    end = time.monotonic() + 20
    while org.get(f"{QUERIES}/{stuck}").json()["state"] != "InProgress":
        assert time.monotonic() < end
    assert org.patch(f"{QUERIES}/{stuck}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert org.delete(f"{QUERIES}/{stuck}").status_code == 204


def test_results_that_are_gone(org):
    org.faults([{"fault": "query_expired"}])
    job = finished(org, "SELECT Id FROM Contact")["id"]
    for path in ("results", "results", "resultPages"):
        assert org.get(f"{QUERIES}/{job}/{path}").status_code == 404
    assert org.get(f"{QUERIES}/{finished(org, 'SELECT Id FROM Contact')['id']}/results").status_code == 200
