"""What differs between an org's contract and the org, and what of it breaks a project.

Owns:      Drift, the comparison property by property, the words for it, and which part of an org a project uses.
Does not:  ask an org (salesforce/describe), know a sync's file (project/usage says what is used), or print.
Invariant: two equal contracts have no drift; what no sync uses never breaks anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from sfsync.child_objects import ChildLink
from sfsync.contract import ALL, Contract, Field, SObject
from sfsync.project.usage import NOTHING, FieldUse, ObjectUse, Usage

CURRENCY = "CurrencyIsoCode"
"""The field that every record has in an org of several currencies."""


class Effect(StrEnum):
    """What a drift does to the syncs that use the thing."""

    STOPS = "stops"  # they cannot run any more
    ROWS = "rows"  # rows may be refused, changed on the way, or matched otherwise
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference. what: in words, with the place in front of them."""

    object: str
    field: str | None  # None: of the object itself
    kind: str  # a stable word for programs
    what: str
    effect: Effect
    syncs: tuple[str, ...] = ()  # that use it

    @property
    def place(self) -> str:
        """``Contact.Email``, or the object."""
        return self.object if self.field is None else f"{self.object}.{self.field}"

    @property
    def breaking(self) -> bool:
        return self.effect is not Effect.NONE

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


Finding = tuple[str, str, Effect]
"""kind, words, effect."""


def compare(contract: Contract, org: Contract, usage: Usage = NOTHING) -> tuple[Drift, ...]:
    """What the org has otherwise than the contract, by object and field.

    Args:
        contract: as committed.
        org: described for the objects of the contract and of the project; an object that is not in it is gone.
        usage: what the project does; what it does not use is told, and breaks nothing.
    """
    names = {o.name.lower(): o.name for o in contract.objects}
    names = {key: use.name for key, use in usage.objects.items()} | names
    found = [d for key in sorted(names) for d in _object(names[key], contract, org, usage.object(key))]
    return tuple(found)


def used_part(org: Contract, usage: Usage) -> Contract:
    """The objects of a project with the fields that it uses, and those without which nothing is created there."""
    objects = []
    for use in usage.objects.values():
        found = org.object(use.name)
        if found is not None:
            along = _along(found, use)
            kept = (
                f
                for f in found.fields
                if use.field(f.name) or f.name in along or (use.create and f.required_on_create)
            )
            children = (
                found.children if use.create or use.delete else None
            )  # of what nobody deletes: no matter
            objects.append(replace(found, fields=tuple(kept), children=children))
    return replace(org, objects=tuple(objects))


def _along(found: SObject, use: ObjectUse) -> set[str]:
    """Fields that a compile asks for beside those in use: the currency of amounts, the parts of what cannot be written whole."""
    closed = {f.name for f in found.fields if use.field(f.name) and not (f.createable or f.updateable)}
    parts = {f.name for f in found.fields if f.compound_field_name in closed}
    return parts | ({CURRENCY} if _amounts(found, use) else set())


def _amounts(found: SObject, use: ObjectUse) -> tuple[FieldUse, ...]:
    """The uses of amounts of money that syncs write."""
    uses = (use.field(f.name) for f in found.fields if f.type == "currency")
    return tuple(one for one in uses if one is not None and one.written)


def _currencies(was: SObject, now: SObject, use: ObjectUse | None) -> Iterator[Drift]:
    """The org has several currencies, the file does not know, and no sync says which its amounts are in.

    A compile against the org refuses the syncs that make records with amounts; others it only warns.
    """
    code = now.field(CURRENCY)
    if code is None or use is None or was.field(CURRENCY) is not None or use.field(CURRENCY) is not None:
        return
    amounts = _amounts(now, use)
    if amounts and (code.createable or code.updateable):
        what = "the org has several currencies, which the file does not know, and no sync says which its amounts are in"
        creators = tuple(dict.fromkeys(sync for one in amounts for sync in one.creators))
        others = tuple(dict.fromkeys(sync for one in amounts for sync in one.syncs))
        effect = Effect.STOPS if creators else Effect.NONE
        yield Drift(now.name, CURRENCY, "currencies", what, effect, creators or others)


