"""From a path below /services/data/vNN.0/ to the handler of its resource.

Owns:      the list of resources, 404 and 405.
Does not:  read HTTP (server) or answer for a resource (rows, sobject_collections, composite).
"""

from __future__ import annotations

import re
from dataclasses import replace

from sfsync.local_org import rows, sobject_collections
from sfsync.local_org.answers import Answer, not_allowed, not_found
from sfsync.local_org.ask import Ask, Handler
from sfsync.local_org.composite import composite


def _composite(ask: Ask) -> Answer:
    return composite(ask, dispatch)


Resource = tuple[re.Pattern[str], dict[str, Handler]]


def _compiled(resources: tuple[tuple[str, dict[str, Handler]], ...]) -> tuple[Resource, ...]:
    return tuple((re.compile(pattern), methods) for pattern, methods in resources)


_RESOURCES: tuple[Resource, ...] = (
    *_compiled(sobject_collections.RESOURCES),
    (re.compile("composite"), {"POST": _composite}),
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
