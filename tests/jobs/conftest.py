"""A small real project beside a real local org, used as if it were a Salesforce org.

`team` has accounts (Account_Id__c) and contacts (Customer_Id__c, looking up their account) in a DuckDB file:

    team.accounts([("A1", "Acme"), ...]); team.contacts([{"id": "C1", "last": "Ito", "account": "A1"}, ...])
    team.init_state(); result = team.run(); plan = team.plan()
    team.sync("contacts", on_removed="delete")   # change keys of a sync
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from sfsync.artifacts import Result, SyncResult
from sfsync.jobs.plan import plan_command
from sfsync.jobs.retry import retry_command
from sfsync.jobs.run import RunOptions, run_command
from sfsync.jobs.session import Options
from sfsync.jobs.state_init import state_init_command
from sfsync.plan.plan import Plan, SyncPlan
from sfsync.records import Outcome

WAREHOUSE = "team.duckdb"
STATE = ".sfsync/prod.duckdb"

ACCOUNT_COLUMNS = {"id": "VARCHAR", "name": "VARCHAR", "phone": "VARCHAR"}
CONTACT_COLUMNS = {
    "id": "VARCHAR",
    "last": "VARCHAR",
    "first": "VARCHAR",
    "email": "VARCHAR",
    "title": "VARCHAR",
    "account": "VARCHAR",
    "born": "DATE",
    "seen": "TIMESTAMP",
    "worth": "DECIMAL(18,2)",
    "champion": "BOOLEAN",
    "interests": "VARCHAR",
}

SYNCS: dict[str, dict[str, Any]] = {
    "accounts": {
        "model": "dim_accounts",
        "object": "Account",
        "identity": {"Account_Id__c": "id"},
        "fields": {"Name": "name", "Phone": "phone"},
    },
    "contacts": {
        "model": "dim_contacts",
        "object": "Contact",
        "identity": {"Customer_Id__c": "id"},
        "fields": {
            "LastName": "last",
            "FirstName": "first",
            "Email": "email",
            "Title": "title",
            "AccountId": {"column": "account", "lookup": "Account.Account_Id__c", "on_missing": "reject"},
            "Birthdate": "born",
            "Last_Login__c": "seen",
            "Lifetime_Value__c": "worth",
            "Is_Champion__c": "champion",
            "Interests__c": "interests",
        },
    },
}


class TestClock:
    """A clock that is moved by hand; sleeping takes real time only as far as a Bulk job needs it."""

    __test__ = False

    def __init__(self) -> None:
        self.offset = timedelta()
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def monotonic(self) -> float:
        import time

        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        import time

        self.slept.append(seconds)
        time.sleep(min(seconds, 0.05))


class Team:
    """A project folder and the verbs that a person would type."""

    def __init__(self, folder: Path, org: Any) -> None:
        self.folder, self.org = folder, org
        self.clock = TestClock()
        self.daily_batches: int | None = None
        self.logged: list[tuple[str, str]] = []
        self._syncs = {name: {**spec, "fields": dict(spec["fields"])} for name, spec in SYNCS.items()}
        (folder / "models").mkdir(parents=True)
        (folder / "syncs").mkdir()
        self.write("sfsync_project.yml", "name: team\nversion: '1'\nprofile: team\nsyncs: {match: never}\n")
        self.write("models/dim_accounts.sql", "select * from raw.accounts")
        self.write("models/dim_contacts.sql", "select * from raw.contacts")
        self.profile()
        (folder / WAREHOUSE).write_bytes(empty_warehouse())
        self.save()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def profile(self, **org: Any) -> None:
        settings = {
            "type": "salesforce",
            "domain": self.org.url,
            "ca_file": str(self.org.ca_file),
            "auth": "password",
            "username": self.org.username,
            "password": self.org.password,
            "security_token": self.org.security_token,
            "client_id": self.org.client_id,
            "client_secret": self.org.client_secret,
        } | org
        output = {
            "warehouse": {"type": "duckdb", "path": "team.duckdb"},
            "org": settings,
            "memory_limit": "120MB",
        }
        self.write("profiles.yml", yaml.safe_dump({"team": {"target": "prod", "outputs": {"prod": output}}}))

    def sync(self, name: str, *, fields: Mapping[str, Any] | None = None, **keys: Any) -> None:
        """Change keys of a sync; a field or key of None is taken out."""
        spec = self._syncs[name]
        for part, changes in ((spec["fields"], fields or {}), (spec, keys)):
            for key, value in changes.items():
                if value is None:
                    part.pop(key, None)
                else:
                    part[key] = value
        self.save()

    def save(self) -> None:
        for name, spec in self._syncs.items():
            self.write(f"syncs/{name}.yml", yaml.safe_dump({"version": 1, "syncs": [{"name": name, **spec}]}))

    def sql(self, *statements: str) -> None:
        with duckdb.connect(str(self.folder / WAREHOUSE)) as connection:
            connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
            for statement in statements:
                connection.execute(statement)

    def accounts(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """rows: (id, name[, phone])."""
        self._table("accounts", ACCOUNT_COLUMNS, rows)

    def contacts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._table("contacts", CONTACT_COLUMNS, [tuple(row.get(c) for c in CONTACT_COLUMNS) for row in rows])

    def _table(self, name: str, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> None:
        with duckdb.connect(str(self.folder / WAREHOUSE)) as connection:
            make_table(connection, name, columns)
            marks = ", ".join("?" for _ in columns)
            for row in rows:
                values = [*row, *([None] * (len(columns) - len(row)))]
                connection.execute(f"INSERT INTO raw.{name} VALUES ({marks})", values)

    def options(self, select: Sequence[str] = (), **more: Any) -> Options:
        return Options(
            project_dir=self.folder,
            select=tuple(select),
            clock=self.clock,
            events=self,
            env={},
            daily_batches=self.daily_batches,
            **more,
        )

    def log(self, level: str, message: str, **fields: Any) -> None:
        self.logged.append((level, message))

    def progress(self, task: str, done: int, total: int | None, **fields: Any) -> None: ...

    def init_state(self) -> None:
        state_init_command(self.options())

    def plan(self, *select: str, allow: Sequence[str] = (), undo: str | None = None) -> Plan:
        return plan_command(self.options(select), allow=allow, undo=undo)

    def run(self, *select: str, **more: Any) -> Result:
        result = run_command(self.options(select), RunOptions(**more))
        assert all(item.closes for item in result.syncs), result.syncs
        return result

    def retry(self, *select: str) -> Result:
        return retry_command(self.options(select))

    def calls(self) -> int:
        """API calls the org itself has counted since the start of the test."""
        return sum(1 for request in self.org.requests() if request["counted"])


def make_table(connection: Any, name: str, columns: Mapping[str, str]) -> None:
    """An empty table of the warehouse, in place of one of that name."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
    shape = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    connection.execute(f"CREATE OR REPLACE TABLE raw.{name} ({shape})")


