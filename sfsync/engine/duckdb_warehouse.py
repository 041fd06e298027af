"""A user's DuckDB file as a warehouse: attached read-only to the run's own engine.

Owns:      under which name the file is attached, its catalog, and the types of a SELECT's columns.
Does not:  open a session (duckdb does) or write a byte of the user's file, but results where a sync asks for them.
Invariant: unqualified names in a model mean the user's tables; our own tables are always named with their catalog.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sfsync.engine import seeds
from sfsync.engine.base import Catalog
from sfsync.engine.dialect import DUCKDB, Dialect, quote_ident
from sfsync.engine.duckdb import DuckDB, DuckDBError
from sfsync.engine.result_tables import check_shape, deliveries, make_table, read_files, table_of
from sfsync.errors import InternalError, WarehouseError
from sfsync.records import Column, ResultsPlace, SourceType

_RESERVED = frozenset({"memory", "system", "temp", "main"})

_FAMILIES = {
    "VARCHAR": SourceType.TEXT,
    "UUID": SourceType.TEXT,
    '"NULL"': SourceType.TEXT,
    "BOOLEAN": SourceType.BOOLEAN,
    "FLOAT": SourceType.REAL,
    "DOUBLE": SourceType.DOUBLE,
    "DATE": SourceType.DATE,
    "TIME": SourceType.TIME,
    "TIMESTAMP": SourceType.TIMESTAMP,
    "TIMESTAMP_S": SourceType.TIMESTAMP,
    "TIMESTAMP_MS": SourceType.TIMESTAMP,
    "TIMESTAMP_NS": SourceType.TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": SourceType.TIMESTAMPTZ,
    "VARCHAR[]": SourceType.ARRAY,
    **{
        f"{sign}{size}": SourceType.INTEGER
        for sign in ("", "U")
        for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
    },
}
_DECIMAL = re.compile(r"DECIMAL\(\d+,\s*(\d+)\)")
_ENUM = re.compile(r"ENUM\(.*\)", re.DOTALL)
_TEXT_ARRAY = re.compile(r"(VARCHAR|ENUM\(.*\))\[\d*\]", re.DOTALL)


class DuckDBWarehouse:
    """The user's DuckDB file, or nothing but seeds when there is no file."""

    kind = "duckdb"
    dialect: Dialect = DUCKDB
    shares_engine = True

    def __init__(self, local: DuckDB, path: Path | None = None, *, seeds_file: Path | None = None) -> None:
        """Attach the file.

        Args:
            path: the user's file; None: there are only seeds.
            seeds_file: our own file that seeds are kept in, made when there are any.

        Raises:
            WarehouseError: it is missing, a folder, no DuckDB file, written by a newer DuckDB, or locked.
        """
        self._local = local
        self._path = path
        self._seeds_file = seeds_file
        self._alias: str | None = None
        if path is None:
            return
        alias = _alias(
            path,
            {str(row[0]).lower() for row in local.execute("SELECT database_name FROM duckdb_databases()")},
        )
        try:
            local.attach(path, alias, read_only=True)
            local.use(alias)
        except DuckDBError as error:
            raise _open_error(path, error) from None
        self._alias = alias

    def catalog(self) -> Catalog:
        """Tables and views of the file."""
        if self._alias is None:
            return Catalog(default_schema="main", database=None)
        # Two questions: a join of these functions takes ten times as long as both.
        tables = self._local.execute(
            "SELECT schema_name, table_name, list(column_name ORDER BY column_index) FROM duckdb_columns()"
            " WHERE database_name = ? AND NOT internal GROUP BY ALL ORDER BY ALL",
            [self._alias],
        )
        views = self._local.execute(
            "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = ? AND NOT internal",
            [self._alias],
        )
        return Catalog(
            default_schema="main",
            database=self._alias,
            tables={(schema, table): tuple(columns) for schema, table, columns in tables},
            views=frozenset((schema, view) for schema, view in views),
        )

    def columns(self, select: str) -> tuple[Column, ...]:
        """Names and types of a SELECT's columns; the SELECT is planned, not run."""
        try:
            rows = self._local.execute(f"DESCRIBE {select}")
        except DuckDBError as error:
            raise WarehouseError(_without_class(error.what)) from None
        return tuple(_column(str(name), str(kind)) for name, kind, *_ in rows)

    def materialise(self, select: str, local: DuckDB, table: str) -> int:
        """Run a SELECT once into a table of the run file; `local` must be a session of the same engine."""
        try:
            return int(local.value(f"CREATE TABLE {table} AS {select}"))
        except DuckDBError as error:
            raise WarehouseError(_without_class(error.what), fix=error.fix) from None

    def seed_relation(self, name: str) -> str:
        """The quoted table of a seed."""
        return seeds.relation(name)

    def load_seeds(self, found: Sequence[seeds.Seed], local: DuckDB, *, make: bool) -> tuple[str, ...]:
        """Bring the seeds file up to date; return the names of seeds that were read."""
        if self._seeds_file is None:
            raise InternalError("a DuckDB warehouse was opened without a place for seeds")
        return seeds.load(local, self._seeds_file, found, force=make)

    def prepare_results(self, place: ResultsPlace) -> None:
        """Whether there is a file that may be written, and its table, if there is one, has our columns."""
        if self._path is None or self._alias is None:
            raise WarehouseError(
                "results cannot go to the warehouse: it is no file, it has seeds only",
                fix="give the warehouse a path in profiles.yml, or remove `to: warehouse`",
            )
        if not os.access(self._path, os.W_OK):
            raise WarehouseError(
                f"results cannot go to the warehouse: {self._path} may not be written by this user",
                fix="let this user write the file, or remove `to: warehouse` from `results`",
            )
        columns = [
            str(name)
            for (name,) in self._local.execute(
                "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND lower(schema_name) = ?"
                " AND lower(table_name) = ?",
                [self._alias, place.schema.lower(), place.table.lower()],
            )
        ]
        check_shape(place, columns)

    def append_results(self, place: ResultsPlace, files: Sequence[Path], local: DuckDB) -> None:
        """Open the file for writing, as briefly as can be: nobody else can have it open meanwhile."""
        if self._path is None:
            raise InternalError("results for a warehouse without a file")
        self.close()
        alias = "sfsync_results_db"
        try:
            local.attach(self._path, alias)
        except DuckDBError as error:
            raise _open_error(self._path, error) from None
        try:
            local.use(alias)
            with local.transaction():
                local.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_ident(place.schema)}")
                local.execute(make_table(place))
                local.execute(f"DELETE FROM {table_of(place)} WHERE (run_id, sync) IN ({deliveries(files)})")
                local.execute(f"INSERT INTO {table_of(place)} BY NAME {read_files(files)}")
        except DuckDBError as error:
            raise WarehouseError(
                f"results could not be written to {place.schema}.{place.table}: {_without_class(error.what)}",
                fix=error.fix,
            ) from None
        finally:
            local.detach(alias)

    def describe(self) -> str:
        """One line for `sfsync debug`."""
        where = f"{self._path}, read-only" if self._path is not None else "no file, seeds only"
        return f"DuckDB {self._local.version}, {where}"

    def release(self) -> None:
        """Nothing to end: the file is locked against writers as long as it is attached."""

    def close(self) -> None:
        """Let go of the file; the engine itself stays open."""
        if self._alias is not None:
            self._local.detach(self._alias)
            self._alias = None


