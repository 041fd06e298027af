"""What stood in records before something was sent to them of which nobody knows whether it arrived.

Owns:      the table `doubts`: one line a record, until what stands in it is known again.
Does not:  tell who is in doubt (recorder, recovery), ask the org (push/before) or write the lines of the way back (undo).
Invariant: a line is written before the request it is about, or in the transaction in which the snapshot forgets the texts,
           and is taken out in the transaction that records what was written.

A line's texts are a JSON object by field: [what stood there, what was sent, what was sent after that, ...]. Of masked fields
(`pii`) nothing is kept. `deleting`: the record may have been deleted by us.
"""

from __future__ import annotations

from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.records import FieldRule, Send
from sfsync.state.store import CONTROL, StateStore
from sfsync.state.undo import Mapped, json_object, member

TABLE = f"{CONTROL}.doubts"
_NEW = "sfsync_doubted"


def any_of(store: StateStore, sync: str) -> bool:
    """Whether any record of a sync is in doubt: most runs have none, and spare the joins."""
    return bool(store.db.value(f"SELECT EXISTS (FROM {TABLE} WHERE sync = ?)", [sync]))


def joined(sync: str, rows: str) -> str:
    """A relation of `rows`, which have `_key`, with `_doubt` and `_deleting` as they stand, NULL where there is no doubt."""
    return (
        f"(SELECT q.*, d.texts AS _doubt, d.deleting AS _deleting FROM {rows} AS q"
        f" LEFT JOIN (SELECT key, texts, deleting FROM {TABLE} WHERE sync = {literal(sync)}) AS d ON d.key = q._key)"
    )


def before(field: str, alias: str) -> str:
    """SQL of what stood in a field; NULL: not known. alias: of a relation with `_doubt`."""
    return f"json_extract_string({alias}._doubt, {literal(f'$.{field}[0]')})"


def forgotten(store: StateStore, sync: Mapped, name: str, rows: str, snapshot: str) -> None:
    """Keep what the snapshot has of fields that it is about to forget. Inside that transaction.

    Args:
        rows: a relation with `_key` and, for each mapped field, NULL where it is not forgotten.
    """
    texts = json_object(_forgotten(rule) for rule in sync.fields if not rule.pii)
    found = f"SELECT s._key, s._id AS _record_id, {texts} AS _texts FROM {snapshot} AS s JOIN {rows} AS r ON r._key = s._key"
    # What was in doubt already stood there first.
    _merge(store, name, found, "json_merge_patch(CAST(n._texts AS JSON), CAST(d.texts AS JSON))")


def _forgotten(rule: FieldRule) -> str:
    """SQL of one field's member: what stood there; of a field that only removals write, also that it may be written."""
    sent, stood = f"r.{ident(rule.field)}", f"s.{ident(rule.field)}"
    if rule.on_update is Send.REMOVAL:
        return f"CASE WHEN {sent} IS NOT NULL THEN {member(rule.field)} || to_json([{stood}, {sent}]) END"
    return f"CASE WHEN {sent} IS NOT NULL AND {stood} IS NOT NULL THEN {member(rule.field)} || to_json([{stood}]) END"


def maybe_written(sync: str, field: str) -> str:
    """SELECT of the keys of a sync whose field may have been written without an answer."""
    told = f"json_exists(CAST(texts AS JSON), {literal(f'$.{field}')})"
    return f"SELECT key FROM {TABLE} WHERE sync = {literal(sync)} AND {told}"