def notes(contract: Contract, org: Contract) -> tuple[str, ...]:
    """What is to be known before the differences are read: another org, another user, another version of the API."""
    found = []
    if contract.org_id and org.org_id and contract.org_id != org.org_id:
        found.append(f"the contract is of org {contract.org_id}, and this is org {org.org_id}")
    if contract.username and org.username and contract.username != org.username:
        found.append(
            f"the rights in the contract are those of {contract.username}, and this is {org.username}"
        )
    if contract.api_version and org.api_version and contract.api_version != org.api_version:
        found.append(
            f"the contract was read with API {contract.api_version}, and this is API {org.api_version}"
        )
    return tuple(found)


def _object(name: str, contract: Contract, org: Contract, use: ObjectUse | None) -> Iterator[Drift]:
    was, now = contract.object(name), org.object(name)
    syncs = use.syncs if use is not None else ()
    readers = () if use is None else tuple(s for f in use.fields.values() for s in f.syncs)
    users = tuple(dict.fromkeys((*syncs, *readers)))
    stops = Effect.STOPS if use is not None else Effect.NONE
    if now is None:
        what = "gone from the org, or this user may not see it"
        yield Drift(was.name if was is not None else name, None, "object_gone", what, stops, users)
        return
    if was is None:
        yield Drift(now.name, None, "not_pulled", "used, and not in the contract", stops, users)
        return
    for kind, what, effect in _object_findings(was, now, use):
        yield Drift(now.name, None, kind, what, effect, users)
    yield from _currencies(was, now, use)
    written = use if use is not None and use.syncs else None
    for key in _field_names(was, now, use, whole=contract.scope == ALL):
        field_use = use.field(key) if use is not None else None
        one, other = was.field(key), now.field(key)
        shown = next((f.name for f in (other, one, field_use) if f is not None), key)
        found = _field_findings(one, other, field_use, written)
        by = field_use.syncs if field_use is not None else (written.syncs if written is not None else ())
        for kind, what, effect in found:
            yield Drift(now.name, shown, kind, what, effect, by if effect is not Effect.NONE else ())


def _field_names(was: SObject, now: SObject, use: ObjectUse | None, *, whole: bool) -> list[str]:
    """Which fields are looked at, in small letters: of a contract of used fields, what else the org has is no matter."""
    names = {f.name.lower() for f in was.fields}
    names |= set(use.fields) if use is not None else set()
    names |= {f.name.lower() for f in now.fields if whole or f.required_on_create}
    return sorted(names)


def _object_findings(was: SObject, now: SObject, use: ObjectUse | None) -> Iterator[Finding]:
    rights = {
        "create": (was.createable, now.createable),
        "update": (was.updateable, now.updateable),
        "delete": (was.deletable, now.deletable),
    }
    for right, (before, after) in rights.items():
        needed = use is not None and right in use.rights
        if before and not after:
            what = f"this user may not {right} records any more"
            yield f"lost_{right}", what, Effect.STOPS if needed else Effect.NONE
        elif after and not before:
            yield f"gained_{right}", f"this user may {right} records now", Effect.NONE
    if was.queryable and not now.queryable:
        yield "lost_query", "this user may not query records any more", Effect.NONE
    if bool(was.record_types) != bool(now.record_types):
        what = (
            "has record types now, which may narrow picklists"
            if now.record_types
            else "has no record types any more"
        )
        yield "record_types", what, Effect.NONE
    if was.children is not None and now.children is not None:
        yield from _children(set(was.children), set(now.children), deletes=use is not None and use.delete)
    if was.label != now.label:
        yield "label", f'label "{was.label}" -> "{now.label}"', Effect.NONE


def _children(was: set[ChildLink], now: set[ChildLink], *, deletes: bool) -> Iterator[Finding]:
    """What goes along with a deleted record, or keeps it from being deleted; a file that does not say so is no drift."""
    for link in sorted(now - was, key=lambda link: link.place):
        if link.cascades:
            what = f"{link.place} cascades now: its records are deleted along with these"
            # A plan made of the file would not name them, let alone refuse.
            effect = Effect.STOPS if link.guarded else Effect.ROWS
            yield "cascades", what, effect if deletes else Effect.NONE
        else:
            what = (
                f"{link.place} forbids deletes now: a record is refused while one of its records refers to it"
            )
            yield "restricts", what, Effect.ROWS if deletes else Effect.NONE
    places = {link.place for link in now}
    for link in sorted(was - now, key=lambda link: link.place):
        if link.place not in places:
            verb = "cascades" if link.cascades else "forbids deletes"
            yield "released", f"{link.place} no longer {verb}", Effect.NONE


