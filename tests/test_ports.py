"""Folders of a project: what is private, what is cleaned up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sfsync.ports import Workspace


def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, tmp_path / "target", tmp_path / ".sfsync")


def test_spools_of_killed_runs_are_cleared_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait(10)
    dead, alive = place.new_spool("dead"), place.new_spool("alive")
    (dead / "owner").write_text(str(gone.pid))
    (dead / "contacts.csv").write_text("secret")
    new = place.new_spool("new")
    assert not dead.exists()
    assert alive.exists()
    assert oct(new.stat().st_mode & 0o777) == oct(0o700)
    place.drop_spool("new")
    assert not new.exists()


def test_an_artifact_is_whole_or_not_there(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    path = place.write_artifact("compiled/models/a.sql", "select 1\n")
    assert path.read_text() == "select 1\n"
    place.write_artifact("compiled/models/a.sql", "select 2\n")
    assert [p.name for p in path.parent.iterdir()] == ["a.sql"]
    place.drop_artifacts("compiled")
    assert not path.exists()
