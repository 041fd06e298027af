"""Staged rows against the snapshot: what to create, update and delete, and which rows are refused.

Owns:      the two steps (candidates by hash, then truth by text), double and null keys, held rows, children that wait,
           and the tables of the run's file that everything later reads.
Does not:  price, pack or send; words and SQL shapes stand in messages and sql.
Invariant: every staged row is in exactly one of upsert, update, refused, held, waiting, gone, unchanged, or stands aside.

Tables made in the run's file, per sync: `work:<sync>` (every candidate, as judged: `field=` is its whole text, `field@`
what the org acknowledged), `upsert:<sync>` and `update:<sync>` (`_key, Id, _shown, _source_hash`, the text of each rule,
NULL = not sent), `delete:<sync>` (`_key, Id, _shown, _origin`), `fresh:<sync>` (`_key, _source_hash` of rows found
unchanged), `refused:<sync>` (state.rejected's INCOMING and `known`), `waiting:<sync>`, `blocked:<sync>`.
Their rowids count from 0 without holes: they are the ordinals of batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync, OnGone, OnRemoved
from sfsync.diff import aside, refusals, sql
from sfsync.diff.aside import NOTHING, KeptBack, LeftJob
from sfsync.diff.stage import Staged, run_table
from sfsync.engine.dialect import Dialect
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.duckdb import DuckDB
from sfsync.records import FieldRule, Send
from sfsync.state.rejected import TABLE
from sfsync.state.snapshots import SnapshotInfo
from sfsync.state.store import StateStore

COMPLETING_FROM = 20
"""Updates from which it matters for a guard how many only complete adopted records."""

KNOWN_ROW_BYTES = 160
"""What a record takes in the join of step one, at most: measured 80 to 120 with keys of 10 characters; UUIDs have 36."""

FEW_CANDIDATES = 100_000
"""Up to here, candidates are read again without asking what share of the rows they are."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the diff of one sync found; rows stand in the run's file."""

    sync: CompiledSync
    staged: int
    snapshot_rows: int
    null_keys: int
    upserts: int  # new to sfsync: create or adopt
    recreated: int  # of them: records that were gone
    updates: int
    updated_fields: int  # cells
    deletes: int
    adopted_deletes: int  # of them: records sfsync did not create
    removed_kept: int  # rows that left the model and stay in the org
    removals_held_back: int  # because of null keys
    held_deletes: int  # the org refused them before, and nothing changed since
    completing: int  # of the updates: they only send what is not known of adopted or recovered records
    unchanged: int
    refused: int  # by sfsync, newly
    held: int
    worn: int  # of the held: failed for passing reasons in too many runs in a row
    waiting: int
    gone: int  # known to be gone and skipped
    gone_stops: int  # known to be gone where the sync stops
    undeletes: int = 0  # that taking a run back brings out of the recycle bin
    aside: KeptBack = NOTHING  # for jobs of earlier runs


@dataclass(frozen=True, slots=True)
class DiffContext:
    """What every sync's diff is handed."""

    db: DuckDB
    store: StateStore
    dialect: Dialect  # of the engine that runs the diff
    upstream: tuple[CompiledSync, ...]  # syncs diffed before this one
    memory: int  # bytes that the join of step one may hold before it spills
    away: tuple[LeftJob, ...] = ()  # of syncs that are not in the project


def diff_sync(sync: CompiledSync, staged: Staged, info: SnapshotInfo, context: DiffContext) -> Changes:
    """Compare one sync's staged rows with its snapshot and leave the result in the run's file."""
    table = info.table if info.exists and (info.rows or info.tombstones) else None
    removed = _find_candidates(sync, staged, info if table is not None else None, context)
    _judge(sync, staged, table, info, context)
    return judged_to_changes(sync, staged, info, context, removed=removed)


