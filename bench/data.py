"""The benchmark's rows, its sfsync project, and the org's schema.

    python -m bench.data FOLDER --rows 1000000      # FOLDER/v1.duckdb, v2.duckdb, schema.json, Account.csv, project/

Owns:      what is measured: 13 columns of a customer table; v2 is v1 with 1 % of the rows updated, 0.2 % created, 0.1 %
           deleted, and, with `dirty`, a handful of rows that must be refused.
Does not:  measure, or talk to an org.
Invariant: the same number of rows gives the same data, on every DuckDB.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

SECRETS = {"sfsync": "BENCH_SFSYNC_SECRET", "baseline": "BENCH_SECRET"}
"""The environment variable from which each program takes the secret of its org."""

ACCOUNTS = 1000
CREATED, UPDATED, DELETED = 500, 100, 1000
"""One row in so many."""

_ROW = """
    'C' || lpad(CAST(i AS VARCHAR), 9, '0') AS id,
    'person.' || i || '@' || (i * 7919 % 50021) || '.example' AS email,
    ['Ana','Björn','Chloé','Dai','Emeka','Fatma','Grace','Hana'][1 + i % 8] AS first_name,
    ['Ito','Müller','Okafor','Smith','García','Nguyễn'][1 + i % 6] || ' ' || (i * 31 % 100003) AS last_name,
    'A' || (i * 2654435761 % {accounts}) AS account_id,
    CAST((i * 48271 % 9999991) / 100.0 AS DECIMAL(14, 2)) AS lifetime_value,
    CAST(i * 16807 % 5000 AS INTEGER) AS visits,
    (i * 69621 % 7 < 3) AS is_champion,
    DATE '1950-01-01' + CAST(i * 40692 % 20000 AS INTEGER) AS born,
    TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_seconds(i * 40014 % 80000000) AS last_login,
    rpad('note ' || md5(CAST(i AS VARCHAR)) || ' ' || md5(CAST(i + 1 AS VARCHAR)), 80, '.') AS note,
    ['Web','Phone Inquiry','Partner Referral','Purchased List','Other'][1 + i * 7 % 5] AS lead_source,
    CASE WHEN i % 3 > 0 THEN ['CTO','Buyer','Head of Sales','Engineer'][1 + i % 4] END AS title
"""

COLUMNS = [
    "id",
    "email",
    "first_name",
    "last_name",
    "account_id",
    "lifetime_value",
    "visits",
    "is_champion",
    "born",
    "last_login",
    "note",
    "lead_source",
    "title",
]

_CHANGED = f"""
    * REPLACE (
        CASE WHEN i % {UPDATED} = 7 THEN CAST(lifetime_value + 1 AS DECIMAL(14, 2)) ELSE lifetime_value END AS lifetime_value,
        CASE WHEN i % {UPDATED} = 7 AND i % 2 = 1 THEN 'Director' ELSE title END AS title)
"""

_DIRTY = """
    INSERT INTO raw.customers BY NAME SELECT * REPLACE (NULL AS id) FROM raw.customers ORDER BY id LIMIT 2;
    INSERT INTO raw.customers BY NAME SELECT * FROM raw.customers WHERE id IS NOT NULL ORDER BY id LIMIT 2 OFFSET 10;
    INSERT INTO raw.customers BY NAME SELECT * REPLACE ('X1' AS id, repeat('x', 129) AS title) FROM raw.customers LIMIT 1;
    INSERT INTO raw.customers BY NAME SELECT * REPLACE ('X2' AS id, 'no address' AS email) FROM raw.customers LIMIT 1;
    INSERT INTO raw.customers BY NAME SELECT * REPLACE ('X3' AS id, ' ' AS last_name) FROM raw.customers LIMIT 1;
    INSERT INTO raw.customers BY NAME SELECT * REPLACE ('X4' AS id, 'X4 "a, b"' AS note) FROM raw.customers LIMIT 1;
