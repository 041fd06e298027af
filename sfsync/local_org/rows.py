"""REST rows: one record by Id or by external id; describes; the small resources.

Owns:      /sobjects..., /limits..., and the list of resources.
Does not:  write rows itself (writing, write).
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from sfsync.contract import Field, SObject
from sfsync.local_org import describe
from sfsync.local_org.answers import Answer, ApiError, from_refusal, not_found
from sfsync.local_org.ask import Ask, Handler
from sfsync.local_org.columns import RefusedWriteError, key_field
from sfsync.local_org.conditional import if_changed
from sfsync.local_org.ids import to_18
from sfsync.local_org.people import CURRENT
from sfsync.local_org.records import chosen_fields, read_records, to_texts
from sfsync.local_org.stage import folded
from sfsync.local_org.store import quoted, table
from sfsync.local_org.writing import Result, transaction, write_records

_RESOURCES = (
    "sobjects",
    "query",
    "queryAll",
    "composite",
    "jobs",
    "limits",
    "tooling",
    "recent",
    "tabs",
    "theme",
)


def sobject_of(ask: Ask, name: str) -> SObject:
    """The object named in a URL.

    Raises:
        ApiError: NOT_FOUND.
    """
    found = ask.org.seen.object(name)
    if found is None:
        raise not_found()
    return found


def root(ask: Ask) -> Answer:
    """GET /services/data/vNN.0"""
    body = {name: f"{ask.base}/{name}" for name in _RESOURCES}
    body["identity"] = ask.org.auth.identity_url(ask.headers.get("x-origin", ""), CURRENT.get())
    return Answer(200, body)


def list_objects(ask: Ask) -> Answer:
    return if_changed(ask, Answer(200, describe.global_body(ask.org.seen, ask.base)))


def describe_object(ask: Ask) -> Answer:
    body = describe.describe_body(ask.org.seen, sobject_of(ask, ask.parts[0]), ask.base)
    return if_changed(ask, Answer(200, body))


def basic_object(ask: Ask) -> Answer:
    entry = describe.entry(sobject_of(ask, ask.parts[0]), ask.base)
    return Answer(200, {"objectDescribe": entry, "recentItems": []})


def limits(ask: Ask) -> Answer:
    return Answer(200, ask.org.limits.body())


def record_count(ask: Ask) -> Answer:
    counts = ask.org.store.counts()
    wanted = [n.strip() for n in ask.query.get("sObjects", "").split(",") if n.strip()]
    names = [o.name for n in wanted if (o := ask.org.seen.object(n))] if wanted else sorted(counts)
    return Answer(200, {"sObjects": [{"count": counts[n], "name": n} for n in names]})


# -------------------------------------------------------------------- one record


def refused(result: Result) -> ApiError:
    """A refused row as the answer of a single call."""
    code, message = result.code or "UNKNOWN_EXCEPTION", result.message or ""
    status = 404 if code == "ENTITY_IS_DELETED" else 400
    if code == "INVALID_CROSS_REFERENCE_KEY" and not result.fields:
        status = 404
    return ApiError(status, code, message, result.fields)


def create(ask: Ask) -> Answer:
    """POST /sobjects/X"""
    sobject = sobject_of(ask, ask.parts[0])
    result = _write_one(ask, sobject, "insert", dict(_texts(ask, sobject)))
    if not result.success:
        raise refused(result)
    location = f"{ask.base}/sobjects/{sobject.name}/{result.id}"
    return Answer(201, {"id": result.id, "success": True, "errors": []}, {"Location": location})


def _texts(ask: Ask, sobject: SObject) -> dict[str, str | None]:
    try:
        return to_texts(ask.org.seen, sobject, {} if ask.body is None else ask.body)
    except RefusedWriteError as refusal:
        raise from_refusal(refusal) from None


def _write_one(
    ask: Ask, sobject: SObject, operation: str, record: dict[str, str | None], key: str | None = None
) -> Result:
    with transaction(ask) as cursor:
        return write_records(ask, cursor, sobject, operation, [record], external_id=key)[0]


def _record_id(sobject: SObject, text: str) -> str:
    """The Id of a URL.

    Raises:
        ApiError: 400 MALFORMED_ID, 404 NOT_FOUND for an Id of another object.
    """
    full = to_18(text)
    if full is None:
        raise ApiError(400, "MALFORMED_ID", f"malformed id {text}", ("Id",))
    if not full.startswith(sobject.key_prefix or ""):
        raise not_found()
    return full


def read(ask: Ask) -> Answer:
    """GET /sobjects/X/{id}"""
    sobject = sobject_of(ask, ask.parts[0])
    return _read(ask, sobject, _record_id(sobject, ask.parts[1]))


def _read(ask: Ask, sobject: SObject, record: str) -> Answer:
    fields = chosen_fields(sobject, ask.query.get("fields"))
    dated = any(name in ask.headers for name in ("if-modified-since", "if-unmodified-since"))
    with ask.org.store.reading() as own:
        cursor = ask.cursor or own
        found = read_records(cursor, sobject, [record], fields, ask.base)
        if record not in found:
            raise not_found()
        if not dated:
            return Answer(200, found[record])
        changed = cursor.execute(
            f"SELECT SystemModstamp FROM {table(sobject.name)} WHERE Id = ?", [record]
        ).fetchall()
    return if_changed(ask, Answer(200, found[record]), datetime.fromisoformat(str(changed[0][0])))


def update(ask: Ask) -> Answer:
    """PATCH /sobjects/X/{id}"""
    sobject = sobject_of(ask, ask.parts[0])
    record = _texts(ask, sobject)
    if "Id" in record:
        raise ApiError(
            400, "INVALID_FIELD", "The Id field should not be specified in the sobject data.", ("Id",)
        )
    result = _write_one(ask, sobject, "update", {"Id": _record_id(sobject, ask.parts[1]), **record})
    if not result.success:
        raise refused(result)
    return Answer(204)


def delete(ask: Ask) -> Answer:
    """DELETE /sobjects/X/{id}"""
    sobject = sobject_of(ask, ask.parts[0])
    result = _write_one(ask, sobject, "delete", {"Id": _record_id(sobject, ask.parts[1])})
    if not result.success:
        raise refused(result)
    return Answer(204)


# -------------------------------------------------------------------- one record by external id


def _key_of(ask: Ask) -> tuple[SObject, Field]:
    sobject = sobject_of(ask, ask.parts[0])
    try:
        return sobject, key_field(sobject, ask.parts[1])
    except RefusedWriteError as refusal:
        raise from_refusal(refusal) from None


def _matches(ask: Ask, sobject: SObject, key: Field, text: str) -> list[str]:
    sql = (
        f"SELECT Id FROM {table(sobject.name)} WHERE IsDeleted = 'false'"
        f" AND {folded(key, quoted(key.name))} = {folded(key, '?::VARCHAR')} ORDER BY Id"
    )
    if ask.cursor is not None:
        return [str(r[0]) for r in ask.cursor.execute(sql, [text.strip()]).fetchall()]
    with ask.org.store.reading() as cursor:
        return [str(r[0]) for r in cursor.execute(sql, [text.strip()]).fetchall()]


def _several(ask: Ask, sobject: SObject, found: list[str]) -> Answer:
    return Answer(300, [f"{ask.base}/sobjects/{sobject.name}/{record}" for record in found])


def read_by_key(ask: Ask) -> Answer:
    """GET /sobjects/X/{field}/{value}"""
    sobject, key = _key_of(ask)
    found = _matches(ask, sobject, key, ask.parts[2])
    if len(found) > 1:
        return _several(ask, sobject, found)
    if not found:
        raise not_found()
    return _read(ask, sobject, found[0])


def upsert_by_key(ask: Ask) -> Answer:
    """PATCH /sobjects/X/{field}/{value}"""
    sobject, key = _key_of(ask)
    record = _texts(ask, sobject)
    for name in (key.name, "Id"):
        if name in record:
            text = f"The {name} field should not be specified in the sobject data."
            raise ApiError(400, "INVALID_FIELD", text, (name,))
    found = _matches(ask, sobject, key, ask.parts[2])
    if len(found) > 1:
        return _several(ask, sobject, found)
    if not found and ask.query.get("updateOnly", "").lower() == "true":
        raise not_found()
    result = _write_one(ask, sobject, "upsert", {key.name: ask.parts[2], **record}, key.name)
    if not result.success:
        raise refused(result)
    body: dict[str, object] = {"id": result.id, "success": True, "errors": [], "created": result.created}
    if result.created:
        location = f"{ask.base}/sobjects/{sobject.name}/{quote(str(result.id))}"
        return Answer(201, body, {"Location": location})
    return Answer(200, body) if float(ask.version) >= 46 else Answer(204)


def delete_by_key(ask: Ask) -> Answer:
    """DELETE /sobjects/X/{field}/{value}"""
    sobject, key = _key_of(ask)
    found = _matches(ask, sobject, key, ask.parts[2])
    if len(found) > 1:
        return _several(ask, sobject, found)
    if not found:
        raise not_found()
    result = _write_one(ask, sobject, "delete", {"Id": found[0]})
    if not result.success:
        raise refused(result)
    return Answer(204)


RESOURCES: tuple[tuple[str, dict[str, Handler]], ...] = (
    (r"", {"GET": root}),
    (r"limits", {"GET": limits}),
    (r"limits/recordCount", {"GET": record_count}),
    (r"sobjects", {"GET": list_objects}),
    (r"sobjects/([^/]+)", {"GET": basic_object, "POST": create}),
    (r"sobjects/([^/]+)/describe", {"GET": describe_object}),
    (r"sobjects/([^/]+)/(\w{15}|\w{18})", {"GET": read, "PATCH": update, "DELETE": delete}),
    (r"sobjects/([^/]+)/([^/]+)/(.+)", {"GET": read_by_key, "PATCH": upsert_by_key, "DELETE": delete_by_key}),
)
