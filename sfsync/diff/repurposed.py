"""Records about to be deleted that are another's by now: somebody gave them another key since sfsync wrote them.

Owns:      which of the deletes are confirmed, and what is left out of `delete:`.
Does not:  ask (the context's `confirm` does), or forget the records: who gave them another key may take it back.
Invariant: where the org is asked for keys (`match: unknown`), no record is deleted whose identity was not read in the same
           plan. What the org does not show is left in: the delete tells what became of it.

Leaves `repurposed:<sync>` or `unread:<sync>`, each with `_key`, where there are such records.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync, Mode
from sfsync.diff.changes import DiffContext
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.records import FieldRule
from sfsync.state.snapshots import SnapshotInfo

SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Repurposed:
    """What of the deletes is left out. samples: ``C-17 (003...)``, a few of the records with another key."""

    rows: int = 0
    unread: int = 0  # could not be asked for now
    samples: tuple[str, ...] = ()


NONE = Repurposed()


def table_of(sync: CompiledSync) -> str:
    """The records with another key; there only where some were found."""
    return run_table("repurposed", sync.name)


def leave_out(sync: CompiledSync, context: DiffContext, info: SnapshotInfo) -> Repurposed:
    """Read the identity of what `delete:` holds of a snapshot, and take out of it what has another by now."""
    if context.confirm is None or not sync.match or not info.rows or sync.identity[0].type == "id":
        return NONE
    db, table, live = context.db, run_table("delete", sync.name), run_table("live", sync.name)
    known = "TRUE"
    if sync.mode is Mode.DELETE:  # what the matcher found has just been read
        known = f"_key IN (SELECT _key FROM {info.table} WHERE _gone_at IS NULL)"
    ids = f'(SELECT "Id" AS _key FROM {table} WHERE {known})'
    if not db.value(f"SELECT EXISTS {ids}"):
        return NONE
    if not context.confirm(sync, ids, live):
        return Repurposed(unread=_moved(table, known, run_table("unread", sync.name), context))
    other = f"_key IN (SELECT d._key {_others(sync, info, table, live)})"
    rows = _moved(table, other, table_of(sync), context)
    db.execute(f"DROP TABLE {live}")
    if not rows:
        return NONE
    shown = """concat_ws(' ', nullif(_shown, ''), '(' || "Id" || ')')"""
    few = db.execute(f"SELECT {shown} FROM {table_of(sync)} ORDER BY _key LIMIT {SAMPLES}")
    return Repurposed(rows, samples=tuple(text for (text,) in few))


def _others(sync: CompiledSync, info: SnapshotInfo, table: str, live: str) -> str:
    """FROM of the deletes `d` whose record is not known by its key, nor by what the snapshot has of it.

    The snapshot has another text than the key of a record that another one was merged into. A text that cannot be told,
    such as that of a parent without external id, is none that sfsync wrote.
    """
    keys, texts = [], []
    for number, rule in enumerate(sync.identity):
        name = ident(rule.field)
        key = f"json_extract_string(d._key, '$[{number}]')" if len(sync.identity) > 1 else "d._key"
        keys.append(_differ(rule, wire.key_text((rule,), [f"l.{name}"], DUCKDB), key))
        known = f"s.{name}" if rule.field in info.fields else "NULL"
        texts.append(f"l.{name} IS NULL OR {_differ(rule, f'l.{name}', known)}")
    return (
        f'FROM {table} AS d JOIN {live} AS l ON l._key = d."Id" LEFT JOIN {info.table} AS s ON s._key = d._key'
        f" WHERE ({' OR '.join(keys)}) AND ({' OR '.join(texts)})"
    )


def _differ(rule: FieldRule, one: str, other: str) -> str:
    """Keys are folded in ASCII; to the org, other capitals are alike, too."""
    if not rule.case_sensitive:
        one, other = f"lower({one})", f"lower({other})"
    return f"{one} IS DISTINCT FROM {other}"


def _moved(table: str, some: str, into: str, context: DiffContext) -> int:
    """Move rows of `delete:` to a table of their own; how many. Made anew: rowids are ordinals and have no holes."""
    db = context.db
    rows = int(db.value(f"CREATE TABLE {into} AS SELECT * FROM {table} WHERE {some}"))
    if rows:
        db.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table}"
            f" WHERE _key NOT IN (SELECT _key FROM {into}) ORDER BY rowid"
        )
    return rows
