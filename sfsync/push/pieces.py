"""Rows that go in one Collections request: how a batch is cut into them, and how SQL reads several at once.

Owns:      Piece, and the order in which pieces are sent.
Does not:  send them (collections) or know why rows are left out (context).
Invariant: the pieces of a batch hold each of its rows once, in the order of its ordinals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sfsync.diff.stage import run_table
from sfsync.push.context import PushContext
from sfsync.records import Batch, Operation
from sfsync.salesforce.limits import MAX_COLLECTION_ROWS, MAX_COMPOSITE_COLLECTIONS


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one sync and operation: of the ordinals [first, last) those that `only` (SQL, begins with AND) lets pass."""

    sync: str
    operation: Operation
    first: int
    last: int
    rows: int
    only: str = ""

    @property
    def table(self) -> str:
        return run_table(self.operation.value, self.sync)

    @property
    def where(self) -> str:
        """SQL condition over the operation's table."""
        return f"rowid >= {self.first} AND rowid < {self.last}{self.only}"


def cut(context: PushContext, batch: Batch) -> Iterator[Piece]:
    """A batch in pieces as large as its object has proved to bear."""
    chunk = min(context.chunks.get(batch.object, MAX_COLLECTION_ROWS), batch.rows)
    only = context.less_skipped(batch.sync, batch.operation)
    for first in range(batch.first, batch.last, chunk):
        last = min(first + chunk, batch.last)
        piece = Piece(batch.sync, batch.operation, first, last, last - first, only)
        if only:
            rows = context.db.value(f"SELECT count(*) FROM {piece.table} WHERE {piece.where}")
            piece = replace(piece, rows=int(rows))
        if piece.rows:
            yield piece


def of_rows(sync: str, operation: Operation, ordinals: Sequence[int]) -> Piece:
    """The piece that holds exactly these rows, of which there is at least one."""
    listed = ", ".join(map(str, ordinals))
    first, last = min(ordinals), max(ordinals) + 1
    return Piece(sync, operation, first, last, len(ordinals), f" AND rowid IN ({listed})")


def requests_a_call(operation: Operation) -> int:
    """How many pieces one call carries: what a Composite does, but the recycle bin is asked by itself."""
    return 1 if operation is Operation.UNDELETE else MAX_COMPOSITE_COLLECTIONS


def grouped(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """As many together as one call carries."""
    size = requests_a_call(pieces[0].operation) if pieces else 1
    for start in range(0, len(pieces), size):
        yield list(pieces[start : start + size])


def halves(context: PushContext, pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Half of the pieces, then the other half; of a single piece, half of its rows."""
    if len(pieces) > 1:
        middle = len(pieces) // 2
        yield list(pieces[:middle])
        yield list(pieces[middle:])
        return
    whole, below = pieces[0], pieces[0].rows // 2
    found = f"SELECT rowid FROM {whole.table} WHERE {whole.where} ORDER BY rowid LIMIT 1 OFFSET {below}"
    middle = int(context.db.value(found))
    yield [Piece(whole.sync, whole.operation, whole.first, middle, below, whole.only)]
    yield [Piece(whole.sync, whole.operation, middle, whole.last, whole.rows - below, whole.only)]


Numbered = Sequence[tuple[int, Piece]]
"""Pieces of one sync and operation, by their place in the call."""


def _neighbours(pieces: Numbered) -> Piece | None:
    """All of them as one, if each begins where the one before it ends, as nearly always."""
    if any(one.last != other.first or one.only != other.only for (_, one), (_, other) in pairwise(pieces)):
        return None
    start, end = pieces[0][1], pieces[-1][1]
    rows = sum(piece.rows for _, piece in pieces)
    return Piece(start.sync, start.operation, start.first, end.last, rows, start.only)


def any_of(pieces: Numbered) -> str:
    """SQL condition of the rows of any of them."""
    whole = _neighbours(pieces)
    return whole.where if whole is not None else " OR ".join(f"({piece.where})" for _, piece in pieces)


def numbered(pieces: Numbered) -> str:
    """SELECT of their rows: number of the piece (`_piece`), `_ord`, and the table's columns."""
    whole = _neighbours(pieces)
    if whole is not None:
        # Read at once: each read by itself makes the engine plan all that follows as often.
        cases = " ".join(f"WHEN rowid < {piece.last} THEN {number}" for number, piece in pieces[:-1])
        number = f"CASE {cases} ELSE {pieces[-1][0]} END" if cases else str(pieces[-1][0])
        return f"SELECT {number} AS _piece, rowid AS _ord, * FROM {whole.table} WHERE {whole.where}"
    return " UNION ALL ".join(
        f"SELECT {number} AS _piece, rowid AS _ord, * FROM {piece.table} WHERE {piece.where}"
        for number, piece in pieces
    )