def judged_to_changes(
    sync: CompiledSync, staged: Staged, info: SnapshotInfo, context: DiffContext, *, removed: int
) -> Changes:
    """What follows from `judged:`, `work:` and `removed:`: refusals, held and waiting rows, and what is to be sent."""
    refusals.find_doubles(sync, context.db)
    refusals.refuse(sync, context.db, context.store)
    _hold(sync, context)
    _wait(sync, context)
    if jobs := aside.find(sync, context.db, context.store, context.away):
        aside.set_aside(sync, context.db, jobs)
    _split(sync, context)
    return _count(sync, staged, info, context, removed=removed, jobs=jobs)


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
    sync: CompiledSync, staged: Staged, table: str | None, info: SnapshotInfo, context: DiffContext
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
    rows = staged.relation if table is None else candidate
    if staged.projected:
        projected = f"SELECT * FROM {rows} AS t"
        if table is not None:
            projected += " WHERE _key IS NOT NULL OR _known_key IS NULL"
    elif table is None:
        projected = sql.projection(sync, rows, dialect)
    else:
        projected = sql.project_candidates(sync, rows, dialect)
    # Without a snapshot all rows are creates, and what a create sends follows from the whole text: a text is written once.
    sent = () if table is not None else sql.sent_on_create(sync)
    judged = sql.judged(sync, projected, known, info.fields, stored=not sent)
    context.db.execute(f"CREATE TABLE {wide} AS {judged}")
    context.db.execute(f"CREATE VIEW {work} AS SELECT {', '.join(['*', *sent])} FROM {wide}")


def _hold(sync: CompiledSync, context: DiffContext) -> None:
    """Keep back rows the org refused before in exactly this form; leaves `held:` (keys)."""
    db, work = context.db, run_table("work", sync.name)
    since = timedelta(seconds=sync.retry_rejected_after_s)
    db.execute(
        f"CREATE TABLE {run_table('held', sync.name)} AS SELECT w._key, w._op, o.transient AS _worn FROM {work} AS w"
        f" JOIN {TABLE} AS o ON o.sync = ? AND o.key = w._key"
        f" WHERE o.decided_by = 'org' AND {_is_held(sync)} AND NOT o.released AND o.last_at > ?"
        f" AND w._code IS NULL AND w._op <> 'none' AND o.digest = {refusals.digest_sql(sync, 'w')}",
        [sync.name, context.store.clock.now() - since],
    )


def _is_held(sync: CompiledSync) -> str:
    """What holds a row: a reason that a person must mend, or too many runs in a row with one that was to pass."""
    worn = f"o.attempts >= {sync.max_attempts}" if sync.max_attempts else "FALSE"
    return f"(NOT o.transient OR {worn})"


def parent_links(
    sync: CompiledSync, upstream: tuple[CompiledSync, ...]
) -> list[tuple[FieldRule, CompiledSync]]:
    """Lookups of a sync that refer to records of a sync diffed before it."""
    links = []
    for rule in sync.fields:
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


def _wait(sync: CompiledSync, context: DiffContext) -> None:
    """Let children wait whose parent cannot be in the org after this run; leaves `waiting:` and `blocked:`."""
    db = context.db
    waiting = run_table("waiting", sync.name)
    db.execute(
        f"CREATE TABLE {waiting} (_key VARCHAR, _op VARCHAR, field VARCHAR, parent_key VARCHAR, parent VARCHAR,"
        " _shown VARCHAR)"
    )
    shown = shown_identity(sync, refusals.secret_of(sync, context.store), "=", "w.")
    for rule, parent in parent_links(sync, context.upstream):
        key = wire.key_text((rule,), [f"w.{ident(rule.field)}"], context.dialect)
        db.execute(
            f"INSERT INTO {waiting} SELECT w._key, w._op, ?, w.{ident(rule.field)}, ?, {shown}"
            f" FROM {run_table('work', sync.name)} AS w"
            f" WHERE w._code IS NULL AND w._op <> 'none' AND w.{ident(rule.field)} <> ''"
            f" AND {key} IN (SELECT _key FROM {run_table('blocked', parent.name)})"
            f" AND w._key NOT IN (SELECT _key FROM {run_table('held', sync.name)})"
            f" AND w._key NOT IN (SELECT _key FROM {waiting})",
            [rule.field, parent.name],
        )
    # A record that is neither in the org nor on its way there: what children of this sync wait for.
    gone = "FALSE" if sync.on_gone is OnGone.RECREATE else "w._gone_at IS NOT NULL"
    db.execute(
        f"CREATE TABLE {run_table('blocked', sync.name)} AS SELECT DISTINCT w._key FROM {run_table('work', sync.name)} AS w"
        f" WHERE w._key IS NOT NULL AND w._op = 'upsert' AND (w._code IS NOT NULL OR {gone}"
        f" OR w._key IN (SELECT _key FROM {run_table('held', sync.name)})"
        f" OR w._key IN (SELECT _key FROM {waiting}))"
    )


