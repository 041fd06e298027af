"""Packs the changes of a sync into batches that one request or one job carries.

Owns:      forms (rows that cannot share a CSV), the choice of way for each, and the ordinals of every batch.
Does not:  send anything, or change a row; it may only sort the rows of one operation so that a form stands together.
Invariant: concatenating the batches of a sync and operation gives back exactly its changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sfsync.compiler.manifest import Api, CompiledSync
from sfsync.diff import hierarchy
from sfsync.diff.stage import run_table
from sfsync.engine.dialect import quote_ident as ident
from sfsync.engine.duckdb import DuckDB
from sfsync.plan.cost import JOB_BYTES, Group, job_calls, multipart_may_win, prices
from sfsync.records import Batch, FieldRule, Operation, Send, Way
from sfsync.salesforce import encode
from sfsync.salesforce.limits import (
    MAX_COLLECTION_ROWS,
    MAX_COMPOSITE_COLLECTIONS,
    MAX_MULTIPART_CHARACTERS,
    MAX_UNDELETE_IDS,
)

COMPOSITE_BYTES = 4_000_000
"""Body of one Composite; larger ones run long enough on the org's side to meet its limits."""

JOB_BLOCK = 200
"""Rows that are never parted between two jobs; even the longest rows the platform takes stay under a job's size."""

ID_BYTES = 38
"""An Id in XML, and the element around it."""

DELETE_BYTES = 19
"""An Id in a URL, and the comma after it."""

ESCAPED = 6
"""Bytes of JSON that one byte of text takes at most: a control character becomes \\u and four digits."""


@dataclass(frozen=True, slots=True)
class _Form:
    """Rows [first, last) that look alike on the wire."""

    first: int
    last: int
    json_only: bool
    clearing: tuple[str, ...]
    text_bytes: int  # of all texts together, without what stands around them
    longest: int  # bytes of the texts of one row, at most
    level: int = 0

    @property
    def rows(self) -> int:
        return self.last - self.first


def sent_rules(sync: CompiledSync, operation: Operation) -> tuple[FieldRule, ...]:
    """The fields that an operation can send, the upsert key first."""
    if operation.makes:
        return sync.identity + tuple(r for r in sync.fields if r.on_create is not Send.NEVER)
    if operation is Operation.UPDATE:
        return tuple(r for r in sync.fields if r.on_update is not Send.NEVER)
    if operation is Operation.LINK:
        return tuple(r for r in sync.fields if r.on_update is not Send.NEVER and r.reference is not None)
    return ()


def pack_sync(
    sync: CompiledSync, db: DuckDB, *, chunk: int, first_call: int, undeletes: int = 0, links: int = 0
) -> tuple[Batch, ...]:
    """The batches of one sync: what comes out of the bin, creates and updates, late lookups, then deletes.

    Args:
        chunk: rows per Collections request, as learned for the object.
        first_call: the number of the first call; later ones count on from it.
        undeletes: records to be brought back; links: those whose lookups follow.
    """
    writes = [
        Batch(
            sync.name, sync.object, Operation.UNDELETE, Way.SOAP, 0, first, last, ID_BYTES * (last - first), 1
        )
        for first in range(0, undeletes, MAX_UNDELETE_IDS)
        for last in (min(first + MAX_UNDELETE_IDS, undeletes),)
    ]
    for operation in (sync.making, Operation.UPDATE):
        writes += _pack(sync, operation, db, chunk)
    late = list(_pack(sync, Operation.LINK, db, chunk)) if links else []
    deletes = list(_pack(sync, Operation.DELETE, db, chunk))
    numbered: list[Batch] = []
    for step in (writes, late, deletes):  # no call holds batches of two
        start = 1 + max((b.call for b in numbered), default=first_call - 1)
        numbered += _share_calls(step, start)
    return tuple(numbered)


def _pack(sync: CompiledSync, operation: Operation, db: DuckDB, chunk: int) -> Iterator[Batch]:
    table = run_table(operation.value, sync.name)
    api, reads = Api.BULK if sync.erases and operation is Operation.DELETE else sync.api, 0
    for form in _forms(sync, operation, db, table):
        group = _measure(sync, operation, form, db, table, chunk, api)
        best = prices(group, api, chunk)[0]
        copied = sync.removal.archive and operation is Operation.DELETE
        if (copied or (sync.undo_exact and operation is not Operation.CREATE)) and not reads:
            from sfsync.plan.reading import rows_a_call  # most syncs do without

            reads = rows_a_call(sync, operation, db)
        blank = Batch(
            *(sync.name, sync.object, operation, best.way, 0, form.first, form.last, group.csv_bytes, 0),
            reading=reads,
            level=form.level,
        )
        if best.way is Way.COLLECTIONS:
            yield from _collections(sync, blank, form, db, table, chunk)
        elif best.way is Way.MULTIPART or best.jobs == 1:
            yield replace(blank, calls=job_calls(best.way, operation), clearing=form.clearing)
        else:
            yield from _jobs(sync, replace(blank, clearing=form.clearing), db, table)


