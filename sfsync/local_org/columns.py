"""What each uploaded header writes to: a field, or a lookup through a field of its parent.

Owns:      header resolution (`Name`, `Account.Account_Id__c`, `User:Owner.Username`), and the refusal of unknown ones.
Does not:  look at values (write_sql) or rows (write).
Invariant: a Column exists only for a header that this object has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfsync.contract import Contract, Field, SObject


class RefusedWriteError(Exception):
    """The whole request is refused, as Salesforce refuses it: a code, a message, perhaps fields."""

    def __init__(self, code: str, message: str, fields: tuple[str, ...] = (), *, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.fields, self.status = code, message, fields, status


@dataclass(frozen=True, slots=True)
class Column:
    """One uploaded header. `parent` and `parent_field` are set when it names a parent by one of its fields."""

    header: str
    field: Field
    parent: SObject | None = None
    parent_field: Field | None = None


def resolve(contract: Contract, sobject: SObject, headers: Sequence[str]) -> tuple[Column, ...]:
    """Every header as a Column, in order.

    Raises:
        RefusedWriteError: INVALID_FIELD for the first header that this object does not have, or that stands twice.
    """
    columns = tuple(_resolve(contract, sobject, header) for header in headers)
    seen: set[str] = set()
    for column in columns:
        place = f"{column.field.name} {column.header if column.parent else ''}"
        if place in seen:
            raise RefusedWriteError(
                "INVALID_FIELD", f"Duplicate field '{column.field.name}' on {sobject.name}"
            )
        seen.add(place)
    return columns


def by_field(columns: Sequence[Column]) -> dict[str, list[int]]:
    """Field name -> its columns: a lookup may come by Id in one record and by its parent's key in another."""
    found: dict[str, list[int]] = {}
    for i, column in enumerate(columns):
        found.setdefault(column.field.name, []).append(i)
    return found


def no_such_column(name: str, sobject: SObject) -> RefusedWriteError:
    """The platform's answer to an unknown (or invisible) field."""
    return RefusedWriteError("INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject.name}")


def key_field(sobject: SObject, name: str) -> Field:
    """The field that an upsert may match by.

    Raises:
        RefusedWriteError: NOT_FOUND; no such field, or neither external id nor idLookup.
    """
    field = sobject.field(name)
    if field is None or not (field.external_id or field.id_lookup or field.name == "Id"):
        raise RefusedWriteError(
            "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {name}", status=404
        )
    return field


def _resolve(contract: Contract, sobject: SObject, header: str) -> Column:
    if "." not in header:
        field = sobject.field(header)
        if field is None or field.type in ("address", "location"):
            raise no_such_column(header, sobject)
        return Column(header, field)
    target, _, path = header.rpartition(":")
    relationship, _, key = path.partition(".")
    reference = next(
        (
            f
            for f in sobject.fields
            if f.relationship_name and f.relationship_name.lower() == relationship.lower()
        ),
        None,
    )
    if reference is None:
        raise no_such_column(relationship, sobject)
    parent = _parent(contract, sobject, reference, target)
    parent_field = parent.field(key)
    if parent_field is None:
        raise no_such_column(key, parent)
    if not (parent_field.external_id or parent_field.id_lookup):
        raise RefusedWriteError(
            "INVALID_FIELD",
            f"Field name provided, {key} is not an External ID or indexed field for {parent.name}",
        )
    return Column(header, reference, parent, parent_field)


def _parent(contract: Contract, sobject: SObject, reference: Field, target: str) -> SObject:
    many = len(reference.reference_to) > 1
    if many and not target:
        raise RefusedWriteError(
            "INVALID_FIELD",
            f"The relationship {reference.relationship_name} on {sobject.name} is polymorphic: name the object, "
            f"one of {', '.join(reference.reference_to)}",
        )
    if target and not many:
        raise RefusedWriteError(
            "INVALID_FIELD",
            f"type is not needed for non polymorphic foreign key {reference.relationship_name} on {sobject.name}",
        )
    name = next((t for t in reference.reference_to if not many or t.lower() == target.lower()), None)
    parent = contract.object(name) if name else None
    if parent is None:
        raise RefusedWriteError("INVALID_FIELD", f"{target or name} is not a parent of {sobject.name} here")
    return parent
