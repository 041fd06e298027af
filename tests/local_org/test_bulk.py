"""Bulk API 2.0 ingest over HTTP: states, CSV rules, result files to the byte, aborts, restarts."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import requests
import uvicorn
from starlette.applications import Starlette

from sfsync.local_org import bulk_routes, soql_routes
from sfsync.local_org.bulk_csv import Watch
from sfsync.local_org.bulk_jobs import TERMINAL
from sfsync.local_org.bulk_worker import BATCH, SAVE
from sfsync.local_org.fault_rules import parse_rules
from sfsync.local_org.org import open_org
from sfsync.local_org.schema import load_schema

BASE = "/services/data/v67.0"


class Client:
    """A Bulk client of a few lines over a real connection."""

    def __init__(self, url, org):
        self.url, self.org = url, org
        self.http = requests.Session()
        self.jobs = f"{url}{BASE}/jobs/ingest"

    def query(self, text, resource="query"):
        return self.http.get(f"{self.url}{BASE}/{resource}", params={"q": text}).json()["records"]

    def create(self, **asked):
        body = {"object": "Contact", "operation": "upsert", **asked}
        if body["operation"] == "upsert":
            body.setdefault("externalIdFieldName", "Customer_Id__c")
        return self.http.post(self.jobs, json=body)

    def put(self, job, data, **headers):
        headers = {"Content-Type": "text/csv", **headers}
        return self.http.put(f"{self.jobs}/{job}/batches", data=data, headers=headers)

    def patch(self, job, state):
        return self.http.patch(f"{self.jobs}/{job}", json={"state": state})

    def get(self, job):
        return self.http.get(f"{self.jobs}/{job}").json()

    def submit(self, data, **asked):
        job = self.create(**asked).json()["id"]
        assert self.put(job, data.encode() if isinstance(data, str) else data).status_code == 201
        assert self.patch(job, "UploadComplete").json()["state"] == "UploadComplete"
        return job

    def wait(self, job):
        end = time.monotonic() + 60
        while (found := self.get(job))["state"] not in TERMINAL:
            assert time.monotonic() < end, found
            time.sleep(0.01)
        return found

    def run(self, data, **asked):
        return self.wait(self.submit(data, **asked))

    def results(self, job):
        files = ("successfulResults", "failedResults", "unprocessedrecords")
        return tuple(
            self.http.get(f"{self.jobs}/{job}/{f}").content.decode(errors="surrogateescape") for f in files
        )


@contextmanager
def serving(folder, clock=time.time):
    org = open_org(folder, load_schema(None), [])
    app = Starlette(routes=[*soql_routes.ROUTES, *bulk_routes.ROUTES])
    app.state.org = org
    opened = bulk_routes.start(org, clock)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", org)
    client.bulk = opened
    try:
        yield client
    finally:
        client.http.close()
        bulk_routes.stop(org)
        server.should_exit = True
        thread.join(timeout=10)
        org.store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("org")) as client:
        yield client


@pytest.fixture
def bulk(server):
    server.org.reset()
    return server


def rows(first, last, name="Rossi"):
    return "Customer_Id__c,LastName\n" + "".join(f"C-{i},{name}\n" for i in range(first, last))


def test_life_of_a_job(bulk):
    answer = bulk.create(lineEnding="LF", columnDelimiter="COMMA", contentType="CSV")
    assert answer.status_code == 200
    job = answer.json()
    assert job["id"].startswith("750")
    assert len(job["id"]) == 18
    assert job["contentUrl"] == f"services/data/v67.0/jobs/ingest/{job['id']}/batches"
    shown = {k: v for k, v in job.items() if k not in ("id", "createdDate", "systemModstamp", "contentUrl")}
    assert shown == {
        "operation": "upsert",
        "object": "Contact",
        "createdById": bulk.org.identity.user_id,
        "state": "Open",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": 67.0,
        "externalIdFieldName": "Customer_Id__c",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    assert job["createdDate"].endswith("+0000")
    upload = bulk.put(job["id"], rows(0, 3).encode())
    assert (upload.status_code, upload.content) == (201, b"")
    assert bulk.get(job["id"])["state"] == "Open"
    closed = bulk.patch(job["id"], "UploadComplete").json()
    assert closed["state"] == "UploadComplete"
    assert "contentUrl" not in closed
    done = bulk.wait(job["id"])
    counters = ("jobType", "numberRecordsProcessed", "numberRecordsFailed", "retries", "apexProcessingTime")
    assert [done[c] for c in counters] == ["V2Ingest", 3, 0, 0, 0]
    assert {"totalProcessingTime", "apiActiveProcessingTime"} < set(done)
    assert "errorMessage" not in done
    assert len(bulk.query("SELECT Id FROM Contact")) == 3
    assert bulk.http.get(f"{bulk.jobs}/{job['id'][:15]}/").json()["id"] == job["id"]
    assert bulk.http.delete(f"{bulk.jobs}/{job['id']}").status_code == 204
    assert bulk.http.get(f"{bulk.jobs}/{job['id']}").status_code == 404


def test_result_files_to_the_byte(bulk):
    bulk.run("Customer_Id__c,LastName\nC-1,Rossi\n")
    known = bulk.query("SELECT Id FROM Contact")[0]["Id"]
    data = 'customer_id__c,"LastName",Email\nC-1,"Ito ""I""\nJr",\nC-2,,a@b.example\nC-3,"a,b",#N/A\n'
    job = bulk.run(data)
    assert (job["state"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == ("JobComplete", 3, 1)
    new = next(
        r["Id"] for r in bulk.query("SELECT Id, Customer_Id__c FROM Contact WHERE Customer_Id__c = 'C-3'")
    )
    assert bulk.results(job["id"]) == (
        '"sf__Id","sf__Created",customer_id__c,LastName,Email\n'
        f'"{known}","false","C-1","Ito ""I""\nJr",""\n'
        f'"{new}","true","C-3","a,b","#N/A"\n',
        '"sf__Id","sf__Error",customer_id__c,LastName,Email\n'
        '"","REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --","C-2","","a@b.example"\n',
        "customer_id__c,LastName,Email\n",
    )


def test_result_files_follow_delimiter_and_line_ending(bulk):
    job = bulk.run(
        b'Customer_Id__c|LastName\r\nC-1|"a|b\r\nc"\r\n', columnDelimiter="PIPE", lineEnding="CRLF"
    )
    one = bulk.query("SELECT Id FROM Contact")[0]["Id"]
    good, bad, rest = bulk.results(job["id"])
    assert good == f'"sf__Id"|"sf__Created"|Customer_Id__c|LastName\r\n"{one}"|"true"|"C-1"|"a|b\r\nc"\r\n'
    assert bad == '"sf__Id"|"sf__Error"|Customer_Id__c|LastName\r\n'
    assert rest == "Customer_Id__c|LastName\r\n"


def test_error_without_fields_ends_with_two_dashes(bulk):
    job = bulk.run("LastName,Customer_Id__c,Account.Account_Id__c\nIto,C-1,A-404\n")
    line = bulk.results(job["id"])[1].splitlines()[1]
    assert line == (
        '"","INVALID_FIELD:Foreign key external ID: a-404 not found for field Account_Id__c in entity Account:--",'
        '"Ito","C-1","A-404"'
    )


def test_empty_cells_clears_and_parents(bulk):
    bulk.run("Account_Id__c,Name\nA-1,Acme\n", object="Account", externalIdFieldName="Account_Id__c")
    bulk.run("Customer_Id__c,LastName,Title,Email,Account.Account_Id__c\nC-1,Ito,Dr,i@b.example,A-1\n")
    text = "SELECT LastName, Title, Email, Account.Name FROM Contact"
    first = bulk.query(text)[0]
    assert (first["Title"], first["Account"]["Name"]) == ("Dr", "Acme")
    bulk.run("Customer_Id__c,LastName,Title,Email\nc-1,,#N/A,\n")
    second = bulk.query(text)[0]
    assert (second["LastName"], second["Title"], second["Email"]) == ("Ito", None, "i@b.example")
    assert second["Account"]["Name"] == "Acme"


@pytest.mark.parametrize(
    "blocks", [[b"a,#N/A\n"], [b"a,#N", b"/A\n"], [b"a,#", b"N", b"/", b"A\n"], [b"a,#N/", b"A"]]
)
def test_nulls_are_seen_wherever_a_block_ends(blocks):
    def nulls(*parts):
        watch = Watch()
        for part in parts:
            watch.block(part)
        return watch.facts().nulls

    assert nulls(*blocks)
    assert not nulls(b"a,#N /A\n#N", b"//A")


def test_polymorphic_parents_need_their_type(bulk):
    admin = bulk.org.identity
    key = {"object": "Case", "externalIdFieldName": "Case_Id__c"}
    job = bulk.run(f"Case_Id__c,User:Owner.Username\nK-1,{admin.username}\n", **key)
    assert job["numberRecordsFailed"] == 0, bulk.results(job["id"])
    assert bulk.query("SELECT OwnerId FROM Case")[0]["OwnerId"] == admin.user_id
    refused = bulk.run(f"Case_Id__c,Owner.Username\nK-1,{admin.username}\n", **key)
    assert refused["state"] == "Failed"
    assert "polymorphic" in refused["errorMessage"]
    plain = bulk.run("Customer_Id__c,LastName,Account:Account.Account_Id__c\nC-1,Ito,A-1\n")
    assert plain["state"] == "Failed"
    assert "type is not needed for non polymorphic foreign key" in plain["errorMessage"]


def test_insert_update_delete(bulk):
    bulk.run("LastName\nOne\n\nTwo\n", operation="insert")
    ids = [r["Id"] for r in bulk.query("SELECT Id FROM Contact ORDER BY LastName")]
    assert len(ids) == 2
    job = bulk.run(f"Id,Title\n{ids[0]},Dr\n{ids[1][:15]},Mx\n003000000000000AAA,No\n", operation="update")
    assert job["numberRecordsFailed"] == 1
    assert "INVALID_CROSS_REFERENCE_KEY" in bulk.results(job["id"])[1]
    assert [r["Title"] for r in bulk.query("SELECT Title FROM Contact ORDER BY LastName")] == ["Dr", "Mx"]
    job = bulk.run(f"Id\n{ids[0]}\n\n", operation="delete")
    assert bulk.results(job["id"])[0] == f'"sf__Id","sf__Created",Id\n"{ids[0]}","false","{ids[0]}"\n'
    assert [r["Id"] for r in bulk.query("SELECT Id FROM Contact")] == [ids[1]]
    assert len(bulk.query("SELECT Id FROM Contact", "queryAll")) == 2
    again = bulk.run(f"Id\n{ids[0]}\n", operation="delete")
    assert "ENTITY_IS_DELETED" in bulk.results(again["id"])[1]
    wide = bulk.run(f"Id,LastName\n{ids[1]},x\n", operation="delete")
    assert (wide["state"], wide["errorMessage"]) == (
        "Failed",
        "InvalidBatch : delete batch must contain only ids",
    )


def test_the_same_key_fails_inside_200_rows_and_updates_later(bulk):
    data = rows(0, 150) + "C-7,Near\n" + "".join(f"D-{i},x\n" for i in range(100)) + "C-8,Far\n"
    job = bulk.run(data)
    assert job["numberRecordsFailed"] == 2
    assert bulk.results(job["id"])[1].count("DUPLICATE_VALUE:Duplicate external id specified: C-7") == 2
    assert [
        r["LastName"] for r in bulk.query("SELECT LastName FROM Contact WHERE Customer_Id__c = 'C-8'")
    ] == ["Far"]


WRONG = [  # id, settings, data, errorMessage, unprocessedrecords (None: as uploaded)
    ("CRLF in an LF job", {}, b"Customer_Id__c,LastName\r\nC-1,x\r\n",
     "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF", None),
    ("CRLF inside quotes of an LF job", {}, b'Customer_Id__c,LastName\nC-1,"x\r\ny"\n',
     "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF", None),
    ("LF in a CRLF job", {"lineEnding": "CRLF"}, b"Customer_Id__c,LastName\nC-1,x\n",
     "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is CRLF", None),
    ("unknown column", {}, b"Customer_Id__c,Foo__c,LastName\nC-1,1,x\n",
     "InvalidBatch : Field name not found : Foo__c", b'Customer_Id__c,LastName\n"C-1","x"\n'),
    ("byte order mark", {}, b"\xef\xbb\xbfCustomer_Id__c,LastName\nC-1,x\n",
     "InvalidBatch : Field name not found : \ufeffCustomer_Id__c", b'LastName\n"x"\n'),
    ("column twice", {}, b"Customer_Id__c,LastName,lastname\nC-1,x,y\n",
     "InvalidBatch : Duplicate field in the header row : lastname", None),
    ("too many cells", {}, b"Customer_Id__c,LastName\nC-1,x\nC-2,x,y\n",
     "InvalidBatch : line 3: Expected Number of Columns: 2 Found: 3", None),
    ("too few cells", {}, b"Customer_Id__c,LastName\nC-1\n",
     "InvalidBatch : line 2: Expected Number of Columns: 2 Found: 1", None),
    ("open quote", {}, b'Customer_Id__c,LastName\nC-1,"x\nC-2,y\n',
     "InvalidBatch : a quoted value is not closed", None),
    ("text after a quote", {}, b'Customer_Id__c,LastName\nC-1,"x"y\n', "InvalidBatch : ", None),
    ("not UTF-8", {}, b"Customer_Id__c,LastName\nC-1,\xe9\n", "ClientInputError : the data is not UTF-8", None),
    ("nothing", {}, b"", "InvalidBatch : the data has no header row", None),
    ("other delimiter", {"columnDelimiter": "TAB"}, b"Customer_Id__c,LastName\nC-1,x\n",
     "InvalidBatch : Field name not found : Customer_Id__c,LastName", b""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "data", "message", "rest"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_a_file_that_cannot_be_read_writes_nothing(bulk, settings, data, message, rest):
    job = bulk.run(data, **settings)
    assert job["state"] == "Failed"
    assert job["errorMessage"].startswith(message)
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (0, 0)
    assert bulk.query("SELECT Id FROM Contact") == []
    good, bad, unprocessed = bulk.results(job["id"])
    assert (good.count("\n"), bad.count("\n")) == (1, 1)
    if rest != b"":
        assert unprocessed.encode(errors="surrogateescape") == (data if rest is None else rest)


READ = [  # id, settings, data, last names in the org
    ("no final line break", {}, b"Customer_Id__c,LastName\nC-1,x", ["x"]),
    ("blank lines", {}, b"Customer_Id__c,LastName\n\nC-1,x\n\n", ["x"]),
    ("header only", {}, b"Customer_Id__c,LastName\n", []),
    ("LF inside quotes of a CRLF job", {"lineEnding": "CRLF"}, b'Customer_Id__c,LastName\r\nC-1,"x\ny"\r\n', ["x\ny"]),
    ("unicode", {}, "Customer_Id__c,LastName\nC-1,日本 é\n".encode(), ["日本 é"]),
    ("backslash", {}, b'Customer_Id__c,LastName\nC-1,"a\\"\n', ["a\\"]),
    ("looks like null", {}, b"Customer_Id__c,LastName\nC-1,NULL\n", ["NULL"]),
    ("backquote", {"columnDelimiter": "BACKQUOTE"}, b"Customer_Id__c`LastName\nC-1`x,y\n", ["x,y"]),
    ("caret", {"columnDelimiter": "CARET"}, b"Customer_Id__c^LastName\nC-1^x\n", ["x"]),
    ("tab", {"columnDelimiter": "TAB"}, b"Customer_Id__c\tLastName\nC-1\t\"x\ty\"\n", ["x\ty"]),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "data", "names"), [r[1:] for r in READ], ids=[r[0] for r in READ])
def test_a_file_that_can_be_read(bulk, settings, data, names):
    job = bulk.run(data, **settings)
    assert job["state"] == "JobComplete", job
    assert [r["LastName"] for r in bulk.query("SELECT LastName FROM Contact")] == names


REFUSED = [  # asked, code
    ({"operation": "hardDelete"}, "FEATURENOTENABLED"),
    ({"operation": "Upsert"}, "INVALIDOPERATION"),
    ({"object": "Nope"}, "INVALIDENTITY"),
    ({"externalIdFieldName": "LastName"}, "INVALIDJOB"),
    ({"externalIdFieldName": None}, "INVALIDJOB"),
    ({"lineEnding": "CR"}, "INVALIDJOB"),
    ({"columnDelimiter": ","}, "INVALIDJOB"),
    ({"contentType": "JSON"}, "INVALIDJOB"),
    ({"concurrencyMode": "Serial"}, "JSON_PARSER_ERROR"),
]


@pytest.mark.parametrize(("asked", "code"), REFUSED, ids=[json.dumps(r[0]) for r in REFUSED])
def test_refused_jobs(bulk, asked, code):
    answer = bulk.create(**asked)
    assert answer.status_code == 400
    assert [e["errorCode"] for e in answer.json()] == [code]
    assert bulk.http.get(bulk.jobs).json()["records"] == []


def test_calls_that_a_state_forbids(bulk):
    def code(answer):
        return answer.status_code, answer.json()[0]["errorCode"]

    job = bulk.create().json()["id"]
    assert code(bulk.patch(job, "UploadComplete")) == (400, "INVALIDJOBSTATE")
    assert code(bulk.http.get(f"{bulk.jobs}/{job}/failedResults")) == (400, "INVALIDJOBSTATE")
    assert code(bulk.http.delete(f"{bulk.jobs}/{job}")) == (400, "API_ERROR")
    assert code(bulk.put(job, b"{}", **{"Content-Type": "application/json"})) == (400, "CLIENTINPUTERROR")
    assert bulk.put(job, rows(0, 1).encode()).status_code == 201
    assert code(bulk.put(job, rows(0, 1).encode())) == (400, "INVALIDJOBSTATE")
    assert code(bulk.patch(job, "Open")) == (400, "INVALIDJOBSTATE")
    bulk.patch(job, "UploadComplete")
    bulk.wait(job)
    assert code(bulk.put(job, rows(0, 1).encode())) == (400, "INVALIDJOBSTATE")
    refused = bulk.patch(job, "Aborted")
    assert refused.json()[0]["message"] == "Aborting already Completed Job not allowed"
    assert code(bulk.patch("750000000000000AAA", "Aborted")) == (404, "NOT_FOUND")


def test_one_request_job(bulk):
    def post(data):
        asked = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "Customer_Id__c"}
        parts = {
            "job": (None, json.dumps(asked), "application/json"),
            "content": ("content", data, "text/csv"),
        }
        return bulk.http.post(bulk.jobs, files=parts)

    answer = post('Customer_Id__c,LastName\nC-1,"--x\n\ny"\n')
    assert (answer.status_code, answer.json()["state"]) == (200, "UploadComplete")
    assert bulk.wait(answer.json()["id"])["state"] == "JobComplete"
    assert bulk.query("SELECT LastName FROM Contact")[0]["LastName"] == "--x\n\ny"
    full = "Customer_Id__c,LastName\nC-2," + "é" * (100_000 - 29)
    assert len(full) == 100_000 - 1
    assert post(full + "\n").status_code == 200
    refused = post(full + "\n\n")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "CLIENTINPUTERROR")
    assert "100,001" in refused.json()[0]["message"]


def test_chunked_and_zipped(bulk):
    def pieces():
        data = rows(0, 2_000, "Größe").encode()
        for start in range(0, len(data), 1_001):
            yield data[start : start + 1_001]

    for body, headers in (
        (pieces(), {}),
        (gzip.compress(rows(0, 2_000).encode()), {"Content-Encoding": "gzip"}),
    ):
        job = bulk.create().json()["id"]
        assert bulk.put(job, body, **headers).status_code == 201
        bulk.patch(job, "UploadComplete")
        assert bulk.wait(job)["numberRecordsProcessed"] == 2_000
        plain = bulk.http.get(f"{bulk.jobs}/{job}/successfulresults", headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        zipped = bulk.http.get(
            f"{bulk.jobs}/{job}/successfulResults/", headers={"Accept-Encoding": "gzip"}, stream=True
        )
        assert zipped.headers["Content-Encoding"] == "gzip"
        raw = zipped.raw.read(decode_content=False)
        assert gzip.decompress(raw) == plain.content
        assert len(raw) < len(plain.content) / 5
    job = bulk.create().json()["id"]
    cut = gzip.compress(rows(0, 2_000).encode())[:-200]
    assert bulk.put(job, cut, **{"Content-Encoding": "gzip"}).status_code == 400
    assert bulk.put(job, rows(0, 1).encode()).status_code == 201


def test_abort_before_and_during_the_work(bulk):
    job = bulk.create().json()["id"]
    assert bulk.patch(job, "Aborted").json()["state"] == "Aborted"
    assert bulk.results(job) == ('"sf__Id","sf__Created"\n', '"sf__Id","sf__Error"\n', "\n")
    job = bulk.create().json()["id"]
    bulk.put(job, rows(0, 2).encode())
    bulk.patch(job, "Aborted")
    assert bulk.results(job)[2] == 'Customer_Id__c,LastName\n"C-0","Rossi"\n"C-1","Rossi"\n'
    total = 3 * SAVE
    job = bulk.submit(rows(0, total))
    while not bulk.get(job)["numberRecordsProcessed"]:
        time.sleep(0.005)
    assert bulk.patch(job, "Aborted").json()["state"] == "Aborted"
    good, bad, rest = (text.count("\n") - 1 for text in bulk.results(job))
    done = bulk.get(job)
    assert done["state"] == "Aborted"
    assert 0 < done["numberRecordsProcessed"] < total
    assert (good, bad, rest) == (done["numberRecordsProcessed"], 0, total - done["numberRecordsProcessed"])
    with bulk.org.store.reading() as cursor:
        assert cursor.execute("SELECT count(*) FROM data.Contact").fetchall()[0][0] == good


def test_polls_are_answered_while_rows_are_saved(bulk):
    job = bulk.submit(rows(0, 2 * SAVE))
    seen = set()
    while (state := bulk.get(job)["state"]) not in TERMINAL:
        seen.add(state)
    assert "InProgress" in seen
    with bulk.org.store.write():  # what the worker holds while it saves
        polled = bulk.http.get(f"{bulk.jobs}/{job}", timeout=20)
        listed = bulk.http.get(bulk.jobs, timeout=20)
        lines = bulk.http.get(f"{bulk.jobs}/{job}/failedResults", timeout=20)
        found = bulk.http.get(
            f"{bulk.url}{BASE}/query", params={"q": "SELECT count() FROM Contact"}, timeout=20
        )
    assert polled.json()["state"] == "JobComplete"
    assert len(listed.json()["records"]) == 1
    assert lines.text.count("\n") == 1
    assert found.json()["totalSize"] == 2 * SAVE


def test_the_daily_allocation_ends_a_job(bulk):
    bulk.org.limits.batches.set(maximum=15_000, used=14_999)
    job = bulk.run(rows(0, BATCH + 1))
    assert (job["state"], job["errorMessage"]) == ("Failed", "ExceededQuota : ApiBatchItems Limit exceeded.")
    assert job["numberRecordsProcessed"] == BATCH
    assert [t.count("\n") - 1 for t in bulk.results(job["id"])] == [BATCH, 0, 0]


def test_locked_rows(bulk):
    rule = {"fault": "locked_rows", "object": "Contact", "share": 0.25, "times": 1}
    bulk.org.faults.set(parse_rules([rule]))
    job = bulk.run(rows(0, 8))
    assert job["numberRecordsFailed"] == 2
    assert bulk.results(job["id"])[1].count("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access") == 2
    assert bulk.run(rows(0, 8))["numberRecordsFailed"] == 0


def test_list_of_jobs_in_pages(bulk):
    for _ in range(1_003):
        bulk.bulk.jobs.create(object="Contact", operation="insert", api_version="67.0", created_by="005")
    first = bulk.http.get(bulk.jobs, params={"jobType": "V2Ingest", "isPkChunkingEnabled": "false"}).json()
    assert (len(first["records"]), first["done"]) == (1_000, False)
    second = bulk.http.get(bulk.url + first["nextRecordsUrl"]).json()
    assert (len(second["records"]), second["done"], second["nextRecordsUrl"]) == (3, True, None)
    assert len({j["id"] for j in first["records"] + second["records"]}) == 1_003
    assert bulk.http.get(bulk.jobs, params={"jobType": "Classic"}).json()["records"] == []
    assert bulk.http.get(bulk.jobs, params={"jobType": "x"}).status_code == 400


def test_a_reset_ends_a_running_job(bulk):
    job = bulk.submit(rows(0, 3 * SAVE))
    while not bulk.get(job)["numberRecordsProcessed"]:
        time.sleep(0.005)
    bulk.org.reset()
    assert bulk.http.get(f"{bulk.jobs}/{job}").status_code == 404
    while bulk.bulk.worker.busy_with(job):
        time.sleep(0.005)
    assert bulk.query("SELECT Id FROM Contact LIMIT 1") == []
    assert bulk.run(rows(0, 1))["numberRecordsProcessed"] == 1


def test_what_time_does_to_jobs(tmp_path):
    day, ahead = 24 * 3600, 0.0

    def clock():
        return time.time() + ahead

    with serving(tmp_path, clock) as client:
        opened = client.create().json()["id"]
        filled = client.create().json()["id"]
        client.put(filled, rows(0, 2).encode())
        done = client.run(rows(5, 7))["id"]
        ahead = 0.9 * day
        young = client.create().json()["id"]
        assert client.get(opened)["state"] == "Open"
        ahead = 1.1 * day
        client.create()
        assert [client.get(job)["state"] for job in (opened, filled, young)] == ["Aborted", "Aborted", "Open"]
        assert client.results(filled)[2] == 'Customer_Id__c,LastName\n"C-0","Rossi"\n"C-1","Rossi"\n'
        assert client.patch(filled, "UploadComplete").json()[0]["errorCode"] == "INVALIDJOBSTATE"
        ahead = 6.9 * day
        client.create()
        assert len(client.results(done)[0].splitlines()) == 3
        ahead = 7.1 * day
        client.create()
        assert client.http.get(f"{client.jobs}/{done}").status_code == 404
        assert not (tmp_path / "bulk" / done).exists()
        assert client.get(opened)["state"] == "Aborted"
        assert len(client.query("SELECT Id FROM Contact")) == 2
        assert [w["fields"]["Customer_Id__c"] for w in client.org.journal.read(-1, 10)["writes"]] == [
            "C-5",
            "C-6",
        ]
    ahead = 20 * day
    with serving(tmp_path, clock) as client:
        left = {job["id"]: job["state"] for job in client.http.get(client.jobs).json()["records"]}
        assert not {opened, filled, young, done} & set(left)
        assert list(left.values()) == ["Aborted", "Aborted"]


JOURNALED = [  # id, settings, data, operation and fields of each write
    ("null and absent", {}, 'Customer_Id__c,LastName,Title,Email\nC-1,Ito,#N/A,\nC-2,,x,\n',
     [("created", {"Customer_Id__c": "C-1", "LastName": "Ito", "Title": None})]),
    ("quotes and breaks", {}, 'Customer_Id__c,LastName\nC-1,"a ""b""\n, c"\nC-2, y \n',
     [("created", {"Customer_Id__c": "C-1", "LastName": 'a "b"\n, c'}),
      ("created", {"Customer_Id__c": "C-2", "LastName": " y "})]),
    ("other marks", {"columnDelimiter": "CARET", "lineEnding": "CRLF"}, "Customer_Id__c^LastName\r\nC-1^é\r\n",
     [("created", {"Customer_Id__c": "C-1", "LastName": "é"})]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "data", "writes"), [j[1:] for j in JOURNALED], ids=[j[0] for j in JOURNALED]
)
def test_the_journal_of_a_job(bulk, settings, data, writes):
    def seen(limit=100):
        return [(w["operation"], w["fields"]) for w in bulk.org.journal.read(-1, limit)["writes"]]

    job = bulk.run(data, **settings)
    assert seen() == writes
    assert seen(1) == writes[:1]
    record = bulk.query("SELECT Id FROM Contact WHERE Customer_Id__c = 'C-1'")[0]["Id"]
    bulk.run(data, **settings)
    again = [w for w in seen()[len(writes) :] if w[1]["Customer_Id__c"] == "C-1"]
    assert again == [("updated", writes[0][1])]
    bulk.run(f"Id\n{record}\n", operation="delete")
    assert seen()[-1] == ("deleted", {"Id": record})
    assert bulk.http.delete(f"{bulk.jobs}/{job['id']}").status_code == 204
    assert seen()[: len(writes)] == writes
    bulk.org.reset()
    assert seen() == []


def test_restart(tmp_path):
    with serving(tmp_path) as client:
        done = client.run(rows(0, 3))
        files = client.results(done["id"])
        waiting = client.create().json()["id"]
        client.put(waiting, rows(10, 12).encode())
        total = 3 * SAVE
        broken = client.submit(rows(0, total))
        while not client.get(broken)["numberRecordsProcessed"]:
            time.sleep(0.005)
    upload = tmp_path / "bulk" / broken
    with (upload / "successful.csv").open("ab") as handle:
        handle.write(b'"half a li')
    with serving(tmp_path) as client:
        assert client.get(done["id"]) == done
        assert client.results(done["id"]) == files
        failed = client.get(broken)
        assert (failed["state"], failed["errorMessage"]) == (
            "Failed",
            "InternalServerError : the org was restarted",
        )
        good, bad, rest = (text.count("\n") - 1 for text in client.results(broken))
        assert 0 < good == failed["numberRecordsProcessed"] < total
        assert (bad, good + rest) == (0, total)
        with client.org.store.reading() as cursor:
            assert cursor.execute("SELECT count(*) FROM data.Contact").fetchall()[0][0] == good
        client.patch(waiting, "UploadComplete")
        assert client.wait(waiting)["numberRecordsProcessed"] == 2
