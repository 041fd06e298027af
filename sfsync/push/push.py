"""Carries a plan out, call by call, until it is done, stopped, or out of API calls.

Owns:      the loop over steps and calls, what goes side by side, deferral and stopping.
Does not:  decide what changes (the plan did), how one way works (collections, jobs), or what is repeated (retry).
Invariant: at the end every planned row has exactly one outcome in the run's file, and what was answered is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

from sfsync.errors import InterruptedRunError
from sfsync.plan.cost import batches_of
from sfsync.plan.plan import Plan, SyncPlan
from sfsync.push import canary, late, order
from sfsync.push.collections import push_call
from sfsync.push.context import PushContext, PushEnd, prepare_outcomes, settle
from sfsync.push.jobs import OpenJob, finish_jobs, start_job
from sfsync.push.lanes import LimitReachedError, NoBatchesError, StopPushError, Talk, run_lanes
from sfsync.records import Batch, Operation, Outcome, Way
from sfsync.salesforce.failures import NoAnswerError, SalesforceError


def push_plan(
    context: PushContext, plan: Plan, levels: Sequence[Sequence[str]], *, first: int | None = None
) -> PushEnd:
    """Send everything the plan holds, in order; leaves an outcome for every row in the run's file.

    first: records of each sync that go before all others, and must go through.
    """
    prepare_outcomes(context)
    for item in plan.syncs:
        if item.changes.links_waiting and not item.refusals:
            late.hold_waiting(context, item.sync)
    context.door.use_ledger(context.tally)
    limit_reached, reason = False, None
    spared: set[str] = set()
    failure: Exception | None = None
    try:
        for step in canary.steps(context, plan, levels, first):
            for item in step.items:
                if step.links:
                    late.make_ready(context, item.sync)
                elif not step.deletes:
                    order.hold_children(context, item.sync, step.upstream)
                elif item.sync.name not in spared:  # once, before the first of its deletes
                    order.spare_adopted(context, item.sync)
                    spared.add(item.sync.name)
            _push_step(context, _may_go(context, plan, step), deletes=step.deletes)
            if context.stop_requested():
                break
            if step.judged and (against := canary.verdict(context, step)) is not None:
                raise StopPushError(against)
    except LimitReachedError as error:
        limit_reached, reason = True, str(error)
    except StopPushError as error:
        reason = str(error)
    except (NoAnswerError, SalesforceError) as error:
        reason = error.what
    except InterruptedRunError:  # the second Ctrl-C: the journal knows what was under way
        raise
    except Exception as error:
        failure = error
    if context.deferred and reason is None:
        limit_reached, reason = True, str(NoBatchesError())
    interrupted = context.stop_requested()
    rest = Outcome.DEFERRED if limit_reached and not interrupted else Outcome.STOPPED
    _settle_rest(context, plan, rest, reason)
    if failure is not None:
        raise failure
    return PushEnd(interrupted, limit_reached, reason)


def _may_go(context: PushContext, plan: Plan, step: canary.Step) -> list[SyncPlan]:
    """The syncs of a step, but for deletes of records that a deferred write may take away from them, or is about.

    A child that was to move to another parent is deleted with the one it still has.
    """
    if not step.deletes or not context.deferred:
        return step.items
    waiting = [item.sync for item in plan.syncs if item.sync.name in context.deferred]
    objects = frozenset[str]().union(*(order.touched(sync, context.refers_to) for sync in waiting))
    return [item for item in step.items if item.sync.object not in objects]


def _push_step(context: PushContext, items: list[SyncPlan], *, deletes: bool) -> None:
    """Syncs that could lock each other's records go one after the other, all others side by side."""
    lanes = [items] if _one_by_one(context, items, deletes=deletes) else order.lanes(items, context.refers_to)
    run_lanes(context, [_lane(context, lane, deletes=deletes) for lane in lanes])


def _one_by_one(context: PushContext, items: list[SyncPlan], *, deletes: bool) -> bool:
    """Where API calls or Bulk batches are scarce, priority alone decides who gets them."""
    batches = [batch for item in items for call in order.calls_of(item, deletes=deletes) for batch in call]
    room, bulk_room = context.available(), context.available_batches()
    return (
        context.threads == 1
        or (room is not None and room < sum(batch.calls + batch.reads for batch in batches))
        or (bulk_room is not None and bulk_room < sum(batches_of(batch) for batch in batches))
    )


def _lane(context: PushContext, items: list[SyncPlan], *, deletes: bool) -> Talk[None]:
    """Collections answer at once; jobs go on beside later calls, up to a sync that must not meet them."""
    jobs: list[OpenJob] = []
    busy: frozenset[str] = frozenset()  # objects that the open jobs write or look up
    failure: Exception | None = None
    try:
        for item in items:
            touched = order.touched(item.sync, context.refers_to)
            calls = list(order.calls_of(item, deletes=deletes))
            if calls and busy & touched:
                yield from finish_jobs(context, jobs)
                busy = frozenset()
            level = 0
            for batches in calls:
                last = batches[0].last
                if batches[-1].level > level:
                    level = batches[-1].level
                    yield from finish_jobs(context, jobs)
                if any(batch.reading for batch in batches):
                    from sfsync.push import before  # only for those who take back exactly

                    batches[0] = before.within_reach(context, batches[0])
                    if not (yield from before.read(context, batches)):
                        continue
                if batches[0].way in (Way.COLLECTIONS, Way.SOAP):
                    yield from push_call(context, batches)
                else:
                    try:
                        yield from start_job(context, batches[0], jobs)
                    except NoBatchesError:
                        _defer(context, batches[0], jobs)
                    busy |= touched
                if batches[0].last < last:
                    raise LimitReachedError
    except Exception as error:  # raised again when the open jobs are read
        failure = error
    yield from finish_jobs(context, jobs)
    if failure is not None:
        raise failure


def _defer(context: PushContext, batch: Batch, jobs: list[OpenJob]) -> None:
    """Leave to the next run what of a batch is in no job, for want of Bulk batches."""
    mine = [
        job.batch for job in jobs if (job.batch.sync, job.batch.operation) == (batch.sync, batch.operation)
    ]
    sent = "".join(f" AND NOT (rowid >= {part.first} AND rowid < {part.last})" for part in mine)
    where = context.chosen(batch.sync, batch.operation, batch.first, batch.last) + sent
    settle(context, batch.sync, batch.operation, where, Outcome.DEFERRED, message=str(NoBatchesError()))
    context.deferred.add(batch.sync)


def _settle_rest(context: PushContext, plan: Plan, outcome: Outcome, reason: str | None) -> None:
    for item in plan.syncs:
        for operation in Operation:
            if any(batch.operation is operation for batch in item.batches) and not item.refusals:
                settle(context, item.sync.name, operation, "TRUE", outcome, message=reason)
