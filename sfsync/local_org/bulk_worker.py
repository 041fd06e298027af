"""The background worker that turns uploaded CSV into saved records and result files.

Owns:      the queue, the order of a job's steps, batches and transactions, what a restart does to unfinished jobs.
Does not:  judge a row (write), spell a result line (bulk_results), or answer HTTP (bulk_routes).
Invariant: the result files hold exactly the rows that are committed: a stretch's lines are written before its commit,
           and what stands behind the length that the commit recorded is cut off at the next start.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from sfsync.contract import Contract, SObject
from sfsync.local_org import bulk_jobs as states
from sfsync.local_org import bulk_results as results
from sfsync.local_org.bulk_csv import DELIMITERS, CsvError, Facts, load, read_header
from sfsync.local_org.bulk_jobs import Job, Jobs
from sfsync.local_org.bulk_rest import (
    STAGE,
    UPLOAD,
    append_file,
    facts_of,
    known_columns,
    list_rest,
    result_file,
    write_headers,
)
from sfsync.local_org.call import Call
from sfsync.local_org.fault_rules import Rule
from sfsync.local_org.faults import Faults
from sfsync.local_org.store import Store, quoted
from sfsync.local_org.write import apply, forget

BATCH = 10_000
"""Rows of one internal batch: one unit of the daily allocation."""

SAVE = 5 * BATCH
"""Rows of one transaction: several batches, because every statement has a price that does not depend on rows."""

_ROW_GROUP = 20_480
"""Rows that one thread reads at a time: small, so that a transaction's rows are converted on all cores."""

_CHECKPOINT = "256MB"
"""How much may wait in the log: a checkpoint in the middle of a job costs as much as the job."""

_HAND_OVER_S = 0.001
"""A rest between transactions: who waits for the store, an abort for example, gets it before the next one."""

_LOG = logging.getLogger(__name__)

TakeBatch = Callable[[], bool]
"""Take one batch from the daily allocation; False: used up."""

_UNKNOWN = "InternalServerError : the job could not be finished"


@dataclass(frozen=True, slots=True)
class _Run:
    """One job while it is processed."""

    job_id: str
    sobject: SObject
    names: tuple[str, ...]  # the header, as uploaded
    raw: str  # the table of uploaded cells
    nulls: bool  # may a cell be `#N/A`?
    begun: float  # monotonic
    fault: Rule | None  # what stops it on the way


