"""What one sync learns of a record is known to the other syncs that write the same object.

Owns:      passing on that records are gone, or back, by their Ids.
Does not:  keep a table of its own: every snapshot has its records' Ids, and the registry says which are of one object.
Invariant: a record that one sync deleted is a tombstone in all others from the same transaction on, so that none of them
           sends an update to it; `on_gone` of each decides what follows.
"""

from __future__ import annotations

from sfsync.state import doubts
from sfsync.state.snapshots import SyncShape, table_of
from sfsync.state.store import CONTROL, StateStore

_TOLD = "sfsync_told"
_ADOPTED = "'adopted'"


def gone(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> None:
    """Turn records into tombstones in the other snapshots. Inside a transaction. rows: a relation with `_record_id`."""
    gone_of(store, sync.object, sync.name, rows, run_id)


def gone_of(
    store: StateStore, object_: str, name: str, rows: str, run_id: str, origin: str = _ADOPTED
) -> None:
    """As `gone`, of records of an object that the sync of that name knows to be gone. origin: SQL over these rows."""
    for other in of(store, object_, name):
        found = store.db.value(
            f"CREATE OR REPLACE TEMP TABLE {_TOLD} AS SELECT s._key, s._id, r._told FROM {table_of(other)} AS s"
            f" JOIN (SELECT _record_id, min({origin}) AS _told FROM {rows} AS r GROUP BY ALL) AS r"
            " ON s._id = r._record_id WHERE s._gone_at IS NULL"
        )
        if found:
            bury(store, other, _TOLD, run_id, "_told")
        store.db.execute(f"DROP TABLE {_TOLD}")


def bury(store: StateStore, sync: str, rows: str, run_id: str, origin: str = _ADOPTED) -> None:
    """Turn records of a sync into tombstones. rows: a relation with `_key, _id`, none of the snapshot itself.

    origin: SQL over these rows.
    """
    table, now = table_of(sync), store.clock.now()
    store.db.execute(f"DELETE FROM {table} WHERE _key IN (SELECT _key FROM {rows})")
    store.db.execute(
        f"INSERT INTO {table} (_key, _id, _origin, _run_id, _at, _gone_at)"
        f" SELECT _key, _id, {origin}, ?, ?, ? FROM {rows}",
        [run_id, now, now],
    )
    doubts.drop(store, sync, rows)


def back(store: StateStore, sync: SyncShape, rows: str) -> None:
    """Forget tombstones of records that are there again: the other syncs find them by their keys. Inside a transaction."""
    for other in of(store, sync.object, sync.name):
        store.db.execute(
            f"DELETE FROM {table_of(other)} WHERE _gone_at IS NOT NULL AND _id IN (SELECT _record_id FROM {rows} AS r)"
        )


def of(store: StateStore, object_: str, name: str) -> list[str]:
    """The other syncs that have a snapshot of records of an object."""
    found = store.db.execute(
        f"SELECT sync FROM {CONTROL}.snapshots WHERE object = ? AND sync <> ? ORDER BY sync",
        [object_, name],
    )
    return [other for (other,) in found]