"""

PROJECT = {
    "sfsync_project.yml": "name: bench\nversion: '1'\nprofile: bench\n",
    "models/customers.sql": f"SELECT {', '.join(COLUMNS)} FROM raw.customers\n",
    "syncs/contacts.yml": """
        version: 1
        syncs:
          - name: contacts
            model: customers
            object: Contact
            identity: {Customer_Id__c: id}
            fields:
              Email: email
              FirstName: first_name
              LastName: last_name
              AccountId: {column: account_id, lookup: Account.Account_Id__c, on_missing: reject}
              Lifetime_Value__c: lifetime_value
              Visits__c: visits
              Is_Champion__c: is_champion
              Birthdate: born
              Last_Login__c: last_login
              Description: note
              LeadSource: lead_source
              Title: title
            on_removed: delete
            guards: {max_deletes: 1000000, max_null_keys: 100}
        """,
}


def make_warehouses(folder: Path, rows: int, *, dirty: bool = False) -> None:
    """Write v1.duckdb and v2.duckdb, each with the table raw.customers."""
    import duckdb

    row = _ROW.format(accounts=ACCOUNTS)
    created = rows + max(1, rows // CREATED)
    sources = {
        "v1": f"SELECT {row} FROM range(1, {rows + 1}) AS r(i)",
        "v2": f"SELECT * EXCLUDE (i) FROM (SELECT {_CHANGED} FROM (SELECT i, {row} FROM range(1, {created + 1}) AS r(i)))"
        f" WHERE i % {DELETED} <> 3 OR i > {rows}",
    }
    for name, select in sources.items():
        path = folder / f"{name}.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path), config={"memory_limit": "2GB"}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("CREATE SCHEMA raw")
            connection.execute(f"CREATE TABLE raw.customers AS {select}")
            if dirty:
                connection.execute(_DIRTY)


def make_schema(path: Path) -> None:
    """The built-in org with a whole number on Contact, so that every kind of column has a field."""
    import sfsync.local_org

    built_in = Path(sfsync.local_org.__file__).with_name("schema.json")
    schema: dict[str, Any] = json.loads(built_in.read_text("utf-8"))
    schema["objects"]["Contact"]["fields"]["Visits__c"] = {"label": "Visits", "type": "int", "digits": 8}
    path.write_text(json.dumps(schema), "utf-8")


def make_accounts(path: Path) -> None:
    """The parents that every row refers to, as `sfsync org load` reads them."""
    lines = [f"A{n},Account {n}" for n in range(ACCOUNTS)]
    path.write_text("\n".join(["Account_Id__c,Name", *lines]) + "\n", "utf-8")


def make_project(folder: Path, warehouse: Path, org: dict[str, str], memory_limit: str | None = None) -> None:
    """The sfsync project of the benchmark, for an org that answers at `org["url"]`."""
    for name, text in PROJECT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip(), "utf-8")
    output = {
        "warehouse": {"type": "duckdb", "path": str(warehouse)},
        "org": {
            "type": "salesforce",
            "domain": org["url"],
            "ca_file": org["ca_file"],
            "auth": "client_credentials",
            "client_id": org["client_id"],
            "client_secret": "{{ env_var('" + SECRETS["sfsync"] + "') }}",
        },
    }
    if memory_limit is not None:
        output["memory_limit"] = memory_limit  # type: ignore[assignment]
    profile = {"bench": {"target": "dev", "outputs": {"dev": output}}}
    (folder / "profiles.yml").write_text(json.dumps(profile), "utf-8")  # JSON is YAML


def main() -> None:
    """Make everything that needs no running org."""
    parser = argparse.ArgumentParser(description="Write the benchmark's data.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dirty", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    make_warehouses(given.folder, given.rows, dirty=given.dirty)
    make_schema(given.folder / "schema.json")
    make_accounts(given.folder / "Account.csv")


if __name__ == "__main__":
    main()
