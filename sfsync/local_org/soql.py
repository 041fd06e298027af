"""A parsed SOQL query to one SQL statement over the store: names resolved, parents joined, rows as JSON text.

Owns:      the record tree of an answer, aggregates, ordering.
Does not:  parse (soql_syntax), resolve names (soql_names), compare (soql_values), page or answer (soql_routes).
Invariant: the statement yields one column `record`, the finished JSON of one row, so no row is ever taken apart in
           Python; `count()` yields one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sfsync.contract import Contract, Field
from sfsync.local_org.soql_json import compound_value, json_value
from sfsync.local_org.soql_names import COMPOUND, Names, Resolved, Source, ordered
from sfsync.local_org.soql_syntax import Order, Path, Query, Selected, SoqlError, parse
from sfsync.local_org.soql_values import comparable, filterable, kind
from sfsync.local_org.store import literal


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement to run. count_only: it yields one number; else one `record` per row, in the order of the answer."""

    object: str
    sql: str
    count_only: bool


@dataclass(slots=True)
class _Node:
    """One JSON object of an answer: its source, and its members in order."""

    source: Source
    members: dict[str, Field | _Node] = field(default_factory=dict)


def compile_soql(
    text: str,
    contract: Contract,
    *,
    version: str,
    now: datetime,
    include_deleted: bool = False,
    tables: Mapping[str, str] | None = None,
) -> Compiled:
    """Turn SOQL into SQL.

    Args:
        version: of the API, e.g. ``67.0``, for the records' URLs.
        now: what TODAY and the other macros count from.
        include_deleted: True for queryAll.
        tables: where an object's rows are when not in ``data."<object>"``.

    Raises:
        SoqlError: MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD, INVALID_QUERY_FILTER_OPERATOR,
            NUMBER_OUTSIDE_VALID_RANGE.
    """
    query = parse(text)
    return _Compiler(query, contract, version, now, include_deleted, tables).compile()


