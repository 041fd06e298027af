"""Syncs among each other: who writes whose parents, who writes the same object, and what each is sealed with.

Owns:      parents, siblings, levels, where a circle is opened, fields that two syncs write, guards and options as values,
           the fingerprint.
Does not:  resolve fields (fields) or read SQL.
Invariant: names of objects and fields are compared without case, as Salesforce does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from sfsync.compiler.graph import CycleError, levels
from sfsync.compiler.manifest import Guards
from sfsync.compiler.problems import Problems
from sfsync.compiler.surroundings import OrgView
from sfsync.project.project import SyncFile
from sfsync.project.spec import SyncSpec
from sfsync.records import FieldRule, Lookup


@dataclass(frozen=True, slots=True)
class Relatives:
    """How one sync stands to the others."""

    after: tuple[str, ...]  # syncs that write a parent field that it looks up: they go first
    parents: tuple[str, ...]  # of these, those whose identity is that field: their keys are our parents' keys
    siblings: tuple[str, ...]  # others that write the same object
    late: tuple[tuple[str, str], ...] = ()
    """(field, sync) of lookups whose parents that sync makes no sooner than we go: itself, or one that a circle puts later."""


def relate(syncs: tuple[SyncFile, ...], org: OrgView | None, problems: Problems) -> Mapping[str, Relatives]:
    """Find parents and siblings of every sync. Lookups into what a sync itself makes are late."""
    out = {}
    for sync in syncs:
        after: dict[str, None] = {}
        parents: dict[str, None] = {}
        late: list[tuple[str, str]] = []
        for name, object_, key in _lookups(sync):
            for other in syncs:
                if not _makes(other, object_, key):
                    continue
                if other is sync:
                    _check_late(sync, name, org, problems)
                    late.append((name, sync.name))
                    continue
                after[other.name] = None
                if key in _names(other.spec.identity):
                    parents[other.name] = None
        siblings = tuple(
            o.name for o in syncs if o is not sync and o.spec.object.lower() == sync.spec.object.lower()
        )
        out[sync.name] = Relatives(tuple(after), tuple(parents), siblings, tuple(late))
    return out


def _makes(sync: SyncFile, object_: str, key: str) -> bool:
    """Whether a sync writes that field of that object, by names in small letters."""
    return sync.spec.object.lower() == object_ and key in _names(sync.spec.identity) | _names(
        sync.spec.fields
    )


def _may_be_late(sync: SyncFile, name: str, org: OrgView | None) -> bool:
    """Whether a field can be left out of a create and be sent by a later update; of a field nobody described: yes.

    Not one that is looked for before anything is sent: there is nothing to be found yet.
    """
    if sync.spec.fields[name].on_missing != "reject":
        return False
    item = org.contract.object(sync.spec.object) if org is not None else None
    field = item.field(name) if item is not None else None
    return field is None or (field.updateable and not field.required_on_create)


def _check_late(sync: SyncFile, name: str, org: OrgView | None, problems: Problems) -> None:
    if sync.spec.fields[name].on_missing == "reject" and not _may_be_late(sync, name, org):
        problems.error(
            f"{sync.spec.object}.{name} looks up its own object, and can only be set when a record is made:"
            " a parent that is made in the same run has no Id then",
            sync.where("fields", name, "lookup"),
            fix="give this user the right to edit the field, or leave the field out",
        )


def _lookups(sync: SyncFile) -> list[tuple[str, str, str]]:
    """(field, parent object, parent field), the latter two in lower case."""
    out = []
    lookups = {name: item.lookup for name, item in sync.spec.identity.items()}
    lookups |= {name: item.lookup for name, item in sync.spec.fields.items()}
    for name, lookup in lookups.items():
        if lookup is not None:
            object_, key = lookup.lower().split(".")
            out.append((name, object_, key))
    return out


def _names(fields: Iterable[str]) -> set[str]:
    return {name.lower() for name in fields}


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a circle: the lookups of a sync into what another makes."""

    child: str
    parent: str
    fields: tuple[str, ...]


