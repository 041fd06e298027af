"""What the ways of sending share: the run's file, the door, and where outcomes go.

Owns:      PushContext, the outcome table of each sync, and the rows a batch may send.
Does not:  send (collections, jobs) or decide repeats (retry).
Invariant: an outcome is written once per row and batch; `record` is called after the answer and before the lane's
           next call, in the thread that owns the database session.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.stage import RUN, run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB
from sfsync.plan.batches import sent_rules
from sfsync.ports import CallLedger, Clock, Events, Journal
from sfsync.records import LEAD, Batch, Intent, Operation, Outcome, Way
from sfsync.salesforce.failures import NoAnswerError, SalesforceError

if TYPE_CHECKING:
    from sfsync.salesforce.door import Door

_STATUS_TABLE = f"{RUN}.main.status_codes"

OUTCOME_COLUMNS = (
    "_op VARCHAR, _ord BIGINT, _key VARCHAR, _record_id VARCHAR, _created BOOLEAN, outcome VARCHAR,"
    " action VARCHAR, code VARCHAR, field VARCHAR, message VARCHAR, _part BIGINT"
)


SKIP_COLUMNS = "_op VARCHAR, _ord BIGINT, field VARCHAR, parent_key VARCHAR, parent VARCHAR"
"""Rows that are not sent after all; of those that wait, the lookup, and the record of which sync it refers to."""

RefersTo = Callable[[str, str], tuple[str, ...]]
"""(object, field) -> the objects that a plain Id lookup may refer to."""


class Recorder(Protocol):
    """Writes answered outcomes to the state, each part in one transaction."""

    def record(self, sync: CompiledSync, operation: Operation, part: int, ended: Sequence[int] = ()) -> None:
        """Record the outcomes of one part of a sync's outcome table, and take out the intents that they answer."""
        ...

    def remember(self, sync: CompiledSync, rows: str, *, sent: bool) -> None:
        """Keep what stands in records that are about to be overwritten (sent) or deleted.

        Args:
            rows: a relation with `_key, _record_id`, per field what was read as "field@" (NULL: not known) and, where
                `sent`, what is to be sent as "field" (NULL: it is not).
        """
        ...


class Tally:
    """A `CallLedger` that also knows how many calls the asking thread has booked itself."""

    def __init__(self, ledger: CallLedger) -> None:
        self._ledger = ledger
        self._own = threading.local()

    def reserve(self, kind: str, calls: int = 1, batches: int = 0) -> None:
        self._ledger.reserve(kind, calls, batches)
        self._own.calls = self.mine() + calls

    def observe(self, used: int, maximum: int) -> None:
        self._ledger.observe(used, maximum)

    def mine(self) -> int:
        """Calls booked by this thread so far."""
        return int(getattr(self._own, "calls", 0))


@dataclass
class PushContext:
    """The connections of one push, and what it learns on the way."""

    db: DuckDB
    door: Door
    clock: Clock
    events: Events
    spool: Path
    recorder: Recorder
    journal: Journal
    syncs: Mapping[str, CompiledSync]
    available: Callable[[], int | None]  # API calls that may still be spent
    tally: Tally  # what the door books in
    stop_requested: Callable[[], bool]
    jitter: Callable[[], float]  # 0..1
    available_batches: Callable[[], int | None] = lambda: None  # Bulk batches that may still be started
    threads: int = 1  # requests to the org at one time
    refers_to: RefersTo = lambda object_, field: ()
    chunks: dict[str, int] = field(default_factory=dict)  # object -> rows per Collections request
    job_speed: dict[str, float] = field(default_factory=dict)  # object -> seconds a row in a Bulk job
    job_ids: dict[str, list[str]] = field(default_factory=dict)  # sync -> jobs of this run
    calls: dict[str, int] = field(default_factory=dict)  # sync -> API calls spent on it
    times: dict[str, tuple[datetime, ...]] = field(
        default_factory=dict
    )  # sync -> first and last moment on the wire
    read_to: dict[tuple[str, Operation], int] = field(default_factory=dict)
    """Up to which row what stands in the records was read (`undo: exact`)."""
    stale_contract: bool = False  # the org refused fields or objects that its describe had
    skipping: set[str] = field(default_factory=set)  # syncs with rows in `skip:`
    deferred: set[str] = field(default_factory=set)  # syncs with rows for which no Bulk batch was left
    has_status_codes: bool = False
    parts: int = 0
    done: dict[str, int] = field(default_factory=dict)  # sync -> rows with an outcome, for progress
    totals: dict[str, int] = field(default_factory=dict)

    def status_codes(self) -> str:
        """The table that tells what an error means, for SQL; made when the first row is refused."""
        if not self.has_status_codes:
            from sfsync.salesforce import status_codes  # most runs have nothing refused

            rows = status_codes.rows()
            marks = ", ".join("(?, ?, ?, ?, ?, ?, ?)" for _ in rows)
            self.db.execute(f"CREATE OR REPLACE TABLE {_STATUS_TABLE} ({status_codes.TABLE_COLUMNS})")
            cells = [cell for row in rows for cell in row]
            self.db.execute(f"INSERT INTO {_STATUS_TABLE} VALUES {marks}", cells)
            self.has_status_codes = True
        return _STATUS_TABLE

    def erases(self, batch: Batch) -> bool:
        """Whether a batch deletes past the recycle bin: then it goes by a job, and by nothing else."""
        return batch.operation is Operation.DELETE and self.syncs[batch.sync].erases

    def next_part(self) -> int:
        """A new number for rows that are answered and recorded together."""
        self.parts += 1
        return self.parts

    def charge(self, sync: str, calls: int, started: datetime, ended: datetime) -> None:
        """Put the API calls of one exchange on a sync's account."""
        self.times[sync] = (self.times.get(sync, (started,))[0], ended)
        self.calls[sync] = self.calls.get(sync, 0) + calls

    def less_skipped(self, sync: str, operation: Operation) -> str:
        """SQL, to be put behind a condition, that leaves out rows that wait; empty where none does."""
        if sync not in self.skipping:
            return ""
        return f" AND rowid NOT IN (SELECT _ord FROM {run_table('skip', sync)} WHERE _op = '{operation}')"

    def chosen(self, sync: str, operation: Operation, first: int, last: int) -> str:
        """SQL condition of the rows that a batch sends: its ordinals, less those that wait."""
        return f"rowid >= {first} AND rowid < {last}{self.less_skipped(sync, operation)}"

    def said(self, sync: str, error: NoAnswerError | SalesforceError) -> str:
        """An error for the log; the org's own words may echo values, so a sync with pii shows the code alone."""
        if isinstance(error, SalesforceError) and any(rule.pii for rule in self.syncs[sync].rules):
            return f"{error.code} (HTTP {error.status})"
        return error.what

    def progress(self, sync: str, rows: int) -> None:
        """Tell how far a sync is."""
        self.done[sync] = self.done.get(sync, 0) + rows
        calls, jobs = self.calls.get(sync, 0), len(self.job_ids.get(sync, ()))
        self.events.progress(sync, self.done[sync], self.totals.get(sync), calls=calls, jobs=jobs)


