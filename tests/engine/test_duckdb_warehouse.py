"""A user's DuckDB file: found, read, never written."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfsync.engine.duckdb import DuckDB
from sfsync.engine.duckdb_warehouse import DuckDBWarehouse
from sfsync.errors import WarehouseError
from sfsync.records import Column, SourceType


@pytest.fixture
def local(tmp_path: Path) -> Iterator[DuckDB]:
    session = DuckDB(temp_directory=tmp_path / "spill")
    session.attach(tmp_path / "run.duckdb", "run")
    yield session
    session.close()


def users_file(path: Path) -> Path:
    """A database as another program leaves it behind."""
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE customers (id INTEGER, name VARCHAR)');"
        "c.execute(\"INSERT INTO customers VALUES (1, 'x')\"); c.execute('CREATE SCHEMA raw');"
        "c.execute('CREATE TABLE raw.\"Order Lines\" (n INTEGER)'); c.execute('CREATE VIEW v AS SELECT id FROM customers')"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    return path


@pytest.mark.parametrize(
    ("file", "database"),
    [
        ("acme.duckdb", "acme"),
        ("acme.v2.db", "acme"),
        ('we ird"name.duckdb', 'we ird"name'),
        ("memory.duckdb", "memory_db1"),
        ("run.db", "run_db1"),
        ("temp.db", "temp_db1"),
        ("select.db", "select"),
    ],
)
def test_the_file_is_named_by_its_stem_and_read_in_place(
    local: DuckDB, tmp_path: Path, file: str, database: str
) -> None:
    path = users_file(tmp_path / file)
    before = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
    warehouse = DuckDBWarehouse(local, path)
    catalog = warehouse.catalog()
    assert (catalog.database, catalog.default_schema) == (database, "main")
    assert catalog.tables == {
        ("main", "customers"): ("id", "name"),
        ("main", "v"): ("id",),
        ("raw", "Order Lines"): ("n",),
    }
    assert catalog.views == {("main", "v")}
    quoted = '"' + database.replace('"', '""') + '"'
    select = f"SELECT c.id, c.name FROM customers AS c JOIN {quoted}.main.v AS v USING (id)"
    assert warehouse.materialise(select, local, "run.main.staged") == 1
    assert local.execute("SELECT * FROM run.main.staged") == [(1, "x")]
    with pytest.raises(WarehouseError, match="read-only"):
        warehouse.materialise("SELECT 1 AS a", local, f"{quoted}.main.mine")
    assert str(path) in warehouse.describe()
    warehouse.close()
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) == before


def test_without_a_file_there_are_only_seeds(local: DuckDB) -> None:
    warehouse = DuckDBWarehouse(local)
    assert (warehouse.catalog().tables, warehouse.catalog().database) == ({}, None)
    assert warehouse.columns("SELECT 1 AS a") == (Column("a", "INTEGER", SourceType.INTEGER),)
    warehouse.close()


@pytest.mark.parametrize(
    ("what", "text"), [("missing", "does not exist"), ("folder", "is a folder"), ("junk", "is not a DuckDB")]
)
def test_a_file_that_cannot_be_read_is_one_clear_error(
    local: DuckDB, tmp_path: Path, what: str, text: str
) -> None:
    path = tmp_path / "bad.duckdb"
    if what == "folder":
        path.mkdir()
    elif what == "junk":
        path.write_text("no database")
    with pytest.raises(WarehouseError, match=text) as caught:
        DuckDBWarehouse(local, path)
    assert "bad.duckdb" in caught.value.what


FAMILIES = [
    ("'x'", SourceType.TEXT, None),
    ("uuid()", SourceType.TEXT, None),
    ("CAST('a' AS ENUM ('a', 'b'))", SourceType.TEXT, None),
    ("TRUE", SourceType.BOOLEAN, None),
    ("CAST(1 AS TINYINT)", SourceType.INTEGER, None),
    ("CAST(1 AS UHUGEINT)", SourceType.INTEGER, None),
    ("1.50", SourceType.DECIMAL, 2),
    ("CAST(1 AS DECIMAL(38, 10))", SourceType.DECIMAL, 10),
    ("CAST(1 AS FLOAT)", SourceType.REAL, None),
    ("1e0", SourceType.DOUBLE, None),
    ("DATE '2026-01-01'", SourceType.DATE, None),
    ("TIME '10:00:00'", SourceType.TIME, None),
    ("TIMESTAMP '2026-01-01'", SourceType.TIMESTAMP, None),
    ("CAST(TIMESTAMP '2026-01-01' AS TIMESTAMP_NS)", SourceType.TIMESTAMP, None),
    ("now()", SourceType.TIMESTAMPTZ, None),
    ("['a', 'b']", SourceType.ARRAY, None),
    ("[1]", SourceType.OTHER, None),
    ("[['a']]", SourceType.OTHER, None),
    ("{'a': 1}", SourceType.OTHER, None),
    ("CAST('{}' AS JSON)", SourceType.OTHER, None),
    ("CAST('x' AS BLOB)", SourceType.OTHER, None),
    ("INTERVAL 1 DAY", SourceType.OTHER, None),
    ("CAST('10:00:00+01' AS TIMETZ)", SourceType.OTHER, None),
]


@pytest.mark.parametrize(("expression", "family", "scale"), FAMILIES)
def test_families_of_types(local: DuckDB, expression: str, family: SourceType, scale: int | None) -> None:
    column = DuckDBWarehouse(local).columns(f"WITH w AS (SELECT {expression} AS c) SELECT c FROM w")[0]
    assert (column.name, column.family, column.scale) == ("c", family, scale)


@pytest.mark.parametrize(
    ("select", "text"),
    [
        ("SELECT nope FROM (SELECT 1 AS a)", '"nope"'),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT FROM", "syntax error"),
    ],
)
def test_a_refused_select_says_why_in_one_line(local: DuckDB, select: str, text: str) -> None:
    with pytest.raises(WarehouseError, match=text) as caught:
        DuckDBWarehouse(local).columns(select)
    assert "\n" not in caught.value.what


def test_columns_does_not_run_the_select(local: DuckDB) -> None:
    local.execute("CREATE SEQUENCE memory.main.counter")
    DuckDBWarehouse(local).columns("SELECT nextval('memory.main.counter') AS n")
    assert local.value("SELECT nextval('memory.main.counter')") == 1
