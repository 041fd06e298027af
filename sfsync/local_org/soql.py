"""A parsed SOQL query to one SQL statement over the store: names resolved, parents joined, rows as JSON text.

Owns:      fields, relationships, aggregates, ordering, what each type looks like in an answer.
Does not:  parse (soql_syntax), compare (soql_values), page or answer (soql_routes).
Invariant: the statement yields one column `record`, the finished JSON of one row, so no row is ever taken apart in
           Python; `count()` yields one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sfsync.contract import Contract, Field, SObject
from sfsync.local_org.soql_json import json_value
from sfsync.local_org.soql_syntax import (
    Condition,
    Junction,
    Not,
    Order,
    Path,
    Query,
    Selected,
    SoqlError,
    Value,
    parse,
)
from sfsync.local_org.soql_values import comparable, condition, filterable, kind
from sfsync.local_org.store import literal, quoted, table

MAX_FIELDS_LIMIT = 200  # rows with FIELDS(ALL) or FIELDS(CUSTOM); SOQL and SOSL Reference, "FIELDS()"
MAX_DEPTH = 5  # relationships in one path
_REFERENCE = "Please reference your WSDL or the describe call for the appropriate names."
_SYSTEM = tuple(
    Field(name=n, label=n, type=t, nillable=False, createable=False, updateable=False, reference_to=to, relationship_name=r)
    for n, t, to, r in (
        ("Id", "id", (), None),
        ("IsDeleted", "boolean", (), None),
        ("CreatedDate", "datetime", (), None),
        ("CreatedById", "reference", ("User",), "CreatedBy"),
        ("LastModifiedDate", "datetime", (), None),
        ("LastModifiedById", "reference", ("User",), "LastModifiedBy"),
        ("SystemModstamp", "datetime", (), None),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement to run. count_only: it yields one number; else one `record` per row, in the order of the answer."""

    object: str
    sql: str
    count_only: bool


@dataclass(frozen=True, slots=True)
class _Source:
    """A table of the FROM clause: an sobject, or several that a polymorphic relationship may lead to."""

    alias: str
    objects: tuple[SObject, ...]

    @property
    def polymorphic(self) -> bool:
        return len(self.objects) > 1

    @property
    def name(self) -> str:
        return "Name" if self.polymorphic else self.objects[0].name

    def column(self, name: str) -> str:
        return f"{self.alias}.{quoted(name)}"

    def find(self, name: str) -> Field | None:
        if self.polymorphic and name.lower() == "type":
            return Field("Type", "Type", "string")
        for candidate in self.objects:
            if found := find_field(candidate, name):
                return found
        return None


