"""Puts each judged row where the later rooms look for it, and counts what there is of each kind.

Owns:      the tables `upsert:`, `update:`, `delete:` and `fresh:`, and the sums that make a sync's accounting close.
Does not:  judge rows (diff, sql) or say why one is refused, held or waits.
Invariant: a table that gets no row is made by its columns alone: to plan its statement costs more than all else does in a
           run that finds nothing changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sfsync.compiler.manifest import CompiledSync, Mode, OnGone, OnRemoved
from sfsync.diff import aside, repurposed, sql
from sfsync.diff.aside import NOTHING, LeftJob
from sfsync.diff.changes import Changes, DiffContext, Retired
from sfsync.diff.hierarchy import children_first
from sfsync.diff.refusals import delete_digest, secret_of, shown_identity
from sfsync.diff.stage import Staged, run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.duckdb import DuckDB
from sfsync.records import Send
from sfsync.state.rejected import TABLE
from sfsync.state.snapshots import SnapshotInfo

COMPLETING_FROM = 20
"""Updates from which it matters for a guard how many only complete adopted records."""


LEFT_ALONE = ("exists", "no_match", "merged", "converted", "unasked")
"""What a judged row is called that is neither sent nor unchanged; see `Changes`."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How many rows of each kind were judged. What is to be created or updated may still be held, wait or stand aside."""

    upserts: int
    updates: int
    same: int
    pending: int  # good rows that are to be created or updated
    bad: int
    deletes: int  # rows of mode delete, whose record is there
    exists: int
    no_match: int
    merged: int
    converted: int
    unasked: int
    no_key: int  # a key that was refused (too long, say) is bad but not missing; only a missing one could be anybody's


def judged(sync: CompiledSync, db: DuckDB) -> Judged:
    """Count `judged:`."""
    good = "_code IS NULL AND _op"
    sums = (
        *(f"{good} = '{op}'" for op in ("upsert", "update", "none")),
        f"{good} IN {sql.SENT}",
        "_code IS NOT NULL",
        *(f"{good} = '{op}'" for op in ("delete", *LEFT_ALONE)),
        "_key IS NULL AND _code = 'MISSING_ARGUMENT'",
    )
    counts = ", ".join(f"count(*) FILTER (WHERE {one})" for one in sums)
    return Judged(*db.execute(f"SELECT {counts} FROM {run_table('judged', sync.name)}")[0])


def is_held(sync: CompiledSync) -> str:
    """What holds a row: a reason that a person must mend, or too many runs in a row with one that was to pass."""
    worn = f"o.attempts >= {sync.max_attempts}" if sync.max_attempts else "FALSE"
    return f"(NOT o.transient OR {worn})"


@dataclass(frozen=True, slots=True)
class _Split:
    """How many rows the tables have."""

    upserts: int
    updates: int
    fresh: int


def _split(sync: CompiledSync, context: DiffContext, found: Judged) -> _Split:
    """Fill the tables, in the sync's own order; rows with one parent stand together."""
    db, work = context.db, run_table("work", sync.name)
    names = [ident(rule.field) for rule in sync.rules]
    busy = (
        f"_key NOT IN (SELECT _key FROM {run_table('held', sync.name)})"
        f" AND _key NOT IN (SELECT _key FROM {run_table('waiting', sync.name)})"
    )
    parents = [ident(rule.field) for rule in sync.fields if rule.reference is not None]
    own = ["_rank NULLS LAST"] if sync.order_by else []
    order = f" ORDER BY {', '.join([*own, *parents, '_key'])}" if own or parents else ""
    gone = "" if sync.on_gone is OnGone.RECREATE else " AND _gone_at IS NULL"
    shown = shown_identity(sync, secret_of(sync, context.store), "=")
    shape = {"_key": "VARCHAR", '"Id"': "VARCHAR", "_shown": "VARCHAR", "_source_hash": "UBIGINT"}
    picked = {'"Id"': '_record_id AS "Id"', "_shown": f"{shown} AS _shown"}
    picked["_was_gone"] = "_gone_at IS NOT NULL AS _was_gone"
    counts = {}
    for op, some, more, extra in (
        ("upsert", found.upserts, {"_was_gone": "BOOLEAN"}, gone),
        ("update", found.updates, {}, ""),
    ):
        columns = shape | more | dict.fromkeys(names, "VARCHAR")
        query = (
            f"SELECT {', '.join(picked.get(name, name) for name in columns)} FROM {work}"
            f" WHERE _code IS NULL AND _op = '{op}' AND {busy}{extra}{order}"
        )
        table = run_table(sync.making.value if op == "upsert" else op, sync.name)
        counts[op] = _made(db, table, columns, query if some else None)
    query = f"SELECT _key, _source_hash FROM {work} WHERE _code IS NULL AND _op = 'none'"
    hashes = {"_key": "VARCHAR", "_source_hash": "UBIGINT"}
    fresh = _made(db, run_table("fresh", sync.name), hashes, query if found.same else None)
    return _Split(counts["upsert"], counts["update"], fresh)


