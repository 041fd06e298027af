"""`sfsync init PATH`: a working project to start from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import sfsync
from sfsync.errors import InternalError, ProjectError


@dataclass(frozen=True, slots=True)
class InitResult:
    """Where the project was put, and its files."""

    path: Path
    files: tuple[str, ...]


def init_command(path: Path) -> InitResult:
    """Copy the template into a new or empty folder.

    Raises:
        ProjectError: the folder has something in it; nothing is overwritten.
    """
    if path.exists() and not path.is_dir():
        raise ProjectError(f"{path} is a file", fix="name a folder that does not exist yet")
    if path.is_dir() and any(path.iterdir()):
        raise ProjectError(
            f"the folder {path} is not empty", fix="name a folder that does not exist yet, or an empty one"
        )
    template = _template()
    shutil.copytree(
        template, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".DS_Store")
    )
    files = sorted(str(item.relative_to(path)) for item in path.rglob("*") if item.is_file())
    return InitResult(path, tuple(files))


def _template() -> Path:
    package = Path(sfsync.__file__).parent
    for folder in (package / "_template", package.parent / "project_template"):
        if (folder / "sfsync_project.yml").is_file():
            return folder
    raise InternalError("the project template is not part of this installation")
