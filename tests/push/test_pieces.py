"""Pieces of one call hold each row once, and are read at once or each by itself with the same result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sfsync.diff.stage import RUN
from sfsync.engine.duckdb import DuckDB
from sfsync.push.pieces import Piece, any_of, numbered, of_rows
from sfsync.records import Operation

UPSERT = Operation.UPSERT


@pytest.fixture
def db(tmp_path: Path) -> Iterator[DuckDB]:
    db = DuckDB(temp_directory=tmp_path / "spill")
    db.execute(f"ATTACH ':memory:' AS {RUN}")
    db.execute(f'CREATE TABLE {RUN}.main."upsert:s" AS SELECT i AS _key FROM range(100) AS t(i)')
    yield db
    db.close()


def ranges(*bounds: tuple[int, int], only: str = "") -> list[tuple[int, Piece]]:
    return [
        (n, Piece("s", UPSERT, first, last, last - first, only)) for n, (first, last) in enumerate(bounds)
    ]


ODD = " AND rowid % 2 = 1"


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (ranges((10, 12)), [(0, 10), (0, 11)]),
        (ranges((10, 12), (12, 13), (13, 15)), [(0, 10), (0, 11), (1, 12), (2, 13), (2, 14)]),
        (ranges((10, 12), (14, 15)), [(0, 10), (0, 11), (1, 14)]),
        (ranges((14, 15), (10, 12)), [(0, 14), (1, 10), (1, 11)]),
        (ranges((10, 13), (13, 16), only=ODD), [(0, 11), (1, 13), (1, 15)]),
        ([*ranges((10, 12)), (1, Piece("s", UPSERT, 12, 16, 2, ODD))], [(0, 10), (0, 11), (1, 13), (1, 15)]),
        ([(3, of_rows("s", UPSERT, [7, 2])), (4, of_rows("s", UPSERT, [5]))], [(3, 2), (3, 7), (4, 5)]),
        ([(2, Piece("s", UPSERT, 98, 100, 2)), (4, Piece("s", UPSERT, 100, 105, 0))], [(2, 98), (2, 99)]),
    ],
    ids=[
        "one",
        "neighbours",
        "a gap",
        "backwards",
        "some left out",
        "unlike conditions",
        "listed rows",
        "the end",
    ],
)
def test_rows_of_pieces(db: DuckDB, pieces: list[tuple[int, Piece]], expected: list[tuple[int, int]]) -> None:
    found = db.execute(f"SELECT _piece, _ord, _key FROM ({numbered(pieces)}) AS p ORDER BY _piece, _ord")
    assert [(piece, ordinal) for piece, ordinal, _ in found] == expected
    assert all(ordinal == key for _, ordinal, key in found)
    chosen = db.execute(f"SELECT rowid FROM {pieces[0][1].table} WHERE {any_of(pieces)} ORDER BY rowid")
    assert [row for (row,) in chosen] == sorted(ordinal for _, ordinal in expected)