class BulkWorker:
    """One thread; jobs run one after the other, batches too."""

    def __init__(
        self, store: Store, jobs: Jobs, take_batch: TakeBatch, faults: Faults, seen: Callable[[str], Contract]
    ) -> None:
        """seen: what a user may see and do at this time."""
        self._store, self._jobs, self._seen = store, jobs, seen
        self._take_batch, self._faults = take_batch, faults
        self._held: dict[str, int | None] = {}  # stuck jobs: polls until they go on, None: never
        self._freed: set[str] = set()
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._facts: dict[str, Facts] = {}
        self._files = threading.Lock()
        self._current: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="bulk", daemon=True)

    def start(self) -> None:
        """Settle what an earlier process left, and begin to work."""
        with self._store.reading() as cursor:
            cursor.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {STAGE} (ROW_GROUP_SIZE {_ROW_GROUP})")
            cursor.execute(f"SET GLOBAL checkpoint_threshold = '{_CHECKPOINT}'")
        for job in self._jobs.all():
            if job.state == states.UPLOADED:
                self._queue.put(job.id)
            elif job.state == states.RUNNING:
                self._settle(job)
        self._thread.start()

    def stop(self) -> None:
        """End after the rows that are being saved; a job in the middle fails at the next start."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(timeout=60)

    def remember(self, job_id: str, facts: Facts) -> None:
        """Keep what was seen of an upload, so that the file need not be read again."""
        self._facts[job_id] = facts

    def submit(self, job_id: str) -> None:
        """Queue a job that is UploadComplete."""
        self._queue.put(job_id)

    def busy_with(self, job_id: str) -> bool:
        """Is the worker still at this job, whatever state it has by now?"""
        return self._current == job_id

    def polled(self, job_id: str) -> None:
        """Somebody has asked for a job: one that is stuck may go on after enough of that."""
        with self._files:
            left = self._held.get(job_id)
            if left is None:
                return
            self._held[job_id] = left - 1
            if left > 1:
                return
            del self._held[job_id]
            self._freed.add(job_id)
        self._queue.put(job_id)

    def settle_files(self, job: Job) -> None:
        """Make the result files of a job that was ended before it ran, or while it was stuck."""
        with self._files:
            folder = self._jobs.folder(job.id)
            was_stuck = job.id in self._held
            self._held.pop(job.id, None)
            if was_stuck or not result_file(folder, results.UNPROCESSED).exists():
                folder.mkdir(parents=True, exist_ok=True)
                list_rest(self._store, folder, job)

    def _work(self) -> None:
        while True:
            job_id = self._queue.get()
            if job_id is None or self._stopping.is_set():
                return
            self._current = job_id
            try:
                waiting = {states.UPLOADED} | ({states.RUNNING} if job_id in self._freed else set())
                job = self._jobs.move(job_id, waiting, state=states.RUNNING)
                if job is not None:
                    self._run(job)
            except Exception as error:  # the shell of this thread: the job fails, the worker lives on
                _LOG.exception("job %s", job_id)
                self._end_broken(job_id, error)
            finally:
                self._current = None

    def _end_broken(self, job_id: str, error: Exception) -> None:
        try:
            job = self._jobs.move(
                job_id,
                {states.RUNNING},
                state=states.FAILED,
                error=f"InternalServerError : {type(error).__name__}",
            )
            if job is not None:
                list_rest(self._store, self._jobs.folder(job_id), job)
        except Exception:
            _LOG.exception("job %s could not be ended", job_id)

    def _run(self, job: Job) -> None:
        begun = time.monotonic()
        folder = self._jobs.folder(job.id)
        raw = f"{STAGE}.{quoted(job.id)}"
        seen = self._seen(job.created_by)
        sobject = seen.object(job.object)
        with self._store.reading() as cursor:
            try:
                facts = self._facts.pop(job.id, None) or facts_of(folder / UPLOAD)
                names = read_header(
                    folder / UPLOAD, facts, delimiter=job.delimiter, line_ending=job.line_ending
                )
                _, wrong = known_columns(seen, sobject, job.operation, names)
                if wrong is not None:
                    raise CsvError(wrong)
                total = load(
                    cursor, folder / UPLOAD, raw, len(names), delimiter=job.delimiter, quotes=facts.quotes > 0
                )
            except CsvError as error:
                list_rest(self._store, folder, job)
                self._finish(job.id, states.FAILED, str(error), begun)
                return
            if sobject is None:
                return
            if job.processed == 0:
                write_headers(folder, job, names)
            fault = None
            if job.id not in self._freed:
                fault = self._faults.of_job(job.id, sobject.name, "job_stuck", "job_failed", "job_aborted")
            run = _Run(job.id, sobject, names, raw, facts.nulls, begun, fault)
            try:
                self._batches(run, job.processed, total)
            finally:
                cursor.execute(f"DROP TABLE IF EXISTS {raw}")

    def _batches(self, run: _Run, first: int, total: int) -> None:
        """Save stretch after stretch until the rows, the allocation, or the client's patience end."""
        end = total if run.fault is None else int(total * run.fault.share)
        while first < end and not self._stopping.is_set():
            last = self._allowed(first, min(first + SAVE, end))
            if last == first:
                self._finish(
                    run.job_id, states.FAILED, "ExceededQuota : ApiBatchItems Limit exceeded.", run.begun
                )
                return
            if not self._save(run, first, last):
                self._list_rest(run.job_id)
                return
            first = last
            time.sleep(_HAND_OVER_S)
        if first < end:
            return
        if run.fault is None:
            self._finish(run.job_id, states.COMPLETE, None, run.begun)
        else:
            self._stop_here(run, run.fault)

    def _stop_here(self, run: _Run, fault: Rule) -> None:
        """A fault ends the job in the middle, or lets it hang."""
        if fault.fault == "job_stuck":
            with self._files:
                self._held[run.job_id] = fault.polls
            return
        self._list_rest(run.job_id)
        if fault.fault == "job_aborted":
            self._finish(run.job_id, states.ABORTED, None, run.begun)
        else:
            self._finish(run.job_id, states.FAILED, fault.message or _UNKNOWN, run.begun)

    def _list_rest(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        if job is not None:
            list_rest(self._store, self._jobs.folder(job_id), job)

    def _allowed(self, first: int, last: int) -> int:
        """Take the batches of rows [first, last) from the allocation; where the rows end that it pays for."""
        for start in range(first, last, BATCH):
            if not self._take_batch():
                return start
        return last

    def _save(self, run: _Run, first: int, last: int) -> bool:
        """Save rows [first, last) and write their lines; False when the job is not running any more."""
        started = time.monotonic()
        with self._store.write() as cursor:
            job = self._jobs.get(run.job_id)
            if job is None or job.state != states.RUNNING:
                return False
            cell = "CASE WHEN c{0} = '#N/A' THEN '' ELSE c{0} END" if run.nulls else "c{0}"
            cells = ", ".join(f"{cell.format(i)} AS {quoted(name)}" for i, name in enumerate(run.names))
            cursor.execute(
                f"CREATE TEMP VIEW incoming AS SELECT rowid AS _row, {cells} FROM {run.raw}"
                f" WHERE rowid >= {first} AND rowid < {last}"
            )
            call = Call(
                run.sobject,
                job.operation,
                "incoming",
                external_id=job.external_id,
                request=job.request,
                faults=self._faults.of_write(run.sobject.name),
                journal=False,
                user_id=job.created_by,
                seen=self._seen(job.created_by),
                assignment=job.assignment_rule if self._store.rules.assignment else None,
            )
            result = apply(self._store, cursor, call)
            folder = self._jobs.folder(run.job_id)
            good, bad = folder / "good.part", folder / "bad.part"
            failures = results.write_lines(
                cursor,
                result,
                run.raw,
                len(run.names),
                (good, bad),
                delimiter=job.delimiter,
                line_ending=job.line_ending,
            )
            forget(cursor, result)
            cursor.execute("DROP VIEW incoming")
            if failures < last - first:
                self._journal(cursor, job, run, last - first - failures)
            now = time.monotonic()
            self._jobs.move_within(
                cursor,
                run.job_id,
                {states.RUNNING},
                processed=job.processed + last - first,
                failed=job.failed + failures,
                successful_bytes=append_file(result_file(folder, results.SUCCESSFUL), good),
                failed_bytes=append_file(result_file(folder, results.FAILED), bad),
                total_ms=int((now - run.begun) * 1000),
                api_ms=job.api_ms + int((now - started) * 1000),
            )
        return True

    def _journal(self, cursor: duckdb.DuckDBPyConnection, job: Job, run: _Run, rows: int) -> None:
        """Note that the next `rows` lines of successfulResults are what this call wrote."""
        start = result_file(self._jobs.folder(job.id), results.SUCCESSFUL).stat().st_size
        call = self._store.take(cursor, "#call", 1)
        cursor.execute(
            "INSERT INTO org.write_calls VALUES (?, ?, CAST(? AS TIMESTAMP), ?, ?)",
            [call, job.request, self._jobs.now().rstrip("Z"), run.sobject.name, list(run.names)],
        )
        cursor.execute(
            "INSERT INTO org.write_files VALUES (?, ?, ?, ?, ?, ?)",
            [call, job.id, start, rows, job.operation, DELIMITERS[job.delimiter]],
        )

    def _finish(self, job_id: str, state: str, error: str | None, begun: float) -> None:
        spent = int((time.monotonic() - begun) * 1000)
        self._jobs.move(job_id, {states.RUNNING}, state=state, error=error, total_ms=spent)

    def _settle(self, job: Job) -> None:
        """A job that was running when the process ended: cut its files to the last commit, list the rest."""
        folder = self._jobs.folder(job.id)
        lengths = ((results.SUCCESSFUL, job.successful_bytes), (results.FAILED, job.failed_bytes))
        for kind, length in lengths:
            if job.processed:
                with result_file(folder, kind).open("r+b") as handle:
                    handle.truncate(length)
        list_rest(self._store, folder, job)
        self._jobs.move(
            job.id, {states.RUNNING}, state=states.FAILED, error="InternalServerError : the org was restarted"
        )
