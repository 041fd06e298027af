"""Records that Salesforce deleted along with those that we deleted: other snapshots have them, and must not believe it.

Owns:      following a delete down the lookups that cascade, and the way back of it.
Does not:  know which lookups do (the compiler hands them over), or what becomes of the rows (`on_gone` of each sync).
Invariant: in the transaction that records a delete, every record that the state knows to hang on it is a tombstone. Whoever
           moved a child to another parent in the org meanwhile did so unknown to us: the matcher finds such a record again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sfsync.engine.dialect import quote_ident as ident
from sfsync.records import FieldRule
from sfsync.state import siblings, undo
from sfsync.state.snapshots import table_of
from sfsync.state.store import CONTROL, StateStore

_LEVEL = "sfsync_along"


class Step(Protocol):
    """A lookup by which records of one sync go along with those of another."""

    @property
    def parent(self) -> str: ...
    @property
    def child(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def key(self) -> FieldRule | None: ...


def gone(store: StateStore, sync: str, steps: Sequence[Step], rows: str, run_id: str) -> None:
    """Turn what went along with deleted records into tombstones. Inside a transaction, before these are forgotten.

    Args:
        steps: the parents' before their children's.
        rows: a relation with `_key, _mine` of the deleted records; of others nobody knows whether they were merged.
    """
    found = {
        sync: f"(SELECT * FROM {table_of(sync)} WHERE _key IN (SELECT _key FROM {rows} AS r WHERE _mine))"
    }
    made = []
    for number, step in enumerate(steps):
        if step.parent not in found or step.child == sync or not _can_follow(store, step):
            continue
        level = f"{_LEVEL}_{number}"
        text, parents = _texts(step)
        count = store.db.value(
            f"CREATE OR REPLACE TEMP TABLE {level} AS SELECT c.*, c._id AS _record_id FROM {table_of(step.child)} AS c"
            f" WHERE c._gone_at IS NULL AND {text} IN (SELECT {parents} FROM {found[step.parent]} AS p)"
        )
        made.append(level)
        if count:
            siblings.bury(store, step.child, level, run_id)
            siblings.gone_of(store, str(_object_of(store, step.child)), step.child, level, run_id)
            if step.child in found:
                found[step.child] = f"(FROM {found[step.child]} UNION ALL BY NAME FROM {level})"
            else:
                found[step.child] = level
    for level in made:
        store.db.execute(f"DROP TABLE {level}")


def back(store: StateStore, sync: str, steps: Sequence[Step], rows: str) -> None:
    """Forget tombstones of what came out of the bin along with records. Inside a transaction. rows: with `_record_id`."""
    runs = (
        f"SELECT run_id FROM {undo.TABLE} WHERE sync = ? AND operation = 'delete'"
        f" AND id IN (SELECT _record_id FROM {rows} AS r)"
    )
    for child in dict.fromkeys(step.child for step in steps if _can_follow(store, step)):
        store.db.execute(
            f"DELETE FROM {table_of(child)} WHERE _gone_at IS NOT NULL AND _run_id IN ({runs})", [sync]
        )


def _texts(step: Step) -> tuple[str, str]:
    """SQL of what the child has of its parent, and of the same of the parent; never a null, nor the text of one."""
    text = f"nullif(c.{ident(step.field)}, '')"
    if step.key is None:
        return text, "p._id"
    name = f"p.{ident(step.key.field)}"
    return (text, name) if step.key.case_sensitive else (f"lower({text})", f"lower({name})")


def _can_follow(store: StateStore, step: Step) -> bool:
    """Whether the child's snapshot has the lookup: it may not have been written yet."""
    if _object_of(store, step.child) is None:
        return False
    columns = store.db.execute(f"DESCRIBE {table_of(step.child)}")
    return step.field in {column[0] for column in columns}


def _object_of(store: StateStore, sync: str) -> str | None:
    """The object of a sync's snapshot; None: it has none yet."""
    found = store.db.value(f"SELECT object FROM {CONTROL}.snapshots WHERE sync = ?", [sync])
    return None if found is None else str(found)
