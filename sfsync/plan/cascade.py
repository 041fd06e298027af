"""What Salesforce deletes along with a sync's deletes, and whether that was meant.

Owns:      Along, which of it other syncs of the plan delete first, and the guard `cascade`.
Does not:  ask the org: the contract says which lookups cascade, not whether any record has one.
Invariant: nothing is told, and nothing refused, of a sync that deletes nothing in this plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sfsync.child_objects import Below
from sfsync.compiler.manifest import CompiledSync, Mode
from sfsync.diff.changes import Changes
from sfsync.plan.guards import CASCADE, Refusal

Found = tuple[Changes, tuple[Refusal, ...]]


@dataclass(frozen=True, slots=True)
class Along:
    """Records that go along with deleted ones, by the lookup that makes them."""

    below: Below
    first: str | None = None  # the sync of this plan that deletes its own of these records before

    @property
    def guarded(self) -> bool:
        return self.first is None and self.below.link.guarded


@dataclass(frozen=True, slots=True)
class Cascade:
    """What a sync's deletes take along, and what forbids them."""

    along: tuple[Along, ...] = ()
    blocks: tuple[Below, ...] = ()
    known: bool = True


NOTHING = Cascade()


def cascade_of(changes: Changes, beside: Sequence[CompiledSync]) -> Cascade:
    """What this sync's deletes take along. beside: the syncs of the plan, parents first."""
    sync = changes.sync
    if not changes.deletes:
        return NOTHING
    if sync.below is None:
        return Cascade(known=False)
    names = [other.name for other in beside]
    later = beside[names.index(sync.name) + 1 :] if sync.name in names else ()
    along, blocks = [], []
    left = {sync.object}  # whose records nobody deletes before this sync does
    for item in sync.below:
        if item.parent not in left:
            continue
        if not item.link.cascades:
            blocks.append(item)
            continue
        first = next((other.name for other in later if _deletes_first(other, item, sync)), None)
        along.append(Along(item, first))
        if first is None:
            left.add(item.link.object)
    return Cascade(tuple(along), tuple(blocks))


def _deletes_first(other: CompiledSync, item: Below, sync: CompiledSync) -> bool:
    """Whether another sync deletes its records of that lookup before this one deletes the parents."""
    if other.object != item.link.object or not (other.deletes or other.mode is Mode.DELETE):
        return False
    return other.removal.after <= sync.removal.after and any(
        rule.field == item.link.field for rule in other.rules
    )


def check(changes: Changes, beside: Sequence[CompiledSync], allowed: frozenset[str]) -> tuple[Refusal, ...]:
    """The guard's refusal of one sync, if what it deletes takes along what it was not said to."""
    sync = changes.sync
    if not changes.deletes or sync.may_cascade is None or f"{sync.name}.{CASCADE}" in allowed:
        return ()
    guarded = [item.below.link.object for item in cascade_of(changes, beside).along if item.guarded]
    names = [name for name in dict.fromkeys(guarded) if name.lower() not in sync.may_cascade]
    if not names:
        return ()
    listed = ", ".join(names)
    return (
        Refusal(
            sync.name,
            CASCADE,
            f"sync '{sync.name}' would delete {changes.deletes:,} records of {sync.object}, and Salesforce deletes with them"
            f" what hangs on them, whoever made it: records of {listed}",
            f"if they may go: `allow_cascade: [{listed}]` in {sync.path}; to allow it once: --allow {sync.name}.{CASCADE};"
            " what syncs of this plan delete first (on_removed: delete) does not count",
        ),
    )


def check_again(found: Sequence[Found], allowed: frozenset[str]) -> list[Found]:
    """With refusals of syncs whose records would take along what another sync was to delete first, and does not."""
    waits = {
        changes.sync.name: why
        for changes, refusals in found
        if (
            why := "is refused"
            if refusals
            else "holds its removals back"
            if changes.removals_held_back
            else ""
        )
    }
    if not any(changes.deletes for changes, _ in found) or not waits:
        return list(found)
    beside, out = [changes.sync for changes, _ in found], []
    for changes, refusals in reversed(
        found
    ):  # children first: a parent that is refused keeps its own parent back
        sync = changes.sync
        late = [
            item.first
            for item in cascade_of(changes, beside).along
            if item.first in waits and replace(item, first=None).guarded and not _allowed(sync, item, allowed)
        ]
        if late and late[0] is not None and not refusals:
            refusals = (_late(changes, late[0], waits[late[0]]),)
            waits[sync.name] = "is refused"
        out.append((changes, refusals))
    return out[::-1]


def _allowed(sync: CompiledSync, item: Along, allowed: frozenset[str]) -> bool:
    said = sync.may_cascade is None or item.below.link.object.lower() in sync.may_cascade
    return said or f"{sync.name}.{CASCADE}" in allowed


def _late(changes: Changes, other: str, why: str) -> Refusal:
    sync = changes.sync
    return Refusal(
        sync.name,
        CASCADE,
        f"sync '{sync.name}' would delete {changes.deletes:,} records of {sync.object}, and with them what hangs on them:"
        f" sync '{other}', which was to delete its own of these first, {why}",
        f"see to '{other}' first; to let them go this once: --allow {sync.name}.{CASCADE}",
    )
