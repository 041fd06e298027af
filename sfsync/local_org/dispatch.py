"""From a path below /services/data/vNN.0/ to the handler of its resource.

Owns:      the list of resources, 404 and 405.
Does not:  read HTTP (server) or answer for a resource (rows, sobject_collections, composite).
"""

from __future__ import annotations

import re
from dataclasses import replace

from sfsync.local_org import changes, composite_tree, rows, sobject_collections, tooling
from sfsync.local_org.answers import Answer, ApiError, not_allowed, not_found
from sfsync.local_org.ask import Ask, Handler
from sfsync.local_org.composite import composite
from sfsync.local_org.composite_batch import batch
from sfsync.local_org.composite_graph import graph

_NESTED = re.compile(r"composite(/batch|/graph|/tree/.*)?")


def _composite(ask: Ask) -> Answer:
    return composite(ask, _part)


def _batch(ask: Ask) -> Answer:
    return batch(ask, _part)


def _graph(ask: Ask) -> Answer:
    return graph(ask, _part)


def _part(ask: Ask) -> Answer:
    """Answer a subrequest: everything but what has subrequests of its own."""
    if _NESTED.fullmatch(ask.path):
        raise ApiError(400, "INVALID_INPUT", f"{ask.path} cannot be called by a subrequest")
    return dispatch(ask)


Resource = tuple[re.Pattern[str], dict[str, Handler]]


def _compiled(resources: tuple[tuple[str, dict[str, Handler]], ...]) -> tuple[Resource, ...]:
    return tuple((re.compile(pattern), methods) for pattern, methods in resources)


_RESOURCES: tuple[Resource, ...] = (
    *_compiled(sobject_collections.RESOURCES),
    (re.compile("composite"), {"POST": _composite}),
    (re.compile("composite/batch"), {"POST": _batch}),
    (re.compile("composite/graph"), {"POST": _graph}),
    *_compiled(composite_tree.RESOURCES),
    *_compiled(changes.RESOURCES),
    *_compiled(tooling.RESOURCES),
    *_compiled(rows.RESOURCES),
)


def register(pattern: str, methods: dict[str, Handler]) -> None:
    """Add a resource that Composite may call too; the first match wins, so later ones cannot hide ours."""
    global _RESOURCES
    _RESOURCES = (*_RESOURCES, (re.compile(pattern), methods))


def dispatch(ask: Ask) -> Answer:
    """Answer one request or subrequest.

    Raises:
        ApiError: NOT_FOUND, METHOD_NOT_ALLOWED, or whatever the resource refuses with.
    """
    for pattern, methods in _RESOURCES:
        matched = pattern.fullmatch(ask.path)
        if matched is None:
            continue
        method = "GET" if ask.method == "HEAD" else ask.method
        handler = methods.get(method)
        if handler is None:
            raise not_allowed(ask.method, list(methods))
        return handler(replace(ask, parts=matched.groups()))
    raise not_found()
