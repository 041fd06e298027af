"""Hands a plan to the room that pushes it, with the state, the account of calls and the sizes learned before.

Owns:      wiring push's ports to this session, and keeping what the push has learned for the next plan.
Does not:  decide what is sent (plan) or how it is repeated (push).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from sfsync.compiler.manifest import CompiledSync, Manifest
from sfsync.contract import Contract
from sfsync.diff import matching
from sfsync.jobs.record import StateRecorder
from sfsync.jobs.session import Session
from sfsync.plan.plan import Plan
from sfsync.push.context import PushContext, PushEnd, Tally, prepare_outcomes
from sfsync.state import contracts, history, snapshots, undo
from sfsync.state.journal import StateJournal
from sfsync.state.store import StateStore


def send_plan(
    session: Session,
    manifest: Manifest,
    plan: Plan,
    stop_requested: Callable[[], bool],
    *,
    first: int | None = None,
) -> tuple[PushContext, PushEnd]:
    """Send what no guard refused, `first` records of each sync before all others; without changes no connection is opened."""
    store = session.store
    pushed = {item.sync.name: item.sync for item in plan.syncs if not item.refusals}
    sends = any(item.has_changes for item in plan.syncs if not item.refusals)
    for sync in pushed.values():
        snapshots.prepare(store, sync)
    for item in plan.syncs:
        if item.changes.met and not item.refusals:
            snapshots.record_matched(store, item.sync, matching.table_of(item.sync), session.run_id)
    context = push_context(session, pushed, stop_requested, connected=sends)
    changes = {item.sync.name: item.changes for item in plan.syncs}
    context.totals |= {name: c.to_send for name, c in changes.items()}
    if not sends:
        prepare_outcomes(context)
        return context, PushEnd(stop_requested(), False, None)
    from sfsync.push.push import push_plan  # HTTP is only imported by a run that sends

    return context, push_plan(context, plan, manifest.levels, first=first)


def push_context(
    session: Session,
    syncs: Mapping[str, CompiledSync],
    stop_requested: Callable[[], bool],
    *,
    connected: bool,
) -> PushContext:
    """What sending, or reading what was sent, works with. connected: sign in; else nothing can be asked of the org."""
    store, ledger = session.store, session.ledger
    journal = StateJournal(store, session.run_id)
    learned = history.learned(store, "collection_rows")
    return PushContext(
        db=session.db,
        door=session.door if connected else None,  # type: ignore[arg-type]
        clock=session.clock,
        events=session.events,
        spool=session.spool,
        recorder=StateRecorder(store, session.run_id, journal),
        journal=journal,
        syncs=syncs,
        available=lambda: ledger.budget().available,
        available_batches=lambda: ledger.budget().available_batches,
        tally=Tally(ledger),
        stop_requested=stop_requested,
        jitter=random.random,
        threads=session.target.threads,
        refers_to=(contracts.load(store) or Contract(())).reference_to,
        chunks={name: int(value) for name, value in learned.items()},
        job_speed=history.learned(store, "job_seconds_per_row"),
    )


def keep_learned(store: StateStore, context: PushContext) -> None:
    """How many rows a Collection took without trouble, how long a job's row took, and which runs can be taken back."""
    for name, rows in context.chunks.items():
        history.learn(store, name, "collection_rows", rows)
    for name, seconds in context.job_speed.items():
        history.learn(store, name, "job_seconds_per_row", seconds)
    if context.parts:
        undo.prune(store)
