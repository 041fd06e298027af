"""What Salesforce does to one cell on save, as SQL: trim, convert, round, and refuse with its codes and words.

Owns:      the canonical text of each field type, and the error of a value that has none.
Does not:  look at other rows, other tables, or rights (write).
Invariant: a cell is NULL (absent), '' (null) or text, before and after; an error is `CODE` US message US fields,
           where US is the control character 31, or NULL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sfsync.contract import Field
from sfsync.local_org.store import literal

SEPARATOR = "\x1f"
TEXT_TYPES = frozenset(
    {"string", "textarea", "email", "phone", "url", "picklist", "combobox", "encryptedstring"}
)
NUMBER_TYPES = frozenset({"double", "currency", "percent", "int", "long"})
CONVERTED_TYPES = NUMBER_TYPES | {"boolean", "date", "datetime", "time"}

_NUMBER_CHARS = "0123456789.eE+-"
_BOOLEANS = {"true": "true", "1": "true", "false": "false", "0": "false"}
_EMAIL = (
    r"[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """SQL of one cell's canonical text over the raw text, and of its error over the raw text and that result."""

    text: str
    error: str | None


def fail(code: str, message: str, fields: str = "") -> str:
    """SQL of an error whose message is an SQL expression."""
    return f"{literal(code + SEPARATOR)} || {message} || {literal(SEPARATOR + fields)}"


def cell(field: Field, raw: str, made: str) -> Cell:
    """How a field takes a raw text; references by Id are judged by stage, which knows the tables.

    Args:
        raw: the column of the raw text.
        made: the column that will hold the canonical text, for the error to read.
    """
    if field.type in TEXT_TYPES:
        return _text(field, raw, made)
    return _BY_TYPE.get(field.type, _as_is)(field, raw, made)


def _text(field: Field, raw: str, made: str) -> Cell:
    # two comparisons cost a tenth of trim() with a character set, and few texts have blanks at their ends
    text = f"CASE WHEN {raw} < '!' OR substr({raw}, -1) < '!' THEN trim({raw}, ' \t\r\n') ELSE {raw} END"
    errors = []
    if field.length:
        shown = f"{literal(field.label + ': data value too large: ')} || {made}"
        too_long = fail("STRING_TOO_LONG", f"{shown} || ' (max length={field.length})'", field.name)
        # bytes first: they are known, characters are counted
        errors.append(
            f"WHEN strlen({made}) > {field.length} AND length({made}) > {field.length} THEN {too_long}"
        )
    if field.type == "email":
        words = literal(field.label + ": invalid email address: ")
        bad = fail("INVALID_EMAIL_ADDRESS", f"{words} || {made}", field.name)
        errors.append(f"WHEN {made} <> '' AND NOT regexp_full_match({made}, '{_EMAIL}') THEN {bad}")
    if field.restricted_picklist:
        allowed = ", ".join(literal(value) for value in ("", *field.picklist))
        errors.append(f"WHEN {made} NOT IN ({allowed}) THEN {bad_choice(field, made)}")
    return Cell(text, f"CASE {' '.join(errors)} END" if errors else None)