def _field_findings(
    was: Field | None, now: Field | None, use: FieldUse | None, written: ObjectUse | None
) -> list[Finding]:
    """written: the object's use, if records of it are made."""
    stops = Effect.STOPS if use is not None else Effect.NONE
    unmapped = written is not None and written.create and (use is None or not use.written)
    if now is None:
        if was is None and use is None:
            return []
        return [("field_gone", "gone from the org, or hidden from this user", stops)]
    if was is None:
        if use is not None:
            return [("not_pulled", f"used, and not in the contract: {shape(now)}", Effect.STOPS)]
        if now.required_on_create and unmapped:
            what = f"new, and nothing is created without it: {shape(now)}; no sync maps it"
            return [("required_new", what, Effect.STOPS)]
        return [("field_new", f"new: {shape(now)}", Effect.NONE)]
    was, now = (
        replace(f, picklist=tuple(sorted(f.picklist))) for f in (was, now)
    )  # their order is no difference
    if was == now:
        return []
    if was.type != now.type:
        return [("type", f"of type {now.type} now, was {was.type}", stops)]
    found = [*_rights(was, now, use), *_required(was, now, use, unmapped=unmapped), *_sizes(was, now)]
    found += [*_picklist(was, now), *_keys(was, now, use), *_reference(was, now, use)]
    if use is None:
        found = [(k, w, e if k == "required" and unmapped else Effect.NONE) for k, w, e in found]
    return found or [_other(was, now)]


def _rights(was: Field, now: Field, use: FieldUse | None) -> Iterator[Finding]:
    lost = [
        words
        for name, words in (("createable", "set on create"), ("updateable", "updated"))
        if getattr(was, name) and not getattr(now, name)
    ]
    gained = [
        words
        for name, words in (("createable", "set on create"), ("updateable", "updated"))
        if getattr(now, name) and not getattr(was, name)
    ]
    closed = not now.createable and not now.updateable
    written = use is not None and use.written
    if lost:
        why = (
            "a formula now, so it"
            if now.calculated and not was.calculated
            else "this user may see it, but it"
        )
        stops = written and (closed or (use is not None and use.identity and not now.createable))
        effect = Effect.STOPS if stops else Effect.ROWS if written else Effect.NONE
        yield "lost_access", f"{why} may not be {' or '.join(lost)} any more", effect
    if gained:
        yield "gained_access", f"may be {' and '.join(gained)} now", Effect.NONE


def _required(was: Field, now: Field, use: FieldUse | None, *, unmapped: bool) -> Iterator[Finding]:
    if now.required_on_create and not was.required_on_create and unmapped:
        yield "required", "nothing is created without it now, and no sync maps it", Effect.STOPS
    elif was.nillable and not now.nillable:
        effect = Effect.ROWS if use is not None and use.written else Effect.NONE
        yield "required", "became required: a row without a value is refused", effect
    elif now.nillable and not was.nillable:
        yield "optional", "may be blank now", Effect.NONE


def _sizes(was: Field, now: Field) -> Iterator[Finding]:
    if was.length != now.length and now.type != "reference":
        less = now.length < was.length
        word = "narrowed" if less else "widened"
        what = f"{word} from {was.length:,} to {now.length:,} characters"
        yield word, what, Effect.ROWS if less else Effect.NONE
    places = (was.digits, now.digits) if now.type == "int" else (_whole(was), _whole(now))
    if places[0] != places[1]:
        less = places[1] < places[0]
        word = "narrowed" if less else "widened"
        what = f"{word} from {places[0]} to {places[1]} digits before the point"
        yield word, what, Effect.ROWS if less else Effect.NONE
    if was.scale != now.scale:
        less = now.scale < was.scale
        what = f"{now.scale} digits behind the point now, was {was.scale}"
        yield (
            "rounded" if less else "widened",
            what + (": values are rounded" if less else ""),
            (Effect.ROWS if less else Effect.NONE),
        )


def _whole(field: Field) -> int:
    return field.precision - field.scale


