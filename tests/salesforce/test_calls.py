"""What each call puts on the wire and makes of the answer: Collections, Composite, Bulk, SOQL, describe."""

from __future__ import annotations

import json

import pytest

from sfsync.errors import InternalError
from sfsync.ports import SystemClock
from sfsync.records import Operation
from sfsync.salesforce import bulk
from sfsync.salesforce.bulk import JobInfo, JobState, ResultFile
from sfsync.salesforce.describe import fetch_contract, fetch_org, fetch_user
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.limits import Usage, bulk_batches, parse_usage
from sfsync.salesforce.query import query, soql
from sfsync.salesforce.rest import (
    Collection,
    ReferenceInTextError,
    send_collection,
    send_composite,
    write_headers,
)
from sfsync.salesforce.status_actions import Action
from sfsync.salesforce.status_codes import classify_call

from .conftest import ORG_ID, http, refused

UPSERT, UPDATE, DELETE = Operation.UPSERT, Operation.UPDATE, Operation.DELETE
ROOT = "/services/data/v67.0"
RECORD = '{"attributes":{"type":"Contact"},"Ext__c":"C-1","LastName":"Zoë 👍"}'


def contact(operation=UPSERT, **more) -> Collection:
    given = (
        {"rows": 1, "records": f"[{RECORD}]", "external_id": "Ext__c"} if operation is UPSERT else {"rows": 1}
    )
    return Collection(operation, "Contact", **{**given, **more})


COLLECTIONS = [  # id, request, method, path
    ("upsert", contact(), "PATCH", f"{ROOT}/composite/sobjects/Contact/Ext__c"),
    ("update", contact(UPDATE, records=f"[{RECORD}]"), "PATCH", f"{ROOT}/composite/sobjects"),
    ("without brackets", contact(UPDATE, records=RECORD), "PATCH", f"{ROOT}/composite/sobjects"),
    (
        "delete",
        Collection(DELETE, "Contact", 2, ids=("003A", "003B")),
        "DELETE",
        f"{ROOT}/composite/sobjects?ids=003A,003B&allOrNone=false",
    ),
]


@pytest.mark.parametrize(
    ("request_", "method", "path"), [c[1:] for c in COLLECTIONS], ids=[c[0] for c in COLLECTIONS]
)
def test_a_collection_on_the_wire(raw, raw_door, ledger, request_, method, path):
    raw.script = [http(200, '[{"success":true}]')]
    assert send_collection(raw_door, request_).json() == [{"success": True}]
    seen = raw.calls[0]
    assert (seen.method, seen.path) == (method, path)
    assert (seen.headers["sforce-auto-assign"], seen.headers["sforce-mru"]) == ("FALSE", "updateMru=false")
    expected = "" if method == "DELETE" else f'{{"allOrNone":false,"records":[{RECORD}]}}'
    assert seen.body.decode() == expected
    assert ledger.booked == ["collections"]


def test_a_composite_carries_the_records_as_they_are_and_the_headers_on_each_part(raw, raw_door, ledger):
    requests = (contact(reference_id="a"), Collection(DELETE, "Contact", 1, ids=("003A",), reference_id="b"))
    raw.script = [http(200, '{"compositeResponse":[]}')]
    send_composite(raw_door, requests)
    seen = raw.calls[0]
    assert (seen.method, seen.path, ledger.booked) == ("POST", f"{ROOT}/composite", ["composite"])
    assert f"[{RECORD}]" in seen.body.decode()
    headers = {"Sforce-Auto-Assign": "FALSE", "Sforce-Mru": "updateMru=false"}
    assert json.loads(seen.body) == {
        "allOrNone": False,
        "collateSubrequests": False,
        "compositeRequest": [
            {
                "method": "PATCH",
                "url": f"{ROOT}/composite/sobjects/Contact/Ext__c",
                "referenceId": "a",
                "httpHeaders": headers,
                "body": {"allOrNone": False, "records": [json.loads(RECORD)]},
            },
            {
                "method": "DELETE",
                "url": f"{ROOT}/composite/sobjects?ids=003A&allOrNone=false",
                "referenceId": "b",
                "httpHeaders": headers,
            },
        ],
    }


