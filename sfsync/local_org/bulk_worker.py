"""The background worker that turns uploaded CSV into saved records and result files.

Owns:      the queue, the order of a job's steps, internal batches, what a restart does to unfinished jobs.
Does not:  judge a row (write), spell a result line (bulk_results), or answer HTTP (bulk_routes).
Invariant: the result files hold exactly the rows that are committed: a batch's lines are written before its commit,
           and what stands behind the length that the commit recorded is cut off at the next start.
"""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from sfsync.contract import SObject
from sfsync.local_org import bulk_jobs as states
from sfsync.local_org import bulk_results as results
from sfsync.local_org.bulk_csv import CsvError, Facts, Watch, load, read_header
from sfsync.local_org.bulk_jobs import Job, Jobs
from sfsync.local_org.call import Call
from sfsync.local_org.columns import RefusedWriteError, resolve
from sfsync.local_org.store import Store, quoted
from sfsync.local_org.write import apply

BATCH = 10_000
"""Rows of one internal batch, of one transaction, and of one unit of the daily allocation."""

UPLOAD = "upload.csv"
_STAGE = "bulkstage"  # an in-memory catalogue for uploaded cells: nothing of it belongs into the org's file
_LOG = logging.getLogger(__name__)

TakeBatch = Callable[[], bool]
"""Take one batch from the daily allocation; False: used up."""

LockedShare = Callable[[str], float]
"""The share of an object's rows that a fault makes fail with UNABLE_TO_LOCK_ROW, asked once per batch."""


def result_file(folder: Path, kind: str) -> Path:
    """Where a result file of a job is kept."""
    return folder / f"{kind}.csv"


