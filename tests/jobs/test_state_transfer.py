"""`state export` and `state import`: everything goes there and comes back, or nothing happens at all."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sfsync.errors import StateError, StateLockedError
from sfsync.jobs.state_check import state_check_command
from sfsync.jobs.state_export import state_export_command
from sfsync.jobs.state_import import state_import_command
from sfsync.ports import SystemClock
from sfsync.state.lock import StateLock
from sfsync.state.transfer import MANIFEST, ExportManifest
from tests.jobs.conftest import STATE, Team, outcomes, prepared
from tests.jobs.test_recovery import crash
from tests.jobs.test_state_care import everything


def export(team: Team, name: str = "backup") -> ExportManifest:
    return state_export_command(team.options(), team.folder / name)


def import_(team: Team, name: str = "backup") -> ExportManifest:
    return state_import_command(team.options(), team.folder / name)


def left(team: Team) -> set[str]:
    """What stands in the private folder beside the state, locks apart."""
    return {p.name for p in (team.folder / ".sfsync").iterdir() if p.name.startswith("prod.duckdb")} - {
        "prod.duckdb",
        "prod.duckdb.lock",
        "prod.duckdb.holder.json",
    }


def whole(team: Team) -> dict[str, list[Any]]:
    """Every row of every table."""
    with duckdb.connect(str(team.folder / STATE), read_only=True) as db:
        tables = db.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {
            f"{schema}.{table}": sorted(map(repr, db.execute(f'SELECT * FROM {schema}."{table}"').fetchall()))
            for schema, table in tables
        }


@pytest.fixture
def exported(ready: Team) -> Team:
    """A state with records, refused rows, a learned size and an open request; exported to `backup`."""
    ready.sync("contacts", push={"api": "collections"})
    ready.sql("INSERT INTO raw.contacts (id, last, email) VALUES ('C4', 'Bad', 'no mail')")
    ready.run()
    ready.sql("UPDATE raw.contacts SET title = 'x' WHERE id = 'C1'")
    crash(ready, "after write")
    with duckdb.connect(str(ready.folder / STATE)) as db:
        db.execute("INSERT INTO learned VALUES ('Contact', 'collection_rows', 150)")
    export(ready)
    return ready


def test_a_state_goes_out_and_comes_back_whole(exported: Team) -> None:
    before, path = whole(exported), exported.folder / STATE
    assert all(
        before[f"main.{name}"]
        for name in ("rejected", "intents", "ledger", "usage", "learned", "contract", "runs")
    )
    path.unlink()
    manifest = import_(exported)
    assert whole(exported) == before
    assert (manifest.records, manifest.org_id, manifest.target) == (5, exported.org.org_id, "prod")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert left(exported) == set()
    assert state_check_command(exported.options()).faults == ()
    result = exported.run()
    assert len(result.recovered) == 1, "the open request came along"
    assert outcomes(result, "contacts") == {"updated": 1, "unchanged": 2, "held": 1}
    assert not exported.plan().has_changes


def test_an_export_is_private_and_tells_what_is_in_it(exported: Team) -> None:
    folder = exported.folder / "backup"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    body = json.loads((folder / MANIFEST).read_text())
    assert {p.name for p in folder.iterdir()} == {item["file"] for item in body["files"]} | {MANIFEST}
    assert body["syncs"][1] == {
        "sync": "contacts",
        "object": "Contact",
        "identity": ["Customer_Id__c"],
        "records": 3,
        "tombstones": 0,
    }
    with duckdb.connect() as db:
        found = db.execute(
            f"SELECT _key, \"LastName\" FROM '{folder}/snapshot.contacts.parquet' ORDER BY ALL"
        ).fetchall()
    assert found == [("c1", "Ito"), ("c2", "Müller"), ("c3", "Okafor")]


def test_an_export_overwrites_nothing(exported: Team) -> None:
    before = {p.name: p.read_bytes() for p in (exported.folder / "backup").iterdir()}
    with pytest.raises(StateError, match="there is something at") as caught:
        export(exported)
    assert caught.value.fix
    assert {p.name: p.read_bytes() for p in (exported.folder / "backup").iterdir()} == before
    (exported.folder / "empty").mkdir()
    export(exported, "empty")
    assert not [p for p in exported.folder.iterdir() if p.name.endswith(".part")]


def test_an_empty_state_gives_way_and_keeps_its_account(exported: Team, initialised: Path) -> None:
    before = whole(exported)
    (exported.folder / STATE).unlink()
    shutil.copy(initialised / STATE, exported.folder / STATE)
    with duckdb.connect(str(exported.folder / STATE)) as db:
        db.execute("INSERT INTO ledger VALUES (now()::TIMESTAMP, 'init', 'describe', 2, 0)")
    import_(exported)
    after = whole(exported)
    assert len(after["main.ledger"]) == len(before["main.ledger"]) + 1
    assert {k: v for k, v in after.items() if k != "main.ledger"} == {
        k: v for k, v in before.items() if k != "main.ledger"
    }


def test_a_state_that_knows_something_does_not_give_way(exported: Team) -> None:
    before = everything(exported)
    with pytest.raises(StateError, match="is not empty") as caught:
        import_(exported)
    assert "move" in (caught.value.fix or "")
    assert everything(exported) == before


def test_a_state_that_is_held_does_not_give_way(exported: Team) -> None:
    (exported.folder / STATE).unlink()
    lock = StateLock(exported.folder / STATE, SystemClock())
    lock.acquire("run")
    try:
        with pytest.raises(StateLockedError):
            import_(exported)
    finally:
        lock.release()
    assert not (exported.folder / STATE).exists()


def test_a_log_without_its_state_is_not_taken_over(exported: Team) -> None:
    (exported.folder / STATE).unlink()
    log = exported.folder / f"{STATE}.wal"
    log.write_bytes(b"x")
    with pytest.raises(StateError, match="write-ahead log without its state"):
        import_(exported)
    assert log.exists()


def manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        body = json.loads((folder / MANIFEST).read_text())
        change(body)
        (folder / MANIFEST).write_text(json.dumps(body))

    return apply


def flip(folder: Path) -> None:
    path = folder / "snapshot.contacts.parquet"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))


def forged(table: str, select: str) -> Callable[[Path], None]:
    """Another Parquet file whose size, digest and rows the manifest tells right."""

    def apply(folder: Path) -> None:
        import hashlib

        path = folder / f"{table}.parquet"
        with duckdb.connect() as db:
            db.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
            rows = db.execute(f"SELECT count(*) FROM '{path}'").fetchall()[0][0]
        body = json.loads((folder / MANIFEST).read_text())
        for item in body["files"]:
            if item["file"] == path.name:
                item |= {"rows": rows, "bytes": path.stat().st_size}
                item["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / MANIFEST).write_text(json.dumps(body))

    return apply


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda body: body.update(files=[item for item in body["files"] if item["table"] != name])


DAMAGED: list[tuple[str, Callable[[Path], Any], str]] = [
    ("no folder", shutil.rmtree, "is no export of a state: it has no manifest.json"),
    ("no manifest", lambda f: (f / MANIFEST).unlink(), "has no manifest.json"),
    ("half a manifest", lambda f: (f / MANIFEST).write_text((f / MANIFEST).read_text()[:500]), "manifest.json: it cannot be read"),
    ("a list", lambda f: (f / MANIFEST).write_text("[]"), "manifest.json: it cannot be read"),
    ("no list of files", manifest(lambda b: b.pop("files")), "not in the form of an export"),
    ("a key more", manifest(lambda b: b.update(more=1)), "not in the form of an export"),
    ("a newer format", manifest(lambda b: b.update(format=2)), "format 2, state version"),
    ("a newer state", manifest(lambda b: b.update(state_version=99)), "state version 99"),
    ("a path", manifest(lambda b: b["files"][0].update(file="../../../x.parquet")), "names a file that no export has"),
    ("another org", manifest(lambda b: b.update(org_id="00D000000000001AAA")), "belongs to org 00D000000000001AAA, but the target 'prod' is org"),
    ("no org", manifest(lambda b: b.update(org_id=None)), "not the manifest of these files"),
    ("an older version", manifest(lambda b: b.update(state_version=2)), "damaged"),
    ("a file missing", lambda f: (f / "snapshot.contacts.parquet").unlink(), "snapshot.contacts.parquet: it is missing"),
    ("a file cut", lambda f: (f / "main.ledger.parquet").write_bytes((f / "main.ledger.parquet").read_bytes()[:-10]), "bytes were written|were written"),
    ("a bit", flip, "its digest is not the one in the manifest"),
    ("no Parquet", lambda f: forged("main.rejected", "SELECT 1 AS x")(f) or (f / "main.rejected.parquet").write_text("x"), "were written"),
    ("a foreign table", forged("main.rejected", "SELECT 1 AS x"), "main.rejected.parquet"),
    ("no snapshot", forged("snapshot.contacts", "SELECT 1 AS x"), "snapshot.contacts.parquet: it is no snapshot"),
    ("a table left out", manifest(without("intents")), "does not list each table once \\(intents\\)"),
    ("a snapshot left out", manifest(without("contacts")), "does not list each table once \\(contacts\\)"),
    ("rows left out", manifest(lambda b: [i.update(rows=7) for i in b["files"]]), "7 were written"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [c[1:] for c in DAMAGED], ids=[c[0] for c in DAMAGED])
def test_what_is_no_whole_export_of_this_org_is_refused(
    backup: Path, team: Team, initialised: Path, change: Callable[[Path], Any], words: str
) -> None:
    shutil.copytree(backup, team.folder / "backup")
    change(team.folder / "backup")
    with pytest.raises(StateError, match=words) as caught:
        import_(team)
    assert caught.value.fix
    assert not (team.folder / STATE).exists()
    assert left(team) == set()
    # an empty state is no worse off
    (team.folder / STATE).parent.mkdir(exist_ok=True, mode=0o700)
    shutil.copy(initialised / STATE, team.folder / STATE)
    before = whole(team)
    with pytest.raises(StateError, match=words):
        import_(team)
    assert whole(team) == before
    assert left(team) == set()


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory, initialised: Path, running_org: Any) -> Path:
    """An export, made once."""
    running_org.begin()
    team = prepared(Team(tmp_path_factory.mktemp("backup") / "team", running_org), initialised)
    team.run()
    export(team)
    return team.folder / "backup"
