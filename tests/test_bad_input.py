"""Every kind of bad input, one row each: what people read, the class, the exit code, and that nothing was sent.

Each row begins from a sound project whose rows wait to be created, with an empty state bound to the org, and breaks
one thing. The command is then given twice: as text, compared with tests/golden/bad_input/<name>.txt, and with JSON
log lines, which name the class and the place. After both, the org has seen no write and the state holds what it held.

`UPDATE_GOLDEN=1 pytest tests/test_bad_input.py` writes the texts anew; git diff reviews them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from click.testing import CliRunner

from sfsync.cli.main import cli
from sfsync.local_org.certificate import ensure
from tests.jobs.conftest import STATE, WAREHOUSE, Team

GOLDEN = Path(__file__).parent / "golden" / "bad_input"


@dataclass(frozen=True)
class Case:
    """One thing that is wrong. error: the class named by the JSON log, None for wrong usage."""

    name: str
    error: str | None
    change: Callable[[Team], Any]
    code: int = 2
    argv: tuple[str, ...] = ("run",)
    env: Mapping[str, str] = field(default_factory=dict)
    state: str | None = "empty"  # empty: bound to the org; ran: after a first run; None: there is no state


def nothing(team: Team) -> None: ...


def project(more: str, base: str = "name: team\nversion: '1'\nprofile: team\n") -> Callable[[Team], Any]:
    return lambda team: team.write("sfsync_project.yml", base + more)


def model(sql: str) -> Callable[[Team], Any]:
    return lambda team: team.write("models/dim_contacts.sql", sql)


def profile(**org: Any) -> Callable[[Team], Any]:
    return lambda team: team.profile(**org)


def in_profiles(old: str, new: str) -> Callable[[Team], Any]:
    def change(team: Team) -> None:
        text = (team.folder / "profiles.yml").read_text("utf-8")
        assert old in text
        team.write("profiles.yml", text.replace(old, new, 1))

    return change


def sync(**keys: Any) -> Callable[[Team], Any]:
    return lambda team: team.sync("contacts", **keys)


def fields(**mapping: Any) -> Callable[[Team], Any]:
    return lambda team: team.sync("contacts", fields=mapping)


def seed(csv: str, yml: str = "", sql: str = "select * from {{ ref('vips') }}") -> Callable[[Team], Any]:
    def change(team: Team) -> None:
        team.write("seeds/vips.csv", csv)
        if yml:
            team.write("seeds/vips.yml", yml)
        team.write("models/dim_accounts.sql", sql)

    return change


def second_sync(text: str) -> Callable[[Team], Any]:
    return lambda team: team.write("syncs/more.yml", "version: 1\nsyncs:\n" + text)


def only(team: Team, **settings: Any) -> None:
    """A profile whose org has these keys and no others but type and ca_file."""
    path = team.folder / "profiles.yml"
    body = yaml.safe_load(path.read_text("utf-8"))
    output = body["team"]["outputs"]["prod"]
    output["org"] = {"type": "salesforce", "ca_file": str(team.org.ca_file), **settings}
    path.write_text(yaml.safe_dump(body), "utf-8")


def client_credentials_at_login(team: Team) -> None:
    only(team, auth="client_credentials", domain="login", client_id="x", client_secret="long secret")


def postgres(team: Team) -> None:
    """A warehouse that nobody listens at."""
    path = team.folder / "profiles.yml"
    body = yaml.safe_load(path.read_text("utf-8"))
    body["team"]["outputs"]["prod"]["warehouse"] = {
        "type": "postgres",
        "host": "127.0.0.1",
        "port": 9,
        "dbname": "acme",
        "user": "etl",
        "password": "hunter2!",
    }
    path.write_text(yaml.safe_dump(body), "utf-8")


def token(team: Team) -> None:
    """A session signed in elsewhere that the org does not know."""
    only(team, auth="access_token", instance_url=team.org.url, access_token="00Dxx0000000001!nobody")


def other_certificate(team: Team) -> None:
    certificate, _ = ensure(team.folder)
    team.profile(ca_file=str(certificate))


def state_sql(*statements: str) -> Callable[[Team], Any]:
    def change(team: Team) -> None:
        with duckdb.connect(str(team.folder / STATE)) as connection:
            for statement in statements:
                connection.execute(statement)

    return change


def foreign_file(team: Team) -> None:
    (team.folder / STATE).unlink()
    with duckdb.connect(str(team.folder / STATE)) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")


def damaged(team: Team) -> None:
    path = team.folder / STATE
    body = bytearray(path.read_bytes())
    body[4096 : len(body) // 2] = b"\xff" * (len(body) // 2 - 4096)
    path.write_bytes(bytes(body))


def described(team: Team, object_: str, field: str, **flags: Any) -> None:
    """Change what the state knows of a field."""
    with duckdb.connect(str(team.folder / STATE)) as connection:
        [[text]] = connection.execute("SELECT body FROM contract WHERE object = ?", [object_]).fetchall()
        body = json.loads(text)
        body["objects"][object_]["fields"].setdefault(field, {}).update(flags)
        connection.execute("UPDATE contract SET body = ? WHERE object = ?", [json.dumps(body), object_])


def account_of_accounts(team: Team) -> None:
    """A parent that is chosen once and for all."""
    described(team, "Account", "ParentId", updateable=False)
    team.sync("accounts", fields={"ParentId": {"column": "phone", "lookup": "Account.Account_Id__c"}})


def required_account(team: Team) -> None:
    """An org in which no contact is without an account."""
    described(team, "Contact", "AccountId", nillable=False)
    team.sync(
        "contacts",
        fields={"AccountId": {"column": "account", "lookup": "Account.Name", "on_missing": "null"}},
    )


def contact_of_an_account(team: Team) -> None:
    """An org in which an account looks up its first contact once and for all, as contacts their account, and syncs that say so."""
    described(team, "Contact", "AccountId", updateable=False)
    described(
        *(team, "Account", "First__c"), label="First", type="reference", length=18, reference_to=["Contact"],
        relationship_name="First__r", updateable=False,
    )  # fmt: skip
    team.sync("accounts", fields={"First__c": {"column": "phone", "lookup": "Contact.Customer_Id__c"}})


CYCLE = """  - name: bosses
    model: dim_contacts
    object: Account
    identity: {Account_Id__c: id}
    fields: {Name: last}
