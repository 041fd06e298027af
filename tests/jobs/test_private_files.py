"""Files in .sfsync hold rows in clear text: only their owner may read them, at any moment of a run."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sfsync.engine.duckdb import DuckDB
from sfsync.jobs.run import RunOptions, run_command
from tests.jobs.conftest import Team, fill

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ready(team: Team) -> Team:
    """As everywhere, but its state is no copy: its modes are what is looked at."""
    fill(team).init_state()
    return team


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


INTERRUPTED = """
import os, random, signal, sys
from pathlib import Path
from sfsync.engine.duckdb import DuckDB
from sfsync.errors import InterruptedRunError

os.umask(0o022)
db = DuckDB(temp_directory=Path(sys.argv[1]))
signal.signal(signal.SIGALRM, signal.default_int_handler)
came = 0
for _ in range(3000):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 3e-4))
        while True:
            db.execute("SELECT 1")
    except (KeyboardInterrupt, InterruptedRunError):
        came += 1
signal.setitimer(signal.ITIMER_REAL, 0)
db.execute("SELECT 1")
print(came, oct(os.umask(0)))
"""


def test_ctrl_c_at_any_step_leaves_no_narrow_umask(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "3000 0o22\n", done.stderr


def test_threads_share_the_umask_until_the_last_is_out(tmp_path: Path) -> None:
    db = DuckDB(temp_directory=tmp_path / "spill", threads=1)
    db.attach(tmp_path / "a.duckdb", "a")

    def write(number: int) -> None:
        session = db.cursor()
        session.execute(f"CREATE TABLE a.t{number} AS SELECT * FROM range(10)")
        for _ in range(50):
            session.execute(f"INSERT INTO a.t{number} VALUES (1)")
        session.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert modes(tmp_path) == {"a.duckdb": "0o600", "a.duckdb.wal": "0o600"}
    db.close()
