"""What the org acknowledged: one table per sync, one row per record, one text column per field.

Owns:      the snapshot tables' shape and every statement that writes them.
Does not:  decide what changed (diff) or what became of a row (push).
Invariant: recording merges: a field that was not sent keeps its text. A tombstone has key, Id and time, no texts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from sfsync.engine.dialect import quote_ident as ident
from sfsync.errors import RefusedError
from sfsync.records import FieldRule, Send
from sfsync.state import doubts, undo
from sfsync.state.store import CONTROL, SNAPSHOT, StateStore

COLUMNS = {
    "_key": "VARCHAR",
    "_id": "VARCHAR",
    "_origin": "VARCHAR",
    "_source_hash": "UBIGINT",
    "_run_id": "VARCHAR",
    "_at": "TIMESTAMP",
    "_gone_at": "TIMESTAMP",
}

ALONG = "along:"
"""Before the Id of the deleted record with which a tombstone's record went (`along`), as its origin."""


class SyncShape(Protocol):
    """What the state needs to know of a compiled sync."""

    @property
    def name(self) -> str: ...
    @property
    def object(self) -> str: ...
    @property
    def identity(self) -> tuple[FieldRule, ...]: ...
    @property
    def fields(self) -> tuple[FieldRule, ...]: ...
    @property
    def rules(self) -> tuple[FieldRule, ...]: ...


NEW_NAME = (
    "give the changed sync a new name; its old snapshot stays untouched. If only the identity changed:"
    " `sfsync state rekey SYNC`"
)
"""The way on for a sync whose object or identity changed."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A sync's snapshot as the diff needs it; `table` is fully qualified and quoted."""

    table: str
    exists: bool
    rows: int  # records, tombstones not counted
    tombstones: int
    fields: frozenset[str]
    foreign: str | None = None  # why the snapshot is not this sync's: its object or identity changed


def table_of(sync: str) -> str:
    """The quoted, fully qualified name of a sync's snapshot table."""
    return f"{SNAPSHOT}.{ident(sync)}"


def identity_of(sync: SyncShape) -> str:
    """The identity as the registry keeps it: a JSON array of field names, marked where capitals count.

    Keys are stored folded or not, so the mark is part of what the snapshot's keys mean.
    """
    return json.dumps(
        [rule.field + ("" if not rule.case_sensitive else " (case-sensitive)") for rule in sync.identity]
    )


def inspect(store: StateStore, sync: SyncShape) -> SnapshotInfo:
    """Look at a sync's snapshot. One of another object or identity is `foreign`, and nothing in it is looked at."""
    table = table_of(sync.name)
    known = store.db.execute(f"SELECT object, identity FROM {CONTROL}.snapshots WHERE sync = ?", [sync.name])
    if not known:
        return SnapshotInfo(table, False, 0, 0, frozenset())
    owner, identity = known[0]
    if (owner, identity) != (sync.object, identity_of(sync)):
        was = f"{owner} by {', '.join(json.loads(identity))}"
        now = f"{sync.object} by {', '.join(json.loads(identity_of(sync)))}"
        why = f"has a snapshot of {was}, but now writes {now}"
        return SnapshotInfo(table, False, 0, 0, frozenset(), foreign=why)
    columns = set(_columns(store, table))
    rows, gone = store.db.execute(f"SELECT count(*), count(_gone_at) FROM {table}")[0]
    return SnapshotInfo(table, True, rows - gone, gone, frozenset(columns - set(COLUMNS)))


def _columns(store: StateStore, table: str) -> tuple[str, ...]:
    return tuple(row[0] for row in store.db.execute(f"DESCRIBE {table}"))