"""

PROJECT = [
    Case("project_missing", "SpecError", lambda t: (t.folder / "sfsync_project.yml").unlink()),
    Case("project_unknown_key", "SpecError", project("model_paths: [models]\n")),
    Case("project_later_key", "SpecError", project("on-run-end: []\n")),
    Case("project_wrong_type", "SpecError", project("", "name: team\nversion: 1\nprofile: team\n")),
    Case("project_duplicate_key", "SpecError", project("profile: other\n")),
    Case("project_bad_indentation", "SpecError", project("vars:\n  a: 1\n c: 2\n")),
    Case(
        "project_not_utf8",
        "SpecError",
        lambda t: (t.folder / "sfsync_project.yml").write_bytes(
            b"name: team\nversion: '1'\nprofile: t\xe9am\n"
        ),
    ),
    Case("project_tab", "SpecError", project("vars:\n\ta: 1\n")),
    Case("project_no_zone", "SpecError", project("timezone: Europe/Berlln\n")),
    Case("project_empty", "SpecError", project("", "")),
]

PROFILES = [
    Case("profiles_missing", "ProfileError", lambda t: (t.folder / "profiles.yml").unlink()),
    Case("profile_unknown", "ProfileError", project("", "name: team\nversion: '1'\nprofile: taem\n")),
    Case("target_unknown", "ProfileError", nothing, argv=("run", "--target", "prd")),
    Case("profile_env_var", "ProfileError", profile(password="{{ env_var('SF_TEAM_PASSWORD') }}")),
    Case("profile_unknown_key", "ProfileError", profile(clientid="x")),
    Case("profile_auth_unknown", "ProfileError", profile(auth="saml")),
    Case(
        "profile_jwt_without_a_key",
        "ProfileError",
        profile(auth="jwt", password=None, security_token=None, client_secret=None),
    ),
    Case(
        "profile_state_later",
        "ProfileError",
        in_profiles("      org:\n", "      state: {in: warehouse}\n      org:\n"),
    ),
    Case("profile_plain_http", "ProfileError", profile(domain="http://acme.my.salesforce.com")),
    Case("profile_api_version", "ProfileError", profile(api_version="latest")),
    Case(
        "profile_keys_of_another_auth",
        "ProfileError",
        in_profiles("auth: password", "auth: client_credentials"),
    ),
    Case("profile_shared_host", "ProfileError", client_credentials_at_login),
    Case("profile_ca_file_missing", "OrgError", profile(ca_file="certs/none.pem")),
    Case("profile_warehouse_type", "ProfileError", in_profiles("type: duckdb", "type: snowflake")),
]

MODELS = [
    Case("model_syntax", "CompileError", model("select id,\n  last frm raw.contacts where (a = 1")),
    Case("model_two_statements", "CompileError", model("select * from raw.contacts;\nselect 1")),
    Case("model_delete", "CompileError", model("delete from raw.contacts")),
    Case("model_empty", "CompileError", model("-- nothing yet\n")),
    Case("model_unknown_table", "CompileError", model("select *\nfrom raw.contcats")),
    Case("model_unknown_column", "CompileError", model("select id,\n  lastt as last\nfrom raw.contacts")),
    Case("model_unknown_ref", "CompileError", model("select *\nfrom {{ ref('dim_acounts') }}")),
    Case("model_unknown_source", "CompileError", model("select * from {{ source('raw', 'contacts') }}")),
    Case("model_cycle", "CompileError", model("select * from {{ ref('dim_contacts') }}")),
    Case("model_unknown_macro", "CompileError", model("select {{ clean('id') }} from raw.contacts")),
    Case(
        "model_unknown_var",
        "CompileError",
        model("select * from raw.contacts where id > '{{ var('since') }}'"),
    ),
    Case("model_env_var", "CompileError", model("select '{{ env_var('TEAM_REGION') }}' as id")),
    Case("model_jinja_syntax", "CompileError", model("select *\nfrom {{ ref('dim_accounts' }}")),
    Case("model_twice", "SpecError", lambda t: t.write("models/more/dim_contacts.sql", "select 1 as id")),
]

VIPS = "id,name,phone\nA1,Acme,1\n"
SEEDS = [
    Case("seed_ragged", "ProjectError", seed(VIPS + "A2,Bolt\nA3,Cog,3,4\n")),
    Case(
        "seed_cell",
        "ProjectError",
        seed(
            VIPS + "A2,Bolt,n/a\n", "version: 2\nseeds:\n  - name: vips\n    column_types: {phone: integer}\n"
        ),
    ),
    Case(
        "seed_type",
        "ProjectError",
        seed(VIPS, "version: 2\nseeds:\n  - name: vips\n    column_types: {phone: number_of_some_kind}\n"),
    ),
    Case(
        "seed_unknown_column",
        "SpecError",
        seed(VIPS, "version: 2\nseeds:\n  - name: vips\n    column_types: {fone: integer}\n"),
    ),
    Case(
        "seed_unknown",
        "SpecError",
        seed(VIPS, "version: 2\nseeds:\n  - name: vipps\n    column_types: {phone: integer}\n"),
    ),
    Case("seed_double_header", "SpecError", seed("id,name,name\nA1,Acme,1\n")),
]

SYNCS = [
    Case("results_word", "SpecError", sync(results="some")),
    Case("results_nowhere", "SpecError", sync(results={"schema": "ops"})),
    Case("results_to", "SpecError", sync(results={"to": "s3"})),
    Case("sync_verify_too_many", "SpecError", sync(verify=100_000)),
    Case("results_pii_nowhere", "SpecError", sync(results={"pii": "clear"})),
    Case("results_table", "SpecError", sync(results={"to": "warehouse", "table": "a b"})),
    Case(
        "results_foreign_table",
        "WarehouseError",
        sync(results={"to": "warehouse", "schema": "raw", "table": "accounts"}),
    ),
    Case("push_bulk_cannot", "CompileError", sync(push={"api": "bulk", "all_or_none": True})),
    Case("push_no_assignment_rules", "CompileError", sync(push={"assignment_rule": True})),
    Case("push_rule_no_id", "CompileError", sync(push={"assignment_rule": "our rule"})),
    Case("push_order_by_unknown", "CompileError", sync(push={"order_by": ["worht"]})),
    Case("push_together_unknown", "CompileError", sync(push={"send_together": [["LastName", "Emial"]]})),
    Case("push_together_one", "CompileError", sync(push={"send_together": [["LastName"]]})),
    Case(
        "push_together_twice",
        "CompileError",
        sync(push={"send_together": [["LastName", "Email"], ["Title", "Email"]]}),
    ),
    Case("sync_unknown_key", "SpecError", sync(on_removd="delete")),
    Case("sync_unknown_model", "SpecError", sync(model="dim_contact")),
    Case("sync_unknown_object", "CompileError", sync(object="Contcat")),
    Case("sync_unknown_field", "CompileError", fields(Titel="title")),
    Case(
        "sync_field_without_column",
        "SpecError",
        second_sync(
            "  - name: more\n    model: dim_accounts\n    object: Account\n    identity: {Account_Id__c: id}\n"
            "    fields: {Name: , Phone: 7, Fax: [phone]}\n"
        ),
    ),
    Case("sync_unknown_column", "CompileError", fields(Title="titel")),
    Case("sync_value_and_column", "SpecError", fields(Title={"column": "title", "value": "CEO"})),
    Case(
        "sync_value_of_a_lookup",
        "SpecError",
        fields(AccountId={"value": "A1", "lookup": "Account.Account_Id__c"}),
    ),
    Case("sync_value_too_long", "CompileError", fields(Title={"value": "x" * 129})),
    Case("sync_value_no_date", "CompileError", fields(Birthdate={"value": "31.1.2026"})),
    Case("sync_read_only_field", "CompileError", fields(CreatedDate="seen")),
    Case("sync_compound_address", "CompileError", fields(MailingAddress="title")),
    Case("sync_compound_name", "CompileError", fields(Name="first")),
    Case("sync_required_missing", "CompileError", fields(LastName=None)),
    Case("sync_identity_not_external", "CompileError", sync(identity={"Department": "id"})),
    Case("sync_identity_none", "SpecError", sync(identity={})),
    Case("sync_identity_id_creates", "CompileError", sync(identity={"Id": "id"}, match="unknown")),
    Case(
        "sync_mode_update_never_matched",
        "CompileError",
        sync(mode="update", match="never"),
    ),
    Case(
        "sync_against_a_default",
        "SpecError",
        project("syncs: {match: never, mode: delete}\n"),
    ),
    Case("sync_mode_delete_with_fields", "SpecError", sync(mode="delete")),
    Case("sync_mode_create_on_removed", "SpecError", sync(mode="create", on_removed="delete")),
    Case(
        "sync_lookup_by_id",
        "CompileError",
        fields(AccountId={"column": "account", "lookup": "Account.Id"}),
    ),
    Case(
        "sync_on_missing_unknown",
        "SpecError",
        fields(AccountId={"column": "account", "lookup": "Account.Name", "on_missing": "skip"}),
    ),
    Case(
        "sync_lookup_required_and_skipped",
        "CompileError",
        required_account,
    ),
    Case(
        "sync_lookup_wrong_object",
        "CompileError",
        fields(AccountId={"column": "account", "lookup": "Lead.Lead_Id__c"}),
    ),
    Case("sync_two_write_one_field", "CompileError", second_sync(CYCLE)),
    Case("sync_lookup_cycle", "CompileError", contact_of_an_account),
    Case("sync_lookup_self", "CompileError", account_of_accounts),
    Case(
        "sync_lookup_unknown_object",
        "CompileError",
        fields(AccountId={"column": "account", "lookup": "Acount.Account_Id__c"}),
    ),
    Case("sync_same_name", "SpecError", second_sync(CYCLE.replace("bosses", "contacts"))),
    Case(
        "sync_column_type",
        "CompileError",
        lambda t: (
            t.write("models/dim_contacts.sql", "select *, {'a': 1} as doc from raw.contacts"),
            t.sync("contacts", fields={"Title": "doc"}),
        ),
    ),
    Case("sync_type_does_not_fit", "CompileError", fields(Birthdate="worth")),
    Case("sync_mode_unknown", "SpecError", sync(mode="replace")),
    Case("sync_allow_cascade", "SpecError", sync(on_removed="delete", allow_cascade=[1])),
    Case("sync_allow_cascade_word", "SpecError", sync(allow_cascade="my contacts")),
    Case("sync_mirror_keeps", "SpecError", sync(mode="mirror", on_removed="keep")),
    Case("sync_write_later", "CompileError", fields(Title={"column": "title", "write": "if_blank"})),
    Case(
        "sync_hard_delete_all_or_none",
        "SpecError",
        sync(on_removed="hard_delete", push={"all_or_none": True}),
    ),
    Case(
        "sync_hard_delete_collections",
        "SpecError",
        sync(on_removed="hard_delete", push={"api": "collections"}),
    ),
    Case("sync_on_removed_after", "SpecError", sync(on_removed={"action": "delete", "after": "3 days"})),
    Case("sync_on_removed_shared", "SpecError", sync(on_removed={"action": "delete", "shared": True})),
    Case("sync_on_removed_unknown", "SpecError", sync(on_removed="remove")),
    Case(
        "sync_on_removed_both", "SpecError", sync(on_removed={"action": "delete", "set": {"Title": "Left"}})
    ),
    Case("sync_on_removed_value", "CompileError", sync(on_removed={"set": {"Is_Champion__c": "no"}})),
    Case("sync_guard_share", "SpecError", sync(guards={"max_delete_share": 5})),
    Case("sync_where", "CompileError", sync(where="countri <> 'XX'")),
    Case("sync_path_as_field", "SpecError", sync(fields={"Account.Name": "last"})),
]

STATES = [
    Case("state_missing", "StateError", nothing, state=None),
    Case("state_newer", "StateError", state_sql("UPDATE meta SET value = '99' WHERE name = 'version'")),
    Case("state_not_a_state", "StateError", foreign_file),
    Case("state_not_a_database", "StateError", lambda t: t.write(STATE, "hello" * 3000)),
    Case("state_damaged", "StateError", damaged),
    Case("state_empty_file", "StateError", lambda t: t.write(STATE, "")),
    Case(
        "state_of_another_org",
        "StateError",
        state_sql("UPDATE meta SET value = '00D000000000000AAA' WHERE name = 'org_id'"),
    ),
    Case("state_init_twice", "StateError", nothing, argv=("state", "init", "--empty")),
    Case("state_init_how", None, nothing, argv=("state", "init")),
]

ORGS = [
    Case("org_wrong_password", "AuthError", profile(password="not this one")),
    Case("org_wrong_client", "AuthError", profile(client_id="3MVG9nobody")),
    Case("org_unreachable", "NoAnswerError", profile(domain="https://127.0.0.1:9")),
    Case("org_unknown_host", "NoAnswerError", profile(domain="https://acme.my.salesforce.invalid")),
    Case("org_wrong_certificate", "NoAnswerError", other_certificate),
    Case("org_bad_token", "AuthError", token),
    Case("org_api_version", "OrgError", profile(api_version="99.0")),
    Case("org_no_calls_left", None, lambda t: t.org.limits(max=1000, used=1000), code=1),
    Case(
        "org_limit_refuse",
        "RefusedError",
        lambda t: (t.profile(api_limit={"daily_calls": 1}), t.sync("contacts", on_limit="refuse")),
        code=3,
    ),
]


def pulled(change: Callable[[Team], Any]) -> Callable[[Team], Any]:
    """The contract of the sound project in git, and then a change; a pull's own calls are not the command's."""

    def made(team: Team) -> None:
        from sfsync.jobs.schema_pull import schema_pull_command

        schema_pull_command(team.options())
        change(team)

    return made


def in_contract(old: str, new: str) -> Callable[[Team], Any]:
    def change(team: Team) -> None:
        path = team.folder / CONTRACT
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    return pulled(change)


def local_of_itself(team: Team) -> None:
    team.write(
        "profiles.yml",
        "team: {target: prod, outputs: {prod: {warehouse: {type: duckdb, path: team.duckdb},"
        " org: {type: local, schema: schema/prod.json}}}}\n",
    )


def hidden_since(team: Team) -> None:
    """A contract, and then a user who lost the sight of a field; what was cached is forgotten."""
    pulled(state_sql("DELETE FROM contract"))(team)
    team.org.faults([{"fault": "rights_lost", "object": "Contact", "fields": ["Email"], "hidden": True}])


CONTRACT = "schema/prod.json"
CHILD, BAD_CHILD = '"Contact.AccountId": "cascade"', '"Contact.AccountId": "clear"'
PLAN_OFFLINE = ("plan", "--offline")
CONTRACTS = [
    Case("contract_missing", "ProjectError", nothing, argv=("schema", "check")),
    Case("contract_merge", "SpecError", in_contract('  "Contact": {', '<<<<<<< HEAD\n  "Contact": {')),
    Case(
        "contract_twice",
        "SpecError",
        in_contract('    "Email": {', '    "Email": {"type": "email"},\n    "Email": {'),
    ),
    Case("contract_property", "SpecError", in_contract('"length": 80', '"lenght": 80')),
    Case("contract_wrong_type", "SpecError", in_contract('"length": 80', '"length": "80"')),
    Case("contract_children", "SpecError", in_contract(CHILD, BAD_CHILD)),
    Case("contract_newer", "SpecError", in_contract('"format": 1', '"format": 2')),
    Case(
        "contract_not_utf8",
        "SpecError",
        lambda t: ((t.folder / "schema").mkdir(), (t.folder / CONTRACT).write_bytes(b"\xff\xfe")),
    ),
    Case("contract_is_a_folder", "SpecError", lambda t: (t.folder / CONTRACT).mkdir(parents=True)),
    Case("contract_lacks_field", "CompileError", pulled(fields(Department="title"))),
    Case("contract_lacks_object", "CompileError", pulled(sync(object="Lead", identity={"Lead_Id__c": "id"}))),
    Case("contract_no_right", "CompileError", in_contract('"createable": true', '"createable": false')),
    Case("contract_org_moved_on", "CompileError", hidden_since),
    Case("contract_of_itself", "ProfileError", local_of_itself, argv=("schema", "pull"), state=None),
    Case("contract_offline_nothing", "OrgError", state_sql("DELETE FROM contract"), argv=PLAN_OFFLINE),
]

WAREHOUSES = [
    Case("warehouse_missing", "WarehouseError", lambda t: (t.folder / "team.duckdb").unlink()),
    Case("warehouse_not_a_database", "WarehouseError", lambda t: t.write("team.duckdb", "id,name\n" * 3000)),
    Case(
        "warehouse_is_a_folder",
        "WarehouseError",
        lambda t: ((t.folder / "team.duckdb").unlink(), (t.folder / "team.duckdb").mkdir()),
    ),
    Case("warehouse_postgres_unreachable", "WarehouseError", postgres),
]

USAGE = [
    Case("usage_vars", None, nothing, argv=("run", "--vars", "{a: ")),
    Case("usage_vars_no_blank", None, nothing, argv=("run", "--vars", "{since:2026}")),
    Case("usage_vars_not_a_map", None, nothing, argv=("run", "--vars", "since")),
    Case("usage_select", "SpecError", nothing, argv=("run", "--select", "contcats")),
    Case("usage_select_tag", "SpecError", nothing, argv=("run", "--select", "tag:daily")),
    Case("usage_command", None, nothing, argv=("rnu",)),
    Case("usage_option", None, nothing, argv=("run", "--selct", "contacts")),
    Case("usage_later_option", None, nothing, argv=("plan", "--checksum")),
    Case("usage_allow", None, nothing, argv=("run", "--allow", "contacts.max_delete")),
    Case("usage_allow_no_guard", None, nothing, argv=("run", "--allow", "contacts")),
    Case("usage_format", None, nothing, argv=("plan", "--format", "html")),
    Case("usage_project_dir", "SpecError", nothing, argv=("run", "--project-dir", "nowhere")),
    Case("usage_history_limit", None, nothing, argv=("history", "--limit", "0")),
]

CASES = [*PROJECT, *PROFILES, *MODELS, *SEEDS, *SYNCS, *STATES, *ORGS, *CONTRACTS, *WAREHOUSES, *USAGE]


# ------------------------------------------------------------ the bench


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory, running_org: Any) -> dict[str, Path]:
    """A warehouse, a state file bound to the org, and one after a first run; each test gets copies."""
    folder = tmp_path_factory.mktemp("states")
    running_org.begin()
    team = Team(folder / "team", running_org)
    team.accounts([("A1", "Acme", "1"), ("A2", "Bolt", None)])
    team.contacts([{"id": "C1", "last": "Ito", "account": "A1"}, {"id": "C2", "last": "Müller"}])
    shutil.copy(team.folder / WAREHOUSE, folder / "warehouse")
    team.init_state()
    shutil.copy(team.folder / STATE, folder / "empty")
    team.run()
    shutil.copy(team.folder / STATE, folder / "ran")
    return {name: folder / name for name in ("warehouse", "empty", "ran")}


@pytest.fixture
def team(tmp_path: Path, states: dict[str, Path], org: Any) -> Team:
    team = Team(tmp_path / "team", org)
    shutil.copy(states["warehouse"], team.folder / WAREHOUSE)
    return team


def give_state(team: Team, states: dict[str, Path], name: str | None) -> None:
    if name:
        (team.folder / ".sfsync").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(states[name], team.folder / STATE)


def invoke(team: Team, case: Case, *more: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of the command in this process."""
    argv = list(case.argv)
    if "--project-dir" not in argv and argv != ["rnu"]:
        argv += ["--project-dir", str(team.folder)]
    env = {"HOME": str(team.folder / "home"), "SFSYNC_PROFILES_DIR": "", "CI": "", "COLUMNS": "", **case.env}
    found = CliRunner().invoke(cli, [*argv, *more], env=env, prog_name="sfsync")
    assert isinstance(found.exception, SystemExit | None), found.exception
    return found.exit_code, found.stdout, found.stderr


