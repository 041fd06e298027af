"""The small types that keys of the YAML files are made of: shares, durations, names.

Owns:      how a scalar is written and read, and what is said when it is written wrongly.
Does not:  know which key has which type (spec, spec_tables).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from sfsync.yaml_models import fault

NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_COLUMN_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_ ]*(\(\s*\d+\s*(,\s*\d+\s*)?\))?( [A-Za-z ]+)?(\[\])?")
_DURATION = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def config(*examples: Any) -> ConfigDict:
    return ConfigDict(
        frozen=True, extra="forbid", strict=True, json_schema_extra={"examples": list(examples)}
    )


def parse_share(value: Any) -> Any:
    """Read a share, '5%' or 0.05, as a number of 0..1."""
    found = value
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?\s*%", value):
        value = float(value.rstrip("% ")) / 100
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        hint = f"{found}%" if isinstance(found, int | float) and 1 < found <= 100 else "5%"
        raise fault("must be a percentage of 0% to 100%, or a number of 0 to 1", fix=f"write {hint}")
    return float(value)


def parse_duration(value: Any) -> Any:
    """Read a whole number with its unit, '7d', '12h', '30m', '45s' or '2w'."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or len(match[1]) > 6:
        hint = f"{value}d" if isinstance(value, int) and not isinstance(value, bool) and value > 0 else "7d"
        raise fault("must be a whole number with a unit (s, m, h, d or w)", fix=f"write {hint}")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def one_or_many(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if not (value is None or isinstance(value, bool | int | float | str)):
        raise fault("must be a text, a number, true, false or null")
    return value


def _filled(value: str) -> str:
    if not value.strip():
        raise fault("must not be blank")
    return value


def _sync_name(value: str) -> str:
    if not NAME.fullmatch(value):
        fix = "start with a small letter; small letters, digits and _ only, 60 characters at most"
        raise fault("must be a valid name", fix=fix)
    return value


def _column_type(value: str) -> str:
    if not _COLUMN_TYPE.fullmatch(value.strip()):
        raise fault("must be a column type", fix="for example integer, decimal(16,2), date, timestamp")
    return value.strip()


Constant = bool | int | float | str | None
GivenConstant = Annotated[Constant, BeforeValidator(_plain)]


def parse_cascade(value: Any) -> Any:
    """Read which objects' records may go along with deleted ones: true for all, or their names."""
    if isinstance(value, bool):
        return value
    names = [value] if isinstance(value, str) else value
    good = isinstance(names, list | tuple) and names
    if not good or not all(isinstance(name, str) and API_NAME.fullmatch(name) for name in names):
        raise fault("must be true, false, or a list of objects", fix="for example allow_cascade: [Contact]")
    return tuple(names)


Share = Annotated[float, BeforeValidator(parse_share)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Count = Annotated[int, Field(ge=0)]
Filled = Annotated[str, AfterValidator(_filled)]
Name = Annotated[str, AfterValidator(_sync_name)]
Texts = Annotated[tuple[Filled, ...], BeforeValidator(one_or_many)]
TextGroups = Annotated[
    tuple[Annotated[tuple[Filled, ...], BeforeValidator(as_tuple)], ...], BeforeValidator(as_tuple)
]
Cascades = Annotated[bool | tuple[str, ...], BeforeValidator(parse_cascade)]
ColumnType = Annotated[str, AfterValidator(_column_type)]