def block_creates(sync: CompiledSync, db: DuckDB) -> None:
    """Nothing of this sync will be sent: let children wait for every record it would have created."""
    db.execute(
        f"INSERT INTO {run_table('blocked', sync.name)} SELECT _key FROM {run_table('upsert', sync.name)}"
    )


def _split(sync: CompiledSync, context: DiffContext) -> None:
    """Put each judged row where the later rooms look for it; rows with one parent stand together."""
    db, work = context.db, run_table("work", sync.name)
    texts = ", ".join(ident(rule.field) for rule in sync.rules)
    busy = (
        f"_key NOT IN (SELECT _key FROM {run_table('held', sync.name)})"
        f" AND _key NOT IN (SELECT _key FROM {run_table('waiting', sync.name)})"
    )
    parents = [ident(rule.field) for rule in sync.fields if rule.reference is not None]
    order = f" ORDER BY {', '.join([*parents, '_key'])}" if parents else ""
    gone = "" if sync.on_gone is OnGone.RECREATE else " AND _gone_at IS NULL"
    for op, more, extra in (
        ("upsert", "_gone_at IS NOT NULL AS _was_gone,", gone),
        ("update", "", ""),
    ):
        db.execute(
            f'CREATE TABLE {run_table(op, sync.name)} AS SELECT _key, _record_id AS "Id", {shown_identity(sync, refusals.secret_of(sync, context.store), "=")} AS _shown, _source_hash,'
            f" {more} {texts} FROM {work}"
            f" WHERE _code IS NULL AND _op = '{op}' AND {busy}{extra}{order}"
        )
    db.execute(
        f"CREATE TABLE {run_table('fresh', sync.name)} AS"
        f" SELECT _key, _source_hash FROM {work} WHERE _code IS NULL AND _op = 'none'"
    )


def shown_identity(sync: CompiledSync, secret: str, mark: str, alias: str = "") -> str:
    """The identity as people know it, before folding: the text of one field, else the key; a digest when it is pii."""
    text = f"{alias}_key"
    if len(sync.identity) == 1:
        text = f"{alias}{ident(sync.identity[0].field + mark)}"
    if any(rule.pii for rule in sync.identity):
        return refusals.keyed_digest(secret, f"{alias}_key")
    return text


def _count(
    sync: CompiledSync,
    staged: Staged,
    info: SnapshotInfo,
    context: DiffContext,
    *,
    removed: int,
    jobs: tuple[LeftJob, ...],
) -> Changes:
    db = context.db
    work = run_table("work", sync.name)
    # A key that was refused (too long, say) is bad but not missing; only a missing one could be anybody's.
    null_keys = int(
        db.value(f"SELECT count(*) FROM {work} WHERE _key IS NULL AND _code = 'MISSING_ARGUMENT'")
    )
    allowed = sync.guards.max_null_keys
    held_back = removed if allowed is not None and null_keys > allowed else 0
    deletes, adopted, held_deletes = _plan_deletes(
        sync, info, context, removed=removed, held_back=bool(held_back)
    )
    kept_back = aside.count(sync, db, jobs) if jobs else NOTHING
    if kept_back.deletes:
        deletes, adopted = _count_deletes(sync, db)
    upserts, recreated = db.execute(
        f"SELECT count(*), count(*) FILTER (WHERE _was_gone) FROM {run_table('upsert', sync.name)}"
    )[0]
    cells = (
        " + ".join(f"count({ident(r.field)})" for r in sync.fields if r.on_update is not Send.NEVER) or "0"
    )
    updates, fields = db.execute(f"SELECT count(*), {cells} FROM {run_table('update', sync.name)}")[0]
    refused, known = db.execute(
        f"SELECT count(*) FILTER (WHERE NOT known), count(*) FILTER (WHERE known) FROM {run_table('refused', sync.name)}"
    )[0]
    held, worn = db.execute(
        f"SELECT count(*), count(*) FILTER (WHERE _worn) FROM {run_table('held', sync.name)}"
    )[0]
    waiting = int(db.value(f"SELECT count(*) FROM {run_table('waiting', sync.name)}"))
    gone = 0 if sync.on_gone is OnGone.RECREATE else _count_gone(sync, db)
    counts = Changes(
        sync=sync,
        staged=staged.rows,
        snapshot_rows=info.rows,
        null_keys=null_keys,
        upserts=upserts,
        recreated=recreated,
        updates=updates,
        updated_fields=fields,
        deletes=deletes,
        adopted_deletes=adopted,
        removed_kept=removed - deletes - held_deletes - kept_back.deletes if not held_back else 0,
        removals_held_back=held_back,
        held_deletes=held_deletes,
        completing=_completing(sync, db) if updates >= COMPLETING_FROM else 0,
        unchanged=0,
        refused=refused,
        held=held + known,
        worn=worn,
        waiting=waiting,
        gone=gone,
        gone_stops=gone if sync.on_gone is OnGone.STOP else 0,
        aside=kept_back,
    )
    busy = upserts + updates + refused + known + held + waiting + gone + kept_back.rows
    return replace(counts, unchanged=staged.rows - busy)


