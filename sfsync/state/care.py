"""Changes of the state that a person asks for: a sync under another name, under other keys, or forgotten.

Owns:      mv, rekey and forget, each in one transaction over every table that carries the sync's name.
Does not:  ask the org, or decide whether the project fits (jobs do).
Invariant: while a request of the sync has no answer nothing is changed; run_syncs stay, being history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.errors import RefusedError, StateError
from sfsync.state import archive, doubts, missing, named, rejected, undo
from sfsync.state.journal import TABLE as INTENTS
from sfsync.state.journal import left_jobs
from sfsync.state.snapshots import SyncShape, identity_of, table_of
from sfsync.state.store import CATALOG, CONTROL, StateStore

SAMPLES = 3
_REFUSED = rejected.TABLE
_OF_A_SYNC = (f"{CONTROL}.snapshots", _REFUSED, undo.TABLE, doubts.TABLE, missing.TABLE)


@dataclass(frozen=True, slots=True)
class Registered:
    """What the registry says of a sync, and how much stands under its name."""

    sync: str
    object: str | None  # None: there is no snapshot, only refused rows
    identity: str | None
    records: int
    tombstones: int
    refused: int


def find(store: StateStore, sync: str) -> Registered | None:
    """What the state has of a sync; None when it has nothing."""
    line = store.db.execute(f"SELECT object, identity FROM {CONTROL}.snapshots WHERE sync = ?", [sync])
    refused = int(store.db.value(f"SELECT count(*) FROM {_REFUSED} WHERE sync = ?", [sync]))
    has_table = _has_table(store, sync)
    if not line and not refused and not has_table:
        return None
    rows, gone = (
        store.db.execute(f"SELECT count(*), count(_gone_at) FROM {table_of(sync)}")[0]
        if has_table
        else (0, 0)
    )
    object_, identity = line[0] if line else (None, None)
    return Registered(sync, object_, identity, int(rows) - int(gone), int(gone), refused)


def must_find(store: StateStore, sync: str) -> Registered:
    """The same, for commands that need something to work on.

    Raises:
        StateError: the state has nothing under this name.
    """
    found = find(store, sync)
    if found is None:
        names = [name for (name,) in store.db.execute(f"SELECT sync FROM {CONTROL}.snapshots ORDER BY sync")]
        near = get_close_matches(sync, names, 1, 0.5)
        known = f"it knows {', '.join(names)}" if names else "it has no snapshot yet"
        raise StateError(
            f"the state {store.name} has nothing of a sync '{sync}'",
            fix=f"did you mean '{near[0]}'?" if near else known,
        )
    return found


def refuse_open(store: StateStore, *syncs: str, ended: bool = False) -> None:
    """Stop where a request of one of these syncs was never answered: its rows are found by name and key.

    Args:
        ended: let pass those that write no more.

    Raises:
        RefusedError: there is one.
    """
    for sync in syncs:
        for item in left_jobs(store, sync):
            raise RefusedError(
                f"sync '{sync}': job {item.job_id} of run {item.run_id} was still at work in the org when it was last"
                " looked at, and its rows are found again by this sync's name and keys",
                fix="`sfsync run` first, with this sync in the project: it asks the org again; if the job never ends, abort it in Setup, Bulk Data Load"
                " Jobs, and run then",
            )
        count = int(store.db.value(f"SELECT count(*) FROM {INTENTS} WHERE sync = ?", [sync]))
        if count and not ended:
            what = (
                "a request of an earlier run has"
                if count == 1
                else f"{count:,} requests of earlier runs have"
            )
            raise RefusedError(
                f"sync '{sync}': {what} no answer yet, and its rows are found again by this sync's name and keys",
                fix="`sfsync run` first, with this sync in the project: it asks the org what became of them. If nobody is to know:"
                f" `sfsync state forget {sync} --unanswered` drops them with all else",
            )


def move(store: StateStore, old: str, new: str) -> Registered:
    """Give all that stands under a name another one; what was moved.

    Raises:
        StateError: nothing stands under the old name.
        RefusedError: something stands under the new name, or a request of one of them is open.
    """
    found = must_find(store, old)
    refuse_open(store, old, new)
    there = find(store, new)
    if there is not None:
        raise RefusedError(
            f"the state already has {_many(there.records, 'record')} and {_many(there.refused, 'refused row')} of a sync '{new}'",
            fix=f"if these are not to be kept: `sfsync state forget {new}`, then move again",
        )
    with store.db.transaction() as db:
        if _has_table(store, old):
            db.execute(f"ALTER TABLE {table_of(old)} RENAME TO {ident(new)}")
        for table in (*_OF_A_SYNC, archive.TABLE):
            db.execute(f"UPDATE {table} SET sync = ? WHERE sync = ?", [new, old])
    return found


def forget(store: StateStore, sync: str, *, unanswered: bool = False) -> Registered:
    """Drop all that the state has of a sync; what it was.

    Args:
        unanswered: its requests that have no answer, too. What they wrote stays in the org, and nobody asks for it.

    Raises:
        StateError: nothing stands under this name.
        RefusedError: a request of the sync is open, or, where these are to go, its job is at work.
    """
    found = must_find(store, sync)
    refuse_open(store, sync, ended=unanswered)
    with store.db.transaction() as db:
        db.execute(f"DROP TABLE IF EXISTS {table_of(sync)}")
        for table in (*_OF_A_SYNC, INTENTS):
            db.execute(f"DELETE FROM {table} WHERE sync = ?", [sync])
    return found


def forget_keys(store: StateStore, sync: str, keys: Sequence[str]) -> tuple[int, int]:
    """Drop single records and refused rows; (records, refused rows).

    Args:
        keys: as people know them: the key, whatever its capitals where these do not count, what a report shows in
            place of a masked one, or the record's Id.

    Raises:
        StateError: one of them is not there, or names several; nothing was dropped.
        RefusedError: a request of the sync is open.
    """
    capitals = named.capitals_of(must_find(store, sync).identity)
    refuse_open(store, sync)
    db = store.db
    known = "SELECT _key AS key, _id AS id FROM " + table_of(sync) if _has_table(store, sync) else ""
    lines = f"SELECT key, NULL AS id FROM {_REFUSED} WHERE sync = {literal(sync)} AND key IS NOT NULL"
    named.find(
        db,
        [(key, key) for key in dict.fromkeys(keys)],
        " UNION ALL ".join(filter(None, (known, lines))),
        capitals=capitals,
        secret=store.meta("secret") or "",
        command=f"sfsync state forget {sync}",
    )
    there = {said for (said,) in db.execute(f"SELECT said FROM {named.TABLE}")}
    absent = sorted(set(keys) - there)
    if absent:
        raise StateError(
            f"sync '{sync}' has no record or refused row with key {_listed(absent)}; nothing was dropped",
            fix="give the identity's text as it is in the org"
            + (" (capitals count)" if any(capitals) else "")
            + ", or the record's Id of 18 characters",
        )
    with db.transaction():
        doubts.drop(store, sync, named.TABLE)
        records = 0
        if known:
            records = _dropped(store, f"FROM {table_of(sync)} WHERE _key IN (SELECT _key FROM {named.TABLE})")
        refused = _dropped(
            store, f"FROM {_REFUSED} WHERE sync = ? AND key IN (SELECT _key FROM {named.TABLE})", sync
        )
    return records, refused


def forget_gone(store: StateStore, sync: str) -> int:
    """Drop what is known of records that are gone; how many.

    Raises:
        StateError: nothing stands under this name.
        RefusedError: a request of the sync is open.
    """
    must_find(store, sync)
    refuse_open(store, sync)
    with store.db.transaction():
        return (
            _dropped(store, f"FROM {table_of(sync)} WHERE _gone_at IS NOT NULL")
            if _has_table(store, sync)
            else 0
        )


def rekey(store: StateStore, sync: SyncShape, key: str, *, shown: str, keep_gone: bool) -> Registered:
    """Make the keys of a snapshot anew out of its texts; what was there before.

    Args:
        key: SQL of the new key over the snapshot's columns.
        shown: SQL of what people may see of a record, over the same.
        keep_gone: refuse where records known to be gone would be forgotten: they have no texts to make a key of.

    Raises:
        RefusedError: another object, missing texts, double keys, or an open request; nothing was changed.
    """
    found = must_find(store, sync.name)
    refuse_open(store, sync.name)
    table = table_of(sync.name)
    _check_shape(store, sync, found)
    if found.tombstones and keep_gone:
        raise RefusedError(
            f"sync '{sync.name}' keeps {_many(found.tombstones, 'record')} known to be gone, which have no texts, so no new key"
            " can be made for them, and `on_gone` would no longer hold for them",
            fix=f"`sfsync state forget {sync.name} --gone`, then rekey: those in the model are then created anew",
        )
    living = f"(SELECT {key} AS k, {shown} AS shown FROM {table} WHERE _gone_at IS NULL)"
    names = " and ".join(rule.field for rule in sync.identity)
    for condition, what in (
        ("k IS NULL", f"have no text of {names} in the snapshot"),
        (
            f"k IN (SELECT k FROM {living} AS d GROUP BY k HAVING count(*) > 1)",
            f"would share a key with another: {names} is the same",
        ),
    ):
        count, samples = store.db.execute(
            f"SELECT count(*), min(shown, {SAMPLES}) FROM {living} AS l WHERE {condition}"
        )[0]
        if count:
            raise RefusedError(
                f"sync '{sync.name}': {count:,} of {found.records:,} records {what} ({_listed(samples)}"
                f"{', ...' if count > SAMPLES else ''}); nothing was changed",
                fix=f"mend them in the model and run once under the old identity; or `sfsync state rebuild {sync.name}`"
                " makes the snapshot anew from the org",
            )
    with store.db.transaction() as db:
        db.execute(f"DELETE FROM {table} WHERE _gone_at IS NOT NULL")
        db.execute(f"UPDATE {table} SET _key = {key}, _source_hash = NULL")
        db.execute(
            f"UPDATE {CONTROL}.snapshots SET identity = ? WHERE sync = ?", [identity_of(sync), sync.name]
        )
        db.execute(f"DELETE FROM {_REFUSED} WHERE sync = ?", [sync.name])
        doubts.drop(store, sync.name)
        db.execute(f"DELETE FROM {missing.TABLE} WHERE sync = ?", [sync.name])
    return found


def _check_shape(store: StateStore, sync: SyncShape, found: Registered) -> None:
    if found.object != sync.object:
        raise RefusedError(
            f"the snapshot of sync '{sync.name}' is of {found.object or 'no object'}, and the sync now writes {sync.object}:"
            " its record Ids cannot be used",
            fix=f"`sfsync state forget {sync.name}`, then `sfsync state rebuild {sync.name}` or a run",
        )
    there = {row[0] for row in store.db.execute(f"DESCRIBE {table_of(sync.name)}")}
    missing = [rule.field for rule in sync.identity if rule.field not in there]
    if missing:
        raise RefusedError(
            f"the snapshot of sync '{sync.name}' has no texts of {', '.join(missing)}, so no keys can be made of it",
            fix=f"map {', '.join(missing)} under `fields` and run once under the old identity; or"
            f" `sfsync state rebuild {sync.name}` makes the snapshot anew from the org",
        )


def _has_table(store: StateStore, sync: str) -> bool:
    found = "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'snapshot' AND table_name = ?"
    return bool(store.db.value(found, [CATALOG, sync]))


def _dropped(store: StateStore, rows: str, *params: str) -> int:
    count = int(store.db.value(f"SELECT count(*) {rows}", params))
    store.db.execute(f"DELETE {rows}", params)
    return count


def _listed(values: Sequence[str]) -> str:
    some = ", ".join(f"'{value}'" for value in values[:SAMPLES])
    return some + (f" and {len(values) - SAMPLES:,} more" if len(values) > SAMPLES else "")


def _many(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
