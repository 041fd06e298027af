"""In which order calls are sent: parents before children, creates and updates before deletes, children's deletes first.

Owns:      the steps of a push, which syncs may go side by side, and which rows wait for a parent that did not arrive.
Does not:  send.
Invariant: a step begins only when every call of the step before has its outcomes recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.diff import parent_links
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.plan.plan import Plan, SyncPlan
from sfsync.push.context import PushContext, RefersTo
from sfsync.records import Batch, FieldRule, Operation

NOT_THERE = "'rejected', 'failed', 'waiting', 'deferred', 'stopped', 'submitted', 'in_doubt'"
"""Outcomes of a parent's create, or of its way out of the bin, that leave its children nothing to point at."""


UNLOCKED = ("OwnerId", "RecordTypeId")
"""Plain Id fields that every object has; a write does not lock what they refer to."""


def steps(plan: Plan, levels: Sequence[Sequence[str]]) -> Iterator[tuple[list[SyncPlan], bool]]:
    """(syncs of the step, deletes?) in push order; inside a step the higher priority goes first."""
    by_name = {item.sync.name: item for item in plan.syncs if not item.refusals}
    for level in levels:
        found = [by_name[name] for name in level if name in by_name]
        if found:
            yield sorted(found, key=lambda item: -item.sync.priority), False
    for level in reversed(levels):
        found = [by_name[name] for name in level if name in by_name]
        if found:
            yield sorted(found, key=lambda item: -item.sync.priority), True


def lanes(items: Sequence[SyncPlan], refers_to: RefersTo) -> list[list[SyncPlan]]:
    """Syncs of a step in groups that touch no object in common; groups and their syncs in the order given."""
    found: list[tuple[set[str], list[int]]] = []
    for number, item in enumerate(items):
        objects, members = set(touched(item.sync, refers_to)), [number]
        apart = []
        for lane in found:
            if lane[0] & objects:
                objects |= lane[0]
                members = lane[1] + members
            else:
                apart.append(lane)
        found = [*apart, (objects, members)]
    return [[items[n] for n in members] for members in sorted(sorted(lane[1]) for lane in found)]


def touched(sync: CompiledSync, refers_to: RefersTo) -> frozenset[str]:
    """The objects whose records a write of the sync may lock: its own, and the parents its rows refer to."""
    objects = {sync.object}
    for rule in sync.rules:
        if rule.reference is not None:
            objects.add(rule.reference.parent_object)
        elif rule.field not in UNLOCKED:
            objects.update(refers_to(sync.object, rule.field))
    return frozenset(objects)


def calls_of(item: SyncPlan, *, deletes: bool) -> Iterator[list[Batch]]:
    """The planned calls of one sync in one step, each with its batches."""
    chosen = [batch for batch in item.batches if (batch.operation is Operation.DELETE) == deletes]
    for _, batches in groupby(chosen, key=lambda batch: batch.call):
        yield list(batches)


def hold_children(context: PushContext, sync: CompiledSync, upstream: tuple[CompiledSync, ...]) -> int:
    """Let rows wait whose parent was to be created in this run and was not; return how many, of those not held before."""
    return hold(context, sync, parent_links(sync, upstream), (sync.making, Operation.UPDATE))


def hold(
    context: PushContext,
    sync: CompiledSync,
    links: Sequence[tuple[FieldRule, CompiledSync]],
    operations: Sequence[Operation],
) -> int:
    """The same for these lookups, each with the sync that makes its parents, and rows of these operations."""
    if not links:
        return 0
    db = context.db
    outcomes, skip = run_table("outcome", sync.name), run_table("skip", sync.name)
    before = int(db.value(f"SELECT count(*) FROM {skip}"))
    for rule, parent in links:
        missing = (
            f"SELECT _key FROM {run_table('outcome', parent.name)} WHERE (_op IN ('upsert', 'create', 'undelete')"
            f" AND outcome IN ({NOT_THERE})) OR (_op = 'undelete' AND outcome = 'gone')"
        )
        if not db.value(f"SELECT count(*) FROM ({missing}) AS m"):
            continue
        key = wire.key_text((rule,), [f"t.{ident(rule.field)}"], DUCKDB)
        for operation in operations:
            db.execute(
                f"INSERT INTO {skip} SELECT '{operation}', t.rowid, ?, t.{ident(rule.field)}, ?"
                f" FROM {run_table(operation.value, sync.name)} AS t WHERE t.{ident(rule.field)} <> '' AND {key} IN ({missing})"
                f" AND t.rowid NOT IN (SELECT _ord FROM {skip} WHERE _op = '{operation}')"
                f" AND t.rowid NOT IN (SELECT _ord FROM {outcomes} WHERE _op = '{operation}')",
                [rule.field, parent.name],
            )
    held = int(db.value(f"SELECT count(*) FROM {skip}")) - before
    if not held:
        return 0
    for operation in operations:
        db.execute(
            f"INSERT INTO {outcomes} SELECT '{operation}', t.rowid, t._key, t.\"Id\", FALSE, 'waiting', NULL, NULL, NULL,"
            f" 'the parent record was not created in this run', 0 FROM {run_table(operation.value, sync.name)} AS t"
            f" WHERE t.rowid IN (SELECT _ord FROM {skip} WHERE _op = '{operation}')"
            f" AND t.rowid NOT IN (SELECT _ord FROM {outcomes} WHERE _op = '{operation}')"
        )
    context.skipping.add(sync.name)
    return held


def spare_adopted(context: PushContext, sync: CompiledSync) -> int:
    """Leave out deletes of records that a row of this run turned out to hold under another key; return how many.

    The org may hold two keys for one that we tell apart: accents, capitals beyond ASCII.
    """
    db = context.db
    outcomes, skip = run_table("outcome", sync.name), run_table("skip", sync.name)
    adopted = f"SELECT _record_id FROM {outcomes} WHERE _op = 'upsert' AND outcome = 'adopted'"
    if not db.value(f"SELECT EXISTS ({adopted})"):
        return 0
    deletes = run_table("delete", sync.name)
    db.execute(
        f"INSERT INTO {skip} SELECT 'delete', rowid, NULL, NULL, NULL FROM {deletes} WHERE \"Id\" IN ({adopted})"
    )
    db.execute(
        f"INSERT INTO {outcomes} SELECT 'delete', t.rowid, t._key, t.\"Id\", FALSE, 'unchanged', NULL, NULL, NULL,"
        f" 'the record is that of another row now', 0 FROM {deletes} AS t"
        f" WHERE t.rowid IN (SELECT _ord FROM {skip} WHERE _op = 'delete')"
    )
    spared = int(db.value(f"SELECT count(*) FROM {skip} WHERE _op = 'delete'"))
    if spared:
        context.skipping.add(sync.name)
        context.progress(sync.name, spared)
    return spared
