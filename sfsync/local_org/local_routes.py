"""The local org's own controls, below /_local: not Salesforce's, and not counted as API calls.

Owns:      state, journal, records, load, reset, faults, limits, app, permission set, rules, stop.
Does not:  decide anything about records (write).
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sfsync.errors import OrgError
from sfsync.local_org.app import changed
from sfsync.local_org.call import Call
from sfsync.local_org.columns import RefusedWriteError
from sfsync.local_org.fault_rules import parse_rules
from sfsync.local_org.org import Org
from sfsync.local_org.store import literal, quoted, table
from sfsync.local_org.write import apply, headers_of


def _org(request: Request) -> Org:
    found: Org = request.app.state.org
    return found


def _wrong(message: str, status: int = 400) -> Response:
    return JSONResponse({"error": message}, status_code=status)


def state(request: Request) -> Response:
    """GET /_local/state: objects and their live records, calls, faults in force."""
    org = _org(request)
    return JSONResponse(
        {
            "org_id": org.identity.org_id,
            "username": org.identity.username,
            "counts": org.store.counts(),
            "api_calls": {"max": org.limits.calls.maximum, "used": org.limits.calls.used},
            "bulk_batches": {"max": org.limits.batches.maximum, "used": org.limits.batches.used},
            "permission_sets": org.rights.labels,
            "faults": org.faults.left(),
        }
    )


def journal(request: Request) -> Response:
    """GET /_local/journal?after=N&limit=M"""
    try:
        after, limit = (
            int(request.query_params.get(n, d)) for n, d in (("after", "0"), ("limit", "1000000"))
        )
    except ValueError:
        return _wrong("after and limit are whole numbers")
    return JSONResponse(_org(request).journal.read(after, limit))


def records(request: Request) -> Response:
    """GET /_local/records/{object}?deleted=true: every field of every record, canonical texts, nulls left out."""
    org = _org(request)
    sobject = org.contract.object(request.path_params["sobject"])
    if sobject is None:
        return _wrong(f"no object '{request.path_params['sobject']}'", 404)
    where = "" if request.query_params.get("deleted") == "true" else "WHERE IsDeleted = 'false'"
    with org.store.reading() as cursor:
        found = cursor.execute(f"SELECT * FROM {table(sobject.name)} {where} ORDER BY Id")
        names = [str(c[0]) for c in found.description]
        rows = found.fetchall()
    return JSONResponse([{n: v for n, v in zip(names, row, strict=True) if v is not None} for row in rows])


def reset(request: Request) -> Response:
    """POST /_local/reset: last is the number of the newest request, from which the journal goes on."""
    org = _org(request)
    org.reset()
    return JSONResponse({"reset": True, "last": org.journal.last})


async def faults(request: Request) -> Response:
    """PUT /_local/faults: replace the rules in force."""
    try:
        _org(request).faults.set(parse_rules(json.loads(await request.body() or b"[]")))
    except OrgError as error:
        return _wrong(f"{error.what}" + (f"; {error.fix}" if error.fix else ""))
    except ValueError:
        return _wrong("the body is not JSON")
    return JSONResponse({"faults": _org(request).faults.left()})


async def limits(request: Request) -> Response:
    """PUT /_local/limits {"max": N, "used": N, "batches_max": N, "batches_used": N}"""
    windows = _org(request).limits
    try:
        body: dict[str, Any] = json.loads(await request.body() or b"{}")
        unknown = set(body) - {"max", "used", "batches_max", "batches_used"}
        if unknown or not all(isinstance(v, int) and v >= 0 for v in body.values()):
            return _wrong("limits take max, used, batches_max and batches_used, whole numbers from 0")
    except (ValueError, AttributeError):
        return _wrong("the body is not a JSON object")
    calls, batches = windows.calls, windows.batches
    if "max" in body or "used" in body:
        calls.set(body.get("max", calls.maximum), body.get("used", calls.used))
    if "batches_max" in body or "batches_used" in body:
        batches.set(body.get("batches_max", batches.maximum), body.get("batches_used", batches.used))
    return JSONResponse({"api_calls": {"max": calls.maximum, "used": calls.used}})


async def app(request: Request) -> Response:
    """PUT /_local/app: change settings of the client app; those that are not named stay."""
    auth = _org(request).auth
    try:
        auth.app = changed(auth.app, json.loads(await request.body() or b"{}"))
    except OrgError as error:
        return _wrong(f"{error.what}" + (f"; {error.fix}" if error.fix else ""))
    except ValueError:
        return _wrong("the body is not JSON")
    return JSONResponse(asdict(auth.app))


async def permission_set(request: Request) -> Response:
    """PUT /_local/permission_set?user=NAME: metadata; what it opens is all that the user may do. Blank: everything."""
    org, text = _org(request), await request.body()
    try:
        user = org.rights.assign(text.decode(), request.query_params.get("user"))
    except OrgError as error:
        return _wrong(f"{error.what}" + (f"; {error.fix}" if error.fix else ""))
    except UnicodeDecodeError:
        return _wrong("the body is not UTF-8")
    return JSONResponse({"objects": [o.name for o in org.seen_by(user).objects]})


async def rules(request: Request) -> Response:
    """PUT /_local/rules: another setup of validation, duplicate and assignment rules, denials and hard deletes."""
    try:
        found = _org(request).set_rules(json.loads(await request.body() or b"{}"))
    except OrgError as error:
        return _wrong(f"{error.what}" + (f"; {error.fix}" if error.fix else ""))
    except ValueError:
        return _wrong("the body is not JSON")
    return JSONResponse({**found.given, "assignment_ids": {rule.name: rule.id for rule in found.assignment}})


async def load(request: Request) -> Response:
    """POST /_local/load?object=X with CSV, or JSON records; rows with a known unique external id are updated."""
    org, name = _org(request), request.query_params.get("object", "")
    sobject = org.contract.object(name)
    if sobject is None:
        known = ", ".join(o.name for o in org.contract.objects)
        return _wrong(f"this org has no object '{name}'; it has {known}", 404)
    with tempfile.NamedTemporaryFile(dir=org.folder, suffix=".load") as handle:
        async for chunk in request.stream():
            handle.write(chunk)
        handle.flush()
        is_json = "json" in request.headers.get("content-type", "")
        try:
            body = await anyio.to_thread.run_sync(_load, org, sobject.name, Path(handle.name), is_json)
        except RefusedWriteError as refusal:
            return _wrong(refusal.message)
        except OrgError as error:
            return _wrong(error.what)
    return JSONResponse(body)


def _load(org: Org, name: str, path: Path, is_json: bool) -> dict[str, Any]:
    import duckdb

    sobject = org.contract.object(name)
    if sobject is None:
        raise OrgError(f"no object '{name}'")
    source = (
        f"read_json({literal(str(path))}, format='auto', records=true, maximum_object_size=134217728)"
        if is_json
        else f"read_csv({literal(str(path))}, header=true, all_varchar=true, delim=',', quote='\"', escape='\"')"
    )
    with org.store.write() as cursor:
        try:
            headers = [str(c[0]) for c in cursor.execute(f"SELECT * FROM {source} LIMIT 0").description]
            cells = ", ".join(f"CAST({quoted(h)} AS VARCHAR) AS {quoted(h)}" for h in headers)
            cursor.execute(
                f"CREATE TEMP TABLE _load AS SELECT row_number() OVER () - 1 AS _row, {cells} FROM {source}"
            )
        except duckdb.Error as error:
            raise OrgError(f"the file cannot be read: {str(error).splitlines()[0]}") from None
        fields = [
            f for h in headers_of(cursor, "_load") if "." not in h and (f := sobject.field(h)) is not None
        ]
        key = next((f.name for f in fields if f.external_id and f.unique), None)
        operation = "upsert" if key else "insert"
        result = apply(org.store, cursor, Call(sobject, operation, "_load", key, journal=False))
        created, updated, failed = cursor.execute(
            f"SELECT count(*) FILTER (created), count(*) FILTER (success AND NOT created),"
            f" count(*) FILTER (NOT success) FROM {result}"
        ).fetchall()[0]
        errors = cursor.execute(
            f"SELECT _row + 1, code, message FROM {result} WHERE NOT success ORDER BY _row LIMIT 20"
        ).fetchall()
    listed = [{"row": r, "code": c, "message": m} for r, c, m in errors]
    return {
        "object": sobject.name,
        "created": created,
        "updated": updated,
        "failed": failed,
        "errors": listed,
    }


def ping(request: Request) -> Response:
    """GET /_local/ping: whether this is the org that the caller thinks it is."""
    return JSONResponse({"org_id": _org(request).identity.org_id})


def stop(request: Request) -> Response:
    """POST /_local/stop"""
    request.app.state.server.should_exit = True
    return JSONResponse({"stopping": True})


ROUTES = [
    Route("/_local/ping", ping),
    Route("/_local/state", state),
    Route("/_local/journal", journal),
    Route("/_local/records/{sobject}", records),
    Route("/_local/reset", reset, methods=["POST"]),
    Route("/_local/faults", faults, methods=["PUT"]),
    Route("/_local/app", app, methods=["PUT"]),
    Route("/_local/permission_set", permission_set, methods=["PUT"]),
    Route("/_local/rules", rules, methods=["PUT"]),
    Route("/_local/limits", limits, methods=["PUT"]),
    Route("/_local/load", load, methods=["POST"]),
    Route("/_local/stop", stop, methods=["POST"]),
]
