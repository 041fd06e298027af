"""A way to the org for commands that only look at it: its calls are booked in the state where there is one.

Owns:      Look: the door, and how many calls were made whether anybody keeps an account of them or not.
Does not:  say what is looked at (debug, schema_pull, schema_check).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sfsync.contract import Contract
from sfsync.jobs.session import Session
from sfsync.report.words import plural
from sfsync.salesforce.describe import fetch_contract, fetch_user
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


def describe_all(
    session: Session, way: Look, used: tuple[str, ...], known: Sequence[str] | None = None
) -> Contract:
    """What the org says of all objects that could be synced and of those in use; how much that costs is told first.

    Only those in use are cached: a plan reads the cache.

    Args:
        known: these objects instead of all that the org has.

    Raises:
        ApiLimitError: the account does not allow so many calls; none of them was made.
    """
    from sfsync.salesforce import describe_all as batched

    door = way.door
    user = fetch_user(door)
    names = _distinct((*used, *(known if known is not None else batched.writable_names(door))))
    calls = batched.calls_for(len(names))
    session.events.log("info", f"describing {plural(len(names), 'object')}: {plural(calls, 'call')}")
    if way.booked:
        session.ledger.check(calls)
    told = partial(session.events.progress, "describe", total=len(names))
    found = Contract(
        tuple(batched.describe_many(door, names, told)),
        door.token.org_id,
        user.username,
        door.version,
        session.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    if way.booked:
        ours = tuple(item for name in used if (item := found.object(name)) is not None)
        contracts.save(session.open_store(write=True), replace(found, objects=ours))
    return found


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Each object once, spelt as the org does where it says so, sorted."""
    return tuple(sorted({name.lower(): name for name in names}.values()))


def describe(session: Session, way: Look, names: tuple[str, ...]) -> Contract:
    """What the org says of these objects; cached where there is a state."""
    found = fetch_contract(way.door, names, session.clock)
    if way.booked:
        contracts.save(session.open_store(write=True), found)
    return found
