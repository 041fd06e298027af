"""The Bulk API 2.0 ingest resources.

Owns:      every call under ``jobs/ingest``: checks of the asked job, states a call may meet, answers and errors.
Does not:  process rows (bulk_worker), keep jobs (bulk_jobs), or read CSV (bulk_csv).
Invariant: a poll is answered from memory, whatever the worker is doing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sfsync.contract import SObject
from sfsync.local_org import bulk_jobs as states
from sfsync.local_org import bulk_results as results
from sfsync.local_org.answers import Answer, ApiError, not_found, to_response
from sfsync.local_org.bulk_csv import DELIMITERS, LINE_ENDINGS
from sfsync.local_org.bulk_intake import (
    MAX_ONE_REQUEST,
    IntakeError,
    read_file,
    receive,
    split_multipart,
    takes_gzip,
)
from sfsync.local_org.bulk_jobs import Job, Jobs, job_json
from sfsync.local_org.bulk_rest import UPLOAD
from sfsync.local_org.bulk_worker import BulkWorker
from sfsync.local_org.fault_results import gone, info_json, served
from sfsync.local_org.org import Org
from sfsync.local_org.people import CURRENT
from sfsync.local_org.store import Store

PAGE = 1_000  # jobs of one page of the list; Bulk API 2.0 guide, "Get Information About All Jobs"
CSV = "text/csv; charset=UTF-8"
_OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
_KEYS = frozenset({"object", "operation", "externalIdFieldName", "contentType", "lineEnding", "columnDelimiter", "assignmentRuleId"})  # fmt: skip
_JOB_TYPES = ("V2Ingest", "Classic", "BigObjectIngest")
_SETTLING_S = 30.0  # longest wait of a result request for the batch that an abort met
MAX_JSON = 1_000_000
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Bulk:
    """The ingest side of one org."""

    jobs: Jobs
    worker: BulkWorker


_OPEN: WeakKeyDictionary[Store, Bulk] = WeakKeyDictionary()


def start(org: Org, clock: Callable[[], float] | None = None) -> Bulk:
    """Read the org's jobs and start the worker; jobs that a former process left are settled first."""
    jobs = Jobs(org.store, clock or org.now)
    jobs.tidy()
    worker = BulkWorker(org.store, jobs, org.limits.batches.take, org.faults, org.seen_by)
    org.store.on_reset.append(jobs.clear)
    worker.start()
    _OPEN[org.store] = Bulk(jobs, worker)
    return _OPEN[org.store]


def stop(org: Org) -> None:
    """End the worker after the batch it is saving."""
    bulk = _OPEN.pop(org.store, None)
    if bulk is not None:
        bulk.worker.stop()


def bulk_of(request: Request) -> Bulk:
    """The ingest side of the org that this request is for."""
    org: Org = request.app.state.org
    return _OPEN[org.store]


