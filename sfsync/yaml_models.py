"""What a pydantic model finds wrong with a YAML file, as errors at the places of the keys.

Owns:      the wording of unknown keys, missing keys, wrong types and values, and the nearest valid name.
Does not:  read YAML (yaml_text) or know any key of ours.
Invariant: every finding has a place, and none shows the value of a key whose type is secret.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sfsync.errors import ProjectError, SpecError
from sfsync.yaml_text import Document, Loc, kind, nearest

Spec = TypeVar("Spec", bound=BaseModel)


def fault(message: str, *, fix: str | None = None) -> PydanticCustomError:
    """A validator's finding: what is wrong with the value (it is put after the key's name), and the next step."""
    return PydanticCustomError("sfsync", "{message}", {"message": message, "fix": fix})


def validated(
    model: type[Spec], document: Document, loc: Loc = (), *, owner: str, error: type[ProjectError] = SpecError
) -> tuple[Spec | None, list[ProjectError]]:
    """Validate the value at `loc` of a document.

    Args:
        owner: whose keys these are, as messages name it: "sync 'contacts'".

    Returns:
        The model and no findings, or None and every finding at its own place.
    """
    value = document.get(*loc)
    if not isinstance(value, dict):
        what = f"{owner} must be a map of keys, found {kind(value)}"
        return None, [error(what, where=document.value_where(*loc))]
    return validated_value(model, value, document, loc, owner=owner, error=error)


def validated_value(
    model: type[Spec],
    value: Mapping[str, Any],
    document: Document,
    loc: Loc,
    *,
    owner: str,
    error: type[ProjectError] = SpecError,
) -> tuple[Spec | None, list[ProjectError]]:
    """The same of a value that is what stands at `loc`, and more."""
    try:
        return model.model_validate(value), []
    except ValidationError as caught:
        details = caught.errors(include_url=False)
        return None, [_finding(model, document, loc, owner, d, error) for d in details]


def entries(document: Document, key: str, *, version: int, findings: list[ProjectError]) -> range:
    """Indexes of the list under `key` in a file `{version: N, key: [...]}`; what is wrong goes to `findings`."""
    data, path = document.data, document.path
    if not isinstance(data, dict):
        what = f"{path} must be a map with 'version' and '{key}', found {kind(data)}"
        findings.append(SpecError(what, where=document.where()))
        return range(0)
    for name in data:
        if name not in ("version", key):
            fix = nearest(name, ("version", key)) or f"valid keys: version, {key}"
            findings.append(SpecError(f"unknown key '{name}'", where=document.where(name), fix=fix))
    if data.get("version") != version or isinstance(data["version"], bool):
        found = f"'version' must be {version}" if "version" in data else "needs the key 'version'"
        findings.append(
            SpecError(found, where=document.value_where("version"), fix=f"write version: {version}")
        )
    items = data.get(key, [])
    if not isinstance(items, list):
        what = f"'{key}' must be a list, found {kind(items)}"
        findings.append(
            SpecError(what, where=document.value_where(key), fix="start each entry with '- name:'")
        )
        return range(0)
    return range(len(items))


def _finding(
    model: type[BaseModel],
    document: Document,
    base: Loc,
    owner: str,
    detail: ErrorDetails,
    error: type[ProjectError],
) -> ProjectError:
    loc = tuple(s for s in detail["loc"] if s != "[key]")
    dotted = _dotted(loc)
    context = detail.get("ctx", {})
    if detail["type"] == "extra_forbidden":
        parent, keys = _dotted(loc[:-1]), _keys_at(model, loc[:-1])
        what = f"{owner}: unknown key '{loc[-1]}'" + (f" in '{parent}'" if parent else "")
        fix = nearest(str(loc[-1]), keys) or f"valid keys: {', '.join(keys)}"
        return error(what, where=document.where(*base, *loc), fix=fix)
    if detail["type"] == "missing":
        parent = _dotted(loc[:-1])
        what = f"{owner}{f': {chr(39)}{parent}{chr(39)}' if parent else ''} needs the key '{loc[-1]}'"
        return error(what, where=document.where(*base, *loc[:-1]))
    where = document.value_where(*base, *loc)
    if detail["type"] == "sfsync":
        subject = f"{owner}: '{dotted}'" if dotted else owner
        found = _found(detail["input"], model, loc) if context["message"].startswith("must") else ""
        return error(f"{subject} {context['message']}{found}", where=where, fix=context["fix"])
    near = None
    if detail["type"] == "literal_error":
        choices = _choices(context.get("expected", ""))
        near = nearest(str(detail["input"]), choices) if len(choices) > 1 else None
    found = _found(detail["input"], model, loc)
    return error(f"{owner}: '{dotted}' must be {_expected(detail)}{found}", where=where, fix=near)


_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "dict_type": "a map of keys",
    "model_type": "a map of keys",
    "model_attributes_type": "a map of keys",
    "tuple_type": "a list",
    "list_type": "a list",
}


def _expected(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "literal_error":
            choices = _choices(context["expected"])
            return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
        case "greater_than_equal":
            return f"{context['ge']} or more"
        case "less_than_equal":
            return f"{context['le']} or less"
        case "string_type" if isinstance(detail["input"], int | float):
            return "text (put it in quotes)"
        case known:
            return _EXPECTED.get(known, detail["msg"])


def _choices(expected: str) -> list[str]:
    return re.findall(r"'([^']*)'", expected)


def _found(value: Any, model: type[BaseModel], loc: Loc) -> str:
    """', found ...' with the value if it is short enough to be shown and no secret."""
    if isinstance(value, dict | list | tuple | BaseModel) or value is None or _secret(model, loc):
        return f", found {kind(value)}"
    if isinstance(value, bool | int | float):
        return f", found {str(value).lower()}"
    text = str(value)
    return f", found '{text if len(text) <= 60 else text[:57] + '...'}'"


def _dotted(loc: Loc) -> str:
    out = ""
    for step in loc:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else step
    return out


# Which model stands where


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    found = _type_at(model, loc)
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        return []
    return [f.alias or name for name, f in found.model_fields.items()]


def _secret(model: type[BaseModel], loc: Loc) -> bool:
    return "Secret" in str(_type_at(model, loc))


def _type_at(model: Any, loc: Loc) -> Any:
    """The annotation at a path of a model: fields by alias, values of dicts, items of tuples."""
    found: Any = model
    for step in loc:
        for candidate in _parts(found):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                fields = {f.alias or name: f for name, f in candidate.model_fields.items()}
                if step in fields:
                    found = fields[str(step)].annotation
                    break
            elif typing.get_origin(candidate) in (dict, Mapping):
                found = typing.get_args(candidate)[1]
                break
            elif typing.get_origin(candidate) in (tuple, list):
                found = typing.get_args(candidate)[0]
                break
        else:
            return None
    return next((p for p in _parts(found) if isinstance(p, type) and issubclass(p, BaseModel)), found)


def _parts(annotation: Any) -> Iterator[Any]:
    """The members of a union, with Annotated taken off."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _parts(member)
    else:
        yield annotation
