"""What loading makes of a project folder: its files as frozen values, each with its place.

Owns:      Project and the file values in it.
Does not:  read files (load) or render, parse and resolve anything (compiler).
Invariant: paths are relative to the project folder and written with `/`, whatever the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sfsync.errors import Where
from sfsync.project.spec import ProjectSpec, SyncSpec
from sfsync.yaml_text import Document, Loc


@dataclass(frozen=True)
class SyncFile:
    """One sync and where each of its keys stands; `spec` has the project's defaults already in it."""

    spec: SyncSpec
    document: Document
    loc: Loc  # of the sync in the document: ("syncs", 0)
    defaults: Document  # sfsync_project.yml

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def path(self) -> str:
        """The file, relative to the project folder."""
        return self.document.path

    def where(self, *path: str | int) -> Where:
        """Where a key of the sync stands, e.g. ``where("fields", "Email")``.

        A key that comes from the project's defaults is there; one that is nowhere is at its nearest parent.
        """
        if path and self.loc + path not in self.document.keys and ("syncs", *path) in self.defaults.keys:
            return self.defaults.where("syncs", *path)
        return self.document.where(*self.loc, *path)

    def value_where(self, *path: str | int) -> Where:
        """Where the value of a key stands."""
        if path and self.loc + path not in self.document.values and ("syncs", *path) in self.defaults.values:
            return self.defaults.value_where("syncs", *path)
        return self.document.value_where(*self.loc, *path)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """models/<name>.sql, as it stands in the file."""

    name: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class MacroFile:
    """macros/*.sql, as it stands in the file."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A raw table that models read by source(source, name)."""

    source: str
    name: str
    database: str | None  # None: the warehouse's own catalog
    schema: str
    identifier: str
    where: Where


@dataclass(frozen=True, slots=True)
class SeedFile:
    """seeds/<name>.csv: its columns in the file's order, and the types of those that are not text."""

    name: str
    path: str
    columns: tuple[str, ...]
    column_types: Mapping[str, str]
    digest: str  # sha256 over the file and its types, hex
    where: Where  # its entry in seeds/*.yml, else the CSV file


@dataclass(frozen=True)
class Project:
    """A project folder, read and checked as far as files alone allow."""

    root: Path
    spec: ProjectSpec
    syncs: tuple[SyncFile, ...]
    models: tuple[ModelFile, ...]
    macros: tuple[MacroFile, ...]
    sources: tuple[SourceTable, ...]
    seeds: tuple[SeedFile, ...]
    vars: Mapping[str, Any]  # the project's, with the command line's put over them
    document: Document = field(repr=False)  # sfsync_project.yml
    warnings: tuple[str, ...] = ()

    @cached_property
    def model_by_name(self) -> Mapping[str, ModelFile]:
        return {m.name: m for m in self.models}

    @cached_property
    def seed_by_name(self) -> Mapping[str, SeedFile]:
        return {s.name: s for s in self.seeds}

    @cached_property
    def source_by_name(self) -> Mapping[tuple[str, str], SourceTable]:
        return {(s.source, s.name): s for s in self.sources}

    @property
    def target_path(self) -> Path:
        """The folder for artifacts."""
        return self.root / self.spec.target_path

    def where(self, *path: str | int) -> Where:
        """Where a key of sfsync_project.yml stands."""
        return self.document.where(*path)
