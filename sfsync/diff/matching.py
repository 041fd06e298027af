"""Rows that are kept back because the org refused them before, and rows whose record the org may have.

Owns:      `held:`, which unknown keys the org is asked for, and how its answer takes its place beside the snapshot.
Does not:  ask (it is handed `Match`), or write the snapshot (state).
Invariant: a record that was found is from then on treated as one that the snapshot has: adopted, with the texts the org has.
           Nobody asks for a row that would not be sent anyway.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sfsync.compiler.manifest import CompiledSync, OnGone
from sfsync.diff import refusals, sql
from sfsync.diff.changes import Changes, DiffContext
from sfsync.diff.split import Judged, is_held, judged
from sfsync.diff.stage import run_table
from sfsync.state import rejected
from sfsync.state.snapshots import SnapshotInfo


def hold(sync: CompiledSync, context: DiffContext, found: Judged) -> None:
    """Keep back rows the org refused before in exactly this form; leaves `held:` (keys)."""
    db, work, held = context.db, run_table("work", sync.name), run_table("held", sync.name)
    if not (found.pending and rejected.any_of(context.store, sync.name)):
        db.execute(f"CREATE TABLE {held} (_key VARCHAR, _op VARCHAR, _worn BOOLEAN)")
        return
    since = timedelta(seconds=sync.retry_rejected_after_s)
    db.execute(
        f"CREATE TABLE {held} AS SELECT w._key, w._op, o.transient AS _worn FROM {work} AS w"
        f" JOIN {rejected.TABLE} AS o ON o.sync = ? AND o.key = w._key"
        f" WHERE o.decided_by = 'org' AND {is_held(sync)} AND NOT o.released AND o.last_at > ?"
        f" AND w._code IS NULL AND w._op IN {sql.SENT} AND o.digest = {refusals.digest_sql(sync, 'w')}",
        [sync.name, context.store.clock.now() - since],
    )


def table_of(sync: CompiledSync) -> str:
    """Where the records that the org has of the keys it was asked for stand in the run's file."""
    return run_table("matched", sync.name)


def ask(sync: CompiledSync, context: DiffContext) -> int | None:
    """Ask the org for the keys of rows that would be made or have no match; leave `matched:`; how many it has.

    None: it was not asked.

    Where it has some, `judged:`, `work:` and `held:` are taken away: the rows are to be judged again.
    """
    match, db = context.match, context.db
    if match is None or not (sync.match or sync.by_id):
        return None
    found = judged(sync, db)
    if not (found.upserts + found.no_match):
        return 0
    hold(sync, context, found)
    work, held = run_table("work", sync.name), run_table("held", sync.name)
    gone = "" if sync.on_gone is OnGone.RECREATE else " AND _gone_at IS NULL"
    own = "coalesce(any_value(_record_id), _key)" if sync.by_id else "any_value(_record_id)"
    db.execute(
        f"CREATE TABLE {run_table('unknown', sync.name)} AS SELECT _key, {own} AS _record_id FROM {work}"
        f" WHERE _code IS NULL AND _op IN ('upsert', 'no_match') AND _key NOT IN (SELECT _key FROM {held}){gone}"
        " GROUP BY _key HAVING count(*) = 1"
    )
    # Of a record that is known to be gone the Id tells more than the key: it may have been merged into another.
    count = match(sync, run_table("unknown", sync.name), table_of(sync))
    db.execute(f"DROP TABLE {held}")
    if count is None:
        if sync.inserts or not sync.mode.creates:  # else the org itself finds the record
            unknown = f"SELECT _key FROM {run_table('unknown', sync.name)}"
            judged_rows = run_table("judged", sync.name)
            db.execute(f"UPDATE {judged_rows} SET _op = 'unasked' WHERE _key IN ({unknown})")
        return None
    if count:
        db.execute(f"DROP VIEW {work}")
        db.execute(f"DROP TABLE {run_table('judged', sync.name)}")
    return count


def counted(sync: CompiledSync, changes: Changes, context: DiffContext) -> Changes:
    """The counts with what was found: rows that are adopted as they are, or by sending what differs, are not unchanged."""
    known = f"(SELECT _key FROM {table_of(sync)} WHERE _origin = 'adopted')"
    same, differing, met = context.db.execute(
        f"SELECT (SELECT count(*) FROM {run_table('fresh', sync.name)} WHERE _key IN {known}),"
        f" (SELECT count(*) FROM {run_table('update', sync.name)} WHERE _key IN {known}),"
        f" (SELECT count(*) FROM {known} AS m)"
    )[0]
    return replace(
        changes, matched=same + differing, adopted=same, met=met, unchanged=changes.unchanged - same
    )


def as_snapshot(sync: CompiledSync, info: SnapshotInfo) -> SnapshotInfo:
    """What was found, in the place of a snapshot that there is not; for guards the snapshot stays empty."""
    return replace(info, table=table_of(sync), exists=True, fields=frozenset(r.field for r in sync.rules))


def place(sync: CompiledSync, info: SnapshotInfo, context: DiffContext) -> int:
    """Make the candidates know what was found; how many records have not left the model after all.

    A record that the snapshot has under another key is that of two rows if the other is still in the model: the second
    is merged. If it is not, the key of the record changed, and nothing was removed.
    """
    db, matched = context.db, table_of(sync)
    candidate, removed = run_table("candidate", sync.name), run_table("removed", sync.name)
    row = context.dialect.row_id
    taken = (
        f"SELECT s._id, s.{row} IN (SELECT _known_row FROM {removed} AS r) AS _left FROM {info.table} AS s"
        f" WHERE s._gone_at IS NULL AND s._id IN (SELECT _id FROM {matched} AS m)"
        f" AND s._key NOT IN (SELECT _key FROM {matched} AS m)"
    )
    db.execute(
        f"UPDATE {matched} SET _origin = 'merged' WHERE _origin = 'adopted'"
        f" AND _id IN (SELECT _id FROM ({taken}) AS t WHERE NOT _left)"
    )
    freed = db.execute(
        f"DELETE FROM {removed} WHERE _known_row IN (SELECT s.{row} FROM {info.table} AS s"
        f" WHERE s._id IN (SELECT _id FROM ({taken}) AS t WHERE _left)) RETURNING 1"
    )
    db.execute(
        f"UPDATE {candidate} AS c SET _known_key = m._key, _known_row = -1 - m.{row} FROM {matched} AS m"
        " WHERE m._key = c._key"
    )
    return len(freed)
