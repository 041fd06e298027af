"""Names of a SOQL query against the contract: fields found, parents joined, conditions as SQL.

Owns:      the tables of one FROM clause, the relationships that lead to more of them, what fields every object has.
Does not:  parse (soql_syntax), compare values (soql_values), or put a statement together (soql, soql_bulk).
Invariant: a column is named only after its table is among the joins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sfsync.contract import Contract, Field, SObject
from sfsync.local_org.soql_syntax import (
    Compare,
    Condition,
    Junction,
    Not,
    Order,
    Path,
    Query,
    SoqlError,
    Value,
)
from sfsync.local_org.soql_values import comparable, condition, filterable, kind
from sfsync.local_org.store import literal, quoted, table

MAX_FIELDS_LIMIT = 200  # rows with FIELDS(ALL) or FIELDS(CUSTOM); SOQL and SOSL Reference, "FIELDS()"
MAX_DEPTH = 5  # relationships in one path
MAX_SEMI_JOINS = 2  # in one WHERE; SOQL and SOSL Reference, "Comparison Operators"
COMPOUND = ("address", "location")
_REFERENCE = "Please reference your WSDL or the describe call for the appropriate names."
SYSTEM = tuple(
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
class Source:
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


@dataclass(frozen=True, slots=True)
class Resolved:
    source: Source
    field: Field
    relationships: tuple[str, ...]

    @property
    def column(self) -> str:
        return self.source.column(self.field.name)


def find_field(item: SObject, name: str) -> Field | None:
    """A field of the contract, or one of those that every object has."""
    found = item.field(name)
    return found or next((f for f in SYSTEM if f.name.lower() == name.lower()), None)


class Names:
    """The FROM clause of one query. It grows with every relationship that is asked for."""

    def __init__(
        self,
        query: Query,
        contract: Contract,
        now: datetime,
        tables: Mapping[str, str] | None = None,
        *,
        include_deleted: bool = False,
        alias: str = "t",
    ) -> None:
        """tables: where an object's rows are when not in ``data."<object>"``; alias: what its tables' names begin with."""
        self._include_deleted, self._alias = include_deleted, alias
        self._semi_joins = 0
        self._query, self._contract, self._now = query, contract, now
        self._tables = tables or {}
        self._joins: dict[tuple[str, ...], tuple[Source, str]] = {}
        found = contract.object(query.object)
        if found is None or not found.queryable:
            raise SoqlError(
                "INVALID_TYPE",
                f"{self._mark(query.object_at)}sObject type '{query.object}' is not supported. If you are attempting"
                f" to use a custom object, be sure to append the '__c' after the entity name. {_REFERENCE}",
            )
        self.root = Source(f"{alias}0", (found,))

    def joined(self, path: tuple[str, ...]) -> Source:
        """The table that these relationships lead to; they were resolved before."""
        return self._joins[path][0]

    def from_clause(self) -> str:
        """FROM and all joins; to be asked last."""
        item = self._table(self.root.objects[0])
        return " ".join([f"FROM {item} {self.root.alias}", *(join for _, join in self._joins.values())])

    def where(self) -> str:
        """The WHERE clause, or nothing."""
        deleted = f"coalesce({self.root.column('IsDeleted')}, 'false') <> 'true'"
        conditions = [] if self._include_deleted else [deleted]
        if self._query.where is not None:
            conditions.append(self._condition(self._query.where))
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def page(self) -> str:
        """LIMIT and OFFSET, or nothing."""
        limit = f" LIMIT {self._query.limit}" if self._query.limit is not None else ""
        return limit + (f" OFFSET {self._query.offset}" if self._query.offset else "")

    def every_field(self, which: str) -> list[Field]:
        """What FIELDS(ALL), FIELDS(STANDARD) or FIELDS(CUSTOM) stands for, Id first."""
        limit = self._query.limit
        if which != "STANDARD" and (limit is None or limit > MAX_FIELDS_LIMIT):
            raise SoqlError(
                "MALFORMED_QUERY", f"The SOQL FIELDS function must have a LIMIT of at most {MAX_FIELDS_LIMIT}"
            )
        item = self.root.objects[0]
        every = [*item.fields, *(f for f in SYSTEM if item.field(f.name) is None)]
        return [
            found
            for found in sorted(every, key=lambda f: (f.name != "Id", f.name))
            if (which == "ALL" or found.custom == (which == "CUSTOM")) and found.type not in COMPOUND
        ]

    def sortable(self, order: Order) -> str:
        """An ORDER BY item of a query without groups."""
        if order.item.function is not None or order.item.path is None:
            raise SoqlError("MALFORMED_QUERY", "ORDER BY an aggregate needs GROUP BY")
        resolved = self.resolve(order.item.path)
        if not filterable(resolved.field):
            raise SoqlError(
                "MALFORMED_QUERY", f"field '{resolved.field.name}' can not be sorted in a query call"
            )
        return comparable(resolved.field, resolved.column)

    def _table(self, item: SObject) -> str:
        return self._tables.get(item.name, table(item.name))

    def _mark(self, at: int) -> str:
        """The query's line, a caret under the place, and where that is: the head of Salesforce's messages."""
        text = self._query.text
        row = text.count("\n", 0, at)
        start = text.rfind("\n", 0, at) + 1
        line = text[start:].split("\n", 1)[0]
        column = at - start
        return f"\n{line}\n{' ' * column}^\nERROR at Row:{row + 1}:Column:{column + 1}\n"

    def resolve(self, path: Path) -> Resolved:
        """A field and the table it is in.

        Raises:
            SoqlError: INVALID_FIELD.
        """
        parts = path.parts
        own = {(self._query.alias or "").lower(), self.root.name.lower()}
        if len(parts) > 1 and parts[0].lower() in own and self._relationship(self.root, parts[0]) is None:
            parts = parts[1:]
        if len(parts) - 1 > MAX_DEPTH:
            raise SoqlError(
                "INVALID_FIELD", f"{self._mark(path.at)}more than {MAX_DEPTH} relationships in '{path}'"
            )
        source = self.root
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
        return Resolved(source, found, spelled)

    def _relationship(self, source: Source, name: str) -> Field | None:
        fields = (f for o in source.objects for f in (*o.fields, *SYSTEM))
        return next((f for f in fields if (f.relationship_name or "").lower() == name.lower()), None)

    def _join(self, source: Source, lookup: Field, path: tuple[str, ...]) -> Source:
        if path in self._joins:
            return self._joins[path][0]
        targets = tuple(o for o in map(self._contract.object, lookup.reference_to) if o is not None)
        if not targets:
            raise SoqlError("INVALID_FIELD", f"relationship '{path[-1]}' leads to no object of this org")
        joined = Source(f"{self._alias}{len(self._joins) + 1}", targets)
        table = self._union(joined) if joined.polymorphic else self._table(targets[0])
        on = f"{joined.column('Id')} = {source.column(lookup.name)}"
        self._joins[path] = (joined, f"LEFT JOIN {table} {joined.alias} ON {on}")
        return joined

    def _union(self, source: Source) -> str:
        """The rows of all objects of a polymorphic relationship, with every column that one of them has."""
        names = {f.name: None for o in source.objects for f in (*SYSTEM, *o.fields)}
        names.pop("Type", None)
        selects = []
        for item in source.objects:
            columns = (quoted(n) if find_field(item, n) else f"NULL AS {quoted(n)}" for n in names)
            selects.append(
                f'SELECT {literal(item.name)} AS "Type", {", ".join(columns)} FROM {self._table(item)}'
            )
        return "(" + " UNION ALL ".join(selects) + ")"

    def _condition(self, item: Condition) -> str:
        if isinstance(item, Junction):
            if item.operator == "OR" and any(isinstance(c, Compare) and c.query for c in item.conditions):
                raise SoqlError(
                    "MALFORMED_QUERY", "Semi join sub-selects are not allowed with the 'OR' operator"
                )
            return "(" + f" {item.operator} ".join(self._condition(c) for c in item.conditions) + ")"
        if isinstance(item, Not):
            return f"(NOT {self._condition(item.condition)})"
        resolved = self.resolve(item.path)
        if not filterable(resolved.field):
            raise SoqlError(
                "INVALID_FIELD",
                f"{self._mark(item.path.at)}field '{resolved.field.name}' can not be filtered in a query call",
            )

        if item.query is not None:
            return self._semi_join(item, resolved, item.query)

        def mark(_: Value) -> str:
            return self._mark(item.path.at)

        return condition(item, resolved.field, resolved.column, self._now, mark)

    def _semi_join(self, item: Compare, mine: Resolved, query: Query) -> str:
        """Id IN (SELECT AccountId FROM ...), or NOT IN: blank lookups are in no list."""
        self._semi_joins += 1
        if self._semi_joins > MAX_SEMI_JOINS:
            raise SoqlError("MALFORMED_QUERY", f"maximum {MAX_SEMI_JOINS} semi join sub-selects are allowed")
        if self._alias != "t":
            raise SoqlError("MALFORMED_QUERY", "Nesting of semi join sub-selects is not supported")
        chosen = query.selected[0]
        if len(query.selected) > 1 or chosen.path is None or chosen.function or chosen.alias:
            raise SoqlError("MALFORMED_QUERY", "a semi join sub-select selects exactly one field")
        inner = Names(
            query,
            self._contract,
            self._now,
            self._tables,
            include_deleted=self._include_deleted,
            alias=f"s{self._semi_joins}_",
        )
        if inner.root.name == self.root.name:
            raise SoqlError(
                "MALFORMED_QUERY", "The inner and outer selects should not be on the same object type"
            )
        theirs = inner.resolve(chosen.path)
        for side in (mine, theirs):
            if kind(side.field) != "id":
                raise SoqlError(
                    "MALFORMED_QUERY",
                    f"the field '{side.field.name}' of a semi join is neither an Id nor a reference",
                )
        if not set(_targets(mine)) & set(_targets(theirs)):
            raise SoqlError(
                "MALFORMED_QUERY",
                f"The selected field '{theirs.field.name}' in the subquery and the left operand field in the where"
                f" expression in the outer query '{mine.field.name}' should point to the same object type",
            )
        where = inner.where()
        present = f"{theirs.column} IS NOT NULL"
        where = f"{where} AND {present}" if where else f" WHERE {present}"
        found = f"coalesce({mine.column} IN (SELECT {theirs.column} {inner.from_clause()}{where}), false)"
        return found if item.operator == "in" else f"(NOT {found})"


def _targets(found: Resolved) -> tuple[str, ...]:
    """The objects whose Ids a field holds."""
    return (
        tuple(o.name for o in found.source.objects) if found.field.type == "id" else found.field.reference_to
    )


def ordered(order: Order, sql: str) -> str:
    """One item of ORDER BY, with nulls where SOQL puts them."""
    return f"{sql} {'DESC' if order.descending else 'ASC'} NULLS {'LAST' if order.nulls_last else 'FIRST'}"
