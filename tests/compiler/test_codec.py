"""Values as JSON and back: exactly the same, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from sfsync.compiler.codec import CodecError, decode, encode
from sfsync.compiler.manifest import Guards
from sfsync.records import Column, FieldRule, Reference, Send, SourceType


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    leaves: tuple[Leaf, ...]
    pair: tuple[str, int]
    share: float
    color: Color
    by_name: Mapping[str, tuple[str, ...]]
    flag: bool
    anything: Any = None


TREE = Tree((Leaf("a"), Leaf("ü\u2028", 3)), ("x", 1), 0.1, Color.RED, {"k": ("v",)}, True, {"a": [1, None]})
RULE = FieldRule(
    "AccountId",
    "Account",
    Column("a b", "DECIMAL(18,2)", SourceType.DECIMAL, 2),
    "string",
    Send.VALUE,
    Send.NEVER,
    picklist=("", "\x00", "\ud800"),
    reference=Reference("Account", "Account", "Key__c", True),
)


@pytest.mark.parametrize("value", [TREE, RULE, Guards(), Guards(max_deletes=None, max_delete_share=1 / 3)])
def test_there_and_back(value: Any) -> None:
    found = decode(type(value), json.loads(json.dumps(encode(value))))
    assert found == value
    assert repr(found) == repr(value)  # 1 == True == 1.0 to ==


WRONG: list[tuple[str, Any]] = [
    ("a text", "x"),
    ("nothing", None),
    ("a map", {}),
    ("too few", [[], ["x", 1], 0.1, "red", {}, True]),
    ("too many", [[], ["x", 1], 0.1, "red", {}, True, None, 1]),
    ("a map for a list", [{}, ["x", 1], 0.1, "red", {}, True, None]),
    ("a text for a list", ["ab", ["x", 1], 0.1, "red", {}, True, None]),
    ("a short pair", [[], ["x"], 0.1, "red", {}, True, None]),
    ("a number for a text", [[], [1, 1], 0.1, "red", {}, True, None]),
    ("true for a number", [[], ["x", True], 0.1, "red", {}, True, None]),
    ("a number for true", [[], ["x", 1], 0.1, "red", {}, 1, None]),
    ("a text for a share", [[], ["x", 1], "0.1", "red", {}, True, None]),
    ("no such member", [[], ["x", 1], 0.1, "blue", {}, True, None]),
    ("a list for a member", [[], ["x", 1], 0.1, ["red"], {}, True, None]),
    ("a list for a map", [[], ["x", 1], 0.1, "red", [], True, None]),
    ("a text in a map", [[], ["x", 1], 0.1, "red", {"k": "v"}, True, None]),
    ("a leaf of texts", [[["a", "3"]], ["x", 1], 0.1, "red", {}, True, None]),
]


@pytest.mark.parametrize("data", [case[1] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_something_else_is_refused(data: Any) -> None:
    with pytest.raises(CodecError):
        decode(Tree, data)


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, b"x", object()])
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(CodecError):
        encode(Tree((), ("x", 1), 0.1, Color.RED, {}, True, value))


@pytest.mark.parametrize("kind", [Path, set[int], int | str, Mapping[int, str], bytes])
def test_types_without_a_form_are_refused(kind: Any) -> None:
    with pytest.raises(CodecError):
        decode(kind, "x")
