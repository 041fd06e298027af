"""Values that stand in a sync rather than in the model, as the text that goes on the wire.

Owns:      what a field of each type takes as a constant, by the same rules as a value of the model.
Does not:  know which key the constant stands under.
Invariant: the text is the one that the wire projection makes of the same value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from sfsync.contract import Field

_TEXTS = frozenset({"string", "textarea", "phone", "url", "email", "encryptedstring", "combobox", "picklist"})
_NUMBERS = frozenset({"int", "double", "currency", "percent"})
_SHOWN = 12
_ID = re.compile(r"[A-Za-z0-9]{18}")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{3})?Z?")


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
        value = value.replace("\r\n", "\n").strip()
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
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal("NaN")
    if isinstance(value, bool) or not found.is_finite():
        raise ConstantError("must be a number")
    scale = 0 if field.type == "int" else field.scale
    digits = (field.digits or 10) if field.type == "int" else (field.precision or 18)
    found = found.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)
    if abs(found) >= Decimal(10) ** (digits - scale):
        raise ConstantError(f"must have at most {digits - scale} digits before the point")
    text = f"{found:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _text(field: Field, value: str, narrowed: bool) -> str:
    if field.length and len(value) > field.length:
        raise ConstantError(f"must have at most {field.length} characters, found {len(value)}")
    if field.restricted_picklist and field.picklist and not narrowed and value not in field.picklist:
        raise ConstantError(f"must be one of {listed(field.picklist)}")
    if field.type == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        raise ConstantError("must be an e-mail address")
    return value


def listed(values: tuple[str, ...]) -> str:
    """The first of these, and how many more there are."""
    more = f", and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more


def _other(field: Field, value: str, narrowed: bool) -> str:
    match field.type:
        case "multipicklist":
            parts = sorted({part.strip() for part in value.split(";") if part.strip()})
            bad = [part for part in parts if part not in field.picklist]
            if field.restricted_picklist and field.picklist and not narrowed and bad:
                raise ConstantError(f"must be of {listed(field.picklist)}")
            return ";".join(parts)
        case "date":
            return _parsed("a date, YYYY-MM-DD", lambda: date.fromisoformat(value).isoformat())
        case "datetime":
            return _parsed("a time with its zone, 2026-01-31T10:00:00Z", lambda: _moment(value))
        case "time" if _TIME.fullmatch(value):
            return f"{value.rstrip('Z')}Z" if "." in value else f"{value.rstrip('Z')}.000Z"
        case "id" | "reference" if _ID.fullmatch(value):
            return value
    words = {
        "time": "a time, HH:MM:SS",
        "id": "an Id of 18 characters",
        "reference": "an Id of 18 characters",
    }
    raise ConstantError(f"must be {words.get(field.type, 'of another type: this one takes no constant')}")


def _moment(value: str) -> str:
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError
    return f"{found.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def _parsed(what: str, read: Callable[[], str]) -> str:
    try:
        return read()
    except ValueError:
        raise ConstantError(f"must be {what}") from None
