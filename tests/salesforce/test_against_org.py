"""The whole room against the local org: from texts in DuckDB to records, and every call accounted for."""

from __future__ import annotations

import json
import time

import duckdb
import pytest

from sfsync.engine.duckdb import CSV_OPTIONS
from sfsync.errors import AuthError
from sfsync.ports import SystemClock
from sfsync.records import Column, FieldRule, Operation, Reference, Send, SourceType
from sfsync.salesforce import bulk, encode
from sfsync.salesforce.auth import Desk, sign_in
from sfsync.salesforce.bulk import JobState, ResultFile
from sfsync.salesforce.describe import fetch_contract, fetch_org
from sfsync.salesforce.door import open_door
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.login import Login, id18
from sfsync.salesforce.query import query, soql
from sfsync.salesforce.rest import Collection, send_collection, send_composite
from sfsync.salesforce.status_actions import Action
from sfsync.salesforce.status_codes import classify, classify_call
from sfsync.salesforce.transport import Transport

UPSERT, UPDATE, DELETE = Operation.UPSERT, Operation.UPDATE, Operation.DELETE
ACCOUNT = Reference("Account", "Account", "Account_Id__c", polymorphic=False)


def rule(field: str, kind: str = "string", length: int = 80, reference: Reference | None = None) -> FieldRule:
    column = Column(field.lower(), "VARCHAR", SourceType.TEXT)
    return FieldRule(
        field, field, column, kind, Send.VALUE, Send.VALUE_OR_NULL, length=length, reference=reference
    )


RULES = (
    rule("Customer_Id__c"),
    rule("LastName"),
    rule("FirstName"),
    rule("Description", "textarea", 32000),
    rule("Lifetime_Value__c", "currency"),
    rule("Is_Champion__c", "boolean"),
    rule("Birthdate", "date"),
    rule("Last_Login__c", "datetime"),
    rule("Preferred_Time__c", "time"),
    rule("Interests__c", "multipicklist"),
    rule("AccountId", "string", 40, ACCOUNT),
)
NAMES = [r.field for r in RULES]
TEXTS = (
    "C-1",
    'O\'Neil, "Zoë"',
    "null",
    "line one\nline \\ two; 👍",
    "-12345.6",
    "true",
    "1990-02-28",
    "2026-01-31T10:00:00.000Z",
    "08:30:00.000Z",
    "Analytics;Mobile",
    "A-1",
)


@pytest.fixture
def login(org):
    return Login("client_credentials", org.url, org.client_id, org.client_secret)


@pytest.fixture
def door(org, login, ledger):
    opened = open_door(login, ledger=ledger, clock=SystemClock(), ca_file=org.ca_file)
    yield opened
    opened.close()


def rows_table(rows, names=NAMES):
    db = duckdb.connect()
    columns = ", ".join(f"{encode.quoted(n)} VARCHAR" for n in names)
    db.execute(f"CREATE TABLE t (ordinal INTEGER, {columns})")
    db.executemany(
        f"INSERT INTO t VALUES ({', '.join('?' * (len(names) + 1))})",
        [(n, *row) for n, row in enumerate(rows)],
    )
    return db


def records_of(db, rules=RULES, by_id=False) -> str:
    record = encode.json_record("Contact", rules, by_id=by_id)
    return db.execute(f"SELECT {encode.json_array(record, 'ordinal')} FROM t").fetchone()[0]


def csv_of(db, path, rules=RULES, *, by_id=False, clearing=()):
    columns = encode.csv_columns(rules, by_id=by_id, clearing=clearing)
    db.execute(f"COPY ({encode.csv_select(columns, 't ORDER BY ordinal')}) TO '{path}' ({CSV_OPTIONS})")
    return path


def make_account(org, key="A-1") -> str:
    return org.post("/sobjects/Account/", json={"Name": key, "Account_Id__c": key}).json()["id"]


def finished(door, job_id):
    for _ in range(300):
        info = bulk.job_info(door, job_id)
        if info.state.final:
            return info
        time.sleep(0.05)
    raise AssertionError(f"job {job_id} does not end")


def run_job(door, path, operation=UPSERT, external_id="Customer_Id__c"):
    job = bulk.create_job(door, operation, "Contact", external_id)
    bulk.upload(door, job.id, path)
    bulk.close(door, job.id)
    return finished(door, job.id)


# Signing in


