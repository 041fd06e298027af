"""What each run did to each record, and what stood there before: enough to take the run back.

Owns:      the table `undo`, and how long its lines are kept.
Does not:  work out the way back (diff/undo) or send it.
Invariant: a line is written in the transaction that records the change; of the last KEPT_RUNS runs none is missing.

A line's texts are a JSON object by field: of an update [before, after] for each field that was sent, where null stands
for a text that was not known; of a delete the texts that the record had. Creates and adoptions have none.
"""

from __future__ import annotations

from collections.abc import Iterable

from sfsync.engine.dialect import quote_literal as literal
from sfsync.state.store import CONTROL, StateStore

TABLE = f"{CONTROL}.undo"

KEPT_RUNS = 10
"""Runs that changed something and can be taken back."""


def changed_texts(pairs: Iterable[tuple[str, str, str]]) -> str:
    """SQL of an update's texts. pairs: (field, SQL of the text before, SQL of the text sent, NULL where none was)."""
    parts = [
        f"CASE WHEN {after} IS NOT NULL THEN {_member(field)} || to_json([{before}, {after}]) END"
        for field, before, after in pairs
    ]
    return _object(parts)


def known_texts(fields: Iterable[tuple[str, str]]) -> str:
    """SQL of all texts of a record. fields: (field, SQL of its text)."""
    return _object([f"{_member(field)} || to_json({text})" for field, text in fields])


def _member(field: str) -> str:
    return literal(f'"{field}":')


def _object(members: list[str]) -> str:
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
        operation: SQL of create | adopt | update | delete; texts: SQL of a line's texts.
    """
    store.db.execute(
        f"INSERT INTO {TABLE} SELECT ?, ?, ?, {operation}, _key, _record_id, {texts} FROM {rows} AS u",
        [run_id, sync, object_],
    )


def runs(store: StateStore) -> tuple[str, ...]:
    """Runs that can be taken back, the last one first, by what they wrote last: ids tell no order within a second."""
    found = store.db.execute(f"SELECT run_id FROM {TABLE} GROUP BY run_id ORDER BY max(rowid) DESC")
    return tuple(run_id for (run_id,) in found)


def syncs_of(store: StateStore, run_id: str) -> frozenset[str]:
    """Names of the syncs whose records a run changed."""
    found = store.db.execute(f"SELECT DISTINCT sync FROM {TABLE} WHERE run_id = ?", [run_id])
    return frozenset(name for (name,) in found)


def prune(store: StateStore) -> None:
    """Forget what is too long ago to be taken back."""
    for run_id in runs(store)[KEPT_RUNS:]:
        store.db.execute(f"DELETE FROM {TABLE} WHERE run_id = ?", [run_id])
