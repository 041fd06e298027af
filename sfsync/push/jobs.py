"""Sending rows by Bulk API 2.0 jobs: one file up, one answer down, matched by the column we uploaded.

Owns:      writing the CSV, the calls of a job's life, polling, and reading result files into outcomes.
Does not:  choose this way (plan) or decide repeats (retry).
Invariant: rows are matched by Id or unique external id, never by line; rows that stand in no result file are unprocessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

from sfsync.diff.stage import run_table
from sfsync.errors import ApiLimitError, StateLockedError
from sfsync.plan.batches import sent_rules
from sfsync.push import retry
from sfsync.push.collections import retry_rows
from sfsync.push.context import PushContext, intent_of, settle
from sfsync.push.lanes import (
    ClosingError,
    LimitReachedError,
    NoBatchesError,
    Pause,
    StopPushError,
    Talk,
    call,
)
from sfsync.push.result_files import read_file
from sfsync.records import Batch, Operation, Outcome, Way
from sfsync.salesforce import bulk, encode
from sfsync.salesforce.bulk import JobInfo, JobState, ResultFile
from sfsync.salesforce.failures import NoAnswerError, SalesforceError
from sfsync.salesforce.limits import BULK_BATCH_ROWS, MAX_BULK_BYTES, MAX_MULTIPART_CHARACTERS, bulk_batches

QUICKEST_JOB_S = 0.6
"""A job is not asked for sooner: the org queues it first."""

DEFAULT_SPEED_S = 1 / 25_000
"""Seconds a row before an object's own speed is learned. The model of an unknown org, not a promise."""

LEARNED_FROM_ROWS = 2_000
"""Smaller jobs tell more of the org's queue than of its speed."""
LONGEST_PAUSE_S = 60.0

T = TypeVar("T")


@dataclass(slots=True)
class OpenJob:
    """A job that is under way."""

    batch: Batch
    info: JobInfo
    rows: int
    started: float
    next_poll: float
    pause: float
    intent: int


def start_job(context: PushContext, batch: Batch, jobs: list[OpenJob]) -> Talk[None]:
    """Write the CSV and hand it to the org; adds to `jobs`, twice when the file turns out larger than planned.

    Where the day's Bulk batches do not suffice, as many rows as they carry go before the limit is told.

    Raises:
        LimitReachedError, StopPushError: nothing more can be sent; of this batch no more than `jobs` tells.
    """
    where = context.chosen(batch.sync, batch.operation, batch.first, batch.last)
    path, rows = _write_csv(context, batch, where)
    if not rows:
        return
    if path.stat().st_size > MAX_BULK_BYTES and rows > 1:
        path.unlink()
        middle = (batch.first + batch.last) // 2
        halves = [_part(batch, batch.first, middle), _part(batch, middle, batch.last)]
        for half in halves:
            yield from start_job(context, half, jobs)
        return
    room = context.available()
    if room is not None and room < batch.calls:
        path.unlink()
        raise LimitReachedError
    batches, bulk_room = bulk_batches(rows), context.available_batches()
    if bulk_room is not None and bulk_room < batches:
        path.unlink()
        if bulk_room:
            first, most = batch.first, bulk_room * BULK_BATCH_ROWS
            yield from start_job(context, _part(batch, first, min(batch.last, first + most)), jobs)
        raise NoBatchesError
    intent = _intend(context, batch, path, rows, where)
    try:
        info = yield from _open(context, batch, path, batches, intent)
    finally:
        path.unlink(missing_ok=True)
    if info is None:
        return
    context.job_ids.setdefault(batch.sync, []).append(info.id)
    context.events.log("info", f"{batch.sync}: job {info.id} with {rows:,} rows ({batch.operation})")
    now = context.clock.monotonic()
    expected = QUICKEST_JOB_S + rows * context.job_speed.get(batch.object, DEFAULT_SPEED_S) * 1.2
    expected = min(expected, context.syncs[batch.sync].max_wait_s / 4)
    jobs.append(OpenJob(batch, info, rows, now, now + expected, expected, intent))


def _by_one_call(batch: Batch, path: Path) -> bool:
    """Whether one request makes, fills and closes the job."""
    return batch.way is Way.MULTIPART and path.stat().st_size <= MAX_MULTIPART_CHARACTERS


def _intend(context: PushContext, batch: Batch, path: Path, rows: int, where: str) -> int:
    """A job that one call makes can run under an id that nobody learned: by its keys it is known again."""
    chosen = where if _by_one_call(batch, path) else None
    intent = intent_of(context, batch.sync, batch.operation, batch.way, rows, chosen)
    return context.journal.begin([intent])[0]