class BulkWorker:
    """One thread; jobs run one after the other, batches too."""

    def __init__(self, store: Store, jobs: Jobs, take_batch: TakeBatch, locked_share: LockedShare) -> None:
        self._store, self._jobs = store, jobs
        self._take_batch, self._locked_share = take_batch, locked_share
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._facts: dict[str, Facts] = {}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Settle what an earlier process left, and begin to work."""
        with self._store.reading() as cursor:
            cursor.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {_STAGE}")
        for job in self._jobs.all():
            if job.state == states.UPLOADED:
                self._queue.put(job.id)
            elif job.state == states.RUNNING:
                self._settle(job)
        self._thread = threading.Thread(target=self._work, name="bulk", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the batch that is being saved."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout=60)

    def submit(self, job_id: str, facts: Facts | None) -> None:
        """Queue a job that is UploadComplete. facts: what was seen of its upload, when this process took it."""
        if facts is not None:
            self._facts[job_id] = facts
        self._queue.put(job_id)

    def write_headers(self, job: Job, names: tuple[str, ...]) -> None:
        """Begin the three result files: each has its header even without a row."""
        for kind in (results.SUCCESSFUL, results.FAILED, results.UNPROCESSED):
            line = results.header_line(kind, names, delimiter=job.delimiter, line_ending=job.line_ending)
            result_file(self._jobs.folder(job.id), kind).write_bytes(line)

    def _work(self) -> None:
        while True:
            job_id = self._queue.get()
            if job_id is None or self._stopping.is_set():
                return
            job = self._jobs.move(job_id, {states.UPLOADED}, state=states.RUNNING)
            if job is None:
                continue
            try:
                self._run(job)
            except Exception as error:  # the shell of this thread: the job fails, the worker lives on
                _LOG.exception("job %s", job_id)
                self._finish(
                    job_id, states.FAILED, f"InternalServerError : {type(error).__name__}", time.monotonic()
                )

    def _run(self, job: Job) -> None:
        begun = time.monotonic()
        folder = self._jobs.folder(job.id)
        sobject = self._store.contract.object(job.object)
        names: tuple[str, ...] = ()
        try:
            facts = self._facts.pop(job.id, None) or _facts_of(folder / UPLOAD)
            names = read_header(folder / UPLOAD, facts, delimiter=job.delimiter, line_ending=job.line_ending)
            known = self._known(job, sobject, names)
        except CsvError as error:
            self._fail_whole(job, names, str(error), begun)
            return
        if known is not None:
            self._fail_whole(job, known[1], known[0], begun, columns=names)
            return
        assert sobject is not None  # noqa: S101 - _known answered for None
        self.write_headers(job, names)
        with self._store.reading() as cursor:
            raw = f"{_STAGE}.{quoted(job.id)}"
            try:
                total = load(cursor, folder / UPLOAD, raw, len(names), delimiter=job.delimiter)
            except CsvError as error:
                self._fail_whole(job, names, str(error), begun)
                return
            try:
                self._batches(job.id, sobject, names, raw, total, begun, cursor)
            finally:
                cursor.execute(f"DROP TABLE IF EXISTS {raw}")

    def _known(
        self, job: Job, sobject: SObject | None, names: tuple[str, ...]
    ) -> tuple[str, tuple[str, ...]] | None:
        """Why the header cannot be used, and the columns that could; None when all are good."""
        if sobject is None:
            return f"InvalidBatch : object {job.object} is not in this org any more", ()
        if job.operation == "delete":
            if [n.lower() for n in names] == ["id"]:
                return None
            return "InvalidBatch : delete batch must contain only ids", tuple(
                n for n in names if n.lower() == "id"
            )
        good, first = [], None
        for name in names:
            try:
                resolve(self._store.contract, sobject, (name,))
                good.append(name)
            except RefusedWriteError as error:
                unknown = error.message.startswith("No such column")
                text = f"Field name not found : {name}" if unknown else error.message
                first = first or f"InvalidBatch : {text}"
        if first is None:
            try:
                resolve(self._store.contract, sobject, names)
            except RefusedWriteError as error:
                first = f"InvalidBatch : {error.message}"
        return None if first is None else (first, tuple(good))

    def _fail_whole(
        self, job: Job, shown: tuple[str, ...], error: str, begun: float, *, columns: tuple[str, ...] = ()
    ) -> None:
        """Nothing was saved: every row is unprocessed. Only known columns are shown where the header could be read."""
        self.write_headers(job, shown)
        folder = self._jobs.folder(job.id)
        unprocessed = result_file(folder, results.UNPROCESSED)
        if columns and shown:
            with self._store.reading() as cursor:
                try:
                    self._write_known(cursor, job, columns, shown)
                except CsvError:
                    shutil.copyfile(folder / UPLOAD, unprocessed)
        elif not columns:
            shutil.copyfile(folder / UPLOAD, unprocessed)
        self._finish(job.id, states.FAILED, error, begun)

    def _write_known(
        self, cursor: duckdb.DuckDBPyConnection, job: Job, columns: tuple[str, ...], shown: tuple[str, ...]
    ) -> None:
        raw = f"{_STAGE}.{quoted(job.id)}"
        folder = self._jobs.folder(job.id)
        total = load(cursor, folder / UPLOAD, raw, len(columns), delimiter=job.delimiter)
        picked = ", ".join(f"c{columns.index(name)} AS c{i}" for i, name in enumerate(shown))
        cursor.execute(f"CREATE TEMP VIEW known AS SELECT {picked}, rowid FROM {raw}")
        try:
            self._write_unprocessed(cursor, job, "known", 0, total, len(shown))
        finally:
            cursor.execute("DROP VIEW known")
            cursor.execute(f"DROP TABLE {raw}")

    def _batches(
        self,
        job_id: str,
        sobject: SObject,
        names: tuple[str, ...],
        raw: str,
        total: int,
        begun: float,
        cursor: duckdb.DuckDBPyConnection,
    ) -> None:
        """Save batch after batch until the rows, the allocation, or the client's patience end."""
        for first in range(0, total, BATCH):
            if self._stopping.is_set():
                return
            if not self._take_batch():
                self._finish(job_id, states.FAILED, "ExceededQuota : ApiBatchItems Limit exceeded.", begun)
                return
            last = min(first + BATCH, total)
            if not self._batch(job_id, sobject, names, raw, first, last, begun):
                job = self._jobs.get(job_id)
                if job is not None:
                    self._write_unprocessed(cursor, job, raw, first, total, len(names))
                return
        self._finish(job_id, states.COMPLETE, None, begun)

    def _batch(
        self,
        job_id: str,
        sobject: SObject,
        names: tuple[str, ...],
        raw: str,
        first: int,
        last: int,
        begun: float,
    ) -> bool:
        """Save rows [first, last) and write their lines; False when the job is not running any more."""
        started = time.monotonic()
        with self._store.write() as cursor:
            job = self._jobs.get(job_id)
            if job is None or job.state != states.RUNNING:
                return False
            cells = ", ".join(
                f"CASE WHEN c{i} = '#N/A' THEN '' ELSE c{i} END AS {quoted(name)}"
                for i, name in enumerate(names)
            )
            cursor.execute(
                f"CREATE TEMP TABLE incoming AS SELECT rowid AS _row, {cells} FROM {raw}"
                f" WHERE rowid >= {first} AND rowid < {last}"
            )
            call = Call(
                sobject,
                job.operation,
                "incoming",
                external_id=job.external_id,
                request=job.request,
                locked_share=self._locked_share(sobject.name),
            )
            result = apply(self._store, cursor, call)
            good, bad, failures = results.outcome_texts(
                cursor, result, raw, len(names), delimiter=job.delimiter, line_ending=job.line_ending
            )
            cursor.execute(f"DROP TABLE {result}")
            cursor.execute("DROP TABLE incoming")
            folder = self._jobs.folder(job_id)
            now = time.monotonic()
            self._jobs.move_within(
                cursor,
                job_id,
                {states.RUNNING},
                processed=job.processed + last - first,
                failed=job.failed + failures,
                successful_bytes=_append(result_file(folder, results.SUCCESSFUL), good),
                failed_bytes=_append(result_file(folder, results.FAILED), bad),
                total_ms=int((now - begun) * 1000),
                api_ms=job.api_ms + int((now - started) * 1000),
            )
        return True

    def _write_unprocessed(
        self, cursor: duckdb.DuckDBPyConnection, job: Job, raw: str, first: int, total: int, columns: int
    ) -> None:
        path = result_file(self._jobs.folder(job.id), results.UNPROCESSED)
        for start in range(first, total, BATCH):
            last = min(start + BATCH, total)
            text = results.unprocessed_text(
                cursor, raw, start, last, columns, delimiter=job.delimiter, line_ending=job.line_ending
            )
            _append(path, text)

    def _finish(self, job_id: str, state: str, error: str | None, begun: float) -> None:
        spent = int((time.monotonic() - begun) * 1000)
        self._jobs.move(job_id, {states.RUNNING}, state=state, error=error, total_ms=spent)

    def _settle(self, job: Job) -> None:
        """A job that was running when the process ended: cut its files to the last commit, list the rest."""
        folder = self._jobs.folder(job.id)
        for kind, length in (
            (results.SUCCESSFUL, job.successful_bytes),
            (results.FAILED, job.failed_bytes),
        ):
            path = result_file(folder, kind)
            if path.exists() and length:
                with path.open("r+b") as handle:
                    handle.truncate(length)
        try:
            facts = _facts_of(folder / UPLOAD)
            names = read_header(folder / UPLOAD, facts, delimiter=job.delimiter, line_ending=job.line_ending)
            if not job.processed:
                self.write_headers(job, names)
            with self._store.reading() as cursor:
                raw = f"{_STAGE}.{quoted(job.id)}"
                total = load(cursor, folder / UPLOAD, raw, len(names), delimiter=job.delimiter)
                line = results.header_line(
                    results.UNPROCESSED, names, delimiter=job.delimiter, line_ending=job.line_ending
                )
                result_file(folder, results.UNPROCESSED).write_bytes(line)
                self._write_unprocessed(cursor, job, raw, job.processed, total, len(names))
                cursor.execute(f"DROP TABLE {raw}")
        except (CsvError, OSError):
            if not job.processed:
                self.write_headers(job, ())
        self._jobs.move(
            job.id, {states.RUNNING}, state=states.FAILED, error="InternalServerError : the org was restarted"
        )


def _append(path: Path, data: bytes) -> int:
    """Write behind the file's end and return its new length."""
    with path.open("ab") as handle:
        handle.write(data)
        return handle.tell()


def _facts_of(path: Path) -> Facts:
    """Watch a file that another process took in."""
    watch = Watch()
    with path.open("rb") as blocks:
        while block := blocks.read(1 << 20):
            watch.block(block)
    return watch.facts()
