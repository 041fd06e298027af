"""What Salesforce deletes along with a sync's deletes, and whether that was meant.

Owns:      Along, which of it other syncs of the plan delete first, and the guard `cascade`.
Does not:  ask the org: the contract says which lookups cascade, not whether any record has one.
Invariant: nothing is told, and nothing refused, of a sync that deletes nothing in this plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sfsync.child_objects import Below
from sfsync.compiler.manifest import CompiledSync, Mode
from sfsync.diff.changes import Changes
from sfsync.plan.guards import CASCADE, Refusal

Found = tuple[Changes, tuple[Refusal, ...]]

Leaves = Callable[[CompiledSync, Below, Sequence[str]], bool]
"""Whether the state knows a record that goes along with a sync's deletes by a lookup, and that none of the syncs of these
names deletes itself in this plan; or cannot tell."""


@dataclass(frozen=True, slots=True)
class Along:
    """Records that go along with deleted ones, by the lookup that makes them."""

    below: Below
    first: str | None = None  # the sync of this plan that deletes its own of these records before
    short: str | None = None  # the sync that would, and does not delete all that the state knows of

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

Told = Mapping[str, Cascade]
"""By sync."""


def cascade_of(
    changes: Changes,
    beside: Sequence[CompiledSync],
    short: Callable[[CompiledSync, Below], bool] = lambda other, item: False,
) -> Cascade:
    """What this sync's deletes take along.

    Args:
        beside: the syncs of the plan, parents first.
        short: whether a sync that deletes such records leaves some of them; before all are compared, nobody knows.
    """
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
        first = next((other for other in later if _deletes_first(other, item, sync)), None)
        if first is not None and not short(first, item):
            along.append(Along(item, first=first.name))
            continue
        along.append(Along(item, short=None if first is None else first.name))
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
    return _refused(changes, cascade_of(changes, beside))


def _refused(changes: Changes, told: Cascade) -> tuple[Refusal, ...]:
    sync = changes.sync
    if sync.may_cascade is None:
        return ()
    guarded = [a for a in told.along if a.guarded and a.below.link.object.lower() not in sync.may_cascade]
    if not guarded:
        return ()
    listed = ", ".join(dict.fromkeys(item.below.link.object for item in guarded))
    short = ", ".join(dict.fromkeys(f"'{item.short}'" for item in guarded if item.short))
    known = f"; this plan of sync {short} does not delete all of them first" if short else ""
    return (
        Refusal(
            sync.name,
            CASCADE,
            f"sync '{sync.name}' would delete {changes.deletes:,} records of {sync.object}, and Salesforce deletes with them"
            f" what hangs on them, whoever made it: records of {listed}{known}",
            f"if they may go: `allow_cascade: [{listed}]` in {sync.path}; to allow it once: --allow {sync.name}.{CASCADE};"
            " what syncs of this plan delete first (on_removed: delete) does not count",
        ),
    )


def check_again(found: Sequence[Found], allowed: frozenset[str], leaves: Leaves) -> tuple[list[Found], Told]:
    """Once all syncs are compared: also refuse what would take along records that another sync was to delete first, and
    does not; and what each sync's deletes take along."""
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
    beside, out = [changes.sync for changes, _ in found], list[Found]()
    told: dict[str, Cascade] = {}
    for changes, refusals in reversed(
        found
    ):  # children first: a parent that is refused keeps its own parent back
        sync = changes.sync
        cascade = told[sync.name] = cascade_of(changes, beside, _short(changes, found, waits, leaves))
        if not refusals and f"{sync.name}.{CASCADE}" not in allowed:
            late = [a.first for a in cascade.along if a.first in waits and _asks(sync, a)]
            refusals = _refused(changes, cascade)
            if late and late[0] is not None and not refusals:
                refusals = (_late(changes, late[0], waits[late[0]]),)
            if refusals:
                waits[sync.name] = "is refused"
        out.append((changes, refusals))
    return out[::-1], told


def _short(
    changes: Changes, found: Sequence[Found], waits: Mapping[str, str], leaves: Leaves
) -> Callable[[CompiledSync, Below], bool]:
    """Whether the deletes of this plan leave some of what a sync was to delete before these parents."""
    deleting = {other.sync.name: other.sync.object for other, _ in found if other.deletes}

    def short(first: CompiledSync, item: Below) -> bool:
        if first.name in waits:  # told as that
            return False
        if first.name not in deleting:
            return True
        names = [n for n, object_ in deleting.items() if object_ == first.object and n not in waits]
        return leaves(changes.sync, item, names)

    return short


def _asks(sync: CompiledSync, item: Along) -> bool:
    """Whether these records may not go along unless they are deleted before."""
    said = sync.may_cascade is None or item.below.link.object.lower() in sync.may_cascade
    return replace(item, first=None).guarded and not said


def _late(changes: Changes, other: str, why: str) -> Refusal:
    sync = changes.sync
    return Refusal(
        sync.name,
        CASCADE,
        f"sync '{sync.name}' would delete {changes.deletes:,} records of {sync.object}, and with them what hangs on them:"
        f" sync '{other}', which was to delete its own of these first, {why}",
        f"see to '{other}' first; to let them go this once: --allow {sync.name}.{CASCADE}",
    )
