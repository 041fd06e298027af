"""The table of status codes as people read it (docs/reference/status-codes.md) and as tests play it.

One list for both: what stands on the page is what `tests/jobs/test_status_codes_played.py` has seen an org answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sfsync.push.retry import Next, after_call
from sfsync.records import Operation
from sfsync.salesforce.failures import NoAnswerError, Refusal, SalesforceError
from sfsync.salesforce.status_actions import Action, StatusCode
from sfsync.salesforce.status_codes import classify, classify_call
from sfsync.salesforce.status_help import WHAT_WE_DO
from sfsync.salesforce.status_table import TABLE, UNKNOWN

NOT_OF_ROWS = ("HTTP_", "NO_ANSWER", "NOT_SENT", "REFERENCE_IN_TEXT")
"""Codes that stand for a call without an answer of its own to each row."""

SENT = {"upsert": "create", "update": "update", "delete": "delete", "undelete": "restore"}


@dataclass(frozen=True)
class Answer:
    """What the org says of one row, and the row of the table that it stands for."""

    row: StatusCode
    operation: Operation
    message: str
    fields: tuple[str, ...]


def answers() -> Iterator[Answer]:
    """Every row of the table with every operation that it is for, in words that fit it and no row before it."""
    for row in (*TABLE, StatusCode("SOMETHING_NEW", None, None, UNKNOWN.action, UNKNOWN.help)):
        if row.code.startswith(NOT_OF_ROWS):
            continue
        operations = (Operation.UPSERT, Operation.UPDATE, Operation.DELETE)
        for operation in operations if row.operation is None else (row.operation,):
            message = (row.message or "said by the org").replace("%", " so ")
            for fields in ((), ("AccountId",)):
                found = classify(row.code, operation, message, fields)
                if (found.action, found.help) == (row.action, row.help):
                    yield Answer(row, operation, message, fields)
                    break


@dataclass(frozen=True)
class Call:
    """A call that the org refuses whole, or does not answer. outcome: what its rows end as."""

    name: str
    status: int  # 0: no answer; -1: no connection
    code: str
    message: str
    outcome: str

    @property
    def error(self) -> NoAnswerError | SalesforceError:
        if self.status <= 0:
            return NoAnswerError("x", sent=False if self.status < 0 else None)
        return SalesforceError("x", status=self.status, refusals=(Refusal(self.code, self.message),))

    @property
    def fault(self) -> dict[str, Any]:
        """The rule of misbehaviour that makes the local org answer so."""
        rule = {"match": "/composite", "times": "always"}
        if self.status == 0:
            return rule | {"fault": "lost_before_commit"}
        body = json.dumps([{"errorCode": self.code, "message": self.message}])
        if self.code.startswith("HTTP_"):
            body = "<html><title>said by something between</title></html>"
        return rule | {"fault": "status", "status": self.status, "body": body}


CALLS = (
    Call("No answer, or half of one", 0, "NO_ANSWER", "", "in_doubt"),
    Call("500", 500, "UNKNOWN_EXCEPTION", "An unexpected error occurred", "in_doubt"),
    Call("502", 502, "HTTP_502", "", "in_doubt"),
    Call("503", 503, "SERVER_UNAVAILABLE", "maintenance", "in_doubt"),
    Call("504", 504, "HTTP_504", "", "in_doubt"),
    Call("400 `JSON_PARSER_ERROR`", 400, "JSON_PARSER_ERROR", "Cannot deserialize", "rejected"),
    Call("400 `INVALID_FIELD`", 400, "INVALID_FIELD", "No such column 'X' on sobject", "failed"),
    Call("400 `EXCEEDED_ID_LIMIT`", 400, "EXCEEDED_ID_LIMIT", "record limit reached", "failed"),
    Call("400 with another code", 400, "MALFORMED_ID", "bad id", "rejected"),
    Call("403 `REQUEST_LIMIT_EXCEEDED`, TotalRequests", 403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", "deferred"),
    Call("403 `REQUEST_LIMIT_EXCEEDED`, ConcurrentRequests", 403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded.", "failed"),
    Call("403 `API_DISABLED_FOR_ORG`", 403, "API_DISABLED_FOR_ORG", "The REST API is not enabled", "stopped"),
    Call("404 `NOT_FOUND`", 404, "NOT_FOUND", "The requested resource does not exist", "stopped"),
    Call("413", 413, "HTTP_413", "", "rejected"),
    Call("429", 429, "HTTP_429", "", "failed"),
)  # fmt: skip

_NEXT = {
    Next.AGAIN: "the same again after a pause, up to four times",
    Next.SMALLER: "halves, down to single rows",
    Next.DEFER: "the run ends",
    Next.FAIL: "nothing more in this run; the next one tries again with what the org then describes",
    Next.STOP: "the run ends",
}


def calls_table() -> str:
    lines = [
        "| the org's answer to a call | what sfsync does | its rows end as | help |",
        "| --- | --- | --- | --- |",
    ]
    for call in CALLS:
        decision = after_call(call.error, Operation.UPSERT, 1, 200, 0.0)
        text = classify_call(call.error, Operation.UPSERT).help
        lines.append(f"| {call.name} | {_NEXT[decision.next]} | `{call.outcome}` | {text} |")
    return "\n".join(lines) + "\n"


def rows_table() -> str:
    """Status code x operation: codes that are alike in everything share a line."""
    lines = ["| code | sent as | what sfsync does | help |", "| --- | --- | --- | --- |"]
    alike: dict[tuple[str, str, Action, str], list[str]] = {}
    for row in (*TABLE, UNKNOWN):
        if row.code.startswith(NOT_OF_ROWS):
            continue
        sent = SENT[row.operation] if row.operation else "any"
        told = f", with a text like *{row.message.replace('%', '…').strip()}*" if row.message else ""
        told += ", with no field but Id" if row.no_field else ""
        alike.setdefault((sent, told, row.action, row.help), []).append(
            "any other" if row.code == "*" else f"`{row.code}`"
        )
    for (sent, told, action, text), codes in alike.items():
        lines.append(f"| {', '.join(codes)}{told} | {sent} | {WHAT_WE_DO[action]} | {text} |")
    return "\n".join(lines) + "\n"
