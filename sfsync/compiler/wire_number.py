"""The wire projection of numbers: int, double, currency, percent.

Owns:      what a number looks like in text, rounding, range.
Does not:  spell casts that differ between engines (engine/dialect).
Invariant: plain digits, half away from zero at the field's scale, no trailing zeros, never `-0`; a text is looked at
           by a regular expression before any cast.
"""

from __future__ import annotations

from sfsync.compiler.wire_base import OUT_OF_RANGE, WRONG_TYPE, Source, Steps
from sfsync.records import SourceType

NUMBER = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$"
MAX_DIGITS = 18
MAX_CHARACTERS = 400  # of a number in text: keeps every engine's cast inside what it can hold
INT_MIN, INT_MAX = -(2**31), 2**31 - 1


def number(source: Source) -> Steps:
    """int, double, currency, percent."""
    family, x, dialect = source.rule.column.family, source.x, source.dialect
    scale = _scale(source)
    if family is SourceType.INTEGER:
        return source.steps([(_outside(source, x), OUT_OF_RANGE)], dialect.cast_text(x))
    base = None
    if family is SourceType.DECIMAL:
        base = dialect.round_decimal(x, scale)
        value = source.below or base
        finite = dialect.finite_decimal
        checks = [(f"NOT {finite(x)}", WRONG_TYPE)] if finite is not None else []
        given = x
    elif family is SourceType.TEXT:
        base = f"NULLIF({dialect.trim(dialect.text(x))}, '')"
        given = source.below or base
        value = dialect.decimal(given, scale)
        checks = [
            (f"NOT {dialect.matches(given, NUMBER)}", WRONG_TYPE),
            (f"CHAR_LENGTH({given}) > {MAX_CHARACTERS}", OUT_OF_RANGE),
        ]
    else:
        # Through the shortest text that reads back: a binary 1.005 means 1.005, not 1.00499999999999989.
        value = dialect.decimal(dialect.cast_text(x), scale)
        checks = [(f"NOT {dialect.finite(x)}", WRONG_TYPE)]
        given = x
    checks.append((f"{given} IS NOT NULL AND ({_outside(source, value)}) IS NOT FALSE", OUT_OF_RANGE))
    return source.steps(checks, _digits(dialect.cast_text(value), scale), base=base)


def _scale(source: Source) -> int:
    if source.rule.type == "int":
        return 0
    return min(source.rule.scale or 0, MAX_DIGITS)


def _outside(source: Source, value: str) -> str:
    """The condition that a number is too large for the field; NULL for a NULL (an engine's cast that overflowed)."""
    rule, scale = source.rule, _scale(source)
    digits = max(min(rule.precision or MAX_DIGITS, MAX_DIGITS) - scale, 0)
    if rule.type == "int" and 10**digits > INT_MAX:
        return f"{value} NOT BETWEEN {INT_MIN} AND {INT_MAX}"
    largest = str(10**digits - 1)
    if rule.column.family is not SourceType.INTEGER and scale:
        largest += "." + "9" * scale
    return f"{value} NOT BETWEEN -{largest} AND {largest}"


def _digits(text: str, scale: int) -> str:
    if scale == 0:
        return text
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"
