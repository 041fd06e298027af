"""`on_removed.after`: records whose row is missing are removed only when so many runs in a row have missed it.

Owns:      which removed records are due, and the table `missing:` with the count of each.
Does not:  write the counts (state/missing, when the run ends) or say what becomes of those that are due.
Invariant: a plan changes no count; a record that is not due is in none of the tables of what is to be sent.
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync, OnRemoved
from sfsync.diff import sql
from sfsync.diff.changes import DiffContext, Missing
from sfsync.diff.stage import run_table
from sfsync.state import missing
from sfsync.state.snapshots import SnapshotInfo


def spare(sync: CompiledSync, info: SnapshotInfo, context: DiffContext, *, null_keys: int) -> Missing:
    """Take out of `removed:` what is not due, and leave `missing:` (`_key, _runs`, this run included) with all that misses."""
    db, removed, table = context.db, run_table("removed", sync.name), run_table("missing", sync.name)
    allowed, after = sync.guards.max_null_keys, sync.removal.after
    if allowed is not None and null_keys > allowed:
        return Missing()  # a row without a key may be any of them: such a run counts nothing
    ours = ""
    if sync.on_removed is not OnRemoved.SET and not sync.delete_adopted:
        ours = " AND s._origin = 'created'"
    known = sql.known_rows(info.table, removed, context.dialect)
    db.execute(
        f"CREATE TABLE {table} AS SELECT s._key, least(coalesce(c._runs, 0) + 1, {after}) AS _runs FROM {known} AS s"
        f" LEFT JOIN {missing.counted(context.store, sync.name)} AS c ON c._key = s._key WHERE s._gone_at IS NULL{ours}"
    )
    waiting, soonest = db.execute(f"SELECT count(*), max(_runs) FROM {table} WHERE _runs < {after}")[0]
    if waiting:
        db.execute(f"DELETE FROM {removed} WHERE _key IN (SELECT _key FROM {table} WHERE _runs < {after})")
    return Missing(int(waiting), after - int(soonest) if waiting else 0, counts=True)
