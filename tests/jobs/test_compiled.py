"""A project that did not change is not compiled again, and whatever a compile is made of makes it compile again."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

import sfsync
from sfsync.compiler.manifest import Manifest
from sfsync.compiler.stored import MAX_BYTES
from sfsync.contract import Contract, from_json
from sfsync.errors import CompileError, ProfileError, SfsyncError
from sfsync.jobs.compile import compile_session, selected_names, write_compiled
from sfsync.jobs.session import Options, Session

ORG = from_json((Path(sfsync.__file__).parent / "local_org" / "schema.json").read_text("utf-8"))
SYNC = """version: 1
syncs:
  - name: contacts
    model: dim
    object: Contact
    identity: {Customer_Id__c: id}
    fields: {LastName: name, AccountId: {column: account, lookup: Account.Account_Id__c}, Birthdate: born}
    tags: daily
  - name: accounts
    model: source('raw', 'accounts')
    object: Account
    identity: {Account_Id__c: id}
    fields: {Name: name}
    where: "name <> '{{ var('nobody') }}'"
"""
FILES = {
    "sfsync_project.yml": "name: acme\nversion: '1'\nprofile: acme\nvars: {nobody: x}\n",
    "profiles.yml": (
        "acme:\n  target: dev\n  outputs:\n"
        "    dev: {warehouse: {type: duckdb, path: wh.duckdb}, org: {type: local}}\n"
        "    other: {warehouse: {type: duckdb, path: wh.duckdb}, org: {type: local}}\n"
        "acme2: {outputs: {dev: {warehouse: {type: duckdb, path: wh.duckdb}, org: {type: local}}}}\n"
    ),
    "models/sources.yml": "version: 2\nsources:\n  - {name: raw, tables: [{name: people}, {name: accounts}]}\n",
    "models/stg.sql": "select * from {{ source('raw', 'people') }} where {{ is_kept('id') }}\n",
    "models/dim.sql": (
        "{{ config(tags=['crm']) }}select s.id, s.name, s.account, s.born, now() as at, '{{ env_var('REGION', 'none') }}' as region\n"
        "from {{ ref('stg') }} as s left join {{ ref('codes') }} as c on c.code = s.account\n"
        "where '{{ target.name }}' <> '' and {{ env_var('LEVEL') }} > 0\n"
    ),
    "macros/m.sql": "{% macro is_kept(x) %}{{ x }} <> 'none'{% endmacro %}\n",
    "seeds/codes.csv": "code,n\na,1\n",
    "seeds/seeds.yml": "version: 2\nseeds:\n  - {name: codes, column_types: {n: integer}}\n",
    "syncs/all.yml": SYNC,
}
TABLES = (
    "CREATE SCHEMA raw",
    "CREATE TABLE raw.people (id VARCHAR, name VARCHAR, account VARCHAR, born DATE)",
    "CREATE TABLE raw.accounts (id VARCHAR, name VARCHAR)",
    "CREATE VIEW raw.seen AS SELECT id, name, account, born FROM raw.people",
)
ENV = {"LEVEL": "1", "UNUSED": "1", "HOME": "/nowhere"}


@dataclass
class Lab:
    """A project folder with its warehouse, and how it is compiled."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: dict(ENV))
    vars: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    select: tuple[str, ...] = ()
    contract: Contract | None = ORG

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text("utf-8")
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def sql(self, *statements: str) -> None:
        with duckdb.connect(str(self.root / "wh.duckdb")) as db:
            for statement in statements:
                db.execute(statement)

    def session(self, root: Path | None = None) -> Session:
        options = Options(
            root or self.root, target=self.target, vars=self.vars, select=self.select, env=self.env
        )
        return Session(options, "plan")

    def compile(self, *, anew: bool = False) -> Manifest:
        with self.session() as session:
            return compile_session(session, self.contract, asked=True, anew=anew)

    def kept(self) -> dict[str, bytes]:
        """Every kept file; each compile writes another salt, so equal files mean that nothing was compiled."""
        folder = self.root / ".sfsync" / "compiled"
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.json")}

    def is_kept(self) -> bool:
        """Compile, and say whether what was kept was used; what comes out is compared with a compile from nothing."""
        before = self.kept()
        found = self.compile()
        used = before == self.kept() and any(name.startswith("targets") for name in before)
        assert found == self.from_nothing()
        return used

    def from_nothing(self) -> Manifest:
        """The manifest of the same project in a folder that never compiled."""
        copy = self.root.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.root, copy, ignore=shutil.ignore_patterns("compiled"))
        with self.session(copy) as session:
            return compile_session(session, self.contract, asked=True)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "acme")
    for name, text in FILES.items():
        made.write(name, text)
    made.sql(*TABLES)
    return made


