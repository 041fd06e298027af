"""The way back: what would take a run's changes out of the org again, in the tables that every diff leaves.

Owns:      which of a run's changes can be taken back, and the rows that do it.
Does not:  keep what was changed (state/undo), price or send.
Invariant: only what still is as the run left it is touched: a field that was changed since, or a record that is not the
           one the run wrote, stays as it is and is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sfsync.compiler import wire
from sfsync.compiler.manifest import CompiledSync, OnRemoved
from sfsync.diff import matching, sql
from sfsync.diff.changes import Changes, DiffContext
from sfsync.diff.diff import judged_to_changes
from sfsync.diff.refusals import secret_of, shown_identity
from sfsync.diff.stage import Staged, run_table
from sfsync.engine.dialect import DUCKDB
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.records import FieldRule, Send
from sfsync.state import undo
from sfsync.state.snapshots import SnapshotInfo
from sfsync.state.undo import TABLE

BIN_DAYS = 15
"""How long a deleted record can be brought back, at most: a full bin loses the oldest earlier.

Source: Salesforce Help, "Recycle Bin".
"""

_made = "(operation = 'undelete' OR (operation = 'create' AND _origin = 'created'))"
"""Lines of records that the org has because of the run."""

_written = "(operation = 'update' OR (operation = 'adopt' AND texts IS NOT NULL))"
"""Lines of records whose fields the run wrote, and of which is known what stood there before."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """What of a run's changes stays."""

    adopted: int  # records the run adopted: what stood there before, nobody knows
    missing: int  # changed or made by the run, and since deleted, or made anew
    moved: int  # cells that were changed again since
    unknown: int  # cells of which nobody knows what stood there before
    unmapped: tuple[str, ...]  # fields the sync no longer writes
    remade: int  # deleted by the run, and made anew by taking it back
    taken: int  # deleted by the run, and another record has the key by now
    masked: int  # cells of masked fields that the run wrote
    masked_fields: tuple[str, ...]  # what of them the sync has


def undo_sync(
    sync: CompiledSync, info: SnapshotInfo, context: DiffContext, run_id: str
) -> tuple[Changes, Leftover]:
    """Compare what a run left with what stands there now, and leave the way back in the run's file."""
    db = context.db
    lines, judged = run_table("undone", sync.name), run_table("judged", sync.name)
    db.execute(
        f"CREATE TABLE {lines} AS SELECT operation, key AS _key, id AS _record_id, CAST(texts AS JSON) AS texts,"
        f" {DUCKDB.row_id} AS _n FROM {TABLE} WHERE run_id = ? AND sync = ?",
        [run_id, sync.name],
    )
    _make_one_of_two(lines, context)
    standing = (
        f"SELECT u.operation, u.texts, s.*, s.{DUCKDB.row_id} AS _row FROM {lines} AS u"
        f" JOIN {info.table} AS s ON s._id = u._record_id WHERE s._gone_at IS NULL"
    )
    db.execute(f"CREATE TABLE {judged} ({sql.judged_shape(sync)})")
    db.execute(f"INSERT INTO {judged} BY NAME {_restored(sync, standing, info.fields)}")
    in_bin = _in_bin(context, run_id)
    db.execute(f"INSERT INTO {judged} BY NAME {_brought_back(sync, lines, info.table, in_bin)}")
    db.execute(f"INSERT INTO {judged} BY NAME {_remade(sync, lines, info.table, in_bin)}")
    made_meanwhile = _made_meanwhile(sync, context)
    db.execute(f"CREATE VIEW {run_table('work', sync.name)} AS SELECT * FROM {judged}")
    db.execute(
        f"CREATE TABLE {run_table('removed', sync.name)} AS SELECT _key, _row AS _known_row"
        f" FROM ({standing}) AS m WHERE {_made}"
    )
    removed = int(db.value(f"SELECT count(*) FROM {run_table('removed', sync.name)}"))
    rows = int(db.value(f"SELECT count(*) FROM {lines} WHERE operation NOT IN ('create', 'undelete')"))
    deleting = replace(sync, on_removed=OnRemoved.DELETE, delete_adopted=True)
    changes = judged_to_changes(deleting, Staged(judged, True, rows), info, context, removed=removed)
    undeletes = _split_undeletes(sync, context)
    # What a run made is deleted into the bin, whatever the sync says of rows that left the model.
    soft = replace(sync, on_removed=OnRemoved.DELETE) if sync.erases else sync
    if sync.removal.archive:  # what is deleted here did not leave the model
        soft = replace(soft, removal=replace(sync.removal, archive=False))
    changes = replace(
        changes, sync=soft, completing=0, undeletes=undeletes, unchanged=changes.unchanged - undeletes
    )
    left = _leftover(sync, lines, standing, info, context)
    return changes, replace(left, taken=left.taken + made_meanwhile)