def finish_jobs(context: PushContext, jobs: list[OpenJob]) -> Talk[None]:
    """Wait for jobs, read their results and empty the list. Ctrl-C or the longest wait leaves the rest submitted.

    Raises:
        LimitReachedError, StopPushError, StateLockedError: every other job has been read, or left submitted where nobody may ask any more.
    """
    refused: Exception | None = None
    while jobs:
        now = context.clock.monotonic()
        job = min(jobs, key=lambda j: j.next_poll)
        if context.stop_requested():
            _leave_all(context, jobs)
            break
        late = next((j for j in jobs if now - j.started > context.syncs[j.batch.sync].max_wait_s), None)
        if late is not None:
            refused = refused or StopPushError(
                f"job {late.info.id} of {late.batch.sync} was still under way after"
                f" {context.syncs[late.batch.sync].max_wait_s:,.0f} s (push.max_wait); the next run reads it first"
            )
            _leave_all(context, jobs)
            break
        if job.next_poll > now:
            yield Pause(min(job.next_poll - now, 1.0), begins=False)
            continue
        try:
            yield from _look(context, job, jobs)
        except (LimitReachedError, ClosingError, StopPushError, StateLockedError) as error:
            refused = refused or error
            # A job that is read already stumbled over a repeat of its rows, which does not concern the others.
            if job in jobs or isinstance(error, StopPushError):
                _leave_all(context, jobs)
    if refused is not None:
        raise refused


def _look(context: PushContext, job: OpenJob, jobs: list[OpenJob]) -> Talk[None]:
    """Ask how far a job is, and read it when it has ended."""
    info = yield from _patiently(context, job.batch, lambda: bulk.job_info(context.door, job.info.id))
    if info is None:
        jobs.remove(job)
        _leave(context, job)
    elif info.state.final:
        failed = yield from _harvest(context, job, info)
        jobs.remove(job)
        if failed and not context.erases(job.batch):
            batch = job.batch
            yield from retry_rows(context, batch.sync, batch.operation, batch.first, batch.last)
    else:
        job.pause = min(job.pause * 2, LONGEST_PAUSE_S)
        job.next_poll = context.clock.monotonic() + job.pause


def _part(batch: Batch, first: int, last: int) -> Batch:
    size = batch.bytes * (last - first) // batch.rows
    return replace(batch, way=Way.BULK, first=first, last=last, bytes=size)


def _write_csv(context: PushContext, batch: Batch, where: str) -> tuple[Path, int]:
    rules = sent_rules(context.syncs[batch.sync], batch.operation)
    by_id = not batch.operation.makes
    columns = encode.csv_columns(rules, by_id=by_id, clearing=batch.clearing)
    table = run_table(batch.operation.value, batch.sync)
    path = context.spool / f"{batch.sync}-{batch.operation}-{batch.first}.csv"
    if rows := int(context.db.value(f"SELECT count(*) FROM {table} WHERE {where}")):
        context.db.copy_csv(encode.csv_select(columns, f"{table} WHERE {where}"), path)
    return path, rows


def _open(context: PushContext, batch: Batch, path: Path, batches: int, intent: int) -> Talk[JobInfo | None]:
    """Create, upload and close; None when the org refused the job for good (its rows are settled)."""
    sync = context.syncs[batch.sync]
    key = sync.identity[0].field if batch.operation is Operation.UPSERT else None
    rule = sync.options.rule_of_job(batch.operation)
    door, what = context.door, bulk.HARD_DELETE if context.erases(batch) else batch.operation.verb
    if _by_one_call(batch, path):

        def create_whole() -> JobInfo:
            return bulk.create_multipart(door, what, batch.object, path, key, batches=batches, rule=rule)

        return (yield from _begin(context, batch, create_whole, intent))

    due = chain((batches,), repeat(0))  # however often a job is made for these rows, only one is closed

    def create() -> JobInfo:
        return bulk.create_job(door, what, batch.object, key, batches=next(due), rule=rule)

    job = yield from _begin(context, batch, create, intent)
    if job is None:
        return None
    yield from _unless_stopped(context, batch, job, intent)
    if not (yield from _uploaded(context, batch, job, path)):
        yield from _abort(context, batch, job)
        again = yield from _begin(context, batch, create, intent)
        if again is None:
            return None
        job = again
        if (yield from _patiently(context, batch, lambda: bulk.upload(door, again.id, path))) is None:
            return None
    yield from _unless_stopped(context, batch, job, intent)
    full = job
    return (yield from _patiently(context, batch, lambda: _close(context, full)))


