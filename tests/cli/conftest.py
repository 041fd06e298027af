"""The demo project, with few rows, beside its own local org; and `sfsync` as a process or in this one."""

from __future__ import annotations

import csv
import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sfsync.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-c", "from sfsync.cli.main import main; main()")
ACCOUNTS = 30


def environment(**more: str) -> dict[str, str]:
    """Of a child process: ours, without what would change colours or logs."""
    drop = ("NO_COLOR", "FORCE_COLOR", "SFSYNC_DEBUG", "CI", "COLUMNS", "SFSYNC_PROFILES_DIR")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return kept | {"PYTHONPATH": str(ROOT)} | more


@dataclass(frozen=True)
class Project:
    """A project folder and ways to call sfsync in it."""

    path: Path

    def call(self, *args: str) -> Result:
        """In this process; stdout and stderr apart."""
        before = Path.cwd()
        os.chdir(self.path)
        try:
            return CliRunner().invoke(cli, list(args))
        finally:
            os.chdir(before)

    def process(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """In a process of its own."""
        return subprocess.run(
            [*PROGRAM, *args],
            cwd=self.path,
            env=environment(**env),
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    def start(
        self, *args: str, program: Sequence[str] = PROGRAM, stdout: Any = subprocess.PIPE, **env: str
    ) -> subprocess.Popen[str]:
        """A process that the test talks to."""
        return subprocess.Popen(
            [*program, *args],
            cwd=self.path,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def terminal(self, *args: str, columns: int = 80, **env: str) -> tuple[str, int]:
        """On a pseudo-terminal: what it showed, line ends as LF, and the exit code."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = subprocess.Popen(
            [*PROGRAM, *args],
            cwd=self.path,
            env=environment(TERM="xterm-256color", **env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            close_fds=True,
        )
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
        return shown.decode("utf-8").replace("\r\n", "\n"), process.wait(timeout=60)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        path = self.path / file
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def few_rows(folder: Path) -> None:
    """Keep a few accounts, and of the other seeds what belongs to them."""

    def keep(name: str, wanted: Callable[[dict[str, str]], bool]) -> list[dict[str, str]]:
        path = folder / "seeds" / name
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            rows, names = [row for row in reader if wanted(row)], reader.fieldnames or []
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, names)
            writer.writeheader()
            writer.writerows(rows)
        return rows

    known = {f"A-{10_000 + n}" for n in range(1, ACCOUNTS + 1)}
    keep("crm_accounts.csv", lambda row: row["account_id"] in known)
    keep("crm_contacts.csv", lambda row: row["account_id"] in known)
    keep("billing_subscriptions.csv", lambda row: row["account_id"] in known)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Project]:
    """A new demo project; nothing has been sent."""
    path = tmp_path / "acme_crm"
    assert CliRunner().invoke(cli, ["init", str(path)]).exit_code == 0
    few_rows(path)
    project = Project(path)
    yield project
    project.call("org", "stop")


@pytest.fixture(scope="module")
def sent_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A demo project whose rows are all in the org. Do not change it: copy it (`sent`)."""
    path = tmp_path_factory.mktemp("sent") / "acme_crm"
    assert CliRunner().invoke(cli, ["init", str(path)]).exit_code == 0
    few_rows(path)
    project = Project(path)
    done = project.call("run")
    assert done.exit_code == 0, done.output
    yield project
    project.call("org", "stop")


@pytest.fixture
def sent(sent_once: Project, tmp_path: Path) -> Iterator[Project]:
    """The project with everything sent; seeds, models and syncs may be changed, and are put back."""
    kept = {
        name: (sent_once.path / name)
        for name in ("seeds", "models", "syncs", "sfsync_project.yml", "profiles.yml")
    }
    for name, path in kept.items():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / name)
    yield sent_once
    for name, path in kept.items():
        if path.is_dir():
            shutil.rmtree(path)
            shutil.copytree(tmp_path / name, path)
        else:
            shutil.copy(tmp_path / name, path)
