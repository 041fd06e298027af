"""What clients ask about a query besides its rows: its plan (`explain=`) and its columns (`columns=true`).

Owns:      both answers, made of the parsed query and the contract.
Does not:  judge the query (soql does, before anything here is said) or run it for its rows.
Invariant: a plan's figures are counted, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sfsync.contract import Contract, Field, SObject
from sfsync.local_org.soql import Compiled
from sfsync.local_org.soql_syntax import Compare, Condition, Junction, Path, Query, Selected, parse
from sfsync.local_org.store import Store, table

_NUMBERS = ("int", "long", "double", "currency", "percent")
_APEX = {
    "boolean": "Boolean",
    "int": "Integer",
    "long": "Long",
    "double": "Double",
    "currency": "Double",
    "percent": "Double",
    "date": "Date",
    "datetime": "Datetime",
    "time": "Time",
    "id": "Id",
    "reference": "Id",
}


def plans(text: str, compiled: Compiled, contract: Contract, store: Store) -> dict[str, Any]:
    """GET query?explain="""
    sobject = contract.object(compiled.object)
    where = parse(text).where
    filtered = [f for f in _fields(where, sobject) if f is not None] if sobject is not None else []
    index = next((f for f in filtered if f.name == "Id" or f.unique or f.external_id), None)
    with store.reading() as cursor:
        whole = cursor.execute(
            f"SELECT count(*) FROM {table(compiled.object)} WHERE IsDeleted = 'false'"
        ).fetchall()
        sql = compiled.sql if compiled.count_only else f"SELECT count(*) FROM ({compiled.sql})"
        rows = cursor.execute(sql).fetchall()
    total, found = int(whole[0][0]), int(rows[0][0])
    notes = [
        {
            "description": "Not considered for filter because unindexed",
            "fields": [field.name],
            "tableEnumOrId": compiled.object,
        }
        for field in filtered
        if index is None or field is not index
    ]
    plan = {
        "cardinality": found,
        "fields": [index.name] if index is not None else [],
        "leadingOperationType": "Index" if index is not None else "TableScan",
        "notes": notes,
        "relativeCost": round(found / max(total, 1), 3)
        if index is not None
        else 1.0 + round(found / max(total, 1), 3),
        "sobjectCardinality": total,
        "sobjectType": compiled.object,
    }
    return {"plans": [plan], "sourceQuery": text}


def _fields(where: Condition | None, sobject: SObject) -> Iterator[Field | None]:
    """The object's own fields in the conditions that must all hold, as far as an index could serve them."""
    if isinstance(where, Compare):
        if len(where.path.parts) == 1 and where.operator in ("=", "in", "<", ">", "<=", ">=", "like", "!="):
            yield sobject.field(where.path.parts[0])
    elif isinstance(where, Junction) and where.operator == "AND":
        for condition in where.conditions:
            yield from _fields(condition, sobject)


def columns(text: str, contract: Contract) -> dict[str, Any]:
    """GET query?q=&columns=true"""
    query = parse(text)
    sobject = contract.object(query.object)
    listed: list[dict[str, Any]] = []
    if sobject is not None:
        _add_all(listed, query, contract, sobject)
    return {
        "columnMetadata": listed,
        "entityName": sobject.name if sobject is not None else query.object,
        "groupBy": bool(query.group_by),
        "idSelected": any(column["columnName"] == "Id" for column in listed),
        "keyPrefix": sobject.key_prefix if sobject is not None else None,
    }


def _add_all(listed: list[dict[str, Any]], query: Query, contract: Contract, sobject: SObject) -> None:
    aggregates = 0
    for item in query.selected:
        if item.function is not None:
            listed.append(_aggregate(item, aggregates, contract, sobject))
            aggregates += item.alias is None
        elif item.fields is not None:
            listed += [
                _column(f, custom=f.custom) for f in sobject.fields if f.type not in ("address", "location")
            ]
        elif item.path is not None:
            _add(listed, _own_parts(item.path, query, sobject), contract, sobject)


def _own_parts(path: Path, query: Query, sobject: SObject) -> tuple[str, ...]:
    """The path without the object's own name or alias in front."""
    own = {(query.alias or "").lower(), sobject.name.lower()}
    return path.parts[1:] if len(path.parts) > 1 and path.parts[0].lower() in own else path.parts


def _add(listed: list[dict[str, Any]], parts: tuple[str, ...], contract: Contract, sobject: SObject) -> None:
    """A field, below the relationships that lead to it."""
    if len(parts) == 1:
        field = sobject.field(parts[0])
        listed.append(_column(field, custom=field.custom) if field is not None else _named(parts[0]))
        return
    wanted = parts[0].lower()
    lookup = next((f for f in sobject.fields if (f.relationship_name or "").lower() == wanted), None)
    name = lookup.relationship_name or parts[0] if lookup is not None else parts[0]
    joined = next((c for c in listed if c["columnName"] == name and c["foreignKeyName"] is not None), None)
    if joined is None:
        joined = _named(name, foreign_key=lookup.name if lookup is not None else name)
        listed.append(joined)
    parent = contract.object(lookup.reference_to[0]) if lookup is not None and lookup.reference_to else None
    if parent is None:
        joined["joinColumns"].append(_named(parts[-1]))
    else:
        _add(joined["joinColumns"], parts[1:], contract, parent)


def _aggregate(item: Selected, number: int, contract: Contract, sobject: SObject) -> dict[str, Any]:
    field = (
        sobject.field(item.path.parts[-1]) if item.path is not None and len(item.path.parts) == 1 else None
    )
    counted = item.function in ("count", "count_distinct") or field is None
    found = _named(item.alias or f"expr{number}", "Integer" if counted or field is None else _apex(field))
    shown = f"{item.function}({item.path if item.path is not None else ''})"
    return found | {
        "aggregate": True,
        "displayName": item.alias or shown,
        "numberType": counted,
        "textType": False,
    }


def _column(field: Field, *, custom: bool) -> dict[str, Any]:
    found = _named(field.name, _apex(field))
    return found | {
        "booleanType": field.type == "boolean",
        "custom": custom,
        "insertable": field.createable,
        "numberType": field.type in _NUMBERS,
        "textType": _apex(field) == "String",
        "updatable": field.updateable,
    }


def _apex(field: Field) -> str:
    return _APEX.get(field.type, "String")


def _named(name: str, apex: str = "String", *, foreign_key: str | None = None) -> dict[str, Any]:
    return {
        "aggregate": False,
        "apexType": apex,
        "booleanType": False,
        "columnName": name,
        "custom": name.endswith(("__c", "__r")),
        "displayName": name,
        "foreignKeyName": foreign_key,
        "insertable": False,
        "joinColumns": [],
        "numberType": False,
        "textType": apex == "String" and foreign_key is None,
        "updatable": False,
    }