def test_what_a_sync_asks_of_its_writes(raw, raw_door):
    """On a Collection's request and on each part of a Composite, next to parts that ask for nothing."""
    headers = write_headers(allow_save=True, assignment_rule="01Q5g000000AbCdEAK", update_mru=True)
    asked = {
        "Sforce-Auto-Assign": "01Q5g000000AbCdEAK",
        "Sforce-Mru": "updateMru=true",
        "Sforce-Duplicate-Rule-Header": "allowSave=true",
    }
    raw.script = [http(200, "[]"), http(200, '{"compositeResponse":[]}')]
    send_collection(raw_door, contact(headers=headers, all_or_none=True))
    seen = raw.calls[0]
    assert {name: seen.headers[name.lower()] for name in asked} == asked
    assert json.loads(seen.body)["allOrNone"] is True
    deletes = Collection(DELETE, "Contact", 1, ids=("003A",), reference_id="b", all_or_none=True)
    send_composite(raw_door, (contact(reference_id="a", headers=headers, all_or_none=True), deletes))
    body = json.loads(raw.calls[1].body)
    first, second = body["compositeRequest"]
    assert (body["allOrNone"], first["body"]["allOrNone"]) == (False, True), "each part by itself"
    assert first["httpHeaders"] == asked
    assert second["httpHeaders"] == {"Sforce-Auto-Assign": "FALSE", "Sforce-Mru": "updateMru=false"}
    assert second["url"].endswith("allOrNone=true")
    assert write_headers(assignment_rule=True)["Sforce-Auto-Assign"] == "TRUE"


def test_a_job_with_an_assignment_rule(raw, raw_door):
    raw.script = [http(200, json.dumps(JOB)), http(200, json.dumps(JOB))]
    bulk.create_job(raw_door, UPDATE, "Lead", rule="01Q5g000000AbCdEAK")
    bulk.create_multipart(raw_door, UPDATE, "Lead", b"Id,Name\n", rule="01Q5g000000AbCdEAK")
    assert all(b'"assignmentRuleId": "01Q5g000000AbCdEAK"' in seen.body for seen in raw.calls)


REFUSED_HERE = [  # id, what is asked, message
    ("201 rows", lambda door: contact(rows=201), "1 to 200 rows, not 201"),
    ("no rows", lambda door: contact(rows=0), "not 0"),
    ("ids missing", lambda door: Collection(DELETE, "Contact", 2, ids=("003A",)), "2 rows was given 1 Ids"),
    ("upsert without a key", lambda door: contact(external_id=None), "external id field None"),
    (
        "six parts",
        lambda door: send_composite(door, [contact(reference_id=f"r{n}") for n in range(6)]),
        "not 6",
    ),
    ("shared reference", lambda door: send_composite(door, [contact(), contact()]), "share a reference id"),
    (
        "over 50 MB",
        lambda door: send_collection(door, contact(records='["' + "x" * (50 << 20) + '"]')),
        "the platform takes 52,428,800",
    ),
    (
        "multipart over 100,000 characters",
        lambda door: bulk.create_multipart(door, UPSERT, "Contact", b"x" * 100_001, "Ext__c"),
        "the limit is 100,000",
    ),
    (
        "Bulk upsert without a key",
        lambda door: bulk.create_job(door, UPSERT, "Contact"),
        "external id field None",
    ),
]


@pytest.mark.parametrize(("ask", "message"), [c[1:] for c in REFUSED_HERE], ids=[c[0] for c in REFUSED_HERE])
def test_what_the_platform_would_refuse_is_not_sent(raw, raw_door, ledger, ask, message):
    with pytest.raises(InternalError, match=message):
        ask(raw_door)
    assert (raw.calls, ledger.booked) == ([], [])