def test_the_second_compile_is_the_first(lab: Lab) -> None:
    first = lab.compile()
    assert first.syncs
    assert first.warnings  # now() in a model; a star over a raw table
    before = lab.kept()
    assert set(before) == {"profile.json", "project.json", "targets/dev.json"}
    assert lab.compile() == first
    assert lab.kept() == before
    assert lab.is_kept()


def other_contract(change: Callable[[Any], Any], field: str = "LastName") -> Contract:
    contact = ORG.object("Contact")
    assert contact is not None
    fields = tuple(change(f) if f.name == field else f for f in contact.fields)
    return ORG.with_objects([replace(contact, fields=fields)])


def set_(**values: Any) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        for name, value in values.items():
            setattr(lab, name, value)

    return change


def edit(name: str, old: str, new: str) -> Callable[[Lab], None]:
    return lambda lab: lab.edit(name, old, new)


def sql(*statements: str) -> Callable[[Lab], None]:
    return lambda lab: lab.sql(*statements)


def write(name: str, text: str) -> Callable[[Lab], None]:
    return lambda lab: lab.write(name, text)


MOVED: list[tuple[str, Callable[[Lab], None]]] = [
    ("a byte of a model", edit("models/dim.sql", "s.name", "s.name ")),
    ("a byte of a macro", edit("macros/m.sql", "'none'", "'nune'")),
    ("a new model", write("models/more.sql", "select 1 as a")),
    ("a file's name", lambda lab: shutil.move(lab.root / "syncs/all.yml", lab.root / "syncs/one.yml")),
    ("a model in a subfolder", lambda lab: shutil.move(lab.root / "models/stg.sql", mkdir(lab, "models/x"))),
    ("a seed's type", edit("seeds/seeds.yml", "integer", "bigint")),
    ("a seed's rows", edit("seeds/codes.csv", "a,1", "b,1")),
    ("a source's schema", edit("models/sources.yml", "name: raw,", "name: raw, schema: raw,")),
    ("a source's table", edit("models/sources.yml", "{name: people}", "{name: people, identifier: seen}")),
    ("a sync's mapping", edit("syncs/all.yml", "Birthdate: born", "Description: name")),
    ("a sync's tags", edit("syncs/all.yml", "tags: daily", "tags: [daily, crm]")),
    ("a sync's filter", edit("syncs/all.yml", "name <>", "name is distinct from")),
    ("another file of syncs", write("syncs/more.yml", "version: 1\nsyncs: []\n")),
    ("the project's defaults", edit("sfsync_project.yml", "vars:", "syncs: {+nulls: keep}\nvars:")),
    ("the project's vars", edit("sfsync_project.yml", "nobody: x", "nobody: y")),
    ("the project's time zone", edit("sfsync_project.yml", "vars:", "timezone: Europe/Berlin\nvars:")),
    ("the command line's vars", set_(vars={"nobody": "y"})),
    ("a variable that had a default", set_(env=ENV | {"REGION": "eu"})),
    ("a variable's value", set_(env=ENV | {"LEVEL": "2"})),
    ("another target", set_(target="other")),
    ("another profile", edit("sfsync_project.yml", "profile: acme", "profile: acme2")),
    ("a label of the org", set_(contract=other_contract(lambda f: replace(f, label="Surname")))),
    ("a length in the org", set_(contract=other_contract(lambda f: replace(f, length=7)))),
    ("a picklist of the org", set_(contract=other_contract(lambda f: replace(f, picklist=("a",))))),
    ("the user of the org", set_(contract=replace(ORG, username="somebody@acme.com"))),
    ("an org that nobody knows", set_(contract=None)),
    ("a column's type", sql("ALTER TABLE raw.people ALTER born TYPE TIMESTAMP")),
    ("a new column", sql("ALTER TABLE raw.accounts ADD COLUMN more INTEGER")),
    ("a new table", sql("CREATE TABLE raw.more (a INTEGER)")),
    ("a table that became a view", sql("ALTER TABLE raw.accounts RENAME TO was", "CREATE VIEW raw.accounts AS SELECT id, name FROM raw.was")),
]  # fmt: skip