def bad_choice(field: Field, text: str) -> str:
    """SQL of the error of a value that a restricted picklist does not have."""
    message = f"{literal(field.label + ': bad value for restricted picklist field: ')} || {text}"
    return fail("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, field.name)


def _multi(field: Field, raw: str, made: str) -> Cell:
    parts = f"list_filter(list_transform(string_split({raw}, ';'), lambda p: trim(p)), lambda p: p <> '')"
    slow = f"array_to_string(list_sort(list_distinct({parts})), ';')"
    if not field.restricted_picklist:
        return Cell(f"CASE WHEN NOT contains({raw}, ';') THEN trim({raw}) ELSE {slow} END", None)
    # a text that is in order and allowed is known by one regular expression; lists are only made for the others
    ordered = "".join(f"(;{re.escape(value)})?" for value in sorted(field.picklist))
    fine = f"regexp_full_match(';' || {{}}, {literal(ordered)})"
    text = f"CASE WHEN {raw} = '' OR {fine.format(raw)} THEN {raw} ELSE {slow} END"
    bad = f"NOT ({made} = '' OR {fine.format(made)})"
    return Cell(text, f"CASE WHEN {bad} THEN {bad_choice(field, raw)} END")


def _wrong_type(field: Field, raw: str) -> str:
    message = f"{literal(field.label + ': value not of required type: ')} || {raw}"
    return fail("INVALID_TYPE_ON_FIELD_IN_RECORD", message, field.name)


def _number(field: Field, raw: str, made: str) -> Cell:
    whole = field.type in ("int", "long")
    scale = 0 if whole else field.scale
    width = 18 if whole or 0 < field.precision <= 16 else 38
    decimal = f"TRY_CAST({raw} AS DECIMAL({width}, {scale}))"
    plain = f"CAST({decimal} AS VARCHAR)"
    text = f"CASE WHEN {raw} = '' THEN '' ELSE {plain} END"
    if scale:  # most texts come as they are to be, and rtrim costs more than all the rest
        fine = f"{plain} = {raw} AND substr({raw}, -1) <> '0'"
        text = f"CASE WHEN {raw} = '' THEN '' WHEN {fine} THEN {raw} ELSE rtrim(rtrim({plain}, '0'), '.') END"
    clean = f"translate({raw}, '{_NUMBER_CHARS}', '') = ''"
    if whole:
        top = 9_223_372_036_854_775_807 if field.type == "long" else 2_147_483_647
        short = 9
        outside = f"strlen({made}) > 9 AND abs(TRY_CAST({made} AS DECIMAL(38, 0))) > {top}"
        clean += f" AND TRY_CAST({raw} AS DOUBLE) = TRY_CAST({made} AS DOUBLE)"
    elif field.precision:
        short = room = field.precision - scale
        outside = f"strlen({made}) > {room} AND abs(TRY_CAST({made} AS DECIMAL(38, {scale}))) >= {10**room}"
    else:
        short, outside = 38, "false"
    wrong = (
        f"{made} IS NULL AND (TRY_CAST({raw} AS DOUBLE) IS NULL OR translate({raw}, '{_NUMBER_CHARS}', '') <> '')"
        f" OR {made} <> {raw} AND NOT ({clean})"
    )
    message = f"{literal(field.label + ': value outside of valid range on numeric field: ')} || {raw}"
    too_big = fail("NUMBER_OUTSIDE_VALID_RANGE", message, field.name)
    error = (
        f"CASE WHEN {raw} IS NULL OR {raw} = '' OR {made} = {raw} AND strlen({raw}) <= {short} THEN NULL"
        f" WHEN {wrong} THEN {_wrong_type(field, raw)}"
        f" WHEN {made} IS NULL OR {outside} THEN {too_big} END"
    )
    return Cell(text, error)


def _boolean(field: Field, raw: str, made: str) -> Cell:
    # a blank is lost like any other wrong value: a boolean is never null
    words = " ".join(f"WHEN '{word}' THEN '{meant}'" for word, meant in _BOOLEANS.items())
    return Cell(f"CASE lower({raw}) {words} END", _when_lost(field, raw, made))


def _date(field: Field, raw: str, made: str) -> Cell:
    text = (
        f"CASE WHEN {raw} = '' THEN '' WHEN strlen({raw}) = 10 AND CAST(TRY_CAST({raw} AS DATE) AS VARCHAR) = {raw}"
        f" AND {raw} BETWEEN '1700-01-01' AND '4000-12-31' THEN {raw}"
        f" WHEN (length({raw}) = 10 OR length({raw}) = 11 AND substr({raw}, 11) = 'Z')"
        f" AND CAST(TRY_CAST(substr({raw}, 1, 10) AS DATE) AS VARCHAR) = substr({raw}, 1, 10)"
        f" AND substr({raw}, 1, 10) BETWEEN '1700-01-01' AND '4000-12-31' THEN substr({raw}, 1, 10) END"
    )
    return Cell(text, _when_lost(field, raw, made))


def _datetime(field: Field, raw: str, made: str) -> Cell:
    local = f"TRY_CAST(substr({raw}, 1, 19) AS TIMESTAMP)"
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)"
    zone = rf"regexp_extract({raw}, '[+-](\d\d):?(\d\d)$'"
    minutes = f"TRY_CAST({zone}, 1) AS INTEGER) * 60 + TRY_CAST({zone}, 2) AS INTEGER)"
    sign = rf"CASE WHEN regexp_matches({raw}, '-\d\d:?\d\d$') THEN -1 ELSE 1 END"
    shifted = f"CASE WHEN substr({raw}, -1) = 'Z' THEN {local} ELSE {local} - to_minutes(({sign}) * ({minutes})) END"
    milliseconds = rf"rpad(regexp_extract({raw}, '\.(\d{{1,3}})', 1), 3, '0')"
    plain_form = f"strlen({raw}) = 24 AND suffix({raw}, '.000Z') AND substr({raw}, 11, 1) = 'T' AND {local} IS NOT NULL"
    slow_form = f"regexp_full_match({raw}, '{shape}') AND {local} IS NOT NULL"
    text = (
        f"CASE WHEN {raw} = '' THEN '' WHEN {plain_form} THEN {raw} WHEN {slow_form}"
        f" THEN strftime({shifted}, '%Y-%m-%dT%H:%M:%S.') || {milliseconds} || 'Z' END"
    )
    return Cell(text, _when_lost(field, raw, made))


def _time(field: Field, raw: str, made: str) -> Cell:
    clock = f"CAST(TRY_CAST(rtrim({raw}, 'Z') AS TIME) AS VARCHAR)"
    shape = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?Z?"
    plain_form = f"length({raw}) = 13 AND suffix({raw}, '.000Z') AND {raw} < '24'"
    text = (
        f"CASE WHEN {raw} = '' THEN '' WHEN NOT regexp_full_match({raw}, '{shape}') THEN NULL"
        f" WHEN {plain_form} THEN {raw}"
        f" ELSE substr({clock} || CASE WHEN contains({clock}, '.') THEN '000' ELSE '.000' END, 1, 12) || 'Z' END"
    )
    return Cell(text, _when_lost(field, raw, made))


def _when_lost(field: Field, raw: str, made: str) -> str:
    return f"CASE WHEN {made} IS NULL AND {raw} IS NOT NULL THEN {_wrong_type(field, raw)} END"


def _as_is(field: Field, raw: str, made: str) -> Cell:
    return Cell(raw, None)


def _reference(field: Field, raw: str, made: str) -> Cell:
    return Cell(f"CASE WHEN length({raw}) = 15 THEN coalesce(id_18({raw}), {raw}) ELSE {raw} END", None)


_BY_TYPE: dict[str, Callable[[Field, str, str], Cell]] = {
    "multipicklist": _multi,
    **dict.fromkeys(NUMBER_TYPES, _number),
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "reference": _reference,
    "id": _reference,
}