def test_a_text_that_looks_like_a_reference_never_rides_in_a_composite(raw, raw_door, ledger):
    plain, tricky = (
        contact(reference_id="a"),
        contact(records='[{"LastName":"@{a[0].id}"}]', reference_id="b"),
    )
    with pytest.raises(ReferenceInTextError) as caught:
        send_composite(raw_door, [plain, tricky])
    assert classify_call(caught.value, UPSERT).action is Action.RETRY_SMALLER
    assert (raw.calls, ledger.booked) == ([], [])
    send_collection(raw_door, tricky)
    assert b"@{a[0].id}" in raw.calls[0].body


JOB = {
    "id": "7505g00000AbCdEAAV",
    "operation": "upsert",
    "object": "Contact",
    "state": "Open",
    "externalIdFieldName": "Ext__c",
    "createdDate": "2026-01-02T03:04:05.000+0000",
    "apiVersion": 67.0,
}
DONE = JOB | {
    "state": "JobComplete",
    "numberRecordsProcessed": 12,
    "numberRecordsFailed": 3,
    "retries": 1,
    "totalProcessingTime": 900,
}


def test_the_life_of_a_bulk_job(raw, raw_door, ledger, tmp_path):
    csv, results = tmp_path / "in.csv", tmp_path / "out.csv"
    csv.write_bytes(b"Ext__c,LastName\nC-1,Rossi\n")
    raw.script = [
        http(200, json.dumps(JOB)),
        http(201),
        http(200, json.dumps(JOB | {"state": "UploadComplete"})),
        http(200, json.dumps(DONE)),
        http(200, '"sf__Id","sf__Error",Ext__c,LastName\n', "text/csv"),
        http(204),
    ]
    job = bulk.create_job(raw_door, UPSERT, "Contact", "Ext__c")
    bulk.upload(raw_door, job.id, csv)
    assert bulk.close(raw_door, job.id).state is JobState.UPLOAD_COMPLETE
    info = bulk.job_info(raw_door, job.id)
    bulk.download_results(raw_door, job.id, ResultFile.FAILED, results)
    bulk.delete_job(raw_door, job.id)

    assert job == JobInfo(
        JOB["id"], JobState.OPEN, "Contact", "upsert", "Ext__c", "2026-01-02T03:04:05.000+0000"
    )
    assert (info.state.final, info.processed, info.failed, info.retries, info.total_ms) == (
        True,
        12,
        3,
        1,
        900,
    )
    assert results.read_bytes() == b'"sf__Id","sf__Error",Ext__c,LastName\n'
    root = f"{ROOT}/jobs/ingest"
    assert [(s.method, s.path) for s in raw.calls] == [
        ("POST", root),
        ("PUT", f"{root}/{job.id}/batches"),
        ("PATCH", f"{root}/{job.id}"),
        ("GET", f"{root}/{job.id}"),
        ("GET", f"{root}/{job.id}/failedResults"),
        ("DELETE", f"{root}/{job.id}"),
    ]
    assert json.loads(raw.calls[0].body) == {
        "object": "Contact",
        "operation": "upsert",
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
        "externalIdFieldName": "Ext__c",
    }
    assert (raw.calls[1].body, raw.calls[1].headers["content-type"]) == (
        csv.read_bytes(),
        "text/csv; charset=UTF-8",
    )
    assert raw.calls[2].body == b'{"state": "UploadComplete"}'
    assert ledger.booked == ["bulk", "upload", "close", "poll", "result", "bulk"]


def test_a_multipart_job_is_one_call(raw, raw_door, ledger):
    csv = "Id,LastName\n003A,Zoë\r\n".encode()
    raw.script = [http(200, json.dumps(JOB | {"state": "UploadComplete", "operation": "update"}))]
    made = bulk.create_multipart(raw_door, UPDATE, "Contact", csv, batches=1)
    assert made.state is JobState.UPLOAD_COMPLETE
    seen = raw.calls[0]
    mark = seen.headers["content-type"].removeprefix("multipart/form-data; boundary=")
    first, second = seen.body.split(f"--{mark}\r\n".encode())[1:]
    assert b'name="job"' in first
    assert b"Content-Type: application/json" in first
    assert json.loads(first.split(b"\r\n\r\n")[1])["operation"] == "update"
    assert b'name="content"; filename="content.csv"\r\nContent-Type: text/csv' in second
    assert second.split(b"\r\n\r\n", 1)[1] == csv + f"\r\n--{mark}--\r\n".encode()
    assert (ledger.booked, ledger.batches) == (["bulk"], [1])


