"""A state that cannot be trusted is refused by every command that opens it, with its path and the way out, never reset."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from sfsync.cli.main import cli
from sfsync.jobs.init import init_command
from sfsync.state.migrations import VERSION
from tests.jobs.conftest import STATE, Team, prepared

ROOT = Path(__file__).parents[2]

COMMANDS = {
    "plan": ["plan"],
    "run": ["run"],
    "retry": ["retry"],
    "status": ["status"],
    "history": ["history"],
    "state check": ["state", "check"],
    "state mv": ["state", "mv", "contacts", "people"],
    "state rekey": ["state", "rekey", "contacts"],
    "state forget": ["state", "forget", "contacts"],
    "state rebuild": ["state", "rebuild", "contacts", "--yes"],
    "state export": ["state", "export", "{folder}/out"],
    "state import": ["state", "import", "{folder}/backup"],
    "state init": ["state", "init", "--empty"],
}


def sql(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with duckdb.connect(str(path)) as db:
            for statement in statements:
                db.execute(statement)

    return change


def garbled(path: Path) -> None:
    """The first block after the headers: nothing can be read without it."""
    body = bytearray(path.read_bytes())
    body[4096 : len(body) // 2] = b"\xff" * (len(body) // 2 - 4096)
    path.write_bytes(bytes(body))


def another_program(path: Path) -> None:
    path.unlink()
    sql("CREATE TABLE mine (a INTEGER)")(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


KINDS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "garbled": (garbled, ""),
    "cut in half": (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), ""),
    "cut to its header": (lambda p: p.write_bytes(p.read_bytes()[:5000]), ""),
    "empty": (lambda p: p.write_bytes(b""), "is not a DuckDB database"),
    "text": (lambda p: p.write_text("hello " * 3000), "is not a DuckDB database"),
    "another program's": (another_program, "is a DuckDB file but not an sfsync state"),
    "newer sfsync": (
        sql(f"UPDATE meta SET value = '{VERSION + 1}' WHERE name = 'version'"),
        f"has version {VERSION + 1}; this sfsync knows versions up to {VERSION}",
    ),
    "another org's": (
        sql("UPDATE meta SET value = '00D000000000001AAA' WHERE name = 'org_id'", "UPDATE meta SET value = 'x' WHERE name = 'connection'"),
        "belongs to org 00D000000000001AAA, but this connection is to org",
    ),
    "a folder": (folder, "is a folder, not a DuckDB file"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, initialised: Path, running_org: Any) -> Path:
    """A team after a run, with an export; made once."""
    running_org.begin()
    team = prepared(Team(tmp_path_factory.mktemp("ran") / "team", running_org), initialised)
    team.run()
    done = call(team.folder, "state", "export", str(team.folder / "backup"))
    assert done.exit_code == 0, done.output
    return team.folder


@pytest.fixture
def copied(ran: Path, team: Team) -> Team:
    shutil.rmtree(team.folder)
    shutil.copytree(ran, team.folder)
    return team


def call(project: Path, *args: str) -> Any:
    words = [word.replace("{folder}", str(project)) for word in args]
    return CliRunner().invoke(cli, [*words, "--project-dir", str(project)])


def content(path: Path) -> bytes | None:
    return None if path.is_dir() else path.read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_cannot_be_trusted_is_refused_by_every_command(
    copied: Team, kind: str, command: str
) -> None:
    change, words = KINDS[kind]
    path = copied.folder / STATE
    change(path)
    before, writes = content(path), len(copied.org.writes())
    done = call(copied.folder, *COMMANDS[command])
    if (
        command == "state check" and done.exit_code == 1
    ):  # an older DuckDB opens what is cut: reading it tells
        assert str(path) in done.output
        assert "Fix: " in done.output
        return
    assert done.exit_code == 2, done.output
    assert str(path) in done.stderr
    assert "\nFix: " in done.stderr
    assert "Traceback" not in done.stderr
    if command != "state init":  # it says that there is one already, whatever it is
        assert words in done.stderr
    assert content(path) == before
    assert len(copied.org.writes()) == writes
    assert not (copied.folder / "out").exists()


@pytest.mark.parametrize("command", [*(c for c in COMMANDS if c not in ("state init", "state import"))])
def test_a_state_whose_middle_is_damaged_is_refused_when_that_is_read(copied: Team, command: str) -> None:
    """DuckDB opens such a file: only the block itself tells. What a command does not read cannot stop it."""
    path = copied.folder / STATE
    wide = ", ".join(f"md5(i || '{n}') AS \"F{n}\"" for n in range(8))
    sql(
        f"CREATE TABLE t AS SELECT 'x' || i AS _key, {wide} FROM range(30000) AS r(i)",
        *(f'ALTER TABLE snapshot.contacts ADD COLUMN "F{n}" VARCHAR' for n in range(8)),
        "INSERT INTO snapshot.contacts BY NAME SELECT *, '003000000000001AAA' AS _id, 'adopted' AS _origin,"
        " 'r' AS _run_id, now()::TIMESTAMP AS _at FROM t",
        "DROP TABLE t",
    )(path)
    body = bytearray(path.read_bytes())
    for at in range(len(body) // 4, len(body) - 262144, 64):
        body[at] ^= 0xFF
    path.write_bytes(bytes(body))
    done = call(copied.folder, *COMMANDS[command])
    assert content(path) is not None
    assert "Traceback" not in done.stderr
    if done.exit_code == 0:
        assert command not in ("plan", "run", "retry", "state check", "state export")
        return
    assert str(path) in done.stderr + done.stdout
    assert "Fix: " in done.stderr + done.stdout


# ------------------------------------------------------------ what may not be read or written

OBEYS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Root may open every file; without these rights it is a user like any other."""


