"""Misbehaviour of Bulk jobs, over real HTTPS: stuck, failed and aborted jobs, result files that lie or are gone."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import pytest
import requests

JOBS = "/jobs/ingest"
FILES = ("successfulResults", "failedResults", "unprocessedrecords")


def upload(count: int, name: str = "Rossi") -> str:
    return "Customer_Id__c,LastName\n" + "".join(f"C-{i},{name}\n" for i in range(count))


def submit(org: Any, data: str, **asked: Any) -> str:
    body = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "Customer_Id__c", **asked}
    job: str = org.post(JOBS, json=body).json()["id"]
    put = org.put(f"{JOBS}/{job}/batches", data=data.encode(), headers={"Content-Type": "text/csv"})
    assert put.status_code == 201
    assert org.patch(f"{JOBS}/{job}", json={"state": "UploadComplete"}).status_code == 200
    return job


def wait(org: Any, job: str) -> dict[str, Any]:
    end = time.monotonic() + 30
    while True:
        found: dict[str, Any] = org.get(f"{JOBS}/{job}").json()
        if found["state"] in ("JobComplete", "Failed", "Aborted"):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.01)


def run(org: Any, data: str, **asked: Any) -> str:
    job = submit(org, data, **asked)
    wait(org, job)
    return job


def text(org: Any, job: str, file: str) -> str:
    answer = org.get(f"{JOBS}/{job}/{file}")
    assert answer.status_code == 200, answer.text
    return str(answer.content.decode())


def keys(org: Any, job: str, file: str) -> list[str]:
    return [row["Customer_Id__c"] for row in csv.DictReader(io.StringIO(text(org, job, file)))]


def named(first: int, last: int) -> list[str]:
    return [f"C-{i}" for i in range(first, last)]


# ---------------------------------------------------------------- jobs that do not end well


def test_a_job_is_stuck_for_some_polls(org):
    org.faults([{"fault": "job_stuck", "object": "Contact", "polls": 3, "share": 0.4}])
    job = submit(org, upload(10))
    end = time.monotonic() + 10
    while len(org.records("Contact")) < 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.05)
    assert [org.get(f"{JOBS}/{job}").json()["state"] for _ in range(3)] == ["InProgress"] * 3
    done = wait(org, job)
    assert (done["state"], done["numberRecordsProcessed"], done["numberRecordsFailed"]) == (
        "JobComplete",
        10,
        0,
    )
    assert keys(org, job, FILES[0]) == named(0, 10)
    assert keys(org, job, FILES[2]) == []
    assert sorted(r["Customer_Id__c"] for r in org.records("Contact")) == named(0, 10)
    assert sum(1 for w in org.writes() if w["object"] == "Contact") == 10


@pytest.mark.parametrize(("share", "written"), [(0, 0), (0.5, 5)])
def test_a_job_is_stuck_for_ever_and_can_be_aborted(org, share, written):
    org.faults([{"fault": "job_stuck", "share": share}])
    job = submit(org, upload(10))
    end = time.monotonic() + 10
    while org.get(f"{JOBS}/{job}").json()["numberRecordsProcessed"] < written:
        assert time.monotonic() < end
    for _ in range(20):
        assert org.get(f"{JOBS}/{job}").json()["state"] in ("UploadComplete", "InProgress")
    other = run(org, upload(2).replace("C-", "D-"))  # the next job is not held up
    assert keys(org, other, FILES[0]) == ["D-0", "D-1"]
    assert org.patch(f"{JOBS}/{job}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert keys(org, job, FILES[0]) == named(0, written)
    assert keys(org, job, FILES[2]) == named(written, 10)


@pytest.mark.parametrize(
    ("fault", "state", "error"),
    [
        ({"fault": "job_failed", "share": 0.3, "message": "Timeout : batch"}, "Failed", "Timeout : batch"),
        ({"fault": "job_aborted", "share": 0.3}, "Aborted", None),
        (
            {"fault": "job_failed", "share": 0},
            "Failed",
            "InternalServerError : the job could not be finished",
        ),
    ],
    ids=["failed", "aborted by somebody else", "failed before the first row"],
)
def test_a_job_ends_after_part_of_its_rows(org, fault, state, error):
    org.faults([fault])
    job = submit(org, upload(10))
    done = wait(org, job)
    written = int(10 * fault["share"])
    assert (done["state"], done.get("errorMessage")) == (state, error)
    assert (done["numberRecordsProcessed"], done["numberRecordsFailed"]) == (written, 0)
    assert keys(org, job, FILES[0]) == named(0, written)
    assert keys(org, job, FILES[1]) == []
    assert keys(org, job, FILES[2]) == named(written, 10)
    assert sorted(r["Customer_Id__c"] for r in org.records("Contact")) == named(0, written)
    again = run(org, upload(10))
    assert keys(org, again, FILES[0]) == named(0, 10)


def test_the_second_job_of_an_object_only(org):
    org.faults([{"fault": "job_failed", "object": "contact", "after": 1, "share": 0}])
    ends = [wait(org, submit(org, upload(1)))["state"] for _ in range(3)]
    assert ends == ["JobComplete", "Failed", "JobComplete"]
    org.faults([{"fault": "job_failed", "object": "Account"}])
    assert wait(org, submit(org, upload(1)))["state"] == "JobComplete"


# ---------------------------------------------------------------- result files


TRICKY = 'Customer_Id__c,LastName\n"C-0","a ""b"", c"\nC-1,"two\nlines"\nC-2,plain\nC-3,\nC-4,ü\n'


def test_rows_stand_twice(org):
    org.faults([{"fault": "results_doubled", "share": 0.5}])
    job = run(org, TRICKY)
    assert keys(org, job, FILES[0]) == ["C-0", "C-1", "C-1", "C-2", "C-4", "C-4"]
    lines = text(org, job, FILES[0])
    assert lines.startswith('"sf__Id","sf__Created",Customer_Id__c,LastName\n')
    assert '"a ""b"", c"' in lines
    assert '"two\nlines"' in lines
    assert len(org.records("Contact")) == 4
    assert sum(1 for w in org.writes() if w["object"] == "Contact") == 4  # the journal tells the truth


def test_rows_stand_in_another_order(org):
    org.faults([{"fault": "results_shuffled"}])
    job = run(org, upload(50))
    assert keys(org, job, FILES[0]) != named(0, 50)
    assert sorted(keys(org, job, FILES[0])) == sorted(named(0, 50))
    assert keys(org, job, FILES[0]) == keys(org, job, FILES[0])


def test_rows_are_in_no_file(org):
    org.faults([{"fault": "results_missing", "share": 0.2}])
    job = run(org, upload(10) + "C-x,\nC-y,\nC-z,\nC-u,\nC-v,\n")
    good, bad, rest = (keys(org, job, file) for file in FILES)
    assert (len(good), len(bad), len(rest)) == (8, 4, 0)
    found = org.get(f"{JOBS}/{job}").json()
    assert (found["numberRecordsProcessed"], found["numberRecordsFailed"]) == (15, 5)
    assert len(org.records("Contact")) == 10


def test_all_three_at_once_and_the_next_job_is_true(org):
    org.faults(
        [
            {"fault": "results_shuffled"},
            {"fault": "results_doubled", "share": 1},
            {"fault": "results_missing", "share": 0.5},
        ]
    )
    job = run(org, upload(10))
    found = keys(org, job, FILES[0])
    assert len(found) == 10
    assert len(set(found)) == 5
    assert keys(org, run(org, upload(10)), FILES[0]) == named(0, 10)


def test_results_expire(org):
    old, new = run(org, upload(2)), run(org, upload(2))
    org.faults([{"fault": "results_expired"}])
    for file in FILES:
        answer = org.get(f"{JOBS}/{old}/{file}")
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    assert org.get(f"{JOBS}/{old}").json()["state"] == "JobComplete"
    assert keys(org, new, FILES[0]) == named(0, 2)
    org.faults([{"fault": "results_expired", "job_too": True}])
    assert org.get(f"{JOBS}/{old}").status_code == 404
    assert org.get(f"{JOBS}/{old}/{FILES[0]}").status_code == 404
    assert [r["id"] for r in org.get(JOBS).json()["records"]] == [new]


def test_counts_that_do_not_agree(org):
    org.faults([{"fault": "counts_wrong", "processed": -3, "failed": 2}])
    job = run(org, upload(10))
    found = org.get(f"{JOBS}/{job}").json()
    assert (found["numberRecordsProcessed"], found["numberRecordsFailed"]) == (7, 2)
    assert keys(org, job, FILES[0]) == named(0, 10)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_result_file_is_cut_and_looks_whole(org, encoding):
    job = run(org, 'Customer_Id__c,LastName\nC-0,"a\nb"\nC-1,"a\nb"\nC-2,"a\nb"\nC-3,"a\nb"\n')
    whole = text(org, job, FILES[0])
    for share in (n / 25 for n in range(25)):
        rule = {"fault": "cut_answer", "match": FILES[0], "looks_whole": True, "share": share}
        org.faults([rule])
        answer = org.get(f"{JOBS}/{job}/{FILES[0]}", headers={"Accept-Encoding": encoding})
        assert answer.status_code == 200
        part = answer.content.decode()
        assert len(part) < len(whole)
        assert whole.startswith(part)
        rows = list(csv.DictReader(io.StringIO(part)))
        assert [r["LastName"] for r in rows] == ["a\nb"] * len(rows)
        assert part.endswith('b"\n' if rows else "LastName\n")


def test_a_result_file_that_breaks_off(org):
    job = run(org, upload(500))
    org.faults([{"fault": "cut_answer", "match": f"GET {JOBS}/{job}/{FILES[0]}", "share": 0.7}])
    with pytest.raises(requests.exceptions.RequestException):
        org.get(f"{JOBS}/{job}/{FILES[0]}", headers={"Accept-Encoding": "identity"})
    assert keys(org, job, FILES[0]) == named(0, 500)


# ---------------------------------------------------------------- rights, bad rows, lost answers


def test_the_job_is_there_when_the_answer_to_its_creation_was_lost(org):
    org.faults([{"fault": "lost_after_commit", "match": f"POST {JOBS}"}])
    asked = '{"object":"Contact","operation":"insert"}'
    parts = {
        "job": (None, asked, "application/json"),
        "content": ("content", "LastName\nRossi\n", "text/csv"),
    }
    with pytest.raises(requests.exceptions.ConnectionError):
        org.post(JOBS, files=parts)
    (job,) = org.get(JOBS).json()["records"]
    assert wait(org, job["id"])["state"] == "JobComplete"
    assert [r["LastName"] for r in org.records("Contact")] == ["Rossi"]


def test_a_bad_row_takes_along_the_rows_it_is_saved_with(org):
    org.faults([{"fault": "apex_limit", "values": ["C-450"]}])
    job = run(org, upload(1000))
    assert sorted(keys(org, job, FILES[1])) == sorted(named(400, 600))
    assert len(keys(org, job, FILES[0])) == 800
    assert ":--" in text(org, job, FILES[1])


def test_a_right_lost_before_a_job(org):
    org.faults([{"fault": "rights_lost", "object": "Contact", "fields": ["LastName"]}])
    job = run(org, upload(3))
    assert text(org, job, FILES[1]).count("INVALID_FIELD_FOR_INSERT_UPDATE") == 3
    org.faults([{"fault": "rights_lost", "object": "Contact", "rights": ["create"]}])
    job = run(org, upload(3))
    assert text(org, job, FILES[1]).count("INSUFFICIENT_ACCESS_OR_READONLY") == 3
    org.faults([{"fault": "rights_lost", "object": "Contact", "fields": ["LastName"], "hidden": True}])
    found = wait(org, submit(org, upload(3)))
    assert (found["state"], found["errorMessage"]) == (
        "Failed",
        "InvalidBatch : Field name not found : LastName",
    )
    assert org.records("Contact") == []


@pytest.mark.parametrize("hidden", [False, True])
def test_a_right_lost_in_the_middle_of_a_job(org, hidden):
    lost = {"fault": "rights_lost", "object": "Contact", "fields": ["LastName"], "hidden": hidden}
    org.faults(
        [{"fault": "job_stuck", "share": 0.5, "polls": 30}, {**lost, "match": f"GET {JOBS}", "after": 20}]
    )
    job = submit(org, upload(10))
    end = time.monotonic() + 10
    while len(org.records("Contact")) < 5:
        assert time.monotonic() < end
        time.sleep(0.01)
    found = wait(org, job)
    assert keys(org, job, FILES[0]) == named(0, 5)
    assert found["state"] == ("Failed" if hidden else "JobComplete")
    assert keys(org, job, FILES[2 if hidden else 1]) == named(5, 10)
    assert keys(org, job, FILES[1 if hidden else 2]) == []
