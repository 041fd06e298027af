"""Bulk API 1.0 jobs and their batches: what they are asked, which state they are in, where their files are.

Owns:      the frozen ClassicJob and Batch, the tables `bulk.classic_jobs` and `bulk.classic_batches`, moves between states.
Does not:  read or write XML, JSON and CSV (bulk1_text, bulk1_worker), or answer HTTP (bulk1).
Invariant: a state that an answer has shown is in the store; a batch's end and its records are one transaction.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from sfsync.local_org.store import Store, instant

OPEN, CLOSED, ABORTED = "Open", "Closed", "Aborted"
QUEUED, RUNNING, COMPLETED, FAILED, SKIPPED = "Queued", "InProgress", "Completed", "Failed", "Not Processed"
KEPT_S = 7 * 24 * 3600  # how long a job is kept; Bulk API guide, "Bulk API Limits"
QUERIES = ("query", "queryAll")


@dataclass(frozen=True, slots=True)
class ClassicJob:
    """One job, as it was asked for, and its state."""

    id: str
    object: str
    operation: str
    external_id: str | None
    concurrency: str
    content_type: str
    api_version: str
    created_by: str
    created: str
    modified: str
    state: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One upload of a job: rows, or the text of a query."""

    id: str
    job: str
    state: str
    message: str | None
    created: str
    modified: str
    request: int  # the HTTP request that brought it, for the journal
    processed: int
    failed: int
    total_ms: int
    result: str | None  # of a query: the Id of its one result


_JOB = ", ".join(f.name for f in fields(ClassicJob))
_BATCH = ", ".join(f.name for f in fields(Batch))
_TEXTS = ", ".join(f"{f.name} VARCHAR" for f in fields(ClassicJob))
_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS bulk",
    f"CREATE TABLE IF NOT EXISTS bulk.classic_jobs ({_TEXTS})",
    """CREATE TABLE IF NOT EXISTS bulk.classic_batches (id VARCHAR, job VARCHAR, state VARCHAR, message VARCHAR,
         created VARCHAR, modified VARCHAR, request BIGINT, processed BIGINT, failed BIGINT, total_ms BIGINT, result VARCHAR)""",
)


