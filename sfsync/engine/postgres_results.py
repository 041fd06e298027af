"""Outcomes of runs into a table of a PostgreSQL warehouse.

Owns:      making the schema and the table, the check of rights, and the COPY.
Does not:  connect (postgres), or touch any other table.
Invariant: a delivery is one transaction; rows travel as Arrow batches and are never Python objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sfsync.engine.dialect import quote_ident, quote_literal
from sfsync.engine.duckdb import DuckDB
from sfsync.engine.result_tables import check_shape, deliveries, make_table, read_files, table_of
from sfsync.errors import WarehouseError
from sfsync.records import ResultsPlace


class Writer(Protocol):
    """A connection that may write, outside of the read-only snapshot."""

    def run(self, sql: str) -> None: ...

    def stream(self, sql: str) -> AbstractContextManager[Any]: ...

    def append(self, schema: str, table: str, rows: object) -> None: ...


def prepare(writer: Writer, reader: DuckDB, place: ResultsPlace, user: str) -> None:
    """Make the schema and the table where they are missing, and see that rows may be added and replaced.

    Raises:
        WarehouseError: a grant is missing, or the table is somebody else's.
    """
    schema, table = quote_ident(place.schema), table_of(place)
    there = f"SELECT to_regnamespace({quote_literal(schema)}) IS NOT NULL, to_regclass({quote_literal(table)}) IS NOT NULL"
    has_schema, has_table = _rows(writer, reader, there)[0]
    who = quote_ident(user)
    if not has_schema:
        grant = f"CREATE SCHEMA {schema} AUTHORIZATION {who}"
        _make(writer, f"CREATE SCHEMA IF NOT EXISTS {schema}", f"the schema {place.schema}", grant)
    if not has_table:
        grant = f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {who}"
        _make(writer, make_table(place), f"the table {place.schema}.{place.table}", grant)
    columns = _rows(
        writer,
        reader,
        "SELECT attname::text FROM pg_catalog.pg_attribute WHERE attnum > 0 AND NOT attisdropped"
        f" AND attrelid = to_regclass({quote_literal(table)})",
    )
    check_shape(place, [name for (name,) in columns])
    allowed = "has_table_privilege({0}, 'INSERT') AND has_table_privilege({0}, 'DELETE') AND has_table_privilege({0}, 'SELECT')"
    if not _rows(writer, reader, f"SELECT {allowed.format(quote_literal(table))}")[0][0]:
        raise WarehouseError(
            f"the user {user} may not write the table {place.schema}.{place.table}, to which `results` go",
            fix=f"let its owner run: GRANT SELECT, INSERT, DELETE ON {table} TO {who}",
        )


def append(writer: Writer, place: ResultsPlace, files: Sequence[Path], local: DuckDB) -> None:
    """Replace what is there of the same runs and syncs by the rows of the files."""
    gone = " OR ".join(
        f"(run_id = {quote_literal(run)} AND sync = {quote_literal(sync)})"
        for run, sync in local.execute(deliveries(files))
    )
    writer.run("BEGIN")
    try:
        if gone:
            writer.run(f"DELETE FROM {table_of(place)} WHERE {gone}")
            with local.arrow(read_files(files)) as rows:
                writer.append(place.schema, place.table, rows)
        writer.run("COMMIT")
    except BaseException:
        writer.run("ROLLBACK")
        raise


def _make(writer: Writer, sql: str, what: str, grant: str) -> None:
    try:
        writer.run(sql)
    except WarehouseError as error:
        raise WarehouseError(
            f"{what}, to which `results` go, cannot be made: {error.what}",
            fix=f"let an administrator run: {grant}",
        ) from None


def _rows(writer: Writer, reader: DuckDB, sql: str) -> list[tuple[Any, ...]]:
    with writer.stream(sql) as stream:
        return reader.read(stream)
