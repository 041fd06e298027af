"""A real PostgreSQL as a warehouse: types, one snapshot, streams, errors, seeds."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sfsync.connections import PostgresSettings
from sfsync.engine.duckdb import DuckDB
from sfsync.engine.postgres import Connection, PostgresWarehouse
from sfsync.engine.seeds import Seed
from sfsync.errors import ProjectError, SfsyncError, WarehouseError
from sfsync.records import SourceType
from tests.support.postgres import postgres_url  # noqa: F401


@pytest.fixture
def settings(postgres_url: str) -> PostgresSettings:  # noqa: F811
    where = urlsplit(postgres_url)
    return PostgresSettings(
        type="postgres",
        host=where.hostname,
        port=where.port,
        dbname="postgres",
        user="postgres",
        schema="shop",
    )


@pytest.fixture
def writer(settings: PostgresSettings) -> Iterator[Connection]:
    connection = Connection(settings)
    for sql in (
        "DROP SCHEMA IF EXISTS shop CASCADE",
        "DROP SCHEMA IF EXISTS sfsync_seeds CASCADE",
        "DROP ROLE IF EXISTS reader",
        "CREATE SCHEMA shop",
        'CREATE TABLE shop.customers (id int, "Full Name" text)',
        "CREATE VIEW shop.v AS SELECT id FROM shop.customers",
        "CREATE DOMAIN shop.money_amount AS numeric(10,2)",
        "CREATE DOMAIN shop.price AS shop.money_amount",
        "CREATE TYPE shop.tier AS ENUM ('a', 'b')",
        "INSERT INTO shop.customers VALUES (1, 'x'), (2, 'y')",
    ):
        connection.run(sql)
    yield connection
    connection.close()


@pytest.fixture
def warehouse(settings: PostgresSettings, writer: Connection) -> Iterator[PostgresWarehouse]:
    opened = PostgresWarehouse(settings)
    yield opened
    opened.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[DuckDB]:
    session = DuckDB(memory_limit="200MB", threads=1, temp_directory=tmp_path / "spill")
    session.attach(tmp_path / "run.duckdb", "run")
    yield session
    session.close()


def test_catalog_lists_tables_views_and_columns(warehouse: PostgresWarehouse) -> None:
    catalog = warehouse.catalog()
    assert (catalog.default_schema, catalog.database) == ("shop", "postgres")
    assert catalog.tables[("shop", "customers")] == ("id", "Full Name")
    assert catalog.views == {("shop", "v")}
    assert not any(schema.startswith("pg_") for schema, _ in catalog.tables)


FAMILIES = [
    ("'x'", "text", SourceType.TEXT),
    ("NULL", "text", SourceType.TEXT),
    ("'x'::varchar(10)", "character varying", SourceType.TEXT),
    ("'x'::char(3)", "character", SourceType.TEXT),
    ("'a'::shop.tier", "tier", SourceType.TEXT),
    ("gen_random_uuid()", "uuid", SourceType.TEXT),
    ("1", "integer", SourceType.INTEGER),
    ("1::smallint", "smallint", SourceType.INTEGER),
    ("1.50", "numeric", SourceType.DECIMAL),
    ("1::shop.price", "price", SourceType.DECIMAL),
    ("1::real", "real", SourceType.REAL),
    ("1::float8", "double precision", SourceType.DOUBLE),
    ("now()", "timestamp with time zone", SourceType.TIMESTAMPTZ),
    ("now()::timestamp", "timestamp without time zone", SourceType.TIMESTAMP),
    ("current_date", "date", SourceType.DATE),
    ("localtime", "time without time zone", SourceType.TIME),
    ("ARRAY['a']", "text[]", SourceType.ARRAY),
    ("ARRAY['a'::shop.tier]", "tier[]", SourceType.ARRAY),
    ("ARRAY[1]", "integer[]", SourceType.OTHER),
    ("current_time", "time with time zone", SourceType.OTHER),
    ("'{}'::json", "json", SourceType.OTHER),
    ("'{}'::jsonb", "jsonb", SourceType.OTHER),
    ("NULL::xml", "xml", SourceType.OTHER),
    ("1::money", "money", SourceType.OTHER),
    ("B'1'", "bit", SourceType.OTHER),
    ("'x'::bytea", "bytea", SourceType.OTHER),
    ("interval '1 day'", "interval", SourceType.OTHER),
]


def test_families_of_types(warehouse: PostgresWarehouse) -> None:
    cells = ", ".join(f'{value} AS "c {n}"' for n, (value, _, _) in enumerate(FAMILIES))
    columns = warehouse.columns(f"WITH w AS (SELECT {cells}) SELECT * FROM w -- a comment at the end")
    assert [c.name for c in columns] == [f"c {n}" for n in range(len(FAMILIES))]
    assert [(c.type, c.family) for c in columns] == [(kind, family) for _, kind, family in FAMILIES]


def test_columns_does_not_run_the_select_and_survives_a_refusal(warehouse: PostgresWarehouse) -> None:
    assert warehouse.columns("SELECT 1 / (id - id) AS n FROM customers")[0].name == "n"
    with pytest.raises(WarehouseError, match='column "nope" does not exist'):
        warehouse.columns("SELECT nope FROM customers")
    assert warehouse.columns("SELECT id FROM customers")[0].type == "integer"


def test_one_run_sees_one_state(warehouse: PostgresWarehouse, writer: Connection, local: DuckDB) -> None:
    assert warehouse.materialise("SELECT * FROM customers", local, "run.main.first") == 2
    writer.run("DELETE FROM shop.customers")
    assert warehouse.materialise("SELECT * FROM customers", local, "run.main.second") == 2
    warehouse.release()
    assert warehouse.materialise("SELECT * FROM customers", local, "run.main.third") == 0


def test_nothing_can_be_written(warehouse: PostgresWarehouse, local: DuckDB) -> None:
    with pytest.raises(SfsyncError):
        warehouse.materialise("DELETE FROM customers RETURNING id", local, "run.main.gone")
    assert warehouse.materialise("SELECT id FROM customers", local, "run.main.kept") == 2


def test_a_failure_half_way_is_told_in_the_servers_words(warehouse: PostgresWarehouse, local: DuckDB) -> None:
    select = "SELECT 1 / (100000 - g) AS n FROM generate_series(1, 200000) AS g"
    with pytest.raises(WarehouseError, match="division by zero"):
        warehouse.materialise(select, local, "run.main.broken")
    assert warehouse.materialise("SELECT 1 AS a", local, "run.main.after") == 1


def test_a_million_rows_stream_in_bounded_memory(warehouse: PostgresWarehouse, local: DuckDB) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    select = "SELECT g::text AS k, repeat('x', 200) || g AS v FROM generate_series(1, 1000000) AS g"
    assert warehouse.materialise(select, local, "run.main.big") == 1_000_000
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (
        grown_mb < 350
    )  # the rows are 210 MB of text; memory_limit is 200 MB, and the driver holds some batches
    assert local.value("SELECT COUNT(DISTINCT k) FROM run.main.big") == 1_000_000


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"port": 1}, "Connection refused"),
        ({"user": "nobody_here"}, 'role "nobody_here" does not exist'),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
        ({"host": "host.invalid", "connect_timeout": 2}, "could not translate host name"),
        ({"host": "/nowhere"}, "No such file or directory"),
        ({"sslmode": "require"}, "SSL"),
    ],
)
def test_connection_failures_name_the_place_and_the_next_step(
    settings: PostgresSettings, change: dict[str, object], text: str
) -> None:
    wrong = settings.model_copy(update=change)
    with pytest.raises(WarehouseError, match=text) as caught:
        PostgresWarehouse(wrong)
    assert f"{wrong.host}:{wrong.port}, database '{wrong.dbname}', user '{wrong.user}'" in caught.value.what
    assert caught.value.fix


def test_a_password_of_any_characters_is_taken_and_never_shown(settings: PostgresSettings) -> None:
    secret = "p'a\\ss w@rd/%"
    wrong = PostgresSettings(
        **{**settings.model_dump(by_alias=True), "password": secret, "dbname": f"x {secret}"}
    )
    with pytest.raises(WarehouseError) as caught:
        PostgresWarehouse(wrong)
    assert secret not in caught.value.what


def seed(tmp_path: Path, text: str, digest: str = "1") -> Seed:
    path = tmp_path / "regions.csv"
    path.write_text(text)
    return Seed(
        "regions",
        path,
        "seeds/regions.csv",
        ("id", "name", "rate"),
        {"id": "integer", "rate": "numeric(5,2)"},
        digest,
    )


def test_seeds_live_in_a_schema_that_only_the_seed_command_makes(
    warehouse: PostgresWarehouse, local: DuckDB, tmp_path: Path
) -> None:
    first = seed(tmp_path, "id,name,rate\n1,O'Neil,1.50\n2,,\n")
    with pytest.raises(WarehouseError, match="no schema sfsync_seeds") as caught:
        warehouse.load_seeds([first], local, make=False)
    assert "sfsync seed" in str(caught.value.fix)
    assert warehouse.load_seeds([first], local, make=True) == ("regions",)
    relation = warehouse.seed_relation("regions")
    warehouse.materialise(f"SELECT id, name, rate::text AS rate FROM {relation}", local, "run.main.one")
    assert local.execute("SELECT * FROM run.main.one ORDER BY id") == [(1, "O'Neil", "1.50"), (2, None, None)]
    assert warehouse.load_seeds([first], local, make=False) == ()
    moved = seed(tmp_path, "id,name,rate\n3,z,9\n", digest="2")
    assert warehouse.load_seeds([moved], local, make=False) == ("regions",)
    warehouse.materialise(f"SELECT id FROM {relation}", local, "run.main.two")
    assert local.execute("SELECT id FROM run.main.two") == [(3,)]


def test_a_cell_that_does_not_fit_leaves_the_old_seed(
    warehouse: PostgresWarehouse, local: DuckDB, tmp_path: Path
) -> None:
    warehouse.load_seeds([seed(tmp_path, "id,name,rate\n1,a,1\n")], local, make=True)
    with pytest.raises(ProjectError, match='"x"'):
        warehouse.load_seeds([seed(tmp_path, "id,name,rate\nx,a,1\n", digest="2")], local, make=False)
    relation = warehouse.seed_relation("regions")
    assert warehouse.materialise(f"SELECT id FROM {relation}", local, "run.main.old") == 1


def test_a_user_without_the_right_is_told_the_grant(
    settings: PostgresSettings, writer: Connection, local: DuckDB, tmp_path: Path
) -> None:
    writer.run("CREATE ROLE reader LOGIN")
    poor = PostgresWarehouse(settings.model_copy(update={"user": "reader"}))
    with pytest.raises(WarehouseError, match="cannot be created") as caught:
        poor.load_seeds([seed(tmp_path, "id,name,rate\n1,a,1\n")], local, make=True)
    poor.close()
    assert caught.value.fix == 'let an administrator run: CREATE SCHEMA sfsync_seeds AUTHORIZATION "reader"'
