"""What a status code means for a row or a call: the one table that push/retry and the reports read.

Owns:      Action, and one line of help per code; the default for codes nobody knows.
Does not:  try anything again or wait.
Invariant: every (code, operation) has an action; of several that fit, the lowest rank counts.
Source:    REST API guide "Status Codes", SOAP API guide "Core Data Types", Bulk API 2.0 guide "Errors".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from sfsync.records import Operation
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.recycle_bin import NOT_IN_BIN


class Action(StrEnum):
    """What comes next for a row (or for a call that was refused whole)."""

    RETRY_NOW = "retry_now"  # the same again in this run, after a pause
    RETRY_SMALLER = "retry_smaller"  # the same rows in smaller groups, one group at a time
    ISOLATE = "isolate"  # a few rows of the group are too much for it: halves find them, the others pass
    NEXT_RUN = "next_run"  # nothing to be done now; not held, tried on every run
    FIX = "fix"  # a person must change data, rights or rules: held until something changes
    NEW_TOKEN = "new_token"
    IN_DOUBT = "in_doubt"  # may have been done: look before repeating
    LIMIT_DAILY = "limit_daily"  # no calls left: the run ends, the rest is deferred
    LIMIT_CONCURRENT = "limit_concurrent"  # too many long calls at once: pause, then smaller groups
    GONE = "gone"  # the record we knew is not there any more
    ALREADY_DELETED = "already_deleted"  # a delete that found nothing to do: success


@dataclass(frozen=True, slots=True)
class StatusCode:
    """A row of the table. operation None: any. message: an SQL ILIKE pattern that the org's text must fit, or None.

    no_field: only when the org names no field, or just Id: the error is about the record itself.
    """

    code: str
    operation: Operation | None
    message: str | None
    action: Action
    help: str
    no_field: bool = False


def _rows(action: Action, text: str, *codes: str) -> tuple[StatusCode, ...]:
    return tuple(StatusCode(code, None, None, action, text) for code in codes)


def _on(
    operation: Operation | None, action: Action, text: str, *codes: str, message: str | None = None
) -> tuple[StatusCode, ...]:
    return tuple(StatusCode(code, operation, message, action, text) for code in codes)


# A lookup's Id can be the stale one, too; then the org names that field, and a person must look.
_GONE = ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")
_TOO_MUCH = "A trigger, flow or rule used up its limits, or its tries, on these rows together; smaller groups can pass."
_LIMITS = (
    *("limitexception", "too many soql queries", "apex cpu time limit", "too many dml", "apex heap size"),
    "too many retries of batch save",
)
_SPECIAL: tuple[StatusCode, ...] = (
    # Operation, message or fields decide: these come before the plain table.
    *(
        StatusCode(code, Operation.DELETE, None, Action.ALREADY_DELETED, "The record was deleted before.")
        for code in _GONE
    ),
    *(
        StatusCode(
            code,
            Operation.UPDATE,
            None,
            Action.GONE,
            "The record is not there any more; `on_gone` decides what the next plan does.",
            no_field=True,
        )
        for code in _GONE
    ),
    *(
        StatusCode(
            code,
            Operation.UNDELETE,
            None,
            Action.GONE,
            "The record is no longer in the recycle bin; taking the same run back once more makes it anew, with a new Id.",
        )
        for code in NOT_IN_BIN
    ),
    *_on(
        None,
        Action.NEXT_RUN,
        "The parent record is not in the org (yet): it must be created first.",
        "INVALID_FIELD",
        message="%foreign key external id%not found%",
    ),
    *_on(
        None,
        Action.LIMIT_CONCURRENT,
        "Too many calls of 20 s or more at once; smaller groups run shorter.",
        "REQUEST_LIMIT_EXCEEDED",
        message="%concurrent%",
    ),
    *_on(
        Operation.UPSERT,
        Action.FIX,
        "The same key stood twice in one request.",
        "DUPLICATE_VALUE",
        message="duplicate external id specified%",
    ),
    *(
        StatusCode(code, None, f"%{words}%", Action.ISOLATE, _TOO_MUCH)
        for words in _LIMITS
        for code in ("APEX_ERROR", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER")
    ),
    *_on(
        None,
        Action.RETRY_SMALLER,
        "A trigger or flow met a locked row.",
        "APEX_ERROR",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "CANNOT_EXECUTE_FLOW_TRIGGER",
        message="%unable_to_lock_row%",
    ),
)

_PLAIN: tuple[StatusCode, ...] = (
    *_rows(
        Action.RETRY_SMALLER,
        "Another process holds the record or its parent; smaller groups, one at a time, get through.",
        "UNABLE_TO_LOCK_ROW",
        "TOOMANYLOCKFAILURE",
        "TOO_MANY_LOCK_FAILURE",
    ),
    *_rows(
        Action.RETRY_SMALLER,
        "The call took too long; fewer rows a call take less.",
        "REQUEST_RUNNING_TOO_LONG",
        "QUERY_TIMEOUT",
        "TIMEOUT",
    ),
    *_rows(
        Action.RETRY_SMALLER,
        "The request was too large; it is split.",
        "EXCEEDED_MAX_SIZE_REQUEST",
        "EXCEEDED_ID_LIMIT",
        "HTTP_413",
    ),
    *_rows(
        Action.RETRY_SMALLER,
        "A text holds '@{', which a Composite takes for a reference; the rows go by Collections alone.",
        "REFERENCE_IN_TEXT",
    ),
    *_rows(
        Action.RETRY_NOW,
        "Too much at once; the same passes after a pause.",
        "TOO_MANY_APEX_REQUESTS",
        "TXN_SECURITY_METERING_ERROR",
        "HTTP_429",
    ),
    *_rows(Action.RETRY_NOW, "No connection was made; nothing was sent.", "NOT_SENT"),
    *_rows(
        Action.RETRY_NOW,
        "The org failed on this row without saying why.",
        "SERVER_UNAVAILABLE",
        "UNKNOWN_EXCEPTION",
    ),
    *_rows(
        Action.IN_DOUBT,
        "No usable answer came back: the org may or may not have done it.",
        "NO_ANSWER",
        "HTTP_500",
        "HTTP_502",
        "HTTP_503",
        "HTTP_504",
    ),
    *_rows(
        Action.RETRY_SMALLER,
        "Another row or part of the same request failed and took this one with it.",
        "PROCESSING_HALTED",
        "BATCH_PROCESSING_HALTED",
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    ),
    *_rows(
        Action.NEW_TOKEN,
        "The session has ended.",
        "INVALID_SESSION_ID",
        "INVALIDSESSIONID",
        "INVALID_AUTH_HEADER",
    ),
    *_rows(
        Action.LIMIT_DAILY, "The org has no API calls left in its rolling 24 hours.", "REQUEST_LIMIT_EXCEEDED"
    ),
    *_rows(
        Action.LIMIT_DAILY,
        "The org has no Bulk batches left in its rolling 24 hours.",
        "EXCEEDEDQUOTA",
        "EXCEEDED_QUOTA",
    ),
    *_rows(
        Action.NEXT_RUN,
        "The org is read-only during maintenance.",
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
    ),
    *_rows(
        Action.NEXT_RUN, "The org's data storage is full: free space or buy more.", "STORAGE_LIMIT_EXCEEDED"
    ),
    *_rows(Action.NEXT_RUN, "The record is locked, usually by an approval in progress.", "ENTITY_IS_LOCKED"),
    *_rows(
        Action.FIX,
        "A trigger of the org failed; its text says where.",
        "APEX_ERROR",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    ),
    *_rows(Action.FIX, "A flow of the org failed; its text says which.", "CANNOT_EXECUTE_FLOW_TRIGGER"),
    *_rows(
        Action.FIX,
        "A transaction security policy of the org refused.",
        "TXN_SECURITY_NO_ACCESS",
        "TXN_SECURITY_RUNTIME_ERROR",
        "TXN_SECURITY_APEX_ERROR",
    ),
    *_rows(Action.FIX, "A size, licence or event limit of the org.", "LIMIT_EXCEEDED"),
    *_rows(
        Action.FIX,
        "A duplicate rule of the org found look-alikes: change the row, or the rule.",
        "DUPLICATES_DETECTED",
    ),
    *_rows(Action.FIX, "Another record holds this unique value.", "DUPLICATE_VALUE"),
    *_rows(
        Action.FIX,
        "More than one record of the org has this key: merge them, or make the field unique.",
        "DUPLICATE_EXTERNAL_ID",
    ),
    *_rows(Action.FIX, "The name is taken.", "DUPLICATE_USERNAME", "DUPLICATE_DEVELOPER_NAME"),
    *_rows(Action.FIX, "A required field is blank.", "REQUIRED_FIELD_MISSING"),
    *_rows(
        Action.FIX,
        "A validation rule of the org refused; the text is its own.",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    ),
    *_rows(
        Action.FIX, "The lookup's filter does not allow this record.", "FIELD_FILTER_VALIDATION_EXCEPTION"
    ),
    *_rows(Action.FIX, "Fields of the record do not go together.", "FIELD_INTEGRITY_EXCEPTION"),
    *_rows(
        Action.FIX,
        "The text is longer than the field: shorten it, or set `truncate: true`.",
        "STRING_TOO_LONG",
    ),
    *_rows(Action.FIX, "Not an e-mail address.", "INVALID_EMAIL_ADDRESS"),
    *_rows(
        Action.FIX,
        "The value is not in the picklist, or not for this record type.",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLISTS",
    ),
    *_rows(
        Action.FIX,
        "The value is not of the field's type.",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "INVALID_DATE",
        "JSON_PARSER_ERROR",
    ),
    *_rows(Action.FIX, "The number has more digits than the field.", "NUMBER_OUTSIDE_VALID_RANGE"),
    *_rows(Action.FIX, "The field does not exist, or this user may not see it.", "INVALID_FIELD"),
    *_rows(Action.FIX, "The field is read-only for this user.", "INVALID_FIELD_FOR_INSERT_UPDATE"),
    *_rows(
        Action.FIX,
        "A record that this row points to does not exist or is deleted.",
        "INVALID_CROSS_REFERENCE_KEY",
        "ENTITY_IS_DELETED",
    ),
    *_rows(
        Action.FIX,
        "The Id is of another object, or no Id at all.",
        "INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD",
        "INVALID_ID_FIELD",
        "MALFORMED_ID",
    ),
    *_rows(Action.FIX, "The key of the record is missing.", "MISSING_ARGUMENT"),
    *_rows(
        Action.FIX,
        "This user lacks a right on the record, its owner or its parent.",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "INSUFFICIENT_ACCESS",
        "TRANSFER_REQUIRES_READ",
        "OP_WITH_INVALID_USER_TYPE_EXCEPTION",
        "INVALID_READ_ONLY_USER_DML",
        "INVALIDUSER",
    ),
    *_rows(Action.FIX, "The owner is an inactive user.", "INACTIVE_OWNER_OR_USER"),
    *_rows(Action.FIX, "The lead was converted and cannot change any more.", "CANNOT_UPDATE_CONVERTED_LEAD"),
    *_rows(
        Action.FIX,
        "The parent of this record cannot be changed.",
        "CANNOT_REPARENT_RECORD",
        "CIRCULAR_DEPENDENCY",
    ),
    *_rows(Action.FIX, "Other records depend on this one.", "DELETE_FAILED", "DEPENDENCY_EXISTS"),
    *_rows(Action.FIX, "The record is not in the recycle bin.", "UNDELETE_FAILED"),
    *_rows(Action.FIX, "Setup objects and others do not go into one transaction.", "MIXED_DML_OPERATION"),
    *_rows(
        Action.FIX,
        "The object or field does not support this operation.",
        "INVALID_TYPE",
        "INVALID_TYPE_FOR_OPERATION",
        "INVALID_ENTITY_FOR_UPSERT",
        "INVALID_EXTERNAL_ID_FIELD_NAME",
        "INVALIDENTITY",
        "INVALIDOPERATION",
        "FEATURENOTENABLED",
        "FUNCTIONALITY_NOT_ENABLED",
    ),
    *_rows(
        Action.FIX,
        "A value the org does not know: rule, currency, status or record type.",
        "INVALID_ASSIGNMENT_RULE",
        "INVALID_CURRENCY_ISO",
        "INVALID_STATUS",
        "INVALID_RECORD_TYPE",
    ),
    *_rows(Action.FIX, "Nothing is there: object, record or field.", "NOT_FOUND", "NOTFOUND", "HTTP_404"),
    *_rows(
        Action.FIX, "The Bulk job was refused as it stands.", "CLIENTINPUTERROR", "INVALIDBATCH", "INVALIDJOB"
    ),
    *_rows(
        Action.IN_DOUBT,
        "The Bulk job is in another state than expected.",
        "INVALIDJOBSTATE",
        "API_ERROR",
        "UNKNOWN",
    ),
    *_rows(
        Action.FIX,
        "The API refused the form of the request.",
        "METHOD_NOT_ALLOWED",
        "METHODNOTALLOWED",
        "INVALIDURL",
        "UNSUPPORTED_API_VERSION",
        "GONE",
        "IDEMPOTENCY_NOT_SUPPORTED",
        "INVALID_IDEMPOTENCY_KEY",
    ),
    *_rows(
        Action.FIX, "The user or the org has no API access.", "API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED"
    ),
    *_rows(Action.FIX, "The host is not known at Salesforce's edge.", "HTTP_420"),
)

TABLE: tuple[StatusCode, ...] = _SPECIAL + _PLAIN
"""In order of rank."""

UNKNOWN = StatusCode("*", None, None, Action.FIX, "Salesforce's text says what to change.")
"""A row-level code nobody knows: held, since the same payload would most likely be refused again."""

ONE_BAD_ROW = StatusCode(
    "JSON_PARSER_ERROR",
    None,
    None,
    Action.RETRY_SMALLER,
    "One value in the request cannot be read and takes all rows with it; smaller groups find it.",
)
UNKNOWN_SERVER = StatusCode("HTTP_5*", None, None, Action.IN_DOUBT, "The org failed without saying why.")


@cache
def _by_code() -> dict[str, tuple[StatusCode, ...]]:
    found: dict[str, tuple[StatusCode, ...]] = {}
    for row in TABLE:
        found[row.code] = (*found.get(row.code, ()), row)
    return found


def classify(
    code: str, operation: Operation | None, message: str = "", fields: tuple[str, ...] = ()
) -> StatusCode:
    """The row of the table that counts for one row's code, the operation, the org's text and the fields it names."""
    no_field = all(f.lower() == "id" for f in fields)
    for row in _by_code().get(code.upper(), ()):
        fits = row.message is None or _like(row.message, message)
        if fits and row.operation in (None, operation) and (no_field or not row.no_field):
            return row
    return UNKNOWN_SERVER if code.startswith("HTTP_5") else UNKNOWN


def classify_call(error: NoAnswerError | SalesforceError, operation: Operation | None) -> StatusCode:
    """What counts when a whole call failed: the rows in it have no answers of their own."""
    if isinstance(error, NoAnswerError):
        return classify("NO_ANSWER" if error.in_doubt else "NOT_SENT", operation)
    if error.status >= 500:
        return classify(f"HTTP_{error.status}", operation)
    if error.code == "JSON_PARSER_ERROR":
        return ONE_BAD_ROW
    found = classify(error.code, operation, error.message, error.fields)
    # A refused call says nothing about single records: they are neither gone nor deleted.
    if found.action in (Action.GONE, Action.ALREADY_DELETED):
        return classify(error.code, None, error.message, error.fields)
    return found


def rows() -> list[tuple[int, str, str | None, str | None, bool, str, str]]:
    """The table for SQL, under `TABLE_COLUMNS`; the last row, code '*', fits any code."""
    return [
        (
            n,
            row.code,
            row.operation and str(row.operation),
            row.message,
            row.no_field,
            str(row.action),
            row.help,
        )
        for n, row in enumerate((*TABLE, UNKNOWN))
    ]


TABLE_COLUMNS = "rank INTEGER, code VARCHAR, operation VARCHAR, message VARCHAR, no_field BOOLEAN, action VARCHAR, help VARCHAR"


@dataclass(frozen=True, slots=True)
class ErrorColumns:
    """SQL expressions of one row's error: code, message, fields (API names split by commas, '' or NULL for none)."""

    code: str
    message: str
    fields: str


def lookup_sql(table: str, operation: str, error: ErrorColumns, *, column: str = "action") -> str:
    """SQL expression of what `classify` answers. table: holds `rows()`; operation: an expression; column: what is wanted."""
    return (
        f"(SELECT arg_min(s.{column}, s.rank) FROM {table} AS s WHERE s.code IN (upper({error.code}), '*') "
        f"AND (s.operation IS NULL OR s.operation = {operation}) "
        f"AND (s.message IS NULL OR {error.message} ILIKE s.message) "
        f"AND (NOT s.no_field OR lower(COALESCE({error.fields}, '')) IN ('', 'id')))"
    )


def _like(pattern: str, text: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("%"))
    return re.fullmatch(expression, text, re.IGNORECASE | re.DOTALL) is not None