def normal(text: str, team: Team) -> str:
    """The text without what differs from machine to machine and from run to run."""
    text = text.replace(str(team.folder), "<project>").replace(team.org.url, "https://<org>")
    text = text.replace(team.org.org_id, "<org id>").replace(str(team.org.ca_file), "<ca file>")
    text = text.replace(team.org.url.removeprefix("https://"), "<org>").replace(str(Path.cwd()), "<here>")
    text = re.sub(
        r"of \S+@\S+, process \d+, since [^\s;]+", "of <user>@<host>, process <pid>, since <time>", text
    )
    text = re.sub(r"last seen \S+, \d+ s ago", "last seen <time>", text)
    text = re.sub(r"\d{8}T\d{6}-[0-9a-f]{6}", "<run id>", text)
    text = re.sub(r"^\w+: \d+ of \d+ rows.*\n", "", text, flags=re.MULTILINE)  # progress
    text = re.sub(r"\(pid \d+\)", "(pid <pid>)", text)
    text = re.sub(r"checksum \d+", "checksum <number>", text)
    text = re.sub(r"\b\d+\.\d+ ?s\b", "<seconds>", text)
    return re.sub(r"\(seen \d\d:\d\d\)", "(seen <time>)", text)


def content(path: Path) -> Any:
    """What a state says of the org: its owner, its records, its refused rows; of a file that is no state, its bytes."""
    if not path.exists():
        return None
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL"
            ).fetchall()
            wanted = [(s, t) for s, t in found if s == "snapshot" or t in ("meta", "rejected", "mine")]
            rows = {
                key: connection.execute('FROM "{}"."{}" ORDER BY ALL'.format(*key)).fetchall()
                for key in wanted
            }
            meta = rows.get(("main", "meta"), [])
            rows["main", "meta"] = [row for row in meta if row[0] != "epoch"]  # counts who began to send
            return {key: table for key, table in rows.items() if table}
    except duckdb.Error:
        return path.read_bytes()