def prepare(store: StateStore, sync: SyncShape) -> None:
    """Make the sync's table, or add the columns of newly mapped fields (absent everywhere).

    Raises:
        RefusedError: the object or the identity changed under the same sync name.
    """
    info = inspect(store, sync)
    if info.foreign is not None:
        raise RefusedError(f"sync '{sync.name}' {info.foreign}", fix=NEW_NAME)
    wanted = [rule.field for rule in sync.rules]
    db = store.db
    with db.transaction():
        if not info.exists:
            columns = [f"{name} {kind}" for name, kind in COLUMNS.items()]
            columns += [f"{ident(field)} VARCHAR" for field in wanted]
            db.execute(f"CREATE TABLE {info.table} ({', '.join(columns)})")
            db.execute(
                f"INSERT INTO {CONTROL}.snapshots VALUES (?, ?, ?, ?)",
                [sync.name, sync.object, identity_of(sync), store.clock.now()],
            )
        else:
            for field in wanted:
                if field not in info.fields:
                    db.execute(f"ALTER TABLE {info.table} ADD COLUMN {ident(field)} VARCHAR")


def record_upserts(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> None:
    """Record answered upserts. To be called inside a transaction.

    Args:
        rows: a relation with `_key, _record_id, _created BOOLEAN, _source_hash` and one sent text per field.

    A created record has null wherever a null was left out; an adopted one keeps those fields absent and its hash
    empty, so that the next plan looks at it again.
    """
    _delete_keys(store, sync, rows)
    fields = [ident(rule.field) for rule in sync.rules]
    others = (Send.NEVER, Send.REMOVAL)
    left_out = [ident(r.field) for r in sync.fields if r.on_update not in others]
    never_created = [
        ident(r.field) for r in sync.fields if r.on_create is Send.NEVER and r.on_update not in others
    ]
    # What the org gave a field that no column is mapped to, nobody knows.
    unmapped = {ident(r.field) for r in sync.fields if r.on_update is Send.REMOVAL}
    complete = " AND ".join(f"{name} IS NOT NULL" for name in left_out) or "TRUE"
    texts = [
        name
        if name in never_created or name in unmapped
        else f"CASE WHEN _created THEN coalesce({name}, '') ELSE {name} END"
        for name in fields
    ]
    created_hash = "NULL" if never_created else "_source_hash"
    store.db.execute(
        f"INSERT INTO {table_of(sync.name)} ({', '.join([*COLUMNS, *fields])})"
        f" SELECT _key, _record_id, CASE WHEN _created THEN 'created' ELSE 'adopted' END,"
        f" CASE WHEN _created THEN {created_hash} WHEN {complete} THEN _source_hash END,"
        f" ?, ?, NULL, {', '.join(texts)} FROM {rows}",
        [run_id, store.clock.now()],
    )
    operation = "CASE WHEN _created THEN 'create' ELSE 'adopt' END"
    texts_before, relation = "NULL", rows
    if doubts.any_of(store, sync.name):
        relation = doubts.joined(sync.name, rows)
        told = ((rule, doubts.before(rule.field, "u"), ident(rule.field)) for rule in sync.fields)
        texts_before = f"CASE WHEN NOT _created AND _doubt IS NOT NULL THEN {undo.changed_texts(told)} END"
    undo.note(store, run_id, sync.name, sync.object, relation, operation=operation, texts=texts_before)
    doubts.drop(store, sync.name, f"(SELECT _key FROM {rows} AS c WHERE _created)")
    doubts.resolved(store, sync, sync.name, rows)


def record_matched(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> None:
    """Know records that the org has and this sync did not know: what they hold is a fact, though nothing was sent.

    Args:
        rows: a relation with `_key, _id, _origin` and a text per rule, in a snapshot's form; only adopted ones are taken.

    Their hashes stay empty, so that they are compared until a run has brought them to what the model says.
    """
    prepare(store, sync)
    table = table_of(sync.name)
    fields = ", ".join(ident(rule.field) for rule in sync.rules)
    good = f"(SELECT * FROM {rows} AS m WHERE _origin = 'adopted')"
    with store.db.transaction():
        store.db.execute(
            f"DELETE FROM {table} WHERE _key IN (SELECT _key FROM {good} AS g) OR _id IN (SELECT _id FROM {good} AS g)"
        )
        store.db.execute(
            f"INSERT INTO {table} ({', '.join(COLUMNS)}, {fields})"
            f" SELECT _key, _id, 'adopted', NULL, ?, ?, NULL, {fields} FROM {good} AS g",
            [run_id, store.clock.now()],
        )


def forget_other_keys(store: StateStore, sync: SyncShape, rows: str) -> None:
    """Forget the old key of records that the org says another key stands for. rows: adopted, `_key, _record_id`."""
    store.db.execute(
        f"DELETE FROM {table_of(sync.name)} WHERE _id IN (SELECT _record_id FROM {rows} AS r)"
        f" AND _key NOT IN (SELECT _key FROM {rows} AS r)"
    )


def record_updates(store: StateStore, sync: SyncShape, rows: str, before: str, run_id: str) -> None:
    """Record answered updates by merging what was sent into what stood there. Inside a transaction.

    Args:
        rows: a relation with `_key, _source_hash` and one sent text per mapped field (NULL: not sent).
        before: a relation with `_key`, `_record_id`, `_origin` and, as "field@", each rule's text as the snapshot has
            it; a record that has left the snapshot since is not recorded.
    """
    table = table_of(sync.name)
    db = store.db
    sent = {rule.field for rule in sync.fields}
    ours = {rule.field for rule in sync.rules}
    columns = [name for name in _columns(store, table) if name not in COLUMNS]
    merged = []
    for name in columns:
        # Fields that the sync no longer maps keep their text; only they are read of the snapshot again.
        known = f"w.{ident(name + '@')}" if name in ours else f"s.{ident(name)}"
        text = f"coalesce(r.{ident(name)}, {known})" if name in sent else known
        merged.append(f"{text} AS {ident(name)}")
    doubted = doubts.any_of(store, sync.name)
    pairs = []
    for rule in sync.fields:
        stood = f"w.{ident(rule.field + '@')}"
        if doubted:
            stood = f"coalesce({doubts.before(rule.field, 'r')}, {stood})"
        pairs.append((rule, stood, f"r.{ident(rule.field)}"))
    texts = undo.changed_texts(pairs)
    relation = doubts.joined(sync.name, rows) if doubted else rows
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE sfsync_merged AS SELECT s.rowid AS _row, w._record_id, {texts} AS _texts, w._key,"
        f" w._record_id AS _id, w._origin, r._source_hash, ? AS _run_id, ?::TIMESTAMP AS _at,"
        f" NULL::TIMESTAMP AS _gone_at, {', '.join(merged)}"
        f" FROM {table} AS s JOIN {relation} AS r ON r._key = s._key JOIN {before} AS w ON w._key = s._key",
        [run_id, store.clock.now()],
    )
    db.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT _row FROM sfsync_merged)")
    names = ", ".join(ident(name) for name in [*COLUMNS, *columns])
    db.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM sfsync_merged")
    undo.note(*(store, run_id, sync.name, sync.object, "sfsync_merged"), operation="'update'", texts="_texts")
    doubts.resolved(store, sync, sync.name, rows)
    db.execute("DROP TABLE sfsync_merged")


