"""Staged rows against the snapshot: what to create, update and delete, and which rows are refused.

Owns:      the two steps (candidates by hash, then truth by text), double and null keys, held rows, children that wait.
Does not:  price, pack or send; words and SQL shapes stand in messages and sql, the tables of what is to be sent in split.
Invariant: every staged row is in exactly one of upsert, update, refused, held, waiting, gone, unchanged, or stands aside.

Tables made in the run's file, per sync: `work:<sync>` (every candidate, as judged: `field=` is its whole text, `field@`
what the org acknowledged), `upsert:<sync>` and `update:<sync>` (`_key, Id, _shown, _source_hash`, the text of each rule,
NULL = not sent), `delete:<sync>` (`_key, Id, _shown, _origin`), `fresh:<sync>` (`_key, _source_hash` of rows found
unchanged), `refused:<sync>` (state.rejected's INCOMING and `known`), `waiting:<sync>`, `blocked:<sync>`.
Their rowids count from 0 without holes: they are the ordinals of batches.
"""

from __future__ import annotations

from dataclasses import replace

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync, OnGone, OnRemoved
from sfsync.diff import aside, matching, parents, refusals, split, sql
from sfsync.diff.changes import NOT_MISSING, Changes, DiffContext, Missing
from sfsync.diff.split import Judged
from sfsync.diff.stage import Staged, run_table
from sfsync.engine.dialect import Dialect
from sfsync.engine.dialect import quote_ident as ident
from sfsync.records import FieldRule, Send
from sfsync.state.snapshots import SnapshotInfo

KNOWN_ROW_BYTES = 160
"""What a record takes in the join of step one, at most: measured 80 to 120 with keys of 10 characters; UUIDs have 36."""

FEW_CANDIDATES = 100_000
"""Up to here, candidates are read again without asking what share of the rows they are."""


def diff_sync(sync: CompiledSync, staged: Staged, info: SnapshotInfo, context: DiffContext) -> Changes:
    """Compare one sync's staged rows with its snapshot and leave the result in the run's file."""
    table = info.table if info.exists and (info.rows or info.tombstones) else None
    removed = _find_candidates(sync, staged, info if table is not None else None, context)
    _judge(sync, staged, table, info, context)
    asked = matching.ask(sync, context)
    if asked:
        # From here on all is as if the snapshot had known these records before.
        if table is None:
            info = matching.as_snapshot(sync, info)
            context.db.execute(f"DROP TABLE {run_table('removed', sync.name)}")
            _find_candidates(sync, staged, info, context)
            _judge(sync, staged, info.table, info, context)
        else:
            removed -= matching.place(sync, info, context)
            _judge(sync, staged, table, info, context, matching.table_of(sync))
    waiting = NOT_MISSING
    if sync.removal.after > 1 and table is not None:
        waiting, removed = _spare(sync, info, context, removed)
    if sync.on_removed is OnRemoved.SET and table is not None:
        from sfsync.diff import retire  # most syncs do without

        retire.judge(sync, info, context, removed=removed)
    if (table is not None or asked) and any(rule.on_update is Send.IF_BLANK for rule in sync.fields):
        from sfsync.diff import blank  # most syncs do without

        blank.judge(sync, context)
    changes = judged_to_changes(sync, staged, info, context, removed=removed)
    if waiting.counts:
        changes = replace(changes, missing=waiting)
    changes = matching.counted(sync, changes, context) if asked else changes
    return changes if asked is None else replace(changes, asked=True)


def _spare(sync: CompiledSync, info: SnapshotInfo, context: DiffContext, removed: int) -> tuple[Missing, int]:
    """Records that are not due to be removed, and how many removed ones are left."""
    from sfsync.diff import grace  # most syncs do without

    judged = run_table("judged", sync.name)
    no_key = int(
        context.db.value(f"SELECT count(*) FROM {judged} WHERE _key IS NULL AND _code = 'MISSING_ARGUMENT'")
    )
    waiting = grace.spare(sync, info, context, null_keys=no_key)
    return waiting, removed - waiting.rows


def judged_to_changes(
    sync: CompiledSync, staged: Staged, info: SnapshotInfo, context: DiffContext, *, removed: int
) -> Changes:
    """What follows from `judged:`, `work:` and `removed:`: refusals, held and waiting rows, and what is to be sent."""
    found = split.judged(sync, context.db)
    doubles = refusals.find_doubles(sync, context.db)
    refusals.refuse(sync, context.db, context.store, any_at_all=bool(found.bad or doubles))
    matching.hold(sync, context, found)
    _wait(sync, context, found)
    if jobs := aside.find(sync, context.db, context.store, context.away):
        aside.set_aside(sync, context.db, jobs)
    return split.split(sync, staged, info, context, found, removed=removed, jobs=jobs)


def fits(info: SnapshotInfo, memory: int) -> bool:
    """Whether the join of step one can hold a snapshot in so many bytes; if not, it spills, and what it carries tells."""
    return (info.rows + info.tombstones) * KNOWN_ROW_BYTES <= memory


