"""Carries a plan out, call by call, until it is done, stopped, or out of API calls.

Owns:      the loop over steps and calls, deferral and stopping.
Does not:  decide what changes (the plan did), how one way works (collections, jobs), or what is repeated (retry).
Invariant: at the end every planned row has exactly one outcome in the run's file, and what was answered is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sfsync.compiler.manifest import CompiledSync
from sfsync.plan.plan import Plan, SyncPlan
from sfsync.push import order
from sfsync.push.collections import LimitReachedError, StopPushError, push_call
from sfsync.push.context import PushContext, prepare_outcomes, settle
from sfsync.push.jobs import OpenJob, finish_jobs, start_job
from sfsync.records import Batch, Operation, Outcome, Way
from sfsync.salesforce.failures import NoAnswerError, SalesforceError


@dataclass(frozen=True, slots=True)
class PushEnd:
    """How a push ended. reason: None when everything planned was tried."""

    interrupted: bool
    limit_reached: bool
    reason: str | None


def push_plan(context: PushContext, plan: Plan, levels: Sequence[Sequence[str]]) -> PushEnd:
    """Send everything the plan holds, in order; leaves an outcome for every row in the run's file."""
    prepare_outcomes(context)
    upstream: tuple[CompiledSync, ...] = ()
    limit_reached, reason = False, None
    try:
        for items, deletes in order.steps(plan, levels):
            if not deletes:
                for item in items:
                    order.hold_children(context, item.sync, upstream)
                upstream += tuple(item.sync for item in items)
            _push_step(context, items, deletes=deletes)
            if context.stop_requested():
                break
    except LimitReachedError:
        limit_reached, reason = True, "the API limit of this run is reached"
    except StopPushError as error:
        reason = str(error)
    except (NoAnswerError, SalesforceError) as error:
        reason = error.what
    finally:
        interrupted = context.stop_requested()
        rest = Outcome.DEFERRED if limit_reached and not interrupted else Outcome.STOPPED
        _settle_rest(context, plan, rest, reason)
    return PushEnd(interrupted, limit_reached, reason)


def _push_step(context: PushContext, items: list[SyncPlan], *, deletes: bool) -> None:
    """Collections answer at once; jobs of the step run side by side and are read when all are under way."""
    open_jobs: list[OpenJob] = []
    limit: LimitReachedError | None = None
    try:
        for batches in _calls(items, deletes=deletes):
            if context.stop_requested():
                break
            if batches[0].way is Way.COLLECTIONS:
                push_call(context, batches)
            else:
                open_jobs += start_job(context, batches[0])
    except LimitReachedError as error:
        limit = error
    finally:
        finish_jobs(context, open_jobs)
    if limit is not None:
        raise limit


def _calls(items: list[SyncPlan], *, deletes: bool) -> Iterator[list[Batch]]:
    for item in items:
        yield from order.calls_of(item, deletes=deletes)


def _settle_rest(context: PushContext, plan: Plan, outcome: Outcome, reason: str | None) -> None:
    for item in plan.syncs:
        for operation in Operation:
            if any(batch.operation is operation for batch in item.batches) and not item.refusals:
                settle(context, item.sync.name, operation, "TRUE", outcome, message=reason)
