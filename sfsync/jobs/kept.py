"""Compiled projects on disk: .sfsync/compiled/, so that a command whose project did not change compiles nothing.

Owns:      the files of that folder, and when one may be used or must be made anew.
Does not:  know what is in them (compiler/stored), or compile.
Invariant: a folder that is gone, damaged, foreign or closed costs time and changes no result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sfsync.compiler.stored import MAX_BYTES, KeptFacts, KeptManifest, build, read, write
from sfsync.errors import SfsyncError
from sfsync.ports import write_private, writing
from sfsync.project.facts import facts_of
from sfsync.project.files import files_digest

if TYPE_CHECKING:
    from sfsync.project.project import Project

FOLDER = "compiled"
_FACTS = "project"
_Kept = TypeVar("_Kept")


def find_facts(root: Path, private: Path) -> KeptFacts | None:
    """The facts of a project none of whose files moved since they were kept."""
    kept = read_kept(KeptFacts, private, _FACTS)
    if kept is None or files_digest(root, kept.paths) != kept.digest:
        return None
    return kept


def read_facts(root: Path, load: Callable[[], Project]) -> KeptFacts:
    """The facts of a project that `load` reads, with the digest of its files as they were just before."""
    from sfsync.project.load import project_paths  # late: with the specs of all YAML files

    paths = project_paths(root)
    digest = files_digest(root, paths) or ""
    return KeptFacts(build(), paths, digest, facts_of(load()))


def keep(root: Path, private: Path, facts: KeptFacts, name: str, manifest: KeptManifest) -> None:
    """Keep what a compile made, unless a file of the project moved meanwhile."""
    if facts.digest and files_digest(root, facts.paths) == facts.digest:
        write_kept(facts, private, _FACTS)
        write_kept(manifest, private, name)


def read_kept(kind: type[_Kept], private: Path, name: str) -> _Kept | None:
    """What was kept under this name, whatever it was made of; None for what is not there or not to be trusted."""
    path = private / FOLDER / f"{name}.json"
    try:
        return read(kind, path.read_text("utf-8")) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError):
        return None


def write_kept(kept: object, private: Path, name: str) -> None:
    """Keep a value; where nothing may be written, each command compiles."""
    path = private / FOLDER / f"{name}.json"
    text = write(kept)
    if text is None:
        return
    try:
        with writing(path):
            private.mkdir(exist_ok=True, mode=0o700)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, text)
    except SfsyncError:
        return
