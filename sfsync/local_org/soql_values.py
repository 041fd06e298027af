"""SOQL literals as SQL over the store's canonical texts: one comparison of one field.

Owns:      what may be compared with what, case folding, dates and date macros, Ids of 15 characters.
Does not:  resolve names (soql) or read SQL text (soql_syntax).
Invariant: every condition built here is true or false, never NULL, as SOQL's two-valued logic wants it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sfsync.contract import Field
from sfsync.local_org.ids import to_18
from sfsync.local_org.soql_syntax import Compare, SoqlError, Value
from sfsync.local_org.store import instant, literal

_NUMBER_TYPES = frozenset({"int", "long", "double", "currency", "percent"})
_UNFILTERABLE_LENGTH = 255  # a longer textarea cannot stand in WHERE, ORDER BY or GROUP BY
NUMBER = "DECIMAL(38, 18)"  # holds every number of a field: at most 18 digits before and 18 after the point


def kind(field: Field) -> str:
    """How a field compares: text, id, number, boolean, date, datetime, time, multi."""
    if field.type in _NUMBER_TYPES:
        return "number"
    if field.type in ("boolean", "date", "datetime", "time"):
        return field.type
    if field.type in ("id", "reference"):
        return "id"
    return "multi" if field.type == "multipicklist" else "text"


def filterable(field: Field) -> bool:
    """Long text areas, encrypted texts and blobs cannot be filtered, sorted or grouped."""
    if field.type in ("base64", "encryptedstring", "address", "location"):
        return False
    return not (field.type == "textarea" and field.length > _UNFILTERABLE_LENGTH)


def comparable(field: Field, column: str) -> str:
    """The column in the form in which its values sort and compare."""
    compared = kind(field)
    if compared == "number":
        return f"CAST({column} AS {NUMBER})"
    if compared == "boolean":
        return f"coalesce({column}, 'false')"
    if compared in ("text", "multi") and not field.case_sensitive:
        return f"lower({column})"
    return column


def condition(
    compare: Compare, field: Field, column: str, now: datetime, where: Callable[[Value], str]
) -> str:
    """One comparison as SQL.

    Args:
        column: SQL of the field's canonical text.
        now: the instant that date macros count from; days are UTC days.
        where: turns a literal into the `ERROR at Row:..` head of a message about it.

    Raises:
        SoqlError: INVALID_FIELD or INVALID_QUERY_FILTER_OPERATOR.
    """
    return _Comparison(compare, field, column, now, where).sql()


class _Comparison:
    """The values of one comparison against one field."""

    def __init__(
        self, compare: Compare, field: Field, column: str, now: datetime, where: Callable[[Value], str]
    ) -> None:
        self._compare = compare
        self._field = field
        self._column = column
        self._kind = kind(field)
        self._now = now
        self._where = where

    def sql(self) -> str:
        operator, values = self._compare.operator, self._compare.values
        self._check_operator(operator)
        if operator in ("in", "not in"):
            return self._in(values, negated=operator == "not in")
        if operator in ("includes", "excludes"):
            return self._includes(values, negated=operator == "excludes")
        if operator == "like":
            return self._like(values[0])
        value = values[0]
        if value.kind == "null" or (value.kind == "string" and not value.text):
            return self._null(operator)
        if value.kind == "macro":
            return self._range(operator, value)
        wanted = self._literal(value)
        compared = comparable(self._field, self._column)
        if operator == "!=":
            return f"({compared} IS DISTINCT FROM {wanted})"
        return f"coalesce({compared} {operator} {wanted}, false)"

    def _refuse_operator(self) -> SoqlError:
        return SoqlError(
            "INVALID_QUERY_FILTER_OPERATOR",
            f"{self._where(self._compare.values[0])}invalid operator '{self._compare.operator.upper()}'"
            f" on field '{self._field.name}' of type {self._field.type}",
        )

    def _check_operator(self, operator: str) -> None:
        allowed = {
            "id": ("=", "!=", "<", ">", "<=", ">=", "in", "not in"),
            "boolean": ("=", "!=", "in", "not in"),
            "multi": ("=", "!=", "in", "not in", "includes", "excludes"),
            "text": ("=", "!=", "<", ">", "<=", ">=", "in", "not in", "like"),
        }.get(self._kind, ("=", "!=", "<", ">", "<=", ">=", "in", "not in"))
        if operator not in allowed:
            raise self._refuse_operator()

    def _null(self, operator: str) -> str:
        if operator not in ("=", "!="):
            raise self._refuse_operator()
        if self._kind == "boolean":
            return "false" if operator == "=" else "true"
        return f"({self._column} IS {'NOT ' if operator == '!=' else ''}NULL)"

    def _in(self, values: tuple[Value, ...], *, negated: bool) -> str:
        """Nulls are values like others here: NOT IN ('a') finds blank fields, IN (null) too."""
        blank = any(v.kind == "null" or (v.kind == "string" and not v.text) for v in values)
        ranges = [self._range("=", v) for v in values if v.kind == "macro"]
        literals = [
            self._literal(v)
            for v in values
            if v.kind not in ("null", "macro") and (v.text or v.kind != "string")
        ]
        alternatives = list(ranges)
        if blank:
            alternatives.append(f"({self._column} IS NULL)")
        if literals:
            listed = ", ".join(literals)
            alternatives.append(f"coalesce({comparable(self._field, self._column)} IN ({listed}), false)")
        found = "(" + " OR ".join(alternatives) + ")"
        return f"(NOT {found})" if negated else found

    def _includes(self, values: tuple[Value, ...], *, negated: bool) -> str:
        """'A;B' asks for both A and B; several literals are alternatives."""
        parts = f"string_split(lower({self._column}), ';')"
        alternatives = []
        for value in values:
            self._expect(value, "string")
            wanted = ", ".join(literal(p.strip().lower()) for p in value.text.split(";"))
            alternatives.append(f"coalesce(list_has_all({parts}, [{wanted}]), false)")
        found = "(" + " OR ".join(alternatives) + ")"
        return f"(NOT {found})" if negated else found

    def _like(self, value: Value) -> str:
        self._expect(value, "string")
        pattern = literal(value.pattern.lower())
        return f"coalesce(lower({self._column}) LIKE {pattern} ESCAPE '\\', false)"

    def _expect(self, value: Value, wanted: str) -> None:
        if value.kind == wanted:
            return
        quoted = "should be enclosed in quotes" if wanted == "string" else "should not be enclosed in quotes"
        type_name = {"datetime": "dateTime", "number": self._field.type}.get(wanted, wanted)
        raise SoqlError(
            "INVALID_FIELD",
            f"{self._where(value)}value of filter criterion for field '{self._field.name}' must be of type"
            f" {type_name} and {quoted}",
        )

    def _literal(self, value: Value) -> str:
        if self._kind in ("text", "multi"):
            self._expect(value, "string")
            return literal(value.text if self._field.case_sensitive else value.text.lower())
        if self._kind == "id":
            return literal(self._id(value))
        self._expect(value, self._kind)
        if self._kind == "number":
            return f"CAST('{Decimal(value.text):f}' AS {NUMBER})"
        if self._kind == "datetime":
            return literal(self._instant(value))
        if self._kind == "date":
            return literal(self._day(value).isoformat())
        if self._kind == "time":
            head, _, fraction = value.text.removesuffix("Z").partition(".")
            return literal(f"{head}.{fraction[:3]:0<3}Z")
        return literal(value.text)

    def _id(self, value: Value) -> str:
        self._expect(value, "string")
        found = to_18(value.text)
        if found is None:
            raise SoqlError(
                "INVALID_QUERY_FILTER_OPERATOR", f"{self._where(value)}invalid ID field: {value.text}"
            )
        return found

    def _malformed(self, value: Value) -> SoqlError:
        return SoqlError("MALFORMED_QUERY", f"{self._where(value)}invalid {value.kind}: {value.text}")

    def _day(self, value: Value) -> date:
        try:
            return date.fromisoformat(value.text)
        except ValueError:
            raise self._malformed(value) from None

    def _instant(self, value: Value) -> str:
        try:
            return instant(datetime.fromisoformat(value.text))
        except (ValueError, OverflowError):
            raise self._malformed(value) from None

    def _range(self, operator: str, value: Value) -> str:
        """A date macro is a stretch of days; before it is <, in it is =."""
        if self._kind not in ("date", "datetime"):
            raise SoqlError("MALFORMED_QUERY", f"unexpected token: '{value.text}'")
        bounds = macro_days(value.text, value.n, self._now.astimezone(UTC).date())
        if bounds is None:
            raise SoqlError("MALFORMED_QUERY", f"unexpected token: '{value.text}'")
        first, end = (literal(self._bound(day)) for day in bounds)
        column = self._column
        inside = f"coalesce({column} >= {first} AND {column} < {end}, false)"
        if operator in ("=", "!="):
            return inside if operator == "=" else f"(NOT {inside})"
        limit = first if operator in ("<", ">=") else end
        sign = {"<": "<", ">=": ">=", "<=": "<", ">": ">="}[operator]
        return f"coalesce({column} {sign} {limit}, false)"

    def _bound(self, day: date) -> str:
        return day.isoformat() if self._kind == "date" else f"{day.isoformat()}T00:00:00.000Z"


_UNITS = {"DAY": "day", "WEEK": "week", "MONTH": "month", "QUARTER": "quarter", "YEAR": "year"}
_NEAR = re.compile(r"(LAST|THIS|NEXT)_(WEEK|MONTH|QUARTER|YEAR)")
_COUNTED = re.compile(r"(LAST|NEXT)_N_(DAY|WEEK|MONTH|QUARTER|YEAR)S")
_AGO = re.compile(r"N_(DAY|WEEK|MONTH|QUARTER|YEAR)S_AGO")


def macro_days(name: str, n: int, today: date) -> tuple[date, date] | None:
    """The days [first, end) of a date macro; None when there is no such macro.

    Weeks begin on Sunday, as in an org of the US locale. LAST_N_DAYS:n and LAST_90_DAYS hold today too.

    Source: SOQL and SOSL Reference, "Date Formats and Date Literals".
    """
    single = {"TODAY": 0, "YESTERDAY": -1, "TOMORROW": 1}
    if name in single:
        first = today + timedelta(days=single[name])
        return first, first + timedelta(days=1)
    if name in ("LAST_90_DAYS", "NEXT_90_DAYS"):
        name, n = name.replace("90", "N"), 90
    if match := _NEAR.fullmatch(name):
        step = {"LAST": -1, "THIS": 0, "NEXT": 1}[match[1]]
        return _shift(today, _UNITS[match[2]], step), _shift(today, _UNITS[match[2]], step + 1)
    if match := _AGO.fullmatch(name):
        return _shift(today, _UNITS[match[1]], -n), _shift(today, _UNITS[match[1]], 1 - n)
    if match := _COUNTED.fullmatch(name):
        unit = _UNITS[match[2]]
        if match[1] == "NEXT":
            return _shift(today, unit, 1), _shift(today, unit, n + 1)
        return _shift(today, unit, -n), _shift(today, unit, 1 if unit == "day" else 0)
    return None


def _shift(today: date, unit: str, steps: int) -> date:
    """The first day of the unit that lies so many units from today's; kept inside the calendar."""
    try:
        if unit == "day":
            return today + timedelta(days=steps)
        if unit == "week":
            return today - timedelta(days=today.isoweekday() % 7) + timedelta(weeks=steps)
        size = {"month": 1, "quarter": 3, "year": 12}[unit]
        month = today.year * 12 + (today.month - 1) // size * size + steps * size
        return date(month // 12, month % 12 + 1, 1)
    except (ValueError, OverflowError):
        return date.min if steps < 0 else date.max
