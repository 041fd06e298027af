"""What commands ask of a project once it is compiled: a small value that can be kept beside its digest.

Owns:      ProjectFacts, and making it of a Project.
Does not:  read files (load, files) or keep anything (jobs).
Invariant: plain texts, numbers, tuples and maps only; no place in a file, no spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sfsync.project.selector import Graph, graph_of

if TYPE_CHECKING:  # a Project brings pydantic and every spec with it; facts are read without them
    from sfsync.project.project import Project


@dataclass(frozen=True, slots=True)
class SeedFacts:
    """A seed, as far as loading its rows needs it."""

    name: str
    path: str  # relative to the project folder
    columns: tuple[str, ...]
    column_types: Mapping[str, str]
    digest: str


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """A project as its files alone tell; the command line's variables are not in it."""

    name: str
    profile: str  # its name in profiles.yml
    target_path: str  # the folder for artifacts
    vars: Mapping[str, Any]
    seeds: tuple[SeedFacts, ...]
    graph: Graph  # models without what they read, which only a compile tells
    objects: tuple[str, ...]  # whose describe a compile reads


def facts_of(project: Project) -> ProjectFacts:
    """The facts of a project that was read."""
    spec = project.spec
    return ProjectFacts(
        name=spec.name,
        profile=spec.profile,
        target_path=spec.target_path,
        vars=spec.vars,
        seeds=tuple(
            SeedFacts(s.name, s.path, s.columns, dict(s.column_types), s.digest) for s in project.seeds
        ),
        graph=graph_of(project),
        objects=used_objects(project),
    )


def used_objects(project: Project) -> tuple[str, ...]:
    """The objects whose describe a compile of this project reads: those written, and the parents looked up."""
    names: dict[str, str] = {}
    for sync in project.syncs:
        lookups = (f.lookup.split(".")[0] for f in sync.spec.fields.values() if f.lookup is not None)
        for name in (sync.spec.object, *lookups):
            names.setdefault(name.lower(), name)
    return tuple(names.values())
