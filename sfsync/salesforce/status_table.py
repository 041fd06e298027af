"""The table of status codes: what sfsync does about each, and one line of help for the people who meet it.

Owns:      the rows in order of rank, and what stands for codes nobody knows; docs/reference/status-codes.md is made of it.
Does not:  look anything up (status_codes), or try anything again (push/retry).
Invariant: every help says what is wrong and what to do, on one line, in words of people who write models and not triggers.
Source:    REST API guide "Status Codes", SOAP API guide "Core Data Types", Bulk API 2.0 guide "Errors".
"""

from __future__ import annotations

from sfsync.records import Operation
from sfsync.salesforce.status_actions import Action, StatusCode

NOT_IN_BIN = ("UNDELETE_FAILED", "ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")
"""What an org says of an Id that it cannot bring back: it never was, is gone for good, or is not deleted."""


def _rows(action: Action, text: str, *codes: str) -> tuple[StatusCode, ...]:
    return tuple(StatusCode(code, None, None, action, text) for code in codes)


def _on(
    operation: Operation | None,
    action: Action,
    text: str,
    *codes: str,
    message: str | None = None,
    no_field: bool = False,
) -> tuple[StatusCode, ...]:
    return tuple(StatusCode(code, operation, message, action, text, no_field) for code in codes)


# A lookup's Id can be the stale one, too; then the org names that field, and a person must look.
_GONE = ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")
_TOO_MUCH = "A trigger or flow of the org does too much work for this many rows at once, or for this one alone: ask the org's admin to look at it; its text names it."
_LEAD = "The lead was converted and cannot change any more: leave it, and rows that refer to it, out with `where`."
_LIMITS = (
    *("limitexception", "too many soql queries", "apex cpu time limit", "too many dml", "apex heap size"),
    "too many retries of batch save",
)
_SPECIAL: tuple[StatusCode, ...] = (
    # Operation, message or fields decide: these come before the plain table.
    *_on(
        Operation.DELETE,
        Action.ALREADY_DELETED,
        "The record was deleted before: there is nothing left to do.",
        *_GONE,
    ),
    *_on(
        Operation.UPDATE,
        Action.GONE,
        "The record was deleted or merged in the org; `on_gone` decides what the next plan does.",
        *_GONE,
        no_field=True,
    ),
    *_on(Operation.UPDATE, Action.CONVERTED, _LEAD, "CANNOT_UPDATE_CONVERTED_LEAD", no_field=True),
    *_on(Operation.DELETE, Action.CONVERTED, _LEAD, "CANNOT_UPDATE_CONVERTED_LEAD", no_field=True),
    *_on(
        Operation.UNDELETE,
        Action.GONE,
        "The record is no longer in the recycle bin; taking the same run back once more makes it anew, with a new Id.",
        *NOT_IN_BIN,
    ),
    *_on(
        None,
        Action.NEXT_RUN,
        "The parent record is not in the org (yet): let a sync bring it, or correct the key in the model; tried on every run.",
        "INVALID_FIELD",
        message="%foreign key external id%not found%",
    ),
    *_on(
        None,
        Action.LIMIT_CONCURRENT,
        "The org had too many long calls at once: run at another hour, or with fewer `threads`.",
        "REQUEST_LIMIT_EXCEEDED",
        message="%concurrent%",
    ),
    *_on(
        Operation.UPSERT,
        Action.FIX,
        "The same key stood twice in one request: make it unique in the model.",
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
        "A trigger or flow met a record that somebody else was changing: it goes again by itself; often the same parent is the reason.",
        "APEX_ERROR",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "CANNOT_EXECUTE_FLOW_TRIGGER",
        message="%unable_to_lock_row%",
    ),
)

