"""`on_removed: {set: ...}`: records whose row left the model are set aside, and brought back with the row.

Owns:      which records these are, as judged rows that all later steps treat as updates by Id; counting them apart.
Does not:  send or record: they travel, and are taken back, like any update.
Invariant: what the snapshot says of the fields decides: a record whose fields have the values is not written again, whatever
           run was killed in between.
"""

from __future__ import annotations

from sfsync.compiler.manifest import CompiledSync
from sfsync.diff import sql
from sfsync.diff.changes import DiffContext, Retired
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.engine.duckdb import DuckDB
from sfsync.state import doubts
from sfsync.state.snapshots import SnapshotInfo

NULL = "CAST(NULL AS VARCHAR)"


def judge(sync: CompiledSync, info: SnapshotInfo, context: DiffContext, *, removed: int) -> None:
    """Add removed records to `judged:` as updates, and what `on_return` says to those whose row is back."""
    _returning(sync, context)
    allowed = sync.guards.max_null_keys
    if not removed or (allowed is not None and _null_keys(sync, context.db) > allowed):
        return
    constants = dict(sync.removal.set)
    columns, differs = [], []
    for rule in sync.rules:
        known = f"s.{ident(rule.field)}" if rule.field in info.fields else NULL
        sent = NULL
        if rule.field in constants:
            wanted = literal(constants[rule.field])
            differs.append(f"{known} IS DISTINCT FROM {wanted}")
            sent = f"CASE WHEN {known} IS DISTINCT FROM {wanted} THEN {wanted} END"
        columns += [
            f"{known} AS {ident(rule.field + '@')}",
            f"coalesce({sent}, {known}) AS {ident(rule.field + '=')}",
            f"{sent} AS {ident(rule.field)}",
        ]
    rows = sql.known_rows(info.table, run_table("removed", sync.name), context.dialect)
    context.db.execute(
        f"INSERT INTO {run_table('judged', sync.name)} BY NAME SELECT s._key, s._id AS _record_id, s._origin,"
        f" 'update' AS _op, FALSE AS _open, {', '.join(columns)} FROM {rows} AS s"
        f" WHERE s._gone_at IS NULL AND s._origin <> 'converted' AND ({' OR '.join(differs)})"
    )


def _null_keys(sync: CompiledSync, db: DuckDB) -> int:
    judged = run_table("judged", sync.name)
    return int(db.value(f"SELECT count(*) FROM {judged} WHERE _key IS NULL AND _code = 'MISSING_ARGUMENT'"))


def _returning(sync: CompiledSync, context: DiffContext) -> None:
    """Rows that are back: their records have what leaving wrote, or may have it."""
    db, judged = context.db, run_table("judged", sync.name)
    if not sync.removal.on_return or not db.value(f"SELECT EXISTS (FROM {judged})"):
        return
    mapped = {rule.field for rule in sync.rules if rule.mapped}
    ours = [(field, text) for field, text in sync.removal.set if field not in mapped]
    aside = " AND ".join(
        f"({ident(field + '@')} = {literal(text)} OR _key IN ({doubts.maybe_written(sync.name, field)}))"
        for field, text in ours
    )
    for field, text in sync.removal.on_return:
        db.execute(
            f"UPDATE {judged} SET _op = 'update', {ident(field)} = {literal(text)}, {ident(field + '=')} = {literal(text)}"
            f" WHERE _code IS NULL AND _op IN ('update', 'none') AND {aside}"
            f" AND {ident(field + '@')} IS DISTINCT FROM {literal(text)}"
        )


def count(sync: CompiledSync, db: DuckDB) -> Retired:
    """What became of the removed records among the judged rows. After `update:`, `held:` and `aside:` are made."""
    gone = f"_key IN (SELECT _key FROM {run_table('removed', sync.name)})"
    cells = " + ".join(f"count({ident(field)})" for field, _ in sync.removal.set)
    retires, fields = db.execute(
        f"SELECT count(*), {cells} FROM {run_table('update', sync.name)} WHERE {gone}"
    )[0]
    held = db.value(f"SELECT count(*) FROM {run_table('held', sync.name)} WHERE {gone}")
    submitted, stopped = db.execute(
        "SELECT count(*) FILTER (WHERE _op = 'submitted'), count(*) FILTER (WHERE _op = 'stopped')"
        f" FROM {run_table('judged', sync.name)} WHERE {gone}"
    )[0]
    return Retired(int(retires), int(fields), int(held), int(submitted), int(stopped))
