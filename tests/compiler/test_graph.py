"""Orders and circles, with a law over random graphs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfsync.compiler.graph import CycleError, ancestors, levels, ordered


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        ({}, ()),
        ({"c": ["b"], "b": ["a"], "a": []}, ("a", "b", "c")),
        ({"z": [], "a": []}, ("z", "a")),
        ({"b": ["seed", "a"], "a": ["seed"]}, ("a", "b")),
        ({"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}, ("a", "b", "c", "d")),
    ],
)
def test_order(needs: dict[str, list[str]], order: tuple[str, ...]) -> None:
    assert ordered(needs) == order


@pytest.mark.parametrize(
    ("needs", "circle"),
    [
        ({"a": ["a"]}, "a -> a"),
        ({"a": ["b"], "b": ["a"]}, "a -> b -> a"),
        ({"x": ["a"], "a": ["b", "c"], "b": ["c"], "c": ["d"], "d": ["a"]}, "a -> c -> d -> a"),
    ],
)
def test_circle_is_named(needs: dict[str, list[str]], circle: str) -> None:
    with pytest.raises(CycleError) as caught:
        ordered(needs)
    assert str(caught.value) == circle


def test_levels_and_ancestors() -> None:
    needs = {"c": ["b"], "x": [], "b": ["a", "seed"], "a": []}
    assert levels(needs) == (("x", "a"), ("b",), ("c",))
    assert ancestors("b", needs, {"a": 0, "b": 1, "c": 2, "x": 3}) == ("a", "b")


def test_a_long_chain_is_no_recursion() -> None:
    needs = {f"m{i}": [f"m{i + 1}"] for i in range(20_000)} | {"m20000": []}
    assert ordered(needs)[0] == "m20000"


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=20))
def test_every_node_comes_after_what_it_needs(edges: list[tuple[int, int]]) -> None:
    needs: dict[str, list[str]] = {str(n): [] for n in range(9)}
    for one, two in edges:
        needs[str(max(one, two))].append(str(min(one, two))) if one != two else None
    order = ordered(needs)
    assert sorted(order) == sorted(needs)
    assert all(order.index(child) > order.index(parent) for child, found in needs.items() for parent in found)
