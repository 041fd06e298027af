"""sObject Collections: up to 200 records in one call, each with its own result.

Owns:      /composite/sobjects...: shapes, limits of size and of runs, all-or-none over the whole call.
Does not:  write rows itself (writing, write).
Invariant: a well-formed call answers one result per record, in order, whatever became of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from sfsync.contract import SObject
from sfsync.local_org.answers import Answer, ApiError, from_refusal
from sfsync.local_org.ask import Ask, Handler
from sfsync.local_org.columns import RefusedWriteError, key_field
from sfsync.local_org.ids import to_18
from sfsync.local_org.records import Record, chosen_fields, read_records, to_texts
from sfsync.local_org.rows import sobject_of
from sfsync.local_org.write import ROLLED_BACK
from sfsync.local_org.writing import Result, transaction, write_records

MAX_RECORDS = 200
MAX_RUNS = 10
MAX_READ = 2_000


class _RolledBackError(Exception):
    """Leaves the transaction of an all-or-none call with the results that explain it."""

    def __init__(self, results: list[Result]) -> None:
        super().__init__()
        self.results = results


def _records(ask: Ask) -> list[Any]:
    body = ask.body
    if not isinstance(body, Mapping) or not isinstance(body.get("records"), list):
        raise ApiError(400, "JSON_PARSER_ERROR", "The request body must be an object with a list 'records'")
    if not isinstance(body.get("allOrNone", False), bool):
        raise ApiError(400, "JSON_PARSER_ERROR", "Cannot deserialize instance of boolean: allOrNone")
    _check_size(len(body["records"]))
    return list(body["records"])


def _check_size(count: int) -> None:
    if count > MAX_RECORDS:
        raise ApiError(
            400,
            "EXCEEDED_ID_LIMIT",
            f"record limit reached. cannot submit more than {MAX_RECORDS} records into this call",
        )


def _type_of(record: Any) -> str:
    attributes = record.get("attributes") if isinstance(record, Mapping) else None
    kind = attributes.get("type") if isinstance(attributes, Mapping) else None
    if not isinstance(kind, str):
        raise ApiError(400, "INVALID_INPUT", "Include the sobject type in attributes.type of every record")
    return kind


def _write(ask: Ask, operation: str) -> Answer:
    """Create or update records of up to ten runs of one type each."""
    records = _records(ask)
    runs: list[tuple[SObject, list[Record]]] = []
    for kind, group in itertools.groupby(records, key=lambda r: _type_of(r).lower()):
        sobject = ask.org.seen.object(kind)
        if sobject is None:
            raise ApiError(400, "INVALID_TYPE", f"sObject type '{kind}' is not supported.")
        runs.append((sobject, [_texts(ask, sobject, record) for record in group]))
    _check_runs(len(runs))
    results = _run(ask, operation, runs, None)
    return Answer(200, [_result(r, created=None) for r in results])


def _check_runs(count: int) -> None:
    if count > MAX_RUNS:
        raise ApiError(
            400,
            "LIMIT_EXCEEDED",
            f"Cannot process more than {MAX_RUNS} runs of different types; this call has {count}",
        )


def _texts(ask: Ask, sobject: SObject, record: Any) -> Record:
    try:
        return to_texts(ask.org.seen, sobject, record)
    except RefusedWriteError as refusal:
        raise from_refusal(refusal) from None


def _run(
    ask: Ask, operation: str, runs: Sequence[tuple[SObject, list[Record]]], key: str | None
) -> list[Result]:
    all_or_none = _all_or_none(ask)
    done: list[Result] = []
    try:
        with transaction(ask) as cursor:
            for sobject, records in runs:
                done += write_records(
                    ask, cursor, sobject, operation, records, external_id=key, all_or_none=all_or_none
                )
            if all_or_none and len(runs) > 1 and not all(r.success for r in done) and ask.cursor is None:
                raise _RolledBackError(done)
    except _RolledBackError as stop:
        return [
            r if r.code else Result(None, False, False, "ALL_OR_NONE_OPERATION_ROLLED_BACK", ROLLED_BACK, ())
            for r in stop.results
        ]
    return done


def _all_or_none(ask: Ask) -> bool:
    if ask.method == "DELETE":
        return ask.query.get("allOrNone", "false").lower() == "true"
    return bool(ask.body.get("allOrNone", False))


def _result(result: Result, *, created: bool | None) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if result.id is not None and result.success:
        body["id"] = result.id
    body["success"] = result.success
    body["errors"] = (
        []
        if result.success
        else [{"statusCode": result.code, "message": result.message, "fields": list(result.fields)}]
    )
    if created is not None:
        body["created"] = created
    return body


def create(ask: Ask) -> Answer:
    """POST /composite/sobjects"""
    return _write(ask, "insert")


def update(ask: Ask) -> Answer:
    """PATCH /composite/sobjects"""
    return _write(ask, "update")


def upsert(ask: Ask) -> Answer:
    """PATCH /composite/sobjects/X/{field}"""
    sobject = sobject_of(ask, ask.parts[0])
    try:
        key = key_field(sobject, ask.parts[1])
    except RefusedWriteError as refusal:
        raise from_refusal(refusal) from None
    records = _records(ask)
    for record in records:
        if (kind := _type_of(record)).lower() != sobject.name.lower():
            raise ApiError(400, "INVALID_INPUT", f"attributes.type is {kind}; the URL says {sobject.name}")
    texts = [_texts(ask, sobject, record) for record in records]
    if key.name != "Id" and any("Id" in r for r in texts):
        raise ApiError(400, "INVALID_FIELD", f"Id may not be given in an upsert by {key.name}", ("Id",))
    results = _run(ask, "upsert", [(sobject, texts)] if texts else [], key.name)
    return Answer(200, [_result(r, created=r.created) for r in results])


def delete(ask: Ask) -> Answer:
    """DELETE /composite/sobjects?ids=a,b"""
    wanted = [t.strip() for t in ask.query.get("ids", "").split(",") if t.strip()]
    if not wanted:
        raise ApiError(400, "MISSING_ARGUMENT", "ids not specified")
    _check_size(len(wanted))
    by_prefix = {o.key_prefix: o for o in ask.org.seen.objects}
    runs: list[tuple[SObject, list[Record]]] = []
    for prefix, group in itertools.groupby(wanted, key=lambda t: t[:3]):
        texts: list[Record] = [{"Id": text} for text in group]
        sobject = by_prefix.get(prefix)
        if sobject is None:
            raise ApiError(400, "MALFORMED_ID", f"malformed id {texts[0]['Id']}", ("Id",))
        runs.append((sobject, texts))
    _check_runs(len(runs))
    return Answer(200, [_result(r, created=None) for r in _run(ask, "delete", runs, None)])


def retrieve(ask: Ask) -> Answer:
    """GET /composite/sobjects/X?ids=&fields= and POST with the same in the body."""
    sobject = sobject_of(ask, ask.parts[0])
    if ask.method == "POST":
        body = ask.body if isinstance(ask.body, Mapping) else {}
        wanted, names = body.get("ids"), body.get("fields")
    else:
        wanted, names = ask.query.get("ids", "").split(","), ask.query.get("fields", "").split(",")
    if not isinstance(wanted, list) or not wanted or not isinstance(names, list) or not any(names):
        raise ApiError(400, "MISSING_ARGUMENT", "ids and fields are both needed")
    if len(wanted) > MAX_READ:
        raise ApiError(
            400,
            "EXCEEDED_ID_LIMIT",
            f"cannot retrieve more than {MAX_READ} records; this call has {len(wanted)}",
        )
    fields = chosen_fields(sobject, [str(n) for n in names])
    full = [to_18(str(text).strip()) for text in wanted]
    with ask.org.store.reading() as cursor:
        found = read_records(ask.cursor or cursor, sobject, [r for r in full if r], fields, ask.base)
    return Answer(200, [found.get(r) if r else None for r in full])


RESOURCES: tuple[tuple[str, dict[str, Handler]], ...] = (
    (r"composite/sobjects", {"POST": create, "PATCH": update, "DELETE": delete}),
    (r"composite/sobjects/([^/]+)", {"GET": retrieve, "POST": retrieve}),
    (r"composite/sobjects/([^/]+)/([^/]+)", {"PATCH": upsert}),
)
