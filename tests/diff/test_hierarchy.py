"""Deletes of one object: the order of any graph of lookups, as the law of hierarchy.py says it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from sfsync.diff.hierarchy import MOST_LEVELS, children_first
from sfsync.diff.stage import RUN, run_table
from sfsync.engine.duckdb import DuckDB
from sfsync.records import Reference
from tests.plan.conftest import rule, sync_of

SYNC = sync_of(
    identity=(rule("Key__c"),),
    fields=tuple(
        rule(name, reference=Reference(name, "Contact", "Key__c", False))
        for name in ("ReportsToId", "Mentor__c")
    ),
)
Links = list[tuple[str, str]]
"""Child and parent."""


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDB]:
    db = DuckDB(temp_directory=tmp_path_factory.mktemp("spill"))
    db.execute(f"ATTACH ':memory:' AS {RUN}")
    yield db
    db.close()


def levels_of(db: DuckDB, links: Links, keys: set[str] | None = None) -> dict[str, int]:
    """The level of each record, in the order of the rows; the first two links of a record are its two lookups."""
    keys = keys or {key for link in links for key in link}
    parents = {key: [parent for child, parent in links if child == key] for key in keys}
    table = run_table("delete", SYNC.name)
    db.execute(f"CREATE OR REPLACE TABLE {table} (_key VARCHAR)")
    db.execute(
        "CREATE OR REPLACE TABLE snap (_key VARCHAR, _id VARCHAR, Key__c VARCHAR, ReportsToId VARCHAR, Mentor__c VARCHAR)"
    )
    for key in sorted(keys):
        one, two = [*parents[key], None, None][:2]
        db.execute(f"INSERT INTO {table} VALUES (?)", [key])
        db.execute("INSERT INTO snap VALUES (?, '003' || ?, ?, ?, ?)", [key, key, key, one, two])
    children_first(SYNC, db, "snap")
    found = db.execute(f"SELECT _key, _level FROM {table}")
    assert {key for key, _ in found} == keys
    assert len(found) == len(keys)
    assert [level for _, level in found] == sorted(level for _, level in found), (
        "the rows stand in this order"
    )
    assert {level for _, level in found} == set(range(1 + max(level for _, level in found)))
    return {key: int(level) for key, level in found}


CIRCLE = [("x", "y"), ("y", "x")]
GRAPHS: list[tuple[str, Links, dict[str, int]]] = [
    ("a chain", [("a", "b"), ("b", "c")], {"a": 0, "b": 1, "c": 2}),
    ("nothing above a circle", CIRCLE, {"x": 0, "y": 0}),
    ("below a circle", [*CIRCLE, ("a", "y"), ("zz", "a")], {"zz": 0, "a": 1, "x": 2, "y": 2}),
    ("above a circle", [*CIRCLE, ("x", "b"), ("b", "a")], {"x": 0, "y": 0, "b": 1, "a": 2}),
    (
        "on both sides",
        [*CIRCLE, ("x", "b"), ("b", "a"), ("c", "y"), ("d", "c"), ("e", "f")],
        {"d": 0, "e": 0, "c": 1, "f": 1, "x": 2, "y": 2, "b": 3, "a": 4},
    ),
    ("a short and a long way", [("a", "c"), ("a", "b"), ("b", "c")], {"a": 0, "b": 1, "c": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("links", "wanted"), [case[1:] for case in GRAPHS], ids=[case[0] for case in GRAPHS])
def test_who_goes_when(db: DuckDB, links: Links, wanted: dict[str, int]) -> None:
    assert levels_of(db, links) == wanted


def reached(links: Links, start: str) -> set[str]:
    """All that stands above a record."""
    found: set[str] = set()
    new = {start}
    while new := {parent for child, parent in links if child in new} - found:
        found |= new
    return found


def test_no_record_goes_before_one_that_refers_to_it(db: DuckDB) -> None:
    for seed in range(25):
        random_ = random.Random(seed)
        keys = [f"k{n:02}" for n in range(random_.randint(2, 16))]
        links = sorted({(random_.choice(keys), random_.choice(keys)) for _ in range(random_.randint(1, 16))})
        # A record has two lookups; one to itself says nothing.
        links = [link for n, link in enumerate(links) if sum(one == link[0] for one, _ in links[:n]) < 2]
        links = [link for link in links if link[0] != link[1]] or [(keys[0], keys[1])]
        level = levels_of(db, links, set(keys))
        above = {key: reached(links, key) for key in keys}
        on_circle = {key for key in keys if key in above[key]}
        for child, parent in links:
            if child in on_circle and parent in on_circle:
                continue
            # Between two circles nothing can be deleted before either.
            between = {child, parent} <= {
                key for key in keys if above[key] & on_circle and any(key in above[one] for one in on_circle)
            }
            assert level[child] < level[parent] or (between and level[child] == level[parent]), (
                seed,
                child,
                parent,
            )


def test_a_chain_longer_than_the_walk_is_in_order_from_both_ends(db: DuckDB) -> None:
    names = [f"n{n:03}" for n in range(MOST_LEVELS + 50)]
    level = levels_of(db, list(pairwise(names)))
    assert [level[name] for name in names] == list(range(len(names)))