@dataclass(slots=True)
class _Node:
    """One JSON object of an answer: its source, and its members in order."""

    source: _Source
    members: dict[str, Field | _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Resolved:
    source: _Source
    field: Field
    relationships: tuple[str, ...]

    @property
    def column(self) -> str:
        return self.source.column(self.field.name)


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
    return _Compiler(query, contract, version, now, include_deleted, tables or {}).compile()


def find_field(item: SObject, name: str) -> Field | None:
    """A field of the contract, or one of those that every object has."""
    found = item.field(name)
    return found or next((f for f in _SYSTEM if f.name.lower() == name.lower()), None)


class _Compiler:
    def __init__(
        self,
        query: Query,
        contract: Contract,
        version: str,
        now: datetime,
        include_deleted: bool,
        tables: Mapping[str, str],
    ) -> None:
        self._query = query
        self._contract = contract
        self._version = version
        self._now = now
        self._include_deleted = include_deleted
        self._tables = tables
        self._joins: dict[tuple[str, ...], tuple[_Source, str]] = {}
        found = contract.object(query.object)
        if found is None or not found.queryable:
            raise SoqlError(
                "INVALID_TYPE",
                f"{self._mark(query.object_at)}sObject type '{query.object}' is not supported. If you are attempting"
                f" to use a custom object, be sure to append the '__c' after the entity name. {_REFERENCE}",
            )
        self._root = _Source("t0", (found,))

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
        where = self._where()
        inner = f"SELECT 1 {self._from()}{where}{self._page()}"
        return f"SELECT count(*) FROM ({inner})"

    def _rows(self) -> str:
        node = self._tree()
        where = self._where()
        order = [self._order(o, self._sortable(o)) for o in self._query.order_by]
        order.append(self._root.column("Id"))
        record = self._json(node)
        return f"SELECT {record} AS record {self._from()}{where} ORDER BY {', '.join(order)}{self._page()}"

    def _aggregate(self) -> str:
        where = self._where()
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
        order = [self._order(o, self._sortable_group(o, groups, names)) for o in self._query.order_by]
        by = f" ORDER BY {', '.join(order)}" if order else ""
        return f"SELECT {record} AS record {self._from()}{where}{group}{by}{self._page()}"

    def _from(self) -> str:
        table = self._table(self._root.objects[0])
        return " ".join([f"FROM {table} t0", *(join for _, join in self._joins.values())])

    def _where(self) -> str:
        conditions = [] if self._include_deleted else ["coalesce(t0.\"IsDeleted\", 'false') <> 'true'"]
        if self._query.where is not None:
            conditions.append(self._condition(self._query.where))
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def _page(self) -> str:
        limit = f" LIMIT {self._query.limit}" if self._query.limit is not None else ""
        return limit + (f" OFFSET {self._query.offset}" if self._query.offset else "")

    def _table(self, item: SObject) -> str:
        return self._tables.get(item.name, table(item.name))

    # -- names

    def _mark(self, at: int) -> str:
        """The query's line, a caret under the place, and where that is: the head of Salesforce's messages."""
        text = self._query.text
        row = text.count("\n", 0, at)
        start = text.rfind("\n", 0, at) + 1
        line = text[start:].split("\n", 1)[0]
        column = at - start
        return f"\n{line}\n{' ' * column}^\nERROR at Row:{row + 1}:Column:{column + 1}\n"

    def _resolve(self, path: Path) -> _Resolved:
        parts = path.parts
        own = {(self._query.alias or "").lower(), self._root.name.lower()}
        if len(parts) > 1 and parts[0].lower() in own and self._relationship(self._root, parts[0]) is None:
            parts = parts[1:]
        if len(parts) - 1 > MAX_DEPTH:
            raise SoqlError(
                "INVALID_FIELD", f"{self._mark(path.at)}more than {MAX_DEPTH} relationships in '{path}'"
            )
        source = self._root
        spelled: tuple[str, ...] = ()
        for name in parts[:-1]:
            lookup = self._relationship(source, name)
            if lookup is None or lookup.relationship_name is None:
                raise SoqlError(
                    "INVALID_FIELD",
                    f"{self._mark(path.at)}Didn't understand relationship '{name}' in field path. If you are attempting"
                    " to use a custom relationship, be sure to append the '__r' after the custom relationship name."
                    f" {_REFERENCE}",
                )
            spelled = (*spelled, lookup.relationship_name)
            source = self._join(source, lookup, spelled)
        found = source.find(parts[-1])
        if found is None:
            raise SoqlError(
                "INVALID_FIELD",
                f"{self._mark(path.at)}No such column '{parts[-1]}' on entity '{source.name}'. If you are attempting to"
                " use a custom field, be sure to append the '__c' after the custom field name."
                f" {_REFERENCE}",
            )
        return _Resolved(source, found, spelled)

    def _relationship(self, source: _Source, name: str) -> Field | None:
        fields = (f for o in source.objects for f in (*o.fields, *_SYSTEM))
        return next((f for f in fields if (f.relationship_name or "").lower() == name.lower()), None)

    def _join(self, source: _Source, lookup: Field, path: tuple[str, ...]) -> _Source:
        if path in self._joins:
            return self._joins[path][0]
        targets = tuple(o for o in map(self._contract.object, lookup.reference_to) if o is not None)
        if not targets:
            raise SoqlError("INVALID_FIELD", f"relationship '{path[-1]}' leads to no object of this org")
        joined = _Source(f"t{len(self._joins) + 1}", targets)
        table = self._union(joined) if joined.polymorphic else self._table(targets[0])
        on = f"{joined.column('Id')} = {source.column(lookup.name)}"
        self._joins[path] = (joined, f"LEFT JOIN {table} {joined.alias} ON {on}")
        return joined

    def _union(self, source: _Source) -> str:
        """The rows of all objects of a polymorphic relationship, with every column that one of them has."""
        names = {f.name: None for o in source.objects for f in (*_SYSTEM, *o.fields)}
        names.pop("Type", None)
        selects = []
        for item in source.objects:
            columns = (quoted(n) if find_field(item, n) else f"NULL AS {quoted(n)}" for n in names)
            selects.append(
                f'SELECT {literal(item.name)} AS "Type", {", ".join(columns)} FROM {self._table(item)}'
            )
        return "(" + " UNION ALL ".join(selects) + ")"

    # -- SELECT

    def _tree(self) -> _Node:
        root = _Node(self._root)
        for item in self._query.selected:
            if item.alias is not None:
                raise SoqlError("MALFORMED_QUERY", "only aggregate expressions use field aliasing")
            if item.fields is not None:
                self._add_fields(root, item.fields)
            elif item.path is not None:
                self._add(root, self._resolve(item.path), item.path)
        return root

    def _add(self, root: _Node, resolved: _Resolved, path: Path) -> None:
        node = root
        for depth, name in enumerate(resolved.relationships, 1):
            source = self._joins[resolved.relationships[:depth]][0]
            child = node.members.setdefault(name, _Node(source))
            if not isinstance(child, _Node):  # a relationship never has the name of a field
                raise SoqlError("INVALID_FIELD", f"duplicate field selected: {path}")
            node = child
        if resolved.field.name in node.members:
            raise SoqlError("INVALID_FIELD", f"duplicate field selected: {path}")
        node.members[resolved.field.name] = resolved.field

    def _add_fields(self, root: _Node, which: str) -> None:
        limit = self._query.limit
        if which != "STANDARD" and (limit is None or limit > MAX_FIELDS_LIMIT):
            raise SoqlError(
                "MALFORMED_QUERY", f"The SOQL FIELDS function must have a LIMIT of at most {MAX_FIELDS_LIMIT}"
            )
        item = self._root.objects[0]
        every = [*item.fields, *(f for f in _SYSTEM if item.field(f.name) is None)]
        for found in sorted(every, key=lambda f: (f.name != "Id", f.name)):
            wanted = which == "ALL" or found.custom == (which == "CUSTOM")
            if wanted and found.type not in ("address", "location"):
                root.members.setdefault(found.name, found)

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
            value = (
                self._json(member) if isinstance(member, _Node) else json_value(member, source.column(name))
            )
            parts += [literal(f',"{name}":'), value]
        text = " || ".join([*parts, "'}'"])
        if source.alias == "t0":
            return text
        return f"CASE WHEN {source.column('Id')} IS NULL THEN 'null' ELSE {text} END"

    # -- aggregates

    def _groupable(self, path: Path) -> _Resolved:
        resolved = self._resolve(path)
        if not filterable(resolved.field):
            raise SoqlError(
                "MALFORMED_QUERY", f"field '{resolved.field.name}' can not be grouped in a query call"
            )
        return resolved

    def _function(self, item: Selected) -> str:
        assert item.path is not None  # noqa: S101 - count() was answered before
        resolved = self._resolve(item.path)
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
        found = self._resolve(item.path).field
        if kind(found) == "number":
            return f"coalesce(CAST(CAST({sql} AS DOUBLE) AS VARCHAR), 'null')"
        return json_value(found, sql)

    # -- ORDER BY and WHERE

    def _sortable(self, order: Order) -> str:
        if order.item.function is not None or order.item.path is None:
            raise SoqlError("MALFORMED_QUERY", "ORDER BY an aggregate needs GROUP BY")
        resolved = self._resolve(order.item.path)
        if not filterable(resolved.field):
            raise SoqlError(
                "MALFORMED_QUERY", f"field '{resolved.field.name}' can not be sorted in a query call"
            )
        return comparable(resolved.field, resolved.column)

    def _sortable_group(self, order: Order, groups: Mapping[str, _Resolved], names: Mapping[str, str]) -> str:
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

    @staticmethod
    def _order(order: Order, sql: str) -> str:
        return (
            f"{sql} {'DESC' if order.descending else 'ASC'} NULLS {'LAST' if order.nulls_last else 'FIRST'}"
        )

    def _condition(self, item: Condition) -> str:
        if isinstance(item, Junction):
            return "(" + f" {item.operator} ".join(self._condition(c) for c in item.conditions) + ")"
        if isinstance(item, Not):
            return f"(NOT {self._condition(item.condition)})"
        resolved = self._resolve(item.path)
        if not filterable(resolved.field):
            raise SoqlError(
                "INVALID_FIELD",
                f"{self._mark(item.path.at)}field '{resolved.field.name}' can not be filtered in a query call",
            )

        def mark(_: Value) -> str:
            return self._mark(item.path.at)

        return condition(item, resolved.field, resolved.column, self._now, mark)
