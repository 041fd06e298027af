"""Seeds for a DuckDB warehouse: small CSV files of the project, kept typed in sfsync's own file beside the warehouse.

Owns:      the seeds file, reading a CSV with its types, and saying which cell does not fit.
Does not:  know a project (jobs/seeds hands in plain values) or touch the user's database.
Invariant: a seed's table is replaced whole, and only when its digest moved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfsync.engine.dialect import quote_ident, quote_literal
from sfsync.engine.duckdb import DuckDB, DuckDBError
from sfsync.errors import ProjectError, Where

CATALOG = "sfsync_seeds"
_DIGESTS = f"{CATALOG}.main._sfsync_seeds"
_UNREADABLE = frozenset({"damaged", "not_a_database", "newer", "storage"})
_LINE = re.compile(r"CSV Error on Line: (\d+)")
_RAGGED = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")


@dataclass(frozen=True, slots=True)
class Seed:
    """One CSV file: its absolute path, the name people know it by, and the types of columns that are not text."""

    name: str
    path: Path
    shown: str
    columns: tuple[str, ...]
    types: Mapping[str, str]
    digest: str


def relation(name: str) -> str:
    """The quoted table of a seed."""
    return f"{CATALOG}.main.{quote_ident(name)}"


def load(db: DuckDB, file: Path, seeds: Sequence[Seed], *, force: bool = False) -> tuple[str, ...]:
    """Attach the seeds file and bring its tables up to date; return the names of seeds that were read.

    Raises:
        ProjectError: a file cannot be read as CSV, or a cell does not fit its type; with line and column.
    """
    if not seeds:
        return ()
    wanted = {seed.name: seed.digest for seed in seeds}
    if file.exists() and not force and _attach(db, file, read_only=True):
        if _digests(db) == wanted:
            return ()
        db.detach(CATALOG)
    if not _attach(db, file):
        file.unlink()  # all that it holds is made of the CSV files
        db.attach(file, CATALOG)
    db.execute(f"CREATE TABLE IF NOT EXISTS {_DIGESTS} (name VARCHAR, digest VARCHAR)")
    have = _digests(db)
    loaded = []
    for seed in seeds:
        if force or have.get(seed.name) != seed.digest:
            _load_one(db, seed)
            loaded.append(seed.name)
    for name in set(have) - set(wanted):
        db.execute(f"DROP TABLE IF EXISTS {relation(name)}")
        db.execute(f"DELETE FROM {_DIGESTS} WHERE name = ?", [name])
    db.execute(f"CHECKPOINT {CATALOG}")  # the next command reads the file without a log
    return tuple(loaded)


def _attach(db: DuckDB, file: Path, *, read_only: bool = False) -> bool:
    """Attach the seeds file; False if it is nothing that this DuckDB can read."""
    try:
        db.attach(file, CATALOG, read_only=read_only)
    except DuckDBError as error:
        if error.kind in _UNREADABLE:
            return False
        raise
    return True


def _digests(db: DuckDB) -> dict[str, str]:
    return dict(db.execute(f"SELECT name, digest FROM {_DIGESTS}"))


def read_cells(db: DuckDB, seed: Seed) -> str:
    """Read a seed's CSV into a temporary table of text, NULL where a cell is empty; return its quoted name.

    Raises:
        ProjectError: it is no CSV of these columns.
    """
    raw = quote_ident(f"seed:{seed.name}")
    columns = ", ".join(f"{quote_literal(name)}: 'VARCHAR'" for name in seed.columns)
    try:
        db.execute(
            f"CREATE OR REPLACE TEMP TABLE {raw} AS SELECT * FROM read_csv({quote_literal(str(seed.path))},"
            f" columns={{{columns}}}, header=true, delim=',', quote='\"', escape='\"', auto_detect=false,"
            " null_padding=false, strict_mode=true, max_line_size=4000000)"
        )
    except DuckDBError as error:
        raise _no_csv(seed, error) from None
    return raw


def _no_csv(seed: Seed, error: DuckDBError) -> ProjectError:
    """The row that has too many or too few cells; DuckDB's own advice is about options that a seed does not have."""
    found = _RAGGED.search(error.what)
    line = _LINE.search(error.what)
    what = (
        f"the seed '{seed.name}' has a row of {found[2]} cells; its header has {found[1]}"
        if found
        else f"the seed '{seed.name}' is not a CSV file of {len(seed.columns)} columns:"
        f" {error.what.split(' Possible fixes:')[0].removeprefix('Invalid Input Error: ')}"
    )
    return ProjectError(
        what,
        where=Where(seed.shown, int(line[1]) if line else None),
        fix="separate cells by commas, quote cells that hold commas, quotes or line breaks",
    )


def _load_one(db: DuckDB, seed: Seed) -> None:
    raw = read_cells(db, seed)
    for name, kind in seed.types.items():
        _check_type(db, seed, raw, name, kind)
    cells = ", ".join(
        f"CAST({quote_ident(name)} AS {seed.types[name]}) AS {quote_ident(name)}"
        if name in seed.types
        else quote_ident(name)
        for name in seed.columns
    )
    with db.transaction():
        db.execute(f"CREATE OR REPLACE TABLE {relation(seed.name)} AS SELECT {cells} FROM {raw}")
        db.execute(f"DELETE FROM {_DIGESTS} WHERE name = ?", [seed.name])
        db.execute(f"INSERT INTO {_DIGESTS} VALUES (?, ?)", [seed.name, seed.digest])
    db.execute(f"DROP TABLE {raw}")


def _check_type(db: DuckDB, seed: Seed, raw: str, name: str, kind: str) -> None:
    column = quote_ident(name)
    try:
        bad = db.execute(
            f"SELECT rowid + 1, {column} FROM {raw} WHERE {column} IS NOT NULL AND TRY_CAST({column} AS {kind}) IS NULL"
            " ORDER BY rowid LIMIT 1"
        )
    except DuckDBError:
        raise ProjectError(
            f"the seed '{seed.name}': column '{name}' has the type '{kind}', which DuckDB does not know",
            where=Where(seed.shown),
            fix="use a type such as integer, decimal(18,2), boolean, date or timestamp",
        ) from None
    if bad:
        row, value = bad[0]
        raise ProjectError(
            f"the seed '{seed.name}': row {row} (not counting the header), column '{name}':"
            f" '{value}' is no {kind}",
            where=Where(seed.shown),
            fix="mend the cell, or change the column's type in the seed's .yml file",
        )
