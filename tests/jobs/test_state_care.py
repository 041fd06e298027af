"""`state mv`, `rekey` and `forget`: what they change, what the next plan makes of it, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from sfsync.errors import RefusedError, StateError, StateLockedError
from sfsync.jobs.state_check import state_check_command
from sfsync.jobs.state_forget import StateForgetResult, state_forget_command
from sfsync.jobs.state_mv import StateMvResult, state_mv_command
from sfsync.jobs.state_rekey import StateRekeyResult, state_rekey_command
from sfsync.ports import SystemClock
from sfsync.state.lock import StateLock
from tests.jobs.conftest import STATE, Team, outcomes, planned
from tests.jobs.test_recovery import crash


def mv(team: Team, old: str, new: str) -> StateMvResult:
    return state_mv_command(team.options(), old, new)


def forget(team: Team, sync: str, *keys: str, **more: Any) -> StateForgetResult:
    return state_forget_command(team.options(), sync, keys, **more)


def rekey(team: Team, sync: str) -> StateRekeyResult:
    return state_rekey_command(team.options(), sync)


def state(team: Team, sql: str) -> list[Any]:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        return db.execute(sql).fetchall()


def everything(team: Team) -> dict[str, list[Any]]:
    """All that the state holds but for what a sign-in leaves there."""
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        tables = db.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {
            table: sorted(map(repr, db.execute(f'SELECT * FROM {schema}."{table}"').fetchall()))
            for schema, table in tables
            if table not in ("ledger", "usage")
        }


def sound(team: Team) -> None:
    assert state_check_command(team.options()).faults == ()


def rename(team: Team, new: str) -> None:
    path = team.folder / "syncs" / "contacts.yml"
    path.write_text(path.read_text().replace("name: contacts", f"name: {new}"))


@pytest.fixture
def ran(ready: Team) -> Team:
    """Two accounts and three contacts in the org; one more contact that sfsync refuses."""
    ready.sql("INSERT INTO raw.contacts (id, last, email) VALUES ('C4', 'Bad', 'no mail')")
    ready.run()
    return ready


# ------------------------------------------------------------ mv


def test_a_renamed_sync_keeps_what_is_known(ran: Team) -> None:
    done = mv(ran, "contacts", "people")
    assert (done.records, done.tombstones, done.refused) == (3, 0, 1)
    assert len(done.next_steps) == 1
    assert "'contacts' is still in the project" in done.next_steps[0]
    rename(ran, "people")
    plan = ran.plan()
    assert not plan.has_changes
    assert planned(plan, "people").changes.held == 1, "the refused row came along"
    writes = len(ran.org.writes())
    assert outcomes(ran.run(), "people") == {"unchanged": 3, "held": 1}
    assert len(ran.org.writes()) == writes
    assert {row[0] for row in state(ran, "SELECT DISTINCT sync FROM run_syncs")} >= {"contacts", "people"}
    sound(ran)


def test_after_the_rename_nothing_is_left_to_do(ran: Team) -> None:
    rename(ran, "people")
    assert mv(ran, "contacts", "people").next_steps == ()
    assert mv(ran, "people", "humans").next_steps == (
        "'people' is still in the project: its next plan would treat every record as new. Rename it to 'humans'",
    )
    assert mv(ran, "humans", "contacts").next_steps == (
        "'contacts' is not in the project yet: give the sync this name",
    )


def test_mv_refuses_what_it_cannot_do(ran: Team) -> None:
    before = everything(ran)
    for old, new, kind, words in (
        ("nobody", "people", StateError, "has nothing of a sync 'nobody'"),
        ("contact", "people", StateError, "has nothing of a sync 'contact'"),
        ("contacts", "contacts", StateError, "cannot be the new name"),
        ("contacts", "Bad Name", StateError, "cannot be the new name"),
        ("contacts", "accounts", RefusedError, "'accounts' of the project writes Account"),
    ):
        with pytest.raises(kind, match=words) as caught:
            mv(ran, old, new)
        assert caught.value.fix
        if old == "contact":
            assert caught.value.fix == "did you mean 'contacts'?"
    rename(ran, "people")
    ran.run()
    with pytest.raises(RefusedError, match="already has 3 records and 1 refused row of a sync 'people'"):
        mv(ran, "contacts", "people")
    assert before["contacts"] == everything(ran)["contacts"]


# ------------------------------------------------------------ forget


def test_a_forgotten_sync_is_new_to_the_next_plan(ran: Team) -> None:
    done = forget(ran, "contacts")
    assert (done.whole, done.records, done.refused) == (True, 3, 1)
    assert "every row of the model as new" in done.then
    assert planned(ran.plan(), "contacts").changes.upserts == 3
    assert outcomes(ran.run(), "contacts") == {"adopted": 3, "rejected": 1}
    sound(ran)


def test_single_records_are_forgotten_by_key_or_id(ran: Team) -> None:
    ids = dict(state(ran, "SELECT _key, _id FROM snapshot.contacts"))
    assert forget(ran, "contacts", "C1", ids["c2"], "C4").records == 2
    assert [key for (key,) in state(ran, "SELECT _key FROM snapshot.contacts")] == ["c3"]
    assert state(ran, "SELECT * FROM rejected") == []
    assert outcomes(ran.run(), "contacts") == {"adopted": 2, "unchanged": 1, "rejected": 1}
    sound(ran)


def test_one_key_that_is_not_there_stops_all_of_them(ran: Team) -> None:
    before = everything(ran)
    with pytest.raises(StateError, match="no record or refused row with key 'C9'; nothing was dropped"):
        forget(ran, "contacts", "C1", "C9")
    assert everything(ran) == before


def test_a_masked_key_is_forgotten_by_what_reports_show(ran: Team) -> None:
    ran.sync("contacts", identity={"Customer_Id__c": {"column": "id", "pii": True}})
    ran.sql("UPDATE raw.contacts SET title = 'x' WHERE id = 'C1'")
    ran.plan()
    ran.run()
    [[secret]] = state(ran, "SELECT value FROM meta WHERE name = 'secret'")
    [[shown]] = state(ran, f"SELECT md5('{secret}' || 'c1')")
    assert forget(ran, "contacts", shown).records == 1
    assert {key for (key,) in state(ran, "SELECT _key FROM snapshot.contacts")} == {"c2", "c3"}


def test_records_known_to_be_gone_are_forgotten(ran: Team) -> None:
    ran.sync("contacts", on_gone="skip")
    ran.org.delete(f"/sobjects/Contact/{ran.org.by('Contact', 'Customer_Id__c')['C2']['Id']}")
    ran.sql("UPDATE raw.contacts SET title = 'x'")
    ran.run()
    assert outcomes(ran.run(), "contacts") == {"unchanged": 2, "held": 1, "gone": 1}
    assert forget(ran, "contacts", gone=True).tombstones == 1
    assert outcomes(ran.run(), "contacts") == {"unchanged": 2, "held": 1, "created": 1}


def test_a_sync_that_is_away_can_be_forgotten(ran: Team) -> None:
    (ran.folder / "syncs" / "contacts.yml").unlink()
    assert "not in the project" in forget(ran, "contacts").then
    with pytest.raises(StateError, match="has nothing of a sync 'contacts'"):
        forget(ran, "contacts")
    sound(ran)


# ------------------------------------------------------------ rekey


@pytest.fixture
def two_keys(tmp_path: Path) -> Any:
    """A team in an org of its own whose contacts have a second external id, mapped as a field."""
    import json

    from sfsync.local_org import control
    from tests.conftest import OrgForTests
    from tests.jobs.conftest import fill

    schema = Path(__file__).parents[2] / "sfsync" / "local_org" / "schema.json"
    contract = json.loads(schema.read_text("utf-8"))
    fields = contract["objects"]["Contact"]["fields"]
    fields["Crm_Id__c"] = {**fields["Customer_Id__c"], "label": "CRM Id"}
    (tmp_path / "schema.json").write_text(json.dumps(contract), "utf-8")
    folder = tmp_path / "org"
    org = OrgForTests(control.start(folder, schema=tmp_path / "schema.json", idle_minutes=10), folder)
    org.begin()
    team = fill(Team(tmp_path / "team", org))
    team.write("models/dim_contacts.sql", "select *, 'Crm-' || id as crm from raw.contacts")
    team.sync("contacts", fields={"Crm_Id__c": "crm"})
    team.init_state()
    team.run()
    yield team
    control.stop(folder)


def by_crm(team: Team) -> None:
    team.sync("contacts", identity={"Crm_Id__c": "crm"}, fields={"Crm_Id__c": None, "Customer_Id__c": "id"})


def test_a_changed_identity_is_rekeyed_and_nothing_is_sent(two_keys: Team) -> None:
    by_crm(two_keys)
    assert planned(two_keys.plan(), "contacts").refusals, "without it the plan refuses"
    done = rekey(two_keys, "contacts")
    assert (done.changed, done.identity, done.records) == (True, ("Crm_Id__c",), 3)
    assert sorted(state(two_keys, "SELECT _key, _origin FROM snapshot.contacts")) == [
        ("crm-c1", "created"),
        ("crm-c2", "created"),
        ("crm-c3", "created"),
    ]
    writes = len(two_keys.org.writes())
    assert not two_keys.plan().has_changes
    assert outcomes(two_keys.run(), "contacts") == {"unchanged": 3}
    assert len(two_keys.org.writes()) == writes
    assert rekey(two_keys, "contacts").changed is False
    sound(two_keys)


def test_texts_that_are_missing_or_double_are_refused_with_samples(two_keys: Team) -> None:
    with duckdb.connect(str(two_keys.folder / STATE)) as db:
        db.execute("UPDATE snapshot.contacts SET \"Crm_Id__c\" = '' WHERE _key = 'c1'")
        db.execute("UPDATE snapshot.contacts SET \"Crm_Id__c\" = NULL WHERE _key = 'c3'")
    by_crm(two_keys)
    before = everything(two_keys)
    with pytest.raises(
        RefusedError, match="2 of 3 records have no text of Crm_Id__c in the snapshot"
    ) as caught:
        rekey(two_keys, "contacts")
    assert " c1'" in caught.value.what
    assert "state rebuild contacts" in (caught.value.fix or "")
    with duckdb.connect(str(two_keys.folder / STATE)) as db:
        db.execute("UPDATE snapshot.contacts SET \"Crm_Id__c\" = CASE _key WHEN 'c2' THEN 'a' ELSE 'A' END")
    with pytest.raises(RefusedError, match="3 of 3 records would share a key with another"):
        rekey(two_keys, "contacts")
    with duckdb.connect(str(two_keys.folder / STATE)) as db:
        db.execute('ALTER TABLE snapshot.contacts DROP COLUMN "Crm_Id__c"')
    with pytest.raises(RefusedError, match="has no texts of Crm_Id__c"):
        rekey(two_keys, "contacts")
    assert before["snapshots"] == everything(two_keys)["snapshots"]


@pytest.mark.parametrize("policy", ["skip", "recreate"])
def test_what_is_gone_has_no_new_key(two_keys: Team, policy: str) -> None:
    two_keys.sync("contacts", on_gone=policy)
    two_keys.org.delete(f"/sobjects/Contact/{two_keys.org.by('Contact', 'Customer_Id__c')['C2']['Id']}")
    two_keys.sql("UPDATE raw.contacts SET title = 'x' WHERE id = 'C2'")
    two_keys.run()
    by_crm(two_keys)
    if policy == "skip":
        with pytest.raises(RefusedError, match="keeps 1 record known to be gone") as caught:
            rekey(two_keys, "contacts")
        assert "state forget contacts --gone" in (caught.value.fix or "")
        assert forget(two_keys, "contacts", gone=True).tombstones == 1
    done = rekey(two_keys, "contacts")
    assert (done.records, done.tombstones) == (2, 0 if policy == "skip" else 1)
    assert outcomes(two_keys.run(), "contacts") == {"unchanged": 2, "created": 1}


def test_the_ids_of_another_object_are_no_use(ran: Team) -> None:
    ran.sync("accounts", object="Lead", identity={"Account_Id__c": None, "Lead_Id__c": "id"})
    ran.write(
        "syncs/accounts.yml",
        "version: 1\nsyncs:\n- {name: accounts, model: dim_accounts, object: Lead, identity: {Lead_Id__c: id},"
        " fields: {LastName: name, Company: name}}\n",
    )
    (ran.folder / "syncs" / "contacts.yml").unlink()
    with pytest.raises(RefusedError, match="is of Account, and the sync now writes Lead") as caught:
        rekey(ran, "accounts")
    assert "state forget accounts" in (caught.value.fix or "")


# ------------------------------------------------------------ all of them


COMMANDS = {
    "mv": lambda t: mv(t, "contacts", "people"),
    "forget": lambda t: forget(t, "contacts"),
    "forget keys": lambda t: forget(t, "contacts", "C1"),
    "forget gone": lambda t: forget(t, "contacts", gone=True),
    "rekey": lambda t: rekey(t, "contacts"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_open_request_comes_first(ready: Team, name: str) -> None:
    ready.sync("contacts", push={"api": "collections"})
    ready.run()
    ready.sql("UPDATE raw.contacts SET title = 'x', email = id || '@acme.example'")
    crash(ready, "after write")
    before = everything(ready)
    if name == "rekey":
        ready.sync("contacts", identity={"Customer_Id__c": "id"})
        with duckdb.connect(str(ready.folder / STATE)) as db:
            db.execute("UPDATE snapshots SET identity = '[\"Email\"]' WHERE sync = 'contacts'")
        before = everything(ready)
    with pytest.raises(RefusedError, match="has no answer yet") as caught:
        COMMANDS[name](ready)
    assert "`sfsync run` first" in (caught.value.fix or "")
    assert everything(ready) == before
    assert mv(ready, "accounts", "firms").records == 2, "other syncs are free"


def test_what_nobody_will_ask_for_is_forgotten_on_purpose(ready: Team) -> None:
    ready.sync("contacts", push={"api": "collections"})
    ready.run()
    ready.sql("UPDATE raw.contacts SET title = 'x'")
    crash(ready, "after write")
    assert forget(ready, "contacts", unanswered=True).records == 3
    assert not any("had no answer" in warning for warning in ready.plan().warnings)
    result = ready.run()
    assert (result.recovered, outcomes(result, "contacts")) == ((), {"adopted": 3})


@pytest.mark.parametrize("name", COMMANDS)
def test_each_of_them_takes_the_lease(ran: Team, name: str) -> None:
    lock = StateLock(ran.folder / STATE, SystemClock())
    lock.acquire("run")
    try:
        with pytest.raises(StateLockedError, match="held by `sfsync run`"):
            COMMANDS[name](ran)
    finally:
        lock.release()
