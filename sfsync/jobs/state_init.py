"""`sfsync state init --empty`: an empty state, bound to the org it will speak of."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.errors import StateError
from sfsync.jobs.session import Options, Session
from sfsync.salesforce.describe import fetch_contract
from sfsync.state import contracts


@dataclass(frozen=True, slots=True)
class StateInitResult:
    """What was made."""

    path: str
    org_id: str
    objects: tuple[str, ...]
    calls: int


def state_init_command(options: Options) -> StateInitResult:
    """Sign in, make the state, bind the org's id and describe the objects in use.

    Raises:
        StateError: there is a state already.
    """
    with Session(options, "state init") as session:
        path = session.state_path
        if path.exists():
            raise StateError(
                f"there is a state already: {path}",
                fix="move it away first if it is really to be forgotten: sfsync would then send every row again",
            )
        names = session.facts.objects
        door = session.open_door()
        org_id = door.token.org_id  # signing in comes first: a failure leaves no state behind
        store = session.open_store(write=True, starts_empty=True)
        try:
            store.bind(org_id)
            store.set_meta("connection", session.connection)
            door.use_ledger(session.ledger)
            found = fetch_contract(door, names, session.clock)
            contracts.save(store, found)
        except BaseException:
            store.close()
            path.unlink(missing_ok=True)  # half a state would look like a whole one
            raise
        objects = tuple(item.name for item in found.objects)
        return StateInitResult(str(path), org_id, objects, session.ledger.calls)