def assert_nothing_was_sent(team: Team, before: Any) -> None:
    assert team.org.writes() == []
    assert team.org.records("Contact") == team.org.records("Account") == []
    changing = [r for r in team.org.requests() if r["counted"] and r["method"] != "GET" and r["status"] < 400]
    assert changing == []
    assert content(team.folder / STATE) == before
    assert not list(team.folder.glob(".sfsync/spool/*")), "a spool was left behind"
    assert not list(team.folder.rglob("*.tmp")), "a temporary file was left behind"


def check(team: Team, case: Case) -> None:
    before = content(team.folder / STATE)
    code, out, err = invoke(team, case)
    shown = normal(f"$ sfsync {' '.join(case.argv)}\nexit {code}\n{out}{err}", team)
    assert "Traceback" not in err
    assert "internal error" not in err
    for secret in (team.org.password, team.org.client_secret, team.org.security_token):
        assert secret not in out + err
    golden(case.name, shown)
    assert code == case.code
    code, _, err = invoke(team, case, "--log-format", "json")
    assert code == case.code
    lines = [json.loads(line) for line in err.splitlines() if line]
    if case.error is not None:
        errors = [line for line in lines if line["level"] == "error"]
        assert {line.get("error") for line in errors} == {case.error}
        for line in errors:
            assert line["message"].splitlines()[0] in normal_or(shown, team, line["message"])
    assert_nothing_was_sent(team, before)


