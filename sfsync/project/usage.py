"""What a project asks of its org: which objects and fields, and what it does with them.

Owns:      Usage, made of the syncs alone.
Does not:  know an org (contract), or judge whether it allows what is asked (compiler, drift, jobs/rights).
Invariant: an object or a field stands here once, whatever the case in which syncs write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as made_by

from sfsync.project.modes import MODES
from sfsync.project.project import Project
from sfsync.project.spec import SyncSpec


@dataclass(frozen=True, slots=True)
class FieldUse:
    """What syncs do with one field of one object."""

    name: str  # as the first sync writes it
    syncs: tuple[str, ...] = ()
    written: bool = False
    identity: bool = False  # says which record a row is
    parent_key: bool = False  # other records find this object's by it
    parents: tuple[str, ...] = ()  # the objects that it is to refer to, by their keys
    creators: tuple[str, ...] = ()  # the syncs that write it into records they make


@dataclass(frozen=True, slots=True)
class ObjectUse:
    """What syncs do with one object. Reading is always needed."""

    name: str
    syncs: tuple[str, ...] = ()  # that write it; none: only parents are looked up there
    create: bool = False
    update: bool = False
    delete: bool = False
    fields: Mapping[str, FieldUse] = made_by(default_factory=dict)  # by name in small letters

    def field(self, name: str) -> FieldUse | None:
        """The use of that field, whatever its case."""
        return self.fields.get(name.lower())

    @property
    def rights(self) -> tuple[str, ...]:
        """create, update, delete: those that are needed, in this order."""
        return tuple(right for right in ("create", "update", "delete") if getattr(self, right))


@dataclass(frozen=True, slots=True)
class Usage:
    """Everything that a project asks of its org."""

    objects: Mapping[str, ObjectUse]  # by name in small letters, in the order of the syncs

    def object(self, name: str) -> ObjectUse | None:
        """The use of that object, whatever its case."""
        return self.objects.get(name.lower())


NOTHING = Usage({})


def rights_of(spec: SyncSpec) -> tuple[str, ...]:
    """What a sync does to records: create, update, delete, in this order."""
    mode = MODES[spec.mode]
    wanted = {
        "create": mode.creates,
        "update": mode.updates,
        "delete": mode.deletes or spec.removal.deletes,
    }
    return tuple(right for right, needed in wanted.items() if needed)


def usage_of(project: Project) -> Usage:
    """What a project asks of its org."""
    return usage_of_syncs(sync.spec for sync in project.syncs)


def usage_of_syncs(specs: Iterable[SyncSpec]) -> Usage:
    """What these syncs ask of their org."""
    made = _Making()
    for spec in specs:
        made.object(spec.object, spec.name, rights_of(spec))
        creates = "create" in rights_of(spec)
        for name, key in spec.identity.items():
            parents = made.parents(spec, key.lookup)
            use = FieldUse(
                name, (spec.name,), written=creates and name != "Id", identity=True, parents=parents
            )
            made.field(spec.object, use)
        for name, item in spec.fields.items():
            parents = made.parents(spec, item.lookup)
            creators = (spec.name,) if creates else ()
            use = FieldUse(name, (spec.name,), written=True, parents=parents, creators=creators)
            made.field(spec.object, use)
        for name in spec.removal.fields:
            made.field(spec.object, FieldUse(name, (spec.name,), written=True))
    return Usage(
        {
            name: ObjectUse(
                shown,
                tuple(syncs),
                create="create" in rights,
                update="update" in rights,
                delete="delete" in rights,
                fields=made.fields[name],
            )
            for name, (shown, syncs, rights) in made.objects.items()
        }
    )


class _Making:
    """Uses as they are collected, by names in small letters."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, dict[str, None], set[str]]] = {}
        self.fields: dict[str, dict[str, FieldUse]] = {}

    def object(self, name: str, sync: str | None, rights: tuple[str, ...]) -> None:
        _, syncs, all_rights = self.objects.setdefault(name.lower(), (name, {}, set()))
        self.fields.setdefault(name.lower(), {})
        if sync is not None:
            syncs[sync] = None
        all_rights.update(rights)

    def parents(self, spec: SyncSpec, lookup: str | None) -> tuple[str, ...]:
        """The object that a lookup refers to, collected with its key; none without a lookup."""
        if lookup is None:
            return ()
        parent, key = lookup.split(".")
        self.object(parent, None, ())
        self.field(parent, FieldUse(key, (spec.name,), parent_key=True))
        return (parent,)

    def field(self, object_: str, use: FieldUse) -> None:
        known = self.fields[object_.lower()]
        old = known.get(use.name.lower())
        known[use.name.lower()] = use if old is None else _merged(old, use)


def _merged(one: FieldUse, other: FieldUse) -> FieldUse:
    return FieldUse(
        name=one.name,
        syncs=tuple(dict.fromkeys((*one.syncs, *other.syncs))),
        written=one.written or other.written,
        identity=one.identity or other.identity,
        parent_key=one.parent_key or other.parent_key,
        parents=tuple(dict.fromkeys((*one.parents, *other.parents))),
        creators=tuple(dict.fromkeys((*one.creators, *other.creators))),
    )
