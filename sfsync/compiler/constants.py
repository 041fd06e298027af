"""Values that stand in a sync rather than in the model, as the text that goes on the wire.

Owns:      what a field of each type takes as a constant, by the same rules as a value of the model.
Does not:  know which key the constant stands under.
Invariant: the text is the one that the wire projection makes of the same value.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from sfsync.compiler.wire_number import INT_MAX, INT_MIN, MAX_CHARACTERS, MAX_DIGITS, NUMBER
from sfsync.compiler.wire_text import CHECKSUM, EMAIL, ID
from sfsync.compiler.wire_time import DATE, DATETIME, TIME
from sfsync.contract import Field
from sfsync.engine.dialect import BLANKS

_TEXTS = frozenset({"string", "textarea", "phone", "url", "email", "encryptedstring", "combobox", "picklist"})
_NUMBERS = frozenset({"int", "double", "currency", "percent"})
_SHOWN = 12
_FIRST_YEAR, _LAST_YEAR = 1700, 4000
_ZONED = "a time from 1700 to 4000 with its zone, 2026-01-31T10:00:00Z"
_FLOAT_DIGITS = 15
_RECORD_ID = "an Id of 15 or 18 characters, of which the last three check the others"


class ConstantError(ValueError):
    """The field does not take the value; the text says what it takes."""


def wire_text(field: Field, value: bool | int | float | str | None, *, narrowed: bool) -> str:
    """The text that sets a field to a constant; '' is null.

    Args:
        narrowed: the object has record types, which may narrow a list of values.

    Raises:
        ConstantError: the field cannot hold the value.
    """
    if isinstance(value, str):
        if "\x00" in value:
            raise ConstantError("cannot hold NUL (U+0000)")
        value = value.strip(BLANKS).replace("\r\n", "\n").replace("\r", "\n")
    if value is None or value == "":
        if field.type == "boolean" or not field.nillable:
            raise ConstantError("cannot be null")
        return ""
    if field.type == "boolean":
        if not isinstance(value, bool):
            raise ConstantError("must be true or false")
        return str(value).lower()
    if field.type in _NUMBERS:
        return _number(field, value)
    if not isinstance(value, str):
        raise ConstantError("must be text (put it in quotes)")
    if field.type in _TEXTS:
        return _text(field, value, narrowed)
    return _other(field, value, narrowed)


def _number(field: Field, value: bool | int | float | str) -> str:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(NUMBER, text) or len(text) > MAX_CHARACTERS:
        raise ConstantError("must be a number")
    found = Decimal(text)
    whole_field = field.type == "int"
    scale = 0 if whole_field else min(field.scale, MAX_DIGITS)
    digits = min((field.digits or 10) if whole_field else (field.precision or MAX_DIGITS), MAX_DIGITS)
    whole = max(digits - scale, 0)
    # Before it is rounded, which fails beyond the digits that arithmetic keeps; and after, as 99.99 becomes 100.
    too_large = bool(found) and found.adjusted() >= whole
    if not too_large and isinstance(value, float):
        _check_float(found)
    if not too_large:
        found = found.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)
        too_large = abs(found) >= Decimal(10) ** whole
    if too_large:
        raise ConstantError(f"must have at most {whole} digits before the point")
    if whole_field and not INT_MIN <= found <= INT_MAX:
        raise ConstantError(f"must be from {INT_MIN} to {INT_MAX}")
    text = f"{found:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _check_float(found: Decimal) -> None:
    """Refuse what may have been another number in the file: a binary float keeps any 15 digits, and not all of 16."""
    digits = max(len(found.as_tuple().digits), found.adjusted() + 1)
    if digits > _FLOAT_DIGITS:
        what = f"has {digits} digits, and a plain decimal keeps only {_FLOAT_DIGITS}: put it in quotes"
        raise ConstantError(what)


def _text(field: Field, value: str, narrowed: bool) -> str:
    if field.length and len(value) > field.length:
        raise ConstantError(f"must have at most {field.length} characters, found {len(value)}")
    if field.restricted_picklist and field.picklist and not narrowed and value not in field.picklist:
        raise ConstantError(f"must be one of {listed(field.picklist)}")
    if field.type == "email" and not re.fullmatch(EMAIL, value):
        raise ConstantError("must be an e-mail address")
    return value


def listed(values: tuple[str, ...]) -> str:
    """The first of these, and how many more there are."""
    more = f", and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more


def _other(field: Field, value: str, narrowed: bool) -> str:
    match field.type:
        case "multipicklist":
            parts = sorted({part.strip(BLANKS) for part in value.split(";")} - {""})
            bad = [part for part in parts if part not in field.picklist]
            if field.restricted_picklist and field.picklist and not narrowed and bad:
                raise ConstantError(f"must be of {listed(field.picklist)}")
            return _text(field, ";".join(parts), narrowed=True)
        case "date" if re.fullmatch(DATE, value):
            return value
        case "datetime" if re.fullmatch(DATETIME, value):
            return _moment(value)
        case "time" if re.fullmatch(TIME, value):
            clock = value.rstrip("Z")
            return (clock + "00:00:00.000"[len(clock) :])[:12] + "Z"
        case "id" | "reference" if re.fullmatch(ID, value) and value[15:].upper() in ("", _suffix(value)):
            return value[:15] + _suffix(value)
    words = {
        "date": "a date from 1700 to 4000, YYYY-MM-DD",
        "datetime": _ZONED,
        "time": "a time, HH:MM:SS",
        "id": _RECORD_ID,
        "reference": _RECORD_ID,
    }
    raise ConstantError(f"must be {words.get(field.type, 'of another type: this one takes no constant')}")


def _suffix(value: str) -> str:
    """The three characters that tell which of an Id's first 15 are capital letters."""
    capitals = [char.isupper() for char in value[:15]]
    return "".join(CHECKSUM[sum(capitals[start + k] << k for k in range(5))] for start in (0, 5, 10))


def _moment(value: str) -> str:
    found = datetime.fromisoformat(value.replace(" +", "+").replace(" -", "-").replace(" Z", "Z"))
    if found.tzinfo is None:
        raise ConstantError(f"must be {_ZONED}")
    found = found.astimezone(UTC)  # far from either end of the calendar
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ConstantError(f"must be {_ZONED}")
    return f"{found:%Y-%m-%dT%H:%M:%S}.000Z"
