"""Copies of records that `on_removed` deletes (`archive: true`).

Owns:      the table `archive`: one line a deleted record, kept until somebody takes it out.
Does not:  read the records (push/before does, just before they are deleted).
Invariant: a line is written in the transaction that records the delete. Of masked fields (`pii`) nothing is kept.
"""

from __future__ import annotations

from sfsync.engine.dialect import quote_ident as ident
from sfsync.state import doubts, undo
from sfsync.state.snapshots import SyncShape, table_of
from sfsync.state.store import CONTROL, StateStore

TABLE = f"{CONTROL}.archive"


def keep(store: StateStore, sync: SyncShape, rows: str, run_id: str) -> None:
    """Copy records as the org had them, before the snapshot forgets them. Inside that transaction.

    rows: a relation with `_key, _mine`, as `snapshots.record_deletes` takes it.
    """
    texts = ", ".join(
        f"coalesce({doubts.before(rule.field, 'r')}, s.{ident(rule.field)}) AS {ident(rule.field)}"
        for rule in sync.rules
        if not rule.pii
    )
    gone = (
        f"SELECT s.*{f' REPLACE ({texts})' if texts else ''} FROM {table_of(sync.name)} AS s"
        f" JOIN {doubts.joined(sync.name, rows)} AS r ON r._key = s._key"
        " WHERE s._gone_at IS NULL AND (r._mine OR coalesce(r._deleting, FALSE))"
    )
    store.db.execute(
        f"INSERT INTO {TABLE} SELECT ?, ?, _key, _id, ?, ?, {undo.known_texts(sync)} FROM ({gone}) AS g",
        [sync.name, sync.object, run_id, store.clock.now()],
    )