class ClassicJobs:
    """All Bulk 1.0 jobs of one org."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._root = store.folder / "bulk1"
        with store.write() as cursor:
            for statement in _TABLES:
                cursor.execute(statement)

    def now(self, ago_s: float = 0) -> str:
        """The org's clock as the store writes instants."""
        return instant(datetime.fromtimestamp(self._clock() - ago_s, UTC))

    def folder(self, job_id: str) -> Path:
        """Where the uploads and results of a job's batches are."""
        return self._root / job_id

    def create(self, **asked: str | None) -> ClassicJob:
        """A new job, open; those that ended a week ago go."""
        self._tidy()
        now = self.now()
        with self._store.write() as cursor:
            body = {**asked, "created": now, "modified": now, "state": OPEN}
            job = ClassicJob(id=self._store.new_id(cursor, "750"), **body)  # type: ignore[arg-type]
            values = [getattr(job, f.name) for f in fields(job)]
            cursor.execute(f"INSERT INTO bulk.classic_jobs VALUES ({', '.join('?' for _ in values)})", values)
        self.folder(job.id).mkdir(parents=True, exist_ok=True, mode=0o700)
        return job

    def job(self, job_id: str) -> ClassicJob | None:
        """The job as it stands now; a 15-character Id finds it too."""
        with self._store.reading() as cursor:
            rows = cursor.execute(
                f"SELECT {_JOB} FROM bulk.classic_jobs WHERE id = ? OR substr(id, 1, 15) = ?",
                [job_id, job_id],
            ).fetchall()
        return ClassicJob(*rows[0]) if rows else None

    def batches(self, job_id: str) -> list[Batch]:
        """A job's batches in the order of upload."""
        with self._store.reading() as cursor:
            rows = cursor.execute(
                f"SELECT {_BATCH} FROM bulk.classic_batches WHERE job = ? ORDER BY id", [job_id]
            ).fetchall()
        return [Batch(*row) for row in rows]

    def batch(self, job_id: str, batch_id: str) -> Batch | None:
        """One batch of a job."""
        return next((b for b in self.batches(job_id) if batch_id in (b.id, b.id[:15])), None)

    def waiting(self) -> list[tuple[str, str]]:
        """Job and batch of all that a former process left; what was under way has saved nothing and waits again."""
        with self._store.write() as cursor:
            cursor.execute("UPDATE bulk.classic_batches SET state = ? WHERE state = ?", [QUEUED, RUNNING])
            rows = cursor.execute(
                "SELECT job, id FROM bulk.classic_batches WHERE state = ? ORDER BY id", [QUEUED]
            ).fetchall()
        return [(str(job), str(batch)) for job, batch in rows]

    def new_batch_id(self) -> str:
        """An Id for an upload that begins."""
        with self._store.write() as cursor:
            return self._store.new_id(cursor, "751")

    def add(self, job: ClassicJob, batch_id: str, request: int, failure: str | None) -> Batch | None:
        """Queue an upload that is on disk, or note it as failed; None when the job is not open any more."""
        now = self.now()
        with self._store.write() as cursor:
            if cursor.execute("SELECT state FROM bulk.classic_jobs WHERE id = ?", [job.id]).fetchall() != [
                (OPEN,)
            ]:
                return None
            state = QUEUED if failure is None else FAILED
            batch = Batch(batch_id, job.id, state, failure, now, now, request, 0, 0, 0, None)
            values = [getattr(batch, f.name) for f in fields(batch)]
            cursor.execute(
                f"INSERT INTO bulk.classic_batches VALUES ({', '.join('?' for _ in values)})", values
            )
        return batch

    def begin(self, batch_id: str) -> bool:
        """A batch goes from Queued to InProgress; False when it is not queued any more."""
        with self._store.write() as cursor:
            return bool(
                cursor.execute(
                    "UPDATE bulk.classic_batches SET state = ?, modified = ? WHERE id = ? AND state = ? RETURNING id",
                    [RUNNING, self.now(), batch_id, QUEUED],
                ).fetchall()
            )

    def end(
        self,
        cursor: duckdb.DuckDBPyConnection,
        batch_id: str,
        state: str,
        *,
        message: str | None = None,
        counts: tuple[int, int] = (0, 0),
        total_ms: int = 0,
        result: str | None = None,
    ) -> None:
        """A batch has ended, in the caller's transaction. counts: processed and failed."""
        cursor.execute(
            "UPDATE bulk.classic_batches SET state = ?, message = ?, processed = ?, failed = ?, total_ms = ?, result = ?,"
            " modified = ? WHERE id = ?",
            [state, message, *counts, total_ms, result, self.now(), batch_id],
        )

    def close(self, job_id: str, state: str) -> bool:
        """End a job that is open; with an abort end its waiting batches, too. False: it is not open."""
        with self._store.write() as cursor:
            done = cursor.execute(
                "UPDATE bulk.classic_jobs SET state = ?, modified = ? WHERE id = ? AND (state = ? OR (state = ? AND ? = ?))"
                " RETURNING id",
                [state, self.now(), job_id, OPEN, CLOSED, state, ABORTED],
            ).fetchall()
            if done and state == ABORTED:
                cursor.execute(
                    "UPDATE bulk.classic_batches SET state = ?, modified = ? WHERE job = ? AND state = ?",
                    [SKIPPED, self.now(), job_id, QUEUED],
                )
        return bool(done)

    def clear(self) -> None:
        """Forget all jobs, for a reset of the org."""
        with self._store.write() as cursor:
            cursor.execute("DELETE FROM bulk.classic_jobs")
            cursor.execute("DELETE FROM bulk.classic_batches")
        shutil.rmtree(self._root, ignore_errors=True)

    def _tidy(self) -> None:
        with self._store.write() as cursor:
            old = cursor.execute(
                "DELETE FROM bulk.classic_jobs WHERE modified < ? RETURNING id", [self.now(KEPT_S)]
            ).fetchall()
            for (job,) in old:
                cursor.execute("DELETE FROM bulk.classic_batches WHERE job = ?", [job])
        for (job,) in old:
            shutil.rmtree(self.folder(job), ignore_errors=True)