def _forms(sync: CompiledSync, operation: Operation, db: DuckDB, table: str) -> Iterator[_Form]:
    """Split off rows that clear a lookup others set, and rows whose text CSV cannot carry."""
    if not db.value(f"SELECT EXISTS (FROM {table})"):
        return  # to plan the statement below costs ten times as much
    if operation is Operation.DELETE and len(sizes := hierarchy.levels(sync, db)) > 1:
        for level, rows in enumerate(sizes):
            first = sum(sizes[:level])
            yield _Form(first, first + rows, False, (), 0, 0, level)
        return
    rules = sent_rules(sync, operation)
    lookups = [rule for rule in rules if rule.reference is not None]
    bits = [f"CASE WHEN {ident(rule.field)} = '' THEN {2 << n} ELSE 0 END" for n, rule in enumerate(lookups)]
    json_bit = f"CASE WHEN {encode.needs_json(rules)} THEN 1 ELSE 0 END" if rules else "0"
    form = " + ".join([json_bit, *bits])
    texts = " + ".join(f"coalesce(strlen({ident(rule.field)}), 0)" for rule in rules) or "0"
    late = operation is Operation.LINK  # of these, the first rows are sent, and those after them wait
    only, last = (" WHERE _waits IS NULL", "_waits IS NOT NULL, ") if late else ("", "")
    found = db.execute(
        f"SELECT form, count(*), sum(size), max(size) FROM (SELECT {form} AS form, {texts} AS size FROM {table}{only})"
        " AS t GROUP BY form ORDER BY form"
    )
    if len(found) > 1:
        db.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table} ORDER BY {last}{form}, rowid")
    first = 0
    for value, rows, size, longest in found:
        clearing = tuple(rule.field for n, rule in enumerate(lookups) if value & (2 << n))
        yield _Form(first, first + rows, bool(value & 1), clearing, int(size), int(longest))
        first += rows


def _measure(
    sync: CompiledSync, operation: Operation, form: _Form, db: DuckDB, table: str, chunk: int, api: Api
) -> Group:
    by_id = not operation.makes
    columns = encode.csv_columns(sent_rules(sync, operation), by_id=by_id, clearing=form.clearing)
    size = form.text_bytes + form.rows * (2 * len(columns) + (18 if by_id else 0))
    # Only for a multipart job does every byte count.
    needs = sync.options.needs(operation)
    exact = form.text_bytes <= MAX_MULTIPART_CHARACTERS and multipart_may_win(
        operation, form.rows, api, chunk, needs
    )
    if exact:
        where = f"rowid >= {form.first} AND rowid < {form.last}"
        size = int(db.value(f"SELECT sum({encode.csv_bytes(columns)}) FROM {table} WHERE {where}"))
        if operation is Operation.LINK:  # of new records, the Ids are still to come
            size += 18 * form.rows
    size += encode.csv_header_bytes(columns)
    return Group(operation, form.rows, size, exact, form.json_only, needs)


def _collections(
    sync: CompiledSync, blank: Batch, form: _Form, db: DuckDB, table: str, chunk: int
) -> Iterator[Batch]:
    """Blocks of at most `chunk` rows, halved where long texts would make a body too large."""
    rules = sent_rules(sync, blank.operation)
    step = min(chunk, MAX_COLLECTION_ROWS)
    most = DELETE_BYTES
    if blank.operation is not Operation.DELETE:
        most = encode.json_around_bytes(sync.object, rules) + ESCAPED * form.longest
    if (
        most * step * MAX_COMPOSITE_COLLECTIONS <= COMPOSITE_BYTES
    ):  # nothing to be halved, however it is written
        for first in range(blank.first, blank.last, step):
            last = min(first + step, blank.last)
            yield replace(blank, first=first, last=last, bytes=most * (last - first))
        return
    record = encode.json_record(sync.object, rules, by_id=not blank.operation.makes)
    size = encode.json_bytes(record)
    blocks = db.execute(
        f"SELECT (rowid - {blank.first}) // {step} AS block, sum({size}), max({size}) FROM {table}"
        f" WHERE rowid >= {blank.first} AND rowid < {blank.last} GROUP BY block ORDER BY block"
    )
    for block, total, largest in blocks:
        first = blank.first + int(block) * step
        last = min(first + step, blank.last)
        rows = last - first
        if total > COMPOSITE_BYTES:
            rows = max(1, COMPOSITE_BYTES // int(largest))
        for start in range(first, last, rows):
            end = min(start + rows, last)
            yield replace(blank, first=start, last=end, bytes=int(total) * (end - start) // (last - first))


def _jobs(sync: CompiledSync, blank: Batch, db: DuckDB, table: str) -> Iterator[Batch]:
    """Jobs of at most JOB_BYTES of CSV and a block more: a running sum over blocks, since one over rows sorts them all."""
    rules = sent_rules(sync, blank.operation)
    cells = " + ".join(f"coalesce(strlen({ident(rule.field)}), 0) + 2" for rule in rules) or "0"
    blocks = (
        f"SELECT (rowid - {blank.first}) // {JOB_BLOCK} AS block, sum({cells} + 20) AS size, min(rowid) AS first,"
        f" max(rowid) + 1 AS last FROM {table} WHERE rowid >= {blank.first} AND rowid < {blank.last} GROUP BY block"
    )
    found = db.execute(
        f"SELECT job, min(first), max(last), sum(size) FROM (SELECT *, (sum(size) OVER (ORDER BY block) - 1)"
        f" // {JOB_BYTES} AS job FROM ({blocks}) AS b) AS s GROUP BY job ORDER BY job"
    )
    for _, first, last, size_of_job in found:
        calls = job_calls(Way.BULK, blank.operation)
        yield replace(blank, first=int(first), last=int(last), bytes=int(size_of_job), calls=calls)


def _share_calls(batches: list[Batch], number: int) -> Iterator[Batch]:
    """Number the calls: up to five Collections share one Composite, a job stands alone."""
    room, size = 0, 0
    for batch in batches:
        if batch.way is not Way.COLLECTIONS:
            yield replace(batch, call=number)
            number, room = number + 1, 0
        elif room and size + batch.bytes <= COMPOSITE_BYTES:
            room, size = room - 1, size + batch.bytes
            yield replace(batch, call=number - 1, calls=0)
        else:
            yield replace(batch, call=number, calls=1)
            number, room, size = number + 1, MAX_COMPOSITE_COLLECTIONS - 1, batch.bytes
