"""Bulk 2.0 ingest jobs: what they are asked, which state they are in, and where they are kept.

Owns:      the frozen Job, its JSON, the moves between states, the table `bulk.jobs`, the folder of each job.
Does not:  answer HTTP (bulk_routes) or process rows (bulk_worker).
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

import duckdb

from sfsync.local_org.journal import kept_file
from sfsync.local_org.store import Store, instant

OPEN, UPLOADED, RUNNING = "Open", "UploadComplete", "InProgress"
COMPLETE, FAILED, ABORTED = "JobComplete", "Failed", "Aborted"
TERMINAL = frozenset({COMPLETE, FAILED, ABORTED})
KEY_PREFIX = "750"
OPEN_S, KEPT_S = 24 * 3600, 7 * 24 * 3600
"""How long a job may stay open, and how long an ended one is kept; Bulk API 2.0 guide, limits of ingest jobs."""


@dataclass(frozen=True, slots=True)
class Job:
    """One ingest job. Rows and bytes count what is saved and written for good."""

    id: str
    object: str
    operation: str
    api_version: str
    created_by: str
    created: str  # canonical instant
    modified: str
    external_id: str | None = None
    line_ending: str = "LF"
    delimiter: str = "COMMA"
    assignment_rule: str | None = None
    state: str = OPEN
    uploaded: bool = False
    request: int = 0  # the HTTP request that started the processing, for the journal
    processed: int = 0
    failed: int = 0
    successful_bytes: int = 0  # of the result files, at the last commit
    failed_bytes: int = 0
    error: str | None = None
    total_ms: int = 0
    api_ms: int = 0


def job_json(job: Job, *, full: bool) -> dict[str, Any]:
    """A job as answers show it. full: with the counters that only ``GET jobs/ingest/{id}`` has."""
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
    }
    if job.external_id is not None:
        body["externalIdFieldName"] = job.external_id
    if job.assignment_rule is not None:
        body["assignmentRuleId"] = job.assignment_rule
    if job.state == OPEN:
        body["contentUrl"] = f"services/data/v{job.api_version}/jobs/ingest/{job.id}/batches"
    body |= {"lineEnding": job.line_ending, "columnDelimiter": job.delimiter}
    if full:
        body |= {
            "jobType": "V2Ingest",
            "numberRecordsProcessed": job.processed,
            "numberRecordsFailed": job.failed,
            "retries": 0,
            "totalProcessingTime": job.total_ms,
            "apiActiveProcessingTime": job.api_ms,
            "apexProcessingTime": 0,
        }
        if job.error is not None:
            body["errorMessage"] = job.error
    return body


def shown(instant: str) -> str:
    """A canonical instant as the JSON of jobs writes it."""
    return instant.removesuffix("Z") + "+0000"


class Jobs:
    """All jobs of one org, in memory and in the store."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._root = store.folder / "bulk"
        with store.write() as cursor:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS bulk")
            cursor.execute("CREATE TABLE IF NOT EXISTS bulk.jobs (id VARCHAR, body VARCHAR)")
            rows = cursor.execute("SELECT body FROM bulk.jobs ORDER BY id").fetchall()
        for (body,) in rows:
            job = Job(**json.loads(body))
            self._jobs[job.id] = job

    def folder(self, job_id: str) -> Path:
        """Where the job's upload and result files are."""
        return self._root / job_id

    def get(self, job_id: str) -> Job | None:
        """The job as it stands now; a 15-character Id finds it too."""
        with self._lock:
            found = self._jobs.get(job_id)
            if found is None and len(job_id) == 15:
                found = next((j for i, j in self._jobs.items() if i.startswith(job_id)), None)
            return found

    def all(self) -> list[Job]:
        """Every job, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def now(self, ago_s: float = 0) -> str:
        """The org's clock as the store writes instants."""
        return instant(datetime.fromtimestamp(self._clock() - ago_s, UTC))

    def tidy(self) -> None:
        """What the platform does with time: abort what was left open for a day, drop what ended a week ago."""
        opened, ended = self.now(OPEN_S), self.now(KEPT_S)
        for job in self.all():
            if job.state == OPEN and job.created < opened:
                self.move(job.id, {OPEN}, state=ABORTED)
            elif job.state in TERMINAL and job.modified < ended:
                self.drop(job.id)

    def create(self, **asked: Any) -> Job:
        """Keep a new job in state Open, with an empty folder."""
        now = self.now()
        with self._store.write() as cursor:
            job = Job(id=self._store.new_id(cursor, KEY_PREFIX), created=now, modified=now, **asked)
            cursor.execute("INSERT INTO bulk.jobs VALUES (?, ?)", [job.id, json.dumps(asdict(job))])
        self.folder(job.id).mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            self._jobs[job.id] = job
        return job

    def move(self, job_id: str, frm: frozenset[str] | set[str], **changes: Any) -> Job | None:
        """Change a job if it is in one of the states `frm`; None if it is not (any more)."""
        with self._store.write() as cursor:
            return self.move_within(cursor, job_id, frm, **changes)

    def move_within(
        self, cursor: duckdb.DuckDBPyConnection, job_id: str, frm: frozenset[str] | set[str], **changes: Any
    ) -> Job | None:
        """As `move`, in the caller's transaction. What the transaction undoes, the caller must not have shown."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state not in frm:
                return None
            changed = replace(job, modified=self.now(), **changes)
            cursor.execute(
                "UPDATE bulk.jobs SET body = ? WHERE id = ?", [json.dumps(asdict(changed)), job_id]
            )
            self._jobs[job_id] = changed
            return changed

    def claim_upload(self, job_id: str) -> bool:
        """Let one upload begin: True once per job, while it is Open."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state != OPEN or job.uploaded:
                return False
            self._jobs[job_id] = replace(job, uploaded=True)
            return True

    def release_upload(self, job_id: str) -> None:
        """The upload broke off: another may be tried."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None:
                self._jobs[job_id] = replace(job, uploaded=False)

    def drop(self, job_id: str) -> None:
        """Forget a job and its files."""
        with self._store.write() as cursor:
            cursor.execute("DELETE FROM bulk.jobs WHERE id = ?", [job_id])
        with self._lock:
            self._jobs.pop(job_id, None)
        written = self.folder(job_id) / "successful.csv"
        if written.exists():
            kept = kept_file(self._store.folder, job_id)
            kept.parent.mkdir(mode=0o700, exist_ok=True)
            written.replace(kept)
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def clear(self) -> None:
        """Forget all jobs, for a reset of the org."""
        with self._store.write() as cursor:
            cursor.execute("DELETE FROM bulk.jobs")
        with self._lock:
            self._jobs.clear()
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.rmtree(kept_file(self._store.folder, "").parent, ignore_errors=True)
