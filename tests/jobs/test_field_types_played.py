"""Every row of docs/reference/field-types.md, by Bulk jobs and by Collections: what is sent, what the org then holds, what is refused.

Each row of the model brings one value into one field of a record that held another value before.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from sfsync.compiler import wire
from sfsync.engine.dialect import quote_literal
from sfsync.errors import ProjectError
from sfsync.local_org import control
from tests.conftest import OrgForTests
from tests.jobs.conftest import STATE, WAREHOUSE, Team, outcomes
from tests.support.field_type_page import WRITTEN_BY_NOBODY
from tests.support.field_types import CASES, IDENTITIES, KINDS, PARENT, TIMEZONE, Case, Kind, Refused

OBJECT, KEY = "Value__c", "Key__c"
KEY_FIELD = {"type": "string", "length": 10, "external_id": True, "id_lookup": True, "unique": True}
NAME = {"type": "string", "length": 80, "name_field": True}
UNWRITABLE = {f"N{n}__c": {"type": name, "label": name} for n, name in enumerate(WRITTEN_BY_NOBODY)}
SCHEMA = {
    "objects": {
        PARENT: {"label": "Parent", "key_prefix": "a00", "fields": {"Name": NAME, KEY: KEY_FIELD}},
        OBJECT: {"label": "Value", "fields": {KEY: KEY_FIELD} | {kind.field: kind.described for kind in KINDS} | UNWRITABLE},
    }
}  # fmt: skip
ROWS = {f"k{n:03}": pair for n, pair in enumerate(CASES)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrgForTests]:
    folder = tmp_path_factory.mktemp("field_types")
    schema = folder / "schema.json"
    schema.write_text(json.dumps(SCHEMA), "utf-8")
    yield OrgForTests(control.start(folder / "org", schema=schema, idle_minutes=30), folder)
    control.stop(folder / "org")


@dataclass(frozen=True)
class World:
    """A team with one sync, and the Ids of three parents by what the cases call them."""

    team: Team
    api: str
    ids: dict[str, str]

    def filled(self, text: str) -> str:
        for name, value in self.ids.items():
            text = text.replace("{" + name + "}", value)
        return text

    def first(self, kind: Kind, case: Case) -> str:
        """What the record holds before, which is never what the case sends."""
        return self.filled(next(text for text in kind.before if text != case.sent))

    def standing(self, kind: Kind, case: Case) -> str:
        """SQL of the value that brings what the record holds before."""
        text = quote_literal(self.first(kind, case))
        if kind.type == "datetime" and kind.column != "VARCHAR":
            return f"CAST({text} AS TIMESTAMPTZ)"  # a zone-less column then gets the zone's own clock
        if kind.type == "boolean":
            return f"CAST({text} AS BOOLEAN)"
        return f"[{text}]" if kind.column.endswith("[]") else text

    def load(self, *, before: bool) -> None:
        shape = ", ".join(f"{kind.source} {kind.column}" for kind in KINDS)
        with duckdb.connect(str(self.team.folder / WAREHOUSE)) as connection:
            connection.execute(f"SET TimeZone = '{TIMEZONE}'")
            connection.execute(f"CREATE OR REPLACE TABLE raw.kinds (key VARCHAR, {shape})")
            for key, (kind, case) in ROWS.items():
                value = self.standing(kind, case) if before else self.filled(case.value)
                connection.execute(f"INSERT INTO raw.kinds (key, {kind.source}) VALUES ('{key}', {value})")


def forms(record: str) -> dict[str, str]:
    """The forms of a record's Id that cases speak of."""
    short = record[:15]
    return {"id18": record, "id15": short, "id18_lower": short + record[15:].lower()}


@pytest.fixture(params=["collections", "bulk"])
def world(request: pytest.FixtureRequest, running: OrgForTests, tmp_path: Path) -> World:
    running.begin()
    team = Team(tmp_path / "team", running)
    for name in ("accounts", "contacts"):
        (team.folder / "syncs" / f"{name}.yml").unlink()
    project = {
        "name": "team",
        "version": "1",
        "profile": "team",
        "timezone": TIMEZONE,
        "syncs": {"match": "never"},
    }
    team.write("sfsync_project.yml", yaml.safe_dump(project))
    team.write("models/kinds.sql", "select * from raw.kinds")
    fields = {kind.field: {"column": kind.source} | kind.mapping for kind in KINDS}
    sync = {"name": "kinds", "model": "kinds", "object": OBJECT, "identity": {KEY: "key"}, "fields": fields}
    sync |= {"push": {"api": request.param}, "guards": {"max_change_share": 1.0, "max_reject_share": 1.0}}
    team.write("syncs/kinds.yml", yaml.safe_dump({"version": 1, "syncs": [sync]}))
    for n in (1, 2, 3):
        assert running.post(f"/sobjects/{PARENT}", json={"Name": f"P{n}", KEY: f"P{n}"}).ok
    one, two, three = (running.by(PARENT, KEY)[f"P{n}"]["Id"] for n in (1, 2, 3))
    ids = {"id_one": one, "id_two": two} | forms(three)
    team.init_state()
    return World(team, request.param, ids)


def refused(team: Team) -> dict[str, tuple[str, str, str]]:
    with duckdb.connect(str(team.folder / STATE), read_only=True) as connection:
        found = connection.execute("SELECT key, code, decided_by, field FROM rejected").fetchall()
    return {key: (code, by, field) for key, code, by, field in found}


