"""What is said of what earlier runs left open: in the plan, in the results of a sync, in the status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sfsync.artifacts import JobAtWork
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.aside import LeftJob, left_job
from sfsync.diff.changes import Changes
from sfsync.jobs.session import Session
from sfsync.report.words import duration, plural
from sfsync.state.journal import OpenIntent, open_intents
from sfsync.state.snapshots import inspect
from sfsync.state.store import StateStore

STILL_AT_WORK = "still at work in the org"


ABORT = "abort it in Setup, Bulk Data Load Jobs"


def way_out() -> str:
    """What to do about a job that does not end."""
    return f"if it never ends, {ABORT}"


def is_away(store: StateStore, sync: CompiledSync | None, item: OpenIntent) -> bool:
    """Whether the sync of an intent is not in the project, or has changed so that its rows cannot be found.

    Args:
        sync: of the project, by the intent's name.
    """
    return sync is None or sync.object != item.intent.object or inspect(store, sync).foreign is not None


def away_intents(store: StateStore, syncs: Iterable[CompiledSync]) -> list[OpenIntent]:
    """What earlier runs left open and no run can settle, since its sync is away; oldest first. syncs: of the project."""
    known = {sync.name: sync for sync in syncs}
    return [item for item in open_intents(store) if is_away(store, known.get(item.intent.sync), item)]


def away_jobs(store: StateStore, away: Iterable[OpenIntent]) -> tuple[LeftJob, ...]:
    """Those of them whose jobs were still at work when they were last looked at: they may overwrite what others write."""
    now = store.clock.now()
    return tuple(left_job(item, now, away=True) for item in away if item.left_at is not None)


def away_text(job: LeftJob) -> str:
    """What a job without its sync holds up, and the ways out."""
    return (
        f"job {job.job_id} of run {job.run_id}, with {plural(job.rows, 'row')} of {job.object}, was {STILL_AT_WORK} after"
        f" {duration(job.age_s)}, and its sync '{job.sync}' is not in the project as it was: nothing is sent to"
        f" {job.object} before it ends, since it may overwrite that; wait for it, or {ABORT}, and run again. What it"
        f" wrote is read by a run that has '{job.sync}' back under its name"
    )


def left_text(sync: CompiledSync, job: LeftJob) -> str:
    """What a sync waits for, and what that means for its rows."""
    if job.away:
        return away_text(job)
    rows = plural(job.rows, "row")
    waits = (
        f"its {rows} are not sent again before it ends"
        if job.keyed
        else f"which of the rows are its {rows} only its results tell, so nothing of {sync.name} is sent before it ends"
    )
    return f"job {job.job_id} of run {job.run_id} was {STILL_AT_WORK} after {duration(job.age_s)}: {waits}; {way_out()}"


def left_warnings(changes: Changes) -> tuple[str, ...]:
    """The same for the warnings of a plan, whose `state_warnings` tell of jobs without their sync."""
    return tuple(
        f"sync '{changes.sync.name}': {left_text(changes.sync, job)}"
        for job in changes.aside.jobs
        if not job.away
    )


def state_warnings(session: Session, away: Iterable[OpenIntent]) -> tuple[str, ...]:
    """What is to be known of the state before a plan is believed. away: intents whose sync is."""
    lost = {item.number: item for item in away}
    # Of jobs that were left at work, their syncs tell.
    left_open = sum(item.left_at is None and item.number not in lost for item in open_intents(session.store))
    out = [away_text(job) for job in away_jobs(session.store, lost.values())]
    for name, count in Counter(item.intent.sync for item in lost.values() if item.left_at is None).items():
        out.append(
            f"sync '{name}' is not in the project as it was, and {plural(count, 'request')} of its earlier runs had no"
            " answer: what became of them is found out by a run that has it back under its name"
        )
    if left_open:
        out.append(
            f"{plural(left_open, 'request')} of earlier runs had no answer: `sfsync run` first asks the org what became"
            " of them, and this plan may change by it"
        )
    if session.options.env.get("CI") != "true" or session.is_local:
        return tuple(out)
    return (
        *out,
        f"the state {session.state_path.name} is a file, and CI machines are thrown away: keep its folder,"
        f" {session.state_path.parent.name}, between runs (a cache or an artifact), also of runs that fail",
    )


def jobs_at_work(store: StateStore) -> tuple[JobAtWork, ...]:
    """Every job that a run left at work, oldest first."""
    return tuple(
        JobAtWork(
            item.intent.sync,
            item.job_id or "",
            item.run_id,
            item.intent.operation.value,
            item.intent.rows,
            item.at,
            item.left_at,
        )
        for item in open_intents(store)
        if item.left_at is not None
    )