def sync_levels(
    syncs: tuple[SyncFile, ...],
    relatives: Mapping[str, Relatives],
    org: OrgView | None,
    problems: Problems,
) -> tuple[tuple[tuple[str, ...], ...], Mapping[str, Relatives]]:
    """Sync names by dependency level, parents first, higher priority first within a level; and what became of circles.

    A circle is opened at the step with the fewest lookups, all of which can be sent late; of several, at the first by the
    names of sync and fields: neither files nor their order decide.
    """
    by_name = {s.name: s for s in syncs}
    found = dict(relatives)
    while True:
        try:
            rows = levels({name: r.after for name, r in found.items()})
        except CycleError as error:
            steps = [_step(by_name[child], by_name[parent]) for child, parent in pairwise(error.path)]
            open_at = [
                s for s in steps if all(_may_be_late(by_name[s.child], field, org) for field in s.fields)
            ]
            if not open_at:
                _report_circle(by_name[error.path[0]], steps, problems)
                return (), found
            step = min(open_at, key=lambda s: (len(s.fields), s.child, s.fields))
            child = found[step.child]
            found[step.child] = replace(
                child,
                after=tuple(name for name in child.after if name != step.parent),
                late=(*child.late, *((field, step.parent) for field in step.fields)),
            )
        else:
            ordered = (tuple(sorted(row, key=lambda n: -by_name[n].spec.priority)) for row in rows)
            return tuple(ordered), found


def _step(child: SyncFile, parent: SyncFile) -> _Step:
    fields = tuple(name for name, object_, key in _lookups(child) if _makes(parent, object_, key))
    return _Step(child.name, parent.name, fields)


def _report_circle(first: SyncFile, steps: list[_Step], problems: Problems) -> None:
    told = ", ".join(f"{step.child}.{step.fields[0]} -> {step.parent}" for step in steps)
    problems.error(
        f"syncs look up each other in a circle: {told}; none of these lookups can be sent after the record is made",
        first.where("fields", steps[0].fields[0], "lookup"),
        fix="make one of these fields optional and editable, or leave it out",
    )


def check_shared(syncs: tuple[SyncFile, ...], problems: Problems) -> None:
    """Report fields of one object that two syncs write without both saying so.

    The identity is written by every sync of an object; it counts only where another sync maps it as a field. Fields that
    are set when a row leaves or returns are written, too.
    """
    for one, two in combinations(syncs, 2):
        if one.spec.object.lower() != two.spec.object.lower():
            continue
        other = {name.lower(): shared for name, shared in _writes(two.spec).items()}
        keys = dict.fromkeys(_names(two.spec.identity), True)
        for name, shared in _writes(one.spec).items():
            _report_shared(one, two, name, shared, {**keys, **other}, problems)
        mine = _names(one.spec.identity)
        for name, shared in _writes(two.spec).items():
            if name.lower() in mine:
                _report_shared(two, one, name, shared, dict.fromkeys(mine, True), problems)


def _writes(spec: SyncSpec) -> dict[str, bool]:
    """The fields that a sync writes beside its identity, and whether it says `shared` of each; a mapping says it first."""
    mapped = {name: field.shared for name, field in spec.fields.items()}
    known = {name.lower() for name in mapped}
    return mapped | {name: spec.removal.shared for name in spec.removal.fields if name.lower() not in known}


def _report_shared(
    one: SyncFile, two: SyncFile, name: str, shared: bool, other: Mapping[str, bool], problems: Problems
) -> None:
    if other.get(name.lower()) is None or (shared and other[name.lower()]):
        return
    mapped = name in one.spec.fields
    part = "set" if name in (one.spec.removal.set or ()) else "on_return"
    word, beside = ("map", "") if mapped else ("set", " (in on_removed, beside `set`)")
    problems.error(
        f"syncs '{one.name}' and '{two.name}' both write {one.spec.object}.{name}",
        one.where("fields", name) if mapped else one.where("on_removed", part, name),
        fix=f"{word} it in one of them, or say `shared: true` in both{beside}",
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
        **({"constant": rule.constant} if rule.constant is not None else {}),
        **({"lookup": _canonical_lookup(rule.lookup)} if rule.lookup is not None else {}),
    }


def _canonical_lookup(lookup: Lookup) -> list[object]:
    known = sorted(lookup.known) if lookup.known is not None else None
    return [lookup.object, lookup.field, lookup.on_missing.value, lookup.to_id, lookup.where, known]
