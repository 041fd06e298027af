"""A run is killed with SIGKILL somewhere between its first intent and its last record; the next one mends it.

What is special about some points and rows; test_crash_matrix.py goes through all ways, operations and points.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from sfsync.local_org import control
from sfsync.report.run_text import run_text
from tests.conftest import OrgForTests
from tests.jobs.conftest import STATE, WAREHOUSE, Team, fill, outcomes
from tests.support import doomed

ROOT = Path(__file__).parents[2]


def crash(team: Team, point: str) -> None:
    """A run in a process of its own that dies there."""
    code = doomed.end(doomed.start(doomed.Order(team.folder, point=point)))
    assert code == -9, f"{point}: the run ended with {code}"


def left_open(team: Team) -> int:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        row = db.execute("SELECT count(*) FROM intents").fetchone()
    assert row is not None
    return int(row[0])


def contacts(team: Team) -> dict[str, Any]:
    """What the org holds, by key; a key that stands twice fails."""
    found = team.org.records("Contact")
    held = {record["Customer_Id__c"]: record for record in found if record.get("Customer_Id__c")}
    assert len(held) == len(found), "a record twice, or one without a key"
    return held


WAYS = {
    # way: (push.api, rows)
    "composite": ("collections", 450),
    "multipart": ("bulk", 300),
}


def prepare(team: Team, way: str, operation: str) -> None:
    """Accounts, and the contacts that are to be changed or deleted step by step."""
    api, rows = WAYS[way]
    guards = dict.fromkeys(("max_deletes", "max_delete_share", "max_change_share")) | {"min_rows": 0}
    team.sync("contacts", push={"api": api}, on_removed="delete", guards=guards)
    team.contacts([])
    if operation != "create":
        add(team, rows, "old")
    team.run()


def add(team: Team, rows: int, name: str) -> None:
    team.sql(
        f"INSERT INTO raw.contacts (id, last, title, account) SELECT '{name}-' || i, repeat('Last ', 15), 'first',"
        f" CASE WHEN i % 3 > 0 THEN 'A1' END FROM range({rows}) AS r(i)"
    )


def change(team: Team, way: str, operation: str, step: int) -> None:
    """What the next run has to send: as many rows as the way is for."""
    rows = WAYS[way][1]
    if operation == "create":
        add(team, rows, f"new{step}")
    elif operation == "update":
        team.sql(f"UPDATE raw.contacts SET title = 'step {step}'")
    else:
        team.sql(
            "DELETE FROM raw.contacts WHERE id IN"
            f" (SELECT id FROM raw.contacts ORDER BY length(id), id LIMIT {rows})"
        )


def model(team: Team) -> dict[str, Any]:
    with duckdb.connect(str(team.folder / "team.duckdb"), read_only=True) as db:
        return dict(db.execute("SELECT id, title FROM raw.contacts").fetchall())


def snapshot(team: Team) -> dict[str, tuple[str, str]]:
    """(title, who made the record) by key, as the state has it."""
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        rows = db.execute('SELECT _key, "Title", _origin FROM snapshot.contacts').fetchall()
    return {key: (title, origin) for key, title, origin in rows}


@pytest.mark.parametrize("way", ["composite", "multipart"])
def test_a_value_that_went_back_meanwhile_ends_where_it_was(ready: Team, way: str) -> None:
    prepare(ready, way, "update")
    for point in ("after intent", "before record"):
        change(ready, way, "update", 1)
        crash(ready, point)
        ready.sql("UPDATE raw.contacts SET title = 'first'")
        ready.run()
        assert {record["Title"] for record in contacts(ready).values()} == {"first"}, point
    assert not ready.plan().has_changes


def test_what_was_left_open_is_told_and_another_machine_mends_it(ready: Team) -> None:
    prepare(ready, "multipart", "update")
    ready.sync("contacts", results={"keep": "all", "to": "warehouse"})
    change(ready, "multipart", "update", 1)
    crash(ready, "after poll")
    assert [w for w in ready.plan().warnings if "1 request of earlier runs had no answer" in w]
    private = (ready.folder / STATE).parent
    for path in private.iterdir():
        if path.is_dir():
            shutil.rmtree(path)  # only the state came along
    result = ready.run()
    (found,) = result.recovered
    assert (found.sync, found.operation, found.rows, dict(found.counts)) == (
        "contacts",
        "update",
        300,
        {"updated": 300},
    )
    text = run_text(result, color=False, width=0)
    assert "Recovered: contacts, 300 rows to update of run" in text
    assert "(300 updated)" in text
    written = json.loads((ready.folder / "target" / "run_results.json").read_text())
    assert written["recovered"][0]["job_id"] == found.job_id
    assert outcomes(result, "contacts") == {"unchanged": 300}
    told = in_warehouse(ready)
    assert told == {(result.run_id, "contacts", key, "update", "updated") for key in contacts(ready)}


def test_what_was_found_of_a_sync_that_is_not_selected_is_in_the_warehouse_too(ready: Team) -> None:
    ready.sync("contacts", results={"keep": "all", "to": "warehouse"})
    ready.run("accounts")
    crash(ready, "before record")
    result = ready.run("accounts")
    assert [dict(found.counts) for found in result.recovered] == [{"adopted": 3}]
    assert in_warehouse(ready) == {
        (result.run_id, "contacts", key, "create", "adopted") for key in ("C1", "C2", "C3")
    }


def in_warehouse(team: Team) -> set[tuple[Any, ...]]:
    """What the table of outcomes tells, each row once."""
    with duckdb.connect(str(team.folder / WAREHOUSE), read_only=True) as db:
        rows = db.execute("SELECT run_id, sync, key, action, outcome FROM sfsync_results.outcomes").fetchall()
    assert len(set(rows)) == len(rows)
    return set(rows)


def test_rows_the_org_refused_in_a_job_that_nobody_read_are_held(ready: Team) -> None:
    ready.sync("contacts", fields={"ReportsToId": {"column": "title"}, "Title": None}, push={"api": "bulk"})
    ready.sql("UPDATE raw.contacts SET title = if(id = 'C3', '003000000000009AAA', NULL)")
    ready.run("accounts")
    crash(ready, "after poll")
    result = ready.run()
    assert [dict(item.counts) for item in result.recovered] == [{"created": 2, "rejected": 1}]
    assert result.exit_code == 1, "no run has told of it before"
    assert outcomes(result, "contacts") == {"unchanged": 2, "held": 1}


@pytest.fixture
def numbered(tmp_path: Path) -> Iterator[Team]:
    """A team in an org of its own, whose contacts have a number as their external id."""
    contract = json.loads((ROOT / "sfsync" / "local_org" / "schema.json").read_text("utf-8"))
    key = {"label": "Number", "type": "double", "precision": 9, "external_id": True, "unique": True}
    contract["objects"]["Contact"]["fields"]["Number__c"] = key
    (tmp_path / "schema.json").write_text(json.dumps(contract), "utf-8")
    folder = tmp_path / "org"
    org = OrgForTests(control.start(folder, schema=tmp_path / "schema.json", idle_minutes=10), folder)
    org.begin()
    team = fill(Team(tmp_path / "team", org))
    team.sync("contacts", identity={"Number__c": "number"}, on_removed="delete")
    team.write(
        "models/dim_contacts.sql", "select *, cast(substr(id, 2) as double) as number from raw.contacts"
    )
    team.init_state()
    yield team
    control.stop(folder)


@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_numbers_as_keys_are_sent_again_and_nothing_is_deleted(numbered: Team, api: str) -> None:
    """The org writes 1 as 1.0: a key that is not one of ours must never get into the snapshot."""
    numbered.sync("contacts", push={"api": api})
    numbered.run("accounts")
    crash(numbered, "after write" if api == "collections" else "after create")
    assert left_open(numbered) == 1
    for _ in range(3):  # adopted, what was left blank cleared, nothing to do
        result = numbered.run()
        assert result.exit_code == 0, result
        held = {record["Id"]: float(record["Number__c"]) for record in numbered.org.records("Contact")}
        assert sorted(held.values()) == [1, 2, 3]
        assert snapshot(numbered).keys() == {"1", "2", "3"}
    assert outcomes(result, "contacts") == {"unchanged": 3}


def test_rows_that_came_back_after_their_delete_are_made_again(ready: Team) -> None:
    prepare(ready, "composite", "delete")
    before = model(ready)
    change(ready, "composite", "delete", 0)
    crash(ready, "after write")
    ready.sql("DELETE FROM raw.contacts")
    ready.sql(
        *(
            f"INSERT INTO raw.contacts (id, last, title) VALUES ('{key}', 'Last', '{title}')"
            for key, title in list(before.items())[:20]
        )
    )
    ready.sync("contacts", on_removed="keep")
    for _ in range(3):
        ready.run()
    assert {key for key, _ in list(before.items())[:20]} <= set(contacts(ready))
    assert not ready.plan().has_changes


def test_a_first_load_that_was_killed_is_not_stopped_by_the_default_guards(ready: Team) -> None:
    ready.sync("contacts", push={"api": "collections"})
    ready.contacts([])
    add(ready, 1200, "k")
    ready.run("accounts")
    crash(ready, "after write")
    result = ready.run()
    assert result.exit_code == 0, result
    assert len(contacts(ready)) == 1200
    made = Counter(made for _, made in snapshot(ready).values())
    assert made == {"created": 200, "adopted": 1000}, "who made a record only the answer tells"


def test_what_another_sync_made_is_not_taken_for_ours(ready: Team) -> None:
    """Both sign in as one user, so neither user nor time of the creation tells whose a record is."""
    spec = yaml.safe_load((ready.folder / "syncs" / "contacts.yml").read_text("utf-8"))["syncs"][0]
    other = spec | {"name": "others", "fields": {"LastName": "last", "Fax": "title"}, "on_removed": "delete"}
    other["push"] = spec["push"] = {"api": "collections"}
    other["fields"]["LastName"] = spec["fields"]["LastName"] = {"column": "last", "shared": True}
    ready.write("syncs/contacts.yml", yaml.safe_dump({"version": 1, "syncs": [spec]}))
    ready.write(
        "models/others.sql",
        "select * from raw.contacts where id <> 'C3' or not (select gone from raw.switch)",
    )
    ready.sql("CREATE TABLE raw.switch AS SELECT false AS gone")
    ready.write("syncs/others.yml", yaml.safe_dump({"version": 1, "syncs": [other | {"model": "others"}]}))
    ready.run("accounts")
    ready.org.faults([{"match": "/composite/sobjects", "fault": "lost_before_commit", "times": 9}])
    assert outcomes(ready.run("others"), "others") == {"in_doubt": 3}
    ready.org.faults([])
    assert outcomes(ready.run("contacts"), "contacts").get("created", 3) == 3
    ready.run()
    ready.sql("UPDATE raw.switch SET gone = true")
    result = ready.run("others")
    assert "deleted" not in outcomes(result, "others")
    assert set(contacts(ready)) == {"C1", "C2", "C3"}


def test_an_intent_of_a_sync_that_is_away_waits_for_it(ready: Team) -> None:
    prepare(ready, "composite", "update")
    change(ready, "composite", "update", 1)
    crash(ready, "after write")
    spec = (ready.folder / "syncs" / "contacts.yml").read_text()
    (ready.folder / "syncs" / "contacts.yml").unlink()
    assert ready.run().recovered == ()
    assert left_open(ready) == 1
    ready.write("syncs/contacts.yml", spec)
    ready.sql("UPDATE raw.contacts SET title = 'first'")
    assert len(ready.run().recovered) == 1
    assert {record["Title"] for record in contacts(ready).values()} == {"first"}


def test_what_the_org_refuses_to_tell_stops_nothing(ready: Team) -> None:
    ready.run("accounts")
    crash(ready, "after write")
    body = '[{"message":"no","errorCode":"INSUFFICIENT_ACCESS"}]'
    ready.org.faults([{"fault": "status", "match": "POST /composite", "status": 403, "body": body}])
    result = ready.run()
    assert [item.counts for item in result.recovered] == [{}]
    assert set(contacts(ready)) == {"C1", "C2", "C3"}
    assert left_open(ready) == 0
