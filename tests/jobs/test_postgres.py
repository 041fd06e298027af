"""The same main line with the models in PostgreSQL and the state in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import adbc_driver_postgresql.dbapi as adbc
import pytest
import yaml

from sfsync.connections import PostgresSettings
from sfsync.engine.duckdb import DuckDB
from sfsync.engine.postgres import Connection
from sfsync.errors import WarehouseError
from sfsync.jobs.seeds import seed_command
from tests.jobs.conftest import CONTACT_COLUMNS, Team, outcomes, planned
from tests.support.postgres import postgres_url  # noqa: F401

pytestmark = pytest.mark.postgres


class PostgresTeam(Team):
    """A team whose tables stand in a PostgreSQL schema of its own."""

    def __init__(self, folder: Path, org: Any, url: str) -> None:
        self.url = url
        super().__init__(folder, org)

    def profile(self, **org: Any) -> None:
        super().profile(**org)
        path = self.folder / "profiles.yml"
        body = yaml.safe_load(path.read_text())
        parts = urlsplit(self.url)
        body["team"]["outputs"]["prod"]["warehouse"] = {
            "type": "postgres",
            "host": parts.hostname,
            "port": parts.port,
            "dbname": parts.path.lstrip("/"),
            "user": parts.username,
        } | ({"password": parts.password} if parts.password else {})
        path.write_text(yaml.safe_dump(body))

    def sql(self, *statements: str) -> None:
        with adbc.connect(self.url, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def _table(self, name: str, columns: Any, rows: Any) -> None:
        shape = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        self.sql(
            "CREATE SCHEMA IF NOT EXISTS raw",
            f"DROP TABLE IF EXISTS raw.{name}",
            f"CREATE TABLE raw.{name} ({shape})",
        )
        for row in rows:
            values = [*row, *([None] * (len(columns) - len(row)))]
            cells = ", ".join("NULL" if v is None else "'" + str(v).replace("'", "''") + "'" for v in values)
            self.sql(f"INSERT INTO raw.{name} VALUES ({cells})")


@pytest.fixture
def pg(tmp_path: Path, org: Any, postgres_url: str) -> Iterator[PostgresTeam]:  # noqa: F811
    team = PostgresTeam(tmp_path / "team", org, postgres_url)
    team.accounts([("A1", "Acme", "1"), ("A2", "Bolt", None)])
    team.contacts(
        [
            {
                "id": "C1",
                "last": "Ito",
                "email": "ai@acme.example",
                "account": "A1",
                "worth": "12.50",
                "born": "1980-02-29",
            },
            {
                "id": "C2",
                "last": "  Müller ",
                "title": "CTO",
                "account": "A2",
                "seen": "2026-03-29 02:30:00",
                "champion": "true",
            },
            {"id": "C3", "last": "Okafor", "interests": "Mobile;Billing"},
        ]
    )
    team.init_state()
    yield team
    team.sql("DROP SCHEMA raw CASCADE", "DROP SCHEMA IF EXISTS sfsync_seeds CASCADE")


def test_the_main_line(pg: PostgresTeam) -> None:
    pg.sync("contacts", push={"order_by": ["interests"]})
    pg.sync("contacts", fields={"Department": {"value": "50% \\ O'Neil's"}})
    assert outcomes(pg.run(), "contacts") == {"created": 3}
    assert {r["Department"] for r in pg.org.records("Contact")} == {"50% \\ O'Neil's"}
    made = sorted(pg.org.records("Contact"), key=lambda row: row["Id"])
    assert [row["Customer_Id__c"] for row in made] == ["C3", "C1", "C2"]
    record = pg.org.by("Contact", "Customer_Id__c")["C2"]
    assert (record["LastName"], record["Last_Login__c"], record["Is_Champion__c"]) == (
        "Müller",
        "2026-03-29T02:30:00.000Z",
        "true",
    )
    assert pg.org.by("Contact", "Customer_Id__c")["C1"]["Lifetime_Value__c"] == "12.5"
    assert not pg.plan().has_changes
    pg.sql(
        "UPDATE raw.contacts SET worth = 12.500 WHERE id = 'C1'",
        "UPDATE raw.contacts SET last = 'Müller ' WHERE id = 'C2'",
    )
    assert not pg.plan().has_changes
    pg.sync("contacts", on_removed="delete")
    pg.sql("UPDATE raw.contacts SET title = NULL WHERE id = 'C2'", "DELETE FROM raw.contacts WHERE id = 'C3'")
    plan = planned(pg.plan(), "contacts")
    assert (plan.changes.updates, plan.changes.deletes, plan.changes.unchanged) == (1, 1, 1)
    assert outcomes(pg.run(), "contacts") == {"updated": 1, "deleted": 1, "unchanged": 1}
    assert "Title" not in pg.org.by("Contact", "Customer_Id__c")["C2"]
    assert not pg.plan().has_changes


def test_bad_rows_are_rejected_and_held_as_in_duckdb(pg: PostgresTeam) -> None:
    pg.sql(
        "INSERT INTO raw.contacts (id, last, email) VALUES ('X1', 'x', 'nobody'), ('c1', 'Twin', NULL), (NULL, 'y', NULL)"
    )
    assert outcomes(pg.run(), "contacts") == {"created": 2, "rejected": 4}
    again = pg.run()
    assert outcomes(again, "contacts") == {"unchanged": 2, "held": 4}
    assert again.exit_code == 0


def test_seeds_need_the_command_that_makes_their_schema(pg: PostgresTeam) -> None:
    pg.write("seeds/regions.csv", "id,name\n1,Nord\n2,\n")
    pg.write(
        "models/dim_accounts.sql",
        "select id, name, phone from raw.accounts union all select id, name, null from {{ ref('regions') }} where name is not null",
    )
    with pytest.raises(WarehouseError, match="seed"):
        pg.plan()
    assert seed_command(pg.options()).loaded == ("regions",)
    assert planned(pg.plan(), "accounts").changes.upserts == 3
    pg.write("seeds/regions.csv", "id,name\n1,Nord\n2,Süd\n")
    assert planned(pg.plan(), "accounts").changes.upserts == 4


def test_the_columns_of_the_test_tables_cover_the_types(pg: PostgresTeam) -> None:
    assert {kind.split("(")[0] for kind in CONTACT_COLUMNS.values()} >= {
        "VARCHAR",
        "DATE",
        "TIMESTAMP",
        "DECIMAL",
        "BOOLEAN",
    }


RESULTS = {"keep": "all", "to": "warehouse"}


def rows_of(pg: PostgresTeam, sql: str) -> list[Any]:
    parts = urlsplit(pg.url)
    settings = PostgresSettings.model_validate(
        {"type": "postgres", "host": parts.hostname, "port": parts.port, "dbname": parts.path.lstrip("/")}
        | {"user": parts.username}
        | ({"password": parts.password} if parts.password else {})
    )
    connection, reader = Connection(settings), DuckDB(temp_directory=pg.folder / "spill")
    try:
        with connection.stream(sql) as stream:
            return reader.read(stream)
    finally:
        connection.close()
        reader.close()


@pytest.fixture
def without_results(pg: PostgresTeam) -> Iterator[PostgresTeam]:
    pg.sql("DROP SCHEMA IF EXISTS sfsync_results CASCADE", "DROP SCHEMA IF EXISTS ops CASCADE")
    yield pg
    pg.sql("DROP SCHEMA IF EXISTS sfsync_results CASCADE", "DROP SCHEMA IF EXISTS ops CASCADE")


def test_outcomes_go_to_a_table_of_postgres(without_results: PostgresTeam) -> None:
    pg = without_results
    pg.sync("contacts", results=RESULTS)
    rule = {
        "fault": "refused_rows",
        "object": "Contact",
        "field": "Customer_Id__c",
        "values": ["C1"],
        "message": "nein",
    }
    pg.org.faults([rule])
    first = pg.run()
    asked = "SELECT run_id, key, outcome, message, record_id IS NULL, recorded_at > now() - interval '1 day' FROM sfsync_results.outcomes"
    found = {row[1]: row for row in rows_of(pg, asked)}
    assert found["C1"] == (first.run_id, "C1", "rejected", "nein", True, True)
    assert found["C2"][2:5] == ("created", None, False)
    before = len(found)
    pg.org.faults([])
    pg.retry()
    assert len(rows_of(pg, asked)) == before + 1


def test_a_missing_grant_is_told_before_anything_is_sent(without_results: PostgresTeam) -> None:
    pg = without_results
    pg.sql(
        "CREATE SCHEMA ops",
        "CREATE TABLE ops.crm (run_id text, sync text, object text, key text, identity text, record_id text, action text,"
        " outcome text, code text, field text, message text, recorded_at timestamptz)",
        "DROP ROLE IF EXISTS sf_reader",
        "CREATE ROLE sf_reader LOGIN PASSWORD 'pw-4711'",
        "GRANT USAGE ON SCHEMA raw, ops TO sf_reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA raw TO sf_reader",
        "GRANT SELECT, INSERT ON ops.crm TO sf_reader",
    )
    path = pg.folder / "profiles.yml"
    body = yaml.safe_load(path.read_text())
    body["team"]["outputs"]["prod"]["warehouse"] |= {"user": "sf_reader", "password": "pw-4711"}
    path.write_text(yaml.safe_dump(body))
    try:
        pg.sync("contacts", results=RESULTS | {"schema": "ops", "table": "crm"})
        with pytest.raises(WarehouseError, match=r"may not write the table ops\.crm") as caught:
            pg.run()
        assert 'GRANT SELECT, INSERT, DELETE ON "ops"."crm" TO "sf_reader"' in str(caught.value.fix)
        pg.sync("contacts", results=RESULTS)
        with pytest.raises(WarehouseError, match="the schema sfsync_results") as caught:
            pg.run()
        assert 'CREATE SCHEMA "sfsync_results" AUTHORIZATION "sf_reader"' in str(caught.value.fix)
        assert pg.org.records("Contact") == []
    finally:
        pg.sql("DROP OWNED BY sf_reader", "DROP ROLE sf_reader")
