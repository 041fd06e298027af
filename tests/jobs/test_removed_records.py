"""What is kept of deleted records, and what other syncs of their object know of them, over HTTPS."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest
import yaml

from sfsync.errors import SpecError
from sfsync.jobs.state_check import state_check_command
from tests.jobs.conftest import STATE, Team, of, planned
from tests.jobs.test_recovery import crash


def asked(team: Team, query: str) -> list[Any]:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        return db.execute(query).fetchall()


def archived(team: Team) -> dict[str, dict[str, str]]:
    rows = asked(team, "SELECT key, texts FROM archive")
    assert len({key for key, _ in rows}) == len(rows)
    return {json.loads(texts)["Customer_Id__c"]: json.loads(texts) for _, texts in rows}


@pytest.mark.parametrize("api", ["collections", "bulk"])
def test_a_copy_of_what_the_org_had_is_kept_and_priced(ready: Team, api: str) -> None:
    ready.sync("contacts", on_removed={"action": "delete", "archive": True}, push={"api": api})
    ready.run()
    record = ready.org.by("Contact", "Customer_Id__c")["C2"]["Id"]
    ready.org.patch(f"/sobjects/Contact/{record}", json={"Title": "Chair"})
    ready.sql(
        "UPDATE raw.contacts SET first = 'Bo' WHERE id = 'C1'", "DELETE FROM raw.contacts WHERE id = 'C2'"
    )
    plan = ready.plan()
    assert dict(plan.api.by_way)["before-images"] == 1  # nothing is read of what is only updated
    assert of(ready.run(), "contacts").removals == {"deleted": 1}
    [(sync, object_, record_id)] = asked(ready, "SELECT sync, object, id FROM archive")
    assert (sync, object_, record_id) == ("contacts", "Contact", record)
    assert archived(ready)["C2"]["Title"] == "Chair"
    assert archived(ready)["C2"]["LastName"] == "Müller"
    assert state_check_command(ready.options()).exit_code == 0


def test_what_cannot_be_read_is_not_deleted(ready: Team) -> None:
    ready.sync("contacts", on_removed={"action": "delete", "archive": True})
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    ready.org.faults([{"fault": "status", "match": "/composite", "status": 503, "times": "always"}])
    assert of(ready.run(), "contacts").removals == {"failed": 1}
    assert len(ready.org.records("Contact")) == 3
    ready.org.faults([])
    assert of(ready.run(), "contacts").removals == {"deleted": 1}
    assert set(archived(ready)) == {"C2"}


@pytest.mark.parametrize("point", ["after intent", "after write", "before record"])
def test_a_killed_run_loses_no_copy(ready: Team, point: str) -> None:
    ready.sync("contacts", on_removed={"action": "delete", "archive": True})
    ready.run()
    ready.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    crash(ready, point)
    ready.org.until_quiet()
    ready.run()
    assert set(ready.org.by("Contact", "Customer_Id__c")) == {"C1", "C3"}
    assert archived(ready)["C2"]["LastName"] == "Müller"


def test_archive_needs_a_delete(ready: Team) -> None:
    ready.sync("contacts", on_removed={"set": {"Title": "x"}, "archive": True})
    with pytest.raises(SpecError, match="deletes nothing"):
        ready.plan()


SHARED = {"LastName": {"column": "last", "shared": True}}
OTHER = {
    "name": "others",
    "model": "dim_others",
    "object": "Contact",
    "identity": {"Customer_Id__c": "id"},
    "fields": SHARED | {"Department": "dept"},
}


@pytest.fixture
def two(ready: Team) -> Team:
    """Two syncs of one object; the second has the same three records, and adopted them."""
    ready.sync("contacts", fields=SHARED, on_removed="delete")
    ready.write("models/dim_others.sql", "select id, last, 'D' || id as dept from raw.others")
    ready.write("syncs/others.yml", yaml.safe_dump({"version": 1, "syncs": [OTHER]}))
    ready.sql("CREATE TABLE raw.others AS SELECT id, last FROM raw.contacts")
    ready.run("+contacts")
    ready.run()
    ready.run()
    assert not ready.plan().has_changes
    return ready


def test_a_delete_of_one_sync_is_known_to_the_other(two: Team) -> None:
    two.sql("DELETE FROM raw.contacts WHERE id = 'C2'", "DELETE FROM raw.others WHERE id <> 'C2'")
    two.run("contacts")
    assert asked(two, "SELECT count(*) FROM snapshot.others WHERE _gone_at IS NOT NULL") == [(1,)]
    two.sql("UPDATE raw.others SET last = 'New'")
    changes = planned(two.plan(), "others").changes
    assert (changes.updates, changes.upserts, changes.recreated) == (0, 1, 1)
    assert state_check_command(two.options()).exit_code == 0


def test_what_comes_out_of_the_bin_is_found_again(two: Team) -> None:
    two.sql("DELETE FROM raw.contacts WHERE id = 'C2'")
    record = two.org.by("Contact", "Customer_Id__c")["C2"]["Id"]
    two.run("contacts")
    two.run("contacts", undo="latest")
    changes = planned(two.plan("others"), "others").changes
    assert (changes.upserts, changes.recreated) == (1, 0)
    assert of(two.run("others"), "others").model == {"unchanged": 2, "adopted": 1}
    assert two.org.by("Contact", "Customer_Id__c")["C2"]["Id"] == record