def test_batches_are_booked_with_the_job_and_not_again_after_a_new_token(raw, raw_door, ledger):
    expired = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    raw.script = [http(401, json.dumps(expired)), http(200, json.dumps(JOB))]
    bulk.create_job(raw_door, UPSERT, "Contact", "Ext__c", batches=bulk_batches(25_000))
    assert (ledger.booked, ledger.batches) == (["bulk", "bulk"], [3])


@pytest.mark.parametrize(("rows", "batches"), [(0, 0), (1, 1), (10_000, 1), (10_001, 2), (150_000, 15)])
def test_every_ten_thousand_rows_are_a_batch(rows, batches):
    assert bulk_batches(rows) == batches


def test_all_jobs_are_listed_page_by_page(raw, raw_door):
    pages = [
        {"done": False, "records": [JOB], "nextRecordsUrl": f"{ROOT}/jobs/ingest?queryLocator=x"},
        {"done": True, "records": [JOB | {"id": "7502", "state": "Aborted"}], "nextRecordsUrl": None},
    ]
    raw.script = [http(200, json.dumps(p)) for p in pages]
    assert [(j.id, j.state.final, j.failed) for j in bulk.list_jobs(raw_door)] == [
        (JOB["id"], False, None),
        ("7502", True, None),
    ]
    assert [s.path for s in raw.calls] == [
        f"{ROOT}/jobs/ingest?jobType=V2Ingest",
        f"{ROOT}/jobs/ingest?queryLocator=x",
    ]


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"id":"750","state":"New","object":"X","operation":"y"}', "<html>"]
)
def test_an_answer_that_is_no_job_is_in_doubt(raw, raw_door, body):
    raw.script = [http(200, body)]
    with pytest.raises(NoAnswerError) as caught:
        bulk.create_job(raw_door, UPDATE, "Contact")
    assert caught.value.sent is True


# SOQL and describe, by way of simple-salesforce


def test_a_query_is_paged_counted_renewed_and_not_repeated_otherwise(raw, raw_door, ledger):
    first = {
        "totalSize": 3,
        "done": False,
        "nextRecordsUrl": f"{ROOT}/query/01g-2000",
        "records": [{"Id": "1"}, {"Id": "2"}],
    }
    raw.script = [
        refused(401, "INVALID_SESSION_ID", "Session expired or invalid"),
        http(200, json.dumps(first), Sforce_Limit_Info="api-usage=5/100"),
        http(200, json.dumps({"totalSize": 3, "done": True, "records": [{"Id": "3"}]})),
    ]
    statement = soql(
        "SELECT Id FROM Contact WHERE Name = {} AND Ext__c IN {}", "O'Neil \\ & 100%", ["a", "b'"]
    )
    assert [[r["Id"] for r in page] for page in query(raw_door, statement)] == [["1", "2"], ["3"]]
    assert ledger.booked == ["query"] * 3
    assert ledger.observed == [(5, 100)]
    assert raw.calls[1].path == (
        f"{ROOT}/query/?q=SELECT+Id+FROM+Contact+WHERE+Name+%3D+%27O%5C%27Neil+%5C%5C+%26+100%25%27"
        "+AND+Ext__c+IN+%28%27a%27%2C%27b%5C%27%27%29"
    )
    assert raw.calls[1].headers["authorization"] == "Bearer 00D5g00000AbCdE!token2"
    assert raw.calls[2].path == f"{ROOT}/query/01g-2000"


