"""SOQL text to a syntax tree: a tokenizer and a recursive-descent parser.

Owns:      tokens, literals and their escapes, the tree, and MALFORMED_QUERY for whatever the grammar does not hold.
Does not:  know objects or fields (soql does), or run anything.
Invariant: every name of the tree carries the offset of its first character, so that later errors can point at it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MAX_STATEMENT = 100_000  # characters; Limits Quick Reference, "SOQL and SOSL Limits"
MAX_LITERAL = 4_000  # characters of one string in WHERE; the same table
MAX_OFFSET = 2_000  # the same table

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>'(?:[^'\\]|\\.)*')
      | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
      | (?P<date>\d{4}-\d\d-\d\d)
      | (?P<time>\d\d:\d\d:\d\d(?:\.\d+)?Z?)
      | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<symbol><=|>=|!=|<>|[=<>(),.:])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"'": "'", '"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_CLAUSES = frozenset({"from", "where", "group", "having", "order", "limit", "offset", "for", "with", "using"})
AGGREGATES = frozenset({"count", "count_distinct", "min", "max", "sum", "avg"})
_LATER = "is not supported by this org"


class SoqlError(Exception):
    """A query that Salesforce would refuse with status 400: its code and its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # string, datetime, date, time, number, name, symbol, end
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Path:
    """A field, with the relationships that lead to it: Account.Owner.Name."""

    parts: tuple[str, ...]
    at: int

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Value:
    """A literal. text: decoded; pattern: the same for LIKE, with a backslash before every literal %, _ and backslash."""

    kind: Literal["string", "number", "boolean", "null", "date", "datetime", "time", "macro"]
    text: str
    at: int
    pattern: str = ""
    n: int = 0  # of LAST_N_DAYS:n and its like


@dataclass(frozen=True, slots=True)
class Selected:
    """One item of the SELECT list; `function` is an aggregate's lower-case name."""

    path: Path | None  # None: count()
    function: str | None = None
    alias: str | None = None
    fields: str | None = None  # ALL, STANDARD, CUSTOM
    at: int = 0


@dataclass(frozen=True, slots=True)
class Compare:
    path: Path
    operator: str  # = != < > <= >= like in not in includes excludes
    values: tuple[Value, ...]
    query: Query | None = None  # a semi-join or an anti-join: IN (SELECT ...)


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


@dataclass(frozen=True, slots=True)
class Junction:
    operator: Literal["AND", "OR"]
    conditions: tuple[Condition, ...]


Condition = Compare | Not | Junction


@dataclass(frozen=True, slots=True)
class Order:
    item: Selected
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Query:
    text: str
    selected: tuple[Selected, ...]
    object: str
    object_at: int
    alias: str | None
    where: Condition | None
    group_by: tuple[Path, ...]
    order_by: tuple[Order, ...]
    limit: int | None
    offset: int


def parse(text: str) -> Query:
    """Read one SELECT statement.

    Raises:
        SoqlError: MALFORMED_QUERY, or NUMBER_OUTSIDE_VALID_RANGE for a large OFFSET.
    """
    if len(text) > MAX_STATEMENT:
        raise SoqlError(
            "MALFORMED_QUERY",
            f"SOQL statements cannot be longer than {MAX_STATEMENT} characters: {len(text)}.",
        )
    return _Parser(text, _tokens(text)).query()


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            problem = "unterminated string literal" if text[at] == "'" else f"unexpected token: '{text[at]}'"
            raise SoqlError("MALFORMED_QUERY", problem)
        if match.lastgroup != "space":
            found.append(Token(match.lastgroup, match.group(), at))
        at = match.end()
    found.append(Token("end", "<EOF>", len(text)))
    return found


