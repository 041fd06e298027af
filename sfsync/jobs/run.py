"""`sfsync run`: plan anew, refuse or push, record. The order of this file is the order of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sfsync.artifacts import Recovered, Result, run_results_json
from sfsync.compiler.manifest import Manifest, OnLimit
from sfsync.errors import InterruptedRunError, RefusedError, SfsyncError
from sfsync.jobs import results_out
from sfsync.jobs.compile import compile_for_sending
from sfsync.jobs.plan import make_plan, write_plan
from sfsync.jobs.results import finish_sync, write_files
from sfsync.jobs.sending import keep_learned, send_plan
from sfsync.jobs.session import Options, Session
from sfsync.plan.plan import Plan
from sfsync.push.context import PushContext, PushEnd
from sfsync.state import contracts, history
from sfsync.state.journal import open_intents


def _never() -> bool:
    return False


def _unseen(plan: Plan) -> None:
    """Nobody wants to see the plan first."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `run` and `retry` are given beyond what every job is given."""

    allow: Sequence[str] = ()
    """Guards allowed for this run, e.g. ``contacts.max_deletes``."""
    strict: bool = False
    """Exit 1 for rows already held, too."""
    stop_requested: Callable[[], bool] = _never
    """Asked between requests; True ends the run with what was answered recorded."""
    canary: int | None = None  # records of each sync that go first; the rest follows if they go through
    on_plan: Callable[[Plan], None] = _unseen
    """Shown the plan before the first request is sent."""
    undo: str | None = None  # the run to take back, by its id or ``latest``


PLAIN = RunOptions()


def run_command(options: Options, how: RunOptions = PLAIN) -> Result:
    """Push exactly the changes of the selected syncs."""
    with Session(options, "run") as session:
        session.open_store(write=True)
        session.check_connection()
        return run_session(session, compile_for_sending(session, max_age=contracts.MAX_AGE), how)


def run_session(session: Session, manifest: Manifest, how: RunOptions) -> Result:
    """Find out what earlier runs left open, plan and push, in a session whose state is open for writing."""
    recovered: tuple[Recovered, ...] = ()
    if left_open := open_intents(session.store):
        from sfsync.jobs.recovery import recover  # with HTTP, which a run that sends nothing does without

        recovered = recover(session, manifest, left_open, how.stop_requested)
    plan = make_plan(session, manifest, frozenset(how.allow), how.undo)
    _refuse_over_limit(plan)
    write_plan(session, plan)
    how.on_plan(plan)
    results_out.prepare(session, plan)
    history.begin(
        session.store,
        session.run_id,
        session.command,
        started_at=session.started_at,
        project=plan.project,
        target=plan.target,
    )
    try:
        context, end = send_plan(session, manifest, plan, how.stop_requested, first=how.canary)
        return _finish(session, plan, context, end, strict=how.strict, recovered=recovered)
    except SfsyncError as error:
        status = "interrupted" if isinstance(error, InterruptedRunError) else "error"
        history.end(session.store, session.run_id, status, error.exit_code)
        raise


def _refuse_over_limit(plan: Plan) -> None:
    """`on_limit: refuse`: nothing is begun that the budget cannot finish; verifying is left out where there is no room."""
    api = plan.api
    names = [item.sync.name for item in plan.syncs if item.sync.on_limit is OnLimit.REFUSE and item.batches]
    says = f"{', '.join(names)} says on_limit: refuse"
    needed = api.calls - sum(item.verifying for item in plan.syncs)
    if names and api.allowed is not None and needed > api.allowed:
        raise RefusedError(
            f"the plan needs {needed:,} API calls and {api.allowed:,} are allowed now; {says}",
            fix="wait, raise api_limit in profiles.yml, or select fewer syncs",
        )
    if names and api.batches_allowed is not None and api.batches > api.batches_allowed:
        raise RefusedError(
            f"the plan needs {api.batches:,} Bulk batches and {api.batches_allowed:,} are allowed now; {says}",
            fix="wait, select fewer syncs, or send by Collections (push.api: collections)",
        )


def _finish(
    session: Session,
    plan: Plan,
    context: PushContext,
    end: PushEnd,
    *,
    strict: bool,
    recovered: tuple[Recovered, ...],
) -> Result:
    syncs = tuple(
        finish_sync(session, plan, item, context, strict=strict, interrupted=end.interrupted)
        for item in plan.syncs
    )
    keep_learned(session.store, context)
    write_files(session, plan)
    if context.stale_contract:
        contracts.forget(session.store)
    undelivered = results_out.deliver(session, plan, recovered=bool(recovered))
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
        recovered=recovered,
        undo=plan.undo,
        undelivered=undelivered,
    )
    history.end(session.store, session.run_id, _status(result), result.exit_code)
    session.workspace.write_artifact("run_results.json", run_results_json(result))
    return result


def _status(result: Result) -> str:
    return {0: "success", 1: "partial", 3: "refused", 130: "interrupted"}[result.exit_code]
