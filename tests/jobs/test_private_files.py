"""Files in .sfsync hold rows in clear text: only their owner may read them, at any moment of a run."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sfsync.jobs.run import RunOptions, run_command
from tests.jobs.conftest import Team

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """The usual umask, with which others may read new files."""
    before = os.umask(0o022)
    yield
    assert os.umask(before) == 0o022, "the process's umask is put back"


def modes(folder: Path) -> dict[str, str]:
    """Every file below a folder and its mode; files that end while they are looked at are left out."""
    found = {}
    for path in folder.rglob("*"):
        try:
            info = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(info.st_mode):
            found[path.name] = oct(stat.S_IMODE(info.st_mode))
    return found


class Watcher:
    """Events that look at the folder whenever the run says something."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, dict[str, str]()

    def log(self, level: str, message: str, **fields: Any) -> None:
        self.seen |= modes(self.folder)

    def progress(self, task: str, done: int, total: int | None, **fields: Any) -> None:
        self.seen |= modes(self.folder)


def test_during_and_after_a_run(ready: Team) -> None:
    ready.sync("contacts", push={"api": "bulk"})
    watcher = Watcher(ready.folder / ".sfsync")
    options = ready.options()
    result = run_command(
        type(options)(project_dir=options.project_dir, clock=options.clock, env={}, events=watcher),
        RunOptions(on_plan=lambda plan: watcher.log("info", "")),
    )
    assert result.exit_code == 0
    assert {"prod.duckdb", "prod.duckdb.wal", "run.duckdb"} <= set(watcher.seen)
    assert {name: mode for name, mode in watcher.seen.items() if mode != "0o600"} == {}
    after = modes(ready.folder / ".sfsync")
    assert "prod.duckdb" in after
    assert set(after.values()) == {"0o600"}


KILLED = """
import os, signal, sys
from pathlib import Path
from sfsync.jobs.run import run_command
from sfsync.jobs.session import Options

class Killer:
    def log(self, level, message, **fields): ...
    def progress(self, task, done, total, **fields):
        if done:
            os.kill(os.getpid(), signal.SIGKILL)

os.umask(0o022)
run_command(Options(project_dir=Path(sys.argv[1]), env={}, events=Killer()))
"""


def test_after_a_kill(ready: Team) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(ready.folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = modes(ready.folder / ".sfsync")
    assert "prod.duckdb.wal" in left
    assert set(left.values()) == {"0o600"}
    assert ready.run().exit_code == 0
