"""Packing: every change in exactly one batch, in order, under the limits; what cannot share a CSV does not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfsync.compiler.manifest import Api
from sfsync.engine.duckdb import DuckDB
from sfsync.plan import batches, cost
from sfsync.plan.batches import COMPOSITE_BYTES, pack_sync
from sfsync.plan.cost import batches_of
from sfsync.records import Batch, Operation, Way
from tests.plan.conftest import RunFile, sync_of

UP, CHANGE, DELETE = Operation.UPSERT, Operation.UPDATE, Operation.DELETE


SENT = (UP, CHANGE, DELETE)
"""What a run sends; what comes out of the recycle bin has a table only where a run is taken back."""


def concatenate(found: Sequence[Batch], operation: Operation) -> list[int]:
    return [
        n
        for b in sorted(found, key=lambda b: b.first)
        if b.operation is operation
        for n in range(b.first, b.last)
    ]


def pack(run: RunFile, *, chunk: int = 200, first_call: int = 0) -> tuple[Batch, ...]:
    found = pack_sync(run.sync, run.db, chunk=chunk, first_call=first_call)
    for operation in SENT:
        assert concatenate(found, operation) == list(range(len(run.keys(operation))))
    assert [b.call for b in found] == sorted(b.call for b in found)
    for before, after in pairwise(found):
        assert after.call - before.call in (0, 1), "calls are numbered without holes"
        assert (after.calls == 0) == (after.call == before.call), "a shared call is priced once"
    return found


def test_nothing_to_send(db: DuckDB) -> None:
    assert pack(RunFile(db, sync_of())) == ()


def test_creates_and_updates_share_a_call_and_deletes_do_not(db: DuckDB) -> None:
    run = RunFile(db, sync_of())
    run.fill(UP, 201, LastName="'a'")
    run.fill(CHANGE, 150, LastName="'a'")
    run.fill(DELETE, 3)
    found = pack(run, first_call=7)
    assert [(b.operation, b.first, b.last, b.call, b.calls) for b in found] == [
        (UP, 0, 200, 7, 1),
        (UP, 200, 201, 7, 0),
        (CHANGE, 0, 150, 7, 0),
        (DELETE, 0, 3, 8, 1),
    ]


def test_five_collections_fit_a_composite(db: DuckDB) -> None:
    run = RunFile(db, sync_of(api=Api.COLLECTIONS))
    run.fill(UP, 1100, LastName="'a'")
    assert [b.call for b in pack(run)] == [0, 0, 0, 0, 0, 1]
    assert [(b.rows, b.call) for b in pack(run, chunk=400)][-2:] == [(200, 0), (100, 1)]
    small = pack(run, chunk=50)
    assert ({b.rows for b in small}, max(b.call for b in small), sum(b.calls for b in small)) == ({50}, 4, 5)


def test_rows_that_clear_a_lookup_stand_apart_from_rows_that_set_it(db: DuckDB) -> None:
    run = RunFile(db, sync_of())
    run.fill(
        CHANGE,
        40,
        LastName="'a'",
        AccountId="CASE WHEN i % 2 = 0 THEN '' WHEN i % 3 = 0 THEN 'A1' END",
        OwnerId="CASE WHEN i % 4 = 0 THEN '' END",
        Note__c="CASE WHEN i = 8 THEN '#N/A' ELSE 'n' END",
    )
    found = pack(run)
    assert {b.way for b in found} == {Way.COLLECTIONS}
    assert sorted(run.keys(CHANGE)) == sorted(f"k{i}" for i in range(1, 41))
    forms = run.db.execute(
        f"""SELECT coalesce("AccountId" = '', FALSE), coalesce("OwnerId" = '', FALSE), "Note__c" = '#N/A'
        FROM {run.table(CHANGE)} ORDER BY rowid"""
    )
    kinds = list(forms)
    runs = [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before]
    assert len(runs) == len(set(kinds)) == 4, "each form stands together"


def test_bulk_jobs_by_form_and_the_odd_row_by_json(db: DuckDB) -> None:
    run = RunFile(db, sync_of(api=Api.BULK))
    run.fill(
        CHANGE,
        30,
        LastName="'a'",
        AccountId="CASE WHEN i <= 10 THEN '' ELSE 'A1' END",
        Note__c="CASE WHEN i = 30 THEN '#N/A' END",
    )
    found = [(b.way, b.clearing, b.rows) for b in pack(run)]
    assert found == [
        (Way.MULTIPART, (), 19),
        (Way.COLLECTIONS, (), 1),
        (Way.MULTIPART, ("AccountId",), 10),
    ]


def test_a_form_keeps_the_order_of_its_rows(db: DuckDB) -> None:
    run = RunFile(db, sync_of(api=Api.BULK))
    run.fill(CHANGE, 30, LastName="'a'", AccountId="CASE WHEN i % 3 = 0 THEN '' ELSE 'A1' END")
    pack(run)
    keys = [int(key[1:]) for key in run.keys(CHANGE)]
    assert keys == [i for i in range(1, 31) if i % 3] + [i for i in range(1, 31) if i % 3 == 0]


def test_long_texts_make_smaller_bodies(db: DuckDB) -> None:
    run = RunFile(db, sync_of(api=Api.COLLECTIONS))
    run.fill(UP, 300, LastName="'a'", Note__c="repeat('é', 25000)")  # 50,000 bytes a row
    found = pack(run)
    assert all(b.rows * 50_000 <= COMPOSITE_BYTES for b in found)
    assert max(b.rows for b in found) * 50_000 > COMPOSITE_BYTES * 0.9
    for call in {b.call for b in found}:
        assert sum(b.bytes for b in found if b.call == call) <= COMPOSITE_BYTES


def test_a_row_larger_than_a_body_travels_alone(db: DuckDB) -> None:
    run = RunFile(db, sync_of(api=Api.COLLECTIONS))
    run.fill(UP, 3, LastName="'a'", Note__c=f"repeat('x', {COMPOSITE_BYTES})")
    assert [(b.rows, b.call) for b in pack(run)] == [(1, 0), (1, 1), (1, 2)]


def test_jobs_are_cut_by_bytes(db: DuckDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a job, made small: the same arithmetic with fewer rows."""
    monkeypatch.setattr(batches, "JOB_BYTES", 200_000)
    monkeypatch.setattr(cost, "JOB_BYTES", 200_000)
    run = RunFile(db, sync_of(api=Api.BULK))
    run.fill(
        UP,
        10_000,
        Key__c="'k' || i",
        LastName="'name'",
        Note__c="CASE WHEN i % 100 = 0 THEN repeat('x', 900) END",
    )
    found = pack(run)
    assert {b.way for b in found} == {Way.BULK}
    assert len(found) > 2
    block = batches.JOB_BLOCK * 60 + 2 * 900  # two long notes among its rows
    assert all(b.bytes <= 200_000 + block and b.calls == 6 for b in found)
    assert [b.first for b in found] == [0, *(b.last for b in found[:-1])]
    assert found[-1].last == 10_000


