"""What each run did to each record, and what stood there before: enough to take the run back.

Owns:      the table `undo`, and how long its lines are kept.
Does not:  work out the way back (diff/undo) or send it.
Invariant: a line is written in the transaction that records the change; of the last KEPT_RUNS runs none is missing.

A line's texts are a JSON object by field: of an update [before, after] for each field that was sent, where null stands
for a text that was not known, and null alone for a masked field (`pii`), of which no text is kept; of a delete the texts
that the record had, but for masked fields, and as `_origin` who made it. Creates and undeletes have none;
adoptions have them, as updates do, where the sync reads what stands there before it writes (`undo: exact`).
An `erase` line is a delete past the recycle bin.
A `lost` line was a delete, and its record is no longer in the org's recycle bin.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.dialect import quote_literal as literal
from sfsync.records import FieldRule
from sfsync.state.store import CONTROL, StateStore, utc

TABLE = f"{CONTROL}.undo"

ORIGIN = "_origin"
"""Among the texts of a deleted record: created | adopted."""

ERASED = "erase"
"""The operation of a delete past the recycle bin: no way leads back."""

KEPT_RUNS = 10
"""Runs that changed something and can be taken back."""


class Mapped(Protocol):
    """What is known of a sync's fields."""

    @property
    def identity(self) -> tuple[FieldRule, ...]: ...
    @property
    def fields(self) -> tuple[FieldRule, ...]: ...


def changed_texts(pairs: Iterable[tuple[FieldRule, str, str]]) -> str:
    """SQL of an update's texts. pairs: (rule, SQL of the text before, SQL of the text sent, NULL where none was)."""
    parts = []
    for rule, before, after in pairs:
        texts = "'null'" if rule.pii else f"to_json([{before}, {after}])"
        parts.append(f"CASE WHEN {after} IS NOT NULL THEN {member(rule.field)} || {texts} END")
    return json_object(parts)


def known_texts(sync: Mapped) -> str:
    """SQL of what is kept of a record of a snapshot. The identity is, masked or not: without it nothing could be found."""
    kept = [rule.field for rule in (*sync.identity, *sync.fields) if rule in sync.identity or not rule.pii]
    members = [f"{member(field)} || to_json({ident(field)})" for field in kept]
    return json_object([f"{member(ORIGIN)} || to_json(_origin)", *members])


def member(field: str) -> str:
    """SQL of a field's name in a JSON object, up to its value."""
    return literal(f'"{field}":')


def json_object(members: Iterable[str]) -> str:
    """SQL of a JSON object. members: SQL of name and value, NULL where there is none."""
    members = list(members)
    # concat_ws leaves out what is NULL: fields that were not sent, or have no text.
    return f"'{{' || concat_ws({', '.join([literal(','), *members])}) || '}}'" if members else literal("{}")


def note(
    store: StateStore,
    run_id: str,
    sync: str,
    object_: str,
    rows: str,
    *,
    operation: str,
    texts: str = "NULL",
) -> None:
    """Write down what was done to records. Inside the transaction that records it.

    Args:
        rows: a relation with `_key, _record_id` and whatever the expressions read.
        operation: SQL of create | adopt | update | delete | undelete; texts: SQL of a line's texts.
    """
    store.db.execute(
        f"INSERT INTO {TABLE} SELECT ?, ?, ?, {operation}, _key, _record_id, {texts} FROM {rows} AS u",
        [run_id, sync, object_],
    )


def runs(store: StateStore) -> tuple[str, ...]:
    """Runs that can be taken back, the last one first, by what they wrote last: ids tell no order within a second."""
    found = store.db.execute(f"SELECT run_id FROM {TABLE} GROUP BY run_id ORDER BY max(rowid) DESC")
    return tuple(run_id for (run_id,) in found)


def began(store: StateStore, run_id: str) -> datetime | None:
    """When a run began; None if nobody knows any more."""
    found = store.db.execute(f"SELECT started_at FROM {CONTROL}.runs WHERE run_id = ?", [run_id])
    return utc(found[0][0]) if found else None


def syncs_of(store: StateStore, run_id: str) -> frozenset[str]:
    """Names of the syncs whose records a run changed."""
    found = store.db.execute(f"SELECT DISTINCT sync FROM {TABLE} WHERE run_id = ?", [run_id])
    return frozenset(name for (name,) in found)


def erased(store: StateStore, run_id: str) -> dict[str, int]:
    """How many records of each sync a run deleted past the recycle bin."""
    found = store.db.execute(
        f"SELECT sync, count(*) FROM {TABLE} WHERE run_id = ? AND operation = '{ERASED}' GROUP BY sync ORDER BY sync",
        [run_id],
    )
    return {sync: int(rows) for sync, rows in found}


def of_record(
    store: StateStore, sync: str, key: str, record: str | None
) -> list[tuple[str, datetime | None, str, dict[str, list[str | None] | None]]]:
    """(run, when it began, what it did, of an update [before, after] by field) for one record, the newest first."""
    rows = store.db.execute(
        f"SELECT u.run_id, r.started_at, u.operation, u.texts FROM {TABLE} AS u LEFT JOIN {CONTROL}.runs AS r"
        " ON r.run_id = u.run_id WHERE u.sync = ? AND (u.key = ? OR u.id = ?) ORDER BY u.rowid DESC",
        [sync, key, record],
    )
    return [
        (
            run_id,
            utc(at) if at else None,
            "delete" if operation in ("lost", ERASED) else operation,
            json.loads(texts or "{}") if operation in ("update", "adopt") else {},
        )
        for run_id, at, operation, texts in rows
    ]


def lose(store: StateStore, rows: str) -> None:
    """Note that deleted records are no longer in the recycle bin. Inside a transaction. rows: with `_record_id`."""
    store.db.execute(
        f"UPDATE {TABLE} SET operation = 'lost' WHERE operation = 'delete'"
        f" AND id IN (SELECT _record_id FROM {rows} AS r)"
    )


def prune(store: StateStore) -> None:
    """Forget what is too long ago to be taken back."""
    for run_id in runs(store)[KEPT_RUNS:]:
        store.db.execute(f"DELETE FROM {TABLE} WHERE run_id = ?", [run_id])