def _begin(
    context: PushContext, batch: Batch, create: Callable[[], JobInfo], intent: int
) -> Talk[JobInfo | None]:
    """Make the job and note its id; None when the org refused it for good.

    The intent stays where an answer was lost: a job may then be at work under an id that nobody knows.
    """
    doubts = []

    def watched() -> JobInfo:
        try:
            return create()
        except (NoAnswerError, SalesforceError) as error:
            doubts.append(error.in_doubt)
            raise

    try:
        job = yield from _patiently(context, batch, watched, begins=True)
    except (LimitReachedError, ClosingError, StopPushError):
        if not any(doubts):
            context.journal.ended([intent])
        raise
    if job is not None:
        context.journal.started(intent, job.id)
    elif not any(doubts):
        context.journal.ended([intent])
    return job


def _uploaded(context: PushContext, batch: Batch, job: JobInfo, path: Path) -> Talk[bool]:
    """A job takes one upload. Whether a failed one arrived nobody can know, so the job is then dropped and made anew."""
    try:
        yield from call(batch.sync, lambda: bulk.upload(context.door, job.id, path), begins=False)
    except (NoAnswerError, SalesforceError) as error:
        context.events.log(
            "warning", f"{batch.sync}: the upload to job {job.id} failed: {context.said(batch.sync, error)}"
        )
        return False
    return True


def _close(context: PushContext, info: JobInfo) -> JobInfo:
    """Close a job; when the answer to that was lost, its state tells whether it was closed."""
    try:
        return bulk.close(context.door, info.id)
    except NoAnswerError as error:
        if not error.in_doubt:
            raise
        found = bulk.job_info(context.door, info.id)
        return bulk.close(context.door, info.id) if found.state is JobState.OPEN else found


def _abort(context: PushContext, batch: Batch, info: JobInfo) -> Talk[bool]:
    try:
        yield from call(batch.sync, lambda: bulk.abort(context.door, info.id), begins=False)
    except (NoAnswerError, SalesforceError) as error:
        context.events.log("warning", f"job {info.id} could not be aborted: {error.what}")
        return False
    return True


def _unless_stopped(context: PushContext, batch: Batch, info: JobInfo, intent: int) -> Talk[None]:
    """After Ctrl-C a job that is not closed yet, and so has written nothing, is taken back."""
    if context.stop_requested():
        if (yield from _abort(context, batch, info)):
            context.journal.ended([intent])
        raise ClosingError


def _patiently(
    context: PushContext, batch: Batch, run: Callable[[], T], *, begins: bool = False
) -> Talk[T | None]:
    """Make a call of a job's life, again where retry says so; None once its rows are settled otherwise."""
    attempt = 1
    while True:
        try:
            return (yield from call(batch.sync, run, begins=begins))
        except ApiLimitError:
            # One call was refused though calls are left: another lane took the batches since this job was begun.
            raise (NoBatchesError if context.available() != 0 else LimitReachedError) from None
        except (NoAnswerError, SalesforceError) as error:
            decision = retry.after_call(error, batch.operation, attempt, batch.rows, context.jitter())
            context.events.log(
                "warning",
                f"{batch.sync}: a call for a job failed: {context.said(batch.sync, error)}",
                next=str(decision.next),
            )
        match decision.next:
            case retry.Next.AGAIN:
                yield Pause(decision.pause_s, begins)
                if context.stop_requested():
                    raise ClosingError  # whoever waits for the end of the run need not wait for the org, too
                attempt += 1
            case retry.Next.DEFER:
                raise LimitReachedError
            case retry.Next.STOP:
                raise StopPushError(decision.message)
            case _:
                _give_up(context, batch, decision, begins=begins)
                return None


def _give_up(context: PushContext, batch: Batch, decision: retry.Decision, *, begins: bool) -> None:
    """Settle a job's rows. Once a job exists it may have done its work, whatever its answers say."""
    context.stale_contract |= decision.code in retry.ABOUT_THE_REQUEST
    jobs = ", ".join(context.job_ids.get(batch.sync, ())) or "the job"
    settle(
        context,
        batch.sync,
        batch.operation,
        context.chosen(batch.sync, batch.operation, batch.first, batch.last),
        retry.outcome_of(decision) if begins else Outcome.IN_DOUBT,
        code=decision.code,
        message=decision.message
        if begins
        else f"what became of {jobs} could not be read: {decision.message}",
        action=str(decision.action),
    )


def _leave_all(context: PushContext, jobs: list[OpenJob]) -> None:
    for job in jobs:
        _leave(context, job)
    jobs.clear()


def _leave(context: PushContext, job: OpenJob) -> None:
    """The job goes on in the org; its rows are looked at again by the next run."""
    batch, message = job.batch, f"job {job.info.id} had not ended when this run did"
    where = context.chosen(batch.sync, batch.operation, batch.first, batch.last)
    settle(context, batch.sync, batch.operation, where, Outcome.SUBMITTED, message=message)
    context.journal.left([job.intent])


