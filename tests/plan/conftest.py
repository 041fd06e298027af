"""A compiled sync, and a DuckDB session with the tables that a diff leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfsync.compiler.manifest import Api, CompiledSync, Guards, OnGone, OnLimit, OnRemoved
from sfsync.diff.changes import Changes
from sfsync.diff.stage import RUN, run_table
from sfsync.engine.dialect import quote_ident
from sfsync.engine.duckdb import DuckDB
from sfsync.records import Column, FieldRule, Operation, Reference, Send, SourceType


def rule(name: str, **more: Any) -> FieldRule:
    column = Column(name.lower(), "VARCHAR", SourceType.TEXT)
    values = {"on_create": Send.VALUE, "on_update": Send.VALUE_OR_NULL, **more}
    return FieldRule(name, name, column, "string", **values)


ACCOUNT = Reference("Account", "Account", "Account_Id__c", polymorphic=False)
OWNER = Reference("Owner", "User", "Login__c", polymorphic=True)


def sync_of(**more: Any) -> CompiledSync:
    """Contacts with a text, a long text and two lookups."""
    sync = CompiledSync(
        name="contacts",
        object="Contact",
        object_label="Contact",
        model="m",
        path="syncs/contacts.yml",
        sql="SELECT 1",
        plain_scan=False,
        identity=(rule("Key__c"),),
        fields=(
            rule("LastName"),
            rule("Note__c"),
            rule("AccountId", reference=ACCOUNT),
            rule("OwnerId", reference=OWNER),
        ),
        timezone="UTC",
        on_removed=OnRemoved.KEEP,
        on_gone=OnGone.RECREATE,
        on_limit=OnLimit.DEFER,
        delete_adopted=False,
        clear_on_create=False,
        send_all=False,
        api=Api.AUTO,
        priority=0,
        guards=Guards(),
        results_all=False,
        retry_rejected_after_s=7 * 86_400.0,
        max_wait_s=1800.0,
        max_attempts=10,
        undo_exact=False,
        parents=(),
        siblings=(),
        tags=(),
        fingerprint="f0",
    )
    return replace(sync, **more)


def changes_of(sync: CompiledSync | None = None, **counts: int) -> Changes:
    """A diff that found nothing but these."""
    names = [name for name in Changes.__dataclass_fields__ if name not in ("sync", "aside", "missing")]
    return Changes(sync or sync_of(), **{name: counts.get(name, 0) for name in names})


class RunFile:
    """The run's file with the tables of one sync."""

    def __init__(self, db: DuckDB, sync: CompiledSync) -> None:
        self.db, self.sync = db, sync
        texts = ", ".join(f"{quote_ident(r.field)} VARCHAR" for r in sync.rules)
        for operation in (Operation.UPSERT, Operation.UPDATE):
            db.execute(
                f'CREATE OR REPLACE TABLE {self.table(operation)} (_key VARCHAR, "Id" VARCHAR, _shown VARCHAR,'
                f" _source_hash UBIGINT, _was_gone BOOLEAN, {texts})"
            )
        db.execute(
            f'CREATE OR REPLACE TABLE {self.table(Operation.DELETE)} (_key VARCHAR, "Id" VARCHAR, _shown VARCHAR,'
            " _origin VARCHAR)"
        )

    def table(self, operation: Operation) -> str:
        return run_table(operation.value, self.sync.name)

    def fill(self, operation: Operation, rows: int, **cells: str) -> None:
        """Rows k1..kn; cells: SQL by field, `i` is the number of the row."""
        texts = {r.field: "NULL" for r in self.sync.rules} | cells
        found = ", ".join(f"CAST({text} AS VARCHAR)" for text in texts.values())
        head = "'k' || i, '003000000000000' || i, 'k' || i"
        tail = ", 'created'" if operation is Operation.DELETE else f", i, FALSE, {found}"
        self.db.execute(
            f"INSERT INTO {self.table(operation)} SELECT {head}{tail} FROM range(1, {rows + 1}) AS r(i)"
        )

    def keys(self, operation: Operation) -> list[str]:
        return [key for (key,) in self.db.execute(f"SELECT _key FROM {self.table(operation)} ORDER BY rowid")]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[DuckDB]:
    db = DuckDB(temp_directory=tmp_path / "spill")
    db.attach(tmp_path / "run.duckdb", RUN)
    yield db
    db.close()