def record_links(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> None:
    """Record answered lookups that followed their records. Inside a transaction.

    Args:
        rows: as `record_updates` takes them.

    What stands there is what this run's own first part has left. The hash is kept where now every field is known.
    """
    table = table_of(sync.name)
    texts = ", ".join(f"s.{ident(rule.field)} AS {ident(rule.field + '@')}" for rule in sync.rules)
    before = (
        f"(SELECT s._key, s._id AS _record_id, s._origin, {texts} FROM {table} AS s"
        f" WHERE s._key IN (SELECT _key FROM {rows} AS k))"
    )
    known = " AND ".join(
        f"coalesce(r.{ident(rule.field)}, b.{ident(rule.field + '@')}) IS NOT NULL"
        for rule in sync.fields
        if rule.on_update is not Send.NEVER
    )
    whole = (
        f"(SELECT r.* REPLACE (CASE WHEN {known or 'TRUE'} THEN r._source_hash END AS _source_hash)"
        f" FROM {rows} AS r JOIN {before} AS b ON b._key = r._key)"
    )
    record_updates(store, sync, whole, before, run_id)


def record_deletes(
    store: StateStore, sync: SyncShape, rows: str, run_id: str, *, erased: bool = False
) -> None:
    """Forget records that are deleted.

    Args:
        rows: a relation with `_key, _mine`: whether it was us who deleted it.
        erased: past the recycle bin.
    """
    db, table = store.db, table_of(sync.name)
    doubted = doubts.any_of(store, sync.name)
    told = ", r._doubt, coalesce(r._deleting, FALSE) AS _deleting" if doubted else ", FALSE AS _deleting"
    # Found by key once, then fetched and deleted by row.
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE sfsync_leaving AS SELECT k.rowid AS _row, r._mine{told}"
        f" FROM {table} AS k JOIN {doubts.joined(sync.name, rows) if doubted else rows} AS r ON r._key = k._key"
    )
    mine = "SELECT _row FROM sfsync_leaving WHERE _mine OR _deleting"
    gone = f"(SELECT *, _id AS _record_id FROM {table} WHERE rowid IN ({mine}))"
    if doubted:
        stood = ", ".join(
            f"coalesce({doubts.before(rule.field, 'r')}, s.{ident(rule.field)}) AS {ident(rule.field)}"
            for rule in sync.fields
            if not rule.pii
        )
        gone = (
            f"(SELECT s.*{f' REPLACE ({stood})' if stood else ''}, s._id AS _record_id FROM {table} AS s"
            f" JOIN sfsync_leaving AS r ON r._row = s.rowid WHERE r._mine OR r._deleting)"
        )
    texts, gone_as = undo.known_texts(sync), f"'{undo.ERASED}'" if erased else "'delete'"
    undo.note(store, run_id, sync.name, sync.object, gone, operation=gone_as, texts=texts)
    db.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT _row FROM sfsync_leaving)")
    doubts.drop(store, sync.name, rows)
    db.execute("DROP TABLE sfsync_leaving")


