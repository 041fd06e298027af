"""A PostgreSQL database as a warehouse: read through ADBC, in one read-only snapshot.

Owns:      the connection, its session settings, types of a SELECT's columns, streaming rows to the run's own engine.
Does not:  build SQL of the projection (compiler/wire does), or write, except seeds and results on request (postgres_seeds,
           postgres_results).
Invariant: everything between the first read and `release` sees one state of the database; rows travel as Arrow
           batches and are never Python objects.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sfsync.connections import PostgresSettings
from sfsync.engine import postgres_results
from sfsync.engine.base import Catalog
from sfsync.engine.dialect import POSTGRES, Dialect, quote_ident, quote_literal
from sfsync.engine.duckdb import DuckDB, DuckDBError
from sfsync.engine.postgres_errors import connect_error, query_error
from sfsync.engine.postgres_seeds import SCHEMA, bring_up_to_date
from sfsync.engine.seeds import Seed
from sfsync.errors import WarehouseError, register_secret
from sfsync.records import Column, ResultsPlace, SourceType

OLDEST = 14
"""The first version with a NULL-safe hash over a row."""

_SESSION = {
    "jit": "off",  # compiling our long projections costs more than running them
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",  # the shortest text that reads back
    "standard_conforming_strings": "on",
    "idle_in_transaction_session_timeout": "0",
}

_FAMILIES = {
    "bool": SourceType.BOOLEAN,
    **dict.fromkeys(("int2", "int4", "int8"), SourceType.INTEGER),
    "numeric": SourceType.DECIMAL,
    "float4": SourceType.REAL,
    "float8": SourceType.DOUBLE,
    "date": SourceType.DATE,
    "timestamp": SourceType.TIMESTAMP,
    "timestamptz": SourceType.TIMESTAMPTZ,
    "time": SourceType.TIME,
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "citext", "uuid"), SourceType.TEXT),
}

# Follows domains to their base type, for the type itself and for an array's element.
_TYPES = """
WITH RECURSIVE given AS (
  SELECT u.oid, u.n FROM ({typed}) AS t, UNNEST(t.oids) WITH ORDINALITY AS u(oid, n)
), base AS (
  SELECT n, oid AS top, oid FROM given
  UNION ALL
  SELECT b.n, b.top, t.typbasetype FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.oid WHERE t.typtype = 'd'
), element AS (
  SELECT b.n, t.typelem AS oid FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.oid
  WHERE t.typtype <> 'd' AND t.typcategory = 'A'
  UNION ALL
  SELECT e.n, t.typbasetype FROM element AS e JOIN pg_catalog.pg_type AS t ON t.oid = e.oid WHERE t.typtype = 'd'
)
SELECT b.n, pg_catalog.format_type(b.top, NULL), t.typname::text, t.typtype = 'e', et.typname::text, et.typtype = 'e'
FROM base AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.oid AND t.typtype <> 'd'
LEFT JOIN (element AS e JOIN pg_catalog.pg_type AS et ON et.oid = e.oid AND et.typtype <> 'd') ON e.n = b.n
ORDER BY b.n
"""

_CATALOG = """
SELECT n.nspname::text, c.relname::text, c.relkind IN ('v', 'm'),
  ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND (pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT'))
ORDER BY 1, 2
"""


class BrokenStreamError(WarehouseError):
    """Rows stopped coming. The driver tells where, not why: `materialise` asks the server again."""


class Connection:
    """One ADBC connection; results come as Arrow streams."""

    def __init__(self, settings: PostgresSettings) -> None:
        """Connect.

        Raises:
            WarehouseError: the driver is not installed, or the server cannot be reached or refuses the user.
        """
        try:
            import adbc_driver_manager
            import adbc_driver_postgresql
        except ImportError:
            raise WarehouseError(
                "a PostgreSQL warehouse needs a driver that is not installed",
                fix="pip install 'sfsync[postgres]'",
            ) from None
        self._module: Any = adbc_driver_manager
        try:
            self._database: Any = adbc_driver_postgresql.connect(_conninfo(settings))
            self._connection: Any = adbc_driver_manager.AdbcConnection(self._database)
        except adbc_driver_manager.Error as error:
            raise connect_error(settings, str(error)) from None

    def run(self, sql: str) -> None:
        """Run a statement that gives no rows."""
        with self._statement(sql) as statement:
            statement.execute_update()

    @contextmanager
    def stream(self, sql: str) -> Iterator[Any]:
        """Run a query; its rows as an object with an Arrow C stream, to be read once and inside the block."""
        with self._statement(sql) as statement:
            try:
                yield statement.execute_query()[0]
            except DuckDBError as error:
                raise BrokenStreamError(error.what) from None

    def append(self, schema: str, table: str, rows: object) -> None:
        """Add the rows of an object with an Arrow C stream to a table, by COPY."""
        with self._statement(None) as statement:
            statement.set_options(
                **{
                    "adbc.ingest.target_db_schema": schema,
                    "adbc.ingest.target_table": table,
                    "adbc.ingest.mode": "adbc.ingest.mode.append",
                }
            )
            statement.bind_stream(rows)
            statement.execute_update()

    @contextmanager
    def _statement(self, sql: str | None) -> Iterator[Any]:
        statement = self._module.AdbcStatement(self._connection)
        try:
            if sql is not None:
                statement.set_sql_query(sql)
            yield statement
        except self._module.Error as error:
            raise query_error(str(error), getattr(error, "sqlstate", None)) from None
        finally:
            statement.close()

    def close(self) -> None:
        """Close the connection; a transaction that is open is rolled back by the server."""
        self._connection.close()
        self._database.close()


class PostgresWarehouse:
    """A PostgreSQL database, 14 or later."""

    kind = "postgres"
    dialect: Dialect = POSTGRES
    shares_engine = False

    def __init__(self, settings: PostgresSettings) -> None:
        """Connect and look at the server's version.

        Raises:
            WarehouseError: no driver, no server, no such user or database, or too old a server.
        """
        if settings.password is not None:
            register_secret(settings.password.get_secret_value())
        self._settings = settings
        self._connection = Connection(settings)
        self._reader = DuckDB(memory_limit="100MB", threads=1, temp_directory=Path(tempfile.gettempdir()))
        self._inside = False
        (number, self._version), *_ = self._rows(
            "SELECT CAST(current_setting('server_version_num') AS int), current_setting('server_version')"
        )
        if number < OLDEST * 10_000:
            self.close()
            raise WarehouseError(
                f"PostgreSQL {self._version} at {settings.host}:{settings.port} is too old",
                fix=f"sfsync needs PostgreSQL {OLDEST} or later",
            )

    def catalog(self) -> Catalog:
        """Tables and views that the user may read."""
        rows = self._rows(_CATALOG)
        return Catalog(
            default_schema=self._settings.schema_,
            database=self._settings.dbname,
            tables={(schema, table): tuple(columns) for schema, table, _, columns in rows},
            views=frozenset((schema, table) for schema, table, is_view, _ in rows if is_view),
        )

    def columns(self, select: str) -> tuple[Column, ...]:
        """Names and types of a SELECT's columns; the SELECT is planned, not run."""
        self._begin()
        self._connection.run("SAVEPOINT sfsync_columns")
        try:
            with self._connection.stream(f"SELECT * FROM (\n{select}\n) AS q LIMIT 0") as stream:
                names = [str(row[0]) for row in self._reader.read(stream, "DESCRIBE SELECT * FROM {stream}")]
            kinds = self._rows(_TYPES.format(typed=_typed(select, len(names))))
        finally:
            self._connection.run("ROLLBACK TO SAVEPOINT sfsync_columns")
        if len(names) != len(kinds):
            raise WarehouseError("types of this model were created while sfsync was reading", fix="run again")
        return tuple(_column(name, *kind[1:]) for name, kind in zip(names, kinds, strict=True))

    def materialise(self, select: str, local: DuckDB, table: str) -> int:
        """Stream a SELECT's rows into a table of the run file. A numeric arrives as text: the engines differ there."""
        self._begin()
        try:
            with self._connection.stream(f"{select}\n") as stream:
                return local.ingest(table, stream)
        except BrokenStreamError as error:
            self.release()
            raise self._reason(select, error) from None
        except BaseException:
            self.release()  # the transaction is broken; the next read begins a new one
            raise

    def _reason(self, select: str, broken: BrokenStreamError) -> WarehouseError:
        """Why a statement fails half-way, by running it without its rows."""
        try:
            self._begin()
            self._connection.run(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {select}\n")
        except WarehouseError as error:
            return error
        finally:
            self.release()
        return WarehouseError(f"PostgreSQL stopped sending rows: {broken.what}", fix="run again")

    def describe(self) -> str:
        """One line for `sfsync debug`."""
        s = self._settings
        return f"PostgreSQL {self._version}, {s.host}:{s.port}/{s.dbname} as {s.user}, read-only"

    def seed_relation(self, name: str) -> str:
        """The quoted table of a seed."""
        return f"{quote_ident(SCHEMA)}.{quote_ident(name)}"

    def load_seeds(self, seeds: Sequence[Seed], local: DuckDB, *, make: bool) -> tuple[str, ...]:
        """Bring the seed tables up to date in their own schema; return the names of seeds that were read.

        Args:
            make: `sfsync seed`: create the schema if missing and load every seed. Otherwise only what moved.

        Raises:
            WarehouseError: the schema is missing, or the user may not create or write it.
            ProjectError: a CSV cannot be read, or a cell does not fit its type.
        """
        if not seeds:
            return ()
        try:
            with self._writer() as writer:
                return bring_up_to_date(
                    writer, self._reader, seeds, local, make=make, user=self._settings.user
                )
        finally:
            self.release()

    def prepare_results(self, place: ResultsPlace) -> None:
        """Make the table for outcomes where it is missing, and see that it may be written."""
        with self._writer() as writer:
            postgres_results.prepare(writer, self._reader, place, self._settings.user)

    def append_results(self, place: ResultsPlace, files: Sequence[Path], local: DuckDB) -> None:
        """Append outcomes, in one transaction, in place of those of the same runs and syncs."""
        with self._writer() as writer:
            postgres_results.append(writer, place, files, local)

    @contextmanager
    def _writer(self) -> Iterator[Connection]:
        """A connection beside the snapshot, which is ended: it must not block the writer."""
        self.release()
        writer = Connection(self._settings)
        try:
            writer.run("SET lock_timeout = '60s'")
            yield writer
        finally:
            writer.close()

    def release(self) -> None:
        """End the snapshot, so that the server may clean up behind us; the next read begins a new one."""
        if self._inside:
            self._inside = False
            self._connection.run("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self._connection.close()

    def _begin(self) -> None:
        if self._inside:
            return
        self._connection.run("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._inside = True
        path = f"{quote_ident(self._settings.schema_)}, public"
        values = {**_SESSION, "search_path": path}
        calls = (f"set_config({quote_literal(k)}, {quote_literal(v)}, true)" for k, v in values.items())
        with self._connection.stream(f"SELECT {', '.join(calls)}") as stream:
            self._reader.read(stream)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        self._begin()
        with self._connection.stream(sql) as stream:
            return self._reader.read(stream)


def _typed(select: str, count: int) -> str:
    """One row of the columns' type numbers, without a row of the SELECT: each is NULL, and NULL has a type."""
    names = ", ".join(f"c{n}" for n in range(count))
    kinds = ", ".join(f"pg_catalog.pg_typeof(s.c{n})::oid" for n in range(count))
    return (
        f"SELECT ARRAY[{kinds}] AS oids FROM (SELECT 1) AS one"
        f" LEFT JOIN (SELECT * FROM (\n{select}\n) AS q({names}) LIMIT 0) AS s ON TRUE"
    )


def _column(
    name: str, shown: str, base: str, is_enum: bool, element: str | None, element_is_enum: bool | None
) -> Column:
    if is_enum:
        return Column(name, shown, SourceType.TEXT)
    if element is not None:
        texts = element_is_enum or _FAMILIES.get(element) is SourceType.TEXT
        return Column(name, shown, SourceType.ARRAY if texts else SourceType.OTHER)
    return Column(name, shown, _FAMILIES.get(base, SourceType.OTHER))


def _conninfo(settings: PostgresSettings) -> str:
    """libpq's keyword form: unlike a URI it takes any character, and a socket's folder as host."""
    values: dict[str, object] = {
        "host": settings.host,
        "port": settings.port,
        "dbname": settings.dbname,
        "user": settings.user,
        "connect_timeout": settings.connect_timeout,
        "application_name": "sfsync",
        "client_encoding": "UTF8",
    }
    if settings.password is not None:
        values["password"] = settings.password.get_secret_value()
    if settings.sslmode is not None:
        values["sslmode"] = settings.sslmode
    if settings.sslrootcert is not None:
        values["sslrootcert"] = settings.sslrootcert
    quoted = (str(value).replace("\\", "\\\\").replace("'", "\\'") for value in values.values())
    return " ".join(f"{key}='{value}'" for key, value in zip(values, quoted, strict=True))
