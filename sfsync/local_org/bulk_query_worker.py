"""The background worker of query jobs, and the pages of their results.

Owns:      the queue, the run of one query into a file, reading a stretch of it as CSV.
Does not:  compile SOQL (soql_bulk), keep jobs (bulk_query_jobs), or answer HTTP (bulk_query_routes).
Invariant: a finished job's result is whole on disk and never changes; no row passes through Python.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from sfsync.contract import Contract
from sfsync.local_org import bulk_jobs as states
from sfsync.local_org.bulk_csv import DELIMITERS, LINE_ENDINGS
from sfsync.local_org.bulk_query_jobs import QueryJob, QueryJobs
from sfsync.local_org.faults import Faults
from sfsync.local_org.soql_bulk import compile_bulk
from sfsync.local_org.store import Store, literal

RESULT = "result.parquet"
_ROW_GROUP = 20_480
"""Rows that are read at least for one page: small beside a page of 50,000."""

_LOG = logging.getLogger(__name__)


class QueryWorker:
    """One thread; query jobs run one after the other."""

    def __init__(
        self, store: Store, jobs: QueryJobs, faults: Faults, seen: Callable[[str], Contract]
    ) -> None:
        """seen: what a user may see at this time."""
        self._store, self._jobs, self._faults, self._seen = store, jobs, faults, seen
        self._held: dict[str, int | None] = {}  # stuck jobs: polls until they go on, None: never
        self._freed: set[str] = set()
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._lock = threading.Lock()
        self._current: tuple[str, duckdb.DuckDBPyConnection] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="bulk-query", daemon=True)

    def start(self) -> None:
        """Settle what an earlier process left, and begin to work."""
        for job_id in self._jobs.settle():
            self._queue.put(job_id)
        self._thread.start()

    def stop(self) -> None:
        """End; the query that is running is broken off and fails at the next start."""
        self._stopping.set()
        self._queue.put(None)
        self.interrupt(None)
        self._thread.join(timeout=60)

    def submit(self, job_id: str) -> None:
        """Queue a job."""
        self._queue.put(job_id)

    def polled(self, job_id: str) -> None:
        """Somebody has asked for a job: one that is stuck may go on after enough of that."""
        with self._lock:
            left = self._held.get(job_id)
            if left is None:
                return
            self._held[job_id] = left - 1
            if left > 1:
                return
            del self._held[job_id]
            self._freed.add(job_id)
        self._queue.put(job_id)

    def interrupt(self, job_id: str | None) -> None:
        """Break off this job's query, or any, if it is running."""
        with self._lock:
            if self._current is not None and job_id in (None, self._current[0]):
                self._current[1].interrupt()

    def busy_with(self, job_id: str) -> bool:
        """Is the worker still at this job, whatever state it has by now?"""
        with self._lock:
            return self._current is not None and self._current[0] == job_id

    def _work(self) -> None:
        while True:
            job_id = self._queue.get()
            if job_id is None or self._stopping.is_set():
                return
            try:
                waiting = {states.RUNNING} if job_id in self._freed else {states.UPLOADED}
                job = self._jobs.move(job_id, waiting, state=states.RUNNING)
                if job is not None and not self._misbehaves(job):
                    self._run(job)
            except Exception as error:  # the shell of this thread: the job fails, the worker lives on
                if self._stopping.is_set():
                    return
                if self._jobs.move(job_id, {states.RUNNING}, state=states.FAILED) is not None:
                    _LOG.error("query job %s: %s", job_id, error)

    def _misbehaves(self, job: QueryJob) -> bool:
        """A fault lets the job fail, or hang."""
        rule = None
        if job.id not in self._freed:
            rule = self._faults.of_job(job.id, job.object, "query_failed", "query_stuck")
        if rule is None:
            return False
        if rule.fault == "query_failed":
            self._jobs.move(job.id, {states.RUNNING}, state=states.FAILED)
            return True
        with self._lock:
            self._held[job.id] = rule.polls
        return True

    def _run(self, job: QueryJob) -> None:
        begun = time.monotonic()
        now = datetime.fromisoformat(job.created).astimezone(UTC)
        compiled = compile_bulk(
            job.query, self._seen(job.created_by), now=now, include_deleted=job.operation == "queryAll"
        )
        path = self._jobs.folder(job.id) / RESULT
        part = path.with_suffix(".part")
        with self._store.reading() as cursor:
            with self._lock:
                self._current = (job.id, cursor)
            try:
                found = self._jobs.get(job.id)
                if found is None or found.state != states.RUNNING:
                    return  # aborted before there was anything to break off
                rows = cursor.execute(
                    f"COPY (SELECT row_number() OVER () - 1 AS n, * FROM ({compiled.sql})) TO {literal(str(part))}"
                    f" (FORMAT parquet, ROW_GROUP_SIZE {_ROW_GROUP})"
                ).fetchall()[0][0]
                part.replace(path)
            finally:
                with self._lock:
                    self._current = None
        spent = int((time.monotonic() - begun) * 1000)
        self._jobs.move(
            job.id,
            {states.RUNNING},
            state=states.COMPLETE,
            names=compiled.names,
            records=int(rows),
            total_ms=spent,
        )


def header_line(job: QueryJob) -> bytes:
    """The first line of every page."""
    return (
        DELIMITERS[job.delimiter].join(f'"{name}"' for name in job.names) + LINE_ENDINGS[job.line_ending]
    ).encode()


def write_page(store: Store, folder: Path, job: QueryJob, first: int, last: int) -> Path:
    """Rows [first, last) of a finished job as CSV without a header, in a file of its own."""
    path = folder / f"{secrets.token_hex(8)}.csv"
    if first >= last:
        path.touch()
        return path
    cells = ", ".join(f"c{i}" for i in range(len(job.names)))
    with store.reading() as cursor:
        cursor.execute(
            f"COPY (SELECT {cells} FROM read_parquet({literal(str(folder / RESULT))})"
            f" WHERE n >= {first} AND n < {last}) TO {literal(str(path))} (FORMAT csv, HEADER false,"
            f" DELIMITER {literal(DELIMITERS[job.delimiter])}, NEW_LINE {literal(LINE_ENDINGS[job.line_ending])},"
            " QUOTE '\"', ESCAPE '\"', FORCE_QUOTE *)"
        )
    return path
