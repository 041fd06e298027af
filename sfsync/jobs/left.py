"""What is said of what earlier runs left open: in the plan, in the results of a sync, in the status."""

from __future__ import annotations

from sfsync.artifacts import JobAtWork
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.aside import LeftJob
from sfsync.diff.diff import Changes
from sfsync.jobs.session import Session
from sfsync.report.words import duration, plural
from sfsync.state.journal import open_intents
from sfsync.state.store import StateStore

STILL_AT_WORK = "still at work in the org"


def way_out() -> str:
    """What to do about a job that does not end."""
    return "if it never ends, abort it in Setup, Bulk Data Load Jobs"


def left_text(sync: CompiledSync, job: LeftJob) -> str:
    """What a sync waits for, and what that means for its rows."""
    rows = plural(job.rows, "row")
    waits = (
        f"its {rows} are not sent again before it ends"
        if job.keyed
        else f"which of the rows are its {rows} only its results tell, so nothing of {sync.name} is sent before it ends"
    )
    return f"job {job.job_id} of run {job.run_id} was {STILL_AT_WORK} after {duration(job.age_s)}: {waits}; {way_out()}"


def left_warnings(changes: Changes) -> tuple[str, ...]:
    """The same for the warnings of a plan."""
    return tuple(f"sync '{changes.sync.name}': {left_text(changes.sync, job)}" for job in changes.aside.jobs)


def state_warnings(session: Session) -> tuple[str, ...]:
    """What is to be known of the state before a plan is believed."""
    # Of jobs that were left at work, their syncs tell.
    left_open = sum(item.left_at is None for item in open_intents(session.store))
    out = []
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
