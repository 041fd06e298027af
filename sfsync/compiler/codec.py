"""Frozen values as JSON and back, driven by their type hints.

Owns:      the form: a dataclass is the list of its fields' values, everything else what JSON has for it.
Does not:  know one class of ours, read a file, or run anything that a file names.
Invariant: what decode returns has the types that the hints say, all the way down, or it raises; a field that a class
           gets or loses makes older texts unreadable rather than wrong.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Value = TypeVar("Value")
_Decoder = Callable[[Any], Any]


class CodecError(ValueError):
    """The data is not what the type says, or the type is none that this form knows."""


def encode(value: Any) -> Any:
    """A value as what `json.dumps` takes."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if is_dataclass(value):
        return [encode(getattr(value, field.name)) for field in fields(value)]
    raise CodecError(f"no form for {type(value).__name__}")


def decode(kind: type[Value], data: Any) -> Value:
    """What `encode` made of a value of this type.

    Raises:
        CodecError: the data is something else.
    """
    return cast(Value, _decoder(cast(Any, kind))(data))


@cache
def _decoder(kind: Any) -> _Decoder:
    if kind is Any:
        return lambda data: data
    if kind in (str, int, float, bool, types.NoneType):
        return _exactly(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(parts)
    if origin is tuple:
        return _many(parts[0]) if parts[1:] == (...,) else _row(tuple(map(_decoder, parts)), tuple)
    if origin in (dict, Mapping):
        return _map(parts)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return _row(tuple(_decoder(hints[field.name]) for field in fields(kind)), lambda row: kind(*row))
    raise CodecError(f"no form for {kind}")


def _exactly(kind: Any) -> _Decoder:
    allowed = (int, float) if kind is float else (kind,)

    def decode_one(data: Any) -> Any:
        if type(data) not in allowed:  # True is an int to isinstance
            raise CodecError(f"expected {kind.__name__}, found {type(data).__name__}")
        return data

    return decode_one


def _optional(parts: tuple[Any, ...]) -> _Decoder:
    others = [part for part in parts if part is not types.NoneType]
    if set(others) == {bool, str}:  # JSON tells them apart

        def either(data: Any) -> Any:
            if type(data) not in others and not (data is None and types.NoneType in parts):
                raise CodecError(f"expected true, false or a text, found {type(data).__name__}")
            return data

        return either
    if len(others) != 1 or len(parts) != 2:
        raise CodecError(f"no form for a choice of {parts}")
    inner = _decoder(others[0])
    return lambda data: None if data is None else inner(data)


def _listed(data: Any) -> list[Any]:
    if type(data) is not list:
        raise CodecError(f"expected a list, found {type(data).__name__}")
    return data


def _many(part: Any) -> _Decoder:
    inner = _decoder(part)
    return lambda data: tuple([inner(item) for item in _listed(data)])


def _row(inner: tuple[_Decoder, ...], make: Callable[[list[Any]], Any]) -> _Decoder:
    def decode_row(data: Any) -> Any:
        if len(_listed(data)) != len(inner):
            raise CodecError(f"expected {len(inner)} values, found {len(data)}")
        return make([one(item) for one, item in zip(inner, data, strict=True)])

    return decode_row


def _map(parts: tuple[Any, ...]) -> _Decoder:
    if parts[0] is not str:
        raise CodecError("the keys of a map must be text")
    inner = _decoder(parts[1])

    def decode_map(data: Any) -> Any:
        if type(data) is not dict:
            raise CodecError(f"expected a map, found {type(data).__name__}")
        return {key: inner(item) for key, item in data.items()}

    return decode_map


def _member(kind: type[Enum]) -> _Decoder:
    members = {member.value: member for member in kind}

    def decode_member(data: Any) -> Any:
        if type(data) is not str or data not in members:
            raise CodecError(f"no {kind.__name__} of that name")
        return members[data]

    return decode_member
