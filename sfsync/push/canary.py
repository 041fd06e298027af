"""The first records of each sync, sent before all others: whether the org takes them decides whether the rest goes.

Owns:      the order of a push in steps, with or without such a beginning, and the judgement of it.
Does not:  send, or choose what is sent: each step is a part of the plan's own batches, and together they are all.
Invariant: a record of the canary has no parent that this run makes only after it; deletes begin when all writes ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sfsync.compiler import wire
from sfsync.compiler.manifest import Api, CompiledSync
from sfsync.diff.diff import parent_links
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.plan.plan import Plan, SyncPlan
from sfsync.push import order
from sfsync.push.context import PushContext
from sfsync.records import Batch, Operation, Way

BAD = "'rejected', 'failed', 'in_doubt'"
"""Outcomes that speak against the rest. Waiting children and records that are gone do not."""


@dataclass(frozen=True, slots=True)
class Step:
    """What goes side by side. upstream: syncs whose records these may refer to. judged: the rest depends on it."""

    items: list[SyncPlan]
    deletes: bool
    upstream: tuple[CompiledSync, ...]
    judged: bool = False
    links: bool = False  # late lookups of records that the steps before made


def steps(
    context: PushContext, plan: Plan, levels: Sequence[Sequence[str]], size: int | None
) -> Iterator[Step]:
    """The steps of a push in order. size: records of each sync that go first; None: no canary."""
    found = list(order.steps(plan, levels))
    writes = [items for items, deletes in found if not deletes]
    ahead: dict[str, dict[Operation, int]] = {}  # sync -> rows of each operation that are in the canary
    if size is not None:
        for items, upstream in _with_upstream(writes):
            ahead |= {item.sync.name: _reach(context, item, size, upstream, ahead) for item in items}
            first = [_first(item, ahead[item.sync.name]) for item in items]
            yield Step([item for item in first if item.batches], False, upstream, judged=True)
    for items, upstream in _with_upstream(writes):
        if size is not None:
            late = [item for item in items if not any(ahead[item.sync.name].values())]
            ahead |= {item.sync.name: _most(item, size) for item in late}
            first = [_first(item, ahead[item.sync.name]) for item in late]
            yield Step([item for item in first if item.batches], False, upstream, judged=True)
        yield Step([_rest(item, ahead.get(item.sync.name, {})) for item in items], False, upstream)
    late = [_links(item) for items in writes for item in items if item.changes.links]
    if late:
        yield Step(late, False, (), links=True)
    for items in [items for items, deletes in found if deletes]:
        some = {item.sync.name: {Operation.DELETE: size or 0} for item in items}
        if size is not None:
            first = [_first(item, some[item.sync.name]) for item in items]
            yield Step([item for item in first if item.batches], True, (), judged=True)
        yield Step([_rest(item, some[item.sync.name]) for item in items], True, ())


def verdict(context: PushContext, step: Step) -> str | None:
    """Why the rest is not sent; None where the org took enough of these records."""
    for item in step.items:
        name, limit = item.sync.name, item.sync.guards.max_reject_share or 0.0
        within = " OR ".join(
            f"(_op = '{batch.operation}' AND _ord >= {batch.first} AND _ord < {batch.last})"
            for batch in item.batches
        )
        rows, bad = context.db.execute(
            f"SELECT count(*), count(*) FILTER (WHERE outcome IN ({BAD})) FROM {run_table('outcome', name)} WHERE {within}"
        )[0]
        if bad and bad > limit * rows:
            return (
                f"{bad:,} of the first {rows:,} records of {name} did not go through, and max_reject_share allows"
                f" {limit * 100:g}%; the rest was not sent. See target/rejected/{name}.csv, then run again"
            )
    return None


def _with_upstream(
    writes: Sequence[list[SyncPlan]],
) -> Iterator[tuple[list[SyncPlan], tuple[CompiledSync, ...]]]:
    upstream: tuple[CompiledSync, ...] = ()
    for items in writes:
        yield items, upstream
        upstream += tuple(item.sync for item in items)


def _most(item: SyncPlan, size: int) -> dict[Operation, int]:
    """How many rows of each operation the first `size` are, in the order in which they are sent."""
    out = {}
    for operation in (Operation.UNDELETE, item.sync.making, Operation.UPDATE):
        rows = max((batch.last for batch in item.batches if batch.operation is operation), default=0)
        out[operation] = min(rows, size)
        size -= out[operation]
    return out


def _reach(
    context: PushContext,
    item: SyncPlan,
    size: int,
    upstream: tuple[CompiledSync, ...],
    ahead: dict[str, dict[Operation, int]],
) -> dict[Operation, int]:
    """As `_most`, but no further than the first row whose parent this run makes only later."""
    out = _most(item, size)
    for rule, parent in parent_links(item.sync, upstream):
        later = (
            f"SELECT _key FROM {run_table(parent.making.value, parent.name)}"
            f" WHERE rowid >= {ahead.get(parent.name, {}).get(parent.making, 0)}"
        )
        key = wire.key_text((rule,), [f"t.{ident(rule.field)}"], DUCKDB)
        for operation, rows in out.items():
            if not rows:
                continue
            first = context.db.value(
                f"SELECT min(t.rowid) FROM {run_table(operation.value, item.sync.name)} AS t"
                f" WHERE t.rowid < {rows} AND t.{ident(rule.field)} <> '' AND {key} IN ({later})"
            )
            out[operation] = rows if first is None else int(first)
    return out


def _first(item: SyncPlan, rows: dict[Operation, int]) -> SyncPlan:
    """The part of a sync's batches that is in the canary. Few records take the fewest calls by Collections."""
    out: list[Batch] = []
    for batch in item.batches:
        last = min(batch.last, rows.get(batch.operation, 0))
        if batch.first >= last:
            continue
        way, call = Way.COLLECTIONS, -1
        if batch.way is Way.SOAP:
            way, call = Way.SOAP, -2 - len(out)
        elif batch.way is not Way.COLLECTIONS and item.sync.api is Api.BULK:
            # A plain create goes by no request that cannot be asked about when its answer is lost.
            way = Way.BULK if batch.operation is Operation.CREATE else Way.MULTIPART
            call = -2 - len(out)
        size = batch.bytes * (last - batch.first) // batch.rows
        out.append(replace(batch, last=last, way=way, call=call, bytes=size))
    return replace(item, batches=tuple(sorted(out, key=lambda batch: -batch.call)))


def _links(item: SyncPlan) -> SyncPlan:
    """The part of a sync's batches that sends late lookups."""
    return replace(item, batches=tuple(b for b in item.batches if b.operation is Operation.LINK))


def _rest(item: SyncPlan, rows: dict[Operation, int]) -> SyncPlan:
    """What is left of a sync's batches, but for late lookups."""
    out = []
    for batch in item.batches:
        if batch.operation is Operation.LINK:
            continue
        first = max(batch.first, rows.get(batch.operation, 0))
        if first < batch.last:
            size = batch.bytes * (batch.last - first) // batch.rows
            out.append(replace(batch, first=first, bytes=size))
    return replace(item, batches=tuple(out))
