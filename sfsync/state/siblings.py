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


def gone(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> None:
    """Turn records into tombstones in the other snapshots. Inside a transaction. rows: a relation with `_record_id`."""
    db, now = store.db, store.clock.now()
    for other in _others(store, sync):
        table = table_of(other)
        found = db.value(
            f"CREATE OR REPLACE TEMP TABLE {_TOLD} AS SELECT _key, _id FROM {table}"
            f" WHERE _gone_at IS NULL AND _id IN (SELECT _record_id FROM {rows} AS r)"
        )
        if found:
            db.execute(f"DELETE FROM {table} WHERE _key IN (SELECT _key FROM {_TOLD})")
            db.execute(
                f"INSERT INTO {table} (_key, _id, _origin, _run_id, _at, _gone_at)"
                f" SELECT _key, _id, 'adopted', ?, ?, ? FROM {_TOLD}",
                [run_id, now, now],
            )
            doubts.drop(store, other, _TOLD)
        db.execute(f"DROP TABLE {_TOLD}")


def back(store: StateStore, sync: SyncShape, rows: str) -> None:
    """Forget tombstones of records that are there again: the other syncs find them by their keys. Inside a transaction."""
    for other in _others(store, sync):
        store.db.execute(
            f"DELETE FROM {table_of(other)} WHERE _gone_at IS NOT NULL AND _id IN (SELECT _record_id FROM {rows} AS r)"
        )


def _others(store: StateStore, sync: SyncShape) -> list[str]:
    found = store.db.execute(
        f"SELECT sync FROM {CONTROL}.snapshots WHERE object = ? AND sync <> ? ORDER BY sync",
        [sync.object, sync.name],
    )
    return [name for (name,) in found]