def _make_one_of_two(lines: str, context: DiffContext) -> None:
    """A run that first read what an earlier one's job had done may have written a record twice: one line for it."""
    db = context.db
    twice = (
        f"SELECT _record_id FROM {lines} WHERE _record_id IS NOT NULL GROUP BY _record_id HAVING count(*) > 1"
    )
    if not db.value(f"SELECT EXISTS ({twice})"):
        return
    # What was written to a record that the run made goes with it.
    db.execute(
        f"DELETE FROM {lines} WHERE operation IN ('update', 'adopt')"
        f" AND _record_id IN (SELECT _record_id FROM {lines} WHERE operation IN ('create', 'undelete'))"
    )
    # Of each field, what stood there first, and what was sent last.
    written = f"SELECT * FROM {lines} WHERE operation IN ('update', 'adopt') AND texts IS NOT NULL AND _record_id IN ({twice})"
    cells = (
        "SELECT _record_id, f, arg_min(json_extract(texts, '$.\"' || f || '\"[0]'), _n) AS before,"
        " arg_max(json_extract(texts, '$.\"' || f || '\"[1]'), _n) AS after"
        f" FROM (SELECT *, unnest(json_keys(texts)) AS f FROM ({written}) AS w) AS c GROUP BY ALL"
    )
    whole = f"SELECT _record_id, json_group_object(f, json_array(before, after)) AS texts FROM ({cells}) AS t GROUP BY ALL"
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE sfsync_whole AS SELECT arg_min(w.operation, w._n) AS operation,"
        f" arg_max(w._key, w._n) AS _key, w._record_id, any_value(t.texts) AS texts, max(w._n) AS _n"
        f" FROM ({written}) AS w JOIN ({whole}) AS t ON t._record_id = w._record_id GROUP BY w._record_id"
    )
    db.execute(
        f"DELETE FROM {lines} WHERE operation IN ('update', 'adopt') AND texts IS NOT NULL"
        " AND _record_id IN (SELECT _record_id FROM sfsync_whole)"
    )
    db.execute(f"INSERT INTO {lines} BY NAME SELECT * FROM sfsync_whole")
    db.execute("DROP TABLE sfsync_whole")


def _in_bin(context: DiffContext, run_id: str) -> bool:
    """Whether what a run deleted can be in the org's recycle bin still."""
    began = undo.began(context.store, run_id)
    return began is None or context.store.clock.now() - began < timedelta(days=BIN_DAYS)


def _split_undeletes(sync: CompiledSync, context: DiffContext) -> int:
    """Leave `undelete:`, as the other tables of what is to be sent, where there is something to bring back; how many."""
    db, work = context.db, run_table("work", sync.name)
    where = (
        f"_code IS NULL AND _op = 'undelete' AND _key NOT IN (SELECT _key FROM {run_table('held', sync.name)})"
        f" AND _key NOT IN (SELECT _key FROM {run_table('waiting', sync.name)})"
    )
    found = int(db.value(f"SELECT count(*) FROM {work} WHERE {where}"))
    if found:
        shown = shown_identity(sync, secret_of(sync, context.store), "=")
        texts = ", ".join(ident(rule.field) for rule in sync.rules)
        db.execute(
            f'CREATE TABLE {run_table("undelete", sync.name)} AS SELECT _key, _record_id AS "Id", {shown} AS _shown,'
            f" _source_hash, _origin, {texts} FROM {work} WHERE {where} ORDER BY _key"
        )
    return found


def _texts(rule: FieldRule) -> tuple[str, str]:
    """SQL of what stood in a field before the run, and of what the run sent; of the latter, NULL: it was not sent."""
    before, after = (f"json_extract_string(texts, {literal(f'$.{rule.field}[{n}]')})" for n in (0, 1))
    return before, after


def _undone_rules(sync: CompiledSync, have: frozenset[str]) -> list[FieldRule]:
    return [r for r in sync.fields if r.on_update is not Send.NEVER and r.field in have and not r.pii]


