"""Orders: models after what they ref, syncs after the syncs that write their parents.

Owns:      topological order, levels, and the wording of a cycle.
Does not:  know what a node is; names in, names out.
Invariant: the order is stable: the same graph gives the same order, and nodes without relation keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class CycleError(ValueError):
    """The graph runs in a circle; `path` names it, first node repeated at the end."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(" -> ".join(path))
        self.path = path


def ordered(needs: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Every node after all that it needs. Names that are no nodes (seeds) are left out.

    Raises:
        CycleError: with the shortest circle through the first node found on one.
    """
    done: dict[str, None] = {}
    for root in needs:
        if root not in done:
            _visit(root, needs, done)
    return tuple(done)


def _visit(root: str, needs: Mapping[str, Iterable[str]], done: dict[str, None]) -> None:
    """Depth first without recursion: a chain of models may be longer than Python's stack."""
    trail: dict[str, None] = {root: None}
    stack = [(root, iter(needs[root]))]
    while stack:
        node, rest = stack[-1]
        for child in rest:
            if child in trail:
                raise CycleError(_circle(child, needs))
            if child in needs and child not in done:
                trail[child] = None
                stack.append((child, iter(needs[child])))
                break
        else:
            stack.pop()
            del trail[node]
            done[node] = None


def _circle(start: str, needs: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    came: dict[str, str] = {}
    queue = [start]
    for node in queue:
        for child in needs.get(node, ()):
            if child == start:
                path = [start, node]
                while path[-1] != start:
                    path.append(came[path[-1]])
                return tuple(reversed(path))
            if child in needs and child not in came:
                came[child] = node
                queue.append(child)
    raise ValueError(f"'{start}' is on no circle")


def ancestors(root: str, needs: Mapping[str, Iterable[str]], order: Mapping[str, int]) -> tuple[str, ...]:
    """The node and all that it needs, directly or not, in the given order."""
    found = {root}
    queue = [root]
    for node in queue:
        for child in needs.get(node, ()):
            if child in needs and child not in found:
                found.add(child)
                queue.append(child)
    return tuple(sorted(found, key=order.__getitem__))


def levels(needs: Mapping[str, Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """Nodes by the length of the longest chain below them; within a level they keep their order.

    Raises:
        CycleError: as `ordered`.
    """
    depth: dict[str, int] = {}
    for node in ordered(needs):
        depth[node] = 1 + max((depth[n] for n in needs[node] if n in depth), default=-1)
    rows: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in needs:
        rows[depth[node]].append(node)
    return tuple(tuple(row) for row in rows)