def test_a_refused_query_is_our_error(raw, raw_door):
    raw.script = [refused(400, "MALFORMED_QUERY", "unexpected token: 'FRM'")]
    with pytest.raises(SalesforceError, match="MALFORMED_QUERY"):
        next(query(raw_door, "SELECT Id FRM Contact"))


@pytest.mark.parametrize("body", ["[1]", "{}", "<html>sign in</html>"])
def test_an_answer_that_is_no_page_of_records(raw, raw_door, body):
    raw.script = [http(200, body)]
    with pytest.raises(NoAnswerError):
        next(query(raw_door, "SELECT Id FROM Contact"))


USERINFO = {"preferred_username": "ops@acme.example", "name": "Ops", "user_id": "0055g000001XyZAAA0"}


def describe(name: str) -> bytes:
    field = {"name": "LastName", "label": "Last Name", "type": "string", "length": 80, "nillable": False}
    more = {"createable": True, "updateable": True, "defaultedOnCreate": False}
    body = {"name": name, "label": name, "keyPrefix": "003", "createable": True, "fields": [field | more]}
    return http(200, json.dumps(body))


def test_a_contract_costs_a_call_an_object_and_names_the_user(raw, raw_door, ledger):
    raw.script = [http(200, json.dumps(USERINFO)), describe("Account"), describe("Contact")]
    contract = fetch_contract(raw_door, ["Contact", "Account", "Contact"], SystemClock())
    assert [o.name for o in contract.objects] == ["Account", "Contact"]
    assert contract.object("contact").field("lastname").length == 80
    assert contract.object("contact").field("LastName").required_on_create
    assert (contract.org_id, contract.username, contract.api_version) == (ORG_ID, "ops@acme.example", "67.0")
    assert ledger.booked == ["describe"] * 2
    assert [s.path for s in raw.calls] == [
        f"{ROOT}/sobjects/Account/describe",
        f"{ROOT}/sobjects/Contact/describe",
    ]


def test_the_user_is_asked_by_soql_where_the_app_may_not_ask_userinfo(raw, raw_door, ledger):
    record = {"Username": "ops@acme.example", "Name": "Ops"}
    raw.script = [
        http(403, "Missing_OAuth_Scope", "text/html"),
        http(200, json.dumps({"totalSize": 1, "done": True, "records": [record]})),
    ]
    user = fetch_user(raw_door)
    assert (user.username, user.user_id, ledger.booked) == (
        "ops@acme.example",
        "0055g000001XyZAAA0",
        ["query"],
    )


def test_an_object_the_user_cannot_see_is_left_out(raw, raw_door):
    raw.script = [
        http(200, json.dumps(USERINFO)),
        refused(404, "NOT_FOUND", "The requested resource does not exist"),
    ]
    assert fetch_contract(raw_door, ["Foo__c"], SystemClock()).objects == ()


def test_the_org(raw, raw_door, ledger):
    record = {
        "Name": "Acme",
        "IsSandbox": True,
        "OrganizationType": "Enterprise Edition",
        "InstanceName": "EU1",
    }
    raw.script = [
        http(200, json.dumps({"totalSize": 1, "done": True, "records": [record]})),
    ]
    org = fetch_org(raw_door)
    assert (org.name, org.sandbox, org.edition, org.instance, org.org_id) == (
        "Acme",
        True,
        "Enterprise Edition",
        "EU1",
        ORG_ID,
    )
    assert ledger.booked == ["query"]


USAGES = [  # header, used and maximum
    ("api-usage=18/5000", (18, 5000)),
    ("api-usage=25/5000; per-app-api-usage=17/250(appName=my-app)", (25, 5000)),
    ("per-app-api-usage=17/250(appName=my-app); api-usage=25/5000", (25, 5000)),
    ("per-app-api-usage=17/250(appName=my-app)", None),
    ("api-usage=1/0", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("header", "usage"), USAGES)
def test_parse_usage(header, usage):
    now = SystemClock().now()
    assert parse_usage(header, now) == (usage and Usage(*usage, now))
