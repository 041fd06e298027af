"""Both steps over a real state: a snapshot that fits in memory and one that does not give the same changes.

Each case is a first load that was acknowledged whole, then a model that moved. It runs with rows read from a table in
place, with rows of another engine that came as texts, and with the memory of step one set so that candidates carry
all columns (`wide`), or the identity alone and are read again (`narrow`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sfsync.compiler.manifest import CompiledSync, Guards, OnRemoved
from sfsync.diff import sql
from sfsync.diff.changes import Changes, DiffContext
from sfsync.diff.diff import FEW_CANDIDATES, KNOWN_ROW_BYTES, diff_sync, fits, too_many
from sfsync.diff.stage import RUN, Staged, run_table
from sfsync.engine.dialect import DUCKDB, quote_ident, quote_literal
from sfsync.engine.duckdb import DuckDB
from sfsync.ports import SystemClock
from sfsync.records import NO_COLUMN, Column, FieldRule, Send, SourceType
from sfsync.state import snapshots
from sfsync.state.store import StateStore, open_state
from tests.plan.conftest import sync_of

Line = tuple[Any, ...]
WIDE, NARROW = 1 << 40, 0


def field(name: str, kind: str = "VARCHAR", family: SourceType = SourceType.TEXT, **more: Any) -> FieldRule:
    values: dict[str, Any] = {"on_create": Send.VALUE, "on_update": Send.VALUE_OR_NULL, **more}
    return FieldRule(name, name, Column(name.lower(), kind, family), values.pop("type", "string"), **values)


FIELDS = (field("A"), field("B"))
SINGLE = sync_of(
    identity=(field("Key__c", case_sensitive=False, length=6),),
    fields=FIELDS,
    on_removed=OnRemoved.DELETE,
    guards=Guards(max_null_keys=None),
)
COMPOSITE = replace(
    SINGLE,
    identity=(field("Region__c"), field("No__c", "DOUBLE", SourceType.DOUBLE, type="double", scale=1)),
)


@dataclass(frozen=True)
class Found:
    """What a diff left, in an order of its own."""

    changes: Changes
    upserts: list[Line]
    updates: list[Line]
    deletes: list[str]
    fresh: list[str]
    refused: list[tuple[str | None, str]]


class World:
    """A run file, a state, and the table `m` that the model reads."""

    def __init__(self, folder: Path) -> None:
        self.db = DuckDB(temp_directory=folder / "spill", threads=2)
        self.db.attach(folder / "run.duckdb", RUN)
        self.store: StateStore = open_state(
            self.db, folder / "state.duckdb", SystemClock(), "run", write=True, starts_empty=True
        )

    def close(self) -> None:
        self.store.close()
        self.db.close()

    def model(self, sync: CompiledSync, lines: list[Line]) -> None:
        columns = (*sql.used_columns(sync), *sync.order_by)
        shape = ", ".join(f"{quote_ident(c.name)} {c.type}" for c in columns)
        self.db.execute(f"CREATE OR REPLACE TABLE memory.main.m ({shape})")
        for line in lines:
            cells = ", ".join("NULL" if v is None else quote_literal(str(v)) for v in line)
            self.db.execute(f"INSERT INTO memory.main.m VALUES ({cells})")

    def stage(self, sync: CompiledSync, kind: str) -> Staged:
        names = ", ".join(quote_ident(c.name) for c in (*sql.used_columns(sync), *sync.order_by))
        relation = f"(SELECT {names} FROM memory.main.m)"
        rows = int(self.db.value("SELECT count(*) FROM memory.main.m"))
        if kind == "read in place":
            return Staged(relation, False, rows)
        table = run_table("stage", sync.name)
        self.db.execute(f"CREATE TABLE {table} AS {sql.projection(sync, relation, DUCKDB)}")
        return Staged(f"(SELECT * FROM {table})", True, rows)

    def diff(self, sync: CompiledSync, lines: list[Line], memory: int, kind: str) -> Found:
        self.model(sync, lines)
        self.clear()
        context = DiffContext(self.db, self.store, DUCKDB, (), memory)
        info = snapshots.inspect(self.store, sync)
        return self.found(sync, diff_sync(sync, self.stage(sync, kind), info, context))

    def clear(self) -> None:
        """A new run has an empty file."""
        for schema, name in self.db.execute(
            f"SELECT table_type, table_name FROM information_schema.tables WHERE table_catalog = '{RUN}' ORDER BY 1 DESC"
        ):
            self.db.execute(f"DROP {'VIEW' if schema == 'VIEW' else 'TABLE'} {RUN}.main.{quote_ident(name)}")

    def found(self, sync: CompiledSync, changes: Changes) -> Found:
        texts = ", ".join(quote_ident(rule.field) for rule in sync.fields)

        def rows(kind: str, columns: str) -> list[Line]:
            return self.db.execute(f"SELECT {columns} FROM {run_table(kind, sync.name)} ORDER BY ALL")

        return Found(
            changes,
            rows("upsert", f"_key, {texts}"),
            rows("update", f'_key, "Id", {texts}'),
            [key for (key,) in rows("delete", "_key")],
            [key for (key,) in rows("fresh", "_key")],
            [(key, code) for key, code in rows("refused", "_key, code")],
        )

    def load(self, sync: CompiledSync, lines: list[Line]) -> None:
        """The org acknowledged each of these rows."""
        self.diff(sync, lines, WIDE, "read in place")
        texts = ", ".join(quote_ident(rule.field) for rule in sync.rules)
        acknowledged = (
            f"(SELECT _key, 'id ' || _key AS _record_id, TRUE AS _created, _source_hash, {texts}"
            f" FROM {run_table('upsert', sync.name)})"
        )
        snapshots.prepare(self.store, sync)
        with self.store.db.transaction():
            snapshots.record_upserts(self.store, sync, acknowledged, "r1")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


both_shapes = pytest.mark.parametrize(
    "memory", [pytest.param(WIDE, id="wide"), pytest.param(NARROW, id="narrow")]
)
every_stage = pytest.mark.parametrize("kind", ["read in place", "as texts"])

LOADED: list[Line] = [("k1", "a", "b"), ("k2", "a", None), (" K3 ", "a", "b"), ("k4", "x", "y")]
MISSING, DOUBLE = "MISSING_ARGUMENT", "DUPLICATE_VALUE"
NOTHING: dict[str, Any] = {"upserts": [], "updates": [], "deletes": [], "fresh": [], "refused": []}
CASES: list[tuple[str, list[Line], dict[str, Any]]] = [
    ("nothing moved", LOADED, {}),
    ("one cell", [("k1", "a2", "b"), *LOADED[1:]], {"updates": [("k1", "id k1", "a2", None)]}),
    ("a null", [("k1", None, "b"), *LOADED[1:]], {"updates": [("k1", "id k1", "", None)]}),
    ("new", [*LOADED, ("k5", "n", None)], {"upserts": [("k5", "n", None)]}),
    ("left", LOADED[1:], {"deletes": ["k1"]}),
    ("all left", [], {"deletes": ["k1", "k2", "k3", "k4"]}),
    (
        "all moved",
        [(key, "z", b) for key, _, b in LOADED],
        {"updates": [(f"k{n}", f"id k{n}", "z", None) for n in (1, 2, 3, 4)]},
    ),
    ("case and spaces of the key", [("K1", "a", "b"), (" k2", *LOADED[1][1:]), *LOADED[2:]],
     {"fresh": ["k1", "k2"]}),
    ("case of the key and a cell", [("K1", "q", "b"), *LOADED[1:]], {"updates": [("k1", "id k1", "q", None)]}),
    ("swapped keys", [("k4", "a", "b"), *LOADED[1:3], ("k1", "x", "y")],
     {"updates": [("k1", "id k1", "x", "y"), ("k4", "id k4", "a", "b")]}),
    ("null and blank keys", [*LOADED, (None, "a", "b"), (None, "a", "b"), ("  ", "q", None)],
     {"refused": [(None, MISSING)] * 3}),
    ("a key that is refused", [*LOADED, ("k234567", "a", "b")], {"refused": [(None, "STRING_TOO_LONG")]}),
    ("a copy of a row that did not move", [*LOADED, LOADED[0]], {"refused": [("k1", DOUBLE)] * 2}),
    ("a copy that moved", [*LOADED, ("k1", "z", "b")], {"refused": [("k1", DOUBLE)] * 2}),
    ("a copy by folding", [*LOADED, ("K1 ", "a", "b")], {"refused": [("k1", DOUBLE)] * 2}),
    ("copies by folding, both moved", [("K1", "1", None), *LOADED[1:], (" k1", "2", None)],
     {"refused": [("k1", DOUBLE)] * 2}),
    ("three copies of a new row", [*LOADED, *[("n", "1", None)] * 3], {"refused": [("n", DOUBLE)] * 3}),
    (
        "all at once",
        [("k1", "a", "b"), ("K1", "a", "b"), ("k2", "new", None), (None, "a", "b"), ("k5", "5", "5")],
        {
            "upserts": [("k5", "5", "5")],
            "updates": [("k2", "id k2", "new", None)],
            "deletes": ["k3", "k4"],
            "refused": [("k1", DOUBLE), ("k1", DOUBLE), (None, MISSING)],
        },
    ),
]  # fmt: skip


@both_shapes
@every_stage
def test_an_order_of_its_own_and_a_constant(world: World, memory: int, kind: str) -> None:
    always = replace(field("C"), column=NO_COLUMN, constant="it's")
    sync = replace(
        SINGLE, fields=(*FIELDS, always), order_by=(Column("place", "INTEGER", SourceType.INTEGER),)
    )
    lines: list[Line] = [
        ("k1", "a", "b", 3),
        ("k2", "a", "b", None),
        ("k3", "a", "b", 1),
        ("k4", "a", "b", 10),
    ]
    world.load(sync, lines)
    assert world.diff(sync, [(*line[:3], 7) for line in lines], memory, kind).changes.unchanged == 4
    found = world.diff(sync, [(key, "z", b, place) for key, _, b, place in lines[1:]], memory, kind)
    assert found.updates == [(f"k{n}", f"id k{n}", "z", None, None) for n in (2, 3, 4)]
    sent = world.db.execute(f"SELECT _key FROM {run_table('update', sync.name)} ORDER BY rowid")
    assert [key for (key,) in sent] == ["k3", "k4", "k2"]
    other = replace(sync, fields=(*FIELDS, replace(always, constant="now")), fingerprint="another")
    found = world.diff(other, lines, memory, kind)
    assert found.updates == [(f"k{n}", f"id k{n}", None, None, "now") for n in (1, 2, 3, 4)]


@both_shapes
@every_stage
@pytest.mark.parametrize(("lines", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_key(world: World, memory: int, kind: str, lines: list[Line], expected: dict[str, Any]) -> None:
    world.load(SINGLE, LOADED)
    found = world.diff(SINGLE, lines, memory, kind)
    assert {name: getattr(found, name) for name in NOTHING} == NOTHING | expected
    changes = found.changes
    busy = changes.upserts + changes.updates + changes.refused
    assert (changes.staged, changes.unchanged) == (len(lines), len(lines) - busy)
    assert (changes.snapshot_rows, changes.deletes) == (4, len(found.deletes))


PAIRS: list[Line] = [("EU", 1.0, "a", "b"), ("EU", 2.0, "a", "b"), ("US", 1.0, "a", "b")]
PAIR_CASES: list[tuple[str, list[Line], dict[str, Any]]] = [
    ("nothing moved", PAIRS, {}),
    ("one of two alike in a part", [("EU", 1.0, "z", "b"), *PAIRS[1:]],
     {"updates": [('["EU","1"]', 'id ["EU","1"]', "z", None)]}),
    ("a null in a part", [*PAIRS, (None, 1.0, "a", "b"), ("EU", None, "q", "b")], {"refused": [(None, MISSING)] * 2}),
    ("parts of two, together nobody's", [*PAIRS, ("US", 2.0, "n", None)], {"upserts": [('["US","2"]', "n", None)]}),
    ("a number by another double", [("EU", 1.0, "a", "b"), ("EU", 2.04, "a", "b"), PAIRS[2]],
     {"fresh": ['["EU","2"]']}),
    ("no number", [*PAIRS, ("EU", "nan", "a", "b")], {"refused": [(None, "INVALID_TYPE_ON_FIELD_IN_RECORD")]}),
    ("copies", [*PAIRS, PAIRS[0], ("EU", 1.01, "a", "b")], {"refused": [('["EU","1"]', DOUBLE)] * 3}),
]  # fmt: skip


@both_shapes
@every_stage
@pytest.mark.parametrize(("lines", "expected"), [c[1:] for c in PAIR_CASES], ids=[c[0] for c in PAIR_CASES])
def test_a_key_of_two_columns(
    world: World, memory: int, kind: str, lines: list[Line], expected: dict[str, Any]
) -> None:
    world.load(COMPOSITE, PAIRS)
    found = world.diff(COMPOSITE, lines, memory, kind)
    assert {name: getattr(found, name) for name in NOTHING} == NOTHING | expected


@both_shapes
def test_tombstones_and_adopted_records(world: World, memory: int) -> None:
    """Both stand in the snapshot without a hash: looked at whenever the model has them, and no tombstone is removed."""
    world.load(SINGLE, LOADED)
    table = snapshots.table_of(SINGLE.name)
    gone = f"(SELECT _key, _id AS _record_id FROM {table} WHERE _key IN ('k1', 'k2'))"
    world.db.execute(f"CREATE TEMP TABLE gone AS SELECT * FROM {gone}")
    snapshots.record_gone(world.store, SINGLE, "gone", "r2")
    world.db.execute(f"UPDATE {table} SET _source_hash = NULL WHERE _key = 'k3'")
    found = world.diff(SINGLE, [LOADED[0], *LOADED[2:]], memory, "read in place")
    assert found.upserts == [("k1", "a", "b")]
    assert (found.changes.recreated, found.fresh, found.deletes) == (1, ["k3"], [])
    assert found.changes.unchanged == 2


def cells(chance: random.Random, size: int) -> list[Line]:
    keys = [None, " ", "too long"] + [c + str(n) for n in range(size) for c in ("k", "K", " k")]
    return [
        (chance.choice(keys), chance.choice(["a", "b", None]), chance.choice(["x", None]))
        for _ in range(chance.randrange(2 * size))
    ]


@pytest.mark.parametrize("seed", range(12))
def test_both_shapes_find_the_same_in_any_two_models(world: World, seed: int) -> None:
    chance = random.Random(seed)
    before, after = cells(chance, 12), cells(chance, 12)
    world.load(SINGLE, before)
    kept = chance.sample(before, len(before) // 2)
    found = [
        world.diff(SINGLE, after + kept, memory, kind)
        for memory in (WIDE, NARROW)
        for kind in ("read in place", "as texts")
    ]
    assert found[0].changes.staged == len(after) + len(kept)
    assert all(other == found[0] for other in found)


@pytest.mark.parametrize(("rows", "tombstones"), [(4, 0), (3, 1)])
def test_the_shape_follows_from_the_rows_of_the_snapshot(rows: int, tombstones: int) -> None:
    info = snapshots.SnapshotInfo("s", True, rows, tombstones, frozenset())
    assert not fits(info, 4 * KNOWN_ROW_BYTES - 1)
    assert fits(info, 4 * KNOWN_ROW_BYTES)


def test_a_snapshot_beyond_memory_of_which_all_moved(world: World) -> None:
    """Nothing is gained by reading all rows again: they are carried after all, and each is found once."""
    rows = FEW_CANDIDATES + 1
    assert too_many(rows, rows)
    assert not too_many(rows, 4 * rows)
    assert not too_many(FEW_CANDIDATES, 1)
    world.load(SINGLE, LOADED)
    world.model(SINGLE, [])
    world.db.execute(
        f"INSERT INTO memory.main.m SELECT 'k' || to_hex(i), 'z', 'b' FROM range({rows}) AS r(i)"
    )
    context = DiffContext(world.db, world.store, DUCKDB, (), NARROW)
    world.clear()
    changes = diff_sync(
        SINGLE, world.stage(SINGLE, "read in place"), snapshots.inspect(world.store, SINGLE), context
    )
    assert (changes.staged, changes.upserts, changes.updates, changes.deletes) == (rows, rows - 4, 4, 0)