def _count_gone(sync: CompiledSync, db: DuckDB) -> int:
    """Staged rows whose record is known to be gone and not to be made again."""
    busy = f"SELECT _key FROM {run_table('held', sync.name)} UNION ALL SELECT _key FROM {run_table('waiting', sync.name)}"
    return int(
        db.value(
            f"SELECT count(*) FROM {run_table('work', sync.name)} WHERE _gone_at IS NOT NULL AND _code IS NULL"
            f" AND _op = 'upsert' AND _key NOT IN ({busy})"
        )
    )


def _completing(sync: CompiledSync, db: DuckDB) -> int:
    """How many updates only complete records: clear what adopting left open, or send what had no answer again."""
    pairs = [(ident(rule.field), ident(rule.field + "@")) for rule in sync.fields]
    clears = " AND ".join(f"({new} IS NULL OR ({new} = '' AND {old} IS NULL))" for new, old in pairs)
    fills = " AND ".join(f"({new} IS NULL OR {old} IS NULL)" for new, old in pairs)
    return int(
        db.value(
            f"SELECT count(*) FROM {run_table('work', sync.name)} AS w"
            f" WHERE ((_origin = 'adopted' AND {clears}) OR (_open AND {fills}))"
            f" AND _key IN (SELECT _key FROM {run_table('update', sync.name)} AS u)"
        )
    )


def _plan_deletes(
    sync: CompiledSync, info: SnapshotInfo, context: DiffContext, *, removed: int, held_back: bool
) -> tuple[int, int, int]:
    """Leave `delete:`; return how many, how many of them sfsync did not create, and how many are held."""
    db = context.db
    table = run_table("delete", sync.name)
    if sync.on_removed is not OnRemoved.DELETE or held_back or not removed:
        db.execute(f'CREATE TABLE {table} (_key VARCHAR, "Id" VARCHAR, _shown VARCHAR, _origin VARCHAR)')
        return 0, 0, 0
    mine = "" if sync.delete_adopted else " AND s._origin = 'created'"
    wanted = f"FROM {sql.known_rows(info.table, run_table('removed', sync.name), context.dialect)} AS s WHERE s._gone_at IS NULL{mine}"
    held = (
        f"SELECT o.key FROM {TABLE} AS o WHERE o.sync = ? AND o.decided_by = 'org' AND {_is_held(sync)}"
        f" AND NOT o.released AND o.last_at > ? AND o.digest = {refusals.delete_digest('o.key')}"
    )
    since = context.store.clock.now() - timedelta(seconds=sync.retry_rejected_after_s)
    db.execute(
        f'CREATE TABLE {table} AS SELECT s._key, s._id AS "Id", {shown_identity(sync, refusals.secret_of(sync, context.store), "", "s.")} AS _shown,'
        f" s._origin {wanted} AND s._key NOT IN ({held}) ORDER BY s._key",
        [sync.name, since],
    )
    total, adopted = _count_deletes(sync, db)
    return total, adopted, int(db.value(f"SELECT count(*) {wanted}")) - total


def _count_deletes(sync: CompiledSync, db: DuckDB) -> tuple[int, int]:
    """How many records would be deleted, and how many of them sfsync did not create."""
    table = run_table("delete", sync.name)
    total, adopted = db.execute(
        f"SELECT count(*), count(*) FILTER (WHERE _origin <> 'created') FROM {table}"
    )[0]
    return int(total), int(adopted)
