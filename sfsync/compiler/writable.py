"""What of an org can be written at all: kinds of object, rights, fields that nobody writes and those that every record needs.

Owns:      why an object or a field is refused, and what to do instead.
Does not:  look at a mapping's column or policy (fields).
"""

from __future__ import annotations

from sfsync.compiler.problems import Problems
from sfsync.compiler.surroundings import OrgView
from sfsync.compiler.wire import accepts
from sfsync.contract import Field, SObject
from sfsync.project.project import SyncFile
from sfsync.project.usage import rights_of
from sfsync.records import SourceType

_REFUSED_OBJECTS = {
    "__e": "a platform event",
    "__b": "a big object",
    "__x": "an external object",
    "__mdt": "a custom metadata type",
}
_REFUSED_TYPES = {
    "base64": "binary content cannot be synced",
    "anytype": "its type differs from row to row",
    "complexvalue": "its values are not plain",
    "address": "it is compound",
    "location": "it is compound",
}


def refuse_object(sync: SyncFile, problems: Problems) -> bool:
    """Refuse the kinds of object that no sync can write, by their name alone; True when refused."""
    name = sync.spec.object
    for suffix, kind in _REFUSED_OBJECTS.items():
        if name.lower().endswith(suffix):
            problems.error(
                f"object '{name}' is {kind}, which sfsync does not write",
                sync.value_where("object"),
                fix="sync a standard or a custom object",
            )
            return True
    return False


def check_rights(sync: SyncFile, item: SObject, org: OrgView, problems: Problems) -> None:
    """Report what the sync does to records and this user may not."""
    has = {"create": item.createable, "update": item.updateable, "delete": item.deletable}
    names = {"create": "Create", "update": "Edit", "delete": "Delete"}
    missing = [names[right] for right in rights_of(sync.spec) if not has[right]]
    if missing:
        rights = " and ".join(missing)
        problems.error(
            f"{org.who} may not {rights.lower()} records of '{item.name}'",
            sync.value_where("object"),
            fix=f"give this user {rights} on {item.label}{org.then_pull}, or sync another object",
        )


def check_required(sync: SyncFile, item: SObject, problems: Problems) -> None:
    """Report fields without which no record can be made, and that the sync does not map."""
    mapped = {n.lower() for n in (*sync.spec.identity, *sync.spec.fields)}
    missing = [f.name for f in item.fields if f.required_on_create and f.name.lower() not in mapped]
    if missing:
        one = len(missing) == 1
        problems.error(
            f"{item.name} cannot be created without {', '.join(missing)}, which {'is' if one else 'are'} not mapped",
            sync.where("fields"),
            fix=f"map {'it' if one else 'them'} under fields",
        )


def refusal(field: Field, item: SObject) -> tuple[str | None, str | None]:
    """Why a field cannot be written and what to do instead; (None, None) when it can."""
    parts = [f.name for f in item.fields if f.compound_field_name == field.name and f.name != field.name]
    of_parts = f"map its parts: {', '.join(parts)}" if parts else None
    reason = _REFUSED_TYPES.get(field.type.lower())
    if reason is not None:
        return f"type {field.type}, {reason}", of_parts
    if field.type != "id" and not accepts(field.type, SourceType.TEXT):
        return f"sfsync does not know type {field.type}", of_parts
    if field.createable or field.updateable:
        return None, None
    if field.type == "id":
        return "it is the record's own Id", None
    if field.calculated:
        return "it is a formula or a roll-up, calculated by the org", None
    if field.auto_number:
        return "it is an auto-number, given by the org", None
    if parts:
        return "it is compound", of_parts
    return (
        "{who} may neither create nor edit it",
        "give this user the right to edit the field{then_pull}, or remove it",
    )
