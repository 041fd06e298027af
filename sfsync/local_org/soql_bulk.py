"""A SOQL query as Bulk API 2.0 takes it: to one SQL statement with a column of text per selected field.

Owns:      what a Bulk query may not have, its columns and their names.
Does not:  parse (soql_syntax), resolve names (soql_names), run anything (bulk_query_worker).
Invariant: every column is the text of a CSV cell, never NULL; their order is that of the SELECT list.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sfsync.contract import Contract, Field
from sfsync.local_org.soql_json import cell_value
from sfsync.local_org.soql_names import COMPOUND, Names, ordered
from sfsync.local_org.soql_syntax import Query, SoqlError, parse


@dataclass(frozen=True, slots=True)
class BulkQuery:
    """A statement to run, whose columns are c0, c1, ...; names: what the header calls them."""

    object: str
    sql: str
    names: tuple[str, ...]


def compile_bulk(text: str, contract: Contract, *, now: datetime, include_deleted: bool = False) -> BulkQuery:
    """Turn SOQL into SQL.

    Args:
        now: what TODAY and the other macros count from.
        include_deleted: True for the operation queryAll.

    Raises:
        SoqlError: as `compile_soql`; API_ERROR for what Bulk does not take.
    """
    query = parse(text)
    _check(query)
    names = Names(query, contract, now, include_deleted=include_deleted)
    columns: dict[str, str] = {}
    for item in query.selected:
        found: list[tuple[str, Field, str]] = []
        if item.fields is not None:
            found = [(f.name, f, names.root.column(f.name)) for f in names.every_field(item.fields)]
        elif item.path is not None:
            resolved = names.resolve(item.path)
            shown = ".".join((*resolved.relationships, resolved.field.name))
            if shown in columns:
                raise SoqlError("INVALID_FIELD", f"duplicate field selected: {item.path}")
            found = [(shown, resolved.field, resolved.column)]
        for name, field, column in found:
            if field.type in COMPOUND:
                raise _restricted("Selecting compound data not supported in Bulk Query")
            columns.setdefault(name, cell_value(field, column))
    where = names.where()
    order = [ordered(o, names.sortable(o)) for o in query.order_by]
    by = f" ORDER BY {', '.join(order)}" if order else ""
    cells = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(columns.values()))
    sql = f"SELECT {cells} {names.from_clause()}{where}{by}{names.page()}"
    return BulkQuery(names.root.name, sql, tuple(columns))


def _check(query: Query) -> None:
    if query.group_by or any(item.function for item in query.selected):
        raise _restricted("Aggregate Relationships not supported in Bulk Query")
    if any(item.alias for item in query.selected):
        raise SoqlError("MALFORMED_QUERY", "only aggregate expressions use field aliasing")
    if query.offset:
        raise _restricted("OFFSET not supported in Bulk Query")


def _restricted(what: str) -> SoqlError:
    return SoqlError("API_ERROR", f"Implementation restriction: {what}")
