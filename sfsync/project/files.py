"""Which files belong to a project, and one digest over all that they say.

Owns:      the walk through a project's folders, and the digest that tells whether a file moved.
Does not:  read a file's meaning (load).
Invariant: load reads no file that the digest does not cover, so equal digests mean an equal Project.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT_FILE = "sfsync_project.yml"
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "model-paths": (".sql", ".yml", ".yaml"),
    "macro-paths": (".sql",),
    "seed-paths": (".csv", ".yml", ".yaml"),
    "sync-paths": (".yml", ".yaml"),
}
"""The keys of the project file that name folders, and what is read there."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a project's files stand, as its project file says: key -> folders."""

    target: str
    folders: Mapping[str, tuple[str, ...]]


def walk(root: str, folder: str, target: str) -> list[str] | None:
    """Every file below a folder, each real folder once; None without the folder.

    Args:
        root: the project folder, absolute.
        target: the folder that sfsync itself writes to: never read as a source.
    """
    start = os.path.normpath(os.path.join(root, folder))  # noqa: PTH118 - a Path for each file costs more than reading it
    if not os.path.isdir(start):  # noqa: PTH112
        return None
    found: list[str] = []
    seen = {os.path.realpath(os.path.join(root, target))}  # noqa: PTH118
    for parent, names, files in os.walk(start, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # or a link that leads in a circle
            names.clear()
            continue
        seen.add(real)
        names[:] = [n for n in names if not n.startswith(".")]
        found += [f"{parent}{os.sep}{f}" for f in files if not f.startswith(".")]
    return found


def files_digest(root: Path, paths: Paths) -> str | None:
    """The sha256, in hex, over every file that load reads: its path and its bytes; None when one cannot be read."""
    top = str(root)
    digest = hashlib.sha256()
    try:
        digest.update(hashlib.sha256((root / PROJECT_FILE).read_bytes()).digest())
        for key, endings in ENDINGS.items():
            for folder in paths.folders[key]:
                found = walk(top, folder, paths.target)
                digest.update(f"{key}\0{folder}\0{found is not None}\0".encode("utf-8", "surrogatepass"))
                for path in sorted(found or ()):
                    if path.lower().endswith(endings):
                        shown = os.path.relpath(path, top)
                        digest.update(f"{shown}\0".encode("utf-8", "surrogatepass"))
                        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    except OSError:
        return None
    return digest.hexdigest()