def record_undeletes(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> None:
    """Know records again that are back out of the recycle bin. Inside a transaction.

    Args:
        rows: a relation with `_key, _record_id, _origin` and a text per rule (NULL: not known), as before the delete.
    """
    _delete_keys(store, sync, rows)
    fields = ", ".join(ident(rule.field) for rule in sync.rules)
    # Without a hash the next plan compares every text, whatever the model says by now.
    store.db.execute(
        f"INSERT INTO {table_of(sync.name)} ({', '.join(COLUMNS)}, {fields})"
        f" SELECT _key, _record_id, _origin, NULL, ?, ?, NULL, {fields} FROM {rows} AS r",
        [run_id, store.clock.now()],
    )
    undo.note(store, run_id, sync.name, sync.object, rows, operation="'undelete'")
    doubts.drop(store, sync.name, rows)


def record_gone(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> None:
    """Turn records that were not there any more into tombstones. rows: a relation with `_key, _record_id`."""
    _delete_keys(store, sync, rows)
    store.db.execute(
        f"INSERT INTO {table_of(sync.name)} (_key, _id, _origin, _run_id, _at, _gone_at)"
        f" SELECT _key, _record_id, 'adopted', ?, ?, ? FROM {rows}",
        [run_id, store.clock.now(), store.clock.now()],
    )
    doubts.drop(store, sync.name, rows)


def record_converted(store: StateStore, sync: SyncShape, rows: str) -> None:
    """Know that records are leads that were converted, which no run writes again. Inside a transaction. rows: with `_key`."""
    store.db.execute(
        f"UPDATE {table_of(sync.name)} SET _origin = 'converted' WHERE _key IN (SELECT _key FROM {rows} AS r)"
    )


def record_unknown(store: StateStore, sync: SyncShape, rows: str) -> None:
    """Forget what stands in fields whose update may or may not have arrived, so that the next plan sends them again.

    What stood there is kept for the way back (`doubts`). Inside a transaction.

    Args:
        rows: a relation with `_key` and one sent text per mapped field (NULL: not sent).
    """
    doubts.forgotten(store, sync, sync.name, rows, table_of(sync.name))
    open_fields = ", ".join(
        f"{ident(rule.field)} = CASE WHEN r.{ident(rule.field)} IS NULL THEN s.{ident(rule.field)} END"
        for rule in sync.fields
    )
    store.db.execute(
        f"UPDATE {table_of(sync.name)} AS s SET _source_hash = NULL, {open_fields} FROM {rows} AS r"
        " WHERE s._key = r._key"
    )


def refresh_hashes(store: StateStore, sync: SyncShape, rows: str) -> None:
    """Store the fresh hashes of rows found unchanged. rows: a relation with `_key, _source_hash`."""
    store.db.execute(
        f"UPDATE {table_of(sync.name)} AS s SET _source_hash = r._source_hash FROM {rows} r WHERE s._key = r._key"
    )


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a snapshot made anew holds. created: made by this sync; gone: known before and now tombstones."""

    records: int
    created: int
    gone: int


def replace_by(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> Replaced:
    """Make the snapshot what the org holds, in one transaction.

    Args:
        rows: a relation with `_key, _record_id` and one text per rule (NULL: not known); a NULL key is left out.

    Records are adopted, but for those that the snapshot before has as created by this sync under the same key and Id:
    that stays a fact. Records that it had and the org has no more are tombstones from now on.
    """
    prepare(store, sync)
    db, table, now = store.db, table_of(sync.name), store.clock.now()
    fields = [ident(rule.field) for rule in sync.rules]
    with db.transaction():
        db.execute(
            "CREATE OR REPLACE TEMP TABLE sfsync_before AS SELECT _key, _id, _origin, _run_id, _at, _gone_at"
            f" FROM {table}"
        )
        db.execute(f"DELETE FROM {table}")
        doubts.drop(store, sync.name)
        db.execute(
            f"INSERT INTO {table} ({', '.join([*COLUMNS, *fields])}) SELECT r._key, r._record_id,"
            " CASE WHEN b._origin = 'created' AND b._gone_at IS NULL THEN 'created' ELSE 'adopted' END,"
            f" NULL, ?, ?, NULL, {', '.join(f'r.{name}' for name in fields)} FROM {rows} AS r"
            " LEFT JOIN sfsync_before AS b ON b._key = r._key AND b._id = r._record_id WHERE r._key IS NOT NULL",
            [run_id, now],
        )
        db.execute(
            f"INSERT INTO {table} (_key, _id, _origin, _run_id, _at, _gone_at)"
            f" SELECT _key, _id, CASE WHEN starts_with(_origin, '{ALONG}') THEN _origin ELSE 'adopted' END,"
            " CASE WHEN _gone_at IS NULL THEN ? ELSE _run_id END,"
            " CASE WHEN _gone_at IS NULL THEN ? ELSE _at END, coalesce(_gone_at, ?)"
            f" FROM sfsync_before WHERE _key NOT IN (SELECT _key FROM {rows} AS k WHERE _key IS NOT NULL)",
            [run_id, now, now],
        )
        found = db.execute(
            "SELECT count(*) FILTER (WHERE _gone_at IS NULL), count(*) FILTER (WHERE _origin = 'created'),"
            f" count(*) FILTER (WHERE _gone_at IS NOT NULL AND _run_id = ?) FROM {table}",
            [run_id],
        )[0]
    db.execute("DROP TABLE sfsync_before")
    return Replaced(*(int(number) for number in found))


def _delete_keys(store: StateStore, sync: SyncShape, rows: str) -> None:
    store.db.execute(f"DELETE FROM {table_of(sync.name)} WHERE _key IN (SELECT _key FROM {rows})")


def all_rows(store: StateStore) -> dict[str, int]:
    """How many records each sync's snapshot holds, tombstones not counted."""
    names = [name for (name,) in store.db.execute(f"SELECT sync FROM {CONTROL}.snapshots ORDER BY sync")]
    return {
        name: int(store.db.value(f"SELECT count(*) FROM {table_of(name)} WHERE _gone_at IS NULL"))
        for name in names
    }