def held(world: World, kind: Kind, case: Case) -> str | None:
    """What the org then has in the field; None for null."""
    if case.sent is None or isinstance(case.sent, Refused):
        before = world.first(kind, case)
        return (
            world.ids.get(f"id_{'one' if before == 'P1' else 'two'}", before)
            if before in ("P1", "P2")
            else before
        )
    return world.filled(case.holds or case.sent) or None


def test_what_is_sent_and_held_is_what_the_page_says(world: World) -> None:
    team = world.team
    world.load(before=True)
    assert outcomes(team.run("kinds"), "kinds") == {"created": len(ROWS)}, refused(team)
    made = {write["fields"][KEY]: write["fields"] for write in team.org.writes() if write["object"] == OBJECT}
    assert all(len(made[key]) == 2 for key in ROWS), "a null was sent with a create"
    writes = len(team.org.writes())
    world.load(before=False)
    told = outcomes(team.run("kinds"), "kinds")
    sent = team.org.writes()[writes:]
    wrong = compare(world, sent)
    assert not wrong, "\n".join(wrong)
    paths = {request["request"]: request["path"] for request in team.org.requests()}
    for write in sent:
        by_job = "/jobs/ingest" in paths[write["request"]]
        assert by_job == (world.api == "bulk" and "#N/A" not in write["fields"].values()), write
    wanted: dict[str, int] = {}
    for _, case in ROWS.values():
        word = (
            case.sent.outcome
            if isinstance(case.sent, Refused)
            else "unchanged"
            if case.sent is None
            else "updated"
        )
        wanted[word] = wanted.get(word, 0) + 1
    assert told == wanted


def compare(world: World, writes: list[dict[str, Any]]) -> list[str]:
    """What is otherwise than its case says, in words."""
    wrong = []
    records, told = world.team.org.by(OBJECT, KEY), refused(world.team)
    sent = {
        write["id"]: {name: text for name, text in write["fields"].items() if name != "Id"}
        for write in writes
    }
    for key, (kind, case) in ROWS.items():
        record = records[key]
        found: list[Any] = [record.get(kind.field), told.get(key), sent.get(record["Id"])]
        want: list[Any] = [held(world, kind, case), None, None]
        if isinstance(case.sent, Refused):
            want[1] = (case.sent.code, case.sent.by, kind.field)
        elif case.sent is not None:
            name = f"{kind.described['relationship_name']}.{KEY}" if case.holds else kind.field
            want[2] = {name: world.filled(case.sent) or None}
        if found != want:
            wrong.append(f"{kind.title} from {kind.column}, {case.name}: {found} instead of {want}")
    return wrong


def test_an_id_as_identity_is_what_the_page_says(world: World) -> None:
    team = world.team
    spec = {"name": "ids", "model": "ids", "object": PARENT, "mode": "update", "identity": {"Id": "id"}}
    spec |= {"fields": {"Name": "name"}, "guards": {"max_reject_share": 1.0, "max_change_share": 1.0}}
    spec |= {"push": yaml.safe_load((team.folder / "syncs/kinds.yml").read_text())["syncs"][0]["push"]}
    for name in ("syncs/kinds.yml", "models/kinds.sql"):
        (team.folder / name).unlink()
    team.write("syncs/ids.yml", yaml.safe_dump({"version": 1, "syncs": [spec]}))
    team.write("models/ids.sql", "select * from raw.ids")
    records = {}
    for n, case in enumerate(IDENTITIES):
        made = team.org.post(f"/sobjects/{PARENT}", json={"Name": "before", KEY: f"I{n}"})
        records[case] = made.json()["id"]
        values = World(team, world.api, forms(records[case])).filled(case.value)
        head = "CREATE OR REPLACE TABLE raw.ids AS" if n == 0 else "INSERT INTO raw.ids"
        team.sql(f"{head} SELECT CAST({values} AS VARCHAR) AS id, 'after {n}' AS name")
    result = team.run("ids")
    standing = {record["Id"]: record["Name"] for record in team.org.records(PARENT)}
    found = [standing[records[case]] for case in IDENTITIES]
    assert found == [
        "before" if isinstance(case.sent, Refused) else f"after {n}" for n, case in enumerate(IDENTITIES)
    ]
    ends = Counter(case.sent for case in IDENTITIES if isinstance(case.sent, Refused))
    gone = sum(ends.pop(end) for end in list(ends) if end.outcome == "gone")
    with duckdb.connect(str(team.folder / STATE), read_only=True) as connection:
        told = connection.execute("SELECT code, decided_by FROM rejected").fetchall()
    assert Counter((end.code, end.by) for end in ends.elements()) == Counter(told)
    assert outcomes(result, "ids") == {"adopted": 4, "rejected": ends.total(), "gone": gone}


@pytest.mark.parametrize("world", ["collections"], indirect=True)
def test_a_type_that_no_sync_writes_does_not_compile(world: World) -> None:
    path = world.team.folder / "syncs/kinds.yml"
    world.load(before=True)
    document = yaml.safe_load(path.read_text())
    document["syncs"][0]["fields"] |= dict.fromkeys(UNWRITABLE, "f00")
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ProjectError) as told:
        world.team.plan("kinds")
    findings = [str(one) for one in (told.value, *told.value.others)]
    assert [sum(name in one for one in findings) for name in UNWRITABLE] == [1] * len(UNWRITABLE), findings
    assert world.team.org.records(OBJECT) == []


def test_every_type_that_can_be_written_has_its_cases() -> None:
    assert {kind.type for kind in KINDS} | {"id"} == set(wire._TYPES)