class _Compiler:
    def __init__(
        self,
        query: Query,
        contract: Contract,
        version: str,
        now: datetime,
        include_deleted: bool,
        tables: Mapping[str, str] | None,
    ) -> None:
        self._query = query
        self._version = version
        self._names = Names(query, contract, now, tables, include_deleted=include_deleted)
        self._root = self._names.root

    def compile(self) -> Compiled:
        query = self._query
        first = query.selected[0]
        if first.path is None and first.function == "count" and not query.group_by:
            if query.order_by:
                raise SoqlError("MALFORMED_QUERY", "count() cannot be used with ORDER BY")
            return Compiled(self._root.name, self._count(), True)
        if query.group_by or any(s.function for s in query.selected):
            return Compiled(self._root.name, self._aggregate(), False)
        return Compiled(self._root.name, self._rows(), False)

    # -- statements

    def _count(self) -> str:
        where = self._names.where()
        inner = f"SELECT 1 {self._names.from_clause()}{where}{self._names.page()}"
        return f"SELECT count(*) FROM ({inner})"

    def _rows(self) -> str:
        node = self._tree()
        where = self._names.where()
        order = [ordered(o, self._names.sortable(o)) for o in self._query.order_by]
        order.append(self._root.column("Id"))
        record = self._json(node)
        return f"SELECT {record} AS record {self._names.from_clause()}{where} ORDER BY {', '.join(order)}{self._names.page()}"

    def _aggregate(self) -> str:
        where = self._names.where()
        groups = {str(p).lower(): self._groupable(p) for p in self._query.group_by}
        names: dict[str, str] = {}  # alias or exprN -> aggregate SQL
        parts = ['\'{"attributes":{"type":"AggregateResult"}\'']
        for item in self._query.selected:
            if item.fields or (item.path is None):
                raise SoqlError(
                    "MALFORMED_QUERY", "Grouped query cannot use FIELDS() or count(); name the fields"
                )
            if item.function is None:
                resolved = groups.get(str(item.path).lower())
                if resolved is None:
                    raise SoqlError("MALFORMED_QUERY", f"Field must be grouped or aggregated: {item.path}")
                name, value = (
                    item.alias or resolved.field.name,
                    json_value(resolved.field, f"min({resolved.column})"),
                )
            else:
                expressions = sum(1 for n in names if n.startswith("expr"))
                name = item.alias or f"expr{expressions}"
                names[name.lower()] = self._function(item)
                value = self._function_json(item)
            parts.append(literal(f',"{name}":') + f" || {value}")
        record = " || ".join([*parts, "'}'"])
        group = ""
        if groups:
            group = " GROUP BY " + ", ".join(comparable(r.field, r.column) for r in groups.values())
        order = [ordered(o, self._sortable_group(o, groups, names)) for o in self._query.order_by]
        by = f" ORDER BY {', '.join(order)}" if order else ""
        return f"SELECT {record} AS record {self._names.from_clause()}{where}{group}{by}{self._names.page()}"

    # -- SELECT

    def _tree(self) -> _Node:
        root = _Node(self._root)
        for item in self._query.selected:
            if item.alias is not None:
                raise SoqlError("MALFORMED_QUERY", "only aggregate expressions use field aliasing")
            if item.fields is not None:
                for found in self._names.every_field(item.fields):
                    root.members.setdefault(found.name, found)
            elif item.path is not None:
                self._add(root, self._names.resolve(item.path), item.path)
        return root

    def _add(self, root: _Node, resolved: Resolved, path: Path) -> None:
        node = root
        for depth, name in enumerate(resolved.relationships, 1):
            source = self._names.joined(resolved.relationships[:depth])
            child = node.members.setdefault(name, _Node(source))
            if not isinstance(child, _Node):  # a relationship never has the name of a field
                raise SoqlError("INVALID_FIELD", f"duplicate field selected: {path}")
            node = child
        if resolved.field.name in node.members:
            raise SoqlError("INVALID_FIELD", f"duplicate field selected: {path}")
        node.members[resolved.field.name] = resolved.field

    def _json(self, node: _Node) -> str:
        source = node.source
        type_name = literal(source.name) if not source.polymorphic else "'Name'"
        entity = literal(source.name) if not source.polymorphic else source.column("Type")
        parts = [
            '\'{"attributes":{"type":"\' || ' + type_name,
            literal(f'","url":"/services/data/v{self._version}/sobjects/'),
            entity,
            "'/'",
            source.column("Id"),
            "'\"}'",
        ]
        for name, member in node.members.items():
            if isinstance(member, _Node):
                value = self._json(member)
            elif member.type in COMPOUND and not source.polymorphic:
                value = compound_value(source.objects[0], member, source.column)
            else:
                value = json_value(member, source.column(name))
            parts += [literal(f',"{name}":'), value]
        text = " || ".join([*parts, "'}'"])
        if source.alias == "t0":
            return text
        return f"CASE WHEN {source.column('Id')} IS NULL THEN 'null' ELSE {text} END"

    # -- aggregates

    def _groupable(self, path: Path) -> Resolved:
        resolved = self._names.resolve(path)
        if not filterable(resolved.field):
            raise SoqlError(
                "MALFORMED_QUERY", f"field '{resolved.field.name}' can not be grouped in a query call"
            )
        return resolved

    def _function(self, item: Selected) -> str:
        assert item.path is not None  # noqa: S101 - count() was answered before
        resolved = self._names.resolve(item.path)
        column = comparable(resolved.field, resolved.column)
        numeric = kind(resolved.field) == "number"
        if item.function in ("sum", "avg") and not numeric:
            raise SoqlError(
                "MALFORMED_QUERY",
                f"field {resolved.field.name} does not support aggregate operator {item.function.upper()}",
            )
        if item.function == "count":
            return f"count({resolved.column})"
        if item.function == "count_distinct":
            return f"count(DISTINCT {column})"
        return f"{item.function}({column if numeric else resolved.column})"

    def _function_json(self, item: Selected) -> str:
        sql = self._function(item)
        if item.function in ("count", "count_distinct"):
            return f"CAST({sql} AS VARCHAR)"
        assert item.path is not None  # noqa: S101 - as above
        found = self._names.resolve(item.path).field
        if kind(found) == "number":
            return f"coalesce(CAST(CAST({sql} AS DOUBLE) AS VARCHAR), 'null')"
        return json_value(found, sql)

    # -- ORDER BY and WHERE

    def _sortable_group(self, order: Order, groups: Mapping[str, Resolved], names: Mapping[str, str]) -> str:
        if order.item.function is not None:
            return self._function(order.item)
        key = str(order.item.path).lower()
        if key in names:
            return names[key]
        if key not in groups:
            raise SoqlError(
                "MALFORMED_QUERY", f"Ordered field must be grouped or aggregated: {order.item.path}"
            )
        return comparable(groups[key].field, groups[key].column)