def _decode(token: Token) -> Value:
    """Take the escapes out of a string literal."""
    body = token.text[1:-1]
    plain: list[str] = []
    pattern: list[str] = []
    position = 0
    while position < len(body):
        letter = body[position]
        if letter != "\\":
            plain.append(letter)
            pattern.append(letter)
            position += 1
            continue
        escaped = body[position + 1]
        if escaped in "%_":
            plain.append(escaped)
            pattern.append("\\" + escaped)
        elif escaped in _ESCAPES:
            plain.append(_ESCAPES[escaped])
            pattern.append("\\\\" if escaped == "\\" else _ESCAPES[escaped])
        else:
            raise SoqlError(
                "MALFORMED_QUERY",
                f"Invalid string literal '{body}'. Illegal character sequence '\\{escaped}' in string literal.",
            )
        position += 2
    if len(plain) > MAX_LITERAL:
        raise SoqlError(
            "MALFORMED_QUERY", f"string literal of {len(plain)} characters; the limit is {MAX_LITERAL}"
        )
    return Value("string", "".join(plain), token.at, "".join(pattern))


class _Parser:
    """One pass over the tokens; each method reads one rule of the grammar."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._next = 0

    # -- tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _peek(self, ahead: int = 1) -> Token:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def _unexpected(self, token: Token | None = None) -> SoqlError:
        return SoqlError("MALFORMED_QUERY", f"unexpected token: '{(token or self._token).text}'")

    def _take(self) -> Token:
        token = self._token
        self._next += token.kind != "end"
        return token

    def _is(self, *words: str) -> bool:
        token = self._token
        return token.kind in ("name", "symbol") and token.text.lower() in words

    def _accept(self, *words: str) -> bool:
        if self._is(*words):
            self._take()
            return True
        return False

    def _expect(self, word: str) -> Token:
        if not self._is(word):
            raise self._unexpected()
        return self._take()

    def _name(self) -> Token:
        if self._token.kind != "name":
            raise self._unexpected()
        return self._take()

    def _number(self) -> int:
        token = self._take()
        if token.kind != "number" or not token.text.isdigit():
            raise self._unexpected(token)
        return int(token.text)

    # -- the statement

    def query(self) -> Query:
        selected, source, alias, where = self._head()
        if self._is("with"):
            raise self._later("WITH")
        group_by = self._group_by()
        order_by = self._order_by()
        limit = self._number() if self._accept("limit") else None
        offset = self._number() if self._accept("offset") else 0
        if offset > MAX_OFFSET:
            raise SoqlError("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
        while self._accept("for"):
            if not self._accept("view", "reference"):
                raise self._unexpected()
        if self._token.kind != "end":
            raise self._unexpected()
        return Query(
            self._text, selected, source.text, source.at, alias, where, group_by, order_by, limit, offset
        )

    def _head(self) -> tuple[tuple[Selected, ...], Token, str | None, Condition | None]:
        """SELECT, FROM and WHERE: what a query and a semi-join have in common."""
        self._expect("select")
        selected = self._selected()
        self._expect("from")
        source = self._name()
        alias = None
        if self._token.kind == "name" and self._token.text.lower() not in _CLAUSES:
            self._accept("as")
            alias = self._name().text
        if self._is("using", "with"):
            raise self._later(self._token.text.upper())
        return selected, source, alias, self._condition() if self._accept("where") else None

    def _semi_join(self) -> Query:
        """The SELECT inside IN (...); ORDER BY, LIMIT and the like may not stand in it."""
        self._expect("(")
        selected, source, alias, where = self._head()
        self._expect(")")
        return Query(self._text, selected, source.text, source.at, alias, where, (), (), None, 0)

    def _later(self, what: str) -> SoqlError:
        return SoqlError("MALFORMED_QUERY", f"{what} {_LATER}")

    def _selected(self) -> tuple[Selected, ...]:
        items = [self._selected_item()]
        while self._accept(","):
            items.append(self._selected_item())
        if any(i.path is None and i.function for i in items) and len(items) > 1:
            raise SoqlError("MALFORMED_QUERY", "count() must be the only field in the SELECT list")
        return tuple(items)

    def _selected_item(self) -> Selected:
        if self._is("("):
            raise self._later("a sub-select in the SELECT list")
        if self._is("typeof") and self._peek().kind == "name" and self._peek().text.lower() != "from":
            raise self._later("TYPEOF")
        at = self._token.at
        item = self._function() if self._peek().text == "(" else Selected(self._path(), at=at)
        if item.fields is None and self._token.kind == "name" and self._token.text.lower() not in _CLAUSES:
            if item.path is None or self._peek().text.lower() not in (",", "from"):
                raise self._unexpected()
            return Selected(item.path, item.function, self._take().text, at=at)
        return item

    def _function(self) -> Selected:
        name = self._name()
        function = name.text.lower()
        self._expect("(")
        if function == "fields":
            kind = self._name()
            if kind.text.upper() not in ("ALL", "STANDARD", "CUSTOM"):
                raise self._unexpected(kind)
            self._expect(")")
            return Selected(None, fields=kind.text.upper(), at=name.at)
        if function not in AGGREGATES:
            raise self._later(f"the function {name.text}()")
        if function == "count" and self._accept(")"):
            return Selected(None, "count", at=name.at)
        path = self._path()
        self._expect(")")
        return Selected(path, function, at=name.at)

    def _path(self) -> Path:
        first = self._name()
        parts = [first.text]
        while self._accept("."):
            parts.append(self._name().text)
        return Path(tuple(parts), first.at)

    def _group_by(self) -> tuple[Path, ...]:
        if not self._accept("group"):
            return ()
        self._expect("by")
        paths: list[Path] = []
        while True:
            if self._peek().text == "(":
                raise self._later(f"the function {self._token.text}() in GROUP BY")
            paths.append(self._path())
            if not self._accept(","):
                break
        if self._is("having"):
            raise self._later("HAVING")
        return tuple(paths)

    def _order_by(self) -> tuple[Order, ...]:
        if not self._accept("order"):
            return ()
        self._expect("by")
        orders = [self._order()]
        while self._accept(","):
            orders.append(self._order())
        return tuple(orders)

    def _order(self) -> Order:
        at = self._token.at
        item = self._function() if self._peek().text == "(" else Selected(self._path(), at=at)
        if item.path is None:
            raise self._unexpected(self._tokens[self._next - 1])
        descending = self._accept("desc")
        if not descending:
            self._accept("asc")
        nulls_last = False
        if self._accept("nulls"):
            nulls_last = self._accept("last")
            if not nulls_last:
                self._expect("first")
        return Order(item, descending, nulls_last)

    # -- conditions

    def _condition(self) -> Condition:
        """AND and OR do not mix without parentheses: Salesforce refuses to guess."""
        first = self._term()
        if not self._is("and", "or"):
            return first
        operator: Literal["AND", "OR"] = "AND" if self._is("and") else "OR"
        terms = [first]
        while self._accept(operator.lower()):
            terms.append(self._term())
        if self._is("and", "or"):
            raise self._unexpected()
        return Junction(operator, tuple(terms))

    def _term(self) -> Condition:
        if self._accept("not"):
            return Not(self._term())
        if self._accept("("):
            inner = self._condition()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Compare:
        if self._peek().text == "(":
            raise self._later(f"the function {self._token.text}() in WHERE")
        path = self._path()
        token = self._take()
        operator = token.text.lower()
        if operator == "not":
            self._expect("in")
            operator = "not in"
        if operator in ("in", "not in") and self._token.text == "(" and self._peek().text.lower() == "select":
            return Compare(path, operator, (), self._semi_join())
        if operator == "not in":
            return Compare(path, operator, self._values())
        if operator in ("in", "includes", "excludes"):
            return Compare(path, operator, self._values())
        if operator == "<>":
            operator = "!="
        if operator not in ("=", "!=", "<", ">", "<=", ">=", "like"):
            raise self._unexpected(token)
        return Compare(path, operator, (self._value(),))

    def _values(self) -> tuple[Value, ...]:
        if self._token.text == ":":
            raise self._later("a bind variable")
        self._expect("(")
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._expect(")")
        return tuple(values)

    def _value(self) -> Value:
        token = self._take()
        if token.kind == "string":
            return _decode(token)
        if token.kind in ("number", "date", "datetime", "time"):
            return Value(token.kind, token.text, token.at)  # type: ignore[arg-type]
        if token.kind != "name":
            raise self._unexpected(token)
        word = token.text.lower()
        if word in ("true", "false"):
            return Value("boolean", word, token.at)
        if word == "null":
            return Value("null", "", token.at)
        count = 0
        if self._accept(":"):
            count = self._number()
        return Value("macro", token.text.upper(), token.at, n=count)
