"""Reads one model's SQL once, and says what it is made of.

Owns:      that a model is exactly one SELECT, the tables it reads, whether reading it twice is cheap and equal,
           whether its columns are named, and functions that change between runs.
Does not:  render Jinja, resolve names against a catalog, or write SQL back: the text stays the user's own.
Invariant: each text is tokenised and parsed once; positions are offsets into the text that was handed in.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import ErrorLevel, ParseError, TokenError

_STARTS = frozenset({TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN, TokenType.FROM})
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Copy, exp.Into, exp.Lock, exp.Command, exp.DDL)
_VOLATILE = frozenset({
    "now", "today", "current_date", "current_time", "current_timestamp", "localtime",
    "localtimestamp", "getdate", "sysdate", "get_current_timestamp", "get_current_time",
    "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday", "random",
    "rand", "setseed", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "uuid_generate_v4", "nextval",
    "txid_current",
})  # fmt: skip
_MAYBE_VOLATILE = re.compile(r"\b(" + "|".join(sorted(_VOLATILE)) + r")\b", re.IGNORECASE)
_WITHOUT_PARENTHESES = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
_SIMPLE = (
    exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.And, exp.Or, exp.Not, exp.Paren, exp.Is,
    exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.In, exp.Between,
    exp.Like, exp.ILike, exp.Neg, exp.Cast, exp.DataType, exp.DataTypeParam, exp.Where,
)  # fmt: skip
_DEEPEST = 500
"""Of parentheses in each other."""
_FRAMES = 15_000
_POSITION = re.compile(r"(?P<what>.+) from \d+:(?P<offset>\d+)$")

logging.getLogger("sqlglot").addFilter(
    lambda record: "Falling back to parsing as a 'Command'" not in record.msg
)


class SqlFault(Exception):  # noqa: N818 - a finding without a file yet; compile turns it into a CompileError
    """What is wrong with a statement, and the offset in its text where it is."""

    def __init__(self, what: str, offset: int, fix: str | None = None) -> None:
        super().__init__(what)
        self.what, self.offset, self.fix = what, offset, fix


@dataclass(frozen=True, slots=True)
class TableUse:
    """A table as a statement writes it. quoted: the name stood in quotes."""

    name: str
    schema: str | None
    catalog: str | None
    quoted: bool
    offset: int

    @property
    def text(self) -> str:
        return ".".join(p for p in (self.catalog, self.schema, self.name) if p)


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT: its text without the semicolon, and what was found in it."""

    sql: str
    tables: tuple[TableUse, ...]  # without its own CTEs
    scan: TableUse | None  # it is only columns and a simple filter of this table
    stars: tuple[TableUse, ...]  # tables whose columns come out by `*`
    volatile: tuple[tuple[str, int], ...]  # (function, offset)


@dataclass(frozen=True, slots=True)
class _Scope:
    """A statement's own CTEs by lower-case name, and the models it refers to."""

    ctes: dict[str, exp.Expr]
    refs: frozenset[str]

    def has(self, use: TableUse) -> bool:
        """Whether a table is a CTE of the statement and not something outside of it."""
        inside = use.schema is None and use.name.lower() in self.ctes
        return inside and not (use.quoted and use.name in self.refs)


def read_select(text: str, dialect: str, refs: Collection[str] = ()) -> Statement:
    """Parse a model.

    dialect: sqlglot's name of the warehouse's SQL.
    refs: names that ref() wrote, in quotes; a CTE of the same name does not hide them.

    Raises:
        SqlFault: it is not exactly one SELECT.
    """
    engine = sqlglot.Dialect.get_or_raise(dialect)
    tokens = _one_statement(_tokenise(engine, text), text)
    tree = _parse(engine, tokens, text)
    scope = _Scope({}, frozenset(refs))
    tables: list[exp.Table] = []
    for node in tree.walk(bfs=False):
        if isinstance(node, exp.Table):
            tables.append(node)
        elif isinstance(node, exp.CTE):
            scope.ctes[node.alias.lower()] = node.this
        elif isinstance(node, _WRITES):
            word = "FOR UPDATE" if isinstance(node, exp.Lock) else node.key.upper()
            raise SqlFault(f"a model only reads, found {word}", _offset(word, tokens))
    volatile = tuple(_volatile(tokens, text))
    uses = (_use(t) for t in tables)
    return Statement(
        sql=text[: tokens[-1].end + 1] + _trailing_comment(text, tokens),
        tables=tuple(u for u in uses if u is not None and not scope.has(u)),
        scan=None if volatile else _scan(tree, scope, 0),
        stars=tuple(_stars(tree, scope, frozenset())),
        volatile=volatile,
    )


