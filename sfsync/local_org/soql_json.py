"""What a field's canonical text looks like in an answer, as SQL that yields JSON text, or the text of a CSV cell.

Owns:      forms by field type: numbers, booleans, datetimes with +0000 in JSON, escaped text.
Does not:  choose fields (soql) or build whole records.
Invariant: the SQL never yields NULL; a null field is the text `null` in JSON, and blank in CSV.
"""

from __future__ import annotations

from collections.abc import Callable

from sfsync.contract import Field, SObject
from sfsync.local_org.soql_values import kind

_ADDRESS = ("city", "country", "geocodeAccuracy", "latitude", "longitude", "postalCode", "state", "street")
_PLACE = ("latitude", "longitude")


def json_value(found: Field, column: str) -> str:
    """SQL of a field's JSON text, `null` included, from its canonical text."""
    compared = kind(found)
    if compared == "boolean":
        return f"coalesce({column}, 'false')"
    if compared == "number":
        whole = column if found.type in ("int", "long") else _with_point(column)
        return f"coalesce({whole}, 'null')"
    if compared == "datetime":
        return f"coalesce('\"' || rtrim({column}, 'Z') || '+0000\"', 'null')"
    if compared in ("date", "time", "id"):
        return f"coalesce('\"' || {column} || '\"', 'null')"
    return f"coalesce(CAST(to_json({column}) AS VARCHAR), 'null')"


def compound_value(sobject: SObject, found: Field, column_of: Callable[[str], str]) -> str:
    """SQL of the JSON text of an address or a place, which is made of its parts; `null` where all of them are.

    Args:
        column_of: SQL of a field's canonical text, from its name.
    """
    parts = {_part_of(found, f): f for f in sobject.fields if f.compound_field_name == found.name}
    if not parts:
        return "'null'"
    keys = _ADDRESS if found.type == "address" else _PLACE
    texts = []
    for key in keys:
        value = json_value(parts[key], column_of(parts[key].name)) if key in parts else "'null'"
        texts.append(f"""'"{key}":' || {value}""")
    members = " || ',' || ".join(texts)
    present = ", ".join(column_of(f.name) for f in parts.values())
    return f"CASE WHEN coalesce({present}, NULL) IS NULL THEN 'null' ELSE '{{' || {members} || '}}' END"


def _part_of(compound: Field, part: Field) -> str:
    """The key of a part: BillingPostalCode of BillingAddress is postalCode, Spot__Latitude__s of Spot__c latitude."""
    if compound.type == "location":
        return "latitude" if "latitude" in part.name.lower() else "longitude"
    name = part.name.removeprefix(compound.name.removesuffix("Address"))
    return name[:1].lower() + name[1:]


def cell_value(found: Field, column: str) -> str:
    """SQL of a field's text in a Bulk query's CSV, blank for null."""
    compared = kind(found)
    if compared == "boolean":
        return f"coalesce({column}, 'false')"
    if compared == "number" and found.type not in ("int", "long"):
        return f"coalesce({_with_point(column)}, '')"
    return f"coalesce({column}, '')"


def _with_point(column: str) -> str:
    """Numbers that may have a fraction are always written with one: 12.0."""
    return f"CASE WHEN contains({column}, '.') THEN {column} ELSE {column} || '.0' END"