_PLAIN: tuple[StatusCode, ...] = (
    *_rows(
        Action.RETRY_SMALLER,
        "Somebody else was changing the record or its parent: it goes again by itself. If it stays, run when no other load runs.",
        "UNABLE_TO_LOCK_ROW",
        "TOOMANYLOCKFAILURE",
        "TOO_MANY_LOCK_FAILURE",
    ),
    *_rows(
        Action.RETRY_SMALLER,
        "The org took too long over these rows: it goes again in smaller groups; slow triggers or flows are the usual reason.",
        "REQUEST_RUNNING_TOO_LONG",
        "QUERY_TIMEOUT",
        "TIMEOUT",
    ),
    *_rows(
        Action.RETRY_SMALLER,
        "The request was too large and is split; one row alone that is too large must be made shorter in the model.",
        "EXCEEDED_MAX_SIZE_REQUEST",
        "EXCEEDED_ID_LIMIT",
        "HTTP_413",
    ),
    *_rows(
        Action.RETRY_SMALLER,
        "A text holds '@{', which one kind of request would misread: it goes by another by itself.",
        "REFERENCE_IN_TEXT",
    ),
    *_rows(
        Action.RETRY_NOW,
        "The org had too much to do at once: it goes again after a pause. If it stays, run with fewer `threads`.",
        "TOO_MANY_APEX_REQUESTS",
        "TXN_SECURITY_METERING_ERROR",
        "HTTP_429",
    ),
    *_rows(
        Action.RETRY_NOW,
        "No connection was made and nothing was sent: check network, proxy and `domain` (`sfsync debug`).",
        "NOT_SENT",
    ),
    *_rows(
        Action.RETRY_NOW,
        "The org failed without saying why: it goes again by itself. If it stays, Salesforce support can look up the ErrorId in the text.",
        "SERVER_UNAVAILABLE",
        "UNKNOWN_EXCEPTION",
    ),
    *_rows(
        Action.IN_DOUBT,
        "No usable answer came back, so it may or may not have been done: the next run finds out.",
        "NO_ANSWER",
        "HTTP_500",
        "HTTP_502",
        "HTTP_503",
        "HTTP_504",
    ),
    *_rows(
        Action.ROLLED_BACK,
        "Another row of its all-or-none request was refused and took this one with it: mend that one.",
        "PROCESSING_HALTED",
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    ),
    *_rows(
        Action.RETRY_SMALLER,
        "Another part of the same Bulk job failed and took this row with it: it goes again.",
        "BATCH_PROCESSING_HALTED",
    ),
    *_rows(
        Action.NEW_TOKEN,
        "The session ended: sfsync signs in again by itself. If it stays, look at the session settings of the user.",
        "INVALID_SESSION_ID",
        "INVALIDSESSIONID",
        "INVALID_AUTH_HEADER",
    ),
    *_rows(
        Action.LIMIT_DAILY,
        "The org has no API calls left in its rolling 24 hours: the next run goes on; `sfsync status` shows when room comes back.",
        "REQUEST_LIMIT_EXCEEDED",
    ),
    *_rows(
        Action.LIMIT_DAILY,
        "The org has no Bulk batches left in its rolling 24 hours: wait, or send by `push.api: collections`.",
        "EXCEEDEDQUOTA",
        "EXCEEDED_QUOTA",
    ),
    *_rows(
        Action.NEXT_RUN,
        "The org is read-only during maintenance (status.salesforce.com): the next run goes on.",
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
    ),
    *_rows(
        Action.NEXT_RUN,
        "The org's data storage is full: free space or buy more (Setup, Storage Usage).",
        "STORAGE_LIMIT_EXCEEDED",
    ),
    *_rows(
        Action.NEXT_RUN,
        "The record is locked, usually by an approval in progress: tried on every run until somebody approves or recalls it.",
        "ENTITY_IS_LOCKED",
    ),
    *_rows(
        Action.FIX,
        "A trigger of the org failed, or this user may not write the object: the text names the trigger; its owner must mend it, or the row.",
        "APEX_ERROR",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
    ),
    *_rows(
        Action.FIX,
        "A flow of the org failed: the text names it; its owner must mend it, or the row must avoid it.",
        "CANNOT_EXECUTE_FLOW_TRIGGER",
    ),
    *_rows(
        Action.FIX,
        "A transaction security policy of the org refused: ask the admin to let the user of sfsync pass.",
        "TXN_SECURITY_NO_ACCESS",
        "TXN_SECURITY_RUNTIME_ERROR",
        "TXN_SECURITY_APEX_ERROR",
    ),
    *_rows(
        Action.FIX,
        "A limit of the org is reached, of size, licences or events: the text says which; ask the admin.",
        "LIMIT_EXCEEDED",
    ),
    *_rows(
        Action.FIX,
        "A duplicate rule found look-alikes: merge them first, or pass rules that only alert with `push.duplicate_rules: allow_save`.",
        "DUPLICATES_DETECTED",
    ),
    *_rows(
        Action.FIX,
        "Another record of the org has this unique value: the text has its Id; correct one of the two.",
        "DUPLICATE_VALUE",
    ),
    *_rows(
        Action.FIX,
        "More than one record of the org has this key: merge them, and make the field unique.",
        "DUPLICATE_EXTERNAL_ID",
    ),
    *_rows(
        Action.FIX,
        "The user name or developer name is taken in Salesforce: choose another.",
        "DUPLICATE_USERNAME",
        "DUPLICATE_DEVELOPER_NAME",
    ),
    *_rows(
        Action.FIX,
        "A field that the org demands is blank: map it, or fill it in the model.",
        "REQUIRED_FIELD_MISSING",
    ),
    *_rows(
        Action.FIX,
        "A validation rule of the org refused, in its own words: correct the row, or have the rule let the user of sfsync pass.",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    ),
    *_rows(
        Action.FIX,
        "The lookup's filter in the org does not allow this record: refer to another, or have the filter changed.",
        "FIELD_FILTER_VALIDATION_EXCEPTION",
    ),
    *_rows(
        Action.FIX,
        "Values of the record do not fit together, such as a state and its country: correct them in the model.",
        "FIELD_INTEGRITY_EXCEPTION",
    ),
    *_rows(
        Action.FIX,
        "The text is longer than the field: shorten it in the model, or set `truncate: true` on the field.",
        "STRING_TOO_LONG",
    ),
    *_rows(
        Action.FIX,
        "Not an e-mail address: correct it, or make it null in the model.",
        "INVALID_EMAIL_ADDRESS",
    ),
    *_rows(
        Action.FIX,
        "The value is not in the picklist, or not for this record type: use the API name of a value, or have it added.",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLISTS",
    ),
    *_rows(
        Action.FIX,
        "The value is not of the field's type: convert it in the model.",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "INVALID_DATE",
        "JSON_PARSER_ERROR",
    ),
    *_rows(
        Action.FIX,
        "The number has more digits before the point than the field: check its unit, or have the field widened.",
        "NUMBER_OUTSIDE_VALID_RANGE",
    ),
    *_rows(
        Action.FIX,
        "The field does not exist, or the user of sfsync may not see it: check its name and the permission set (`sfsync permissions`).",
        "INVALID_FIELD",
    ),
    *_rows(
        Action.FIX,
        "The user of sfsync may not write the field: give it edit access (`sfsync permissions`), or take the field out of the sync.",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
    ),
    *_rows(
        Action.FIX,
        "A record that this row refers to (parent, owner, record type) does not exist or is deleted: correct the reference.",
        "INVALID_CROSS_REFERENCE_KEY",
        "ENTITY_IS_DELETED",
    ),
    *_rows(
        Action.FIX,
        "The text is no Id, or the Id of another kind of record: check the column that is mapped.",
        "INVALID_CROSS_REFERENCE_TYPE_FOR_FIELD",
        "INVALID_ID_FIELD",
        "MALFORMED_ID",
    ),
    *_rows(
        Action.FIX,
        "The key is null or blank: fill it in the model, or leave such rows out with `where`.",
        "MISSING_ARGUMENT",
    ),
    *_rows(
        Action.FIX,
        "The user of sfsync lacks a right on the record, its owner or its parent: widen its permission set or sharing (`sfsync permissions`).",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "INSUFFICIENT_ACCESS",
        "TRANSFER_REQUIRES_READ",
        "OP_WITH_INVALID_USER_TYPE_EXCEPTION",
        "INVALID_READ_ONLY_USER_DML",
        "INVALIDUSER",
    ),
    *_rows(
        Action.FIX,
        "The owner is an inactive user: map the record to an active one.",
        "INACTIVE_OWNER_OR_USER",
    ),
    *_rows(
        Action.FIX,
        _LEAD,
        "CANNOT_UPDATE_CONVERTED_LEAD",
    ),
    *_rows(
        Action.FIX,
        "The parent of this record cannot be changed, or would be its own child: leave the field out, or correct it.",
        "CANNOT_REPARENT_RECORD",
        "CIRCULAR_DEPENDENCY",
    ),
    *_rows(
        Action.FIX,
        "Other records depend on this one and forbid to delete it: remove them first, or keep it.",
        "DELETE_FAILED",
        "DEPENDENCY_EXISTS",
    ),
    *_rows(
        Action.FIX,
        "The record is not in the recycle bin: it was never deleted, or is gone for good.",
        "UNDELETE_FAILED",
    ),
    *_rows(
        Action.FIX,
        "Setup records (users, groups) and others cannot be written together: this comes from a trigger or flow of the org.",
        "MIXED_DML_OPERATION",
    ),
    *_rows(
        Action.FIX,
        "The object or the external id does not allow this operation: check the sync's `object` and `identity`, and the org's features.",
        "INVALID_TYPE",
        "INVALID_TYPE_FOR_OPERATION",
        "INVALID_ENTITY_FOR_UPSERT",
        "INVALID_EXTERNAL_ID_FIELD_NAME",
        "INVALIDENTITY",
        "INVALIDOPERATION",
        "FUNCTIONALITY_NOT_ENABLED",
    ),
    *_rows(
        Action.FIX,
        "The user may not do this by Bulk: to delete past the recycle bin (on_removed: hard_delete) takes the permission"
        " 'Bulk API Hard Delete'.",
        "FEATURENOTENABLED",
    ),
    *_rows(
        Action.FIX,
        "The org does not know this rule, currency, status or record type, or it is not active: correct the value.",
        "INVALID_ASSIGNMENT_RULE",
        "INVALID_CURRENCY_ISO",
        "INVALID_STATUS",
        "INVALID_RECORD_TYPE",
    ),
    *_rows(
        Action.FIX,
        "There is no such object, record or field for this user: check names and rights (`sfsync debug`).",
        "NOT_FOUND",
        "NOTFOUND",
        "HTTP_404",
    ),
    *_rows(
        Action.FIX,
        "The org refused the Bulk job as it stands: try `push.api: collections`, and please report it with the job's Id.",
        "CLIENTINPUTERROR",
        "INVALIDBATCH",
        "INVALIDJOB",
    ),
    *_rows(
        Action.IN_DOUBT,
        "The Bulk job is in another state than expected, perhaps aborted by somebody: the next run finds out what was done.",
        "INVALIDJOBSTATE",
        "API_ERROR",
        "UNKNOWN",
    ),
    *_rows(
        Action.FIX,
        "The API refused the form of the request: check `api_version`, and please report it.",
        "METHOD_NOT_ALLOWED",
        "METHODNOTALLOWED",
        "INVALIDURL",
        "UNSUPPORTED_API_VERSION",
        "GONE",
        "IDEMPOTENCY_NOT_SUPPORTED",
        "INVALID_IDEMPOTENCY_KEY",
    ),
    *_rows(
        Action.FIX,
        "The user or the org has no API access: give the user the permission 'API Enabled'.",
        "API_DISABLED_FOR_ORG",
        "API_CURRENTLY_DISABLED",
    ),
    *_rows(Action.FIX, "Salesforce does not know the host: check `domain` in the profile.", "HTTP_420"),
)

TABLE: tuple[StatusCode, ...] = _SPECIAL + _PLAIN
"""In order of rank."""

UNKNOWN = StatusCode(
    "*", None, None, Action.FIX, "A code that sfsync does not know: Salesforce's text says what to change."
)
"""A row-level code nobody knows: held, since the same payload would most likely be refused again."""

ONE_BAD_ROW = StatusCode(
    "JSON_PARSER_ERROR",
    None,
    None,
    Action.RETRY_SMALLER,
    "One value in the request cannot be read and takes all rows with it; smaller groups find it.",
)
UNKNOWN_SERVER = StatusCode(
    "HTTP_5*",
    None,
    None,
    Action.IN_DOUBT,
    "The org failed without saying why, so it may or may not have been done: the next run finds out.",
)