def _made(db: DuckDB, table: str, columns: dict[str, str], query: str | None) -> int:
    """Make a table out of a query, or empty; how many rows it has."""
    if query is None:
        db.execute(f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
        return 0
    return int(db.value(f"CREATE TABLE {table} AS {query}"))


def block_creates(sync: CompiledSync, db: DuckDB) -> None:
    """Nothing of this sync will be sent: let children wait for every record it would have created."""
    db.execute(
        f"INSERT INTO {run_table('blocked', sync.name)} SELECT _key FROM {run_table(sync.making.value, sync.name)}"
    )


def split(
    sync: CompiledSync,
    staged: Staged,
    info: SnapshotInfo,
    context: DiffContext,
    found: Judged,
    *,
    removed: int,
    jobs: tuple[LeftJob, ...],
) -> Changes:
    """After `refused:`, `held:` and `waiting:`: all other tables, and what is in each of them.

    Args:
        removed: how many rows left the model; jobs: of earlier runs, for which rows stand aside.
    """
    db = context.db
    made = _split(sync, context, found)
    allowed = sync.guards.max_null_keys
    held_back = removed if allowed is not None and found.no_key > allowed else 0
    wanted, held_deletes = _plan_deletes(sync, info, context, removed=removed, held_back=bool(held_back))
    kept_back = aside.count(sync, db, jobs) if jobs else NOTHING
    retired = _retired(sync, db, removed)
    other = repurposed.leave_out(sync, context, info) if wanted > kept_back.deletes else repurposed.NONE
    deletes, adopted = _order_deletes(sync, info, db) if wanted else (0, 0)
    refused, known = _count_refused(sync, db)
    held, worn = _count_held(sync, db)
    waiting = int(db.value(f"SELECT count(*) FROM {run_table('waiting', sync.name)}"))
    kept_back = kept_back.as_removals(retired.submitted, retired.stopped)
    held, updates = held - retired.held, made.updates - retired.retires
    held_deletes += retired.held
    left_out = held_deletes + kept_back.deletes + other.rows + other.unread
    skipped = 0 if sync.on_gone is OnGone.RECREATE or not found.upserts else _count_gone(sync, db)
    alone = {op: getattr(found, op) for op in LEFT_ALONE}
    counts = Changes(
        sync=sync,
        staged=staged.rows,
        snapshot_rows=info.rows,
        null_keys=found.no_key,
        upserts=made.upserts,
        recreated=_recreated(sync, db) if made.upserts and info.tombstones else 0,
        updates=updates,
        updated_fields=_cells(sync, db) - retired.fields if made.updates else 0,
        retires=retired.retires,
        deletes=deletes,
        adopted_deletes=adopted,
        removed_kept=0 if held_back else _removed_kept(sync, removed, retired.retires + deletes + left_out),
        removals_held_back=held_back,
        held_deletes=held_deletes,
        completing=_completing(sync, db, retired) if updates >= COMPLETING_FROM else 0,
        unchanged=0,
        refused=refused,
        refused_again=known,
        held=held + known,
        worn=worn,
        waiting=waiting,
        gone=skipped,
        gone_stops=skipped if sync.on_gone is OnGone.STOP else 0,
        fresh=made.fresh,
        aside=kept_back,
        conflicts=other.rows,
        conflict_samples=other.samples,
        unread=other.unread,
        **alone,
    )
    busy = made.upserts + updates + refused + known + held + waiting + skipped + kept_back.rows
    own = deletes + left_out if sync.mode is Mode.DELETE else 0
    return replace(counts, unchanged=staged.rows - busy - own - sum(alone.values()))


def _removed_kept(sync: CompiledSync, removed: int, acted_on: int) -> int:
    """Rows that left the model and stay in the org; in mode delete it is the model's own rows that are acted on."""
    return removed if sync.mode is Mode.DELETE else removed - acted_on


def _count_refused(sync: CompiledSync, db: DuckDB) -> tuple[int, int]:
    """Refused by sfsync newly, and as before."""
    refused = run_table("refused", sync.name)
    return db.execute(
        f"SELECT count(*) FILTER (WHERE NOT known), count(*) FILTER (WHERE known) FROM {refused}"
    )[0]


def _count_held(sync: CompiledSync, db: DuckDB) -> tuple[int, int]:
    held = run_table("held", sync.name)
    return db.execute(f"SELECT count(*), count(*) FILTER (WHERE _worn) FROM {held}")[0]


def _recreated(sync: CompiledSync, db: DuckDB) -> int:
    return int(db.value(f"SELECT count(*) FROM {run_table(sync.making.value, sync.name)} WHERE _was_gone"))


def _cells(sync: CompiledSync, db: DuckDB) -> int:
    cells = (
        " + ".join(f"count({ident(r.field)})" for r in sync.fields if r.on_update is not Send.NEVER) or "0"
    )
    return int(db.value(f"SELECT {cells} FROM {run_table('update', sync.name)}"))


def _count_gone(sync: CompiledSync, db: DuckDB) -> int:
    """Staged rows whose record is known to be gone and not to be made again."""
    busy = f"SELECT _key FROM {run_table('held', sync.name)} UNION ALL SELECT _key FROM {run_table('waiting', sync.name)}"
    return int(
        db.value(
            f"SELECT count(*) FROM {run_table('work', sync.name)} WHERE _gone_at IS NOT NULL AND _code IS NULL"
            f" AND _op = 'upsert' AND _key NOT IN ({busy})"
        )
    )


def _retired(sync: CompiledSync, db: DuckDB, removed: int) -> Retired:
    """What became of records that are set aside, which are judged rows like any other."""
    if sync.on_removed is not OnRemoved.SET or not removed:
        return Retired()
    from sfsync.diff import retire  # most syncs do without

    return retire.count(sync, db)


def _completing(sync: CompiledSync, db: DuckDB, retired: Retired) -> int:
    """How many updates only complete records: clear what adopting left open, or send what had no answer again."""
    pairs = [(ident(rule.field), ident(rule.field + "@")) for rule in sync.fields]
    clears = " AND ".join(f"({new} IS NULL OR ({new} = '' AND {old} IS NULL))" for new, old in pairs)
    fills = " AND ".join(f"({new} IS NULL OR {old} IS NULL)" for new, old in pairs)
    rows = run_table("update", sync.name)
    if retired.retires:
        rows = (
            f"(SELECT * FROM {rows} WHERE _key NOT IN (SELECT _key FROM {run_table('removed', sync.name)}))"
        )
    return int(
        db.value(
            f"SELECT count(*) FROM {run_table('work', sync.name)} AS w"
            f" WHERE ((_origin = 'adopted' AND ({clears} OR _open)) OR (_open AND {fills}))"
            f" AND _key IN (SELECT _key FROM {rows} AS u)"
        )
    )


def _plan_deletes(
    sync: CompiledSync, info: SnapshotInfo, context: DiffContext, *, removed: int, held_back: bool
) -> tuple[int, int]:
    """Leave `delete:`; return how many, and how many more are held."""
    db = context.db
    table = run_table("delete", sync.name)
    secret = secret_of(sync, context.store)
    wanted, order = None, "s._key"
    if sync.mode is Mode.DELETE:
        order = "s._rank NULLS LAST, s._key" if sync.order_by else order
        shown = shown_identity(sync, secret, "=", "s.")
        wanted = (
            f"FROM (SELECT *, _record_id AS _id FROM {run_table('work', sync.name)}) AS s"
            " WHERE s._code IS NULL AND s._op = 'delete'"
        )
    elif sync.deletes and removed and not held_back:
        shown = shown_identity(sync, secret, "", "s.")
        mine = " AND s._origin <> 'converted'" if sync.delete_adopted else " AND s._origin = 'created'"
        gone = run_table("removed", sync.name)
        wanted = (
            f"FROM {sql.known_rows(info.table, gone, context.dialect)} AS s WHERE s._gone_at IS NULL{mine}"
        )
    if wanted is None:
        db.execute(f'CREATE TABLE {table} (_key VARCHAR, "Id" VARCHAR, _shown VARCHAR, _origin VARCHAR)')
        return 0, 0
    held = (
        f"SELECT o.key FROM {TABLE} AS o WHERE o.sync = ? AND o.decided_by = 'org' AND {is_held(sync)}"
        f" AND NOT o.released AND o.last_at > ? AND o.digest = {delete_digest('o.key')}"
    )
    since = context.store.clock.now() - timedelta(seconds=sync.retry_rejected_after_s)
    made = db.value(
        f'CREATE TABLE {table} AS SELECT s._key, s._id AS "Id", {shown} AS _shown,'
        f" s._origin {wanted} AND s._key NOT IN ({held}) ORDER BY {order}",
        [sync.name, since],
    )
    return int(made), int(db.value(f"SELECT count(*) {wanted}")) - int(made)


def _order_deletes(sync: CompiledSync, info: SnapshotInfo, db: DuckDB) -> tuple[int, int]:
    """How many records would be deleted, and how many of them sfsync did not create; children first."""
    table = run_table("delete", sync.name)
    total, adopted = db.execute(
        f"SELECT count(*), count(*) FILTER (WHERE _origin <> 'created') FROM {table}"
    )[0]
    if total > 1 and sync.mode is not Mode.DELETE:
        children_first(sync, db, info.table)
    return int(total), int(adopted)
