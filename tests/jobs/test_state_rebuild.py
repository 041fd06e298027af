"""A snapshot made from the org says what the model says: for every type of field, and for nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from sfsync.contract import Contract, Field, SObject, from_json
from sfsync.errors import RefusedError, StateError
from sfsync.jobs.state_forget import state_forget_command
from sfsync.jobs.state_rebuild import StateRebuildResult, state_rebuild_command
from tests.jobs.conftest import STATE, Team, outcomes, planned

ROOT = Path(__file__).parents[2]
SCHEMA: Contract = from_json((ROOT / "sfsync" / "local_org" / "schema.json").read_text("utf-8"))
KEYS = {
    "Account": "Account_Id__c",
    "Contact": "Customer_Id__c",
    "Opportunity": "Opportunity_Id__c",
    "Lead": "Lead_Id__c",
    "Case": "Case_Id__c",
    "Subscription__c": "Subscription_Id__c",
}

# Of each type: how a full row, an odd one and a plain one say it; the last row is blank.
VALUES: dict[str, tuple[str, str, str]] = {
    "string": ("'  Zoë \"Q\" \\ 日本 '", "'a' || chr(13) || chr(10) || 'b'", "'#N/A'"),
    "textarea": ("'line' || chr(10) || 'line;, '", "'é'", "'x'"),
    "phone": ("'+49 30 1'", "'0'", "'1'"),
    "url": ("'https://a.example/?q=1&r=2'", "'a.example'", "'b'"),
    "email": ("'AI@acme.example'", "' b@c.example '", "'d@e.example'"),
    "boolean": ("'yes'", "'0'", "'true'"),
    "int": ("12", "-3", "0"),
    "double": ("1.5", "-0.25", "10"),
    "currency": ("12345678901234.56", "0.10", "-7"),
    "percent": ("12.5", "100", "0"),
    "date": ("DATE '2024-02-29'", "DATE '1999-12-31'", "DATE '2026-07-01'"),
    "datetime": (
        "TIMESTAMP '2026-01-31 10:11:12.987'",
        "TIMESTAMP '1999-12-31 23:59:59'",
        "TIMESTAMP '2030-01-01'",
    ),
    "time": ("TIME '10:11:12.345'", "TIME '00:00:00'", "TIME '23:59:59.999'"),
    "multipicklist": ("2", "3", "1"),  # how many of its values, last one first
    "picklist": ("0", "1", "0"),  # which of its values
}
NOT_WRITTEN = {"id", "address"}


def writable(item: SObject) -> list[Field]:
    return [
        field
        for field in item.fields
        if field.createable
        and field.updateable
        and field.name != KEYS[item.name]
        and field.type not in NOT_WRITTEN
    ]


def cell(field: Field, row: int, user: str) -> str:
    """SQL of one field of row 0 to 3; the last has nulls wherever the org allows one."""
    if field.type == "reference":
        if "User" in field.reference_to:
            return f"'{user}'"
        return "NULL" if row == 3 else f"'K{row % 2}'"
    filled = field.defaulted_on_create or field.default_value is not None or field.name == "Probability"
    if row == 3 and field.nillable and not filled:  # else the org puts something in its place
        return "NULL"
    value = VALUES[field.type][min(row, 2)]
    if field.type == "multipicklist":
        return "'" + "; ".join(reversed(field.picklist[: int(value)])) + "'"
    if field.type == "picklist":
        return "'" + field.picklist[int(value)].replace("'", "''") + "'"
    if field.type in ("double", "currency", "percent"):
        scale = field.scale
        return f"round({value} % {10 ** min(field.precision - scale, 14)}, {scale})"
    return value


def mapping(item: SObject) -> dict[str, Any]:
    """Every writable field; parents by the external id of those objects that have one."""
    fields: dict[str, Any] = {}
    for field in writable(item):
        if field.type == "reference" and field.reference_to[0] == item.name:
            continue  # a parent of its own kind would have to be there before
        if field.type == "reference" and "User" not in field.reference_to:
            parent = field.reference_to[0]
            fields[field.name] = {
                "column": field.name.lower(),
                "lookup": f"{parent}.{KEYS[parent]}",
                "on_missing": "reject",
            }
        else:
            fields[field.name] = field.name.lower()
    return fields


@pytest.fixture
def everything(tmp_path: Path, org: Any) -> Team:
    """A sync of each object with every field that can be written, all of it in the org."""
    team = Team(tmp_path / "team", org)
    user = org.get("/query?q=SELECT+Id+FROM+User+LIMIT+1").json()["records"][0]["Id"]
    for path in (team.folder / "syncs").iterdir():
        path.unlink()
    syncs, statements = [], []
    for name, key in KEYS.items():
        item = SCHEMA.object(name)
        assert item is not None
        rows = []
        for row in range(4):
            cells = [
                f"'K{row}' AS id",
                *(f"{cell(f, row, user)} AS {f.name.lower()}" for f in writable(item)),
            ]
            rows.append("SELECT " + ", ".join(cells))
        statements.append(f"CREATE TABLE raw.{name} AS {' UNION ALL '.join(rows)}")
        team.write(f"models/all_{name.lower()}.sql", f"select * from raw.{name}")
        syncs.append(
            {
                "name": f"all_{name.lower()}",
                "model": f"all_{name.lower()}",
                "object": name,
                "identity": {key: "id"},
                "fields": mapping(item),
            }
        )
    team.sql(*statements)
    team.write("syncs/all.yml", yaml.safe_dump({"version": 1, "syncs": syncs}))
    team.init_state()
    result = team.run()
    assert result.exit_code == 0, [(s.name, s.counts, s.message) for s in result.syncs]
    assert not team.plan().has_changes
    return team


def snapshot(team: Team, sync: str) -> dict[str, dict[str, str]]:
    """Texts by key, without what only tells who wrote them."""
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        found = db.execute(f'SELECT * EXCLUDE (_source_hash, _run_id, _at, _origin) FROM snapshot."{sync}"')
        names = [column[0] for column in found.description or ()]
        return {row[0]: dict(zip(names, row, strict=True)) for row in found.fetchall()}


def rebuild(team: Team, sync: str, *, yes: bool = True) -> StateRebuildResult:
    return state_rebuild_command(team.options(), sync, yes=yes)


def test_the_types_are_all_that_the_local_org_has() -> None:
    used = {
        f.type
        for name in KEYS
        for f in writable(SCHEMA.object(name))
        if f.name in mapping(SCHEMA.object(name))
    }  # type: ignore[arg-type, union-attr]
    assert {f.type for item in SCHEMA.objects for f in item.fields} - NOT_WRITTEN == used


def test_every_type_of_field_comes_back_as_the_text_that_was_sent(everything: Team) -> None:
    before = {name: snapshot(everything, f"all_{name.lower()}") for name in KEYS}
    for name in KEYS:
        sync = f"all_{name.lower()}"
        state_forget_command(everything.options(), sync)
        made = rebuild(everything, sync)
        assert (made.done, made.records, made.created, made.gone) == (True, 4, 0, 0)
        assert snapshot(everything, sync) == before[name], name
    plan = everything.plan()
    assert not plan.has_changes
    assert all(planned(plan, f"all_{name.lower()}").changes.unchanged == 4 for name in KEYS)
    writes = len(everything.org.writes())
    assert everything.run().exit_code == 0
    assert len(everything.org.writes()) == writes


def test_numbers_keep_all_their_digits(ready: Team) -> None:
    """A currency of 16 digits is more than a float holds."""
    ready.sql("UPDATE raw.contacts SET worth = 12345678901234.56 WHERE id = 'C1'")
    ready.run()
    state_forget_command(ready.options(), "contacts")
    rebuild(ready, "contacts")
    assert snapshot(ready, "contacts")["c1"]["Lifetime_Value__c"] == "12345678901234.56"
    assert not ready.plan().has_changes


def test_without_yes_only_the_price_is_told(ready: Team) -> None:
    ready.run()
    before, calls = snapshot(ready, "contacts"), ready.calls()
    told = rebuild(ready, "contacts", yes=False)
    assert (told.done, told.price.records, told.price.calls, told.price.spent, told.before) == (
        False,
        3,
        1,
        2,
        3,
    )
    assert ready.calls() == calls + 2, "the calls it tells of"
    assert snapshot(ready, "contacts") == before


def test_pages_are_priced_and_read_one_by_one(ready: Team) -> None:
    ready.sync("contacts", push={"api": "bulk"})
    ready.contacts([])
    ready.sql(
        "INSERT INTO raw.contacts (id, last, account) SELECT 'k' || i, 'Last ' || i, 'A1' FROM range(4100) AS r(i)"
    )
    ready.run()
    state_forget_command(ready.options(), "contacts")
    calls = ready.calls()
    made = rebuild(ready, "contacts")
    assert (made.price.calls, made.calls, made.records) == (3, 5, 4100)
    assert ready.calls() == calls + 5
    assert outcomes(ready.run(), "contacts") == {"unchanged": 4100}


def test_what_the_model_changed_since_is_all_that_is_sent(ready: Team) -> None:
    ready.run()
    state_forget_command(ready.options(), "contacts")
    rebuild(ready, "contacts")
    ready.sql(
        "UPDATE raw.contacts SET title = 'CFO' WHERE id = 'C1'",
        "UPDATE raw.contacts SET title = NULL WHERE id = 'C2'",
    )
    result = ready.run()
    assert outcomes(result, "contacts") == {"updated": 2, "unchanged": 1}
    held = ready.org.by("Contact", "Customer_Id__c")
    assert held["C1"]["Title"] == "CFO"
    assert "Title" not in held["C2"]


def test_records_without_an_identity_are_left_out_and_counted(ready: Team) -> None:
    ready.run()
    for last in ("Nobody", "Nemo"):
        assert ready.org.post("/sobjects/Contact", json={"LastName": last}).ok
    state_forget_command(ready.options(), "contacts")
    made = rebuild(ready, "contacts")
    assert (made.records, made.price.without) == (3, 2)
    assert not ready.plan().has_changes


def test_what_is_known_of_who_made_a_record_stays_known(ready: Team) -> None:
    ready.sync("contacts", on_removed="delete", guards={"max_delete_share": None})
    assert ready.org.post("/sobjects/Contact", json={"LastName": "Ito", "Customer_Id__c": "C1"}).ok
    ready.run()
    made = rebuild(ready, "contacts")
    assert (made.records, made.created) == (3, 2)
    ready.contacts([{"id": "C3", "last": "Okafor"}])
    ready.run()
    assert set(ready.org.by("Contact", "Customer_Id__c")) == {"C1", "C3"}, "only what sfsync made is deleted"


@pytest.mark.parametrize(
    ("policy", "again"), [("skip", {"gone": 1, "unchanged": 2}), ("recreate", {"created": 1, "unchanged": 2})]
)
def test_records_that_left_the_org_are_known_to_be_gone(
    ready: Team, policy: str, again: dict[str, int]
) -> None:
    ready.sync("contacts", on_gone=policy)
    ready.run()
    ready.org.delete(f"/sobjects/Contact/{ready.org.by('Contact', 'Customer_Id__c')['C2']['Id']}")
    made = rebuild(ready, "contacts")
    assert (made.records, made.gone) == (2, 1)
    assert outcomes(ready.run(), "contacts") == again


def test_a_parent_without_its_external_id_is_not_taken_for_none(ready: Team) -> None:
    """The lookup is set, but to whom cannot be told: what the model says is sent."""
    ready.run()
    other = ready.org.post("/sobjects/Account", json={"Name": "Other"}).json()["id"]
    contact = ready.org.by("Contact", "Customer_Id__c")["C3"]["Id"]
    assert ready.org.patch(f"/sobjects/Contact/{contact}", json={"AccountId": other}).ok
    rebuild(ready, "contacts")
    assert snapshot(ready, "contacts")["c3"]["AccountId"] is None
    ready.run()
    assert "AccountId" not in ready.org.by("Contact", "Customer_Id__c")["C3"]


@pytest.fixture
def doubled(tmp_path: Path) -> Any:
    """A team in an org of its own whose external id is not unique."""
    from sfsync.local_org import control
    from tests.conftest import OrgForTests
    from tests.jobs.conftest import fill

    contract = json.loads((ROOT / "sfsync" / "local_org" / "schema.json").read_text("utf-8"))
    del contract["objects"]["Contact"]["fields"]["Customer_Id__c"]["unique"]
    (tmp_path / "schema.json").write_text(json.dumps(contract), "utf-8")
    folder = tmp_path / "org"
    org = OrgForTests(control.start(folder, schema=tmp_path / "schema.json", idle_minutes=10), folder)
    org.begin()
    team = fill(Team(tmp_path / "team", org))
    team.init_state()
    yield team
    control.stop(folder)


def test_keys_that_stand_twice_in_the_org_are_refused(doubled: Team) -> None:
    doubled.run()
    before = snapshot(doubled, "contacts")
    for key in ("C1", "c1", "C2"):
        assert doubled.org.post("/sobjects/Contact", json={"LastName": "Copy", "Customer_Id__c": key}).ok
    with pytest.raises(
        RefusedError, match="2 keys stand on more than one Contact in the org \\('c1', 'c2'\\)"
    ) as caught:
        rebuild(doubled, "contacts")
    assert "unique" in (caught.value.fix or "")
    assert snapshot(doubled, "contacts") == before
    doubled.sync("contacts", identity={"Customer_Id__c": {"column": "id", "pii": True}})
    with pytest.raises(RefusedError) as caught:
        rebuild(doubled, "contacts")
    assert "'c1'" not in caught.value.what


def test_a_sync_that_is_not_in_the_project_is_refused(ready: Team) -> None:
    with pytest.raises(StateError, match="there is no sync 'nobody' in the project") as caught:
        rebuild(ready, "nobody")
    assert caught.value.fix == "its syncs are accounts, contacts"


def test_a_rebuild_over_the_budget_is_refused_before_it_reads(ready: Team) -> None:
    ready.run()
    ready.profile(api_limit={"daily_calls": len([r for r in ready.org.requests() if r["counted"]]) + 4})
    told = rebuild(ready, "contacts", yes=False)
    assert told.allowed is not None
    ready.profile(api_limit={"daily_calls": 1})
    with pytest.raises(Exception, match="API limit") as caught:
        rebuild(ready, "contacts")
    assert getattr(caught.value, "fix", None)