def mkdir(lab: Lab, name: str) -> Path:
    (lab.root / name).mkdir()
    return lab.root / name


@pytest.mark.parametrize("change", [case[1] for case in MOVED], ids=[case[0] for case in MOVED])
def test_what_a_compile_is_made_of_makes_it_compile_again(lab: Lab, change: Callable[[Lab], None]) -> None:
    lab.compile()
    change(lab)
    assert not lab.is_kept()
    assert lab.is_kept()


STAYED: list[tuple[str, Callable[[Lab], None]]] = [
    ("a variable that nothing reads", set_(env=ENV | {"UNUSED": "2"})),
    ("a selection", set_(select=("contacts",))),
    ("when the org was described", set_(contract=replace(ORG, fetched_at="2031-01-01T00:00:00Z"))),
    ("a file that is no part of it", write("models/notes.txt", "hello")),
    ("rows", sql("INSERT INTO raw.people VALUES ('1', 'a', 'b', NULL)")),
    ("another target's settings", edit("profiles.yml", "    other: {", "    other: {threads: 2, ")),
]


@pytest.mark.parametrize("change", [case[1] for case in STAYED], ids=[case[0] for case in STAYED])
def test_what_has_no_part_in_a_compile_leaves_it(lab: Lab, change: Callable[[Lab], None]) -> None:
    lab.compile()
    change(lab)
    with lab.session() as session:
        assert session.target  # profiles.yml is kept apart
    assert lab.is_kept()


def test_a_view_that_answers_otherwise_is_seen_where_it_is_selected(lab: Lab) -> None:
    lab.edit("models/sources.yml", "{name: people}", "{name: people, identifier: seen}")
    lab.compile()
    born = [c.type for c in lab.compile().syncs[1].rules[-1:] for c in (c.column,)]
    assert born == ["DATE"]
    lab.sql(
        "CREATE OR REPLACE VIEW raw.seen AS SELECT id, name, account, born::TIMESTAMP AS born FROM raw.people"
    )
    lab.select = ("accounts",)
    before = lab.kept()
    lab.compile()
    assert lab.kept() == before  # it has no part in what was asked for
    lab.select = ()
    assert not lab.is_kept()
    lab.sql("CREATE OR REPLACE VIEW raw.seen AS SELECT id, name, account, 1 / 0 AS was_born FROM raw.people")
    with pytest.raises(CompileError, match="born"):
        lab.compile()


def test_errors_are_never_kept(lab: Lab) -> None:
    lab.compile()
    good = lab.kept()
    lab.edit("models/dim.sql", "s.born", "s.borne")
    for _ in range(2):
        with pytest.raises(CompileError, match="borne"):
            lab.compile()
    assert lab.kept() == good
    lab.edit("models/dim.sql", "s.borne", "s.born")
    assert lab.is_kept()


def test_two_targets_stand_side_by_side(lab: Lab) -> None:
    for target in ("dev", "other", None):
        lab.target = target
        lab.compile()
    for target in ("dev", "other"):
        lab.target = target
        with lab.session() as session:
            assert session.target.target == target
        assert lab.is_kept()


def test_compile_itself_always_compiles(lab: Lab) -> None:
    lab.compile()
    before = lab.kept()["targets/dev.json"]
    assert lab.compile(anew=True) == lab.compile()
    assert lab.kept()["targets/dev.json"] != before


def test_selections_and_artifacts_are_the_same(lab: Lab) -> None:
    texts, names = [], []
    for _ in range(2):
        with lab.session() as session:
            manifest = compile_session(session, ORG, asked=True)
            write_compiled(session, manifest)
            chosen = {}
            for select in ("dim+", "tag:daily", "tag:crm+", "object:Account", "+contacts", "codes+"):
                session.options = replace(session.options, select=(select,))
                chosen[select] = selected_names(session, manifest)
            names.append(chosen)
        target = lab.root / "target"
        found = {str(p.relative_to(target)): p.read_text("utf-8") for p in target.rglob("*") if p.is_file()}
        body = json.loads(found.pop("manifest.json"))
        del body["metadata"]
        texts.append((found, body))
    assert texts[0] == texts[1]
    assert names[0] == names[1]
    assert names[0]["codes+"] == ("contacts",)
    assert "compiled/syncs/contacts.sql" in texts[0][0]


