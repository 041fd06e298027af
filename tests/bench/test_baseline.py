"""The benchmark's script and sfsync end in the same org, from the same table, bad rows included. No time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import calls
from bench.contest import Contest


@pytest.mark.parametrize("rows", [300, 3000], ids=["collections", "bulk"])
def test_both_end_in_the_same_org(tmp_path: Path, rows: int) -> None:
    contest = Contest(tmp_path, rows, dirty=True)
    try:
        contest.open()
        first = json.loads(contest.baseline("run").out)
        # Two null keys, two keys that stand twice (both copies), and three rows with a bad value.
        assert first["refused"] == 2 + 4 + 3
        assert first["create"] == first["rows"] - first["refused"] == rows - 1
        contest.sfsync("run", codes=(1,))  # newly rejected rows
        before = contest.calls("baseline")
        again = json.loads(contest.baseline("run").out)
        assert (again["create"], again["update"], again["delete"]) == (0, 0, 0)
        assert contest.calls("baseline") == before
        contest.sfsync("run")
        contest.use("v2")
        counts = json.loads(contest.baseline("run").out)
        assert counts["update"] > 0
        assert counts["delete"] == max(1, rows // 1000)
        contest.sfsync("run", codes=(0, 1))
        assert contest.differences() == 0
    finally:
        contest.close()


@pytest.mark.parametrize(
    ("rows", "creates", "updates"),
    [(1, 1, 1), (200, 1, 1), (1000, 1, 1), (2000, 2, 2), (10_000, 7, 6), (100_000, 7, 6), (1_000_000, 21, 6)],
)
def test_the_cheapest_way(rows: int, creates: int, updates: int) -> None:
    assert (calls.creates(rows), calls.updates(rows)) == (creates, updates)
