"""YAML with positions: what a file says, and where it says so.

Owns:      reading YAML text into plain values with the line and column of every key and value, duplicate keys and
           YAML 1.1's surprises refused; turning what a pydantic model finds wrong into errors at these places.
Does not:  know any key of ours, or find files.
Invariant: `true`, `false`, `null`, plain whole numbers and plain decimals are typed; every other scalar is its text.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sfsync.errors import ProjectError, SpecError, Where

Loc = tuple[str | int, ...]
Spec = TypeVar("Spec", bound=BaseModel)

MAX_NODES = 200_000
"""Values one file may hold once its aliases are written out; more is a mistake or an attack."""
MAX_DEPTH = 60

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE, _FALSE, _NULL = (
    {"true", "True", "TRUE"},
    {"false", "False", "FALSE"},
    {"null", "Null", "NULL", "~", ""},
)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Document:
    """One YAML file: its value, and (line, column) of every key and value in it, counted from 1."""

    path: str
    data: Any
    keys: Mapping[Loc, tuple[int, int]] = field(default_factory=dict, repr=False)
    values: Mapping[Loc, tuple[int, int]] = field(default_factory=dict, repr=False)

    def where(self, *loc: str | int) -> Where:
        """Where a key (or an item of a list) stands; of a path that is not there, its nearest parent's."""
        return _place(self.path, self.keys, loc)

    def value_where(self, *loc: str | int) -> Where:
        """Where a value stands; of a path that is not there, its nearest parent's."""
        return _place(self.path, self.values, loc)

    def get(self, *loc: str | int) -> Any:
        """The value at a path, or None."""
        found = self.data
        for step in loc:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found


def _place(path: str, places: Mapping[Loc, tuple[int, int]], loc: Loc) -> Where:
    for length in range(len(loc), -1, -1):
        if loc[:length] in places:
            return Where(path, *places[loc[:length]])
    return Where(path)


def fault(message: str, *, fix: str | None = None) -> PydanticCustomError:
    """A validator's finding: what is wrong with the value (it is put after the key's name), and the next step."""
    return PydanticCustomError("sfsync", "{message}", {"message": message, "fix": fix})


def nearest(name: str, names: Iterable[str]) -> str | None:
    """'did you mean ...?' with the valid name that looks most like `name`, or None."""
    by_folded = {n.casefold(): n for n in sorted(names)}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean '{by_folded[close[0]]}'?" if close else None


def raise_all(findings: Iterable[ProjectError]) -> None:
    """Raise the first finding with the others in it; return when there is none."""
    found = list(findings)
    if found:
        found[0].others = (*found[0].others, *found[1:])
        raise found[0]


# Reading


def read_yaml(path: Path, shown: str, error: type[ProjectError] = SpecError) -> Document:
    """Read a YAML file. shown: its name in messages. A file that cannot be read or understood raises `error`."""
    try:
        raw = path.read_bytes()
    except OSError as caught:
        raise error(f"cannot read the file: {caught.strerror}", where=Where(shown)) from None
    return parse_yaml(decode(raw, shown, error), shown, error)


