"""Records that Salesforce deleted along with those that we deleted: other snapshots have them, and must not believe it.

Owns:      following a delete down the lookups that cascade, and the way back of it.
Does not:  know which lookups do (the compiler hands them over), or what becomes of the rows (`on_gone` of each sync).
Invariant: in the transaction that records a delete, every record that the state knows to hang on it is a tombstone. Whoever
           moved a child to another parent in the org meanwhile did so unknown to us: the matcher finds such a record again.
           Such a tombstone says with which deleted record it went, and is forgotten when that one is back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sfsync.engine.dialect import quote_ident as ident
from sfsync.records import FieldRule
from sfsync.state import siblings
from sfsync.state.snapshots import ALONG, table_of
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
        sync: f"(SELECT *, _id AS _top FROM {table_of(sync)} WHERE _key IN (SELECT _key FROM {rows} AS r WHERE _mine))"
    }
    made = []
    for number, step in enumerate(steps):
        if step.parent not in found or step.child == sync or not _can_follow(store, step):
            continue
        level = f"{_LEVEL}_{number}"
        count = store.db.value(
            f"CREATE OR REPLACE TEMP TABLE {level} AS {_hanging(step, found[step.parent])}"
        )
        made.append(level)
        if count:
            origin = f"'{ALONG}' || _top"
            siblings.bury(store, step.child, level, run_id, origin)
            siblings.gone_of(store, str(_object_of(store, step.child)), step.child, level, run_id, origin)
            _join(found, step.child, level)
    for level in made:
        store.db.execute(f"DROP TABLE {level}")


def back(store: StateStore, sync: str, steps: Sequence[Step], rows: str) -> None:
    """Forget tombstones of what came out of the bin along with records. Inside a transaction. rows: with `_record_id`."""
    children = {step.child: _object_of(store, step.child) for step in steps}
    told = {
        name for child, object_ in children.items() if object_ for name in siblings.of(store, object_, child)
    }
    for child in sorted(told | {child for child, object_ in children.items() if object_}):
        store.db.execute(
            f"DELETE FROM {table_of(child)} WHERE _gone_at IS NOT NULL"
            f" AND _origin IN (SELECT '{ALONG}' || _record_id FROM {rows} AS r)"
        )


def leaves(
    store: StateStore,
    sync: str,
    steps: Sequence[Step],
    place: tuple[str, str],
    deleted: str,
    too: Sequence[str],
) -> bool:
    """Whether a living record is known that goes along by a lookup, and is not deleted itself. True, too: nobody can tell.

    Args:
        place: object and field of the lookup.
        deleted: a relation with the `Id` of what the sync deletes; too: those of the object's own syncs.
    """
    if _object_of(store, sync) is None:
        return True
    top = table_of(sync)
    found = {sync: f'(SELECT *, _id AS _top FROM {top} WHERE _id IN (SELECT "Id" FROM {deleted}))'}
    asked, judged = [f'SELECT "Id" FROM {deleted} WHERE "Id" NOT IN (SELECT _id FROM {top})'], False
    gone = " UNION ALL ".join(f'SELECT "Id" FROM {table}' for table in too)
    for step in steps:
        if step.parent not in found or step.child == sync:
            continue
        object_ = _object_of(store, step.child)
        here = step.field == place[1] and object_ in (place[0], None)
        judged = judged or here
        if object_ is None:  # it has written nothing yet
            continue
        if not _can_follow(store, step):
            return True
        hanging = f"({_hanging(step, found[step.parent])})"
        if here:
            asked.append(f"SELECT _id FROM {hanging} AS h WHERE _id NOT IN ({gone})")
        _join(found, step.child, hanging)
    return not judged or bool(store.db.value(f"SELECT EXISTS ({' UNION ALL '.join(asked)})"))


def _hanging(step: Step, parents: str) -> str:
    """SELECT of the child's living records that hang on those of a relation; `_top`: on which deleted one, in the end."""
    text, name = _texts(step)
    return (
        f"SELECT c.*, c._id AS _record_id, p._top FROM {table_of(step.child)} AS c"
        f" JOIN (SELECT {name} AS _text, min(p._top) AS _top FROM {parents} AS p GROUP BY ALL) AS p"
        f" ON {text} = p._text WHERE c._gone_at IS NULL"
    )


def _join(found: dict[str, str], sync: str, rows: str) -> None:
    found[sync] = f"(FROM {found[sync]} UNION ALL BY NAME FROM {rows})" if sync in found else rows


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
