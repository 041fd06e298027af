"""YAML with positions: what a file says, and where it says so.

Owns:      reading YAML text into plain values with the line and column of every key and value, duplicate keys and
           YAML 1.1's surprises refused.
Does not:  know any key of ours (yaml_models checks them), or find files.
Invariant: `true`, `false`, `null`, plain whole numbers and plain decimals are typed; every other scalar is its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfsync.errors import ProjectError, SpecError, Where

if TYPE_CHECKING:  # read when a file is read: most commands only want `nearest` at hand
    import yaml

Loc = tuple[str | int, ...]

MAX_NODES = 200_000
"""Values one file may hold once its aliases are written out; more is a mistake or an attack."""
MAX_DEPTH = 60
MAX_BYTES = 10_000_000

_TRUE, _FALSE, _NULL = (
    {"true", "True", "TRUE"},
    {"false", "False", "FALSE"},
    {"null", "Null", "NULL", "~", ""},
)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{t}" for t in ("null", "bool", "int", "float", "timestamp", "str", "value", "merge")
}
_UNQUOTED_JINJA = re.compile(r"(^|:|-)\s*\{\{")
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


def nearest(name: str, names: Iterable[str]) -> str | None:
    """'did you mean ...?' with the valid name that looks most like `name`, or None."""
    import difflib

    by_folded = {n.casefold(): n for n in sorted(names)}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean '{by_folded[close[0]]}'?" if close else None


def raise_all(findings: Iterable[ProjectError]) -> None:
    """Raise the first finding with the others in it; return when there is none."""
    found = list(findings)
    if found:
        found[0].others = (*found[0].others, *found[1:])
        raise found[0]


def kind(value: Any) -> str:
    """What a YAML value is, in words, without showing it."""
    names = {dict: "a map", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


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
    import yaml

    if len(text) > MAX_BYTES:
        raise error(
            f"the file has {len(text):,} characters; {MAX_BYTES:,} are read at most", where=Where(shown)
        )
    try:
        _check_depth(text, shown, error)
        loader = _loader()(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as caught:
        raise _syntax_error(caught, text, shown, error) from None
    except yaml.YAMLError as caught:
        raise _control_character(caught, text, shown, error) from None
    if root is None:
        return Document(shown, None)
    reader = _Reader(shown, error)
    return Document(shown, reader.build(root, (), 0), reader.keys, reader.values)


def _loader() -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _mark_where(shown: str, mark: Any) -> Where:
    return Where(shown, mark.line + 1, mark.column + 1) if mark is not None else Where(shown)


def _check_depth(text: str, shown: str, error: type[ProjectError]) -> None:
    """Refuse deep nesting before composing, which recurses: libyaml's own stack would overflow and end the process."""
    if sum(text.count(c) for c in "[{?-") <= 1000:
        return  # indentation alone cannot go deep in a file of this size
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=_loader()):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                where = _mark_where(shown, event.start_mark)
                raise error(f"nested deeper than {MAX_DEPTH} levels", where=where)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """Walks the nodes of one file once, collecting values and places."""

    def __init__(self, shown: str, error: type[ProjectError]) -> None:
        self.shown, self.error, self.count = shown, error, 0
        self.keys: dict[Loc, tuple[int, int]] = {}
        self.values: dict[Loc, tuple[int, int]] = {}

    def build(self, node: Any, loc: Loc, depth: int) -> Any:
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
        if node.id == "scalar":  # the class itself would need PyYAML at import
            return self._scalar(node)
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self._error(node, f"the tag {node.tag} is not understood", fix="remove it")
        if node.id == "sequence":
            return [self.build(item, (*loc, i), depth + 1) for i, item in enumerate(node.value)]
        return self._mapping(node, loc, depth)

    def _mapping(self, node: Any, loc: Loc, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.id != "scalar":
                if key_node.start_mark.index == node.start_mark.index + 1:  # {{ is a map in a map to YAML
                    raise self._error(node, _JINJA[0], fix=_JINJA[1])
                raise self._error(key_node, f"a key must be text, found {_node_kind(key_node)}")
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
        if node.tag not in _PLAIN_TAGS:
            raise self._error(
                node, f"the tag {node.tag} is not understood", fix="remove it, or put the value in quotes"
            )
        text: str = node.value
        value = text if node.style else plain(text)  # '' or None: not quoted
        asked_for_text = node.tag == "tag:yaml.org,2002:str" and not isinstance(value, float)  # !!str 5
        return text if asked_for_text else value

    def _error(self, node: yaml.Node, what: str, fix: str | None = None) -> ProjectError:
        return self.error(what, where=_mark_where(self.shown, node.start_mark), fix=fix)


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


_JINJA = ("a value that starts with {{ must stand in quotes", 'write "{{ ... }}"')
_SYNTAX = (  # libyaml's problem, at the problem or at what it belongs to, our sentence, the next step
    (
        "mapping values are not allowed",
        False,
        "a key is not expected here",
        "check the indentation, and put a text that contains ': ' in quotes",
    ),
    (
        "block sequence entries are not allowed",
        False,
        "a list is not expected here",
        "start it on a line of its own",
    ),
    ("unexpected end of stream", True, "a quote is not closed", "close it"),
    ("unexpected document indicator", True, "a quote is not closed", "close it"),
    ("expected ',' or ']'", True, "this [ is not closed, or a comma is missing", "close it with ]"),
    ("expected ',' or '}'", True, "this { is not closed, or a comma is missing", "close it with }"),
    ("expected node content", True, "this [ or { is not closed, or a comma is missing", "close it"),
    (
        "could not find expected ':'",
        True,
        "a key must be followed by ': '",
        "add it, or check the indentation",
    ),
    (
        "undefined alias",
        False,
        "an alias (*name) without its anchor (&name)",
        "put a text that starts with * in quotes",
    ),
    (
        "unknown escape character",
        False,
        "an unknown escape in a text in double quotes",
        "write \\\\ for \\, or use single quotes",
    ),
)


def _node_kind(node: Any) -> str:
    return "a list" if node.id == "sequence" else "a map"


def _syntax_error(
    caught: yaml.MarkedYAMLError, text: str, shown: str, error: type[ProjectError]
) -> ProjectError:
    """The parser's complaint as a sentence, at the line that is to be changed."""
    mark = caught.problem_mark or caught.context_mark
    problem = str(caught.problem or caught.context or "it cannot be read")
    if mark is None:
        return error(f"not valid YAML: {problem}", where=Where(shown))
    where = _mark_where(shown, mark)
    rows = text.splitlines()
    row = rows[mark.line] if mark.line < len(rows) else ""
    indent = row[: len(row) - len(row.lstrip())]
    if "\t" in indent:
        place = Where(shown, mark.line + 1, indent.index("\t") + 1)
        return error("a tab is used to indent", where=place, fix="use spaces")
    if _UNQUOTED_JINJA.search(row):
        return error(_JINJA[0], where=Where(shown, mark.line + 1, row.index("{{") + 1), fix=_JINJA[1])
    if "expected a single document" in str(caught.context):
        return error("a second document starts here", where=where, fix="remove the line --- or use two files")
    for words, at_context, sentence, fix in _SYNTAX:
        if words in problem:
            at = caught.context_mark if at_context and caught.context_mark else mark
            return error(sentence, where=_mark_where(shown, at), fix=fix)
    if "did not find expected" in problem and mark.column > len(indent):
        fix = "put the whole value in quotes; inside single quotes write '' for '"
        return error("text stands after the end of a value", where=where, fix=fix)
    if "did not find expected" in problem:
        return error(
            "the indentation does not fit the lines above", where=where, fix="align it with its siblings"
        )
    if "cannot start any token" in problem:
        found = row[mark.column : mark.column + 1]
        return error(f"a value cannot start with '{found}'", where=where, fix="put it in quotes")
    return error(f"not valid YAML: {problem}", where=where)


def _control_character(
    caught: yaml.YAMLError, text: str, shown: str, error: type[ProjectError]
) -> ProjectError:
    code, index = getattr(caught, "character", None), getattr(caught, "position", None)
    if not isinstance(code, int) or not isinstance(index, int):
        return error(f"not valid YAML: {caught}", where=Where(shown))
    at = text.find(chr(code))
    where = (
        Where(shown, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)) if at >= 0 else Where(shown)
    )
    return error(f"the control character 0x{code:02x} is not allowed", where=where, fix="remove it")
