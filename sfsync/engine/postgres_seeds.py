"""Seeds for a PostgreSQL warehouse: small CSV files of the project, as tables of a schema of our own.

Owns:      the schema `sfsync_seeds`, its table of digests, and filling a seed's table.
Does not:  read a CSV (seeds does), or touch any other schema.
Invariant: a seed's table is replaced whole, in one transaction with its digest; the schema is made only when asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sfsync.engine.dialect import quote_ident, quote_literal
from sfsync.engine.duckdb import DuckDB
from sfsync.engine.seeds import Seed, read_cells
from sfsync.errors import ProjectError, WarehouseError, Where

SCHEMA = "sfsync_seeds"
_DIGESTS = f"{SCHEMA}._sfsync_seeds"
_ROWS_A_STATEMENT = 500


class Writer(Protocol):
    """A connection that may write, outside of the read-only snapshot."""

    def run(self, sql: str) -> None: ...

    def stream(self, sql: str) -> AbstractContextManager[Any]: ...


def bring_up_to_date(
    writer: Writer, reader: DuckDB, seeds: Sequence[Seed], local: DuckDB, *, make: bool, user: str
) -> tuple[str, ...]:
    """Load the seeds whose digest moved, all of them with `make`; return their names."""
    exists = f"SELECT to_regclass({quote_literal(_DIGESTS)}) IS NOT NULL"
    if not _rows(writer, reader, exists)[0][0]:
        if not make:
            raise WarehouseError(
                f"this project has seeds, and the database has no schema {SCHEMA} yet",
                fix="run `sfsync seed` once; it creates the schema and loads them",
            )
        _make(writer, user)
    have = dict(_rows(writer, reader, f"SELECT name, digest FROM {_DIGESTS}"))
    loaded = []
    for seed in seeds:
        if make or have.get(seed.name) != seed.digest:
            _load(writer, seed, local)
            loaded.append(seed.name)
    for name in set(have) - {seed.name for seed in seeds}:
        writer.run(f"DROP TABLE IF EXISTS {SCHEMA}.{quote_ident(name)}")
        writer.run(f"DELETE FROM {_DIGESTS} WHERE name = {quote_literal(name)}")
    return tuple(loaded)


def _rows(writer: Writer, reader: DuckDB, sql: str) -> list[tuple[Any, ...]]:
    with writer.stream(sql) as stream:
        return reader.read(stream)


def _make(writer: Writer, user: str) -> None:
    try:
        writer.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        writer.run(f"CREATE TABLE IF NOT EXISTS {_DIGESTS} (name text PRIMARY KEY, digest text NOT NULL)")
    except WarehouseError as error:
        raise WarehouseError(
            f"the schema {SCHEMA} cannot be created: {error.what}",
            fix=f"let an administrator run: CREATE SCHEMA {SCHEMA} AUTHORIZATION {quote_ident(user)}",
        ) from None


def _load(writer: Writer, seed: Seed, local: DuckDB) -> None:
    raw = read_cells(local, seed)
    table = f"{SCHEMA}.{quote_ident(seed.name)}"
    kinds = [seed.types.get(name, "text") for name in seed.columns]
    definition = ", ".join(f"{quote_ident(n)} {kind}" for n, kind in zip(seed.columns, kinds, strict=True))
    writer.run("BEGIN")
    try:
        writer.run(f"DROP TABLE IF EXISTS {table}")
        writer.run(f"CREATE TABLE {table} ({definition})")
        for values in _values(local, seed, raw):
            casts = ", ".join(f"CAST(v.c{n} AS {kind})" for n, kind in enumerate(kinds))
            names = ", ".join(f"c{n}" for n in range(len(kinds)))
            writer.run(f"INSERT INTO {table} SELECT {casts} FROM (VALUES {values}) AS v({names})")
        writer.run(f"DELETE FROM {_DIGESTS} WHERE name = {quote_literal(seed.name)}")
        writer.run(
            f"INSERT INTO {_DIGESTS} VALUES ({quote_literal(seed.name)}, {quote_literal(seed.digest)})"
        )
        writer.run("COMMIT")
    except WarehouseError as error:
        writer.run("ROLLBACK")
        raise ProjectError(
            f"the seed '{seed.name}' cannot be loaded into PostgreSQL: {error.what}",
            where=Where(seed.shown),
            fix=error.fix or "mend the cell, or change the column's type in the seed's .yml file",
        ) from None
    finally:
        local.execute(f"DROP TABLE IF EXISTS {raw}")


def _values(local: DuckDB, seed: Seed, raw: str) -> list[str]:
    """Row constructors of the seed's cells, some hundred a statement. Seeds are small: they live in git."""
    cells = " || ', ' || ".join(
        f"CASE WHEN {c} IS NULL THEN 'CAST(NULL AS text)' ELSE '''' || REPLACE({c}, '''', '''''') || '''' END"
        for c in (quote_ident(name) for name in seed.columns)
    )
    rows = local.execute(
        f"SELECT STRING_AGG('(' || {cells} || ')', ', ' ORDER BY rowid) FROM {raw}"
        f" GROUP BY rowid // {_ROWS_A_STATEMENT} ORDER BY rowid // {_ROWS_A_STATEMENT}"
    )
    return [str(row[0]) for row in rows]
