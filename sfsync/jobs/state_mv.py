"""`sfsync state mv OLD NEW`: a sync was renamed, and what the state knows of it comes along."""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.errors import RefusedError, StateError
from sfsync.jobs.session import Options, Session
from sfsync.project.spec_types import NAME
from sfsync.state import care


@dataclass(frozen=True, slots=True)
class StateMvResult:
    """What was moved. next_steps: what is still to be done in the project, if anything."""

    old: str
    new: str
    records: int
    tombstones: int
    refused: int
    next_steps: tuple[str, ...]


def state_mv_command(options: Options, old: str, new: str) -> StateMvResult:
    """Give a sync's snapshot and refused rows another name.

    Raises:
        StateError: nothing stands under the old name, or the new one is no name of a sync.
        RefusedError: something stands under the new name, it is of another object, or a request is open.
    """
    if not NAME.fullmatch(new) or old == new:
        raise StateError(
            f"'{new}' cannot be the new name of sync '{old}'",
            fix="a name has up to 60 small letters, digits and _, begins with a letter, and is another one",
        )
    with Session(options, "state mv") as session:
        store = session.open_existing(write=True)
        objects = {sync.name: sync.object for sync in session.facts.graph.syncs}
        found = care.must_find(store, old)
        if new in objects and found.object is not None and objects[new].lower() != found.object.lower():
            raise RefusedError(
                f"sync '{new}' of the project writes {objects[new]}, and the snapshot of '{old}' is of {found.object}",
                fix="move it to the sync that writes this object now",
            )
        care.move(store, old, new)
        steps = []
        if old in objects:
            steps.append(
                f"'{old}' is still in the project: its next plan would treat every record as new. Rename it to '{new}'"
            )
        elif new not in objects:
            steps.append(f"'{new}' is not in the project yet: give the sync this name")
        return StateMvResult(old, new, found.records, found.tombstones, found.refused, tuple(steps))
