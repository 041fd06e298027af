"""Late lookups between the two parts of their rows: Ids of records that are made by now, and rows that wait after all.

Owns:      what happens to `link:<sync>` before it is sent.
Does not:  find late lookups (diff/late) or send them (push, as any update).
Invariant: the second part of a row is sent only where the first one went through, by the Id that the org gave for it.
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff.late import late_links
from sfsync.diff.stage import run_table
from sfsync.push import order
from sfsync.push.context import PushContext
from sfsync.records import Operation

_DONE = "'created', 'adopted', 'updated'"
_LINK = Operation.LINK.value


def hold_waiting(context: PushContext, sync: CompiledSync) -> None:
    """Let lookups wait of which the plan knows that their parents are not made, whatever becomes of their records."""
    rows = "t._waits IS NOT NULL"
    _skip(
        context,
        sync,
        rows,
        "t._waits_field, t._waits_key, t._waits",
        "the parent record is not created in this run",
    )


def make_ready(context: PushContext, sync: CompiledSync) -> None:
    """Give new records their Ids, and leave out rows whose first part, or whose parent, did not arrive."""
    link, outcomes = run_table("link", sync.name), run_table("outcome", sync.name)
    done = f"SELECT _op, _key, _record_id FROM {outcomes} WHERE _op IN ('upsert', 'create', 'update') AND outcome IN ({_DONE})"
    context.db.execute(
        f'UPDATE {link} AS t SET "Id" = o._record_id FROM ({done}) AS o'
        " WHERE t._first NOT IN ('', 'update') AND o._op = t._first AND o._key = t._key"
    )
    undone = f"t._first <> '' AND (t._first, t._key) NOT IN (SELECT _op, _key FROM ({done}) AS d)"
    _skip(context, sync, undone, "NULL, NULL, NULL", "the record itself was not sent")
    links = [(link.rule, link.parent) for link in late_links(sync, context.syncs) if link.by_identity]
    order.hold(context, sync, links, (Operation.LINK,))


def _skip(context: PushContext, sync: CompiledSync, rows: str, why: str, message: str) -> None:
    """Let rows wait that have no outcome yet. why: SQL of lookup, parent's key and parent's sync."""
    link, outcomes, skip = (run_table(kind, sync.name) for kind in ("link", "outcome", "skip"))
    free = f"{rows} AND t.rowid NOT IN (SELECT _ord FROM {skip} WHERE _op = '{_LINK}')"
    if not context.db.value(
        f"INSERT INTO {skip} SELECT '{_LINK}', t.rowid, {why} FROM {link} AS t WHERE {free}"
    ):
        return
    context.db.execute(
        f"INSERT INTO {outcomes} SELECT '{_LINK}', t.rowid, t._key, t.\"Id\", FALSE, 'waiting', NULL, NULL, NULL, ?, 0"
        f" FROM {link} AS t WHERE t.rowid IN (SELECT _ord FROM {skip} WHERE _op = '{_LINK}')"
        f" AND t.rowid NOT IN (SELECT _ord FROM {outcomes} WHERE _op = '{_LINK}')",
        [message],
    )
    context.skipping.add(sync.name)