# What was kept is not trusted


def damage(name: str, text: str | bytes) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        path = lab.root / ".sfsync" / "compiled" / name
        assert path.is_file()
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return change


def rewrite(name: str, change: Callable[[Any], Any]) -> Callable[[Lab], None]:
    def rewritten(lab: Lab) -> None:
        path = lab.root / ".sfsync" / "compiled" / name
        path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), encoding="utf-8")

    return rewritten


def truncate(name: str) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        path = lab.root / ".sfsync" / "compiled" / name
        path.write_bytes(path.read_bytes()[:-10])

    return change


def huge(name: str) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        path = lab.root / ".sfsync" / "compiled" / name
        with path.open("r+b") as file:
            file.truncate(MAX_BYTES + 1)  # sparse: it takes no room

    return change


def is_folder(name: str) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        path = lab.root / ".sfsync" / "compiled" / name
        path.unlink()
        path.mkdir()

    return change


def stamp(lab: Lab, name: str) -> tuple[int, int]:
    found = (lab.root / ".sfsync" / "compiled" / name).stat()
    return found.st_ino, found.st_size


def put(data: list[Any], at: int, value: Any) -> list[Any]:
    data[at] = value
    return data


DAMAGES: list[tuple[str, Callable[[str], Callable[[Lab], None]]]] = [
    ("empty", lambda name: damage(name, "")),
    ("garbage", lambda name: damage(name, b"\xff\xfe\x00garbage")),
    ("not a list", lambda name: damage(name, "{}")),
    ("null", lambda name: damage(name, "null")),
    ("deep", lambda name: damage(name, "[" * 200_000)),
    ("truncated", truncate),
    ("huge", huge),
    ("of another build", lambda name: rewrite(name, lambda data: put(data, 0, "0" * 64))),
    ("a value too few", lambda name: rewrite(name, lambda data: data[:-1])),
    ("a value too many", lambda name: rewrite(name, lambda data: [*data, 1])),
    ("a wrong type", lambda name: rewrite(name, lambda data: put(data, -1, [1] * len(data[-1])))),
    ("a number for a text", lambda name: rewrite(name, lambda data: put(data, -1, put(data[-1], 0, 7)))),
    ("nothing for a text", lambda name: rewrite(name, lambda data: put(data, -1, put(data[-1], 0, None)))),
]


@pytest.mark.parametrize("name", ["project.json", "profile.json", "targets/dev.json"])
@pytest.mark.parametrize("way", [case[1] for case in DAMAGES], ids=[case[0] for case in DAMAGES])
def test_a_damaged_file_is_made_anew(
    lab: Lab, name: str, way: Callable[[str], Callable[[Lab], None]]
) -> None:
    lab.compile()
    way(name)(lab)
    broken = stamp(lab, name)
    with lab.session() as session:
        assert session.target.target == "dev"
    if name == "project.json":  # its facts are kept with the next manifest
        shutil.rmtree(lab.root / ".sfsync" / "compiled" / "targets")
    lab.compile()
    assert stamp(lab, name) != broken
    assert lab.is_kept()


def test_a_folder_in_a_files_place_costs_time_only(lab: Lab) -> None:
    lab.compile()
    for name in ("project.json", "profile.json", "targets/dev.json"):
        is_folder(name)(lab)
    assert lab.compile() == lab.from_nothing()


def test_a_file_in_the_folders_place_costs_time_only(lab: Lab) -> None:
    (lab.root / ".sfsync").mkdir()
    lab.write(".sfsync/compiled", "mine")
    assert lab.compile() == lab.compile()
    assert (lab.root / ".sfsync" / "compiled").read_text() == "mine"


def test_nothing_but_values_comes_out_of_a_file(lab: Lab) -> None:
    """A checked-out folder may hold any file; what is in it becomes texts and numbers or is not used."""
    lab.compile()
    change = rewrite(
        "targets/dev.json", lambda data: put(data, -1, {"__class__": "os.system", "args": ["x"]})
    )
    change(lab)
    assert not lab.is_kept()


