"""The table of codes: what each means, and that SQL and Python read it alike."""

from __future__ import annotations

import duckdb
import pytest

from sfsync.records import Operation
from sfsync.salesforce.bulk import error_columns
from sfsync.salesforce.failures import NoAnswerError, Refusal, SalesforceError
from sfsync.salesforce.status_actions import Action
from sfsync.salesforce.status_codes import (
    TABLE,
    TABLE_COLUMNS,
    ErrorColumns,
    classify,
    classify_call,
    lookup_sql,
    rows,
)

UPSERT, UPDATE, DELETE = Operation.UPSERT, Operation.UPDATE, Operation.DELETE

CASES = [  # code, operation, message, fields, action
    (
        "UNABLE_TO_LOCK_ROW",
        UPDATE,
        "unable to obtain exclusive access to this record",
        "",
        Action.RETRY_SMALLER,
    ),
    ("TooManyLockFailure", UPSERT, "", "", Action.RETRY_SMALLER),
    ("ENTITY_IS_DELETED", UPDATE, "entity is deleted", "", Action.GONE),
    ("ENTITY_IS_DELETED", UPDATE, "entity is deleted", "Id", Action.GONE),
    ("ENTITY_IS_DELETED", UPDATE, "entity is deleted", "AccountId", Action.FIX),
    ("ENTITY_IS_DELETED", DELETE, "entity is deleted", "", Action.ALREADY_DELETED),
    ("ENTITY_IS_DELETED", UPSERT, "entity is deleted", "", Action.FIX),
    ("INVALID_CROSS_REFERENCE_KEY", UPDATE, "invalid cross reference id", "", Action.GONE),
    ("INVALID_CROSS_REFERENCE_KEY", UPDATE, "invalid cross reference id", "OwnerId", Action.FIX),
    ("INVALID_CROSS_REFERENCE_KEY", DELETE, "invalid cross reference id", "", Action.ALREADY_DELETED),
    ("INVALID_CROSS_REFERENCE_KEY", UPSERT, "invalid cross reference id", "", Action.FIX),
    ("UNDELETE_FAILED", Operation.UNDELETE, "Entity is not in the recycle bin", "", Action.GONE),
    ("ENTITY_IS_DELETED", Operation.UNDELETE, "entity is deleted", "", Action.GONE),
    ("INSUFFICIENT_ACCESS_OR_READONLY", Operation.UNDELETE, "insufficient access", "", Action.FIX),
    (
        "INVALID_FIELD",
        UPSERT,
        "Foreign key external ID: a-1 not found for field Account_Id__c in entity Account",
        "",
        Action.NEXT_RUN,
    ),
    ("INVALID_FIELD", UPSERT, "No such column 'Foo__c' on sobject of type Account", "", Action.FIX),
    ("REQUEST_LIMIT_EXCEEDED", None, "TotalRequests Limit exceeded.", "", Action.LIMIT_DAILY),
    ("REQUEST_LIMIT_EXCEEDED", None, "ConcurrentRequests Limit exceeded.", "", Action.LIMIT_CONCURRENT),
    ("EXCEEDEDQUOTA", None, "ApiBatchItems Limit exceeded.", "", Action.LIMIT_DAILY),
    ("REQUIRED_FIELD_MISSING", UPSERT, "Required fields are missing: [LastName]", "LastName", Action.FIX),
    ("DUPLICATE_VALUE", UPSERT, "duplicate value found: Ext__c", "", Action.FIX),
    ("STORAGE_LIMIT_EXCEEDED", UPSERT, "storage limit exceeded", "", Action.NEXT_RUN),
    ("ENTITY_IS_LOCKED", UPDATE, "This record is locked.", "", Action.NEXT_RUN),
    (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        UPDATE,
        "T: execution of BeforeUpdate\ncaused by: System.LimitException: Too many SOQL queries: 101",
        "",
        Action.ISOLATE,
    ),
    ("CANNOT_EXECUTE_FLOW_TRIGGER", UPSERT, "error: Apex CPU time limit exceeded.", "", Action.ISOLATE),
    (
        "APEX_ERROR",
        UPSERT,
        "Too many retries of batch save in the presence of Apex triggers",
        "",
        Action.ISOLATE,
    ),
    ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", UPDATE, "T: execution of BeforeUpdate: null", "", Action.FIX),
    ("CANNOT_EXECUTE_FLOW_TRIGGER", UPDATE, "failed: UNABLE_TO_LOCK_ROW", "", Action.RETRY_SMALLER),
    ("UNKNOWN_EXCEPTION", UPDATE, "An unexpected error occurred.", "", Action.RETRY_NOW),
    ("PROCESSING_HALTED", UPSERT, "The transaction was rolled back", "", Action.ROLLED_BACK),
    ("SOMETHING_NEW", UPSERT, "who knows", "", Action.FIX),
]
IDS = [f"{code}-{operation or 'any'}-{fields or 'no field'}" for code, operation, _, fields, _ in CASES]


