"""What each way of sending costs in API calls, and which one is cheapest for a group of rows.

Owns:      the price of Collections, multipart and full Bulk jobs, and the choice between them.
Does not:  pack rows (batches) or send them (push).
Invariant: only ways that can carry the group and that the sync allows are priced; ties go to the way that answers at
           once (Collections), then to fewer jobs.
Source:    each HTTP request is one API call; a Composite of Collections is one (REST API Developer Guide, "Composite";
           Bulk API 2.0 Developer Guide, limits).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sfsync.compiler.manifest import Api
from sfsync.records import HONOURS, Batch, Operation, Option, Way
from sfsync.salesforce.limits import (
    MAX_COLLECTION_ROWS,
    MAX_COMPOSITE_COLLECTIONS,
    MAX_COMPOSITE_QUERIES,
    MAX_MULTIPART_CHARACTERS,
    MOST_KEYS_A_QUERY,
    bulk_batches,
)

POLLS = 2
"""Polls a job is priced at. Push waits for what a job is expected to take before it asks."""

READING = "before-images"
"""What calls that read before a write (`undo: exact`) are called in the plan and in the account."""

VERIFY = "verify"
"""What calls that read written records back (`verify`) are called in the plan and in the account."""

JOB_BYTES = 90_000_000
"""CSV a job is planned for; Salesforce recommends at most 100 MB, and sizes are estimated before they are written."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one sync and operation that could travel together."""

    operation: Operation
    rows: int
    csv_bytes: int  # header included
    exact: bool  # csv_bytes is exact, so the multipart limit can be judged
    json_only: bool  # CSV cannot carry these rows
    needs: frozenset[Option] = frozenset()  # what the way must be able to do


@dataclass(frozen=True, slots=True)
class Price:
    """A way and what it costs."""

    way: Way
    calls: int
    jobs: int


def result_files(operation: Operation) -> int:
    """Result files read when no row fails: an upsert's tells Ids and whether a record was created or adopted."""
    return 1 if operation.makes else 0


def job_calls(way: Way, operation: Operation) -> int:
    """Calls of one Bulk job: create, upload and close (one request when multipart), polls, results."""
    return (1 if way is Way.MULTIPART else 3) + POLLS + result_files(operation)


def batches_of(batch: Batch) -> int:
    """Daily Bulk batches that a batch of the plan counts as; none when it goes by no job."""
    return 0 if batch.way in (Way.COLLECTIONS, Way.SOAP) else bulk_batches(batch.rows)


def verify_calls(records: int) -> int:
    """API calls that read so many records (at most 2,000) back by their Ids."""
    queries = records // MOST_KEYS_A_QUERY + 1
    return -(-queries // MAX_COMPOSITE_QUERIES) if records else 0


def calls_by_kind(batches: Iterable[Batch], verifying: int = 0) -> dict[str, int]:
    """API calls of a plan by the way they go, by what is read before, and by what is read back."""
    found: dict[str, int] = {}
    for batch in batches:
        for kind, calls in ((str(batch.way), batch.calls), (READING, batch.reads)):
            if calls or kind != READING:
                found[kind] = found.get(kind, 0) + calls
    if verifying:
        found[VERIFY] = verifying
    return found


def price_collections(rows: int, chunk: int) -> Price:
    """Rows in Collections of `chunk`, five to a Composite."""
    return Price(Way.COLLECTIONS, -(-rows // (chunk * MAX_COMPOSITE_COLLECTIONS)), 0)


def honours(way: Way, needs: frozenset[Option]) -> bool:
    """Whether a way can do all that the sync asks for."""
    return needs <= HONOURS[way]


def multipart_may_win(
    operation: Operation, rows: int, api: Api, chunk: int, needs: frozenset[Option] = frozenset()
) -> bool:
    """Whether a job of one request could be the cheapest way for so many rows, so that its exact size matters."""
    if not honours(Way.MULTIPART, needs):
        return False
    if api is Api.AUTO:
        collections = price_collections(rows, min(chunk, MAX_COLLECTION_ROWS))
        return collections.calls > job_calls(Way.MULTIPART, operation)
    return api is Api.BULK


def prices(group: Group, api: Api, chunk: int) -> list[Price]:
    """Every way that can carry the group and that the sync allows, cheapest first.

    Args:
        chunk: rows per Collections request, as learned for the object (at most 200).
    """
    out = []
    chunk = min(chunk, MAX_COLLECTION_ROWS)
    if api is not Api.BULK or group.json_only:
        out.append(price_collections(group.rows, chunk))
    if api is not Api.COLLECTIONS and not group.json_only and honours(Way.BULK, group.needs):
        # The one request of such a job may have arrived although no answer came, and a plain create is never repeated.
        if (
            group.operation is not Operation.CREATE
            and group.exact
            and group.csv_bytes <= MAX_MULTIPART_CHARACTERS
        ):
            out.append(Price(Way.MULTIPART, job_calls(Way.MULTIPART, group.operation), 1))
        jobs = -(-group.csv_bytes // JOB_BYTES)
        out.append(Price(Way.BULK, jobs * job_calls(Way.BULK, group.operation), jobs))
    return sorted(out, key=lambda price: (price.calls, price.jobs))
