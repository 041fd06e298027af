"""Composite Graph: several graphs of row requests in one counted call, each of them all or nothing.

Owns:      the limits of a graph (nodes, kinds, depth), the order its references ask for, stopping after many failures.
Does not:  answer a node (composite does, through dispatch).
Invariant: one answer per graph and per node, in the order of the request; a graph that failed has saved nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sfsync.local_org.answers import Answer, ApiError
from sfsync.local_org.ask import Ask
from sfsync.local_org.composite import REFERENCE_ID, Part, all_or_none, check_references, envelope, part_of

MAX_GRAPHS, MAX_NODES, MAX_DEPTH, MAX_KINDS, MAX_FAILED = 75, 500, 15, 15, 14
"""REST guide, "Composite Graph Limits"."""

_NODE = re.compile(r"/services/data/v\d+\.\d/sobjects/([^/?]+)(?:/[^?]*)?(?:\?.*)?")
_REFERENCE = re.compile(r"@\{(\w+)")
_METHODS = ("GET", "POST", "PATCH", "DELETE")
_STOPPED = "Processing stopped: too many graphs of this request have failed."
Dispatch = Callable[[Ask], Answer]


def graph(ask: Ask, dispatch: Dispatch) -> Answer:
    """POST /composite/graph"""
    body = ask.body
    if not isinstance(body, Mapping) or not isinstance(body.get("graphs"), list):
        raise ApiError(400, "JSON_PARSER_ERROR", "The request body must be an object with a list 'graphs'")
    graphs = [_graph(item, i) for i, item in enumerate(body["graphs"], 1)]
    _check(graphs)
    listed, failed = [], 0
    for name, parts in graphs:
        if failed < MAX_FAILED:
            done, good = all_or_none(ask, _ordered(name, parts), dispatch)
        else:
            stopped = Answer(400, [{"errorCode": "PROCESSING_HALTED", "message": _STOPPED}])
            done, good = {part.reference: stopped for part in parts}, False
        failed += not good
        shown = [envelope(part, done[part.reference]) for part in parts]
        listed.append({"graphId": name, "graphResponse": {"compositeResponse": shown}, "isSuccessful": good})
    return Answer(200, {"graphs": listed})


def _graph(item: Any, number: int) -> tuple[str, list[Part]]:
    if not isinstance(item, Mapping) or not isinstance(item.get("compositeRequest"), list):
        raise ApiError(
            400, "JSON_PARSER_ERROR", f"Graph {number} must be an object with a list 'compositeRequest'"
        )
    unknown = sorted(set(item) - {"graphId", "compositeRequest"})
    if unknown:
        raise ApiError(400, "JSON_PARSER_ERROR", f'Unrecognized field "{unknown[0]}" in graph {number}')
    name = item.get("graphId")
    if not isinstance(name, str) or not REFERENCE_ID.fullmatch(name):
        raise ApiError(400, "INVALID_INPUT", f"Invalid graphId in graph {number}: {name}")
    return name, [part_of(node, i) for i, node in enumerate(item["compositeRequest"])]


def _check(graphs: Sequence[tuple[str, list[Part]]]) -> None:
    """
    Raises:
        ApiError: too many graphs or nodes, a name that stands twice, a node that is no row.
    """
    names = [name for name, _ in graphs]
    if not names:
        raise ApiError(400, "INVALID_INPUT", "A composite graph request needs at least one graph")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ApiError(400, "INVALID_INPUT", f"Duplicate graphId: {twice}")
    _limit("graphs", len(graphs), MAX_GRAPHS)
    _limit("nodes", sum(len(parts) for _, parts in graphs), MAX_NODES)
    for name, parts in graphs:
        if not parts:
            raise ApiError(400, "INVALID_INPUT", f"Graph {name} has no node")
        check_references(parts)
        kinds = set()
        for part in parts:
            matched = _NODE.fullmatch(part.url)
            if matched is None or part.method not in _METHODS:
                text = f"Graph {name}, node {part.reference}: {part.method} {part.url} is no request for an sObject row"
                raise ApiError(400, "INVALID_INPUT", text)
            kinds.add((part.method, matched[1].lower()))
        _limit(f"distinct kinds of nodes in graph {name}", len(kinds), MAX_KINDS)


def _limit(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise ApiError(400, "LIMIT_EXCEEDED", f"Limit of {limit} {what} exceeded: this call has {count}")


def _ordered(name: str, parts: list[Part]) -> list[Part]:
    """Nodes behind those they refer to; as sent where nothing refers.

    Raises:
        ApiError: a cycle, or a path that is too long.
    """
    place = {part.reference: i for i, part in enumerate(parts)}
    needs = {
        i: {place[r] for r in _REFERENCE.findall(part.url + json.dumps(part.body, default=str)) if r in place}
        for i, part in enumerate(parts)
    }
    sorter = TopologicalSorter(needs)
    depth: dict[int, int] = {}
    try:
        for i in sorter.static_order():
            depth[i] = 1 + max((depth[n] for n in needs[i]), default=0)
    except CycleError as error:
        at = " -> ".join(parts[i].reference for i in error.args[1])
        raise ApiError(400, "INVALID_INPUT", f"Graph {name} has a cycle: {at}") from None
    _limit(f"levels of references in graph {name}", max(depth.values()), MAX_DEPTH)
    return [parts[i] for i in sorted(depth, key=lambda i: (depth[i], i))]
