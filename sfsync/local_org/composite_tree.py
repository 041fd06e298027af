"""sObject Tree: up to 200 new records with their children inside, all of them or none.

Owns:      reading the nested records, the limits, which lookup joins a child to its parent, the answer.
Does not:  write rows itself (writing, write).
Invariant: one level of one object is one write; a request in which any record is refused saves nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfsync.contract import Contract, SObject
from sfsync.local_org.answers import Answer, ApiError
from sfsync.local_org.ask import Ask, Handler
from sfsync.local_org.columns import RefusedWriteError
from sfsync.local_org.describe import child_relationships
from sfsync.local_org.records import to_texts
from sfsync.local_org.rows import sobject_of
from sfsync.local_org.writing import Result, transaction, write_records

MAX_RECORDS, MAX_TYPES, MAX_LEVELS = 200, 5, 5  # REST guide, "sObject Tree"


@dataclass(frozen=True, slots=True)
class _Node:
    """One record of the tree."""

    reference: str
    sobject: SObject
    values: Mapping[str, Any]
    level: int
    parent: str | None  # the reference of the record it stands in
    lookup: str | None  # the field that will hold that record's Id


class _RefusedError(Exception):
    """Rolls the whole request back."""

    def __init__(self, errors: list[tuple[str, Any]]) -> None:
        super().__init__()
        self.errors = errors


def tree(ask: Ask) -> Answer:
    """POST /composite/tree/X"""
    sobject = sobject_of(ask, ask.parts[0])
    body = ask.body
    if not isinstance(body, Mapping) or not isinstance(body.get("records"), list) or not body["records"]:
        raise ApiError(400, "JSON_PARSER_ERROR", "The request body must be an object with a list 'records'")
    done: dict[str, str] = {}
    try:
        nodes = list(_nodes(ask.org.seen, sobject, body["records"], 1, None, None))
        _check(nodes)
        with transaction(ask) as cursor:
            for _, group in itertools.groupby(sorted(nodes, key=_write_of), key=_write_of):
                level = list(group)
                texts = [_texts(ask, node, done) for node in level]
                results = write_records(ask, cursor, level[0].sobject, "insert", texts)
                wrong = [
                    (n.reference, _error(r)) for n, r in zip(level, results, strict=True) if not r.success
                ]
                if wrong:
                    raise _RefusedError(wrong)
                done |= {n.reference: str(r.id) for n, r in zip(level, results, strict=True)}
    except _RefusedError as refusal:
        listed = [{"referenceId": reference, "errors": [error]} for reference, error in refusal.errors]
        return Answer(400, {"hasErrors": True, "results": listed})
    return Answer(
        201,
        {
            "hasErrors": False,
            "results": [{"referenceId": n.reference, "id": done[n.reference]} for n in nodes],
        },
    )


def _write_of(node: _Node) -> tuple[int, str]:
    """What is written together: a level's records of one object."""
    return node.level, node.sobject.name


def _nodes(
    contract: Contract,
    sobject: SObject,
    records: Sequence[Any],
    level: int,
    parent: str | None,
    lookup: str | None,
) -> Iterator[_Node]:
    """The records of this list and of all lists inside, parents first."""
    if level > MAX_LEVELS:
        raise _refused(parent or "", "LIMIT_EXCEEDED", f"the tree has more than {MAX_LEVELS} levels")
    relations = {
        str(c["relationshipName"]).lower(): c
        for c in child_relationships(contract, sobject)
        if c["relationshipName"]
    }
    for record in records:
        attributes = record.get("attributes") if isinstance(record, Mapping) else None
        if not isinstance(attributes, Mapping):
            raise ApiError(
                400, "JSON_PARSER_ERROR", "Every record needs attributes with type and referenceId"
            )
        reference = str(attributes.get("referenceId") or "")
        kind = str(attributes.get("type") or "")
        if not reference:
            raise _refused("", "INVALID_INPUT", "Include a reference ID for each record in the request.")
        if kind.lower() != sobject.name.lower():
            raise _refused(
                reference, "INVALID_INPUT", f"attributes.type is {kind!r}; here it is {sobject.name}"
            )
        inside = {
            n: v for n, v in record.items() if isinstance(v, Mapping) and isinstance(v.get("records"), list)
        }
        values = {name: value for name, value in record.items() if name not in inside}
        yield _Node(reference, sobject, values, level, parent, lookup)
        for name, children in inside.items():
            relation = relations.get(name.lower())
            child = contract.object(relation["childSObject"]) if relation else None
            if relation is None or child is None:
                text = f"No such relation '{name}' on entity {sobject.name}"
                raise _refused(reference, "INVALID_FIELD", text)
            yield from _nodes(
                contract, child, children["records"], level + 1, reference, str(relation["field"])
            )


def _check(nodes: Sequence[_Node]) -> None:
    """
    Raises:
        _RefusedError: a reference that stands twice, or more than one call may carry.
    """
    seen: set[str] = set()
    for node in nodes:
        if node.reference in seen:
            raise _refused(node.reference, "INVALID_INPUT", "Duplicate ReferenceId provided in the request.")
        seen.add(node.reference)
    kinds = {node.sobject.name for node in nodes}
    for what, count, limit in (("records", len(nodes), MAX_RECORDS), ("types", len(kinds), MAX_TYPES)):
        if count > limit:
            text = f"a tree may have {limit} {what}; this one has {count}"
            raise _refused(nodes[0].reference, "LIMIT_EXCEEDED", text)


def _texts(ask: Ask, node: _Node, done: Mapping[str, str]) -> dict[str, str | None]:
    try:
        texts = to_texts(ask.org.seen, node.sobject, node.values)
    except RefusedWriteError as refusal:
        raise _refused(node.reference, refusal.code, refusal.message, refusal.fields) from None
    except ApiError as error:
        raise _refused(node.reference, error.code, error.message, error.fields) from None
    if node.parent is not None and node.lookup is not None:
        texts[node.lookup] = done[node.parent]
    return texts


def _refused(reference: str, code: str, message: str, fields: Sequence[str] = ()) -> _RefusedError:
    return _RefusedError([(reference, {"statusCode": code, "message": message, "fields": list(fields)})])


def _error(result: Result) -> dict[str, Any]:
    return {"statusCode": result.code, "message": result.message, "fields": list(result.fields)}


RESOURCES: tuple[tuple[str, dict[str, Handler]], ...] = ((r"composite/tree/([^/]+)", {"POST": tree}),)
