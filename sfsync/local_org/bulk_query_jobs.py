"""Bulk 2.0 query jobs: what they ask, which state they are in, and where their results are kept.

Owns:      the frozen QueryJob, its JSON, the moves between states, the table `bulk.query_jobs`, the folder of each job.
Does not:  answer HTTP (bulk_query_routes) or run a query (bulk_query_worker).
Invariant: a state that an answer has shown is in the store; readers are answered from memory and wait for nobody.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sfsync.local_org.bulk_jobs import FAILED, KEPT_S, KEY_PREFIX, RUNNING, TERMINAL, UPLOADED, shown
from sfsync.local_org.store import Store, instant


@dataclass(frozen=True, slots=True)
class QueryJob:
    """One query job. `records` counts the rows of the finished result."""

    id: str
    object: str
    operation: str  # query | queryAll
    query: str
    api_version: str
    created_by: str
    created: str  # canonical instant
    modified: str
    line_ending: str = "LF"
    delimiter: str = "COMMA"
    state: str = UPLOADED
    names: tuple[str, ...] = ()  # of the result's columns
    records: int = 0
    total_ms: int = 0


def job_json(job: QueryJob, *, full: bool) -> dict[str, Any]:
    """A job as answers show it. full: with the counters that only ``GET jobs/query/{id}`` has."""
    body: dict[str, Any] = {
        "id": job.id,
        "operation": job.operation,
        "object": job.object,
        "createdById": job.created_by,
        "createdDate": shown(job.created),
        "systemModstamp": shown(job.modified),
        "state": job.state,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float(job.api_version),
        "lineEnding": job.line_ending,
        "columnDelimiter": job.delimiter,
    }
    if full:
        body |= {
            "jobType": "V2Query",
            "numberRecordsProcessed": job.records,
            "retries": 0,
            "totalProcessingTime": job.total_ms,
            "isPkChunkingSupported": False,
        }
    return body


class QueryJobs:
    """All query jobs of one org, in memory and in the store."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._root = store.folder / "bulk_queries"
        with store.write() as cursor:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS bulk")
            cursor.execute("CREATE TABLE IF NOT EXISTS bulk.query_jobs (id VARCHAR, body VARCHAR)")
            rows = cursor.execute("SELECT body FROM bulk.query_jobs ORDER BY id").fetchall()
        bodies = [json.loads(body) for (body,) in rows]
        self._jobs = {b["id"]: QueryJob(**{**b, "names": tuple(b["names"])}) for b in bodies}

    def folder(self, job_id: str) -> Path:
        """Where the job's result is."""
        return self._root / job_id

    def get(self, job_id: str) -> QueryJob | None:
        """The job as it stands now; a 15-character Id finds it too."""
        with self._lock:
            found = self._jobs.get(job_id)
            if found is None and len(job_id) == 15:
                found = next((j for i, j in self._jobs.items() if i.startswith(job_id)), None)
            return found

    def all(self) -> list[QueryJob]:
        """Every job, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def now(self, ago_s: float = 0) -> str:
        """The org's clock as the store writes instants."""
        return instant(datetime.fromtimestamp(self._clock() - ago_s, UTC))

    def tidy(self) -> None:
        """Drop what ended a week ago, as the platform does."""
        ended = self.now(KEPT_S)
        for job in self.all():
            if job.state in TERMINAL and job.modified < ended:
                self.drop(job.id)

    def create(self, **asked: Any) -> QueryJob:
        """Keep a new job, with an empty folder."""
        now = self.now()
        with self._store.write() as cursor:
            job = QueryJob(id=self._store.new_id(cursor, KEY_PREFIX), created=now, modified=now, **asked)
            cursor.execute("INSERT INTO bulk.query_jobs VALUES (?, ?)", [job.id, json.dumps(asdict(job))])
        self.folder(job.id).mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            self._jobs[job.id] = job
        return job

    def move(self, job_id: str, frm: frozenset[str] | set[str], **changes: Any) -> QueryJob | None:
        """Change a job if it is in one of the states `frm`; None if it is not (any more)."""
        with self._store.write() as cursor, self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state not in frm:
                return None
            changed = replace(job, modified=self.now(), **changes)
            cursor.execute(
                "UPDATE bulk.query_jobs SET body = ? WHERE id = ?", [json.dumps(asdict(changed)), job_id]
            )
            self._jobs[job_id] = changed
            return changed

    def settle(self) -> list[str]:
        """After a restart: what was running has failed; the jobs that still wait."""
        for job in self.all():
            self.move(job.id, {RUNNING}, state=FAILED)
        return [job.id for job in self.all() if job.state == UPLOADED]

    def drop(self, job_id: str) -> None:
        """Forget a job and its result."""
        with self._store.write() as cursor:
            cursor.execute("DELETE FROM bulk.query_jobs WHERE id = ?", [job_id])
        with self._lock:
            self._jobs.pop(job_id, None)
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def clear(self) -> None:
        """Forget all jobs, for a reset of the org."""
        with self._store.write() as cursor:
            cursor.execute("DELETE FROM bulk.query_jobs")
        with self._lock:
            self._jobs.clear()
        shutil.rmtree(self._root, ignore_errors=True)
