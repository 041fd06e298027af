"""Several currencies in one org: the field that every record then has, and the object that lists them.

Owns:      both, and their reading from a schema file.
Does not:  convert amounts: a record's amounts are in its own currency, and stay so.
Invariant: an org of one currency has neither the field nor the object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb

from sfsync.contract import Contract, Field, SObject
from sfsync.errors import SpecError, Where
from sfsync.local_org.ids import to_18
from sfsync.local_org.store import literal, quoted, table

FIELD, OBJECT, PREFIX = "CurrencyIsoCode", "CurrencyType", "01L"
_CODE = re.compile(r"[A-Z]{3}")


def read(text: str, path: Path) -> tuple[str, ...]:
    """The currencies that a schema file names, the corporate one first; those of its fields, if it names none.

    Raises:
        SpecError: `currencies` is no list of ISO codes.
    """
    body = json.loads(text)
    named = body.get("currencies", [])
    good = isinstance(named, list) and all(isinstance(c, str) and _CODE.fullmatch(c) for c in named)
    if not good or len(set(named)) != len(named):
        raise SpecError(
            "'currencies' must be a list of ISO codes, the corporate one first", where=Where(path)
        )
    if named:
        return tuple(named)
    fields = (o.get("fields", {}).get(FIELD, {}) for o in body["objects"].values())
    return tuple(dict.fromkeys(code for field in fields for code in field.get("picklist", ())))


def with_currencies(contract: Contract, codes: tuple[str, ...], audit: tuple[Field, ...]) -> Contract:
    """The contract with CurrencyIsoCode wherever records are made, and with the object CurrencyType.

    Args:
        audit: the system fields that every object has.
    """
    if not codes:
        return contract
    objects = [
        replace(o, fields=(*o.fields, _iso_code(codes))) if o.createable and o.field(FIELD) is None else o
        for o in contract.objects
    ]
    if contract.object(OBJECT) is None:
        objects.append(_currency_type(codes, audit))
    return replace(contract, objects=tuple(objects))


def _iso_code(codes: tuple[str, ...]) -> Field:
    return Field(
        FIELD,
        "Currency ISO Code",
        "picklist",
        3,
        nillable=False,
        defaulted_on_create=True,
        restricted_picklist=True,
        picklist=codes,
        default_value=codes[0],
        permissionable=False,
    )


def _currency_type(codes: tuple[str, ...], audit: tuple[Field, ...]) -> SObject:
    def own(name: str, kind: str, **more: int) -> Field:
        return Field(name, name, kind, nillable=False, createable=False, updateable=False, permissionable=False, **more)  # type: ignore[arg-type]  # fmt: skip

    code = replace(own("IsoCode", "picklist", length=3), picklist=codes, restricted_picklist=True)
    fields = (
        *audit,
        code,
        own("ConversionRate", "double", precision=18, scale=6),
        own("DecimalPlaces", "int", digits=1),
        own("IsActive", "boolean"),
        own("IsCorporate", "boolean"),
    )
    return SObject(OBJECT, "Currency Type", PREFIX, False, False, False, fields)


def seed(cursor: duckdb.DuckDBPyConnection, contract: Contract, audit: Mapping[str, str]) -> None:
    """Put the currencies' own records in place of those that are there."""
    found = contract.object(OBJECT)
    code = found.field("IsoCode") if found is not None else None
    if found is None or code is None:
        return
    cursor.execute(f"DELETE FROM {table(OBJECT)}")
    for number, name in enumerate(code.picklist):
        texts = {
            "Id": to_18(f"{PREFIX}{number + 1:012d}") or "",
            "IsoCode": name,
            "ConversionRate": "1",
            "DecimalPlaces": "2",
            "IsActive": "true",
            "IsCorporate": "true" if number == 0 else "false",
            **audit,
        }
        known = {k: v for k, v in texts.items() if found.field(k) is not None}
        cursor.execute(
            f"INSERT INTO {table(OBJECT)} ({', '.join(map(quoted, known))})"
            f" VALUES ({', '.join(map(literal, known.values()))})"
        )