def test_files_are_private_and_hold_no_value_of_the_environment(lab: Lab) -> None:
    secret = "hush-hush-4711"
    lab.edit(
        "profiles.yml",
        "org: {type: local}}\n    other",
        "org: {type: salesforce, domain: acme, auth: client_credentials, client_id: \"{{ env_var('APP') }}\","
        " client_secret: \"{{ env_var('S') }}\"}}\n    other",
    )
    lab.env |= {"S": secret, "APP": "the-app-id", "LEVEL": "123454321"}
    with lab.session() as session:
        assert session.target.sign_in is not None
        assert session.target.sign_in.login_url == "https://acme.my.salesforce.com"
        session.open_store(write=False, starts_empty=True)
        compile_session(session, ORG, asked=True)
    kept = lab.kept()
    assert set(kept) == {"profile.json", "project.json", "targets/dev.json"}
    for name, content in kept.items():
        path = lab.root / ".sfsync" / "compiled" / name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert secret.encode() not in content
        assert b"the-app-id" not in content
    assert (
        kept["targets/dev.json"].count(b"123454321") > 0
    )  # it stands in the model's SQL, as in target/compiled
    lab.env["LEVEL"] = "5"
    lab.compile()
    assert b"123454321" not in lab.kept()["targets/dev.json"]


