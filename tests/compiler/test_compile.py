"""A whole project against a real DuckDB file: what comes out, and what is said about what is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sfsync.compiler.manifest_json import Header, compiled_files, manifest_text
from sfsync.compiler.surroundings import OrgView
from sfsync.contract import Contract
from sfsync.project.facts import used_objects
from sfsync.project.load import load_project

SOURCES = """version: 2
sources:
  - name: raw
    tables:
      - {name: customers}
      - {name: people, identifier: accounts}
      - {name: recent}
      - {name: gone}
"""
STG = "select customer_id, account_id, last_name, email, title, seen, spent\nfrom {{ source('raw', 'customers') }}\n"
DIM = "{{ config(tags=['crm']) }}\nselect * from {{ ref('stg') }} where last_name is not null -- why"


def sync(
    text: str = "", *, name: str = "contacts", model: str = "dim", fields: str = "LastName: last_name"
) -> str:
    return (
        f"version: 1\nsyncs:\n  - name: {name}\n    model: {model}\n    object: Contact\n"
        f"    identity: {{Customer_Id__c: customer_id}}\n    fields: {{{fields}}}\n{text}"
    )


GOOD = {
    "models/sources.yml": SOURCES,
    "models/stg.sql": STG,
    "models/dim.sql": DIM,
    "syncs/contacts.yml": sync(),
}


def test_composes_one_select_of_the_users_own_text(lab) -> None:
    found = lab.compile(GOOD | {"models/unused.sql": "select 1 as a"}).syncs[0]
    assert found.sql == (
        'WITH "stg" AS (\n'
        "select customer_id, account_id, last_name, email, title, seen, spent\n"
        'from "wh"."raw"."customers"\n'
        '), "dim" AS (\n'
        '\nselect * from "stg" where last_name is not null -- why\n'
        ')\nSELECT "customer_id", "last_name"\nFROM "dim"'
    )
    assert [c.name for c in lab.warehouse.columns(found.sql)] == ["customer_id", "last_name"]
    assert found.plain_scan


@pytest.mark.parametrize(
    ("files", "plain"),
    [
        ({"models/dim.sql": "select customer_id, last_name from raw.customers"}, True),
        ({"models/dim.sql": "select customer_id, last_name from raw.recent"}, False),
        ({"models/dim.sql": "select customer_id, trim(last_name) as last_name from raw.customers"}, False),
        ({"models/stg.sql": STG + "where now() > seen"}, False),
        ({"syncs/contacts.yml": sync("    where: \"last_name <> 'x'\"\n")}, True),
        ({"syncs/contacts.yml": sync("    where: length(last_name) > 1\n")}, False),
        ({"syncs/contacts.yml": sync(model="source('raw', 'customers')")}, True),
        ({"syncs/contacts.yml": sync(model="source('raw', 'recent')")}, False),
    ],
)
def test_plain_scan_through_models(lab, files: dict[str, str], plain: bool) -> None:
    assert lab.compile(GOOD | files).syncs[0].plain_scan is plain


def test_a_filter_may_use_jinja_and_models(lab) -> None:
    text = sync("    where: \"account_id in (select account_id from {{ ref('good') }}) -- only these\"\n")
    files = {"syncs/contacts.yml": text, "models/good.sql": "select account_id from raw.accounts"}
    found = lab.compile(GOOD | files).syncs[0]
    assert found.sql.endswith(
        'FROM "dim"\nWHERE (\naccount_id in (select account_id from "good") -- only these\n)'
    )
    assert '"good" AS (' in found.sql
    assert lab.warehouse.columns(found.sql)


def test_a_source_needs_no_model(lab) -> None:
    found = lab.compile(GOOD | {"syncs/contacts.yml": sync(model="source('raw', 'customers')")}).syncs[0]
    assert found.sql == 'SELECT "customer_id", "last_name"\nFROM "wh"."raw"."customers"'


def test_a_cte_may_have_the_name_of_the_model_it_reads(lab) -> None:
    dim = "with stg as (select * from {{ ref('stg') }}) select * from stg"
    found = lab.compile(GOOD | {"models/dim.sql": dim}).syncs[0]
    assert lab.warehouse.columns(found.sql)


def test_columns_are_found_without_case_and_quoted_as_they_are(lab) -> None:
    text = sync(model="source('raw', 'customers')", fields="LastName: 'mixed case', Email: EMAIL")
    found = lab.compile(GOOD | {"syncs/contacts.yml": text}).syncs[0]
    assert found.sql.startswith('SELECT "customer_id", "Mixed Case", "email"\n')


WRONG = [
    ("unknown table", {"models/stg.sql": "select *\nfrom raw.custmers"}, "models/stg.sql:2:10: the warehouse has no table 'raw.custmers'", "did you mean 'raw.customers'?"),
    ("unknown schema", {"models/stg.sql": "select * from row.customers"}, "models/stg.sql:1:19: the warehouse has no table 'row.customers'", "did you mean 'raw.customers'?"),
    ("bare unknown table", {"models/stg.sql": "select * from ordes"}, "models/stg.sql:1:15: the warehouse has no table 'ordes'", "did you mean 'orders'?"),
    ("unknown source table", {"models/stg.sql": "select *\nfrom {{ source('raw', 'gone') }}"}, "models/stg.sql:2: the warehouse has no table 'wh.raw.gone'", "tables of raw: accounts, customers, recent"),
    ("raw name of a model", {"models/dim.sql": "select * from stg"}, "models/dim.sql:1:15: 'stg' is a model of this project", "write {{ ref('stg') }}, or the raw table with its schema"),
    ("raw name in other case", {"models/dim.sql": 'select * from "STG"'}, "models/dim.sql:1:15: 'STG' is a model of this project", "write {{ ref('stg') }}, or the raw table with its schema"),
    ("circle", {"models/stg.sql": "select * from {{ ref('dim') }}"}, "models/dim.sql: models ref each other in a circle: dim -> stg -> dim", "take one ref() out of the circle"),
    ("two statements", {"models/dim.sql": "select 1 as a;\n\ndelete from x"}, "models/dim.sql:3:1: a model is one SELECT; a second statement begins with DELETE", "put it into a model of its own"),
    ("unknown ref", {"models/dim.sql": "select * from\n{{ ref('stgg') }}"}, "models/dim.sql:2: ref('stgg'): no model or seed has that name", "did you mean 'stg'?"),
    ("disabled ref", {"models/stg.sql": "{{ config(enabled=false) }}" + STG}, "models/dim.sql: ref('stg'): that model is disabled by config(enabled=false)", None),
    ("engine: column", {"models/stg.sql": "select customer_id,\n  lastname as last_name\nfrom raw.customers"}, 'models/stg.sql:2:3: the warehouse refuses model \'stg\': Referenced column "lastname" not found in FROM clause!', None),
    ("engine: filter", {"syncs/contacts.yml": sync("    where: nothing > 1\n")}, "syncs/contacts.yml:8:12: the warehouse refuses the filter: Referenced column \"nothing\" not found in FROM clause!", None),
    ("filter: text", {"syncs/contacts.yml": sync("    where: last_name\n")}, "syncs/contacts.yml:8:12: where: the filter is of type VARCHAR, not boolean", "compare it with something, for example `country = 'DE'` or `country IS NOT NULL`"),
    ("filter: number", {"syncs/contacts.yml": sync("    where: \"1 -- all\"\n")}, "syncs/contacts.yml:8:12: where: the filter is of type INTEGER, not boolean", None),
    ("filter: aggregate", {"syncs/contacts.yml": sync("    where: count(*) > 1\n")}, "syncs/contacts.yml:8:12: the warehouse refuses the filter: WHERE clause cannot contain aggregates!", None),
    ("filter is none", {"syncs/contacts.yml": sync("    where: a = 1 limit 3\n")}, "syncs/contacts.yml:8:12: where: a filter is one condition, with nothing after it", None),
    ("filter: model", {"syncs/contacts.yml": sync("    where: email in (select email from stg)\n")}, "syncs/contacts.yml:8:12: 'stg' is a model of this project", "write {{ ref('stg') }}, or the raw table with its schema"),
    ("column", {"syncs/contacts.yml": sync(fields="LastName: lastname")}, "syncs/contacts.yml:7:24: model 'dim' has no column 'lastname'", "did you mean 'last_name'?"),
    ("column, long", {"syncs/contacts.yml": sync(fields="LastName: {column: lastname}")}, "syncs/contacts.yml:7:33: model 'dim' has no column 'lastname'", "did you mean 'last_name'?"),
    ("two columns", {"models/dim.sql": 'select customer_id, last_name as "A", email as "a", last_name from {{ ref(\'stg\') }}', "syncs/contacts.yml": sync(fields="LastName: last_name, Title: 'A '")}, "syncs/contacts.yml:7:42: model 'dim' has no column 'A '", None),
]  # fmt: skip


@pytest.mark.parametrize(("files", "message", "fix"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_says_what_is_wrong(lab, files: dict[str, str], message: str, fix: str | None) -> None:
    found, said = lab.refused(GOOD | files)[0]
    assert found.startswith(message)
    if fix is not None:
        assert said == fix


def test_everything_wrong_is_said_at_once(lab) -> None:
    files = {"models/a.sql": "drop table x", "models/b.sql": "select 'x", "models/c.sql": "{{ nope }}"}
    assert len(lab.refused(GOOD | files)) == 3


def test_a_fault_in_a_shared_model_is_said_once(lab) -> None:
    one, two = sync(), sync(name="more", fields="Title: title")
    files = {
        "models/stg.sql": "select nothing from raw.customers",
        "syncs/contacts.yml": one,
        "syncs/more.yml": two,
    }
    assert len(lab.refused(GOOD | files)) == 1


@pytest.mark.parametrize(
    ("files", "warning"),
    [
        ({"models/stg.sql": "select *\nfrom raw.customers"}, "models/stg.sql: `select *` from raw table raw.customers: name the columns, so that sync 'contacts' does not depend on what is added there"),
        ({"models/stg.sql": STG + "where seen <\n current_date"}, "models/stg.sql:4:2: current_date changes between runs, so unchanged rows may look changed"),
        ({"models/stg.sql": "{{ config(materialized='table') }}" + STG}, "models/stg.sql: config(materialized) has no effect: sfsync builds nothing, models are inlined"),
        ({"syncs/contacts.yml": sync("    where: seen < now()\n")}, "syncs/contacts.yml:8:12: where: now changes between runs, so rows may come and go"),
    ],
)  # fmt: skip
def test_warns(lab, files: dict[str, str], warning: str) -> None:
    assert lab.compile(GOOD | files).warnings == (warning,)


def test_nothing_to_warn_about(lab) -> None:
    assert lab.compile(GOOD).warnings == ()


def test_without_an_org_there_are_outlines(lab) -> None:
    found = lab.compile(GOOD, blind=True)
    assert found.syncs == ()
    assert found.unchecked == ("contacts",)
    assert found.outlines[0].columns == (("Customer_Id__c", "customer_id"), ("LastName", "last_name"))
    assert found.levels == (("contacts",),)
    assert found.warnings == (
        "fields are not checked: nothing is known of the org yet; `sfsync debug` asks it",
    )
    assert lab.refused(GOOD | {"models/stg.sql": "select nope from raw.customers"}, blind=True)


def test_an_object_that_nobody_described_is_left_unchecked(lab) -> None:
    found = lab.compile(GOOD, org=OrgView(Contract(()), whole=False))
    assert (found.syncs, found.unchecked) == ((), ("contacts",))
    assert "fields of 'Contact' are not checked" in found.warnings[0]


def test_an_empty_project_compiles(lab) -> None:
    assert lab.compile().syncs == ()


def test_used_objects(lab) -> None:
    files = {
        "syncs/contacts.yml": sync(fields="AccountId: {column: account_id, lookup: Account.Account_Id__c}")
    }
    lab.write(GOOD | files)
    assert used_objects(load_project(lab.root)) == ("Contact", "Account")


def test_seeds_are_read_where_they_were_put(lab) -> None:
    files = {"seeds/people.csv": "customer_id,last_name\n1,a\n", "syncs/contacts.yml": sync(model="people")}
    relation = "(SELECT '1' AS customer_id, 'a' AS last_name)"
    found = lab.compile(GOOD | files, seeds={"people": relation}).syncs[0]
    assert found.sql == f'SELECT "customer_id", "last_name"\nFROM {relation}'


def test_manifest_json_and_compiled_files(lab) -> None:
    found = lab.compile(GOOD)
    header = Header("run-1", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "dev")
    text = manifest_text(found, header)
    body = json.loads(text)
    assert body["metadata"]["generated_at"] == "2026-01-02T03:04:05Z"
    assert body["metadata"]["schema_version"] == 1
    assert body["parent_map"] == {
        "model.acme.stg": ["source.acme.raw.customers"],
        "model.acme.dim": ["model.acme.stg"],
        "sync.acme.contacts": ["model.acme.dim"],
    }
    assert body["child_map"]["source.acme.raw.customers"] == ["model.acme.stg"]
    assert body["nodes"]["model.acme.dim"]["tags"] == ["crm"]
    (key, last) = body["syncs"]["sync.acme.contacts"]["fields"]
    assert (key["identity"], last["column"], last["type"]) == (True, "last_name", "string")
    assert text == manifest_text(lab.compile(), header)
    files = compiled_files(found)
    assert set(files) == {"compiled/models/stg.sql", "compiled/models/dim.sql", "compiled/syncs/contacts.sql"}
    assert files["compiled/syncs/contacts.sql"] == found.syncs[0].sql + "\n"


def test_the_template_compiles(warehouse, tmp_path: Path) -> None:
    from sfsync.compiler.compile import compile_project
    from sfsync.compiler.surroundings import Surroundings
    from sfsync.engine.base import Catalog

    project = load_project(Path(__file__).parents[2] / "project_template")
    relations = {}
    for seed in project.seeds:
        columns = (f'CAST(NULL AS {seed.column_types.get(c, "VARCHAR")}) AS "{c}"' for c in seed.columns)
        relations[seed.name] = f"(SELECT {', '.join(columns)})"
    around = Surroundings(
        warehouse.dialect, Catalog("main", None), warehouse.columns, None, {"name": "dev"}, seeds=relations
    )
    assert compile_project(project, around).levels == (("accounts",), ("contacts", "subscriptions"))
