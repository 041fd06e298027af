"""The record of what was asked and what was written.

Owns:      numbering requests, keeping their lines, and reading requests and writes back.
Does not:  write the lines of records (save does, in the write's own transaction).
Invariant: numbers rise by one per request and survive a restart; a line of a record is there exactly if it was saved.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sfsync.local_org.store import Store


@dataclass(frozen=True, slots=True)
class Line:
    """One answered request."""

    request: int
    time: datetime  # naive, UTC
    method: str
    path: str
    status: int  # 0: the connection was dropped
    kind: str
    counted: bool


class Journal:
    """Requests wait in memory for up to a second, so that answering one never waits for the file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[Line] = []
        with store.reading() as cursor:
            last = cursor.execute(
                "SELECT greatest(coalesce((SELECT max(request) FROM org.requests), 0),"
                " coalesce((SELECT max(request) FROM org.write_calls), 0))"
            ).fetchall()[0][0]
        self._number = int(last)

    def next_number(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def add(self, line: Line) -> None:
        with self._lock:
            self._waiting.append(line)

    def drop(self) -> None:
        """Forget what waits: the tables were emptied."""
        with self._lock:
            self._waiting.clear()

    def flush(self) -> None:
        """Put what waits into the file."""
        with self._lock:
            lines, self._waiting = self._waiting, []
        if not lines:
            return
        columns = [
            list(c)
            for c in zip(
                *((n.request, n.time, n.method, n.path, n.status, n.kind, n.counted) for n in lines),
                strict=True,
            )
        ]
        types = ("BIGINT", "TIMESTAMP", "VARCHAR", "VARCHAR", "INTEGER", "VARCHAR", "BOOLEAN")
        listed = ", ".join(f"unnest(${i}::{t}[])" for i, t in enumerate(types, 1))
        with self._store.write() as cursor:
            cursor.execute(f"INSERT INTO org.requests SELECT {listed}", columns)

    def read(self, after: int, limit: int) -> dict[str, Any]:
        """Requests and writes with a number above `after`, oldest first."""
        self.flush()
        with self._store.reading() as cursor:
            requests = cursor.execute(
                "SELECT request, strftime(time, '%Y-%m-%dT%H:%M:%S.%gZ') AS time, method, path, status, kind, counted"
                " FROM org.requests WHERE request > ? ORDER BY request LIMIT ?",
                [after, limit],
            )
            names = [c[0] for c in requests.description]
            seen = [dict(zip(names, row, strict=True)) for row in requests.fetchall()]
            writes = cursor.execute(
                "SELECT c.request, strftime(c.time, '%Y-%m-%dT%H:%M:%S.%gZ'), c.object, w.id, w.operation, c.headers,"
                " w.texts FROM org.writes w JOIN org.write_calls c ON c.call = w.call WHERE c.request > ?"
                " ORDER BY c.call, w.row LIMIT ?",
                [after, limit],
            ).fetchall()
        return {"requests": seen, "writes": [_write(*row) for row in writes], "last": self._number}


def _write(
    request: int,
    time: str,
    sobject: str,
    record: str,
    operation: str,
    headers: list[str],
    texts: list[str | None],
) -> dict[str, Any]:
    fields = {h: (t or None) for h, t in zip(headers, texts, strict=True) if t is not None}
    return {
        "request": request,
        "time": time,
        "object": sobject,
        "id": record,
        "operation": operation,
        "fields": fields,
    }