def _restored(sync: CompiledSync, standing: str, have: frozenset[str]) -> str:
    """Judged rows of the updates that put back what stood there before."""
    columns, undone, back = [], _undone_rules(sync, have), dict(sync.removal.on_return)
    for rule in sync.fields:
        name, sent = ident(rule.field), "CAST(NULL AS VARCHAR)"
        if rule in undone:
            before, after = _texts(rule)
            if rule.field in back:  # what stood there first is not known: what the row's return would set
                before = f"coalesce({before}, {literal(back[rule.field])})"
            fits = f"{before} IS DISTINCT FROM {name} AND {name} IS NOT DISTINCT FROM {after}"
            if not rule.nillable:
                fits += f" AND {before} <> ''"
            sent = f"CASE WHEN {fits} THEN {before} END"
        columns.append((rule, name if rule.field in have else "CAST(NULL AS VARCHAR)", sent))
    texts = ", ".join(
        f"{known} AS {ident(rule.field + '@')}, {sent} AS {ident(rule.field + '~')}"
        for rule, known, sent in columns
    )
    keys = ", ".join(
        f"{ident(rule.field)} AS {ident(rule.field + mark)}" for rule in sync.identity for mark in ("=", "@")
    )
    inner = (
        f"SELECT _key, _id AS _record_id, _origin, {keys}, {texts} FROM ({standing}) AS m WHERE {_written}"
    )
    whole = ", ".join(
        f"coalesce({ident(f + '~')}, {ident(f + '@')}) AS {ident(f + '=')}, {ident(f + '~')} AS {ident(f)},"
        f" {ident(f + '@')}"
        for f in (rule.field for rule in sync.fields)
    )
    keys = ", ".join(ident(rule.field + mark) for rule in sync.identity for mark in ("=", "@"))
    any_text = " OR ".join(f"{ident(rule.field + '~')} IS NOT NULL" for rule in sync.fields) or "FALSE"
    return (
        f"SELECT _key, _record_id, _origin, 'update' AS _op, FALSE AS _open, {keys}, {whole}"
        f" FROM ({inner}) AS i WHERE {any_text}"
    )


def deleted_rows(sync: CompiledSync, lines: str) -> str:
    """SELECT of what is known of deleted records: `_key, _record_id, _origin, operation`, and as "Field=" each text.

    lines: a relation of undo lines. The key is made anew of the texts: the sync may have got another identity since.
    """
    kept = {rule.field for rule in sync.rules if rule in sync.identity or not rule.pii}
    whole = ", ".join(
        f"{_member(rule.field) if rule.field in kept else 'NULL::VARCHAR'} AS {ident(rule.field + '=')}"
        for rule in sync.rules
    )
    key = wire.key_text(sync.identity, [ident(rule.field + "=") for rule in sync.identity], DUCKDB)
    inner = (
        f"SELECT operation, _record_id, coalesce({_member(undo.ORIGIN)}, 'adopted') AS _origin, {whole}"
        f" FROM {lines} AS u WHERE operation IN ('delete', 'lost')"
    )
    return f"SELECT {key} AS _key, * FROM ({inner}) AS t"


def _member(name: str) -> str:
    return f"json_extract_string(texts, {literal('$.' + name)})"


def _free(snapshot: str) -> str:
    """SQL condition of deleted records in whose place there is no other."""
    return f"_key IS NOT NULL AND _key NOT IN (SELECT _key FROM {snapshot} WHERE _gone_at IS NULL)"


def _brought_back(sync: CompiledSync, lines: str, snapshot: str, in_bin: bool) -> str:
    """Judged rows of what can come out of the recycle bin."""
    texts = ", ".join(f"{ident(rule.field + '=')} AS {ident(rule.field)}" for rule in sync.rules)
    return (
        f"SELECT * EXCLUDE (operation), 'undelete' AS _op, FALSE AS _open, {texts} FROM ({deleted_rows(sync, lines)}) AS d"
        f" WHERE {in_bin} AND operation = 'delete' AND {_free(snapshot)}"
    )


def _remade(sync: CompiledSync, lines: str, snapshot: str, in_bin: bool) -> str:
    """Judged rows of creates in place of what is no longer in the bin."""
    sent = ", ".join(sql.sent_on_create(sync))
    return (
        f"SELECT * EXCLUDE (operation, _record_id, _origin), 'upsert' AS _op, {sent} FROM ({deleted_rows(sync, lines)}) AS d"
        f" WHERE (NOT {in_bin} OR operation = 'lost') AND {_free(snapshot)}"
    )


