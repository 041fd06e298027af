"""JSON records in and out: into an incoming table, and from the store into an answer.

Owns:      nested parents, JSON types, attributes; reading records as JSON text by SQL.
Does not:  write (write) or route (rows, collections).
Invariant: what comes in leaves as (header, text) in the three states of the wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb

from sfsync.contract import Contract, Field, SObject
from sfsync.local_org.answers import ApiError
from sfsync.local_org.columns import no_such_column
from sfsync.local_org.soql_json import compound_value, json_value
from sfsync.local_org.store import quoted, table
from sfsync.local_org.write_sql import NUMBER_TYPES

Record = dict[str, str | None]
_TIMES = ("date", "datetime", "time")


def to_texts(contract: Contract, sobject: SObject, body: Any) -> Record:
    """One JSON record as header -> text ('' is null).

    Raises:
        ApiError: not an object, a value of the wrong JSON type, or more than one key inside a parent.
        RefusedWriteError: an unknown field.
    """
    if not isinstance(body, Mapping):
        raise ApiError(400, "JSON_PARSER_ERROR", "A record must be a JSON object")
    out: Record = {}
    for name, value in body.items():
        if name == "attributes":
            continue
        field = sobject.field(name)
        if field is None:
            header, text = _parent(contract, sobject, name, value)
        else:
            header, text = field.name, _text(field, value)
        if header in out:
            raise ApiError(400, "INVALID_FIELD", f"Duplicate field '{header}' on {sobject.name}")
        out[header] = text
    return out


def _parent(contract: Contract, sobject: SObject, name: str, value: Any) -> tuple[str, str]:
    reference = next(
        (f for f in sobject.fields if f.relationship_name and f.relationship_name.lower() == name.lower()),
        None,
    )
    if reference is None or reference.relationship_name is None:
        raise no_such_column(name, sobject)
    if value is None:
        return reference.name, ""
    if not isinstance(value, Mapping):
        raise ApiError(400, "JSON_PARSER_ERROR", f"The value of {name} must be a JSON object")
    keys = [k for k in value if k != "attributes"]
    if len(keys) != 1:
        raise ApiError(
            400, "INVALID_FIELD", f"{name} must hold exactly one external ID field; it holds {len(keys)}"
        )
    kind = (value.get("attributes") or {}).get("type")
    prefix = f"{kind}:" if kind and len(reference.reference_to) > 1 else ""
    parent = contract.object(str(kind) if prefix else (reference.reference_to or ("",))[0])
    field = parent.field(keys[0]) if parent is not None else None
    text = _text(field, value[keys[0]]) if field is not None else str(value[keys[0]])
    return f"{prefix}{reference.relationship_name}.{field.name if field else keys[0]}", text


def _text(field: Field, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping | list):
        raise _wrong(field, "START_OBJECT" if isinstance(value, Mapping) else "START_ARRAY", "")
    if field.type == "boolean":
        if not isinstance(value, bool):
            raise _wrong(field, "VALUE_STRING" if isinstance(value, str) else "VALUE_NUMBER", str(value))
        return "true" if value else "false"
    if field.type in _TIMES and (not isinstance(value, str) or value == ""):
        raise _wrong(field, "VALUE_STRING" if isinstance(value, str) else "VALUE_NUMBER", str(value))
    if field.type in NUMBER_TYPES and (isinstance(value, bool) or value == ""):
        raise _wrong(field, "VALUE_STRING" if value == "" else "VALUE_BOOLEAN", str(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return str(value)
    return value if isinstance(value, str) else str(value)


def _wrong(field: Field, token: str, value: str) -> ApiError:
    return ApiError(
        400,
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {field.type} from {token} value {value} or request may be missing a required "
        "field at [line:1, column:1]",
    )


def put_incoming(cursor: duckdb.DuckDBPyConnection, name: str, records: Sequence[Record]) -> None:
    """Make the incoming table of a request's records (at most 2,000 of them: one list per column)."""
    headers = list(dict.fromkeys(h for r in records for h in r))
    columns = "".join(f", unnest(${i}::VARCHAR[]) AS {quoted(h)}" for i, h in enumerate(headers, 2))
    cursor.execute(
        f"CREATE TEMP TABLE {name} AS SELECT unnest($1::BIGINT[]) AS _row{columns}",
        [list(range(len(records))), *([r.get(h) for r in records] for h in headers)],
    )


def read_records(
    cursor: duckdb.DuckDBPyConnection,
    sobject: SObject,
    record_ids: Sequence[str],
    fields: Sequence[Field],
    base: str,
) -> dict[str, Any]:
    """The live records of these Ids, by Id, as parsed JSON."""
    root = f"{base}/sobjects/{sobject.name}/"
    head = f"""'{{"attributes":{{"type":"{sobject.name}","url":"{root}' || Id || '"}}'"""
    cells = "".join(f""" || ',"{f.name}":' || {_value(sobject, f)}""" for f in fields)
    rows = cursor.execute(
        f"SELECT Id, {head}{cells} || '}}' FROM {table(sobject.name)}"
        " WHERE IsDeleted = 'false' AND Id IN (SELECT unnest(?::VARCHAR[]))",
        [list(record_ids)],
    ).fetchall()
    return {str(record): json.loads(text, parse_float=Decimal) for record, text in rows}


def _value(sobject: SObject, field: Field) -> str:
    """SQL of a field's JSON text; an address is made of its parts."""
    if field.type in ("address", "location"):
        return compound_value(sobject, field, quoted)
    return json_value(field, quoted(field.name))


def chosen_fields(sobject: SObject, names: str | Sequence[str] | None) -> tuple[Field, ...]:
    """The fields of a `fields=` parameter; all without one.

    Raises:
        ApiError: INVALID_FIELD.
    """
    if not names:
        return sobject.fields
    listed = names.split(",") if isinstance(names, str) else list(names)
    found = []
    for name in (n.strip() for n in listed):
        field = sobject.field(name)
        if field is None:
            raise ApiError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject.name}")
        if field not in found:
            found.append(field)
    return tuple(found)