def read_condition(text: str, dialect: str, refs: Collection[str] = ()) -> Statement:
    """Parse a sync's `where`: one condition and nothing after it. `scan` is set when it is a simple filter.

    Raises:
        SqlFault: it is not a condition.
    """
    head = "SELECT * FROM x WHERE "
    engine = sqlglot.Dialect.get_or_raise(dialect)
    try:
        tokens = _tokenise(engine, head + text)
        if any(t.token_type == TokenType.SEMICOLON for t in tokens):
            raise SqlFault("a filter is one condition, without a semicolon", len(head))
        tree = _parse(engine, tokens, head + text)
        extra = [k for k, v in tree.args.items() if v and k not in ("expressions", "from_", "where", "kind")]
        if not isinstance(tree, exp.Select) or extra:
            raise SqlFault("a filter is one condition, with nothing after it", len(head))
        statement = read_select(head + text, dialect, refs)
    except SqlFault as error:
        raise SqlFault(error.what, max(0, error.offset - len(head)), error.fix) from None
    return Statement(
        sql=text.strip(),
        tables=tuple(
            TableUse(t.name, t.schema, t.catalog, t.quoted, t.offset - len(head))
            for t in statement.tables
            if t.offset >= len(head)
        ),
        scan=statement.scan,
        stars=(),
        volatile=tuple((name, offset - len(head)) for name, offset in statement.volatile),
    )


def _tokenise(engine: sqlglot.Dialect, text: str) -> list[Token]:
    try:
        return list(engine.tokenize(text))
    except TokenError as error:
        found = _POSITION.match(str(error.__cause__)) if error.__cause__ else None
        if found is None:
            raise SqlFault("SQL: not readable", 0) from None
        offset = int(found["offset"])  # of the whole text, though it stands where a column would
        raise SqlFault(f"SQL: {found['what'].lower()}", min(offset, len(text)), "close the quote") from None


def _one_statement(tokens: Sequence[Token], text: str) -> list[Token]:
    """The tokens of the one statement, or a fault that says what stands there instead."""
    end = next((i for i, t in enumerate(tokens) if t.token_type == TokenType.SEMICOLON), len(tokens))
    body = list(tokens[:end])
    if not body:
        raise SqlFault("no SQL here; a model is one SELECT", 0)
    if body[0].token_type not in _STARTS:
        word = body[0].text.upper()
        fix = "write select * from (values ...) as t(a, b)" if word == "VALUES" else "a model is one SELECT"
        raise SqlFault(f"expected a SELECT, found {word}", body[0].start, fix)
    for token in tokens[end:]:
        if token.token_type != TokenType.SEMICOLON:
            raise SqlFault(
                f"a model is one SELECT; a second statement begins with {token.text.upper()}",
                token.start,
                "put it into a model of its own",
            )
    return body


def _parse(engine: sqlglot.Dialect, tokens: list[Token], text: str) -> exp.Expr:
    if text.count("(") > _DEEPEST:
        _check_depth(tokens)
    try:
        try:
            trees = engine.parser(error_level=ErrorLevel.IMMEDIATE).parse(tokens, text)
        except (
            RecursionError
        ):  # generated SQL, such as replace() in replace(), nests deeper than Python likes
            with _deeper():
                trees = engine.parser(error_level=ErrorLevel.IMMEDIATE).parse(tokens, text)
    except ParseError as error:
        found = error.errors[0]
        offset = len(found.get("start_context") or "")
        line, column = found.get("line"), found.get("col")
        if line and column:  # the column is that of the word's last character
            lines = text.split("\n")
            offset = (
                sum(len(part) + 1 for part in lines[: line - 1]) + column - len(found["highlight"] or "x")
            )
        near = f" near '{found['highlight']}'" if found.get("highlight") else ""
        what = str(found.get("description") or "not readable").rstrip(".")
        if "<class" in what:  # a message for developers of the parser
            what = "incomplete clause"
        raise SqlFault(f"SQL: {what[0].lower()}{what[1:]}{near}", max(offset, 0)) from None
    except RecursionError:
        raise SqlFault("SQL: nested too deeply", 0, "split the model") from None
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query):
        word = "nothing" if tree is None else tree.key.upper()
        raise SqlFault(f"expected a SELECT, found {word}", tokens[0].start, "a model is one SELECT")
    return tree


def _check_depth(tokens: Sequence[Token]) -> None:
    """Refuse what a parser that calls itself cannot take, compiled or not."""
    depth = 0
    for token in tokens:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth > _DEEPEST:
            raise SqlFault(f"SQL: nested more than {_DEEPEST} deep", token.start, "split the model")


@contextmanager
def _deeper() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _trailing_comment(text: str, tokens: Sequence[Token]) -> str:
    """What stands between the last word and the semicolon or the end: blanks and comments."""
    rest = text[tokens[-1].end + 1 :]
    stop = _semicolon(rest)
    return rest[:stop].rstrip()


