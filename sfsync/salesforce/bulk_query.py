"""Bulk API 2.0 query: one function per call of a job's life.

Owns:      paths, bodies, and the pages of a result.
Does not:  poll or wait; results are streamed to disk and into SQL from there.
Source:    Bulk API 2.0 Developer Guide, "Query".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sfsync.salesforce.bulk import JobState
from sfsync.salesforce.door import Answer, Door, unreadable

_CONTROL_S = 120.0
PAGE_RECORDS = 250_000
"""Records that one call asks for. The org may give fewer; a page is a file on disk, so memory does not tell."""


@dataclass(frozen=True, slots=True)
class QueryJob:
    """A query as the org tells it."""

    id: str
    state: JobState
    error: str | None = None


def create(door: Door, statement: str, *, deleted: bool = False) -> QueryJob:
    """Start a query. deleted: also of records in the recycle bin."""
    body = {"operation": "queryAll" if deleted else "query", "query": statement}
    answer = door.call("POST", _path(door), kind="match", body=json.dumps(body), timeout_s=_CONTROL_S)
    return _read(answer)


def info(door: Door, job_id: str) -> QueryJob:
    """Ask how far it is."""
    return _read(door.call("GET", _path(door, job_id), kind="match", timeout_s=_CONTROL_S))


def page(door: Door, job_id: str, locator: str | None, path: Path) -> str | None:
    """Stream one page of a finished query to `path`, header row included; where the next page begins, None after the last."""
    query = f"?maxRecords={PAGE_RECORDS}" + (f"&locator={locator}" if locator is not None else "")
    answer = door.call(
        "GET",
        f"{_path(door, job_id, 'results')}{query}",
        kind="match",
        headers={"Accept": "text/csv"},
        to_file=path,
    )
    # The last page says "null" in words; an org that says nothing has no more either.
    found = answer.headers.get("sforce-locator") or "null"
    return None if found == "null" else found


def abort(door: Door, job_id: str) -> None:
    """Stop a query that nobody waits for any more."""
    body = json.dumps({"state": str(JobState.ABORTED)})
    door.call("PATCH", _path(door, job_id), kind="match", body=body, timeout_s=_CONTROL_S)


def _path(door: Door, *parts: str) -> str:
    return door.data_path("/".join(("jobs/query", *parts)))


def _read(answer: Answer) -> QueryJob:
    body = answer.json()
    try:
        return QueryJob(str(body["id"]), JobState(body["state"]), body.get("errorMessage"))
    except (KeyError, TypeError, ValueError):
        raise unreadable(answer, "describes no Bulk query") from None
