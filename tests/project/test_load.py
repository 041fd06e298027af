"""Loading real folders: which files belong, what names may be, and all that is wrong at once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from sfsync.errors import SpecError, Where
from sfsync.project.load import load_project, parse_vars
from sfsync.project.project import Project
from sfsync.project.selector import graph_of, select

PROJECT = 'name: acme\nversion: "1.0"\nprofile: acme\n'
SYNC = """\
version: 1
syncs:
  - name: contacts
    model: dim_contacts
    object: Contact
    identity: {Customer_Id__c: customer_id}
    fields:
      LastName: last_name
"""
FILES = {"sfsync_project.yml": PROJECT, "models/dim_contacts.sql": "select 1", "syncs/contacts.yml": SYNC}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "acme"
    write(path, FILES)
    return path


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return root


def findings(root: Path) -> list[str]:
    """Every finding as 'file:line:column: what | fix'."""
    with pytest.raises(SpecError) as caught:
        load_project(root)
    return [str(e) + (f" | {e.fix}" if e.fix else "") for e in (caught.value, *caught.value.others)]


def test_a_whole_project(folder):
    write(
        folder,
        {
            "sfsync_project.yml": PROJECT + "vars: {a: 1, b: 2}\ntimezone: Europe/Berlin\n",
            "models/staging/stg.sql": "\ufeffselect 'Zoë'",
            "models/staging/raw.yml": (
                "version: 2\nsources:\n  - name: raw\n    schema: landing\n    tables:\n      - name: orders\n"
                "        identifier: orders_v2\n  - name: erp\n    database: dw\n    tables: [{name: x}]\n"
            ),
            "macros/text.sql": "{% macro m() %}{% endmacro %}",
            "seeds/regions.csv": "id,name\n1,North\n",
            "seeds/regions.yml": "version: 2\nseeds:\n  - name: regions\n    column_types: {id: integer}\n",
            "seeds/plain.csv": "\ufeffa\n",
            "syncs/crm/leads.yaml": SYNC.replace("name: contacts", "name: leads").replace(
                "dim_contacts", "stg"
            ),
            "models/readme.md": "not read",
            "models/.hidden.sql": "not read",
            "models/.git/x.sql": "not read",
        },
    )
    project = load_project(folder, vars={"b": 3})
    assert project.root == folder
    assert project.spec.timezone == "Europe/Berlin"
    assert project.vars == {"a": 1, "b": 3}
    assert [(m.name, m.path, m.text) for m in project.models] == [
        ("dim_contacts", "models/dim_contacts.sql", "select 1"),
        ("stg", "models/staging/stg.sql", "select 'Zoë'"),
    ]
    assert [m.path for m in project.macros] == ["macros/text.sql"]
    assert [(s.source, s.name, s.database, s.schema, s.identifier) for s in project.sources] == [
        ("raw", "orders", None, "landing", "orders_v2"),
        ("erp", "x", "dw", "erp", "x"),
    ]
    assert project.source_by_name[("raw", "orders")].where == Where("models/staging/raw.yml", 6, 9)
    assert [(s.name, s.columns, dict(s.column_types)) for s in project.seeds] == [
        ("plain", ("a",), {}),
        ("regions", ("id", "name"), {"id": "integer"}),
    ]
    assert project.seed_by_name["regions"].where == Where("seeds/regions.yml", 3, 5)
    assert [(s.name, s.path) for s in project.syncs] == [
        ("contacts", "syncs/contacts.yml"),
        ("leads", "syncs/crm/leads.yaml"),
    ]
    assert project.warnings == ()
    assert project.target_path == folder / "target"


def test_the_least_project(tmp_path):
    project = load_project(write(tmp_path, {"sfsync_project.yml": PROJECT}))
    assert (project.models, project.syncs, project.seeds, project.macros, project.sources) == (
        (),
        (),
        (),
        (),
        (),
    )


def test_places_of_a_sync(folder):
    write(folder, {"sfsync_project.yml": PROJECT + "syncs:\n  nulls: keep\n  guards: {max_deletes: 9}\n"})
    sync = load_project(folder).syncs[0]
    cases = [
        (("fields", "LastName"), "syncs/contacts.yml:8:7"),
        (("identity",), "syncs/contacts.yml:6:5"),
        (("identity", "Customer_Id__c"), "syncs/contacts.yml:6:16"),
        ((), "syncs/contacts.yml:3:5"),
        (("where",), "syncs/contacts.yml:3:5"),  # not written: the sync itself
        (("nulls",), "sfsync_project.yml:5:3"),  # a default: where it was written
        (("guards", "max_deletes"), "sfsync_project.yml:6:12"),
    ]
    for path, expected in cases:
        assert str(sync.where(*path)) == expected
    assert str(sync.value_where("fields", "LastName")) == "syncs/contacts.yml:8:17"
    assert str(sync.value_where("nulls")) == "sfsync_project.yml:5:10"


MERGED = [  # defaults in the project, lines of the sync, attributes
    ("nulls: keep", "", {"nulls": "keep"}),
    ("+nulls: keep", "", {"nulls": "keep"}),
    ("nulls: keep", "nulls: clear", {"nulls": "clear"}),
    ("priority: 5", "priority: 0", {"priority": 0}),
    ("tags: [a, b]", "tags: [b, c]", {"tags": ("a", "b", "c")}),
    ("tags: a", "tags: c", {"tags": ("a", "c")}),
    ("tags: a", "", {"tags": ("a",)}),
    ("meta: {x: 1, y: 1}", "meta: {y: 2}", {"meta": {"x": 1, "y": 2}}),
    ("push: {api: bulk}", "push: {send: all}", {"push.api": "bulk", "push.send": "all"}),
    (
        "guards: {max_deletes: 9, min_rows: 4}",
        "guards: {max_deletes: null}",
        {"guards.max_deletes": None, "guards.min_rows": 4, "guards.max_change_share": 0.5},
    ),
    ("'+guards': {max_delete_share: 50%}", "", {"guards.max_delete_share": 0.5}),
]


@pytest.mark.parametrize(("below", "above", "expected"), MERGED, ids=[f"{m[0]} + {m[1]}" for m in MERGED])
def test_defaults(folder, below, above, expected):
    write(
        folder,
        {
            "sfsync_project.yml": PROJECT + f"syncs:\n  {below}\n",
            "syncs/contacts.yml": SYNC + (f"    {above}\n" if above else ""),
        },
    )
    spec = load_project(folder).syncs[0].spec
    for path, value in expected.items():
        found: object = spec
        for name in path.split("."):
            found = getattr(found, name)
        assert found == value


SEED = "seeds/a.csv"
ENTRY = "version: 2\nseeds:\n  - name: a\n"
BROKEN = [  # id, files, findings
    (
        "bad yaml",
        {"syncs/b.yml": "version: 1\nsyncs: [a"},
        ["syncs/b.yml:2:8: this [ is not closed, or a comma is missing | close it with ]"],
    ),
    (
        "not UTF-8",
        {"models/b.sql": b"select 1,\n '\xe9'", "syncs/b.yml": b"version: 1 # \xff"},
        [
            "models/b.sql:2:3: not UTF-8 text: byte 0xe9 does not belong here | save the file as UTF-8",
            "syncs/b.yml:1:14: not UTF-8 text: byte 0xff does not belong here | save the file as UTF-8",
        ],
    ),
    (
        "a list where a map is due",
        {"syncs/b.yml": "- name: x"},
        ["syncs/b.yml:1:1: syncs/b.yml must be a map with 'version' and 'syncs', found a list"],
    ),
    (
        "a map where a list is due",
        {"syncs/b.yml": "version: 1\nsyncs: {name: x}"},
        ["syncs/b.yml:2:8: 'syncs' must be a list, found a map | start each entry with '- name:'"],
    ),
    (
        "no list",
        {"syncs/b.yml": "version: 1\nsyncs:"},
        ["syncs/b.yml:2:7: 'syncs' must be a list, found nothing | start each entry with '- name:'"],
    ),
    (
        "unknown top key",
        {"syncs/b.yml": "version: 1\nsync: []"},
        ["syncs/b.yml:2:1: unknown key 'sync' | did you mean 'syncs'?"],
    ),
    (
        "no version",
        {"syncs/b.yml": "syncs: []"},
        ["syncs/b.yml:1:1: needs the key 'version' | write version: 1"],
    ),
    (
        "wrong version",
        {"syncs/b.yml": "version: 2\nsyncs: []"},
        ["syncs/b.yml:1:10: 'version' must be 1 | write version: 1"],
    ),
    (
        "an entry that is no map",
        {"syncs/b.yml": "version: 1\nsyncs: [x]"},
        ["syncs/b.yml:2:9: sync 1 of the file must be a map of keys, found text"],
    ),
    (
        "two syncs of one name in two files",
        {"syncs/b.yml": SYNC},
        [
            "syncs/contacts.yml:3:5: sync 'contacts' is defined twice, here and at syncs/b.yml:3:5 | "
            "rename one of them"
        ],
    ),
    (
        "two models of one name",
        {"models/a/x.sql": "", "models/b/X.sql": ""},
        [
            "models/b/X.sql: model 'X' has the name of the model 'x' in models/a/x.sql | rename one of the files"
        ],
    ),
    (
        "a seed with a model's name",
        {"seeds/dim_contacts.csv": "a\n"},
        [
            "seeds/dim_contacts.csv: seed 'dim_contacts' has the name of the model 'dim_contacts' in "
            "models/dim_contacts.sql | rename one of the files"
        ],
    ),
    (
        "two seeds of one name",
        {"seeds/a/x.csv": "a\n", "seeds/b/x.csv": "a\n"},
        ["seeds/b/x.csv: seed 'x' has the name of the seed 'x' in seeds/a/x.csv | rename one of the files"],
    ),
    (
        "a model's file name",
        {"models/my-model.sql": "", "models/1st.sql": ""},
        [
            "models/1st.sql: '1st' is not a valid model name | "
            "rename the file: letters, digits and _ only, not starting with a digit",
            "models/my-model.sql: 'my-model' is not a valid model name | "
            "rename the file: letters, digits and _ only, not starting with a digit",
        ],
    ),
    (
        "unknown model",
        {"models/dim_contacts.sql": "", "syncs/contacts.yml": SYNC.replace("dim_contacts", "dim_contact")},
        [
            "syncs/contacts.yml:4:12: sync 'contacts': model 'dim_contact' does not exist | did you mean 'dim_contacts'?"
        ],
    ),
    (
        "unknown source",
        {
            "syncs/contacts.yml": SYNC.replace("dim_contacts", "source('raw', 'ordrs')"),
            "models/s.yml": "version: 2\nsources: [{name: raw, tables: [{name: orders}]}]",
        },
        [
            "syncs/contacts.yml:4:12: sync 'contacts': source('raw', 'ordrs') does not exist | "
            "did you mean 'source('raw', 'orders')'?"
        ],
    ),
    (
        "a key of a model's tests",
        {"models/s.yml": "version: 2\nmodels: []"},
        ["models/s.yml:2:1: unknown key 'models' | valid keys: version, sources"],
    ),
    (
        "an unknown key of a source",
        {
            "models/s.yml": "version: 2\nsources:\n  - name: raw\n    schemas: x\n    tables: [{name: a, ident: b}]"
        },
        [
            "models/s.yml:5:24: source 'raw': unknown key 'ident' in 'tables[0]' | did you mean 'identifier'?",
            "models/s.yml:4:5: source 'raw': unknown key 'schemas' | did you mean 'schema'?",
        ],
    ),
    (
        "a table twice",
        {"models/s.yml": "version: 2\nsources:\n  - name: raw\n    tables: [{name: a}, {name: a}]"},
        [
            "models/s.yml:4:25: source 'raw' has table 'a' twice, here and at models/s.yml:4:14 | remove one of them"
        ],
    ),
    (
        "a seed without its file",
        {SEED: "x\n", "seeds/s.yml": ENTRY.replace("name: a", "name: aa")},
        ["seeds/s.yml:3:5: seed 'aa' has no CSV file | did you mean 'a'?"],
    ),
    (
        "a type without its column",
        {SEED: "id,name\n", "seeds/s.yml": ENTRY + "    column_types: {nam: date}\n"},
        ["seeds/s.yml:4:20: seed 'a': the CSV file has no column 'nam' | did you mean 'name'?"],
    ),
    (
        "not a type",
        {SEED: "id\n", "seeds/s.yml": ENTRY + "    column_types: {id: 'int; drop table x'}\n"},
        [
            "seeds/s.yml:4:24: seed 'a': 'column_types.id' must be a column type, found 'int; drop table x' | "
            "for example integer, decimal(16,2), date, timestamp"
        ],
    ),
    (
        "a seed described twice",
        {SEED: "id\n", "seeds/s.yml": ENTRY + "  - name: a\n"},
        ["seeds/s.yml:4:5: seed 'a' is described twice, here and at seeds/s.yml:3:5 | remove one of them"],
    ),
    (
        "an empty seed",
        {SEED: ""},
        ["seeds/a.csv:1: seed 'a' is empty | the first line must name the columns"],
    ),
    (
        "a column twice",
        {SEED: "id,ID\n"},
        ["seeds/a.csv:1: seed 'a' has the column 'ID' twice | rename one of them"],
    ),
    (
        "a column without a name",
        {SEED: "id,,x\n"},
        ["seeds/a.csv:1: seed 'a': column 2 has no name | name every column in the first line"],
    ),
    (
        "a column with blanks",
        {SEED: "id, name\n"},
        ["seeds/a.csv:1: seed 'a': the name of column 2 has blanks around it | write name"],
    ),
    (
        "a seed that is not UTF-8",
        {SEED: b"id\n\xe9\n"},
        ["seeds/a.csv:2:1: not UTF-8 text: byte 0xe9 does not belong here | save the file as UTF-8"],
    ),
    (
        "nulls and +nulls",
        {"sfsync_project.yml": PROJECT + "syncs:\n  nulls: keep\n  +nulls: clear\n"},
        ["sfsync_project.yml:6:3: the project: 'syncs' has both 'nulls' and '+nulls'"],
    ),
    (
        "an unknown default, with a plus",
        {"sfsync_project.yml": PROJECT + "syncs:\n  +null: keep\n"},
        ["sfsync_project.yml:5:3: the project: unknown key 'null' in 'syncs' | did you mean 'nulls'?"],
    ),
    (
        "an empty project file",
        {"sfsync_project.yml": "# nothing\n"},
        ["sfsync_project.yml: sfsync_project.yml is empty | it needs name, version and profile"],
    ),
    (
        "findings of several files",
        {
            "models/s.yml": "version: 3\nsources: []",
            "syncs/a.yml": SYNC.replace("contacts", "a", 1) + "    mod: upsert\n",
            "syncs/b.yml": SYNC.replace("contacts", "b", 1).replace("object: Contact", "object: 5"),
        },
        [
            "models/s.yml:1:10: 'version' must be 2 | write version: 2",
            "syncs/a.yml:9:5: sync 'a': unknown key 'mod' | did you mean 'mode'?",
            "syncs/b.yml:5:13: sync 'b': 'object' must be text (put it in quotes), found 5",
        ],
    ),
]


@pytest.mark.parametrize(("files", "expected"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_findings(folder, files, expected):
    write(folder, files)
    assert findings(folder) == expected


def test_dbt_keys_of_sources_and_seeds_are_read_over(folder):
    over = (
        "tests: [unique]\n{0}data_tests: []\n{0}meta: {{a: 1}}\n{0}tags: [x]\n{0}quoting: {{schema: true}}\n"
    )
    over += "{0}freshness: {{warn_after: {{count: 1}}}}\n{0}loaded_at_field: at\n"
    write(
        folder,
        {
            "models/s.yml": "version: 2\nsources:\n  - name: raw\n    description: d\n    "
            + over.format(" " * 4)
            + "    tables:\n      - name: a\n        description: d\n        "
            + over.format(" " * 8)
            + "        columns:\n          - name: id\n            description: d\n            tests: [unique]\n",
            SEED: "id,at\n",
            "seeds/s.yml": ENTRY
            + "    config: {column_types: {id: integer}}\n    columns: [{name: at, data_type: date, tests: []}]\n",
        },
    )
    project = load_project(folder)
    assert [s.name for s in project.sources] == ["a"]
    assert project.seeds[0].column_types == {"id": "integer", "at": "date"}


def test_a_seed_digest_moves_with_content_and_types(folder):
    write(folder, {SEED: "id\n1\n"})
    first = load_project(folder).seeds[0].digest
    assert load_project(folder).seeds[0].digest == first
    write(folder, {"seeds/s.yml": ENTRY + "    column_types: {id: integer}\n"})
    second = load_project(folder).seeds[0].digest
    write(folder, {SEED: "id\n2\n"})
    third = load_project(folder).seeds[0].digest
    assert len({first, second, third}) == 3
    assert len(first) == len(hashlib.sha256().hexdigest())


def test_no_project(tmp_path, folder):
    cases = [  # folder, message, fix
        (
            tmp_path,
            f"no sfsync_project.yml in {tmp_path}",
            "start a project with `sfsync init PATH`, or name its folder with --project-dir",
        ),
        (tmp_path / "x", f"the folder {tmp_path / 'x'} does not exist", "check --project-dir"),
        (
            folder / "models",
            f"no sfsync_project.yml in {folder / 'models'}",
            f"the project is in {folder}: use --project-dir ..",
        ),
        (
            folder / "sfsync_project.yml",
            f"{folder / 'sfsync_project.yml'} is not a folder",
            "give --project-dir the project's folder",
        ),
    ]
    for path, message, fix in cases:
        with pytest.raises(SpecError) as caught:
            load_project(path)
        assert (str(caught.value), caught.value.fix) == (message, fix)
    (folder / "sfsync_project.yml").rename(folder / "sfsync_project.yaml")
    with pytest.raises(SpecError) as caught:
        load_project(folder)
    assert caught.value.fix == "rename sfsync_project.yaml to sfsync_project.yml"


def test_paths(folder, tmp_path):
    write(
        folder,
        {
            "sfsync_project.yml": PROJECT
            + "model-paths: [models, models/more, ../shared, gone]\nsync-paths: syncs\n"
            + "target-path: out\n",
            "models/more/x.sql": "",
            "syncs/empty.yml": "",
        },
    )
    write(tmp_path, {"shared/y.sql": ""})
    project = load_project(folder)
    assert [m.path for m in project.models] == [
        "models/dim_contacts.sql",
        "models/more/x.sql",
        "../shared/y.sql",
    ]
    assert project.warnings == (
        "sfsync_project.yml:4:47: the folder 'gone' does not exist",
        "syncs/empty.yml is empty",
    )
    assert project.target_path == folder / "out"


def test_our_own_output_is_never_read(folder):
    write(
        folder,
        {
            "sfsync_project.yml": PROJECT + "target-path: models/target\n",
            "models/target/compiled/dim_contacts.sql": "select 2",
            "models/.cache/x.sql": "",
        },
    )
    assert [m.path for m in load_project(folder).models] == ["models/dim_contacts.sql"]


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    write(tmp_path, {"shared/y.sql": ""})
    (folder / "models/shared").symlink_to(tmp_path / "shared")
    (folder / "models/again").symlink_to(folder / "models")
    assert [m.path for m in load_project(folder).models] == ["models/dim_contacts.sql", "models/shared/y.sql"]


def test_from_another_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = load_project(Path("acme"))
    assert project.root == folder
    assert project.models[0].path == "models/dim_contacts.sql"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file(folder):
    (folder / "models/dim_contacts.sql").chmod(0)
    assert findings(folder) == ["models/dim_contacts.sql: cannot read the file: Permission denied"]


VARS = [  # text, value or message
    ("{dirty: true}", {"dirty": True}),
    ('{"a": [1, "x"], "b": null}', {"a": [1, "x"], "b": None}),
    ("dirty: true", {"dirty": True}),
    ("", {}),
    ("dirty", "--vars must be a map"),
    ("[1]", "--vars must be a map"),
    ("{a:1}", "--vars: YAML reads 'a:1' as a name, since no blank follows the colon"),
    ("a:1", "--vars: YAML reads 'a:1' as a name, since no blank follows the colon"),
    ("{b: 2, a:x}", "--vars: YAML reads 'a:x' as a name, since no blank follows the colon"),
    ("{b: {a:1}}", "--vars: YAML reads 'a:1' as a name, since no blank follows the colon"),
    ('{"a":1,"at":"10:30"}', {"a": 1, "at": "10:30"}),
    ("{at: 10:30:00x}", {"at": "10:30:00x"}),
    ("{a: 1", "--vars:1:1: this { is not closed, or a comma is missing"),
]


@pytest.mark.parametrize(("text", "expected"), VARS, ids=[v[0] for v in VARS])
def test_vars(text, expected):
    if isinstance(expected, dict):
        assert parse_vars(text) == expected
    else:
        with pytest.raises(SpecError) as caught:
            parse_vars(text)
        assert str(caught.value) == expected


def test_the_graph_of_a_project(folder):
    write(
        folder,
        {
            "models/dim_accounts.sql": "",
            "seeds/regions.csv": "a\n",
            "syncs/accounts.yml": SYNC.replace("contacts", "accounts")
            .replace("object: Contact", "object: Account")
            .replace("Customer_Id__c", "Account_Id__c"),
            "syncs/contacts.yml": SYNC
            + "      AccountId: {column: account_id, lookup: account.Account_Id__c}\n    tags: crm\n",
        },
    )
    graph = graph_of(load_project(folder)).with_models({"dim_accounts": ["regions"]}, {})
    assert select(graph, ["regions+"]) == ("accounts", "contacts")
    assert select(graph, ["+contacts"]) == ("accounts", "contacts")
    assert select(graph, ["tag:crm"]) == ("contacts",)


def big_project(root: Path) -> Path:
    files: dict[str, str | bytes] = {"sfsync_project.yml": PROJECT + "syncs: {+nulls: keep}\n"}
    for i in range(1000):
        files[f"models/m{i}.sql"] = "select id, name from {{ ref('m0') }} where id > 1\n" * 20
    for i in range(20):
        fields = "".join(f"      F{j}__c: c{j}\n" for j in range(30))
        files[f"syncs/s{i}.yml"] = (
            SYNC.replace("name: contacts", f"name: s{i}").replace("dim_contacts", "m1") + fields
        )
    return write(root, files)


def test_a_thousand_models_load(tmp_path):
    project = load_project(big_project(tmp_path))
    assert isinstance(project, Project)
    assert (len(project.models), len(project.syncs)) == (1000, 20)
