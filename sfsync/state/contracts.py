"""The cached describe of the objects in use, kept beside the snapshots it was judged with.

Owns:      the table `contract`: one object a row, in the contract's own JSON form.
Does not:  ask the org.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sfsync.contract import Contract, from_json, to_json
from sfsync.state.store import CONTROL, StateStore, utc

MAX_AGE = timedelta(hours=24)


def load(store: StateStore) -> Contract | None:
    """The cached contract, None when nothing is cached."""
    rows = store.db.execute(f"SELECT object, body FROM {CONTROL}.contract ORDER BY object")
    if not rows:
        return None
    contract = Contract(())
    for name, body in rows:
        part = from_json(body, path=f"{store.name}, object {name}")
        contract = Contract(part.objects, part.org_id, part.username, part.api_version).with_objects(
            contract.objects
        )
    return contract


def fetched_at(store: StateStore) -> datetime | None:
    """When the oldest of the cached objects was described."""
    found = store.db.value(f"SELECT min(fetched_at) FROM {CONTROL}.contract")
    return None if found is None else utc(found)


def save(store: StateStore, contract: Contract) -> None:
    """Replace the cached objects by these."""
    with store.db.transaction():
        for item in contract.objects:
            body = to_json(Contract((item,), contract.org_id, contract.username, contract.api_version))
            store.db.execute(f"DELETE FROM {CONTROL}.contract WHERE object = ?", [item.name])
            store.db.execute(
                f"INSERT INTO {CONTROL}.contract VALUES (?, ?, ?)", [item.name, body, store.clock.now()]
            )


def forget(store: StateStore) -> None:
    """Drop the cached describes, so that the next command asks the org anew."""
    store.db.execute(f"DELETE FROM {CONTROL}.contract")