def process(project: Path, *args: str) -> subprocess.CompletedProcess[str]:
    words = [word.replace("{folder}", str(project)) for word in args]
    program = [sys.executable, "-c", "from sfsync.cli.main import main; main()", *words]
    return subprocess.run(
        [*OBEYS, *program, "--project-dir", str(project)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


needs_setpriv = pytest.mark.skipif(
    bool(OBEYS) and shutil.which("setpriv") is None, reason="root may open every file"
)
READERS = ("plan", "status", "history", "state check", "state export")


@needs_setpriv
@pytest.mark.parametrize("mode", [0o000, 0o400], ids=["unreadable", "read-only"])
def test_a_state_that_may_not_be_opened_says_so(copied: Team, mode: int) -> None:
    """Who only reads needs no more than that; who writes is refused before anything is sent."""
    path = copied.folder / STATE
    before, writes = path.read_bytes(), len(copied.org.writes())
    path.chmod(mode)
    for command, words in COMMANDS.items():
        if command == "state init":
            continue
        done = process(copied.folder, *words)
        if mode == 0o400 and command in READERS:
            assert done.returncode == 0, (command, done.stderr)
            continue
        assert done.returncode == 2, (command, done.stderr)
        assert str(path) in done.stderr, command
        assert "Permission denied" in done.stderr, command
        assert "Fix: let the user that runs sfsync read and write" in done.stderr, command
        assert "Traceback" not in done.stderr
    path.chmod(0o600)
    assert path.read_bytes() == before
    assert len(copied.org.writes()) == writes


@needs_setpriv
@pytest.mark.parametrize("words", ["org start", "debug", "plan", "run"])
def test_a_project_folder_that_may_not_be_written_says_so(tmp_path: Path, words: str) -> None:
    """Nothing is left behind, and no org is started that could not keep its records."""
    project = tmp_path / "demo"
    init_command(project)
    project.chmod(0o555)
    try:
        done = process(project, *words.split())
    finally:
        project.chmod(0o755)
    assert done.returncode == 2, done.stdout + done.stderr
    told = done.stdout + done.stderr
    assert "Traceback" not in told
    assert str(project / ".sfsync") in told
    assert "Permission denied" in told
    assert "make it writable" in told or "must be writable" in told
    assert not (project / ".sfsync").exists()