def too_many(candidates: int, rows: int) -> bool:
    """Whether so much moved, as after a change of the mapping, that reading it again costs more than carrying all did."""
    return candidates > max(FEW_CANDIDATES, rows // 4)


def _step_one(
    sync: CompiledSync, staged: Staged, info: SnapshotInfo, context: DiffContext, *, narrow: bool
) -> tuple[str, str]:
    """Join staged rows and snapshot; return the table of candidates, and what was read of the staged rows."""
    table = run_table("narrow" if narrow else "candidate", sync.name)
    keys = _keys(sync, staged, context.dialect, narrow=narrow)
    with context.db.build_right():
        context.db.execute(f"CREATE TABLE {table} AS {sql.candidates(keys, info.table, context.dialect)}")
    return table, keys


def _find_candidates(
    sync: CompiledSync, staged: Staged, info: SnapshotInfo | None, context: DiffContext
) -> int:
    """Step one. Leaves `candidate:` (not when there is no snapshot) and `removed:`; returns how many rows left the model."""
    db = context.db
    removed = run_table("removed", sync.name)
    if info is None:
        db.execute(f"CREATE TABLE {removed} (_key VARCHAR, _known_row BIGINT)")
        return 0
    narrow = not fits(info, context.memory)
    candidate, keys = _step_one(sync, staged, info, context, narrow=narrow)
    if narrow and too_many(int(db.value(f"SELECT count(*) FROM {candidate}")), staged.rows):
        db.execute(f"DROP TABLE {candidate}")
        narrow = False
        candidate, keys = _step_one(sync, staged, info, context, narrow=narrow)
    row = context.dialect.row_id
    there = f" AND _known_row NOT IN (SELECT {row} FROM {info.table} WHERE _gone_at IS NOT NULL)"
    db.execute(
        f"CREATE TABLE {removed} AS SELECT _known_key AS _key, _known_row FROM {candidate}"
        f" WHERE _key IS NULL AND _known_key IS NOT NULL{there if info.tombstones else ''}"
    )
    new, left = db.execute(
        "SELECT count(*) FILTER (WHERE _known_key IS NULL),"
        f" count(*) FILTER (WHERE _key IS NULL AND _known_key IS NOT NULL) FROM {candidate}"
    )[0]
    # Every staged row is either new or joined to a known record; more joins than known records present in the model
    # mean that a key stands twice. Only then is it worth counting all keys.
    if staged.rows - new > info.rows + info.tombstones - left:
        _add_doubles(keys, info.table, candidate, context)
    if narrow:
        _widen(sync, staged, candidate, context)
    return int(db.value(f"SELECT count(*) FROM {removed}"))


def _keys(sync: CompiledSync, staged: Staged, dialect: Dialect, *, narrow: bool) -> str:
    """What step one reads of the staged rows: with all that step two needs, or only with what finds a row again."""
    if not staged.projected:
        return f"({sql.keys(sync, staged.relation, dialect, narrow=narrow)})"
    return f"(SELECT _key, _source_hash FROM {staged.relation} AS t)" if narrow else staged.relation


def _widen(sync: CompiledSync, staged: Staged, narrow: str, context: DiffContext) -> None:
    """Make `candidate:` out of narrow candidates: the staged rows are read again for the columns of these alone."""
    rows = staged
    if not staged.projected:
        rows = replace(staged, relation=f"({sql.found_again(sync, staged.relation, narrow)})")
    wide = sql.widened(_keys(sync, rows, context.dialect, narrow=False), narrow)
    with context.db.build_right():
        context.db.execute(f"CREATE TABLE {run_table('candidate', sync.name)} AS {wide}")
    context.db.execute(f"DROP TABLE {narrow}")


def _add_doubles(keys: str, table: str, candidate: str, context: DiffContext) -> None:
    """Make every copy of a double key a candidate, whatever its hash says, and each once."""
    double = f"SELECT _key FROM {keys} AS d WHERE _key IS NOT NULL GROUP BY _key HAVING count(*) > 1"
    context.db.execute(f"DELETE FROM {candidate} WHERE _key IN ({double})")
    context.db.execute(
        f"INSERT INTO {candidate} BY NAME SELECT n.*, n._key AS _known_key, s.{context.dialect.row_id} AS _known_row"
        f" FROM {keys} AS n LEFT JOIN {table} AS s ON s._key = n._key WHERE n._key IN ({double})"
    )


def _judge(
    sync: CompiledSync,
    staged: Staged,
    table: str | None,
    info: SnapshotInfo,
    context: DiffContext,
    matched: str | None = None,
) -> None:
    """Step two: project and judge the candidates only; leaves `judged:` and, as every later step reads it, `work:`."""
    dialect, candidate = context.dialect, run_table("candidate", sync.name)
    wide, work = run_table("judged", sync.name), run_table("work", sync.name)
    if table is not None and not context.db.value(f"SELECT count(*) FROM {candidate}"):
        # The usual run: nothing moved. To plan the statement below costs more than all that follows it.
        context.db.execute(f"CREATE TABLE {wide} ({sql.judged_shape(sync)})")
        context.db.execute(f"CREATE VIEW {work} AS SELECT * FROM {wide}")
        return
    known = None if table is None else sql.known_rows(table, candidate, dialect)
    have = info.fields
    if known is not None and matched is not None:
        known = sql.with_matched(sync, known, have, matched, dialect)
        have = frozenset(rule.field for rule in sync.rules)
    rows = staged.relation if table is None else candidate
    if staged.projected:
        projected = f"SELECT * FROM {rows} AS t"
        if table is not None:
            projected += " WHERE _key IS NOT NULL OR _known_key IS NULL"
    elif table is None:
        projected = sql.projection(sync, rows, dialect)
    else:
        projected = sql.project_candidates(sync, rows, dialect)
    projected = parents.with_parents(sync, projected, context)
    # Without a snapshot all rows are creates, and what a create sends follows from the whole text: a text is written once.
    sent = () if table is not None else sql.sent_on_create(sync)
    judged = sql.judged(sync, projected, known, have, stored=not sent)
    context.db.execute(f"CREATE TABLE {wide} AS {judged}")
    context.db.execute(f"CREATE VIEW {work} AS SELECT {', '.join(['*', *sent])} FROM {wide}")


def parent_links(
    sync: CompiledSync, upstream: tuple[CompiledSync, ...]
) -> list[tuple[FieldRule, CompiledSync]]:
    """Lookups of a sync that refer to records of a sync diffed before it."""
    links = []
    for rule in sync.rules:
        if rule.reference is None:
            continue
        for parent in upstream:
            key = parent.identity
            if (
                parent.object == rule.reference.parent_object
                and len(key) == 1
                and key[0].field == rule.reference.parent_field
            ):
                links.append((rule, parent))
    return links


def _wait(sync: CompiledSync, context: DiffContext, found: Judged) -> None:
    """Let children wait whose parent cannot be in the org after this run; leaves `waiting:` and `blocked:`."""
    db, blocked = context.db, run_table("blocked", sync.name)
    waiting = run_table("waiting", sync.name)
    db.execute(
        f"CREATE TABLE {waiting} (_key VARCHAR, _op VARCHAR, field VARCHAR, parent_key VARCHAR, parent VARCHAR,"
        " _shown VARCHAR)"
    )
    if not (found.pending or found.bad):
        db.execute(f"CREATE TABLE {blocked} (_key VARCHAR)")
        return
    shown = refusals.shown_identity(sync, refusals.secret_of(sync, context.store), "=", "w.")
    for rule, parent in parent_links(sync, context.upstream):
        key = wire.key_text((rule,), [f"w.{ident(rule.field)}"], context.dialect)
        db.execute(
            f"INSERT INTO {waiting} SELECT w._key, w._op, ?, w.{ident(rule.field)}, ?, {shown}"
            f" FROM {run_table('work', sync.name)} AS w"
            f" WHERE w._code IS NULL AND w._op IN {sql.SENT} AND w.{ident(rule.field)} <> ''"
            f" AND {key} IN (SELECT _key FROM {run_table('blocked', parent.name)})"
            f" AND w._key NOT IN (SELECT _key FROM {run_table('held', sync.name)})"
            f" AND w._key NOT IN (SELECT _key FROM {waiting})",
            [rule.field, parent.name],
        )
    # A record that is neither in the org nor on its way there: what children of this sync wait for.
    gone = "FALSE" if sync.on_gone is OnGone.RECREATE else "w._gone_at IS NOT NULL"
    missing = (
        f"SELECT DISTINCT w._key FROM {run_table('work', sync.name)} AS w"
        f" WHERE w._key IS NOT NULL AND w._op = 'upsert' AND (w._code IS NOT NULL OR {gone}"
        f" OR w._key IN (SELECT _key FROM {run_table('held', sync.name)})"
        f" OR w._key IN (SELECT _key FROM {waiting}))"
    )
    if sync.name in sync.late:
        _wait_for_own(sync, context, missing, shown)
    db.execute(f"CREATE TABLE {blocked} AS {missing}")


def _wait_for_own(sync: CompiledSync, context: DiffContext, missing: str, shown: str) -> None:
    """Children of records of the same sync wait as any others do, and theirs with them, level by level."""
    waiting = run_table("waiting", sync.name)
    for rule, _ in parent_links(sync, (sync,)):
        key = wire.key_text((rule,), [f"w.{ident(rule.field)}"], context.dialect)
        found = (
            f"INSERT INTO {waiting} SELECT w._key, w._op, ?, w.{ident(rule.field)}, ?, {shown}"
            f" FROM {run_table('work', sync.name)} AS w"
            f" WHERE w._code IS NULL AND w._op IN {sql.SENT} AND w.{ident(rule.field)} <> '' AND {key} IN ({missing})"
            f" AND w._key NOT IN (SELECT _key FROM {run_table('held', sync.name)})"
            f" AND w._key NOT IN (SELECT _key FROM {waiting})"
        )
        while context.db.value(found, [rule.field, sync.name]):
            pass