def _harvest(context: PushContext, job: OpenJob, info: JobInfo) -> Talk[bool]:
    """Read what became of a finished job's rows and record it; whether some failed."""
    batch = job.batch
    processed, failed = info.processed or 0, info.failed or 0
    part = context.next_part()
    _learn_speed(context, job, info)
    if failed and not (yield from _read_results(context, job, ResultFile.FAILED, part)):
        return False  # every row is settled already
    # Of updates and deletes, who is not among the refused went through: if all were worked on, and all refused are told.
    sure = processed == job.rows and _told(context, batch) == failed
    if batch.operation.makes or not sure:
        if processed > failed and not (yield from _read_results(context, job, ResultFile.SUCCESSFUL, part)):
            return False  # in doubt, and the next run reads the job
    else:
        _all_others_succeeded(context, job, part)
    told = _told(context, batch)
    lost = min(processed, job.rows) > told  # the org worked on more rows than its files tell of
    if lost:
        where = f"{context.chosen(batch.sync, batch.operation, batch.first, batch.last)} AND {_untold(batch)}"
        untold = intent_of(context, batch.sync, batch.operation, batch.way, job.rows - told, where)
        context.journal.begin([untold])
    context.recorder.record(context.syncs[batch.sync], batch.operation, part, [job.intent])
    if told == job.rows:
        context.progress(batch.sync, job.rows)
        return failed > 0
    reason = info.error or "the job ended without processing this row"
    left = settle(
        context,
        batch.sync,
        batch.operation,
        context.chosen(batch.sync, batch.operation, batch.first, batch.last),
        Outcome.IN_DOUBT if lost else Outcome.FAILED,
        code="NO_ANSWER" if lost else "UNPROCESSED",
        message=f"job {info.id} processed {processed:,} rows and told of {told:,}" if lost else reason,
        action="in_doubt" if lost else "next_run",
    )
    if left:
        what = "untold" if lost else "unprocessed"
        context.events.log("warning", f"{batch.sync}: job {info.id} left {left:,} rows {what}: {reason}")
    context.progress(batch.sync, job.rows - left)
    return failed > 0


def _learn_speed(context: PushContext, job: OpenJob, info: JobInfo) -> None:
    """How long the org works on a row, by its own watch: when we looked says little of when the job had ended."""
    if info.total_ms is not None and job.rows >= LEARNED_FROM_ROWS:
        # Batches that are at work side by side add up to more than passed.
        took = min(info.total_ms / 1000, context.clock.monotonic() - job.started)
        context.job_speed[job.batch.object] = took / job.rows


def _told(context: PushContext, batch: Batch) -> int:
    """Rows of the batch that have an outcome. Children that wait for a parent have one too, and are no part of a job."""
    rows = f"_op = '{batch.operation}' AND outcome <> 'waiting' AND _ord >= {batch.first} AND _ord < {batch.last}"
    return int(context.db.value(f"SELECT count(*) FROM {run_table('outcome', batch.sync)} WHERE {rows}"))


def _untold(batch: Batch) -> str:
    """SQL condition of rows that have no outcome yet."""
    return (
        f"rowid NOT IN (SELECT _ord FROM {run_table('outcome', batch.sync)} WHERE _op = '{batch.operation}')"
    )


def _read_results(context: PushContext, job: OpenJob, kind: ResultFile, part: int) -> Talk[bool]:
    """Turn one result file into outcomes; False when it could not be had, and the job's rows are settled without it."""
    batch = job.batch
    path = context.spool / f"{job.info.id}-{kind}.csv"
    got = yield from _patiently(
        context, batch, lambda: bulk.download_results(context.door, job.info.id, kind, path)
    )
    if got is None:
        return False
    read_file(context, batch, kind, path, part)
    path.unlink(missing_ok=True)
    return True


def _all_others_succeeded(context: PushContext, job: OpenJob, part: int) -> None:
    """Updates and deletes tell nothing new about rows that passed, so their result file is not read."""
    batch = job.batch
    table, outcomes = run_table(batch.operation.value, batch.sync), run_table("outcome", batch.sync)
    where = context.chosen(batch.sync, batch.operation, batch.first, batch.last)
    good = Outcome.UPDATED if batch.operation.verb is Operation.UPDATE else Outcome.DELETED
    context.db.execute(
        f"INSERT INTO {outcomes} SELECT '{batch.operation}', rowid, _key, \"Id\", FALSE, '{good}', NULL, NULL, NULL, NULL,"
        f" {part} FROM {table} WHERE {where} AND {_untold(batch)}"
    )
