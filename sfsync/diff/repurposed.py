"""Records about to be deleted that are another's by now: somebody gave them another key since sfsync wrote them.

Owns:      which of the deletes are confirmed, and what is left out of `delete:`.
Does not:  ask (the context's `confirm` does), or forget the records (jobs/results does, when the run ends).
Invariant: where the org is asked for keys (`match: unknown`), no record is deleted whose identity was not read in the same
           plan. What the org does not show is left in: the delete tells what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync, Mode
from sfsync.diff.changes import DiffContext
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
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
    """`_key, _record_id` of the records with another key; there only where some were found."""
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
        return Repurposed(unread=_without(table, known, context))
    texts = [f"l.{ident(rule.field)}" for rule in sync.identity]
    key, ours = wire.key_text(sync.identity, texts, DUCKDB), "d._key"
    if not any(rule.case_sensitive for rule in sync.identity):
        key, ours = (
            f"lower({key})",
            f"lower({ours})",
        )  # keys are folded in ASCII, and the org folds all letters
    read = " AND ".join(f"{text} IS NOT NULL" for text in texts)
    other = table_of(sync)
    found = db.value(
        f'CREATE TABLE {other} AS SELECT d._key, d."Id" AS _record_id, d._shown FROM {table} AS d'
        f' JOIN {live} AS l ON l._key = d."Id" WHERE {read} AND {key} IS DISTINCT FROM {ours}'
    )
    db.execute(f"DROP TABLE {live}")
    if not found:
        db.execute(f"DROP TABLE {other}")
        return NONE
    rows = _without(table, f"_key IN (SELECT _key FROM {other})", context)
    few = db.execute(f"SELECT _shown || ' (' || _record_id || ')' FROM {other} ORDER BY _key LIMIT {SAMPLES}")
    return Repurposed(rows, samples=tuple(text for (text,) in few))


def _without(table: str, some: str, context: DiffContext) -> int:
    """Make `delete:` anew rather than thin it out: rowids are ordinals and have no holes."""
    db = context.db
    rows = int(db.value(f"SELECT count(*) FROM {table} WHERE {some}"))
    db.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table} WHERE NOT ({some}) ORDER BY rowid")
    return rows
