"""At which counts a plan refuses a sync, to the row; what it says; how it is allowed once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sfsync.cli.options import GUARDS
from sfsync.compiler.manifest import Guards
from sfsync.plan.guards import check
from tests.plan.conftest import changes_of, sync_of

OFF = Guards(None, None, None, None, None, None, 0)

CASES: list[tuple[str, dict[str, Any], dict[str, int], list[str]]] = [
    # id, guards over OFF, counts, refusals
    ("nothing", {}, {"deletes": 10**6, "updates": 10**6, "upserts": 10**6, "refused": 10**6}, []),
    ("min_rows reached", {"min_rows": 2}, {"staged": 2}, []),
    ("min_rows", {"min_rows": 2}, {"staged": 1}, ["min_rows"]),
    ("max_deletes reached", {"max_deletes": 5}, {"deletes": 5}, []),
    ("max_deletes", {"max_deletes": 5}, {"deletes": 6}, ["max_deletes"]),
    ("no deletes at all", {"max_deletes": 0}, {"deletes": 1}, ["max_deletes"]),
    ("max_creates reached", {"max_creates": 5}, {"upserts": 5}, []),
    ("max_creates", {"max_creates": 5}, {"upserts": 6}, ["max_creates"]),
    ("delete share reached", {"max_delete_share": 0.05}, {"deletes": 50, "snapshot_rows": 1000}, []),
    (
        "delete share",
        {"max_delete_share": 0.05},
        {"deletes": 51, "snapshot_rows": 1000},
        ["max_delete_share"],
    ),
    ("delete share below 20 rows", {"max_delete_share": 0.05}, {"deletes": 19, "snapshot_rows": 19}, []),
    (
        "delete share from 20 rows",
        {"max_delete_share": 0.05},
        {"deletes": 20, "snapshot_rows": 20},
        ["max_delete_share"],
    ),
    ("change share reached", {"max_change_share": 0.5}, {"updates": 50, "snapshot_rows": 100}, []),
    ("change share", {"max_change_share": 0.5}, {"updates": 51, "snapshot_rows": 100}, ["max_change_share"]),
    (
        "creates are no changes",
        {"max_change_share": 0.5},
        {"upserts": 99, "updates": 1, "snapshot_rows": 100},
        [],
    ),
    ("change share of an empty snapshot", {"max_change_share": 0.5}, {"updates": 0, "upserts": 999}, []),
    (
        "change share of zero",
        {"max_change_share": 0.0},
        {"updates": 20, "snapshot_rows": 10**6},
        ["max_change_share"],
    ),
    (
        "reject share reached",
        {"max_reject_share": 0.1},
        {"refused": 100, "staged": 1000, "snapshot_rows": 1},
        [],
    ),
    (
        "reject share",
        {"max_reject_share": 0.1},
        {"refused": 101, "staged": 1000, "snapshot_rows": 1},
        ["max_reject_share"],
    ),
    (
        "held rows count",
        {"max_reject_share": 0.1},
        {"refused": 1, "held": 100, "staged": 1000, "snapshot_rows": 1},
        ["max_reject_share"],
    ),
    ("reject share of a first run", {"max_reject_share": 0.1}, {"refused": 999, "staged": 1000}, []),
    (
        "reject share below 20 rows",
        {"max_reject_share": 0.1},
        {"refused": 19, "staged": 19, "snapshot_rows": 9},
        [],
    ),
    ("gone stops", {}, {"gone_stops": 1}, ["on_gone"]),
    (
        "several at once",
        {"max_deletes": 5, "max_delete_share": 0.05, "min_rows": 1},
        {"deletes": 60, "snapshot_rows": 100},
        ["min_rows", "max_deletes", "max_delete_share"],
    ),
]


@pytest.mark.parametrize(("guards", "counts", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_guards(guards: dict[str, Any], counts: dict[str, int], expected: list[str]) -> None:
    sync = sync_of(guards=replace(OFF, **guards))
    found = check(changes_of(sync, **counts), frozenset())
    assert [refusal.name for refusal in found] == expected
    for refusal in found:
        assert refusal.name in GUARDS, "the command line must be able to allow it"
        assert f"--allow contacts.{refusal.name}" in refusal.fix
        assert "syncs/contacts.yml" in refusal.fix
        assert ("to raise it" in refusal.fix) == (refusal.name != "on_gone"), "it has no height"
    allowed = frozenset(f"contacts.{name}" for name in expected)
    assert check(changes_of(sync, **counts), allowed) == ()
    assert len(check(changes_of(sync, **counts), frozenset({"others.min_rows", "contacts"}))) == len(expected)


MESSAGES = [
    (
        {"max_deletes": 500},
        {"deletes": 1200},
        "sync 'contacts' would delete 1,200 records; max_deletes is 500",
    ),
    (
        {"max_delete_share": 0.05},
        {"deletes": 60, "snapshot_rows": 1000},
        "sync 'contacts' would delete 60 of 1,000 known records (6%); max_delete_share is 5%",
    ),
    ({"min_rows": 1}, {}, "sync 'contacts' has 0 rows in its model; min_rows is 1"),
    (
        {"max_reject_share": 0.1},
        {"refused": 20, "held": 5, "staged": 100, "snapshot_rows": 80},
        "sync 'contacts' has 25 rejected rows of 100 (25%); max_reject_share is 10%",
    ),
]


@pytest.mark.parametrize(("guards", "counts", "words"), MESSAGES, ids=[next(iter(m[0])) for m in MESSAGES])
def test_a_refusal_names_value_and_limit(guards: dict[str, Any], counts: dict[str, int], words: str) -> None:
    [refusal] = check(changes_of(sync_of(guards=replace(OFF, **guards)), **counts), frozenset())
    assert refusal.what == words


@pytest.mark.parametrize(("deletes", "rows"), [(201, 4000), (5010, 100_000)])
def test_shares_just_above_the_limit_do_not_look_like_the_limit(deletes: int, rows: int) -> None:
    sync = sync_of(guards=replace(OFF, max_delete_share=0.05))
    [refusal] = check(changes_of(sync, deletes=deletes, snapshot_rows=rows), frozenset())
    shown = refusal.what.split("(")[1].split(")")[0]
    assert shown != "5%", refusal.what
