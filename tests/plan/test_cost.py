"""What each way costs, which ways may carry a group, and which one wins."""

from __future__ import annotations

import pytest

from sfsync.compiler.manifest import Api
from sfsync.plan.cost import JOB_BYTES, Group, job_calls, multipart_may_win, price_collections, prices
from sfsync.records import HONOURS, Operation, Option, Way
from sfsync.salesforce.limits import MAX_MULTIPART_CHARACTERS

UP, CHANGE, DELETE = Operation.UPSERT, Operation.UPDATE, Operation.DELETE
C, M, B = Way.COLLECTIONS, Way.MULTIPART, Way.BULK

COLLECTIONS = [  # rows, rows per Collection, calls
    (1, 200, 1),
    (200, 200, 1),
    (1000, 200, 1),
    (1001, 200, 2),
    (5000, 200, 5),
    (1000, 50, 4),
    (1001, 50, 5),
    (7, 1, 2),
]


@pytest.mark.parametrize(("rows", "chunk", "calls"), COLLECTIONS)
def test_collections(rows: int, chunk: int, calls: int) -> None:
    assert price_collections(rows, chunk).calls == calls


@pytest.mark.parametrize(
    ("way", "operation", "calls"),
    [(M, UP, 4), (M, CHANGE, 3), (M, DELETE, 3), (B, UP, 6), (B, CHANGE, 5), (B, DELETE, 5)],
)
def test_a_job(way: Way, operation: Operation, calls: int) -> None:
    """Create (with upload and close when multipart), upload, close, two polls, and an upsert's Ids."""
    assert job_calls(way, operation) == calls


CHOICES = [
    # id, operation, rows, csv bytes, exact, json only, api, chunk, ways with calls in order
    ("a few rows", UP, 3, 300, True, False, Api.AUTO, 200, [(C, 1), (M, 4), (B, 6)]),
    (
        "the multipart limit",
        CHANGE,
        3900,
        MAX_MULTIPART_CHARACTERS,
        True,
        False,
        Api.AUTO,
        200,
        [(M, 3), (C, 4), (B, 5)],
    ),
    ("over it", CHANGE, 3900, MAX_MULTIPART_CHARACTERS + 1, True, False, Api.AUTO, 200, [(C, 4), (B, 5)]),
    ("size not exact", CHANGE, 3900, 10, False, False, Api.AUTO, 200, [(C, 4), (B, 5)]),
    ("tie: who answers at once", CHANGE, 5000, 10**6, False, False, Api.AUTO, 200, [(C, 5), (B, 5)]),
    ("one row more", CHANGE, 5001, 10**6, False, False, Api.AUTO, 200, [(B, 5), (C, 6)]),
    ("a million rows", UP, 10**6, JOB_BYTES, False, False, Api.AUTO, 200, [(B, 6), (C, 1000)]),
    ("more than a job carries", UP, 10**6, JOB_BYTES + 1, False, False, Api.AUTO, 200, [(B, 12), (C, 1000)]),
    ("learned to send less", CHANGE, 1000, 10**6, True, False, Api.AUTO, 10, [(B, 5), (C, 20)]),
    ("more than 200 is never learned", CHANGE, 1000, 10**6, True, False, Api.COLLECTIONS, 900, [(C, 1)]),
    ("bulk only", UP, 3, 300, True, False, Api.BULK, 200, [(M, 4), (B, 6)]),
    ("collections only", UP, 10**6, 10**9, False, False, Api.COLLECTIONS, 200, [(C, 1000)]),
    ("what CSV cannot carry", UP, 10**6, 10**9, False, True, Api.AUTO, 200, [(C, 1000)]),
    ("not even where Bulk is asked for", UP, 3, 300, True, True, Api.BULK, 200, [(C, 1)]),
]


@pytest.mark.parametrize(
    ("operation", "rows", "size", "exact", "json_only", "api", "chunk", "expected"),
    [c[1:] for c in CHOICES],
    ids=[c[0] for c in CHOICES],
)
def test_ways_cheapest_first(
    operation: Operation,
    rows: int,
    size: int,
    exact: bool,
    json_only: bool,
    api: Api,
    chunk: int,
    expected: list[tuple[Way, int]],
) -> None:
    found = prices(Group(operation, rows, size, exact, json_only), api, chunk)
    assert [(price.way, price.calls) for price in found] == expected


def test_only_ways_that_honour_what_is_asked_are_priced() -> None:
    for option in Option:
        group = Group(UP, 10**5, 10, exact=True, json_only=False, needs=frozenset({option}))
        ways = {price.way for price in prices(group, Api.AUTO, 200)}
        assert ways == {way for way in (C, M, B) if option in HONOURS[way]}
        assert multipart_may_win(UP, 10**5, Api.AUTO, 200, group.needs) == (option in HONOURS[M])
    assert HONOURS[C] == frozenset(Option), "one way can do it all"
