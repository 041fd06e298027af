"""From JSON records to results: the step between the REST resources and the write path.

Owns:      one transaction per request (or the Composite's own), results as values.
Does not:  shape answers (rows, collections).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from sfsync.contract import SObject
from sfsync.local_org.answers import from_refusal
from sfsync.local_org.ask import Ask
from sfsync.local_org.call import Call
from sfsync.local_org.columns import RefusedWriteError
from sfsync.local_org.people import CURRENT
from sfsync.local_org.records import Record, put_incoming
from sfsync.local_org.write import apply, forget

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one record."""

    id: str | None
    success: bool
    created: bool
    code: str | None
    message: str | None
    fields: tuple[str, ...]


@contextmanager
def transaction(ask: Ask) -> Iterator[duckdb.DuckDBPyConnection]:
    """The Composite's transaction if there is one, else one of this request's own."""
    if ask.cursor is not None:
        yield ask.cursor
        return
    with ask.org.store.write() as cursor:
        yield cursor


def write_records(
    ask: Ask,
    cursor: duckdb.DuckDBPyConnection,
    sobject: SObject,
    operation: str,
    records: Sequence[Record],
    *,
    external_id: str | None = None,
    all_or_none: bool = False,
) -> list[Result]:
    """Write records and give their results, in order.

    Raises:
        ApiError: the request as a whole is refused.
    """
    name = f"_incoming_{next(_NUMBERS)}"
    put_incoming(cursor, name, records)
    faults = ask.org.faults.of_write(sobject.name)
    call = Call(
        sobject,
        operation,
        name,
        external_id,
        all_or_none,
        ask.number,
        user_id=CURRENT.get(),
        strict=True,
        faults=faults,
        seen=ask.org.seen,
        allow_save=_allows_save(ask.headers.get("sforce-duplicate-rule-header", "")),
        assignment=_assignment(ask.headers.get("sforce-auto-assign", "TRUE")),
    )
    try:
        result = apply(ask.org.store, cursor, call)
    except RefusedWriteError as refusal:
        raise from_refusal(refusal) from None
    rows = cursor.execute(
        f"SELECT id, success, created, code, message, fields FROM {result} ORDER BY _row"
    ).fetchall()
    forget(cursor, result)
    cursor.execute(f"DROP TABLE {name}")
    return [Result(r[0], r[1], r[2], r[3], r[4], _names(r[5])) for r in rows]


def _allows_save(header: str) -> bool:
    """The header of duplicate rules, ``allowSave=true; runAsCurrentUser=true``."""
    return re.search(r"\ballowSave\s*=\s*true\b", header, re.IGNORECASE) is not None


def _assignment(header: str) -> str | None:
    """The header of assignment rules: the active one runs unless it is switched off, or another is named by its Id."""
    word = header.strip().upper()
    return None if word == "FALSE" else "" if word == "TRUE" else header.strip()


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(n.strip() for n in text.split(",")) if text else ()