def test_three_ways_to_sign_in_lead_to_the_same_org(org, login):
    transport = Transport(ca_file=org.ca_file)
    by_app = sign_in(login, Desk(transport))
    password = Login(
        "password", org.url, org.client_id, org.client_secret, org.username, org.password, org.security_token
    )
    by_user = sign_in(password, Desk(transport))
    by_token = sign_in(Login("access_token", org.url, access_token=by_user.access_token), Desk(transport))
    assert {by_app.org_id, by_user.org_id, by_token.org_id} == {id18(org.org_id)}
    assert by_user.user_id == by_token.user_id
    transport.close()


BAD = [  # id, changes to the login, message
    ("password", {"password": "n0t-this-0ne"}, "user name, password or security token is wrong"),
    ("security token", {"security_token": ""}, "user name, password or security token is wrong"),
    ("client id", {"client_id": "n0t-this-0ne"}, "does not know the consumer key"),
    ("client secret", {"client_secret": "n0t-this-0ne"}, "consumer secret does not fit"),
]


@pytest.mark.parametrize(("changes", "message"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_wrong_credentials(org, changes, message):
    right = {
        "client_id": org.client_id,
        "client_secret": org.client_secret,
        "username": org.username,
        "password": org.password,
        "security_token": org.security_token,
    }
    transport = Transport(ca_file=org.ca_file)
    with pytest.raises(AuthError, match=message):
        sign_in(Login("password", org.url, **(right | changes)), Desk(transport))
    transport.close()


# Values


STORED = {
    "Customer_Id__c": "C-1",
    "LastName": 'O\'Neil, "Zoë"',
    "FirstName": "null",
    "Description": "line one\nline \\ two; 👍",
    "Lifetime_Value__c": "-12345.6",
    "Is_Champion__c": "true",
    "Birthdate": "1990-02-28",
    "Last_Login__c": "2026-01-31T10:00:00.000Z",
    "Preferred_Time__c": "08:30:00.000Z",
    "Interests__c": "Analytics;Mobile",
}


def stored(org, key="C-1"):
    record = org.by("Contact", "Customer_Id__c")[key]
    return {name: record.get(name) for name in STORED}, record.get("AccountId")


@pytest.mark.parametrize("way", ["collections", "composite", "bulk", "multipart"])
def test_every_type_arrives_by_every_way_and_null_clears_it(org, door, ledger, tmp_path, way):
    account = make_account(org)

    def send(texts):
        db = rows_table([texts])
        clearing = ["AccountId"] if texts[-1] == "" else []
        if way in ("collections", "composite"):
            part = Collection(UPSERT, "Contact", 1, records=records_of(db), external_id="Customer_Id__c")
            if way == "collections":
                body = send_collection(door, part).json()
            else:
                body = send_composite(door, [part]).json()["compositeResponse"][0]["body"]
            assert body[0]["success"], body
            return body[0]["created"]
        path = csv_of(db, tmp_path / "rows.csv", clearing=clearing)
        if way == "multipart":
            job = bulk.create_multipart(door, UPSERT, "Contact", path, "Customer_Id__c")
            info = finished(door, job.id)
        else:
            info = run_job(door, path)
        assert (info.state, info.processed, info.failed) == (JobState.JOB_COMPLETE, 1, 0)
        bulk.download_results(door, info.id, ResultFile.SUCCESSFUL, tmp_path / "ok.csv")
        return (tmp_path / "ok.csv").read_text().splitlines()[1].split(",")[1] == '"true"'

    assert send(TEXTS) is True
    assert stored(org) == (STORED, account)
    assert send(("C-1",) + (None,) * 10) is False  # absent leaves all alone
    assert stored(org) == (STORED, account)
    cleared = ("C-1", "Rossi", *[""] * 3, None, *[""] * 5)
    assert send(cleared) is False
    assert stored(org) == (
        dict.fromkeys(STORED) | {"Customer_Id__c": "C-1", "LastName": "Rossi", "Is_Champion__c": "true"},
        None,
    )


def test_the_literal_na_goes_by_json_and_would_not_survive_csv(org, door):
    rows = [("C-1", "#N/A"), ("C-2", "Rossi")]
    rules = RULES[:2]
    db = rows_table(rows, NAMES[:2])
    assert db.execute(f"SELECT ordinal FROM t WHERE {encode.needs_json(rules)}").fetchall() == [(0,)]
    part = Collection(UPSERT, "Contact", 2, records=records_of(db, rules), external_id="Customer_Id__c")
    assert [r["success"] for r in send_collection(door, part).json()] == [True, True]
    assert org.by("Contact", "Customer_Id__c")["C-1"]["LastName"] == "#N/A"


def test_a_text_that_looks_like_a_reference_is_stored_as_it_is(org, door):
    db = rows_table([("C-1", "@{r0[0].id}")], NAMES[:2])
    part = Collection(UPSERT, "Contact", 1, records=records_of(db, RULES[:2]), external_id="Customer_Id__c")
    assert send_collection(door, part).json()[0]["success"] is True
    assert org.by("Contact", "Customer_Id__c")["C-1"]["LastName"] == "@{r0[0].id}"


def test_updates_and_deletes_by_id_share_a_composite(org, door, ledger):
    first = org.post("/sobjects/Contact/", json={"LastName": "A", "Customer_Id__c": "C-1"}).json()["id"]
    second = org.post("/sobjects/Contact/", json={"LastName": "B", "Customer_Id__c": "C-2"}).json()["id"]
    db = rows_table([(first, "Changed"), (second[:-3] + "AAA", "x")], ["Id", "LastName"])
    update = Collection(
        UPDATE, "Contact", 2, records=records_of(db, RULES[1:2], by_id=True), reference_id="u"
    )
    delete = Collection(DELETE, "Contact", 1, ids=(second,), reference_id="d")
    parts = {p["referenceId"]: p for p in send_composite(door, [update, delete]).json()["compositeResponse"]}
    assert [r["success"] for r in parts["u"]["body"]] == [True, False]
    assert parts["d"]["body"][0]["success"] is True
    assert {k: r["LastName"] for k, r in org.by("Contact", "Customer_Id__c").items()} == {"C-1": "Changed"}
    assert ledger.booked == ["composite"]

    again = send_collection(door, delete).json()[0]
    error = again["errors"][0]
    assert classify(error["statusCode"], DELETE, error["message"]).action is Action.ALREADY_DELETED


def test_refused_rows_are_told_apart(org, door, tmp_path):
    db = rows_table(
        [("C-1", "ok", None), ("C-2", "", None), ("C-3", "x", "A-404")],
        ["Customer_Id__c", "LastName", "AccountId"],
    )
    rules = (RULES[0], RULES[1], RULES[10])
    part = Collection(UPSERT, "Contact", 3, records=records_of(db, rules), external_id="Customer_Id__c")
    results = send_collection(door, part).json()
    found = [
        classify(e["statusCode"], UPSERT, e["message"], tuple(e["fields"])).action
        for r in results
        for e in r["errors"][:1]
    ]
    assert ([r["success"] for r in results], found) == ([True, False, False], [Action.FIX, Action.NEXT_RUN])

    info = run_job(door, csv_of(db, tmp_path / "rows.csv", rules))
    assert (info.processed, info.failed) == (3, 2)
    bulk.download_results(door, info.id, ResultFile.FAILED, tmp_path / "bad.csv")
    parts = bulk.error_columns("sf__Error")
    table = f"read_csv('{tmp_path / 'bad.csv'}', all_varchar=true, header=true)"
    sql = f"SELECT Customer_Id__c, {parts.code}, {parts.message}, {parts.fields} FROM {table} ORDER BY 1"
    rows = db.execute(sql).fetchall()
    assert [
        (r[0], classify(r[1], UPSERT, r[2], tuple(filter(None, r[3].split(",")))).action) for r in rows
    ] == [
        ("C-2", Action.FIX),
        ("C-3", Action.NEXT_RUN),
    ]


# Describe and SOQL


def test_the_contract_of_the_org(org, door, ledger):
    contract = fetch_contract(door, ["contact", "Account"], SystemClock())
    field = contract.object("Contact").field("Customer_Id__c")
    assert (field.external_id, field.unique, field.case_sensitive, field.length) == (True, True, False, 40)
    assert contract.object("Contact").field("AccountId").relationship_name == "Account"
    assert (contract.org_id, contract.username, contract.api_version) == (
        id18(org.org_id),
        org.username,
        "67.0",
    )
    assert ledger.booked == ["describe", "describe"]


def test_records_are_found_whatever_their_key_holds(org, door):
    keys = ["O'Neil", 'a"b', "back\\slash", "ünï"]
    for key in keys:
        org.post("/sobjects/Contact/", json={"LastName": "x", "Customer_Id__c": key})
    statement = soql("SELECT Customer_Id__c FROM Contact WHERE Customer_Id__c IN {}", keys)
    assert sorted(r["Customer_Id__c"] for page in query(door, statement) for r in page) == sorted(keys)


def test_the_org_itself(org, door):
    found = fetch_org(door)
    assert (found.org_id, found.instance_url, bool(found.name)) == (id18(org.org_id), org.url, True)


# Accounts and faults


def counted(org) -> int:
    return sum(1 for r in org.requests() if r["counted"])


def test_our_account_of_calls_is_the_orgs(org, door, ledger, tmp_path):
    _ = door.token
    before = counted(org)
    fetch_contract(door, ["Contact"], SystemClock())
    list(query(door, "SELECT Id FROM Contact"))
    db = rows_table([("C-1", "x")], NAMES[:2])
    part = Collection(UPSERT, "Contact", 1, records=records_of(db, RULES[:2]), external_id="Customer_Id__c")
    send_collection(door, part)
    send_composite(door, [part])
    run_job(door, csv_of(db, tmp_path / "rows.csv", RULES[:2]))
    with pytest.raises(SalesforceError):
        next(query(door, "SELECT Nope FROM Contact"))
    assert len(ledger.booked) == counted(org) - before
    assert ledger.observed[-1][0] == door.usage.used


def test_an_expired_token_costs_one_more_call_and_changes_nothing(org, door, ledger):
    db = rows_table([("C-1", "x")], NAMES[:2])
    part = Collection(UPSERT, "Contact", 1, records=records_of(db, RULES[:2]), external_id="Customer_Id__c")
    org.faults([{"fault": "expired_token", "match": "PATCH /composite"}])
    assert send_collection(door, part).json()[0]["created"] is True
    assert len(org.records("Contact")) == 1
    assert ledger.booked == ["collections"] * 2


@pytest.mark.parametrize(("fault", "written"), [("lost_before_commit", 0), ("lost_after_commit", 1)])
def test_a_lost_answer_is_in_doubt_and_repeating_it_ends_in_the_same_org(org, door, ledger, fault, written):
    db = rows_table([("C-1", "x")], NAMES[:2])
    part = Collection(UPSERT, "Contact", 1, records=records_of(db, RULES[:2]), external_id="Customer_Id__c")
    org.faults([{"fault": fault, "match": "PATCH /composite"}])
    with pytest.raises(NoAnswerError) as caught:
        send_collection(door, part)
    assert classify_call(caught.value, UPSERT).action is Action.IN_DOUBT
    assert (len(org.records("Contact")), len(ledger.booked)) == (written, 1)
    assert send_collection(door, part).json()[0]["created"] is (written == 0)
    assert len(org.records("Contact")) == 1


def test_server_errors_and_locks_are_classified(org, door):
    db = rows_table([("C-1", "x")], NAMES[:2])
    part = Collection(UPSERT, "Contact", 1, records=records_of(db, RULES[:2]), external_id="Customer_Id__c")
    send_collection(door, part)
    org.faults(
        [
            {
                "fault": "status",
                "match": "PATCH /composite",
                "status": 503,
                "body": "<html><title>Busy</title></html>",
            },
            {"fault": "locked_rows", "object": "Contact"},
        ]
    )
    with pytest.raises(SalesforceError, match="Busy") as caught:
        send_collection(door, part)
    assert classify_call(caught.value, UPSERT).action is Action.IN_DOUBT
    error = send_collection(door, part).json()[0]["errors"][0]
    assert classify(error["statusCode"], UPSERT, error["message"]).action is Action.RETRY_SMALLER


def test_the_orgs_daily_limit(org, door):
    _ = door.version
    org.limits(max=100, used=100)
    with pytest.raises(SalesforceError) as caught:
        next(query(door, "SELECT Id FROM Contact"))
    assert (caught.value.status, caught.value.limit) == (403, "daily")
    assert classify_call(caught.value, None).action is Action.LIMIT_DAILY


def test_a_job_that_the_org_cannot_read(org, door, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"Customer_Id__c,Nope__c\nC-1,x\n")
    info = run_job(door, path)
    assert (info.state, info.processed) == (JobState.FAILED, 0)
    assert "Nope__c" in info.error
    with pytest.raises(SalesforceError) as caught:
        bulk.upload(door, info.id, path)
    assert caught.value.code == "INVALIDJOBSTATE"
    assert info.id in [j.id for j in bulk.list_jobs(door)]
    bulk.delete_job(door, info.id)
    with pytest.raises(SalesforceError) as caught:
        bulk.job_info(door, info.id)
    assert caught.value.status == 404


def test_an_aborted_job_writes_nothing(org, door, tmp_path):
    job = bulk.create_job(door, UPSERT, "Contact", "Customer_Id__c")
    bulk.upload(door, job.id, csv_of(rows_table([("C-1", "x")], NAMES[:2]), tmp_path / "r.csv", RULES[:2]))
    assert bulk.abort(door, job.id).state is JobState.ABORTED
    assert org.records("Contact") == []
    assert json.loads(org.get(f"/jobs/ingest/{job.id}").text)["state"] == "Aborted"