def _semicolon(rest: str) -> int:
    """Offset of the first semicolon outside of comments; the end of the text without one."""
    i = 0
    while i < len(rest):
        if rest.startswith("--", i):
            i = rest.find("\n", i)
            if i < 0:
                break
        elif rest.startswith("/*", i):
            i = rest.find("*/", i) + 1
        elif rest[i] == ";":
            return i
        i += 1
    return len(rest)


def _offset(word: str, tokens: Sequence[Token]) -> int:
    """Where the clause's first word stands."""
    first = word.split()[0]
    return next((t.start for t in tokens if t.text.upper() == first), tokens[0].start)


def _volatile(tokens: Sequence[Token], text: str) -> Iterator[tuple[str, int]]:
    if _MAYBE_VOLATILE.search(text) is None:
        return
    last = len(tokens) - 1
    for i, token in enumerate(tokens):
        name = token.text.lower()
        if name not in _VOLATILE or token.token_type in (TokenType.STRING, TokenType.IDENTIFIER):
            continue
        called = i < last and tokens[i + 1].token_type == TokenType.L_PAREN
        after_dot = i > 0 and tokens[i - 1].token_type == TokenType.DOT
        if not after_dot and (called or name in _WITHOUT_PARENTHESES):
            yield name, token.start


def _use(table: exp.Table) -> TableUse | None:
    """The table's name; None for a function or a nested thing in its place."""
    name = table.this
    if not isinstance(name, exp.Identifier):
        return None
    return TableUse(
        name=name.name,
        schema=table.db or None,
        catalog=table.catalog or None,
        quoted=bool(name.args.get("quoted")),
        offset=int(name.meta.get("start", 0)),
    )


def _plain(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Subquery) and not any(
        v for k, v in node.args.items() if k not in ("this", "alias")
    ):
        node = node.this
    return node


def _scan(query: exp.Expr, scope: _Scope, depth: int) -> TableUse | None:
    """The one table of a query that is only columns and a simple filter, looking through its own CTEs."""
    query = _plain(query)
    if not isinstance(query, exp.Select) or depth > len(scope.ctes) + 1:
        return None
    allowed = ("expressions", "from_", "where", "with_")
    if any(v for k, v in query.args.items() if k not in allowed) or not query.args.get("from_"):
        return None
    where = query.args.get("where")
    if where is not None and not all(isinstance(n, _SIMPLE) for n in where.walk()):
        return None
    if not all(_is_column(e) for e in query.expressions):
        return None
    table = query.args["from_"].this
    if isinstance(table, exp.Subquery):
        return None if table.args.get("joins") else _scan(table, scope, depth + 1)
    if not isinstance(table, exp.Table) or any(
        v for k, v in table.args.items() if k not in ("this", "db", "catalog", "alias")
    ):
        return None
    use = _use(table)
    if use is not None and scope.has(use):
        return _scan(scope.ctes[use.name.lower()], scope, depth + 1)
    return use


def _is_column(item: exp.Expr) -> bool:
    if isinstance(item, exp.Alias):
        item = item.this
    if isinstance(item, exp.Star):
        return not item.args.get("replace")
    return isinstance(item, exp.Column) and isinstance(item.this, exp.Identifier | exp.Star)


def _stars(query: exp.Expr, scope: _Scope, seen: frozenset[str]) -> Iterator[TableUse]:
    """The tables whose columns reach the result by a star, looking through CTEs and subqueries."""
    queries = [query]
    while queries:  # a union of thousands of SELECTs is a tree as deep
        query = _plain(queries.pop())
        if isinstance(query, exp.SetOperation):
            queries += [query.expression, query.this]
        elif isinstance(query, exp.Select):
            yield from _stars_of_select(query, scope, seen)


def _stars_of_select(query: exp.Select, scope: _Scope, seen: frozenset[str]) -> Iterator[TableUse]:
    of = [_star_of(e) for e in query.expressions]
    if all(alias is None for alias in of) or not query.args.get("from_"):
        return
    items = [query.args["from_"].this, *(j.this for j in query.args.get("joins") or ())]
    for item in items:
        if "" not in of and item.alias_or_name.lower() not in of:
            continue
        if isinstance(item, exp.Subquery):
            yield from _stars(item, scope, seen)
        elif isinstance(item, exp.Table) and (use := _use(item)) is not None:
            name = use.name.lower()
            if not scope.has(use):
                yield use
            elif name not in seen:
                yield from _stars(scope.ctes[name], scope, seen | {name})


def _star_of(item: exp.Expr) -> str | None:
    """'' for `*`, the lower-case table for `t.*`, None for anything else."""
    if isinstance(item, exp.Star):
        return ""
    if isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
        return str(item.table).lower()
    return None
