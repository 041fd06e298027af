"""What hangs on an object's records, as far down as the org's contract tells.

Owns:      the way from an object to the objects below it, and from a sync to the syncs whose records go along.
Does not:  judge a delete (plan/cascade).
Invariant: an object stands below another once for each lookup, whatever circles there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sfsync.child_objects import Below
from sfsync.compiler.manifest import CompiledSync, Take
from sfsync.contract import Contract, SObject


def below(item: SObject, contract: Contract) -> tuple[Below, ...] | None:
    """Links to an object's records, nearest first, and to the records that go along with them; None: not known.

    Of an object that no sync uses the contract knows nothing, so what hangs on its records is not told.
    """
    if item.children is None:
        return None
    found: dict[Below, None] = {}
    seen, level = {item.name}, [item]
    while level:
        deeper = []
        for parent in level:
            for link in parent.children or ():
                found[Below(parent.name, link)] = None
                child = contract.object(link.object)
                if link.cascades and child is not None and child.name not in seen:
                    seen.add(child.name)
                    deeper.append(child)
        level = deeper
    return tuple(found)


def with_takes(syncs: Sequence[CompiledSync]) -> tuple[CompiledSync, ...]:
    """The syncs, each with what its deletes take along of the records that they all know."""
    steps = {sync.name: [take for child in syncs for take in _steps(sync, child)] for sync in syncs}
    if not any(steps.values()):
        return tuple(syncs)
    return tuple(replace(sync, takes=_all_below(sync.name, steps)) for sync in syncs)


def _steps(parent: CompiledSync, child: CompiledSync) -> list[Take]:
    """The lookups by which records of one sync go along with records of another."""
    links = {
        (item.link.object, item.link.field)
        for item in parent.below or ()
        if item.link.cascades and item.parent == parent.object
    }
    found = []
    for rule in child.rules:
        if (child.object, rule.field) not in links:
            continue
        if rule.reference is None:
            found.append(Take(parent.name, child.name, rule.field, None))
        elif rule.reference.parent_object == parent.object:
            keys = [key for key in parent.rules if key.field == rule.reference.parent_field]
            found += [Take(parent.name, child.name, rule.field, key) for key in keys]
    return found


def _all_below(top: str, steps: dict[str, list[Take]]) -> tuple[Take, ...]:
    """Every step on the way down, nearest first; a sync is gone into once."""
    found: list[Take] = []
    seen, level = {top}, [top]
    while level:
        takes = [take for name in level for take in steps[name]]
        found += takes
        level = [name for name in dict.fromkeys(take.child for take in takes) if name not in seen]
        seen.update(level)
    return tuple(found)
