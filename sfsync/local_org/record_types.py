"""Record types: the object that lists them, and what they do to a write.

Owns:      completing them in a schema, the RecordType object and its records, which Ids a write may name, the default.
Does not:  narrow picklists (row_rules), or describe (describe).
Invariant: every record type of a loaded schema has an Id, and every object that has one has the field RecordTypeId.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from sfsync.contract import Contract, Field, RecordType, SObject
from sfsync.errors import SpecError
from sfsync.local_org.ids import to_18
from sfsync.local_org.store import literal, quoted, table

OBJECT, FIELD, PREFIX = "RecordType", "RecordTypeId", "012"
_TEXTS = (
    ("Name", 80),
    ("DeveloperName", 80),
    ("SobjectType", 40),
    ("Description", 255),
    ("NamespacePrefix", 15),
)


def with_record_types(contract: Contract, audit: tuple[Field, ...]) -> Contract:
    """The contract with the object RecordType, and with Ids and RecordTypeId wherever there are record types.

    Args:
        audit: the system fields that every object has.
    """
    made, number = [], 0
    for sobject in sorted(contract.objects, key=lambda o: o.name):
        found = sobject.record_type_infos or tuple(
            RecordType(f"Type_{n}", label=f"Type {n}") for n in range(1, sobject.record_types + 1)
        )
        _check(sobject, found)
        complete = []
        for info in found:
            number += 1
            given = info.id or to_18(f"{PREFIX}{number:012d}")
            complete.append(replace(info, id=given, label=info.label or info.developer_name))
        fields = sobject.fields
        if found and sobject.field(FIELD) is None:
            fields = (*fields, _record_type_id())
        made.append(
            replace(sobject, fields=fields, record_types=len(complete), record_type_infos=tuple(complete))
        )
    if contract.object(OBJECT) is None:
        made.append(_record_type_object(audit))
    return replace(contract, objects=tuple(made))


def _check(sobject: SObject, found: tuple[RecordType, ...]) -> None:
    if sum(info.default for info in found) > 1:
        raise SpecError(f"object '{sobject.name}' has more than one default record type")
    for info in found:
        for name, values in info.picklists:
            field = sobject.field(name)
            strange = [v for v in values if field is None or v not in field.picklist]
            if strange:
                raise SpecError(
                    f"record type '{info.developer_name}' of '{sobject.name}' narrows {name} to '{strange[0]}', which"
                    " is no value of that field"
                )


def _record_type_id() -> Field:
    return Field(
        FIELD, "Record Type ID", "reference", 18, reference_to=(OBJECT,), relationship_name=OBJECT, permissionable=False
    )  # fmt: skip


def _record_type_object(audit: tuple[Field, ...]) -> SObject:
    own = tuple(
        Field(
            name,
            name,
            "string",
            length,
            nillable=name in ("Description", "NamespacePrefix"),
            createable=False,
            updateable=False,
            id_lookup=name == "DeveloperName",
            name_field=name == "Name",
            permissionable=False,
        )
        for name, length in _TEXTS
    )
    active = Field("IsActive", "Active", "boolean", nillable=False, createable=False, updateable=False, permissionable=False)  # fmt: skip
    return SObject(OBJECT, "Record Type", PREFIX, False, False, False, (*audit, *own, active))


def seed(cursor: duckdb.DuckDBPyConnection, contract: Contract, audit: dict[str, str]) -> None:
    """Put the record types' own records in place of those that are there."""
    cursor.execute(f"DELETE FROM {table(OBJECT)}")
    for sobject in contract.objects:
        for info in sobject.record_type_infos:
            texts = {
                "Id": info.id or "",
                "Name": info.label,
                "DeveloperName": info.developer_name,
                "SobjectType": sobject.name,
                "IsActive": "true" if info.active else "false",
                **audit,
            }
            names = ", ".join(quoted(name) for name in texts)
            values = ", ".join(literal(text) for text in texts.values())
            cursor.execute(f"INSERT INTO {table(OBJECT)} ({names}) VALUES ({values})")


def usable(sobject: SObject) -> tuple[str, ...]:
    """The Ids that a write may give to a record of this object."""
    return tuple(info.id for info in sobject.record_type_infos if info.id and info.active and info.available)


def default_of(sobject: SObject) -> str | None:
    """The Id that a new record gets which names none."""
    mine = (info for info in sobject.record_type_infos if info.active and info.available)
    return next((info.id for info in mine if info.default), None)
