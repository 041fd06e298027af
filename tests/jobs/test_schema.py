"""The org's contract in git against a real local org: pulled, used, checked, and what a run does when the org moved on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sfsync.contract import Contract, from_json, to_file
from sfsync.drift import Effect
from sfsync.errors import ApiLimitError, CompileError, OrgError, ProfileError, ProjectError, SpecError
from sfsync.jobs.compile import compile_command
from sfsync.jobs.plan import plan_command
from sfsync.jobs.run import run_command
from sfsync.jobs.schema_check import SchemaCheckResult, schema_check_command
from sfsync.jobs.schema_pull import SchemaPullResult, schema_pull_command
from sfsync.jobs.session import Options, Session
from sfsync.local_org import control
from sfsync.salesforce.describe_all import calls_for, describe_many, is_writable
from tests.jobs.conftest import STATE, Team, of, outcomes

FILE = "schema/prod.json"
HIDDEN = {"fault": "rights_lost", "object": "Contact", "fields": ["Email"], "hidden": True}


def pull(team: Team, **more: Any) -> SchemaPullResult:
    return schema_pull_command(team.options(), **more)


def check(team: Team) -> SchemaCheckResult:
    return schema_check_command(team.options())


def contract(team: Team) -> Contract:
    return from_json((team.folder / FILE).read_text("utf-8"))


def rewrite(team: Team, object_: str, field: str | None = None, **values: Any) -> None:
    """Change what the file says of a field, or of an object; a field of None is taken out."""
    found = contract(team)
    item = found.object(object_)
    assert item is not None
    if field is None:
        changed = replace(item, **values)
    else:
        assert item.field(field) is not None
        fields = (replace(f, **values) if f.name == field else f for f in item.fields)
        changed = replace(item, fields=tuple(f for f in fields if values or f.name != field))
    text = to_file(found.with_objects([changed]))
    (team.folder / FILE).write_text(text, "utf-8")


def warnings(team: Team) -> list[str]:
    return [text for level, text in team.logged if level == "warning"]


# ---------------------------------------------------------------- pull


def test_a_contract_has_what_the_project_uses_and_nothing_else(ready: Team) -> None:
    before = ready.calls()
    made = pull(ready)
    assert (made.file, made.is_new, made.changed, made.calls) == (FILE, True, True, 2)
    assert ready.calls() - before == 2  # one for each object
    found = contract(ready)
    assert [o.name for o in found.objects] == ["Account", "Contact"]
    assert [f.name for f in found.objects[0].fields] == ["Account_Id__c", "Name", "Phone"]
    assert {f.name for f in found.objects[1].fields} == {
        *("Customer_Id__c", "LastName", "FirstName", "Email", "Title", "AccountId", "Birthdate"),
        *("Last_Login__c", "Lifetime_Value__c", "Is_Champion__c", "Interests__c"),
    }
    assert (found.username, found.org_id, found.scope) == (ready.org.username, ready.org.org_id, "used")
    assert "fetched_at" not in (ready.folder / FILE).read_text("utf-8")


def test_pulling_again_changes_nothing_not_even_the_file(ready: Team) -> None:
    pull(ready)
    path = ready.folder / FILE
    before = path.stat()
    ready.clock.offset = timedelta(days=3)
    made = pull(ready)
    assert not made.changed
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_field_that_a_sync_begins_to_use_is_one_line_more(ready: Team) -> None:
    pull(ready)
    before = (ready.folder / FILE).read_text("utf-8").replace("},", "}").splitlines()
    ready.sync("contacts", fields={"Department": "title", "Title": None})
    made = pull(ready)
    after = (ready.folder / FILE).read_text("utf-8").replace("},", "}").splitlines()
    assert (made.added, made.dropped, made.drifts) == (("Contact.Department",), ("Contact.Title",), ())
    assert len([line for line in after if line not in before]) == 1
    assert len([line for line in before if line not in after]) == 1


def test_all_fields_and_back(ready: Team) -> None:
    pull(ready, everything=True)
    found = contract(ready).object("Contact")
    assert found is not None
    assert len(found.fields) > 30
    assert found.field("CreatedDate") is not None
    made = pull(ready)
    assert "Contact.CreatedDate" in made.dropped
    assert contract(ready).scope == "used"


def test_all_objects_that_could_be_synced_in_few_calls(ready: Team) -> None:
    before = ready.calls()
    made = pull(ready, everything=True)
    listed = {item["name"]: item for item in ready.org.get("/sobjects").json()["sobjects"]}
    wanted = sorted(n for n, item in listed.items() if item["createable"] or item["updateable"])
    assert [item.name for item in made.contract.objects] == wanted
    assert len(wanted) > 2, "more than the project uses"
    assert ready.calls() - before - 1 == made.calls == 1 + calls_for(len(wanted))
    told = f"describing {len(wanted)} objects: 1 call"
    assert ("info", told) in ready.logged
    with_file = ready.calls()
    found = check(ready)
    assert (found.drifts, found.calls, ready.calls() - with_file) == ((), 1, 1)
    ready.plan()
    assert ready.calls() - with_file == 1, "the objects in use are known from it"


def test_all_objects_are_refused_where_the_account_does_not_allow_them(ready: Team) -> None:
    ready.profile(api_limit={"daily_calls": ready.calls() + 1})
    before = ready.calls()
    with pytest.raises(ApiLimitError):
        pull(ready, everything=True)
    assert ready.calls() - before == 1, "their list, and no describe"
    assert not (ready.folder / FILE).exists()


def test_several_calls_keep_their_order_and_an_unknown_object_is_left_out(ready: Team) -> None:
    names = ["Account", "Nothing__c", *["Contact"] * 24, "Lead"]
    done: list[int] = []
    with Session(ready.options(), "debug") as session:
        session.open_store(write=True)
        found = [item.name for item in describe_many(session.door, names, done.append)]
        assert session.ledger.calls == 2
    assert found == ["Account", *["Contact"] * 24, "Lead"]
    assert done == [25, 27]


@pytest.mark.parametrize(
    ("name", "item", "wanted"),
    [
        ("Contact", {}, True),
        ("Invoice__c", {"createable": False}, True),
        ("Market_Share__c", {}, True),
        ("Opportunity", {"createable": False, "updateable": False}, False),
        ("Opportunity", {"queryable": False}, False),
        ("Opportunity", {"deprecatedAndHidden": True}, False),
        ("ContactShare", {}, False),
        ("Invoice__Share", {}, False),
        ("ContactFeed", {}, False),
        ("Odd", {"associateEntityType": "History", "associateParentEntity": "Contact"}, False),
        ("MarketShare", {}, True),
        *((f"Thing{end}", {}, False) for end in ("__e", "__b", "__x", "__mdt")),
    ],
)
def test_which_objects_could_be_synced(name: str, item: dict[str, Any], wanted: bool) -> None:
    line = {"queryable": True, "createable": True, "updateable": True, "deprecatedAndHidden": False, **item}
    assert is_writable(name, line, {"Contact", "Invoice__c", name}) is wanted


def test_a_parent_alone_has_its_key(ready: Team) -> None:
    (ready.folder / "syncs/accounts.yml").unlink()
    pull(ready)
    found = contract(ready).object("Account")
    assert found is not None
    assert [f.name for f in found.fields] == ["Account_Id__c"]


def test_what_the_user_does_not_see_is_told(ready: Team) -> None:
    ready.org.faults([HIDDEN])
    made = pull(ready)
    assert [str(d) for d in made.lacking] == ["Contact.Email: gone from the org, or hidden from this user"]


def test_a_pull_says_how_the_org_changed(ready: Team) -> None:
    pull(ready)
    rewrite(ready, "Contact", "Title", length=200)
    made = pull(ready)
    assert [str(d) for d in made.drifts] == ["Contact.Title: narrowed from 200 to 128 characters"]
    assert contract(ready).objects[1].field("Title").length == 128  # type: ignore[union-attr]


def test_a_file_that_cannot_be_read_is_made_anew(ready: Team) -> None:
    ready.write(FILE, "<<<<<<< HEAD\n")
    made = pull(ready)
    assert made.is_new
    assert warnings(ready) == [f"{FILE}:1:1: not JSON: Expecting value; the file is made anew"]
    assert compile_command(ready.options()).manifest.syncs


def test_a_pull_needs_no_state_and_makes_none(team: Team) -> None:
    made = pull(team)
    assert made.calls == 2
    assert not (team.folder / STATE).exists()


def test_a_profile_may_name_the_file(ready: Team) -> None:
    ready.profile(schema="crm/acme.json")
    assert pull(ready).file == "crm/acme.json"
    assert (ready.folder / "crm/acme.json").is_file()
    assert compile_command(ready.options()).manifest.syncs


def test_a_local_org_made_from_the_file_is_no_contract_of_itself(ready: Team) -> None:
    ready.write(
        "profiles.yml",
        "team: {target: prod, outputs: {prod: {warehouse: {type: duckdb, path: team.duckdb},"
        " org: {type: local, schema: schema/prod.json}}}}\n",
    )
    with pytest.raises(ProfileError, match=r"made from .*schema/prod\.json, where its contract would be"):
        pull(ready)


def test_a_local_org_can_be_made_like_ones_own(ready: Team, tmp_path: Path) -> None:
    """What was pulled with --all is a whole schema: the project runs against a local org that has it, and pulls it back."""
    pull(ready, everything=True)
    rewrite(ready, "Contact", "Title", length=7)
    text = (ready.folder / "profiles.yml").read_text("utf-8")
    local = "    dev: {warehouse: {type: duckdb, path: team.duckdb}, org: {type: local, schema: schema/prod.json}}\n"
    ready.write("profiles.yml", text.replace("  outputs:\n", f"  outputs:\n{local}"))
    options = replace(ready.options(), target="dev")
    try:
        result = run_command(options)
        assert outcomes(result, "contacts") == {"created": 3}
        made = schema_pull_command(options)
        assert made.file == "schema/dev.json"
        contact = from_json((ready.folder / made.file).read_text("utf-8")).object("Contact")
        assert contact is not None
        assert contact.field("Title") == contract(ready).object("Contact").field("Title")  # type: ignore[union-attr]
    finally:
        control.stop(ready.folder / ".sfsync" / "org")


# ---------------------------------------------------------------- compile and plan


def test_compile_and_plan_ask_nobody(team: Team) -> None:
    """Before anything was sent and with no describe in the state: the file is all there is."""
    pull(team)
    team.accounts([("A1", "Acme", "1")])
    before = team.calls()
    made = compile_command(team.options())
    assert (made.manifest.unchecked, made.contract) == ((), FILE)
    assert not (team.folder / STATE).exists()
    team.init_state()
    asked = team.calls()
    assert team.plan().syncs
    assert team.calls() == asked
    assert asked - before == 2  # state init


def test_the_file_decides_and_not_what_is_cached(ready: Team) -> None:
    pull(ready)
    rewrite(ready, "Contact", "Title")
    with pytest.raises(CompileError) as found:
        ready.plan()
    assert found.value.what == "schema/prod.json has no field 'Title' of Contact"
    assert str(found.value.fix).endswith("; if the org has it: sfsync schema pull")
    rewrite(ready, "Contact", "LastName", label="Surname")
    ready.sync("contacts", fields={"Title": None})
    compiled = {s.name: s for s in compile_command(ready.options()).manifest.syncs}
    assert [r.label for r in compiled["contacts"].fields if r.field == "LastName"] == ["Surname"]


def test_an_object_that_is_not_in_the_file(ready: Team) -> None:
    pull(ready)
    ready.sync("contacts", object="Lead", identity={"Lead_Id__c": "id"})
    with pytest.raises(CompileError, match=r"schema/prod\.json has no object 'Lead'"):
        compile_command(ready.options())


def test_another_file_compiles_anew(ready: Team) -> None:
    pull(ready)
    ready.plan()
    kept = (ready.folder / ".sfsync/compiled/targets/prod.json").read_bytes()
    ready.plan()
    assert (ready.folder / ".sfsync/compiled/targets/prod.json").read_bytes() == kept
    rewrite(ready, "Contact", "Title", length=5)
    ready.plan()
    assert (ready.folder / ".sfsync/compiled/targets/prod.json").read_bytes() != kept


def test_a_missing_right_in_the_file_stops_the_sync(ready: Team) -> None:
    pull(ready)
    rewrite(ready, "Contact", deletable=False)
    assert compile_command(ready.options()).manifest.syncs
    ready.sync("contacts", on_removed="delete")
    before = ready.calls()
    with pytest.raises(CompileError, match="may not delete records of 'Contact'"):
        ready.run()
    # the org says otherwise, and the file counts: it is committed
    assert ready.org.writes() == []
    assert ready.calls() - before <= 2


def test_the_version_of_the_file_is_spoken(ready: Team) -> None:
    pull(ready)
    text = (ready.folder / FILE).read_text("utf-8").replace('"api_version": "67.0"', '"api_version": "61.0"')
    ready.write(FILE, text)
    before = len(ready.org.requests())
    ready.run()
    paths = [r["path"] for r in ready.org.requests()[before:] if r["path"].startswith("/services/data/v")]
    assert {path.split("/")[3] for path in paths} == {"v61.0"}
    assert pull(ready).changed  # a newer version is taken up where it is reviewed
    assert contract(ready).api_version == "67.0"


# ---------------------------------------------------------------- check


def test_an_org_that_is_as_the_contract_says(ready: Team) -> None:
    pull(ready)
    found = check(ready)
    assert (found.drifts, found.notes, found.calls) == ((), (), 2)


def test_check_finds_what_breaks_and_what_does_not(ready: Team) -> None:
    pull(ready)
    rewrite(ready, "Contact", "Title", length=200)
    rewrite(ready, "Account", "Phone", label="Telephone")
    rewrite(ready, "Contact", record_types=2)
    ready.org.faults([HIDDEN, {"fault": "rights_lost", "object": "Contact", "rights": ["delete"]}])
    found = check(ready)
    assert {(str(d), d.effect) for d in found.drifts} == {
        ('Account.Phone: label "Telephone" -> "Phone"', Effect.NONE),
        ("Contact: this user may not delete records any more", Effect.NONE),  # nothing is deleted
        ("Contact: has no record types any more", Effect.NONE),
        ("Contact.Email: gone from the org, or hidden from this user", Effect.STOPS),
        ("Contact.Title: narrowed from 200 to 128 characters", Effect.ROWS),
    }
    assert {d.syncs for d in found.breaking} == {("contacts",)}


def test_check_without_a_contract(ready: Team) -> None:
    with pytest.raises(ProjectError, match="there is no contract") as found:
        check(ready)
    assert found.value.fix == "sfsync schema pull writes it"


def test_check_of_another_org_and_user_says_so(ready: Team) -> None:
    pull(ready)
    text = (ready.folder / FILE).read_text("utf-8")
    ready.write(FILE, text.replace(ready.org.username, "ann@acme.com"))
    assert check(ready).notes == (
        f"the rights in the contract are those of ann@acme.com, and this is {ready.org.username}",
    )


# ---------------------------------------------------------------- run


def test_a_run_with_a_fresh_describe_asks_nobody_about_fields(ready: Team) -> None:
    pull(ready)
    ready.run()
    described = [r for r in ready.org.requests() if r["path"].endswith("/describe")]
    assert len(described) == 2  # the pull's


def test_a_run_stops_before_anything_is_sent_where_a_sync_cannot_run(ready: Team) -> None:
    pull(ready)
    ready.org.faults([HIDDEN])
    ready.clock.offset = timedelta(hours=25)
    with pytest.raises(CompileError) as found:
        ready.run()
    assert str(found.value) == (
        "schema/prod.json: the org is not as the contract says: Contact.Email: gone from the org, or hidden from this"
        " user (used by contacts)"
    )
    assert "sfsync schema check" in str(found.value.fix)
    assert ready.org.writes() == []


def test_a_run_warns_where_only_rows_are_troubled(ready: Team) -> None:
    pull(ready)
    rewrite(ready, "Contact", "Title", length=200)
    result = ready.run()
    assert outcomes(result, "contacts") == {"created": 3}
    assert warnings(ready) == [
        "schema/prod.json: the org is not as the contract says: Contact.Title: narrowed from 200 to 128 characters"
    ]


def test_a_cached_answer_older_than_the_file_troubles_nobody(ready: Team) -> None:
    """The file was pulled elsewhere after an admin widened a field; the state here still remembers the old one."""
    pull(ready)
    import duckdb

    with duckdb.connect(str(ready.folder / STATE)) as state:
        [[body]] = state.execute("SELECT body FROM contract WHERE object = 'Contact'").fetchall()
        old = json.loads(body)
        old["objects"]["Contact"]["fields"]["Title"]["length"] = 40
        del old["objects"]["Contact"]["fields"]["Email"]
        state.execute("UPDATE contract SET body = ? WHERE object = 'Contact'", [json.dumps(old)])
    before = ready.calls()
    result = ready.run()
    assert of(result, "contacts").closes
    assert warnings(ready) == []
    assert len([r for r in ready.org.requests() if r["path"].endswith("/describe")]) == 4  # asked again, once
    assert ready.calls() > before


def test_what_no_sync_uses_troubles_no_run(ready: Team) -> None:
    pull(ready, everything=True)
    rewrite(ready, "Contact", "Department", length=200)
    rewrite(ready, "Contact", "Fax", type="string")
    ready.run()
    assert warnings(ready) == []


# ---------------------------------------------------------------- files that are broken


def test_a_broken_file_is_named_with_the_way_out(ready: Team) -> None:
    pull(ready)
    path: Path = ready.folder / FILE
    path.write_text("{\n<<<<<<< HEAD\n", "utf-8")
    for command in (compile_command, lambda o: ready.plan(), lambda o: ready.run()):
        with pytest.raises(SpecError) as found:
            command(ready.options())
        assert str(found.value).startswith(f"{FILE}:2:1: not JSON: ")
        assert str(found.value.fix).endswith("make the file anew: sfsync schema pull")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="not UTF-8"):
        compile_command(ready.options())


# ---------------------------------------------------------------- offline


def offline(team: Team) -> Options:
    return replace(team.options(), offline=True)


def test_plan_offline_with_a_contract_needs_nothing_of_the_org(team: Team) -> None:
    pull(team)
    team.init_state()
    team.accounts([("A1", "Acme", "1")])
    import duckdb

    with duckdb.connect(str(team.folder / STATE)) as state:
        state.execute("DELETE FROM contract")
    before = len(team.org.requests())
    plan = plan_command(offline(team))
    assert [item.sync.name for item in plan.syncs] == ["accounts", "contacts"]
    assert plan.api.planning_calls == 0
    assert len(team.org.requests()) == before  # not even an uncounted one


def test_plan_offline_with_a_cached_describe(ready: Team) -> None:
    before = len(ready.org.requests())
    ready.clock.offset = timedelta(days=30)  # as old as it may be
    assert plan_command(offline(ready)).syncs
    assert len(ready.org.requests()) == before


def test_plan_offline_is_the_plan(ready: Team) -> None:
    pull(ready)
    ready.run("accounts")
    there, here = ready.plan(), plan_command(offline(ready))
    assert [(s.sync.name, s.batches, s.samples) for s in there.syncs] == [
        (s.sync.name, s.batches, s.samples) for s in here.syncs
    ]
    assert there.api.calls == here.api.calls > 0


def test_plan_offline_with_nothing_says_how_to_go_on(ready: Team) -> None:
    import duckdb

    with duckdb.connect(str(ready.folder / STATE)) as state:
        state.execute("DELETE FROM contract WHERE object = 'Contact'")
    with pytest.raises(OrgError) as found:
        plan_command(offline(ready))
    assert str(found.value) == (
        "nothing is known of Contact: schema/prod.json is not there, and no describe of it is cached"
    )
    assert str(found.value.fix).startswith("sfsync schema pull writes the contract")
    assert found.value.exit_code == 2


def test_plan_offline_of_settings_that_are_new_says_what_it_cannot_see(ready: Team) -> None:
    pull(ready)
    ready.profile(domain="https://elsewhere.my.salesforce.invalid")
    assert plan_command(offline(ready)).syncs
    assert warnings(ready) == ["the connection is new to the state, and --offline cannot see whose org it is"]


def test_nothing_offline_opens_a_way_to_the_org(ready: Team) -> None:
    for command in (schema_pull_command, schema_check_command):
        ready.write(FILE, '{"objects": {}}')
        with pytest.raises(OrgError, match="--offline forbids"):
            command(offline(ready))
