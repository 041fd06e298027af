"""The record of what was asked and what was written.

Owns:      numbering requests, keeping their lines, and reading requests and writes back.
Does not:  write the lines of records (save does, in the write's own transaction; those of a Bulk job are the lines of
           its successful results, of which only the place is noted).
Invariant: numbers rise by one per request and survive a restart; a line of a record is there exactly if it was saved.
"""

from __future__ import annotations

import csv
import heapq
import io
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sfsync.local_org.store import Store

csv.field_size_limit(1 << 30)  # a cell is as long as it was uploaded


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
        self._flushing = threading.Lock()
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

    @property
    def last(self) -> int:
        """The number of the newest request."""
        return self._number

    def add(self, line: Line) -> None:
        with self._lock:
            self._waiting.append(line)

    def drop(self) -> None:
        """Forget what waits: the tables were emptied."""
        with self._lock:
            self._waiting.clear()

    def flush(self) -> None:
        """Put what waits into the file. What another thread is putting there is there, too, when this returns."""
        with self._flushing:
            with self._lock:
                lines, self._waiting = self._waiting, []
            if lines:
                self._insert(lines)

    def _insert(self, lines: list[Line]) -> None:
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
            asked = "c.call, c.request, strftime(c.time, '%Y-%m-%dT%H:%M:%S.%gZ'), c.object, c.headers"
            writes = cursor.execute(
                f"SELECT {asked}, w.id, w.operation, w.texts"
                " FROM org.writes w JOIN org.write_calls c ON c.call = w.call WHERE c.request > ?"
                " ORDER BY c.call, w.row LIMIT ?",
                [after, limit],
            ).fetchall()
            files = cursor.execute(
                f"SELECT {asked}, f.job, f.start, f.rows, f.operation, f.delimiter"
                " FROM org.write_files f JOIN org.write_calls c ON c.call = f.call WHERE c.request > ? ORDER BY c.call",
                [after],
            ).fetchall()
        from_files = ((*call[:5], *line) for call in files for line in _lines(self._store.folder, *call[5:]))
        both = heapq.merge(writes, from_files, key=lambda write: int(write[0]))
        return {
            "requests": seen,
            "writes": [_write(*write) for write in itertools.islice(both, limit)],
            "last": self._number,
        }


def kept_file(folder: Path, job: str) -> Path:
    """Where the lines of a Bulk job go when the job is deleted; the journal outlives it."""
    return folder / "journal" / f"{job}.csv"


def _lines(
    folder: Path, job: str, start: int, rows: int, operation: str, delimiter: str
) -> Iterator[tuple[str, str, list[str | None]]]:
    """Id, operation and cells of some lines of a job's successful results."""
    path = folder / "bulk" / job / "successful.csv"
    try:
        handle = (path if path.exists() else kept_file(folder, job)).open("rb")
    except FileNotFoundError:
        return  # deleted by hand
    with handle:
        handle.seek(start)
        lines = csv.reader(io.TextIOWrapper(handle, encoding="utf-8", newline=""), delimiter=delimiter)
        for record, created, *cells in itertools.islice(lines, rows):
            word = (
                "deleted"
                if operation in ("delete", "hardDelete")
                else "created"
                if created == "true"
                else "updated"
            )
            yield record, word, [None if c == "" else "" if c == "#N/A" else c for c in cells]


def _write(
    call: int,
    request: int,
    time: str,
    sobject: str,
    headers: list[str],
    record: str,
    operation: str,
    texts: list[str | None],
) -> dict[str, Any]:
    del call
    fields = {h: (t or None) for h, t in zip(headers, texts, strict=True) if t is not None}
    return {
        "request": request,
        "time": time,
        "object": sobject,
        "id": record,
        "operation": operation,
        "fields": fields,
    }