def read(store: StateStore, sync: Mapped, name: str, rows: str, *, sent: bool) -> None:
    """Keep what was read of records that are about to be overwritten (sent) or deleted. In a transaction of its own.

    Args:
        rows: a relation with `_key, _record_id`, as "field@" what was read (NULL: not known), and as "field" what is to be
            sent (NULL: it is not).

    What was read may be what an earlier request in doubt wrote; then what stood there before that is kept.
    """
    members = []
    for rule in sync.fields:
        if rule.pii:
            continue
        now, new = f"q.{ident(rule.field + '@')}", f"q.{ident(rule.field)}"
        told = f"CAST(q._doubt AS JSON)->{literal('$.' + rule.field)}"
        earlier = f"from_json({told}, '[\"VARCHAR\"]')"
        line = f"[{now}, {new}]" if sent else f"[{now}]"
        longer = f"list_append({earlier}, {new})" if sent else earlier
        ours = f"list_contains({earlier}[2:], {now})"
        wanted = f"{now} IS NOT NULL" + (f" AND {new} IS NOT NULL" if sent else "")
        members.append(
            f"CASE WHEN {wanted} THEN {member(rule.field)} ||"
            f" to_json(CASE WHEN {ours} THEN {longer} ELSE {line} END) END"
        )
    found = f"SELECT q._key, q._record_id, {json_object(members)} AS _texts FROM {joined(name, rows)} AS q"
    with store.db.transaction():
        _merge(store, name, found, "json_merge_patch(CAST(d.texts AS JSON), CAST(n._texts AS JSON))")


def deleting(store: StateStore, name: str, rows: str) -> None:
    """Note that records may have been deleted by us. Inside a transaction. rows: `_key, _record_id`."""
    found = f"SELECT q._key, q._record_id, '{{}}' AS _texts FROM {rows} AS q"
    _merge(store, name, found, "d.texts", deleting=True)


def _merge(store: StateStore, name: str, found: str, texts: str, *, deleting: bool = False) -> None:
    """texts: SQL of the texts where there is a line (`d`) beside what was found (`n`)."""
    db = store.db
    flag = "TRUE" if deleting else "coalesce(d.deleting, FALSE)"
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE {_NEW} AS SELECT n._key, n._record_id, {flag} AS _flag,"
        f" CASE WHEN d.key IS NULL THEN n._texts ELSE CAST({texts} AS VARCHAR) END AS _texts FROM ({found}) AS n"
        f" LEFT JOIN (SELECT * FROM {TABLE} WHERE sync = {literal(name)}) AS d ON d.key = n._key"
    )
    db.execute(f"DELETE FROM {TABLE} WHERE sync = ? AND key IN (SELECT _key FROM {_NEW})", [name])
    db.execute(
        f"INSERT INTO {TABLE} SELECT ?, _key, _record_id, _flag, _texts FROM {_NEW} WHERE _flag OR _texts <> '{{}}'",
        [name],
    )
    db.execute(f"DROP TABLE {_NEW}")


def resolved(store: StateStore, sync: Mapped, name: str, rows: str) -> None:
    """Take out the fields that were written. Inside the transaction that records it.

    Args:
        rows: a relation with `_key` and one sent text per mapped field (NULL: not sent).
    """
    if not any_of(store, name):
        return
    written = json_object(
        f"CASE WHEN q.{ident(rule.field)} IS NOT NULL THEN {member(rule.field)} || 'null' END"
        for rule in sync.fields
    )
    store.db.execute(
        f"UPDATE {TABLE} AS d SET deleting = FALSE, texts = CAST(json_merge_patch(CAST(d.texts AS JSON),"
        f" CAST({written} AS JSON)) AS VARCHAR) FROM {rows} AS q WHERE d.sync = {literal(name)} AND d.key = q._key"
    )
    store.db.execute(f"DELETE FROM {TABLE} WHERE sync = ? AND texts = '{{}}' AND NOT deleting", [name])


def drop(store: StateStore, name: str, rows: str | None = None) -> None:
    """Forget the doubts of records, or of all of a sync. Inside a transaction. rows: with `_key`."""
    if rows is not None and not any_of(store, name):
        return  # the relation may be as large as a first load
    some = "" if rows is None else f" AND key IN (SELECT _key FROM {rows} AS q)"
    store.db.execute(f"DELETE FROM {TABLE} WHERE sync = ?{some}", [name])
