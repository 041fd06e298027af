"""What a status code means for a row or a call: the one table that push/retry and the reports read.

Owns:      looking a row's or a call's error up, in Python and in SQL alike.
Does not:  hold the table (status_table), try anything again or wait.
Invariant: every (code, operation) has an action; of several that fit, the lowest rank counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from sfsync.records import Operation
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.status_actions import Action, StatusCode
from sfsync.salesforce.status_table import ONE_BAD_ROW, TABLE, UNKNOWN, UNKNOWN_SERVER


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
    # A refused call says nothing about single records: they are neither gone nor converted nor deleted.
    if found.action in (Action.GONE, Action.CONVERTED, Action.ALREADY_DELETED):
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
