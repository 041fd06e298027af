"""A way to the org for commands that only look at it: its calls are booked in the state where there is one.

Owns:      Look: the door, and how many calls were made whether anybody keeps an account of them or not.
Does not:  say what is looked at (debug, schema_pull, schema_check).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfsync.contract import Contract
from sfsync.jobs.session import Session
from sfsync.salesforce.describe import fetch_contract
from sfsync.salesforce.door import Door
from sfsync.state import contracts


class Counted:
    """Counts calls that no ledger keeps, so that they are at least told."""

    def __init__(self) -> None:
        self.calls = 0

    def reserve(self, kind: str, calls: int = 1, batches: int = 0) -> None:
        self.calls += calls

    def observe(self, used: int, maximum: int) -> None: ...


@dataclass(frozen=True)
class Look:
    """An open door. booked: its calls are in the account of the target's state."""

    door: Door
    booked: bool
    _calls: Callable[[], int]

    @property
    def calls(self) -> int:
        """API calls made so far."""
        return self._calls()


def look(session: Session) -> Look:
    """Open the way to the org; the local org has its state made, a real one never.

    Raises:
        AuthError, NoAnswerError: sign-in failed.
        StateError: the state is of another org, or held by another process.
    """
    if session.state_path.exists() or session.is_local:
        door = session.door
        return Look(door, True, lambda: session.ledger.calls)
    door, counted = session.open_door(), Counted()
    door.use_ledger(counted)
    return Look(door, False, lambda: counted.calls)


def describe(session: Session, way: Look, names: tuple[str, ...]) -> Contract:
    """What the org says of these objects; cached where there is a state."""
    found = fetch_contract(way.door, names, session.clock)
    if way.booked:
        contracts.save(session.open_store(write=True), found)
    return found