@pytest.mark.parametrize(("code", "operation", "message", "fields", "action"), CASES, ids=IDS)
def test_python_and_sql_read_the_table_alike(code, operation, message, fields, action):
    assert classify(code, operation, message, tuple(filter(None, [fields]))).action is action
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE codes ({TABLE_COLUMNS})")
        db.executemany("INSERT INTO codes VALUES (?, ?, ?, ?, ?, ?, ?)", rows())
        db.execute("CREATE TABLE t AS SELECT ? AS c, ? AS m, ? AS f", [code, message, fields])
        sql = lookup_sql("codes", f"'{operation or ''}'", ErrorColumns("t.c", "t.m", "t.f"))
        assert db.execute(f"SELECT {sql} FROM t").fetchone()[0] == action


def test_the_table_is_whole():
    assert len({(r.code, r.operation, r.message, r.no_field) for r in TABLE}) == len(TABLE)
    assert all(r.help.endswith(".") and r.code == r.code.upper() for r in TABLE)
    special_without_plain = {r.code for r in TABLE if r.message or r.operation or r.no_field} - {
        r.code for r in TABLE if not (r.message or r.operation or r.no_field)
    }
    assert special_without_plain == set()


def refusal(status: int, code: str, message: str = "") -> SalesforceError:
    return SalesforceError("x", status=status, refusals=(Refusal(code, message),))


CALLS = [  # id, error, operation, action
    ("lost answer", NoAnswerError("x", sent=None), UPSERT, Action.IN_DOUBT),
    ("broken answer", NoAnswerError("x", sent=True), UPSERT, Action.IN_DOUBT),
    ("no connection", NoAnswerError("x", sent=False), UPSERT, Action.RETRY_NOW),
    ("503 with a code", refusal(503, "SERVER_UNAVAILABLE"), UPSERT, Action.IN_DOUBT),
    ("500 of the org", refusal(500, "UNKNOWN_EXCEPTION"), UPDATE, Action.IN_DOUBT),
    ("an unheard-of 5xx", refusal(599, "HTTP_599"), UPDATE, Action.IN_DOUBT),
    ("edge throttling", refusal(429, "HTTP_429"), UPDATE, Action.RETRY_NOW),
    ("one bad date", refusal(400, "JSON_PARSER_ERROR", "Cannot deserialize"), UPSERT, Action.RETRY_SMALLER),
    (
        "daily limit",
        refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        UPDATE,
        Action.LIMIT_DAILY,
    ),
    ("no single record is gone", refusal(404, "ENTITY_IS_DELETED"), UPDATE, Action.FIX),
    ("no single record is deleted", refusal(404, "INVALID_CROSS_REFERENCE_KEY"), DELETE, Action.FIX),
    ("a wrong path deletes nothing", refusal(404, "NOT_FOUND"), DELETE, Action.FIX),
    ("too large", refusal(413, "HTTP_413"), UPSERT, Action.RETRY_SMALLER),
    ("session", refusal(401, "INVALID_SESSION_ID"), UPSERT, Action.NEW_TOKEN),
]


@pytest.mark.parametrize(("error", "operation", "action"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_a_call_that_failed_whole(error, operation, action):
    assert classify_call(error, operation).action is action


BULK_ERRORS = [  # cell, code, message, fields
    (
        "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --",
        "REQUIRED_FIELD_MISSING",
        "Required fields are missing: [LastName]",
        "LastName",
    ),
    (
        "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: 0015g00000XyZ12AAB:--",
        "UNABLE_TO_LOCK_ROW",
        "unable to obtain exclusive access to this record or 1 records: 0015g00000XyZ12AAB",
        "",
    ),
    ("FIELD_X:two\nlines: and more:A__c, B__c --", "FIELD_X", "two\nlines: and more", "A__c,B__c"),
    ("CODE:text without a tail", "CODE", "text without a tail", ""),
    ("no grammar at all", "no grammar at all", "", ""),
    (
        "INVALID_FIELD:Foreign key external ID: a-1 not found for field Account_Id__c in entity Account:Account_Id__c --",
        "INVALID_FIELD",
        "Foreign key external ID: a-1 not found for field Account_Id__c in entity Account",
        "Account_Id__c",
    ),
]


@pytest.mark.parametrize(("cell", "code", "message", "fields"), BULK_ERRORS)
def test_the_error_cell_of_bulk(cell, code, message, fields):
    parts = error_columns("t.e")
    with duckdb.connect() as db:
        db.execute("CREATE TABLE t AS SELECT ? AS e", [cell])
        found = db.execute(f"SELECT {parts.code}, {parts.message}, {parts.fields} FROM t").fetchone()
    assert found == (code, message, fields)
