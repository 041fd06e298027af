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


def test_a_folder_of_artifacts_holds_exactly_what_it_was_given(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    files = {"compiled/models/a.sql": "select 1\n", "compiled/syncs/é.sql": "select 'ü'\n"}
    top = place.target / "compiled"

    def held() -> dict[str, str]:
        return {str(p.relative_to(place.target)): p.read_text("utf-8") for p in top.rglob("*") if p.is_file()}

    place.write_artifacts("compiled", files)
    assert held() == files
    inodes = {path: (place.target / path).stat().st_ino for path in files}
    place.write_artifacts("compiled", files)
    assert {path: (place.target / path).stat().st_ino for path in files} == inodes  # nothing was written
    (top / "models" / "a.sql").write_text("mine")
    place.write_artifacts("compiled", files)
    assert held() == files
    assert (top / "syncs" / "é.sql").stat().st_ino == inodes["compiled/syncs/é.sql"]
    (top / "models" / "stale.sql").write_text("old")
    place.write_artifacts("compiled", files)
    assert held() == files
    place.write_artifacts("compiled", {"compiled/models/a.sql": "select 1\n"})
    assert held() == {"compiled/models/a.sql": "select 1\n"}
    place.write_artifacts("compiled", {})
    assert held() == {}


def test_a_folder_of_artifacts_that_is_not_ours_is_made_anew(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    files = {"compiled/models/a.sql": "select 1\n"}
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.sql").write_text("theirs")
    (place.target / "compiled").mkdir(parents=True)
    (place.target / "compiled" / "models").symlink_to(outside)
    place.write_artifacts("compiled", files)
    assert (outside / "a.sql").read_text() == "theirs"
    assert (place.target / "compiled" / "models" / "a.sql").read_text() == "select 1\n"
    (place.target / "compiled" / "models" / "a.sql").unlink()
    (place.target / "compiled" / "models" / "a.sql").symlink_to(outside / "a.sql")
    place.write_artifacts("compiled", files)
    assert not (place.target / "compiled" / "models" / "a.sql").is_symlink()
    assert (outside / "a.sql").read_text() == "theirs"
