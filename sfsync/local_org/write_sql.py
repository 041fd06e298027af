"""What Salesforce does to one cell on save, as SQL: trim, convert, round, and refuse with its codes and words.

Owns:      the canonical text of each field type, and the error of a value that has none.
Does not:  look at other rows, other tables, or rights (write).
Invariant: a cell is NULL (absent), '' (null) or text, before and after; an error is `CODE` US message US fields,
           where US is the control character 31, or NULL.
"""

from __future__ import annotations

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
_EMAIL = (
    r"[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """SQL of one cell's canonical text and of its error, both over the raw text."""

    text: str
    error: str | None


def fail(code: str, message: str, fields: str = "") -> str:
    """SQL of an error whose message is an SQL expression."""
    return f"{literal(code + SEPARATOR)} || {message} || {literal(SEPARATOR + fields)}"


def cell(field: Field, raw: str) -> Cell:
    """How a field takes the raw text (a column name); references by Id are judged by write, which knows the tables."""
    if field.type in TEXT_TYPES:
        return _text(field, raw)
    return _BY_TYPE.get(field.type, _as_is)(field, raw)


def _text(field: Field, raw: str) -> Cell:
    text = f"trim({raw}, ' \t\r\n')"
    errors = []
    if field.length:
        shown = f"{literal(field.label + ': data value too large: ')} || {text}"
        too_long = fail("STRING_TOO_LONG", f"{shown} || ' (max length={field.length})'", field.name)
        errors.append(f"WHEN length({text}) > {field.length} THEN {too_long}")
    if field.type == "email":
        bad = fail(
            "INVALID_EMAIL_ADDRESS",
            f"{literal(field.label + ': invalid email address: ')} || {text}",
            field.name,
        )
        errors.append(f"WHEN {text} <> '' AND NOT regexp_full_match({text}, '{_EMAIL}') THEN {bad}")
    if field.restricted_picklist:
        allowed = ", ".join(literal(value) for value in ("", *field.picklist))
        errors.append(f"WHEN {text} NOT IN ({allowed}) THEN {_bad_choice(field, text)}")
    return Cell(text, f"CASE {' '.join(errors)} END" if errors else None)


def _bad_choice(field: Field, text: str) -> str:
    message = f"{literal(field.label + ': bad value for restricted picklist field: ')} || {text}"
    return fail("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, field.name)


def _multi(field: Field, raw: str) -> Cell:
    parts = f"list_filter(list_transform(string_split({raw}, ';'), lambda p: trim(p)), lambda p: p <> '')"
    text = (
        f"CASE WHEN NOT contains({raw}, ';') THEN trim({raw})"
        f" ELSE array_to_string(list_sort(list_distinct({parts})), ';') END"
    )
    if not field.restricted_picklist:
        return Cell(text, None)
    allowed = "[" + ", ".join(literal(value) for value in field.picklist) + "]::VARCHAR[]"
    bad = f"WHEN len(list_filter({parts}, lambda p: NOT list_contains({allowed}, p))) > 0"
    return Cell(text, f"CASE WHEN {raw} = '' THEN NULL {bad} THEN {_bad_choice(field, raw)} END")


def _wrong_type(field: Field, raw: str) -> str:
    message = f"{literal(field.label + ': value not of required type: ')} || {raw}"
    return fail("INVALID_TYPE_ON_FIELD_IN_RECORD", message, field.name)


def _number(field: Field, raw: str) -> Cell:
    scale = 0 if field.type in ("int", "long") else field.scale
    decimal = f"TRY_CAST({raw} AS DECIMAL(38, {scale}))"
    plain = f"CAST({decimal} AS VARCHAR)"
    if scale:
        plain = f"rtrim(rtrim({plain}, '0'), '.')"
    clean = f"translate({raw}, '{_NUMBER_CHARS}', '') = ''"
    if field.type in ("int", "long"):
        whole = 9_223_372_036_854_775_807 if field.type == "long" else 2_147_483_647
        outside = f"abs({decimal}) > {whole}"
        clean += f" AND (NOT contains({raw}, '.') OR TRY_CAST({raw} AS DOUBLE) = {decimal})"
    else:
        outside = f"abs({decimal}) >= {10 ** (field.precision - scale)}" if field.precision else "false"
    message = f"{literal(field.label + ': value outside of valid range on numeric field: ')} || {raw}"
    too_big = fail("NUMBER_OUTSIDE_VALID_RANGE", message, field.name)
    error = (
        f"CASE WHEN {raw} = '' THEN NULL WHEN {decimal} IS NULL AND TRY_CAST({raw} AS DOUBLE) IS NULL OR NOT ({clean})"
        f" THEN {_wrong_type(field, raw)} WHEN {decimal} IS NULL OR {outside} THEN {too_big} END"
    )
    return Cell(f"CASE WHEN {raw} = '' THEN '' ELSE {plain} END", error)


def _boolean(field: Field, raw: str) -> Cell:
    text = f"CASE lower({raw}) WHEN 'true' THEN 'true' WHEN '1' THEN 'true' WHEN 'false' THEN 'false' WHEN '0' THEN 'false' END"
    return Cell(text, _when_lost(field, raw, text))


def _date(field: Field, raw: str) -> Cell:
    text = (
        f"CASE WHEN {raw} = '' THEN ''"
        f" WHEN (length({raw}) = 10 OR length({raw}) = 11 AND substr({raw}, 11) = 'Z')"
        f" AND CAST(TRY_CAST(substr({raw}, 1, 10) AS DATE) AS VARCHAR) = substr({raw}, 1, 10)"
        f" AND substr({raw}, 1, 10) BETWEEN '1700-01-01' AND '4000-12-31' THEN substr({raw}, 1, 10) END"
    )
    return Cell(text, _when_lost(field, raw, text))


def _datetime(field: Field, raw: str) -> Cell:
    local = f"TRY_CAST(substr({raw}, 1, 19) AS TIMESTAMP)"
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)"
    zone = rf"regexp_extract({raw}, '[+-](\d\d):?(\d\d)$'"
    minutes = f"TRY_CAST({zone}, 1) AS INTEGER) * 60 + TRY_CAST({zone}, 2) AS INTEGER)"
    sign = rf"CASE WHEN regexp_matches({raw}, '-\d\d:?\d\d$') THEN -1 ELSE 1 END"
    shifted = f"CASE WHEN substr({raw}, -1) = 'Z' THEN {local} ELSE {local} - to_minutes(({sign}) * ({minutes})) END"
    milliseconds = rf"rpad(regexp_extract({raw}, '\.(\d{{1,3}})', 1), 3, '0')"
    plain_form = f"length({raw}) = 24 AND substr({raw}, 20) = '.000Z' AND substr({raw}, 11, 1) = 'T' AND {local} IS NOT NULL"
    slow_form = f"regexp_full_match({raw}, '{shape}') AND {local} IS NOT NULL"
    text = (
        f"CASE WHEN {raw} = '' THEN '' WHEN {plain_form} THEN {raw} WHEN {slow_form}"
        f" THEN strftime({shifted}, '%Y-%m-%dT%H:%M:%S.') || {milliseconds} || 'Z' END"
    )
    return Cell(text, _when_lost(field, raw, text))


def _time(field: Field, raw: str) -> Cell:
    clock = f"CAST(TRY_CAST(rtrim({raw}, 'Z') AS TIME) AS VARCHAR)"
    shape = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?Z?"
    text = (
        f"CASE WHEN {raw} = '' THEN '' WHEN regexp_full_match({raw}, '{shape}')"
        f" THEN substr({clock} || CASE WHEN contains({clock}, '.') THEN '000' ELSE '.000' END, 1, 12) || 'Z' END"
    )
    return Cell(text, _when_lost(field, raw, text))


def _when_lost(field: Field, raw: str, text: str) -> str:
    return f"CASE WHEN {raw} IS NOT NULL AND ({text}) IS NULL THEN {_wrong_type(field, raw)} END"


def _as_is(field: Field, raw: str) -> Cell:
    return Cell(raw, None)


def _reference(field: Field, raw: str) -> Cell:
    return Cell(f"CASE WHEN length({raw}) = 15 THEN coalesce(id_18({raw}), {raw}) ELSE {raw} END", None)


_BY_TYPE: dict[str, Callable[[Field, str], Cell]] = {
    "multipicklist": _multi,
    **{name: _number for name in NUMBER_TYPES},
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "reference": _reference,
    "id": _reference,
}
