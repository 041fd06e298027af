"""What hangs on an object's records when they are deleted: lookups of other objects that cascade, or that forbid it.

Owns:      ChildLink, which links of a describe are kept, and their form in a contract.
Does not:  know objects and fields (contract), or judge a delete (plan/cascade).
Invariant: a lookup that is merely cleared is not here: nothing is lost with it but the link.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfsync.errors import SpecError, Where

CASCADE, RESTRICT = "cascade", "restrict"

SHADOWS = ("History", "Share", "Feed", "ChangeEvent", "Tag")
"""Objects that the platform keeps beside another one are named after it: AccountHistory, Invoice__Share."""

_RECORDS = frozenset(
    [
        "Account",
        "Asset",
        "Campaign",
        "Case",
        "Contact",
        "Contract",
        "ContractLineItem",
        "Entitlement",
        "Individual",
        "Lead",
        "Opportunity",
        "OpportunityLineItem",
        "Order",
        "OrderItem",
        "PricebookEntry",
        "Product2",
        "Quote",
        "QuoteLineItem",
        "ServiceAppointment",
        "ServiceContract",
        "Solution",
        "WorkOrder",
        "WorkOrderLineItem",
    ]
)
"""Standard objects whose records people keep for their own sake. All others that hang on records (tasks, notes, roles,
members, follows) go with what they are about, in every org, and are named but guarded nowhere (ADR 23)."""


@dataclass(frozen=True, slots=True)
class ChildLink:
    """A lookup of another object, seen from the record it refers to."""

    object: str  # that has the lookup
    field: str
    cascades: bool  # its records go with ours; else ours cannot be deleted while there are any

    @property
    def place(self) -> str:
        """``Contact.AccountId``."""
        return f"{self.object}.{self.field}"

    @property
    def guarded(self) -> bool:
        """Its records count for themselves: to lose them with ours is a decision of its own."""
        return self.cascades and (self.object.lower().endswith("__c") or self.object in _RECORDS)


@dataclass(frozen=True, slots=True)
class Below:
    """A link to an object's records, or to records that go along with them."""

    parent: str  # the object that the link refers to
    link: ChildLink


def from_describe(body: Mapping[str, Any]) -> tuple[ChildLink, ...]:
    """The links of an answer of ``GET /sobjects/{name}/describe`` that matter to a delete, in the order of their names."""
    found = {
        ChildLink(item["childSObject"], item["field"], bool(item.get("cascadeDelete")))
        for item in body.get("childRelationships") or ()
        if (item.get("cascadeDelete") or item.get("restrictedDelete"))
        and item.get("childSObject")
        and item.get("field")
        and not item.get("deprecatedAndHidden")
        and not is_shadow(item["childSObject"])
    }
    return tuple(sorted(found, key=lambda link: (link.object, link.field)))


def is_shadow(name: str) -> bool:
    """Whether an object is what the platform keeps of another: its history, shares, feed or change events.

    Custom objects of people end in __c, whatever they are called.
    """
    return not name.lower().endswith("__c") and name.endswith(SHADOWS)


def to_json(links: Iterable[ChildLink]) -> dict[str, str]:
    """``{"Contact.AccountId": "cascade"}``."""
    ordered = sorted(links, key=lambda link: link.place)
    return {link.place: CASCADE if link.cascades else RESTRICT for link in ordered}


def from_json(body: Any, at: str, path: Path | str) -> tuple[ChildLink, ...] | None:
    """Read what `to_json` wrote; None where it is not there.

    Raises:
        SpecError: it is something else.
    """
    if body is None:
        return None
    if not isinstance(body, dict):
        raise wrong_type(at, "children", dict, path)
    found = []
    for place, word in body.items():
        name, dot, field = place.partition(".")
        if not (name and dot and field) or word not in (CASCADE, RESTRICT):
            raise SpecError(
                f'{at}: \'children\' must say "Object.Field": "{CASCADE}" or "{RESTRICT}"', where=Where(path)
            )
        found.append(ChildLink(name, field, word == CASCADE))
    return tuple(sorted(found, key=lambda link: (link.object, link.field)))


_KINDS = {
    dict: "a JSON object",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    tuple: "a list of texts",
}


def wrong_type(at: str, key: str, kind: type, path: Path | str) -> SpecError:
    """A property of a contract that is no text, number, list or object as it must be."""
    return SpecError(f"{at}: '{key}' must be {_KINDS[kind]}", where=Where(path))