def normal_or(shown: str, team: Team, message: str) -> str:
    """The text that people saw, or the message itself where normalising or escaping changed it there."""
    first = normal(message.splitlines()[0], team)
    return message if first in shown else shown


def golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert path.exists(), f"no golden file {path}: run with UPDATE_GOLDEN=1 and read what it wrote"
    assert text == path.read_text("utf-8")


# ------------------------------------------------------------ the table


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_input(team: Team, states: dict[str, Path], case: Case) -> None:
    give_state(team, states, case.state)
    case.change(team)
    check(team, case)


# ------------------------------------------------------------ what another process holds


@contextmanager
def another_process(script: str, *args: str) -> Iterator[None]:
    """A Python process that runs the script, prints a line when it holds what it should, and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "holding"
        yield
    finally:
        process.communicate("")


LOCK = """
import sys
from pathlib import Path
from sfsync.ports import SystemClock
from sfsync.state.lock import StateLock
lock = StateLock(Path(sys.argv[1]), SystemClock())
lock.acquire("run")
print("holding", flush=True)
sys.stdin.read()
"""
WRITER = """
import sys
import duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE OR REPLACE TABLE busy AS SELECT 1 AS a")
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    "argv", [("run",), ("retry",), ("state", "init", "--empty")], ids=lambda argv: argv[0]
)
def test_a_state_that_another_run_holds(team: Team, states: dict[str, Path], argv: tuple[str, ...]) -> None:
    if argv[0] != "state":
        give_state(team, states, "empty")
    with another_process(LOCK, str(team.folder / STATE)):
        check(team, Case(f"state_locked_{argv[0]}", "StateLockedError", nothing, code=3, argv=argv))


@pytest.mark.parametrize("command", ["run", "plan", "status"])
def test_a_state_that_another_process_writes(team: Team, states: dict[str, Path], command: str) -> None:
    give_state(team, states, "empty")
    before = content(team.folder / STATE)
    with another_process(WRITER, str(team.folder / STATE)):
        code, out, err = invoke(team, Case("", None, nothing, argv=(command,)))
    assert (code, out) == (3, "")
    assert f"{STATE} is open in another process, such as" in err
    assert "Fix: wait until it ends" in err
    state_sql("DROP TABLE busy")(team)
    assert_nothing_was_sent(team, before)


def test_a_warehouse_that_another_process_writes(team: Team, states: dict[str, Path]) -> None:
    give_state(team, states, "empty")
    with another_process(WRITER, str(team.folder / "team.duckdb")):
        check(team, Case("warehouse_locked", "WarehouseError", nothing))


def test_there_are_more_than_forty_kinds_and_each_is_pinned() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 40
    pinned = {path.stem for path in GOLDEN.glob("*.txt")}
    extra = {"state_locked_run", "state_locked_retry", "state_locked_state", "warehouse_locked"}
    assert pinned == set(names) | extra
