"""`sfsync run`: plan anew, refuse or push, record. The order of this file is the order of a run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from sfsync.artifacts import Result, run_results_json
from sfsync.compiler.manifest import Manifest, OnLimit
from sfsync.contract import Contract
from sfsync.errors import RefusedError, SfsyncError
from sfsync.jobs.compile import compile_for_sending
from sfsync.jobs.plan import make_plan, write_plan
from sfsync.jobs.record import StateRecorder
from sfsync.jobs.results import finish_sync, write_rejected, write_successes
from sfsync.jobs.session import Options, Session
from sfsync.plan.plan import Plan
from sfsync.push.context import PushContext, PushEnd, Tally, prepare_outcomes
from sfsync.state import contracts, history, snapshots


def never() -> bool:
    """Nobody asks a run to stop."""
    return False


def run_command(
    options: Options,
    *,
    allow: Sequence[str] = (),
    strict: bool = False,
    stop_requested: Callable[[], bool] = never,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> Result:
    """Push exactly the changes of the selected syncs.

    Args:
        allow: guards allowed for this run, e.g. ``contacts.max_deletes``.
        stop_requested: asked between requests; True ends the run with what was answered recorded.
        on_plan: shown the plan before the first request is sent.
    """
    with Session(options, "run") as session:
        session.open_store(write=True)
        session.check_connection()
        manifest = compile_for_sending(session, max_age=contracts.MAX_AGE)
        return run_session(
            session, manifest, allow=allow, strict=strict, stop_requested=stop_requested, on_plan=on_plan
        )


def run_session(
    session: Session,
    manifest: Manifest,
    *,
    allow: Sequence[str],
    strict: bool,
    stop_requested: Callable[[], bool],
    on_plan: Callable[[Plan], None],
) -> Result:
    """Plan and push in a session whose state is open for writing."""
    plan = make_plan(session, manifest, frozenset(allow))
    _refuse_over_limit(plan)
    write_plan(session, plan)
    on_plan(plan)
    history.begin(
        session.store,
        session.run_id,
        session.command,
        started_at=session.started_at,
        project=plan.project,
        target=plan.target,
    )
    try:
        context, end = _push(session, manifest, plan, stop_requested)
        return _finish(session, plan, context, end, strict=strict)
    except SfsyncError as error:
        history.end(session.store, session.run_id, "error", error.exit_code)
        raise


def _refuse_over_limit(plan: Plan) -> None:
    """`on_limit: refuse`: nothing is begun that the budget cannot finish."""
    if plan.api.allowed is None or plan.api.calls <= plan.api.allowed:
        return
    names = [item.sync.name for item in plan.syncs if item.sync.on_limit is OnLimit.REFUSE and item.batches]
    if names:
        raise RefusedError(
            f"the plan needs {plan.api.calls:,} API calls and {plan.api.allowed:,} are allowed now;"
            f" {', '.join(names)} says on_limit: refuse",
            fix="wait, raise api_limit in profiles.yml, or select fewer syncs",
        )


def _push(
    session: Session, manifest: Manifest, plan: Plan, stop_requested: Callable[[], bool]
) -> tuple[PushContext, PushEnd]:
    store, ledger = session.store, session.ledger
    pushed = {item.sync.name: item.sync for item in plan.syncs if not item.refusals}
    sends = any(item.has_changes for item in plan.syncs if not item.refusals)
    for sync in pushed.values():
        snapshots.prepare(store, sync)
    learned = history.learned(store, "collection_rows")
    context = PushContext(
        db=session.db,
        door=session.door if sends else None,  # type: ignore[arg-type]  # nothing is sent without changes
        clock=session.clock,
        events=session.events,
        spool=session.spool,
        recorder=StateRecorder(store, session.run_id),
        syncs=pushed,
        available=lambda: ledger.budget().available,
        tally=Tally(ledger),
        stop_requested=stop_requested,
        jitter=random.random,
        threads=session.target.threads,
        refers_to=(contracts.load(store) or Contract(())).reference_to,
        chunks={name: int(value) for name, value in learned.items()},
        job_speed=history.learned(store, "job_seconds_per_row"),
        totals={i.sync.name: i.changes.upserts + i.changes.updates + i.changes.deletes for i in plan.syncs},
    )
    if not sends:
        prepare_outcomes(context)
        return context, PushEnd(stop_requested(), False, None)
    from sfsync.push.push import push_plan  # HTTP is only imported by a run that sends

    return context, push_plan(context, plan, manifest.levels)


def _finish(session: Session, plan: Plan, context: PushContext, end: PushEnd, *, strict: bool) -> Result:
    store = session.store
    syncs = tuple(
        finish_sync(session, item, context, strict=strict, interrupted=end.interrupted) for item in plan.syncs
    )
    for name, rows in context.chunks.items():
        history.learn(store, name, "collection_rows", rows)
    for name, seconds in context.job_speed.items():
        history.learn(store, name, "job_seconds_per_row", seconds)
    for item in plan.syncs:
        write_rejected(session, item.sync)
        if item.sync.results_all and not item.refusals:
            write_successes(session, item.sync)
    if context.stale_contract:
        contracts.forget(store)
    session.ledger.flush()
    budget = session.ledger.budget()
    result = Result(
        run_id=session.run_id,
        command=session.command,
        project=plan.project,
        target=plan.target,
        started_at=session.started_at,
        ended_at=session.clock.now(),
        syncs=syncs,
        calls=session.ledger.calls,
        calls_by_kind=session.ledger.kinds,
        left_in_org=budget.left_in_org,
        allowed=budget.available,
        interrupted=end.interrupted,
        reason=end.reason,
        warnings=plan.warnings,
    )
    history.end(store, session.run_id, _status(result), result.exit_code)
    session.workspace.write_artifact("run_results.json", run_results_json(result))
    return result


def _status(result: Result) -> str:
    return {0: "success", 1: "partial", 3: "refused", 130: "interrupted"}[result.exit_code]