def test_a_secret_that_a_model_took_is_hidden_on_a_hit_too(lab: Lab) -> None:
    """A value is known as secret once profiles.yml is read; a kept compile whose models hold the value reads it too."""
    lab.edit(
        "profiles.yml",
        "org: {type: local}}\n    other",
        "org: {type: salesforce, domain: acme, auth: client_credentials, client_id: a,"
        " client_secret: \"{{ env_var('S') }}\"}}\n    other",
    )
    lab.edit("models/dim.sql", "env_var('REGION', 'none')", "env_var('S')")
    lab.env["S"] = "hush-hush-4713"
    lab.compile()
    shown = (
        "import sys; from pathlib import Path; from sfsync.contract import from_json; from sfsync.errors import SfsyncError\n"
        "import json, sfsync; from sfsync.jobs.compile import compile_session; from sfsync.jobs.session import Options, Session\n"
        "org = from_json((Path(sfsync.__file__).parent / 'local_org' / 'schema.json').read_text('utf-8'))\n"
        "with Session(Options(Path(sys.argv[1]), env=json.loads(sys.argv[2])), 'plan') as session:\n"
        "    compile_session(session, org, asked=True)\n"
        "print('sqlglot' in sys.modules, SfsyncError('the value hush-hush-4713 does not fit'))\n"
    )
    command = [sys.executable, "-c", shown, str(lab.root), json.dumps(lab.env)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("False "), "what was kept was used"
    assert "hush-hush-4713" not in said


def test_a_secret_that_went_away_is_missed_at_once(lab: Lab) -> None:
    lab.edit(
        "profiles.yml",
        "org: {type: local}}\n    other",
        "org: {type: salesforce, domain: \"{{ env_var('D') }}\", auth: client_credentials, client_id: a,"
        " client_secret: \"{{ env_var('S') }}\"}}\n    other",
    )
    lab.env |= {"S": "one-secret", "D": "acme"}

    def login() -> str | None:
        with lab.session() as session:
            assert session.target.sign_in is not None
            return session.target.sign_in.login_url

    assert login() == login() == "https://acme.my.salesforce.com"
    before = lab.kept()["profile.json"]
    lab.env["S"] = "another-secret"
    assert login() == "https://acme.my.salesforce.com"
    assert lab.kept()["profile.json"] == before  # nothing of a secret's value is kept, so it does not count
    lab.env["D"] = "zenith"
    assert login() == "https://zenith.my.salesforce.com"
    for broken in ({}, {"S": ""}):
        lab.env = ENV | {"D": "zenith"} | broken
        for _ in range(2):
            with pytest.raises(ProfileError, match=r"S is not set|must not be blank"):
                login()


def test_the_target_is_read_again_when_its_file_or_a_variable_moves(lab: Lab) -> None:
    lab.edit("profiles.yml", "path: wh.duckdb", "path: \"{{ var('db') }}.duckdb\"")
    lab.vars = {"db": "wh"}

    def database() -> str | None:
        with lab.session() as session:
            return session.target.database

    assert database() == database() == str(lab.root / "wh.duckdb")
    lab.vars = {"db": "other"}
    assert database() == str(lab.root / "other.duckdb")
    lab.edit("profiles.yml", "var('db')", "env_var('DB', 'third')")
    assert database() == str(lab.root / "third.duckdb")
    lab.env["DB"] = "fourth"
    assert database() == str(lab.root / "fourth.duckdb")
    (lab.root / "profiles.yml").unlink()
    with pytest.raises(ProfileError, match=r"no profiles\.yml"):
        database()


def test_vars_of_a_caller_that_json_cannot_tell_apart_are_never_kept(lab: Lab) -> None:
    lab.vars = {"nobody": (1, 2)}
    first = lab.compile()
    lab.vars = {"nobody": [1, 2]}
    assert lab.compile() != first
    assert lab.is_kept()


def test_a_project_that_moves_while_it_is_compiled_is_not_kept(lab: Lab) -> None:
    with lab.session() as session:
        assert session.facts.name == "acme"  # its files are read now
        lab.edit("models/dim.sql", "s.name,", "upper(s.name) as name,")
        compile_session(session, ORG, asked=True)
    assert set(lab.kept()) == {"profile.json"}
    assert not lab.is_kept()


def test_what_changes_by_itself_is_refused_in_templates(lab: Lab) -> None:
    for text in ("{{ [1, 2] | random }}", "{{ lipsum() }}"):
        lab.write("models/odd.sql", f"select {text} as a")
        with pytest.raises(SfsyncError, match=r"random|lipsum"):
            lab.compile()


def test_a_project_without_anything(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "empty")
    lab.write("sfsync_project.yml", "name: e\nversion: '1'\nprofile: e\n")
    lab.write("profiles.yml", "e: {outputs: {dev: {warehouse: {type: duckdb}, org: {type: local}}}}\n")
    lab.compile()
    assert lab.is_kept()


def test_odd_names_and_texts(lab: Lab) -> None:
    lab.write("models/zug_é.txt", "")
    lab.write("models/sub dir/ünder.yml", "version: 2\nsources: []\n")
    lab.write(
        "models/odd.sql", "select '\U0001f642 \u2028' as a, 'é' as \"B b\"\n-- a comment without an end"
    )
    lab.write(
        "syncs/odd.yml",
        'version: 1\nsyncs:\n  - {name: odd, model: dim, description: "\\U0001F642 \\x01", object: Contact,\n'
        "     identity: {Customer_Id__c: id}, fields: {LastName: {column: name, shared: true}}}\n",
    )
    lab.edit("syncs/all.yml", "LastName: name", "LastName: {column: name, shared: true}")
    lab.compile()
    assert lab.is_kept()


def test_the_template_compiles_once(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "template", vars={"dirty": True})
    shutil.copytree(Path(__file__).parents[2] / "project_template", lab.root)
    first = lab.compile()
    assert len(first.syncs) == 3
    assert lab.is_kept()
    lab.select = ("contacts+",)
    assert lab.is_kept()


COMMAND = """
import sys
from sfsync.cli.main import main
sys.argv = ["sfsync", *sys.argv[1:]]
try:
    main()
finally:
    print(*sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def start(root: Path, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, *args, "--project-dir", str(root)]
    env = os.environ | ENV | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_an_unchanged_project_starts_without_the_parsers(lab: Lab) -> None:
    shown = []
    for heavy in (True, False):
        process = start(lab.root, "ls", "--select", "contacts")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert ("sqlglot" in err.split()) == heavy
        shown.append(out)
        loaded = {"pydantic", "jinja2", "yaml", "requests", "simple_salesforce"} & set(err.split())
        assert heavy or not loaded
    assert shown[0] == shown[1] == "contacts\n"


def test_processes_that_compile_at_once_leave_whole_files(lab: Lab) -> None:
    lab.contract = None
    lab.compile()  # loads the seeds, which one process does at a time
    shutil.rmtree(lab.root / ".sfsync" / "compiled")
    processes = [start(lab.root, "ls") for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert {out for out, _ in answers} == {"accounts\ncontacts\n"}
    before = lab.kept()["targets/dev.without-org.json"]
    assert lab.compile() == lab.from_nothing()
    assert lab.kept()["targets/dev.without-org.json"] == before
    assert not list((lab.root / ".sfsync" / "compiled").rglob("*.tmp"))