def _picklist(was: Field, now: Field) -> Iterator[Finding]:
    gone = [value for value in was.picklist if value not in now.picklist]
    more = [value for value in now.picklist if value not in was.picklist]
    if now.restricted_picklist and not was.restricted_picklist:
        yield "restricted", "takes only the values of its list now", Effect.ROWS
    elif was.restricted_picklist and not now.restricted_picklist:
        yield "unrestricted", "takes values that are not in its list now", Effect.NONE
    if gone:
        effect = Effect.ROWS if now.restricted_picklist else Effect.NONE
        yield "values_gone", f"{_values(gone)} gone from the list", effect
    if more:
        yield "values_new", f"{_values(more)} new in the list", Effect.NONE


def _values(values: list[str]) -> str:
    shown = ", ".join(f'"{value}"' for value in values[:8])
    more = f" and {len(values) - 8:,} more" if len(values) > 8 else ""
    return f"{'value' if len(values) == 1 else 'values'} {shown}{more}"


def _keys(was: Field, now: Field, use: FieldUse | None) -> Iterator[Finding]:
    is_key = use is not None and (use.identity or use.parent_key)
    if (was.external_id or was.id_lookup) and not (now.external_id or now.id_lookup):
        yield "no_external_id", "no external id any more", Effect.STOPS if is_key else Effect.NONE
    if was.unique and not now.unique:
        effect = (
            Effect.STOPS if use is not None and use.parent_key else Effect.ROWS if is_key else Effect.NONE
        )
        yield "not_unique", "not unique any more", effect
    elif now.unique and not was.unique:
        effect = Effect.ROWS if use is not None and use.written and not use.identity else Effect.NONE
        yield "unique", "must be unique now", effect
    if was.case_sensitive != now.case_sensitive:
        what = (
            "tells small from capital letters now"
            if now.case_sensitive
            else "no longer tells small from capital letters"
        )
        yield "case", what, Effect.ROWS if is_key else Effect.NONE


def _reference(was: Field, now: Field, use: FieldUse | None) -> Iterator[Finding]:
    gone = [name for name in was.reference_to if name not in now.reference_to]
    more = [name for name in now.reference_to if name not in was.reference_to]
    wanted = {name.lower() for name in use.parents} if use is not None else set()
    if gone:
        hit = bool(wanted & {name.lower() for name in gone})
        effect = Effect.STOPS if hit else Effect.ROWS if use is not None and use.written else Effect.NONE
        yield "refers", f"does not refer to {', '.join(gone)} any more", effect
    if more:
        yield "refers", f"may refer to {', '.join(more)} now", Effect.NONE
    if (
        was.relationship_name != now.relationship_name
        or was.polymorphic_foreign_key != now.polymorphic_foreign_key
    ):
        shown = [
            f"{f.relationship_name}{', of several objects' if f.polymorphic_foreign_key else ''}"
            for f in (was, now)
        ]
        yield (
            "relationship",
            f"relationship {shown[0]} -> {shown[1]}",
            Effect.STOPS if wanted else Effect.NONE,
        )


def _other(was: Field, now: Field) -> Finding:
    """A difference that no rule of ours asks for; the label by name, others as they are called in describe."""
    names = [n for n in Field.__dataclass_fields__ if getattr(was, n) != getattr(now, n)]
    parts = [
        f"{name.replace('_', ' ')} {_shown(getattr(was, name))} -> {_shown(getattr(now, name))}"
        for name in names
    ]
    return "other", ", ".join(parts), Effect.NONE


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f'"{value}"' if isinstance(value, str) else "none" if value is None else str(value)


def shape(field: Field) -> str:
    """A field's type in a few words: ``string of 80 characters, required, external id``."""
    text = field.type
    if field.type == "reference":
        text = f"reference to {', '.join(field.reference_to)}"
    elif field.precision:
        text += f" of {_whole(field)} + {field.scale} digits"
    elif field.digits:
        text += f" of {field.digits} digits"
    elif field.length and field.type != "id":
        text += f" of {field.length:,} characters"
    marks = {
        "required": field.required_on_create,
        "external id": field.external_id,
        "unique": field.unique,
        "restricted": field.restricted_picklist,
        "read only": not (field.createable or field.updateable),
    }
    return ", ".join([text, *(mark for mark, has in marks.items() if has)])