@functools.cache
def empty_warehouse() -> bytes:
    """A DuckDB file with both tables, made once: every team begins with a copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WAREHOUSE
        with duckdb.connect(str(path)) as connection:
            make_table(connection, "accounts", ACCOUNT_COLUMNS)
            make_table(connection, "contacts", CONTACT_COLUMNS)
        return path.read_bytes()


@pytest.fixture
def team(tmp_path: Path, org: Any) -> Team:
    return Team(tmp_path / "team", org)


def fill(team: Team) -> Team:
    """Two accounts and three contacts."""
    team.accounts([("A1", "Acme", "1"), ("A2", "Bolt", None)])
    team.contacts(
        [
            {"id": "C1", "last": "Ito", "first": "Ai", "email": "ai@acme.example", "account": "A1"},
            {"id": "C2", "last": "Müller", "title": "CTO", "account": "A2"},
            {"id": "C3", "last": "Okafor"},
        ]
    )
    return team


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory, running_org: Any) -> Path:
    """The folder of a team that is filled and whose state was made, once for all tests; copy its files.

    The org is reset for each test and forgets the calls of the past, so the state's account of them is emptied, too.
    """
    running_org.begin()
    team = fill(Team(tmp_path_factory.mktemp("initialised") / "team", running_org))
    team.init_state()
    with duckdb.connect(str(team.folder / STATE)) as connection:
        connection.execute("DELETE FROM ledger")
        connection.execute("DELETE FROM usage")
    return team.folder


def prepared(team: Team, initialised: Path) -> Team:
    """The team with copies of the files that `initialised` made."""
    (team.folder / STATE).parent.mkdir(mode=0o700)
    for name in (WAREHOUSE, STATE):
        shutil.copy(initialised / name, team.folder / name)
    return team


@pytest.fixture
def ready(initialised: Path, team: Team) -> Team:
    """A team with two accounts, three contacts, and an empty state."""
    return prepared(team, initialised)


def outcomes(result: Result, name: str) -> dict[str, int]:
    """Outcomes of one sync, staged rows and removed records together."""
    item = of(result, name)
    return {str(o): item.count(o) for o in Outcome if item.count(o)}


def of(result: Result, name: str) -> SyncResult:
    return next(item for item in result.syncs if item.name == name)


def planned(plan: Plan, name: str) -> SyncPlan:
    return next(item for item in plan.syncs if item.sync.name == name)
