"""Which syncs a command works on: dbt's selection grammar over models and syncs.

Owns:      names, globs, `tag:`, `object:`, `+x`, `x+`, `2+x`, union by blanks, intersection by commas, exclusion.
Does not:  know files or SQL; a Graph says what hangs on what.
Invariant: what matches nothing is an error, so that a misspelt --exclude never sends what was to be left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sfsync.errors import SpecError
from sfsync.yaml_text import nearest

if (
    TYPE_CHECKING
):  # the value brings pydantic with it, and a graph may come from the store of compiled projects
    from sfsync.project.project import Project

_TERM = re.compile(r"(?:(?P<up>\d*)\+)?(?P<body>[^+]+)(?:\+(?P<down>\d*))?")
_METHODS = ("tag", "object")
Node = tuple[str, str]  # ("sync" | "model", name)


@dataclass(frozen=True, slots=True)
class ModelNode:
    """A model or a seed, and the models and seeds it reads."""

    name: str
    refs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncNode:
    """A sync, the model it reads (None: a source), and the syncs whose records its lookups refer to."""

    name: str
    model: str | None
    object: str
    parents: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that can be selected; syncs in the order in which selections name them."""

    models: tuple[ModelNode, ...]
    syncs: tuple[SyncNode, ...]

    def with_models(self, refs: Mapping[str, Sequence[str]], tags: Mapping[str, Sequence[str]]) -> Graph:
        """The same graph with what only a compile tells of its models.

        Args:
            refs: what each model reads by ref(); a model left out reads none.
            tags: tags of models, from their config().
        """
        models = (
            replace(m, refs=tuple(refs.get(m.name, ())), tags=tuple(tags.get(m.name, ())))
            for m in self.models
        )
        return replace(self, models=tuple(models))


def graph_of(project: Project) -> Graph:
    """The graph of a project, as far as its YAML alone tells."""
    models = [ModelNode(m.name) for m in project.models]
    seeds = [ModelNode(s.name) for s in project.seeds]
    by_object: dict[str, list[str]] = {}
    for sync in project.syncs:
        by_object.setdefault(sync.spec.object.lower(), []).append(sync.name)
    syncs = []
    for sync in project.syncs:
        looked_up = (f.lookup.partition(".")[0].lower() for f in sync.spec.fields.values() if f.lookup)
        parents = dict.fromkeys(p for o in looked_up for p in by_object.get(o, ()) if p != sync.name)
        model = sync.spec.model if sync.spec.source is None else None
        syncs.append(SyncNode(sync.name, model, sync.spec.object, tuple(parents), sync.spec.tags))
    return Graph((*models, *seeds), tuple(syncs))


def select(graph: Graph, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the selected syncs, in the graph's order.

    Args:
        include: values of --select; none selects every sync.
        exclude: values of --exclude.

    Raises:
        SpecError: a term is malformed or matches nothing; the nearest name is its `fix`.
    """
    index = _Index(graph)
    chosen = _union(index, include, "--select") if _terms(include) else {s.name for s in graph.syncs}
    dropped = _union(index, exclude, "--exclude")
    return tuple(s.name for s in graph.syncs if s.name in chosen and s.name not in dropped)


def _terms(values: Sequence[str]) -> list[str]:
    return [term for value in values for term in value.split()]


def _union(index: _Index, values: Sequence[str], option: str) -> set[str]:
    out: set[str] = set()
    for term in _terms(values):
        parts = [index.resolve(part, option) for part in term.split(",")]
        nodes = set.intersection(*parts)
        syncs = {name for kind, name in nodes if kind == "sync"}
        if not syncs and len(parts) == 1:
            below = f"write '{term}+' for the syncs below it" if not term.endswith("+") else None
            raise SpecError(f"{option} {term}: no sync is selected, only {_listed(nodes)}", fix=below)
        out |= syncs
    return out


def _listed(nodes: Iterable[Node]) -> str:
    names = sorted(f"{kind} '{name}'" for kind, name in nodes)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class _Index:
    """The graph's edges in both directions, and the words that terms may use."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.up: dict[Node, set[Node]] = {("model", m.name): set() for m in graph.models}
        self.up |= {("sync", s.name): set() for s in graph.syncs}
        for model in graph.models:
            self.up[("model", model.name)] |= {("model", r) for r in model.refs}
        for sync in graph.syncs:
            self.up[("sync", sync.name)] |= {("sync", p) for p in sync.parents}
            if sync.model is not None:
                self.up[("sync", sync.name)].add(("model", sync.model))
        self.down: dict[Node, set[Node]] = {node: set() for node in self.up}
        for node, parents in self.up.items():
            for parent in parents:
                self.down.setdefault(parent, set()).add(node)

    def resolve(self, text: str, option: str) -> set[Node]:
        """The nodes of one term without blanks and commas."""
        match = _TERM.fullmatch(text)
        if match is None:
            fix = "write a name, tag:x or object:X, with + before or after it for what is above or below"
            raise SpecError(f"{option}: '{text}' is not a selection", fix=fix)
        out = self._match(match["body"], option)
        found = set(out)
        if match["up"] is not None:
            out |= _walk(found, self.up, match["up"])
        if match["down"] is not None:
            out |= _walk(found, self.down, match["down"])
        return out

    def _match(self, body: str, option: str) -> set[Node]:
        method, colon, value = body.partition(":")
        if not colon:
            found = {node for node in self.up if _like(node[1], body)}
            return found or self._nothing(option, body, body, {n for _, n in self.up})
        if method not in _METHODS:
            fix = nearest(method, _METHODS) or "methods: tag:, object:"
            raise SpecError(f"{option} {body}: '{method}:' is not a selection method", fix=fix)
        if method == "tag":
            tagged = [("model", m.name, m.tags) for m in self.graph.models]
            tagged += [("sync", s.name, s.tags) for s in self.graph.syncs]
            found = {(kind, name) for kind, name, tags in tagged if any(_like(t, value) for t in tags)}
            return found or self._nothing(option, body, value, {t for _, _, tags in tagged for t in tags})
        found = {("sync", s.name) for s in self.graph.syncs if _like(s.object.lower(), value.lower())}
        return found or self._nothing(option, body, value, {s.object for s in self.graph.syncs})

    def _nothing(self, option: str, body: str, value: str, names: set[str]) -> set[Node]:
        listed = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
        fix = nearest(value, names) or (f"known here: {listed}" if names else None)
        raise SpecError(f"{option} {body}: nothing has that {_noun(body)}", fix=fix)


def _noun(body: str) -> str:
    method, colon, _ = body.partition(":")
    return method if colon else "name"


def _like(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _walk(start: set[Node], edges: Mapping[Node, set[Node]], depth: str) -> set[Node]:
    """Nodes within `depth` edges; an empty text is no limit."""
    limit = int(depth) if depth else len(edges) + 1
    seen, edge = set(start), set(start)
    while edge and limit > 0:
        edge = {n for node in edge for n in edges.get(node, ())} - seen
        seen |= edge
        limit -= 1
    return seen