@dataclass(frozen=True, slots=True)
class PushEnd:
    """How a push ended. reason: None when everything planned was tried."""

    interrupted: bool
    limit_reached: bool
    reason: str | None


def prepare_outcomes(context: PushContext) -> None:
    """Make the outcome and skip tables of every sync."""
    db = context.db
    for sync in context.syncs:
        db.execute(f"CREATE TABLE {run_table('outcome', sync)} ({OUTCOME_COLUMNS})")
        db.execute(f"CREATE TABLE {run_table('skip', sync)} ({SKIP_COLUMNS})")


def intent_of(
    context: PushContext,
    sync: str,
    operation: Operation,
    way: Way,
    rows: int,
    chosen: str | None,
) -> Intent:
    """The intent of sending rows. chosen: SQL condition of them; None leaves the keys out."""
    spec, table = context.syncs[sync], run_table(operation.value, sync)
    rules = sent_rules(spec, operation)
    keys = None
    # A record of the recycle bin is looked for by its Id: its key is not in the snapshot.
    key = '"Id"' if operation is Operation.UNDELETE else "_key"
    if chosen is not None:
        bits = " || ".join(f"CASE WHEN {ident(rule.field)} IS NULL THEN '0' ELSE '1' END" for rule in rules)
        listed = context.db.value(
            f"SELECT list({bits or literal('')} || ' ' || {key} ORDER BY rowid) FROM {table} WHERE {chosen}"
        )
        keys = tuple(listed or ())
    return Intent(sync, spec.object, operation, way, rows, tuple(rule.field for rule in rules), keys)


def settle(
    context: PushContext,
    sync: str,
    operation: Operation,
    where: str,
    outcome: Outcome,
    *,
    code: str | None = None,
    message: str | None = None,
    action: str | None = None,
) -> int:
    """Give every row that fits and has no outcome yet the same one, and record it; return how many."""
    table, outcomes = run_table(operation.value, sync), run_table("outcome", sync)
    part = context.next_part()
    planned, told, before = context.db.execute(
        f"SELECT (SELECT count(*) FROM {table}), count(*) FILTER (WHERE _op = '{operation}'), count(*) FROM {outcomes}"
    )[0]
    if told == planned:
        return 0  # every row has one, and to find that out row by row takes memory
    context.db.execute(
        f'INSERT INTO {outcomes} SELECT ?, t.rowid, t._key, t."Id", FALSE, ?, ?, ?, NULL, ?, ?'
        f" FROM {table} AS t WHERE {where} AND t.rowid NOT IN"
        f" (SELECT _ord FROM {outcomes} WHERE _op = '{operation}')",
        [operation.value, outcome.value, action, code, message, part],
    )
    rows = int(context.db.value(f"SELECT count(*) FROM {outcomes}")) - int(before)
    if rows:
        context.recorder.record(context.syncs[sync], operation, part)
        if outcome not in (Outcome.DEFERRED, Outcome.STOPPED):  # nothing was done about these
            context.progress(sync, rows)
    return rows


def outcome_sql(object_: str, operation: Operation, success: str, created: str, action: str) -> str:
    """The outcome of an answered row: what success means for the operation, else what its status code says."""
    good = {
        Operation.UPSERT: f"CASE WHEN {created} THEN 'created' ELSE 'adopted' END",
        Operation.CREATE: "'created'",
        Operation.UPDATE: "'updated'",
        Operation.DELETE: "'deleted'",
        Operation.UNDELETE: "'restored'",
    }[operation.verb]
    return (
        f"CASE WHEN {success} THEN {good} ELSE CASE {action} WHEN 'gone' THEN 'gone'"
        " WHEN 'already_deleted' THEN 'already_deleted' WHEN 'fix' THEN 'rejected'"
        f" WHEN 'converted' THEN '{'converted' if object_ == LEAD else 'rejected'}'"
        " WHEN 'in_doubt' THEN 'in_doubt' WHEN 'limit_daily' THEN 'deferred' WHEN 'rolled_back' THEN 'stopped'"
        " ELSE 'failed' END END"
    )