def _made_meanwhile(sync: CompiledSync, context: DiffContext) -> int:
    """Leave out what would be made anew where the org has another record of the key by now; how many rows.

    A plain create would make a second one, and an upsert would write what stood in the deleted one into it. Where nobody
    can be asked, nothing is made.
    """
    db, judged = context.db, run_table("judged", sync.name)
    if context.match is None or not sync.match:
        return 0
    unknown, found = run_table("unknown", sync.name), matching.table_of(sync)
    # Without the Ids: a record that a deleted one was merged into is not what this run has deleted.
    if not db.value(
        f"CREATE TABLE {unknown} AS SELECT DISTINCT _key, NULL::VARCHAR AS _record_id FROM {judged} WHERE _op = 'upsert'"
    ):
        return 0
    count = context.match(sync, unknown, found)
    if count is None:
        db.execute(f"UPDATE {judged} SET _op = 'unasked' WHERE _op = 'upsert'")
    if not count:
        return 0
    return len(
        db.execute(
            f"DELETE FROM {judged} WHERE _op = 'upsert' AND _key IN (SELECT _key FROM {found}) RETURNING 1"
        )
    )


def _leftover(
    sync: CompiledSync, lines: str, standing: str, info: SnapshotInfo, context: DiffContext
) -> Leftover:
    rules = _undone_rules(sync, info.fields)
    pairs = [(ident(rule.field), *_texts(rule)) for rule in rules]
    moved = [f"({after} IS NOT NULL AND {now} IS DISTINCT FROM {after})" for now, _, after in pairs]
    back = {ident(field) for field, _ in sync.removal.on_return}
    unknown = [
        f"({after} IS NOT NULL AND {before} IS NULL)" for name, before, after in pairs if name not in back
    ]
    sums = ", ".join(
        f"coalesce(sum({' + '.join(f'CAST({one} AS INTEGER)' for one in part) or '0'}), 0)"
        for part in (moved, unknown)
    )
    cells_moved, cells_unknown = context.db.execute(f"SELECT {sums} FROM ({standing}) AS m WHERE {_written}")[
        0
    ]
    there = f"(operation IN ('create', 'undelete') OR {_written})"
    total, standing_now, adopted, deleted = context.db.execute(
        f"SELECT count(*) FILTER (WHERE {there}), (SELECT count(*) FROM ({standing}) AS m WHERE {there}), count(*) FILTER (WHERE operation = 'adopt' AND texts IS NULL),"
        f" (SELECT count(*) FROM {run_table(sync.making.value, sync.name)}) FROM {lines}"
    )[0]
    names = context.db.execute(
        f"SELECT DISTINCT unnest(json_keys(texts)) AS name FROM {lines} WHERE {_written} ORDER BY name"
    )
    mapped = {rule.field for rule in rules}
    masked = tuple(rule.field for rule in sync.fields if rule.pii)
    unmapped = tuple(name for (name,) in names if name not in mapped and name not in masked)
    return Leftover(
        adopted=int(adopted),
        missing=int(total) - int(standing_now),
        moved=int(cells_moved),
        unknown=int(cells_unknown),
        unmapped=unmapped,
        remade=int(deleted),
        taken=_taken(sync, lines, info.table, context),
        masked=_masked(masked, lines, context),
        masked_fields=masked,
    )


def _taken(sync: CompiledSync, lines: str, snapshot: str, context: DiffContext) -> int:
    """How many deleted records cannot come back, since another has their key."""
    if not context.db.value(f"SELECT EXISTS (FROM {lines} WHERE operation IN ('delete', 'lost'))"):
        return 0
    rows = deleted_rows(sync, lines)
    return int(context.db.value(f"SELECT count(*) FROM ({rows}) AS d WHERE NOT ({_free(snapshot)})"))


def _masked(masked: tuple[str, ...], lines: str, context: DiffContext) -> int:
    """How many cells of masked fields a run wrote."""
    if not masked:
        return 0
    written = " + ".join(f"count(json_extract(texts, {literal('$.' + name)}))" for name in masked)
    return int(context.db.value(f"SELECT {written} FROM {lines} WHERE {_written}"))
