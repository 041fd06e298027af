"""What of an org can be written at all: kinds of object, rights, fields that nobody writes and those that every record needs.

Owns:      why an object or a field is refused, and what to do instead; fields without which others are not to be written.
Does not:  look at a mapping's column or policy (fields).
"""

from __future__ import annotations

from sfsync.compiler.constants import listed
from sfsync.compiler.problems import Problems
from sfsync.compiler.surroundings import OrgView
from sfsync.compiler.wire import accepts
from sfsync.contract import Field, SObject
from sfsync.project.modes import MODES
from sfsync.project.project import SyncFile
from sfsync.project.usage import rights_of
from sfsync.records import SourceType

_COMPOUND = "it is compound"
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
    "address": _COMPOUND,
    "location": _COMPOUND,
}
CURRENCY = "CurrencyIsoCode"
"""The field that every record has in an org of several currencies. Source: Object Reference, "Field Types" (currency)."""


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
    mapped = _mapped(sync)
    if _makes_people(item, mapped):
        # The org makes the name of a person's account out of the person's, and takes no other.
        if "name" in mapped:
            problems.error(
                "Account.Name is given by the org where an account is a person, and the sync maps LastName, too",
                sync.where("fields", next((n for n in sync.spec.fields if n.lower() == "name"), "LastName")),
                fix="make two syncs with a `where` each: people by LastName, without Name, and companies by Name",
            )
        mapped |= {"name"}
    missing = [f.name for f in item.fields if f.required_on_create and f.name.lower() not in mapped]
    if missing:
        one = len(missing) == 1
        problems.error(
            f"{item.name} cannot be created without {', '.join(missing)}, which {'is' if one else 'are'} not mapped",
            sync.where("fields"),
            fix=f"map {'it' if one else 'them'} under fields",
        )


def _mapped(sync: SyncFile) -> set[str]:
    """Fields that the sync maps, in small letters."""
    return {n.lower() for n in (*sync.spec.identity, *sync.spec.fields)}


def _makes_people(item: SObject, mapped: set[str]) -> bool:
    """Whether the accounts that a sync makes are people: an Account has a LastName only where there are such."""
    return item.name == "Account" and "lastname" in mapped and item.field("LastName") is not None


def check_currency(sync: SyncFile, item: SObject, problems: Problems) -> None:
    """Report amounts in an org of several currencies whose currency the sync leaves to chance.

    Not where the field cannot be written: such a record has the currency of its parent.
    """
    code, mode = item.field(CURRENCY), MODES[sync.spec.mode]
    if code is None or CURRENCY.lower() in _mapped(sync) or not (code.createable or code.updateable):
        return
    amounts = [n for n in sync.spec.fields if (f := item.field(n)) is not None and f.type == "currency"]
    if not amounts or not (mode.creates or mode.updates):
        return
    one, where = len(amounts) == 1, sync.where("fields", amounts[0])
    what = f"the org has several currencies, and nothing says which {', '.join(amounts)} {'is' if one else 'are'} in"
    if not mode.creates:
        problems.warn(f"{what}: each record keeps its own; map {item.name}.{CURRENCY} to set it", where)
        return
    codes = code.picklist
    example = code.default_value or (codes[0] if codes else "EUR")
    problems.error(
        f"{what}: map {item.name}.{CURRENCY}, or new records get the currency of this user",
        where,
        fix=f"map it to a column, or write {CURRENCY}: {{value: {example}}} (one of {listed(codes)})"
        if codes
        else f"map it to a column, or write {CURRENCY}: {{value: {example}}}",
    )


def refusal(field: Field, item: SObject) -> tuple[str | None, str | None]:
    """Why a field cannot be written and what to do instead; (None, None) when it can."""
    own = (f for f in item.fields if f.compound_field_name == field.name and f.name != field.name)
    parts = [f.name for f in own if f.createable or f.updateable]
    of_parts = f"map its parts: {', '.join(parts)}" if parts else None
    reason = _REFUSED_TYPES.get(field.type.lower())
    if reason is not None:
        if reason == _COMPOUND and not parts:
            of_parts = "map the fields that it is made of"
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
        return _COMPOUND, of_parts
    return (
        "{who} may neither create nor edit it",
        "give this user the right to edit the field{then_pull}, or remove it",
    )