def decode(raw: bytes, shown: str, error: type[ProjectError] = SpecError) -> str:
    """UTF-8 bytes, with or without a byte order mark, as text; anything else raises `error` with its line."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as caught:
        before = raw[: caught.start]
        place = Where(shown, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        what = f"not UTF-8 text: byte 0x{raw[caught.start]:02x} does not belong here"
        raise error(what, where=place, fix="save the file as UTF-8") from None


def parse_yaml(text: str, shown: str, error: type[ProjectError] = SpecError) -> Document:
    """Read YAML text. An empty file has None for its data.

    Raises:
        error: not YAML, more than one document, a duplicate or nested key, a tag, or too many values.
    """
    try:
        loader = _LOADER(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as caught:
        raise _syntax_error(caught, text, shown, error) from None
    except (yaml.YAMLError, ValueError) as caught:  # a control character, a lone surrogate
        raise error(_control_character(caught), where=Where(shown), fix="remove the character") from None
    except RecursionError:
        raise error(f"nested deeper than {MAX_DEPTH} levels", where=Where(shown)) from None
    if root is None:
        return Document(shown, None)
    reader = _Reader(shown, error)
    return Document(shown, reader.build(root, (), 0), reader.keys, reader.values)


class _Reader:
    """Walks the nodes of one file once, collecting values and places."""

    def __init__(self, shown: str, error: type[ProjectError]) -> None:
        self.shown, self.error, self.count = shown, error, 0
        self.keys: dict[Loc, tuple[int, int]] = {}
        self.values: dict[Loc, tuple[int, int]] = {}

    def build(self, node: yaml.Node, loc: Loc, depth: int) -> Any:
        self.count += 1
        if self.count > MAX_NODES:
            raise self._error(
                node, f"more than {MAX_NODES:,} values once its aliases (*name) are written out"
            )
        if depth > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH} levels")
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        self.values[loc] = place
        self.keys.setdefault(loc, place)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if not node.tag.startswith("tag:yaml.org,2002:"):
            raise self._error(node, f"the tag {node.tag} is not understood", fix="remove it")
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*loc, i), depth + 1) for i, item in enumerate(node.value)]
        return self._mapping(node, loc, depth)

    def _mapping(self, node: yaml.Node, loc: Loc, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                what = "a key must be plain text, found a list or a map"
                raise self._error(key_node, what, fix="put quotes around a value that starts with { or [")
            key = key_node.value
            if key == "<<" and not key_node.style:
                raise self._error(key_node, "merge keys (<<) are not supported", fix="write the keys out")
            if key in out:
                first = self.keys[(*loc, key)][0]
                raise self._error(key_node, f"duplicate key '{key}': it stands on line {first} already")
            self.keys[(*loc, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            out[key] = self.build(value_node, (*loc, key), depth + 1)
        return out

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if not node.tag.startswith("tag:yaml.org,2002:"):
            raise self._error(node, f"the tag {node.tag} is not understood", fix="put the value in quotes")
        return text if node.style else plain(text)  # '' or None: not quoted

    def _error(self, node: yaml.Node, what: str, fix: str | None = None) -> ProjectError:
        return self.error(
            what, where=Where(self.shown, node.start_mark.line + 1, node.start_mark.column + 1), fix=fix
        )


def plain(text: str) -> Any:
    """The value of an unquoted scalar: true, false, null, a whole number, a decimal, or the text itself."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and any(c.isdigit() for c in text.lower().split("e")[0]):
        return float(text)
    return text


def _syntax_error(
    caught: yaml.MarkedYAMLError, text: str, shown: str, error: type[ProjectError]
) -> ProjectError:
    """The parser's complaint as a sentence, at the line that is to be changed."""
    mark = caught.problem_mark or caught.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    rows = text.splitlines()
    row = rows[line - 1] if line and line <= len(rows) else ""
    where, problem = Where(shown, line, column), str(caught.problem or caught.context or "not YAML")
    indent = row[: len(row) - len(row.lstrip())]
    if "\t" in indent:
        return error(
            "a tab is used to indent", where=Where(shown, line, indent.index("\t") + 1), fix="use spaces"
        )
    if "expected a single document" in str(caught.context):
        return error("a second document starts here", where=where, fix="remove the line --- or use two files")
    if row.lstrip().startswith("{{") or ("{{" in row and "unhashable" in problem):
        return error("a value that starts with {{ must stand in quotes", where=where, fix='write "{{ ... }}"')
    if "mapping values are not allowed" in problem:
        fix = "check the indentation, and put a text that contains ': ' in quotes"
        return error("a key is not expected here", where=where, fix=fix)
    if (
        "did not find expected key" in problem
        or "did not find expected '-'" in problem
        or "block end" in problem
    ):
        return error(
            "the indentation does not fit the lines above", where=where, fix="align it with its siblings"
        )
    if "undefined alias" in problem:
        return error(
            problem, where=where, fix="define it with & first, or put a text that starts with * in quotes"
        )
    if "cannot start any token" in problem:
        found = row[column - 1] if column and column <= len(row) else "?"
        return error(f"a value cannot start with '{found}'", where=where, fix="put it in quotes")
    return error(f"not valid YAML: {problem}", where=where)


def _control_character(caught: Exception) -> str:
    code = getattr(caught, "character", None)
    return (
        f"the control character 0x{code:02x} is not allowed"
        if isinstance(code, int)
        else f"not YAML: {caught}"
    )


# What a model finds wrong


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


def kind(value: Any) -> str:
    """What a YAML value is, in words, without showing it."""
    names = {dict: "a map", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


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