@given(
    upserts=st.lists(st.sampled_from(["", "A1", "#N/A", None]), max_size=30),
    updates=st.lists(st.sampled_from(["", "A1", "A2", None]), max_size=30),
    deletes=st.integers(0, 9),
    chunk=st.integers(1, 8),
    api=st.sampled_from(list(Api)),
)
@settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_batches_concatenate_whatever_the_changes(
    db: DuckDB, upserts: list[str | None], updates: list[str | None], deletes: int, chunk: int, api: Api
) -> None:
    run = RunFile(db, sync_of(api=api))
    for operation, texts in ((UP, upserts), (CHANGE, updates)):
        cells = "".join(
            f" WHEN i = {n} THEN " + ("NULL" if t is None else f"'{t}'") for n, t in enumerate(texts, 1)
        )
        if texts:
            run.fill(operation, len(texts), LastName="'a'", AccountId=f"CASE{cells} END")
    run.fill(DELETE, deletes)
    before = {operation: sorted(run.keys(operation)) for operation in SENT}
    found = pack(run, chunk=chunk)
    assert {operation: sorted(run.keys(operation)) for operation in SENT} == before
    assert all(b.rows <= chunk for b in found if b.way is Way.COLLECTIONS)


def test_what_comes_out_of_the_bin_goes_first_by_200_a_call(db: DuckDB) -> None:
    run = RunFile(db, sync_of())
    run.fill(CHANGE, 3, LastName="'a'")
    found = pack_sync(run.sync, run.db, chunk=50, first_call=7, undeletes=401)
    back = [batch for batch in found if batch.operation is Operation.UNDELETE]
    assert [(b.call, b.first, b.last, b.calls, b.way) for b in back] == [
        (7, 0, 200, 1, Way.SOAP),
        (8, 200, 400, 1, Way.SOAP),
        (9, 400, 401, 1, Way.SOAP),
    ]
    assert [batch.call for batch in found if batch.operation is not Operation.UNDELETE] == [10]
    assert sum(batches_of(batch) for batch in found) == 0
