"""A project folder, a real DuckDB file as its warehouse, and the local org's objects: what a compile works with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import sfsync
from sfsync.compiler.compile import compile_project
from sfsync.compiler.manifest import Manifest
from sfsync.compiler.surroundings import OrgView, Surroundings
from sfsync.contract import Field, SObject, from_json
from sfsync.engine.duckdb import DuckDB
from sfsync.engine.duckdb_warehouse import DuckDBWarehouse
from sfsync.errors import ProjectError
from sfsync.project.load import load_project

PROJECT = 'name: acme\nversion: "1"\nprofile: acme\ntimezone: UTC\n'
TABLES = """
CREATE SCHEMA raw;
CREATE TABLE raw.customers (customer_id VARCHAR, account_id VARCHAR, last_name VARCHAR, email VARCHAR,
    title VARCHAR, lead VARCHAR, born DATE, seen TIMESTAMP, spent DECIMAL(12, 2), score DOUBLE, champion BOOLEAN,
    tags VARCHAR[], blob BLOB, extra STRUCT(a INTEGER), "Mixed Case" VARCHAR, noon TIME);
CREATE TABLE raw.accounts (account_id VARCHAR, name VARCHAR, parent VARCHAR);
CREATE VIEW raw.recent AS SELECT * FROM raw.customers;
CREATE TABLE orders (id INTEGER, customer_id VARCHAR);
"""

ODD = SObject(
    "Odd__c",
    "Odd",
    None,
    createable=True,
    updateable=True,
    deletable=True,
    record_types=2,
    fields=(
        Field("Key__c", "Key", "string", length=20, external_id=True, id_lookup=True, unique=True),
        Field("Loose__c", "Loose", "string", length=20, external_id=True, id_lookup=True),
        Field("Number__c", "Number", "double", precision=18, scale=0, external_id=True, unique=True),
        Field(
            "Auto__c",
            "Auto",
            "string",
            createable=False,
            updateable=False,
            auto_number=True,
            external_id=True,
        ),
        Field("Formula__c", "Formula", "double", createable=False, updateable=False, calculated=True),
        Field("Hidden__c", "Hidden", "string", createable=False, updateable=False),
        Field("Once__c", "Once", "string", length=10, updateable=False),
        Field("Later__c", "Later", "string", length=10, createable=False),
        Field("Place__c", "Place", "location"),
        Field("Place__Latitude__s", "Latitude", "double", compound_field_name="Place__c"),
        Field("Body__c", "Body", "base64"),
        Field("Future__c", "Future", "hologram"),
        Field("Secret__c", "Secret", "encryptedstring", length=30),
        Field("Kind__c", "Kind", "picklist", length=255, restricted_picklist=True, picklist=("A", "B")),
        Field("Need__c", "Need", "string", length=10, nillable=False),
        Field("Flag__c", "Flag", "boolean", nillable=False, defaulted_on_create=True),
        Field("Whole__c", "Whole", "int", digits=8),
        Field("Money__c", "Money", "currency", precision=16, scale=2),
        Field(
            "Owner__c",
            "Owner",
            "reference",
            reference_to=("Account", "Contact"),
            relationship_name="Owner__r",
            polymorphic_foreign_key=True,
        ),
        Field("Parent__c", "Parent", "reference", reference_to=("Odd__c",), relationship_name="Parent__r"),
    ),
)
LOCKED = SObject(
    "Locked__c", "Locked", None, createable=False, updateable=True, deletable=False, fields=ODD.fields
)


def org_of(*objects: SObject) -> OrgView:
    """The local org's objects and these, all that there is."""
    path = Path(sfsync.__file__).parent / "local_org" / "schema.json"
    known = from_json(path.read_text(encoding="utf-8"), path=path)
    return OrgView(
        replace(known.with_objects([ODD, LOCKED, *objects]), username="deploy@acme.com"), whole=True
    )


class Lab:
    """One project folder beside one warehouse."""

    def __init__(self, root: Path, warehouse: DuckDBWarehouse) -> None:
        self.root, self.warehouse = root, warehouse
        self.queries: list[str] = []

    def write(self, files: Mapping[str, str]) -> None:
        """Put files into the project; sfsync_project.yml is there already."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def compile(
        self,
        files: Mapping[str, str] = {},
        *,
        org: OrgView | None = None,
        blind: bool = False,
        env: Mapping[str, str] = {},
        seeds: Mapping[str, str] = {},
    ) -> Manifest:
        """Write the files and compile. blind: nothing is known of the org."""
        self.write(files)
        around = Surroundings(
            dialect=self.warehouse.dialect,
            catalog=self.warehouse.catalog(),
            columns_of=self.warehouse.columns,
            org=None if blind else org or org_of(),
            target={"name": "dev", "type": "duckdb", "schema": "main"},
            env=env,
            seeds=seeds,
        )
        return compile_project(load_project(self.root), around)

    def refused(self, files: Mapping[str, str], **options: object) -> list[tuple[str, str | None]]:
        """Compile what must not compile; ('file:line:column: what', fix) of every finding."""
        with pytest.raises(ProjectError) as caught:
            self.compile(files, **options)  # type: ignore[arg-type]
        return [(str(e), e.fix) for e in (caught.value, *caught.value.others)]


@pytest.fixture(scope="session")
def warehouse_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file with the raw tables."""
    folder = tmp_path_factory.mktemp("warehouse")
    db = DuckDB(temp_directory=folder / "spill")
    path = folder / "wh.duckdb"
    db.attach(path, "wh")
    db.use("wh")
    for statement in TABLES.split(";"):
        if statement.strip():
            db.execute(statement)
    db.close()
    return path


@pytest.fixture(scope="module")
def warehouse(warehouse_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBWarehouse]:
    """The file, attached read-only."""
    local = DuckDB(temp_directory=tmp_path_factory.mktemp("spill"), threads=1)
    found = DuckDBWarehouse(local, warehouse_file)
    yield found
    found.close()
    local.close()


@pytest.fixture
def lab(tmp_path: Path, warehouse: DuckDBWarehouse) -> Lab:
    """An empty project beside the warehouse."""
    lab = Lab(tmp_path, warehouse)
    lab.write({"sfsync_project.yml": PROJECT})
    return lab
