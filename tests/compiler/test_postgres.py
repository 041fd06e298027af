"""The same compile against a real PostgreSQL server: its catalog, its types, its errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfsync.compiler.compile import compile_project
from sfsync.compiler.surroundings import Surroundings
from sfsync.connections import PostgresSettings
from sfsync.engine.postgres import PostgresWarehouse
from sfsync.errors import CompileError
from sfsync.project.load import load_project

from .conftest import PROJECT, org_of

pytestmark = pytest.mark.postgres

TABLES = """
CREATE SCHEMA raw;
CREATE TABLE raw.customers (customer_id text, last_name varchar(80), email varchar, spent numeric(12, 2),
    born date, seen timestamptz, doc json, score double precision, "Mixed Case" text);
CREATE VIEW raw.recent AS SELECT * FROM raw.customers;
"""
SYNC = """version: 1
syncs:
  - name: contacts
    model: m
    object: Contact
    identity: {{Customer_Id__c: customer_id}}
    fields: {{LastName: last_name, {}}}
"""


def _binary(name: str) -> str | None:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / name).exists():
            return str(folder / name)
    return shutil.which(name)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresSettings]:
    """A server of its own in a folder of its own, reached by its socket only."""
    if _binary("initdb") is None:
        pytest.skip("no PostgreSQL server binaries")
    folder = Path(tempfile.mkdtemp(prefix="sfsync-pg-"))
    prefix: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]

    def run(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, capture_output=True, cwd="/")

    data, log = folder / "data", folder / "log"
    try:
        run(
            str(_binary("initdb")),
            "-D",
            str(data),
            "-U",
            "sfsync",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
        )
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=5"
        run(str(_binary("pg_ctl")), "-D", str(data), "-l", str(log), "-o", options, "-w", "start")
        try:
            run(
                str(_binary("psql")),
                "-h",
                str(folder),
                "-U",
                "sfsync",
                "-d",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                TABLES,
            )
            yield PostgresSettings(type="postgres", host=str(folder), dbname="postgres", user="sfsync")
        finally:
            run(str(_binary("pg_ctl")), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        subprocess.run([*prefix, "rm", "-rf", str(data), str(log)], check=False, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres(server: PostgresSettings) -> Iterator[PostgresWarehouse]:
    """The server as a warehouse."""
    found = PostgresWarehouse(server)
    yield found
    found.close()


def compiled(
    postgres: PostgresWarehouse,
    root: Path,
    model: str,
    fields: str = "Email: email",
    where: str | None = None,
):
    root.joinpath("models").mkdir()
    root.joinpath("syncs").mkdir()
    root.joinpath("sfsync_project.yml").write_text(PROJECT)
    root.joinpath("models/stg.sql").write_text(model)
    root.joinpath("models/m.sql").write_text(
        "with stg as (select * from {{ ref('stg') }}) select * from stg -- all"
    )
    root.joinpath("syncs/c.yml").write_text(SYNC.format(fields) + (f"    where: {where}\n" if where else ""))
    around = Surroundings(
        postgres.dialect, postgres.catalog(), postgres.columns, org_of(), {"name": "prod", "type": "postgres"}
    )
    return compile_project(load_project(root), around)


@pytest.mark.parametrize(("table", "plain"), [("customers", True), ("recent", False)])
def test_compiles(postgres: PostgresWarehouse, tmp_path: Path, table: str, plain: bool) -> None:
    model = f'select customer_id, last_name, email, "Mixed Case" from raw.{table};'
    found = compiled(postgres, tmp_path, model, "Email: email, Title: mixed case").syncs[0]
    assert found.plain_scan is plain
    assert [c.name for c in postgres.columns(found.sql)] == [
        "customer_id",
        "last_name",
        "email",
        "Mixed Case",
    ]


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        ("select customer_id,\n  nme as last_name, email\nfrom raw.customers", "Email: email", "models/stg.sql:2:3: the warehouse refuses model 'stg'"),
        ("select *\nfrom raw.customer", "Email: email", "models/stg.sql:2:10: the warehouse has no table 'raw.customer'"),
        ("with x as (delete from raw.customers returning *)\nselect * from x", "Email: email", "models/stg.sql:1:12: a model only reads, found DELETE"),
        ("select * from raw.customers", "Title: doc", "syncs/c.yml:7:35: Title: column 'doc' of type json"),
        ("select * from raw.customers", "Title: score", "syncs/c.yml:7:35: Title: column 'score' of type double precision"),
        ("select *, 1 as email from raw.customers", "Email: email", "syncs/c.yml:4:12: sync 'contacts' cannot be read"),
    ],
)  # fmt: skip
def test_says_what_is_wrong(
    postgres: PostgresWarehouse, tmp_path: Path, model: str, fields: str, message: str
) -> None:
    with pytest.raises(CompileError) as caught:
        compiled(postgres, tmp_path, model, fields)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("last_name", "where: the filter is of type character varying, not boolean"),
        ("'1'", "where: the filter is of type integer, not boolean"),
        ("email = 5", "the warehouse refuses the filter: operator does not exist"),
    ],
)
def test_says_what_is_wrong_with_a_filter(
    postgres: PostgresWarehouse, tmp_path: Path, where: str, message: str
) -> None:
    with pytest.raises(CompileError) as caught:
        compiled(postgres, tmp_path, "select * from raw.customers", where=where)
    assert str(caught.value).startswith(f"syncs/c.yml:8:12: {message}")
