"""Since how many runs a record's row has been missing from the model (`on_removed.after`).

Owns:      the table `missing`: one line a record, the runs that have counted it, and the last of them.
Does not:  decide what is removed (diff/grace).
Invariant: a line counts only where its last run is the last one that compared the sync and was neither refused nor
           interrupted: a chain with a gap begins anew, so a record is rather kept too long.
"""

from __future__ import annotations

from sfsync.engine.dialect import quote_literal as literal
from sfsync.state.store import CONTROL, StateStore

TABLE = f"{CONTROL}.missing"


def counted(store: StateStore, sync: str) -> str:
    """A relation of `_key, _runs`: how many runs in a row, up to the last one, have missed each record's row."""
    last = (
        f"SELECT run_id FROM {CONTROL}.run_syncs WHERE sync = {literal(sync)}"
        " AND status NOT IN ('refused', 'interrupted') ORDER BY rowid DESC LIMIT 1"
    )
    return (
        f"(SELECT key AS _key, runs AS _runs FROM {TABLE} WHERE sync = {literal(sync)} AND run_id = ({last}))"
    )


def count(store: StateStore, sync: str, rows: str, run_id: str) -> None:
    """Note what a run has missed, and forget all else. Inside a transaction. rows: a relation with `_key, _runs`, this run included."""
    store.db.execute(f"DELETE FROM {TABLE} WHERE sync = ?", [sync])
    store.db.execute(
        f"INSERT INTO {TABLE} SELECT ?, _key, _runs, ? FROM {rows} AS m",
        [sync, run_id],
    )
