"""The one SELECT of a sync, put together from its models' own text.

Owns:      the WITH list, which line of it belongs to which model, whether it is a plain scan, and what the warehouse
           says about it turned into a place in a file.
Does not:  run anything, or change a model's text.
Invariant: a model's text stands between two line ends, so that a comment at its end swallows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sfsync.compiler.models import Models
from sfsync.compiler.sql import Statement, TableUse
from sfsync.errors import CompileError, WarehouseError, Where
from sfsync.records import Column, SourceType

_LINE = re.compile(r"\bLINE (\d+):")
_NAMED = re.compile(r"[\"'`]([A-Za-z_][A-Za-z0-9_]*)[\"'`]")
ColumnsOf = Callable[[str], tuple[Column, ...]]


@dataclass(frozen=True, slots=True)
class Input:
    """What a sync reads: a relation by its SQL, the models below it in order, and its filter."""

    model: str | None  # the model's name; None for a source or a seed
    source: TableUse | None  # the raw table, when it reads a source
    relation: str
    ancestors: tuple[str, ...]
    where: Statement | None
    where_at: Where


@dataclass(frozen=True, slots=True)
class Composed:
    """One SELECT, and the first and last line of each model in it."""

    sql: str
    spans: tuple[tuple[str, int, int], ...]


def compose(
    models: Models,
    names: Iterable[str],
    columns: str,
    relation: str,
    where: str | None,
    quote: Callable[[str], str],
) -> Composed:
    """Write ``WITH "a" AS (...) SELECT <columns> FROM <relation> WHERE (<where>)``.

    names: the models to inline, each after those it refs. columns: a select list as SQL.
    """
    pieces: list[str] = []
    spans: list[tuple[str, int, int]] = []
    line = 1
    for name in names:
        sql = models.units[name].compiled.sql
        head = f"{'), ' if pieces else 'WITH '}{quote(name)} AS (\n"
        last = line + 1 + sql.count("\n")
        spans.append((name, line + 1, last))
        pieces.append(f"{head}{sql}\n")
        line = last + 1
    if pieces:
        pieces.append(")\n")
    pieces.append(f"SELECT {columns}\nFROM {relation}")
    if where is not None:
        pieces.append(f"\nWHERE (\n{where}\n)")
    return Composed("".join(pieces), tuple(spans))


def input_columns(
    item: Input, models: Models, columns_of: ColumnsOf, quote: Callable[[str], str], sync: str
) -> tuple[Column, ...]:
    """All columns of what a sync reads, its filter checked with them.

    Raises:
        CompileError: the warehouse refuses a model or the filter; with the place in the file at fault.
    """
    where = item.where.sql if item.where is not None else None
    # The filter stands among the columns too: its type is learned without another question.
    columns = "*" if where is None else f"*, {_as_column(where)}"
    whole = compose(models, item.ancestors, columns, item.relation, where, quote)
    try:
        found = columns_of(whole.sql)
    except WarehouseError as error:
        raise _blame(error, item, models, columns_of, quote, sync) from None
    if where is None:
        return found
    *found_of_model, filter_ = found
    if filter_.family is not SourceType.BOOLEAN:
        raise _no_condition(filter_, item.where_at)
    return tuple(found_of_model)


def _as_column(where: str) -> str:
    return f'(\n{where}\n) AS "sfsync filter"'


def _no_condition(filter_: Column, at: Where) -> CompileError:
    return CompileError(
        f"where: the filter is of type {filter_.type}, not boolean: it is neither true nor false",
        where=at,
        fix="compare it with something, for example `country = 'DE'` or `country IS NOT NULL`",
    )


def _filter_type(
    item: Input, where: str, models: Models, columns_of: ColumnsOf, quote: Callable[[str], str]
) -> Column | None:
    """The filter read as a column, for engines that refuse one that is no condition; None where that fails too."""
    try:
        return columns_of(compose(models, item.ancestors, _as_column(where), item.relation, None, quote).sql)[
            0
        ]
    except WarehouseError:
        return None


def _blame(
    error: WarehouseError,
    item: Input,
    models: Models,
    columns_of: ColumnsOf,
    quote: Callable[[str], str],
    sync: str,
) -> CompileError:
    """Find whose fault it is by asking about one model after the other, each with only what it needs."""
    for name in item.ancestors:
        part = compose(models, models.ancestors([name]), "*", quote(name), None, quote)
        try:
            columns_of(part.sql)
        except WarehouseError as refused:
            return _placed(refused, name, part, models)
    if item.where is not None:
        try:
            columns_of(compose(models, item.ancestors, "*", item.relation, None, quote).sql)
        except WarehouseError as refused:
            return CompileError(
                f"sync '{sync}' cannot be read: {_said(refused)}", where=item.where_at, fix=refused.fix
            )
        filter_ = _filter_type(item, item.where.sql, models, columns_of, quote)
        if filter_ is not None and filter_.family is not SourceType.BOOLEAN:
            return _no_condition(filter_, item.where_at)
        return CompileError(
            f"the warehouse refuses the filter: {_said(error)}", where=item.where_at, fix=error.fix
        )
    return CompileError(f"sync '{sync}' cannot be read: {_said(error)}", where=item.where_at, fix=error.fix)


def _placed(error: WarehouseError, name: str, part: Composed, models: Models) -> CompileError:
    unit = models.units[name]
    where = Where(unit.file.path)
    found = _LINE.search(error.what)
    if found is not None:
        first, last = next((a, b) for n, a, b in part.spans if n == name)
        line = int(found[1])
        if first <= line <= last:
            where = unit.line(line - first + 1)
    elif (offset := _only_mention(error.what, unit.rendered)) is not None:
        where = unit.where(offset)
    return CompileError(f"the warehouse refuses model '{name}': {_said(error)}", where=where, fix=error.fix)


def _only_mention(message: str, sql: str) -> int | None:
    """Offset of the first name that the message quotes and the SQL holds exactly once."""
    for name in _NAMED.findall(message):
        hits = [m.start() for m in re.finditer(rf"\b{name}\b", sql, re.IGNORECASE)]
        if len(hits) == 1:
            return hits[0]
    return None


def _said(error: WarehouseError) -> str:
    """The engine's own words on one line, without the excerpt of our composed text."""
    return " ".join(_LINE.split(error.what)[0].split())


def is_plain_scan(item: Input, models: Models) -> bool:
    """Whether the sync's rows are columns of one table with simple filters, down to the table itself.

    A view is no table: what it computes is not ours to see.
    """
    if item.where is not None and item.where.scan is None:
        return False
    name, relation = item.model, item.source
    while name is not None:
        unit = models.units[name]
        relation = unit.statement.scan
        if relation is None:
            return False
        name = _ref(relation, unit.compiled.refs, models)
    return relation is None or not models.known.is_view(relation)


def open_star(name: str, models: Models) -> tuple[str, str] | None:
    """(model, raw table) when columns reach a model's result by a star from a raw table; None when all are named."""
    queue = [name]
    for current in queue:
        unit = models.units[current]
        for use in unit.statement.stars:
            model = _ref(use, unit.compiled.refs, models)
            if model is None and not _is_seed(use, unit.compiled.refs, models):
                return current, use.text
            if model is not None and model not in queue:
                queue.append(model)
    return None


def _ref(use: TableUse, refs: tuple[str, ...], models: Models) -> str | None:
    return use.name if use.schema is None and use.name in refs and use.name in models.units else None


def _is_seed(use: TableUse, refs: tuple[str, ...], models: Models) -> bool:
    parts = tuple(p.lower() for p in (use.catalog, use.schema, use.name) if p)
    return parts in models.known.seeds
