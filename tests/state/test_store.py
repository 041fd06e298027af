"""The state file: made, locked, versioned, bound to one org; nothing of it is ever reset."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sfsync.errors import StateError, StateLockedError
from sfsync.state.holder import read_holder
from sfsync.state.lock import StateLock, current_holder
from sfsync.state.migrations import VERSION
from tests.state.conftest import HandClock, Open

ORG, OTHER = "00D000000000001AAA", "00D000000000002AAA"


def test_a_missing_state_is_refused_where_it_may_not_start_empty(opened: Open, path: Path) -> None:
    for write in (True, False):
        with pytest.raises(StateError, match="does not know what this org has acknowledged") as caught:
            opened(write=write, starts_empty=False)
        assert "state init --empty" in (caught.value.fix or "")
    assert not path.exists()


def test_reading_a_state_that_is_not_there_leaves_no_trace(opened: Open, path: Path) -> None:
    store = opened(write=False)
    assert store.meta("version") == str(VERSION)
    assert not path.parent.exists()


def test_a_state_is_private_and_knows_its_version(opened: Open, path: Path) -> None:
    store = opened()
    assert store.meta("version") == str(VERSION)
    store.set_meta("a", "1")
    store.set_meta("a", "2")
    store.close()
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert opened(write=False).meta("a") == "2"


def test_a_state_belongs_to_one_org(opened: Open, path: Path) -> None:
    store = opened()
    store.bind(ORG)
    store.bind(ORG)
    with pytest.raises(
        StateError, match=f"belongs to org {ORG}, but this connection is to org {OTHER}"
    ) as caught:
        store.bind(OTHER)
    assert caught.value.exit_code == 2
    assert str(path) in caught.value.what
    assert store.meta("org_id") == ORG


def sql(path: Path, *statements: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


BROKEN: list[tuple[str, Any, str]] = [
    (
        "newer",
        lambda p: sql(p, f"UPDATE meta SET value = '{VERSION + 1}' WHERE name = 'version'"),
        f"version {VERSION + 1}",
    ),
    ("no version", lambda p: sql(p, "DELETE FROM meta"), "not an sfsync state"),
    ("odd version", lambda p: sql(p, "UPDATE meta SET value = 'x'"), "not an sfsync state"),
    ("another table", lambda p: (p.unlink(), sql(p, "CREATE TABLE mine (a INTEGER)")), "not an sfsync state"),
    ("text", lambda p: p.write_text("hello " * 3000), "is not a DuckDB database"),
    ("empty", lambda p: p.write_bytes(b""), "is not a DuckDB database"),
    ("cut off", lambda p: p.write_bytes(p.read_bytes()[:5000]), "prod.duckdb"),
]


@pytest.mark.parametrize("write", [True, False], ids=["write", "read"])
@pytest.mark.parametrize(("change", "words"), [c[1:] for c in BROKEN], ids=[c[0] for c in BROKEN])
def test_what_is_no_state_of_ours_is_refused_and_left_alone(
    opened: Open, path: Path, change: Any, words: str, write: bool
) -> None:
    opened().close()
    change(path)
    before = path.read_bytes()
    with pytest.raises(StateError, match=words) as caught:
        opened(write=write)
    assert caught.value.fix
    assert path.read_bytes() == before
    StateLock(path, HandClock()).acquire("plan")  # the lease was given back


def test_an_interrupted_first_start_is_begun_anew(opened: Open, path: Path) -> None:
    """A file without any table is what a kill between making the file and its tables leaves."""
    sql(path, "SELECT 1")
    with duckdb.connect() as connection:
        path.unlink()
        connection.execute(f"ATTACH '{path}' AS s (STORAGE_VERSION 'v1.4.0')")
    assert opened().meta("version") == str(VERSION)


# ------------------------------------------------------------ the lease


def test_the_lease_says_who_holds_it_and_counts_its_owners(path: Path, clock: HandClock) -> None:
    first = StateLock(path, clock)
    holder = first.acquire("run")
    assert read_holder(path) == holder
    with pytest.raises(StateLockedError) as caught:
        StateLock(path, clock).acquire("retry")
    assert caught.value.exit_code == 3
    assert (
        f"held by `sfsync run` of {holder.owner}@{holder.host}, process {holder.pid}, since 2026-07-22T09:00"
        in (caught.value.what)
    )
    first.release()
    first.release()
    assert StateLock(path, clock).acquire("retry").epoch == holder.epoch + 1


@pytest.mark.parametrize("note", ["", "{", "[]", '{"command": "run"}', '{"unknown": 1}'])
def test_a_note_that_cannot_be_read_is_no_reason_to_fail(path: Path, clock: HandClock, note: str) -> None:
    path.parent.mkdir()
    path.with_name(path.name + ".holder.json").write_text(note)
    assert read_holder(path) is None
    lock = StateLock(path, clock)
    assert lock.acquire("run").epoch == 1


def test_a_note_is_only_believed_while_the_lease_is_held(path: Path, clock: HandClock) -> None:
    lock = StateLock(path, clock)
    holder = lock.acquire("run")
    assert current_holder(path, clock) == holder
    lock.release()
    assert current_holder(path, clock) is None


HOLD = """
import os, sys
from pathlib import Path
from sfsync.ports import SystemClock
from sfsync.state.lock import StateLock
lock = StateLock(Path(sys.argv[1]), SystemClock())
lock.acquire("run")
print("holding", flush=True)
sys.stdin.read()
os._exit(1)
"""


def test_the_lease_of_a_process_that_died_is_free(path: Path, clock: HandClock) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    with pytest.raises(StateLockedError, match=f"process {process.pid}"):
        StateLock(path, clock).acquire("run")
    process.communicate("")
    assert StateLock(path, clock).acquire("run").epoch == 2


def test_a_reader_takes_the_lease_when_it_must_write(opened: Open, path: Path, clock: HandClock) -> None:
    opened().close()
    store = opened(write=False)
    assert current_holder(path, clock) is None
    with pytest.raises(Exception, match=r"read-only"):
        store.set_meta("a", "1")
    store.write()
    assert current_holder(path, clock) is not None
    store.set_meta("a", "1")
    store.close()
    assert current_holder(path, clock) is None
