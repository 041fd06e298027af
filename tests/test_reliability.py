"""docs/reliability.md keeps to what is tested: its tests exist, its matrix is the one that is played."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support import matrix

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test() -> None:
    table = PAGE.partition("## Promises")[2].partition("##")[0]
    promises = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(promises) > 10
    assert [line for line in promises if "::test_" not in line] == []


def test_the_matrix_of_the_page_is_the_one_that_is_played() -> None:
    found = matrix.BLOCK.search(PAGE)
    assert found is not None
    lines = found[2].splitlines()
    assert lines[:2] == matrix.head()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [(row[0], row[1]) for row in cells] == matrix.rows()
    words = {matrix.NOTHING, matrix.UNPLAYED, *matrix.WORDS.values()}
    for row in cells:
        assert len(row) == 2 + len(matrix.OPERATIONS)
        assert {word for cell in row[2:] for word in cell.split(matrix.ELSEWHERE)} <= words, row