def _alias(path: Path, taken: set[str]) -> str:
    """The name DuckDB itself would give the file, so that models may name it; another if that one is ours."""
    stem = next((part for part in path.name.split(".") if part), "warehouse")
    if stem.lower() not in taken | _RESERVED:
        return stem
    number = 1
    while f"{stem}_db{number}".lower() in taken:
        number += 1
    return f"{stem}_db{number}"


def _column(name: str, kind: str) -> Column:
    decimal = _DECIMAL.fullmatch(kind)
    if decimal is not None:
        return Column(name, kind, SourceType.DECIMAL, int(decimal[1]))
    if _ENUM.fullmatch(kind):
        return Column(name, kind, SourceType.TEXT)
    if _TEXT_ARRAY.fullmatch(kind):
        return Column(name, kind, SourceType.ARRAY)
    return Column(name, kind, _FAMILIES.get(kind, SourceType.OTHER))


def _without_class(message: str) -> str:
    """DuckDB's message without its leading class name, such as "Binder Error: "."""
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", message)


def _open_error(path: Path, error: DuckDBError) -> WarehouseError:
    if error.kind == "missing":
        return WarehouseError(
            f"the warehouse file {path} does not exist",
            fix="check `path` of the warehouse in profiles.yml; it is relative to the project folder",
        )
    return WarehouseError(f"the warehouse cannot be opened: {error.what}", fix=error.fix)
