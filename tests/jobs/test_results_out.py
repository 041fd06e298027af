"""Outcomes in a table of the warehouse: one row each, once, masked as elsewhere; what cannot be written waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sfsync.errors import WarehouseError
from sfsync.report.run_text import run_text
from tests.jobs.conftest import WAREHOUSE, Team, outcomes

ALL = {"keep": "all", "to": "warehouse"}
COLUMNS = [
    "run_id",
    "sync",
    "object",
    "key",
    "identity",
    "record_id",
    "action",
    "outcome",
    "code",
    "field",
    "message",
    "recorded_at",
]


def told(
    team: Team, what: str = "key, action, outcome, code, field", table: str = "sfsync_results.outcomes"
) -> list[Any]:
    with duckdb.connect(str(team.folder / WAREHOUSE), read_only=True) as connection:
        return connection.execute(f"SELECT {what} FROM {table} ORDER BY recorded_at, sync, key").fetchall()


def waiting(team: Team) -> list[Path]:
    return sorted((team.folder / ".sfsync" / "results").rglob("*.parquet"))


def refuse(team: Team, key: str, code: str = "FIELD_CUSTOM_VALIDATION_EXCEPTION", **more: Any) -> None:
    rule = {
        "fault": "refused_rows",
        "object": "Contact",
        "field": "Customer_Id__c",
        "values": [key],
        "code": code,
    }
    team.org.faults([rule | more])


def test_every_outcome_of_a_run_is_a_row(ready: Team) -> None:
    ready.sync(
        "contacts", results=ALL, fields={"Email": {"column": "email", "pii": True}}, on_removed="delete"
    )
    ready.sql("INSERT INTO raw.contacts (id, last) VALUES ('C4', repeat('x', 90))")
    refuse(ready, "C1", message="bad mail ai@acme.example", fields=["Email"])
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 2, "rejected": 2}
    assert told(ready) == [
        ("C1", "create", "rejected", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Email"),
        ("C2", "create", "created", None, None),
        ("C3", "create", "created", None, None),
        ("C4", "create", "rejected", "STRING_TOO_LONG", "LastName"),
    ]
    ids = ready.org.by("Contact", "Customer_Id__c")
    rows = {row[0]: row[1:] for row in told(ready, "key, record_id, run_id, sync, object, identity, message")}
    assert rows["C2"][:4] == (ids["C2"]["Id"], result.run_id, "contacts", "Contact")
    assert json.loads(rows["C1"][4]) == json.loads(rows["C2"][4]) | {"Customer_Id__c": "C1"}
    assert rows["C1"][5] == "bad mail ***", "as in target/rejected"
    with duckdb.connect(str(ready.folder / WAREHOUSE), read_only=True) as connection:
        assert [
            row[0] for row in connection.execute("DESCRIBE sfsync_results.outcomes").fetchall()
        ] == COLUMNS
    assert waiting(ready) == []

    ready.sql(
        "DELETE FROM raw.contacts WHERE id = 'C3'", "UPDATE raw.contacts SET title = 'CFO' WHERE id = 'C2'"
    )
    ready.run(allow=["contacts.max_delete_share"])
    assert told(ready)[4:] == [
        ("C2", "update", "updated", None, None),
        ("C3", "delete", "deleted", None, None),
    ], "held rows are no news"


@pytest.mark.parametrize("pii", ["masked", "clear"])
def test_a_masked_identity_stands_in_clear_where_that_is_said(ready: Team, pii: str) -> None:
    email = {"column": "email", "pii": True}
    identity = {"Customer_Id__c": {"column": "id", "pii": True}}
    ready.sync("contacts", results=ALL | {"pii": pii}, identity=identity, fields={"Email": email})
    refuse(ready, "C1", message="bad mail ai@acme.example of C1", fields=["Email"])
    ready.run()
    rows = {row[0]: row[1:] for row in told(ready, "key, identity, outcome, message")}
    assert sorted(outcome for _, outcome, _ in rows.values()) == ["created", "created", "rejected"]
    assert {message for *_, message in rows.values()} == {None, "bad mail *** of ***"}, "never in clear"
    assert all(json.loads(identity) == {"Customer_Id__c": key} for key, (identity, *_) in rows.items())
    assert (set(rows) == {"c1", "c2", "c3"}) == (pii == "clear")
    files = "".join(path.read_text() for path in (ready.folder / "target").rglob("*.csv"))
    assert "bad mail" in files
    cells = {cell.strip('"') for line in files.lower().splitlines() for cell in line.split(",")}
    assert not cells & {"c1", "c2", "c3"}


def test_a_key_of_several_fields_is_the_same_for_all_outcomes(ready: Team) -> None:
    account = {"column": "account", "lookup": "Account.Account_Id__c"}
    ready.sync(
        "contacts",
        identity={"LastName": "last", "AccountId": account},
        fields=dict.fromkeys(("LastName", "AccountId")),
        match="unknown",
        results=ALL,
    )
    ready.contacts(
        [
            {"id": "1", "last": "Ito", "account": "A1", "title": "CTO"},
            {"id": "2", "last": "Ito", "account": "A2", "email": "no mail"},
            {"id": "3", "last": "Kim", "account": "A1", "title": "bad"},
        ]
    )
    rule = {"fault": "refused_rows", "object": "Contact", "field": "Title", "values": ["bad"]}
    ready.org.faults([rule | {"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION"}])
    ready.run("accounts")
    ready.run("contacts", allow=["contacts.max_reject_share"])
    rows = {
        key: (json.loads(identity), outcome)
        for key, identity, outcome in told(ready, "key, identity, outcome")
    }
    assert rows == {
        "A1 / Ito": ({"LastName": "Ito", "AccountId": "A1"}, "created"),
        "A2 / Ito": ({"LastName": "Ito", "AccountId": "A2"}, "rejected"),
        "A1 / Kim": ({"LastName": "Kim", "AccountId": "A1"}, "rejected"),
    }


def test_only_what_did_not_go_through(ready: Team) -> None:
    ready.sync("contacts", results={"to": "warehouse", "schema": "ops", "table": "crm"})
    refuse(ready, "C1", code="UNABLE_TO_LOCK_ROW")
    ready.run()
    assert told(ready, table="ops.crm") == [("C1", "create", "failed", "UNABLE_TO_LOCK_ROW", None)]


def test_a_warehouse_that_somebody_holds_gets_them_from_the_next_run(ready: Team) -> None:
    ready.sync("contacts", results=ALL)
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(ready.folder / WAREHOUSE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        result = ready.run()
    finally:
        holder.communicate(timeout=30)
    assert outcomes(result, "contacts") == {"created": 3}
    assert result.exit_code == 1
    page = run_text(result, color=False, width=0)
    assert "the next run delivers them" in page
    assert str(holder.pid) in page, "who holds it"
    written = json.loads((ready.folder / "target" / "run_results.json").read_text())
    assert (written["exit_code"], "next run" in written["undelivered"]) == (1, True)
    (path,) = waiting(ready)
    assert path.stat().st_mode & 0o077 == 0

    assert ready.run().exit_code == 0
    assert told(ready, "key, run_id") == [(key, result.run_id) for key in ("C1", "C2", "C3")]
    assert waiting(ready) == []


def test_what_was_delivered_before_a_crash_is_not_there_twice(ready: Team) -> None:
    ready.sync("contacts", results=ALL)
    result = ready.run()
    folder = ready.folder / ".sfsync" / "results" / "prod" / "sfsync_results.outcomes"
    with duckdb.connect(str(ready.folder / WAREHOUSE)) as connection:  # as if the file had not been removed
        connection.execute(
            f"COPY (FROM sfsync_results.outcomes) TO '{folder / (result.run_id + '.contacts.parquet')}' (FORMAT parquet)"
        )
    ready.run()
    assert told(ready, "key") == [("C1",), ("C2",), ("C3",)]
    assert waiting(ready) == []


def test_a_table_of_somebody_else_is_refused_before_anything_is_sent(ready: Team) -> None:
    ready.sync("contacts", results=ALL | {"schema": "raw", "table": "accounts"})
    with pytest.raises(WarehouseError, match="no column run_id"):
        ready.run()
    assert ready.org.records("Contact") == []


def test_a_file_that_may_not_be_written_is_told_before_anything_is_sent(
    ready: Team, monkeypatch: Any
) -> None:
    import os

    ready.sync("contacts", results=ALL)
    if os.geteuid() == 0:
        monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith(WAREHOUSE))
    else:
        (ready.folder / WAREHOUSE).chmod(0o400)
    with pytest.raises(WarehouseError, match="may not be written by this user"):
        ready.run()
    assert ready.org.records("Contact") == []
