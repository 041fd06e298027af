"""Rows that a Bulk job of an earlier run still has: they are not sent again before it has ended.

Owns:      which rows these are, and taking them out of what is to be sent.
Does not:  ask the org how far a job is (jobs/recovery does, and notes it), or word anything.
Invariant: a row that stands aside is in none of upsert, update, delete and fresh; children of new records among them wait.

A job that one call made has the keys of its rows in the journal: these alone stand aside, as `submitted`. Of a larger job
nobody knows the rows before its result files tell, so nothing of its sync is sent: its changes end as `stopped`. So do those
of every sync that writes to the object of a job whose own sync is away: its keys are none of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sfsync.compiler.manifest import CompiledSync, OnGone
from sfsync.diff import sql
from sfsync.diff.stage import run_table
from sfsync.engine.duckdb import DuckDB
from sfsync.records import Operation
from sfsync.state.journal import OpenIntent, left_jobs, sent_rows
from sfsync.state.store import StateStore


@dataclass(frozen=True, slots=True)
class LeftJob:
    """A job that was still at work when a run last looked at it."""

    job_id: str
    run_id: str  # that sent it
    sync: str
    object: str
    operation: Operation
    rows: int
    age_s: float  # since it was begun
    keyed: bool  # the keys of its rows are known; if not, nothing of its sync is sent
    away: bool = False  # its sync is not in the project as it was: nothing is sent to its object


@dataclass(frozen=True, slots=True)
class KeptBack:
    """How many rows stand aside, and for which jobs."""

    jobs: tuple[LeftJob, ...] = ()
    submitted: int = 0  # staged rows that a job has
    stopped: int = 0  # staged rows that are not sent while a job has nobody knows which rows
    submitted_deletes: int = 0  # the same of removed records
    stopped_deletes: int = 0

    @property
    def rows(self) -> int:
        return self.submitted + self.stopped

    def as_removals(self, submitted: int, stopped: int) -> KeptBack:
        """With so many of the staged rows counted among removed records, whose they are."""
        return KeptBack(
            self.jobs,
            self.submitted - submitted,
            self.stopped - stopped,
            self.submitted_deletes + submitted,
            self.stopped_deletes + stopped,
        )

    @property
    def deletes(self) -> int:
        return self.submitted_deletes + self.stopped_deletes


NOTHING = KeptBack()


def left_job(item: OpenIntent, now: datetime, *, away: bool = False) -> LeftJob:
    """What is known of a job that was left at work."""
    intent = item.intent
    return LeftJob(
        item.job_id or "",
        item.run_id,
        intent.sync,
        intent.object,
        intent.operation,
        intent.rows,
        age_s=max(0.0, (now - item.at).total_seconds()),
        keyed=intent.keys is not None and not away,
        away=away,
    )


def find(
    sync: CompiledSync, db: DuckDB, store: StateStore, away: Sequence[LeftJob] = ()
) -> tuple[LeftJob, ...]:
    """The jobs that rows of a sync wait for; where there are any, leaves `aside:` with the keys that are known."""
    others = tuple(job for job in away if job.object == sync.object)
    not_mine = {job.job_id for job in others}
    left = [
        item
        for item in left_jobs(store, sync.name)
        if item.intent.object == sync.object and item.job_id not in not_mine
    ]
    if not left and not others:
        return ()
    table = run_table("aside", sync.name)
    db.execute(f"CREATE TABLE {table} (_key VARCHAR)")
    for item in left:
        if item.intent.keys is not None:
            db.execute(f"INSERT INTO {table} SELECT _key FROM {sent_rows(store, item.intent, ())}")
    now = store.clock.now()
    return (*(left_job(item, now) for item in left), *others)


def set_aside(sync: CompiledSync, db: DuckDB, jobs: tuple[LeftJob, ...]) -> None:
    """Mark judged rows as `submitted` or `stopped` in place of what would be sent. After `held:`, `waiting:` and `blocked:`."""
    judged, blocked = run_table("judged", sync.name), run_table("blocked", sync.name)
    gone = "" if sync.on_gone is OnGone.RECREATE else " AND (_gone_at IS NULL OR _op <> 'upsert')"
    free = (
        f"_code IS NULL AND _key NOT IN (SELECT _key FROM {run_table('held', sync.name)})"
        f" AND _key NOT IN (SELECT _key FROM {run_table('waiting', sync.name)}){gone}"
    )
    submitted = f"{free} AND _key IN (SELECT _key FROM {run_table('aside', sync.name)})"
    stopped = f"{free} AND _op IN {sql.SENT}" if _stops(jobs) else "FALSE"
    db.execute(
        f"INSERT INTO {blocked} SELECT _key FROM {judged} WHERE _op IN ('upsert', 'undelete') AND ({submitted} OR {stopped})"
    )
    # Also of rows that look unchanged: what the job writes to them is not known before it ends.
    db.execute(f"UPDATE {judged} SET _op = 'submitted' WHERE {submitted}")
    db.execute(f"UPDATE {judged} SET _op = 'stopped' WHERE {stopped}")


def count(sync: CompiledSync, db: DuckDB, jobs: tuple[LeftJob, ...]) -> KeptBack:
    """Take what must wait out of `delete:`, and count all that stands aside."""
    mine, others = db.execute(
        "SELECT count(*) FILTER (WHERE _op = 'submitted'), count(*) FILTER (WHERE _op = 'stopped')"
        f" FROM {run_table('judged', sync.name)}"
    )[0]
    table, stops = run_table("delete", sync.name), _stops(jobs)
    known = f"_key IN (SELECT _key FROM {run_table('aside', sync.name)})"
    deletes, known_deletes = db.execute(f"SELECT count(*), count(*) FILTER (WHERE {known}) FROM {table}")[0]
    left = "FALSE" if stops else f"NOT ({known})"
    # Made anew rather than thinned out: rowids are ordinals and have no holes.
    db.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table} WHERE {left} ORDER BY rowid")
    rest = int(deletes) - int(known_deletes) if stops else 0
    return KeptBack(jobs, int(mine), int(others), int(known_deletes), rest)


def _stops(jobs: tuple[LeftJob, ...]) -> bool:
    return not all(job.keyed for job in jobs)
