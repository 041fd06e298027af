"""Syncs among each other: who writes whose parents, who writes the same object, and what each is sealed with.

Owns:      parents, siblings, levels, fields that two syncs write, guards and options as values, the fingerprint.
Does not:  resolve fields (fields) or read SQL.
Invariant: names of objects and fields are compared without case, as Salesforce does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

from sfsync.compiler.graph import CycleError, levels
from sfsync.compiler.manifest import Guards
from sfsync.compiler.problems import Problems
from sfsync.project.project import SyncFile
from sfsync.records import FieldRule


@dataclass(frozen=True, slots=True)
class Relatives:
    """How one sync stands to the others."""

    after: tuple[str, ...]  # syncs that write a parent field that it looks up: they go first
    parents: tuple[str, ...]  # of these, those whose identity is that field: their keys are our parents' keys
    siblings: tuple[str, ...]  # others that write the same object


def relate(syncs: tuple[SyncFile, ...], problems: Problems) -> Mapping[str, Relatives]:
    """Find parents and siblings of every sync, and report lookups into a sync's own object."""
    out = {}
    for sync in syncs:
        after: dict[str, None] = {}
        parents: dict[str, None] = {}
        for name, object_, key in _lookups(sync):
            if object_ == sync.spec.object.lower():
                problems.error(
                    f"{sync.spec.object}.{name} looks up its own object, which is not supported yet",
                    sync.where("fields", name, "lookup"),
                    fix="map the parent's record Id, or leave the field out",
                )
                continue
            for other in syncs:
                if other.spec.object.lower() != object_:
                    continue
                if key in _names(other.spec.identity):
                    parents[other.name] = after[other.name] = None
                elif key in _names(other.spec.fields):
                    after[other.name] = None
        siblings = tuple(
            o.name for o in syncs if o is not sync and o.spec.object.lower() == sync.spec.object.lower()
        )
        out[sync.name] = Relatives(tuple(after), tuple(parents), siblings)
    return out


def _lookups(sync: SyncFile) -> list[tuple[str, str, str]]:
    """(field, parent object, parent field), the latter two in lower case."""
    out = []
    for name, field in sync.spec.fields.items():
        if field.lookup is not None:
            object_, key = field.lookup.lower().split(".")
            out.append((name, object_, key))
    return out


def _names(fields: Iterable[str]) -> set[str]:
    return {name.lower() for name in fields}


def sync_levels(
    syncs: tuple[SyncFile, ...], relatives: Mapping[str, Relatives], problems: Problems
) -> tuple[tuple[str, ...], ...]:
    """Sync names by dependency level, parents first; higher priority first within a level."""
    by_name = {s.name: s for s in syncs}
    try:
        rows = levels({name: r.after for name, r in relatives.items()})
    except CycleError as error:
        steps = []
        for child, parent in pairwise(error.path):
            object_ = by_name[parent].spec.object.lower()
            writes = _names(by_name[parent].spec.identity) | _names(by_name[parent].spec.fields)
            field = next(f for f, o, k in _lookups(by_name[child]) if o == object_ and k in writes)
            steps.append(f"{child}.{field} -> {parent}")
        first = by_name[error.path[0]]
        problems.error(
            f"syncs look up each other in a circle: {', '.join(steps)}",
            first.where("fields", steps[0].split(".")[1].split(" ")[0], "lookup"),
            fix="leave one of these lookups out",
        )
        return ()
    return tuple(tuple(sorted(row, key=lambda n: -by_name[n].spec.priority)) for row in rows)


def check_shared(syncs: tuple[SyncFile, ...], problems: Problems) -> None:
    """Report fields of one object that two syncs write without both saying so.

    The identity is written by every sync of an object; it counts only where another sync maps it as a field.
    """
    for one, two in combinations(syncs, 2):
        if one.spec.object.lower() != two.spec.object.lower():
            continue
        other = {n.lower(): f.shared for n, f in two.spec.fields.items()}
        keys = dict.fromkeys(_names(two.spec.identity), True)
        for name, field in one.spec.fields.items():
            _report_shared(one, two, name, field.shared, {**keys, **other}, problems)
        mine = _names(one.spec.identity)
        for name, field in two.spec.fields.items():
            if name.lower() in mine:
                _report_shared(two, one, name, field.shared, dict.fromkeys(mine, True), problems)


def _report_shared(
    one: SyncFile, two: SyncFile, name: str, shared: bool, other: Mapping[str, bool], problems: Problems
) -> None:
    if other.get(name.lower()) is None or (shared and other[name.lower()]):
        return
    problems.error(
        f"syncs '{one.name}' and '{two.name}' both write {one.spec.object}.{name}",
        one.where("fields", name),
        fix="map it in one of them, or say `shared: true` in both",
    )


def guards_of(sync: SyncFile) -> Guards:
    """The sync's guards; `min_rows` gets its default here."""
    given = sync.spec.guards
    return Guards(
        max_deletes=given.max_deletes,
        max_delete_share=given.max_delete_share,
        max_change_share=given.max_change_share,
        max_creates=given.max_creates,
        max_reject_share=given.max_reject_share,
        max_null_keys=given.max_null_keys,
        min_rows=sync.spec.min_rows,
    )


def fingerprint(object_: str, rules: Iterable[FieldRule], timezone: str, projection: int) -> str:
    """The sha256, in hex, over what decides a row's texts: a canonical form of ours, never SQL or a repr.

    The order of fields, labels and `pii` do not count.
    """
    body = {
        "object": object_,
        "rules": sorted((_canonical(r) for r in rules), key=lambda r: str(r["field"])),
        "timezone": timezone,
        "projection": projection,
    }
    text = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(rule: FieldRule) -> dict[str, object]:
    return {
        "field": rule.field,
        "column": [rule.column.name, rule.column.type, rule.column.family.value, rule.column.scale],
        "type": rule.type,
        "send": [rule.on_create.value, rule.on_update.value],
        "size": [rule.length, rule.precision, rule.scale],
        "flags": [rule.required, rule.nillable, rule.case_sensitive, rule.truncate],
        "picklist": sorted(rule.picklist) if rule.picklist is not None else None,
        "reference": rule.reference.header if rule.reference is not None else None,
    }
