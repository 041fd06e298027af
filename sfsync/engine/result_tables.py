"""The table of the warehouse that outcomes of runs are appended to: its columns, and how it is made and filled.

Owns:      the columns, and the statements that are the same for every warehouse.
Does not:  connect (one file per warehouse), or know where outcomes come from (jobs).
Invariant: the rows of one run and sync stand in the table once, however often they are delivered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sfsync.engine.dialect import quote_ident, quote_literal
from sfsync.errors import WarehouseError
from sfsync.records import ResultsPlace

COLUMNS: Mapping[str, str] = {
    "run_id": "text",
    "sync": "text",
    "object": "text",
    "key": "text",
    "identity": "text",
    "record_id": "text",
    "action": "text",
    "outcome": "text",
    "code": "text",
    "field": "text",
    "message": "text",
    "recorded_at": "timestamp with time zone",
}
"""Names and types, understood alike by every warehouse."""


def table_of(place: ResultsPlace) -> str:
    """The quoted name of the table."""
    return f"{quote_ident(place.schema)}.{quote_ident(place.table)}"


def make_table(place: ResultsPlace) -> str:
    """SQL that makes the table if it is missing."""
    columns = ", ".join(f"{quote_ident(name)} {kind}" for name, kind in COLUMNS.items())
    return f"CREATE TABLE IF NOT EXISTS {table_of(place)} ({columns})"


def check_shape(place: ResultsPlace, have: Sequence[str]) -> None:
    """Refuse a table that is somebody else's.

    Args:
        have: the names of its columns; none where there is no such table yet.

    Raises:
        WarehouseError: it lacks columns of ours.
    """
    names = {name.lower() for name in have}
    missing = [name for name in COLUMNS if name not in names]
    if names and missing:
        raise WarehouseError(
            f"the table {place.schema}.{place.table} is not one for results: it has no column {', '.join(missing)}",
            fix="name another table under `results`; sfsync makes it",
        )


def read_files(files: Sequence[Path]) -> str:
    """SELECT of the rows of files, for DuckDB."""
    listed = ", ".join(quote_literal(str(path)) for path in files)
    columns = ", ".join(quote_ident(name) for name in COLUMNS)
    return f"SELECT {columns} FROM read_parquet([{listed}])"


def deliveries(files: Sequence[Path]) -> str:
    """SELECT of the (run_id, sync) pairs in files, for DuckDB."""
    return f"SELECT DISTINCT run_id, sync FROM ({read_files(files)}) AS f"