def guarded(handler: Handler) -> Handler:
    """Turn a refusal into the platform's array of one error."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ApiError as error:
            return to_response(error.answer(), request.headers)
        except IntakeError as error:
            return to_response(ApiError(400, error.code, error.message).answer(), request.headers)

    return answer


def _job_of(request: Request) -> Job:
    org: Org = request.app.state.org
    job = bulk_of(request).jobs.get(request.path_params["job"])
    if job is None or gone(org.faults, job):
        raise not_found()
    return job


def _wrong_state(message: str) -> ApiError:
    return ApiError(400, "INVALIDJOBSTATE", message)


# ---------------------------------------------------------------- create


@guarded
async def create(request: Request) -> Response:
    """``POST jobs/ingest``, with the data in the same request if it is multipart."""
    content_type = request.headers.get("content-type", "")
    multipart = content_type.lower().startswith("multipart/form-data")
    body = await json_body(request, 4 * MAX_ONE_REQUEST + 100_000 if multipart else MAX_JSON)
    data = None
    if multipart:
        asked, data = split_multipart(content_type, body)
    else:
        try:
            asked = json.loads(body)
        except ValueError:
            raise ApiError(400, "JSON_PARSER_ERROR", "the body is not JSON") from None
    settings = _settings(request.app.state.org, asked)
    job = await run_in_threadpool(_create, request, settings)
    if data is None:
        return to_response(Answer(200, job_json(job, full=False)), request.headers)
    bulk = bulk_of(request)
    bulk.jobs.claim_upload(job.id)
    facts = await receive(_once(data), bulk.jobs.folder(job.id) / UPLOAD, encoding="")
    bulk.worker.remember(job.id, facts)
    submitted = await run_in_threadpool(_submit, request, job)
    return to_response(Answer(200, job_json(submitted, full=False)), request.headers)


async def json_body(request: Request, limit: int = MAX_JSON) -> bytes:
    """The body of a call that carries no file.

    Raises:
        ApiError: CLIENTINPUTERROR; larger than the limit.
    """
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > limit:
            raise ApiError(400, "CLIENTINPUTERROR", f"the body is larger than {limit:,} bytes")
    return body


async def _once(data: bytes) -> Any:
    yield data


def _create(request: Request, settings: dict[str, Any]) -> Job:
    org: Org = request.app.state.org
    bulk_of(request).jobs.tidy()
    return bulk_of(request).jobs.create(
        api_version=request.path_params["version"],
        created_by=CURRENT.get() or org.identity.user_id,
        **settings,
    )


def _settings(org: Org, asked: Any) -> dict[str, Any]:
    """Check what a create call asks for, and give it the names of a Job."""
    if not isinstance(asked, dict):
        raise ApiError(400, "JSON_PARSER_ERROR", "the body is not a JSON object")
    unknown = sorted(set(asked) - _KEYS)
    if unknown:
        raise ApiError(400, "JSON_PARSER_ERROR", f'Unrecognized field "{unknown[0]}"')
    operation = asked.get("operation")
    if operation == "hardDelete" and not org.may_hard_delete(CURRENT.get() or org.identity.user_id):
        raise ApiError(
            400,
            "FEATURENOTENABLED",
            "hardDelete operation requires special user profile permission, please contact your system administrator",
        )
    if operation not in _OPERATIONS:
        raise ApiError(
            400,
            "INVALIDOPERATION" if operation else "INVALIDJOB",
            f"operation is {operation!r}; it is one of {', '.join(_OPERATIONS)}",
        )
    sobject = org.seen.object(str(asked.get("object") or ""))
    if sobject is None:
        name = asked.get("object")
        raise ApiError(400, "INVALIDENTITY", f"Entity '{name}' is not supported by the Bulk API.")
    if asked.get("contentType") not in (None, "CSV"):
        raise ApiError(400, "INVALIDJOB", f"contentType is {asked['contentType']!r}; it is CSV")
    rule = asked.get("assignmentRuleId")
    if rule and org.store.rules.assignment:
        try:
            org.store.rules.assigning(sobject.name, str(rule))
        except LookupError:
            raise ApiError(400, "INVALIDJOB", f"{sobject.name} has no assignment rule {rule}") from None
    return {
        "object": sobject.name,
        "operation": operation,
        "external_id": _key(sobject, operation, asked.get("externalIdFieldName")),
        "line_ending": choice_of(asked, "lineEnding", "LF", LINE_ENDINGS),
        "delimiter": choice_of(asked, "columnDelimiter", "COMMA", DELIMITERS),
        "assignment_rule": rule,
    }


def choice_of(asked: dict[str, Any], key: str, default: str, choices: dict[str, str]) -> str:
    """What a create call asks for under this key.

    Raises:
        ApiError: INVALIDJOB; not among the choices.
    """
    value = asked.get(key) or default
    if value not in choices:
        raise ApiError(400, "INVALIDJOB", f"{key} is {value!r}; it is one of {', '.join(choices)}")
    return str(value)


def _key(sobject: SObject, operation: str, name: Any) -> str | None:
    if operation != "upsert":
        return None
    if not name:
        raise ApiError(400, "INVALIDJOB", "externalIdFieldName is required for upsert")
    field = sobject.field(str(name))
    if field is None or not (field.external_id or field.id_lookup or field.name == "Id"):
        raise ApiError(
            400,
            "INVALIDJOB",
            f"Field name provided, {name} does not match an External ID, Salesforce Id, or indexed field for {sobject.name}",
        )
    return field.name


# ---------------------------------------------------------------- upload and states


@guarded
async def upload(request: Request) -> Response:
    """``PUT jobs/ingest/{id}/batches``: once, streamed to disk."""
    bulk, job = bulk_of(request), _job_of(request)
    media = request.headers.get("content-type", "text/csv").split(";")[0].strip().lower()
    if media != "text/csv":
        raise ApiError(400, "CLIENTINPUTERROR", f"Content-Type is {media}; it is text/csv")
    if not bulk.jobs.claim_upload(job.id):
        if job.state == states.OPEN:
            raise _wrong_state("Found multiple contents for job: a job takes one upload")
        raise _wrong_state(f"Job {job.id} is {job.state}: data is taken while it is Open")
    try:
        encoding = request.headers.get("content-encoding", "").lower()
        facts = await receive(request.stream(), bulk.jobs.folder(job.id) / UPLOAD, encoding=encoding)
    except ClientDisconnect:
        bulk.jobs.release_upload(job.id)
        return Response(status_code=400)
    except BaseException:
        bulk.jobs.release_upload(job.id)
        raise
    bulk.worker.remember(job.id, facts)
    return Response(status_code=201)


@guarded
async def patch(request: Request) -> Response:
    """``PATCH jobs/ingest/{id}``: UploadComplete or Aborted."""
    job = _job_of(request)
    try:
        asked = json.loads(await json_body(request))
        state = asked["state"]
    except (ValueError, KeyError, TypeError):
        raise ApiError(
            400, "JSON_PARSER_ERROR", 'the body is a JSON object such as {"state":"UploadComplete"}'
        ) from None
    if state == states.UPLOADED:
        changed = await run_in_threadpool(_submit, request, job)
    elif state == states.ABORTED:
        changed = await run_in_threadpool(_abort, request, job)
    else:
        raise _wrong_state(f"state is {state!r}; it is UploadComplete or Aborted")
    return to_response(Answer(200, job_json(changed, full=False)), request.headers)


def _submit(request: Request, job: Job) -> Job:
    bulk = bulk_of(request)
    if job.state == states.OPEN and not (bulk.jobs.folder(job.id) / UPLOAD).exists():
        raise _wrong_state(f"Job {job.id} has no data: upload it with PUT first")
    number = int(request.scope.get("org.request", 0))
    changed = bulk.jobs.move(job.id, {states.OPEN}, state=states.UPLOADED, request=number)
    if changed is None:
        raise _wrong_state(f"Closing already {_now(bulk, job)} Job not allowed")
    bulk.worker.submit(job.id)
    return changed


def _abort(request: Request, job: Job) -> Job:
    bulk = bulk_of(request)
    running = {states.OPEN, states.UPLOADED, states.RUNNING}
    changed = bulk.jobs.move(job.id, running, state=states.ABORTED)
    if changed is None:
        raise _wrong_state(f"Aborting already {_now(bulk, job)} Job not allowed")
    return changed


def _now(bulk: Bulk, job: Job) -> str:
    found = bulk.jobs.get(job.id)
    state = found.state if found is not None else job.state
    return {states.COMPLETE: "Completed"}.get(state, state)


# ---------------------------------------------------------------- reading


@guarded
async def info(request: Request) -> Response:
    """``GET jobs/ingest/{id}``."""
    job, org = _job_of(request), request.app.state.org
    bulk_of(request).worker.polled(job.id)
    return to_response(Answer(200, info_json(org.faults, job)), request.headers)


@guarded
async def result(request: Request) -> Response:
    """``GET jobs/ingest/{id}/successfulResults`` and its two sisters, whatever their case."""
    kind = {
        "successfulresults": results.SUCCESSFUL,
        "failedresults": results.FAILED,
        "unprocessedrecords": results.UNPROCESSED,
    }.get(request.path_params["file"].lower())
    if kind is None:
        raise not_found()
    bulk, job = bulk_of(request), _job_of(request)
    if job.state not in states.TERMINAL:
        raise _wrong_state(f"Job {job.id} is {job.state}: results are there when it has ended")
    end = time.monotonic() + _SETTLING_S
    while bulk.worker.busy_with(job.id) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    await run_in_threadpool(bulk.worker.settle_files, job)
    zipped = takes_gzip(request.headers.get("accept-encoding", ""))
    org: Org = request.app.state.org
    path = await run_in_threadpool(served, org.store, org.faults, bulk.jobs.folder(job.id), job, kind)
    headers = {"Content-Encoding": "gzip"} if zipped else {"Content-Length": str(path.stat().st_size)}
    return StreamingResponse(read_file(path, zipped=zipped), media_type=CSV, headers=headers)


@guarded
async def listed(request: Request) -> Response:
    """``GET jobs/ingest``: all jobs, a thousand per page."""
    query = request.query_params
    kind, chunking = query.get("jobType"), query.get("isPkChunkingEnabled", "").lower()
    if kind is not None and kind not in _JOB_TYPES:
        raise ApiError(400, "INVALIDJOB", f"jobType is {kind!r}; it is one of {', '.join(_JOB_TYPES)}")
    locator = query.get("queryLocator", "")
    if locator and not locator.isdigit():
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    faults = request.app.state.org.faults
    ours = bulk_of(request).jobs.all() if kind in (None, "V2Ingest") and chunking != "true" else []
    found = [job for job in ours if not gone(faults, job)]
    first = int(locator or 0)
    page = found[first : first + PAGE]
    more = first + PAGE < len(found)
    base = f"/services/data/v{request.path_params['version']}/jobs/ingest"
    body = {
        "done": not more,
        "records": [{**job_json(j, full=False), "jobType": "V2Ingest"} for j in page],
        "nextRecordsUrl": f"{base}?queryLocator={first + PAGE}" if more else None,
    }
    return to_response(Answer(200, body), request.headers)


@guarded
async def remove(request: Request) -> Response:
    """``DELETE jobs/ingest/{id}``."""
    bulk, job = bulk_of(request), _job_of(request)
    if job.state not in states.TERMINAL | {states.UPLOADED} or bulk.worker.busy_with(job.id):
        raise ApiError(
            400, "API_ERROR", "Error encountered when deleting the job because the job is not terminated"
        )
    await run_in_threadpool(bulk.jobs.drop, job.id)
    return Response(status_code=204)


_BASE = "/services/data/v{version}/jobs/ingest"
ROUTES = [
    Route(f"{_BASE}{path}{slash}", handler, methods=[method])
    for method, path, handler in (
        ("POST", "", create),
        ("GET", "", listed),
        ("PUT", "/{job}/batches", upload),
        ("PATCH", "/{job}", patch),
        ("GET", "/{job}", info),
        ("DELETE", "/{job}", remove),
        ("GET", "/{job}/{file}", result),
    )
    for slash in ("", "/")
]
