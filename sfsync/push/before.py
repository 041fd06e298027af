"""What stands in records just before they are overwritten or deleted, read for syncs that say `undo: exact`.

Owns:      the reading calls, in step with what is sent.
Does not:  say how many rows a call reads (plan/reading) or keep what was read (state/doubts, by way of the recorder).
Invariant: no row of such a sync is sent whose record was not asked for; where asking fails, its call is not sent. What was
           read is in the state before anything is sent: a run that is killed takes nothing of it along.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from sfsync.compiler import org_texts
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.errors import ApiLimitError
from sfsync.plan import reading
from sfsync.plan.cost import READING
from sfsync.push import retry
from sfsync.push.context import PushContext, settle
from sfsync.push.lanes import LimitReachedError, Pause, StopPushError, Talk, call
from sfsync.records import Batch, Operation, Outcome, Way
from sfsync.salesforce.failures import NOT_SENT, NoAnswerError, SalesforceError
from sfsync.salesforce.limits import BULK_BATCH_ROWS, MAX_COMPOSITE_QUERIES
from sfsync.salesforce.query import several
from sfsync.salesforce.status_actions import Action


def read(context: PushContext, batches: Sequence[Batch]) -> Talk[bool]:
    """Read what stands in the records of one planned call, as far as an earlier one has not; whether it may be sent.

    A call reads as many records as fit, so those of later batches, too: they are few seconds away.
    """
    for batch in batches:
        first, last = _done(context, batch), _last(context, batch)
        if not batch.reading or first >= last:
            continue
        answers, done = run_table("answer", batch.sync), first
        context.db.execute(f"CREATE OR REPLACE TABLE {answers} (r JSON)")
        while done < last:
            error = yield from _ask(context, batch, done)
            if error is not None:
                _not_sent(context, batches, error)
                return False
            done += batch.reading
        _keep(context, batch, first, done)
        context.read_to[batch.sync, batch.operation] = done
    return True


def within_reach(context: PushContext, batch: Batch) -> Batch:
    """As much of a job as this run has calls for, to read and to send: calls that only read would be spent for nothing.

    Raises:
        LimitReachedError: nothing of it.
    """
    room, done = context.available(), _done(context, batch)
    reads = -(-(batch.last - done) // batch.reading)
    if room is None or batch.way is Way.COLLECTIONS or room >= reads + batch.calls:
        return batch
    last = done + (room - batch.calls) * batch.reading
    if last <= batch.first:
        raise LimitReachedError
    return replace(batch, last=last, bytes=batch.bytes * (last - batch.first) // batch.rows)


def _done(context: PushContext, batch: Batch) -> int:
    return max(context.read_to.get((batch.sync, batch.operation), 0), batch.first)


def _last(context: PushContext, batch: Batch) -> int:
    """Up to where a batch can be sent: of a job only what the day's Bulk batches carry."""
    room = None if batch.way is Way.COLLECTIONS else context.available_batches()
    return batch.last if room is None else min(batch.last, batch.first + room * BULK_BATCH_ROWS)


def _ask(context: PushContext, batch: Batch, first: int) -> Talk[str | None]:
    """Read the records of rows from `first` on into `answer:`; why not, if it cannot be done."""
    statements = _statements(context, batch, first)
    if not statements:
        return None
    for attempt in range(1, retry.CALL_ATTEMPTS + 1):
        room = context.available()
        if room is not None and room < 1:
            raise LimitReachedError
        try:
            records = yield from call(batch.sync, lambda: several(context.door, statements, READING))
        except ApiLimitError:
            raise LimitReachedError from None
        except (NoAnswerError, SalesforceError) as error:
            decision = retry.after_call(error, batch.operation, attempt, 1, context.jitter())
            context.stale_contract |= decision.code in retry.ABOUT_THE_REQUEST
            said = context.said(batch.sync, error)
            context.events.log("warning", f"{batch.sync}: what stands in its records cannot be read: {said}")
            if decision.next is retry.Next.DEFER:
                raise LimitReachedError from None
            if decision.next is retry.Next.STOP:
                raise StopPushError(decision.message) from None
            if decision.next is not retry.Next.AGAIN:
                return said
            yield Pause(decision.pause_s)
            continue
        # An answer at a time, and no record is looked at here.
        context.db.execute(
            f"INSERT INTO {run_table('answer', batch.sync)} SELECT unnest(from_json(?, '[\"JSON\"]'))",
            [json.dumps(records)],
        )
        return None
    return "the org does not answer"


def _statements(context: PushContext, batch: Batch, first: int) -> list[str]:
    sync, each = context.syncs[batch.sync], batch.reading // MAX_COMPOSITE_QUERIES
    head, value = reading.select(sync, batch.operation)
    table = run_table(batch.operation.value, batch.sync)
    rows = context.db.execute(
        f"SELECT string_agg({value}, ',' ORDER BY rowid) FROM {table} WHERE rowid >= {first}"
        f" AND rowid < {first + batch.reading} GROUP BY (rowid - {first}) // {each} ORDER BY min(rowid)"
    )
    return [f"{head} ({listed})" for (listed,) in rows if listed]  # a record that was not made has no Id


def _keep(context: PushContext, batch: Batch, first: int, last: int) -> None:
    """Have the state keep what was answered about the rows [first, last); a record the org does not show has no line.

    All of a job at once: to plan the statement costs more than a thousand rows do.
    """
    db, operation = context.db, batch.operation
    sync = reading.readable(context.syncs[batch.sync])
    table, answers = run_table(operation.value, batch.sync), run_table("answer", batch.sync)
    sent = operation is not Operation.DELETE
    texts = "".join(f", b.{ident(rule.field)} AS {ident(rule.field + '@')}" for rule in sync.fields)
    if sent:
        texts += "".join(f", t.{ident(rule.field)}" for rule in sync.fields)
    on = "b._key = t._key" if reading.by_key(operation) else 'b._record_id = t."Id"'
    context.recorder.remember(
        sync,
        f"(SELECT DISTINCT ON (t.rowid) t._key, b._record_id{texts} FROM {table} AS t"
        f" JOIN ({org_texts.projected(sync, answers)}) AS b ON {on} WHERE t.rowid >= {first} AND t.rowid < {last})",
        sent=sent,
    )
    db.execute(f"DROP TABLE {answers}")


def _not_sent(context: PushContext, batches: Sequence[Batch], error: str) -> None:
    for batch in batches:
        settle(
            context,
            batch.sync,
            batch.operation,
            f"rowid >= {batch.first} AND rowid < {batch.last}",
            Outcome.FAILED,
            code=NOT_SENT,
            message=f"undo: exact: what stands in the record could not be read, so nothing was sent: {error}",
            action=str(Action.NEXT_RUN),
        )
