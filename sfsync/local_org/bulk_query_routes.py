"""The Bulk API 2.0 query resources.

Owns:      every call under ``jobs/query``: checks of the asked job, states a call may meet, locators, headers.
Does not:  run queries (bulk_query_worker), keep jobs (bulk_query_jobs), or compile SOQL (soql_bulk).
Invariant: a page of results is written by the engine and streamed; its size does not matter to memory.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sfsync.local_org import bulk_jobs as states
from sfsync.local_org.answers import Answer, ApiError, not_found, to_response
from sfsync.local_org.bulk_csv import DELIMITERS, LINE_ENDINGS
from sfsync.local_org.bulk_intake import read_file, takes_gzip
from sfsync.local_org.bulk_query_jobs import QueryJob, QueryJobs, job_json
from sfsync.local_org.bulk_query_worker import QueryWorker, header_line, write_page
from sfsync.local_org.bulk_routes import CSV, PAGE, choice_of, guarded, json_body
from sfsync.local_org.org import Org
from sfsync.local_org.people import CURRENT
from sfsync.local_org.soql_bulk import compile_bulk
from sfsync.local_org.soql_syntax import SoqlError
from sfsync.local_org.store import Store

_KEYS = frozenset({"operation", "query", "contentType", "lineEnding", "columnDelimiter"})
_JOB_TYPES = ("V2Query", "Classic")
_RESULT_ROWS = 50_000  # of one page that resultPages names
_PAGES = 5  # that one call names; Bulk API 2.0 guide, "Get Parallel Results for a Query Job"
_PAGES_SINCE = 58.0


@dataclass(frozen=True, slots=True)
class _Queries:
    jobs: QueryJobs
    worker: QueryWorker


_OPEN: WeakKeyDictionary[Store, _Queries] = WeakKeyDictionary()


def start(org: Org) -> None:
    """Read the org's query jobs and start their worker."""
    jobs = QueryJobs(org.store, org.now)
    jobs.tidy()
    worker = QueryWorker(org.store, jobs, org.faults, org.seen_by)
    org.store.on_reset.append(jobs.clear)
    worker.start()
    _OPEN[org.store] = _Queries(jobs, worker)


def stop(org: Org) -> None:
    """End the worker."""
    queries = _OPEN.pop(org.store, None)
    if queries is not None:
        queries.worker.stop()


def _queries(request: Request) -> _Queries:
    org: Org = request.app.state.org
    return _OPEN[org.store]


def _job_of(request: Request) -> QueryJob:
    job = _queries(request).jobs.get(request.path_params["job"])
    if job is None:
        raise not_found()
    return job


# ---------------------------------------------------------------- create, abort, delete


@guarded
async def create(request: Request) -> Response:
    """``POST jobs/query``."""
    try:
        asked = json.loads(await json_body(request))
    except ValueError:
        raise ApiError(400, "JSON_PARSER_ERROR", "the body is not JSON") from None
    job = await run_in_threadpool(_create, request, asked)
    return to_response(Answer(200, job_json(job, full=False)), request.headers)


def _create(request: Request, asked: Any) -> QueryJob:
    org: Org = request.app.state.org
    if not isinstance(asked, dict):
        raise ApiError(400, "JSON_PARSER_ERROR", "the body is not a JSON object")
    if unknown := sorted(set(asked) - _KEYS):
        raise ApiError(400, "JSON_PARSER_ERROR", f'Unrecognized field "{unknown[0]}"')
    operation, text = asked.get("operation"), asked.get("query")
    if operation not in ("query", "queryAll"):
        raise ApiError(400, "INVALIDJOB", f"operation is {operation!r}; it is query or queryAll")
    if not isinstance(text, str) or not text.strip():
        raise ApiError(400, "INVALIDJOB", "query is required: a SOQL statement")
    if asked.get("contentType") not in (None, "CSV"):
        raise ApiError(400, "INVALIDJOB", f"contentType is {asked['contentType']!r}; it is CSV")
    settings = {
        "line_ending": choice_of(asked, "lineEnding", "LF", LINE_ENDINGS),
        "delimiter": choice_of(asked, "columnDelimiter", "COMMA", DELIMITERS),
    }
    try:
        compiled = compile_bulk(text, org.seen, now=datetime.fromtimestamp(org.now(), UTC))
    except SoqlError as error:
        raise ApiError(400, error.code, error.message) from None
    if not org.limits.query_jobs.take():
        raise ApiError(400, "EXCEEDEDQUOTA", "DailyBulkV2QueryJobs Limit exceeded.")
    queries = _queries(request)
    queries.jobs.tidy()
    job = queries.jobs.create(
        object=compiled.object,
        operation=operation,
        query=text,
        api_version=request.path_params["version"],
        created_by=CURRENT.get() or org.identity.user_id,
        **settings,
    )
    queries.worker.submit(job.id)
    return job


@guarded
async def patch(request: Request) -> Response:
    """``PATCH jobs/query/{id}``: Aborted."""
    job = _job_of(request)
    try:
        state = json.loads(await json_body(request))["state"]
    except (ValueError, KeyError, TypeError):
        raise ApiError(
            400, "JSON_PARSER_ERROR", 'the body is a JSON object such as {"state":"Aborted"}'
        ) from None
    if state != states.ABORTED:
        raise _wrong_state(f"state is {state!r}; it is Aborted")
    changed = await run_in_threadpool(_abort, request, job)
    return to_response(Answer(200, job_json(changed, full=False)), request.headers)


def _abort(request: Request, job: QueryJob) -> QueryJob:
    queries = _queries(request)
    changed = queries.jobs.move(job.id, {states.UPLOADED, states.RUNNING}, state=states.ABORTED)
    if changed is None:
        found = queries.jobs.get(job.id) or job
        now = {states.COMPLETE: "Completed"}.get(found.state, found.state)
        raise _wrong_state(f"Aborting already {now} Job not allowed")
    queries.worker.interrupt(job.id)
    return changed


@guarded
async def remove(request: Request) -> Response:
    """``DELETE jobs/query/{id}``."""
    queries, job = _queries(request), _job_of(request)
    if job.state not in states.TERMINAL or queries.worker.busy_with(job.id):
        raise ApiError(
            400, "API_ERROR", "Error encountered when deleting the job because the job is not terminated"
        )
    await run_in_threadpool(queries.jobs.drop, job.id)
    return Response(status_code=204)


def _wrong_state(message: str) -> ApiError:
    return ApiError(400, "INVALIDJOBSTATE", message)


# ---------------------------------------------------------------- reading


@guarded
async def info(request: Request) -> Response:
    """``GET jobs/query/{id}``."""
    job = _job_of(request)
    _queries(request).worker.polled(job.id)
    return to_response(Answer(200, job_json(job, full=True)), request.headers)


@guarded
async def result(request: Request) -> Response:
    """``GET jobs/query/{id}/results`` and ``/resultPages``, whatever their case."""
    job, kind = _job_of(request), request.path_params["file"].lower()
    version = request.path_params["version"]
    if kind not in ("results", "resultpages") or (kind == "resultpages" and float(version) < _PAGES_SINCE):
        raise not_found()
    if version != job.api_version:
        raise ApiError(
            409,
            "API_ERROR",
            f"the results of job {job.id} are read with its own API version, {job.api_version}, not {version}",
        )
    if job.state != states.COMPLETE:
        raise _wrong_state(f"Job {job.id} is {job.state}: results are there when it is JobComplete")
    org: Org = request.app.state.org
    if org.faults.of_job(job.id, job.object, "query_expired") is not None:
        raise not_found()
    first = _position(request.query_params.get("locator"), job)
    if kind == "resultpages":
        return to_response(Answer(200, _pages(request, job, first)), request.headers)
    last = min(job.records, first + _wanted(request.query_params.get("maxRecords"), job))
    folder = _queries(request).jobs.folder(job.id)
    path = await run_in_threadpool(write_page, org.store, folder, job, first, last)
    head, zipped = header_line(job), takes_gzip(request.headers.get("accept-encoding", ""))
    headers = {
        "Sforce-NumberOfRecords": str(last - first),
        "Sforce-Locator": _locator(last) if last < job.records else "null",
    }
    if zipped:
        headers["Content-Encoding"] = "gzip"
    else:
        headers["Content-Length"] = str(len(head) + path.stat().st_size)
    return StreamingResponse(_once(path, head, zipped), media_type=CSV, headers=headers)


def _once(path: Path, head: bytes, zipped: bool) -> Iterator[bytes]:
    """The page, whose file goes when it was sent; one that is cut off goes with its job."""
    yield from read_file(path, zipped=zipped, head=head)
    with contextlib.suppress(OSError):
        path.unlink()


def _wanted(text: str | None, job: QueryJob) -> int:
    if text is None:
        return job.records
    if not text.isdigit() or int(text) < 1:
        raise ApiError(400, "CLIENTINPUTERROR", f"maxRecords is {text!r}; it is a whole number from 1")
    return int(text)


def _locator(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def _position(locator: str | None, job: QueryJob) -> int:
    """Where a locator points to; None: the first row."""
    if locator is None or locator == "":
        return 0
    try:
        text = base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not text.isdigit() or int(text) >= max(1, job.records):
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    return int(text)


def _pages(request: Request, job: QueryJob, first: int) -> dict[str, Any]:
    base = f"/services/data/v{job.api_version}/jobs/query/{job.id}"
    starts = [first + i * _RESULT_ROWS for i in range(_PAGES)]
    listed = [s for s in starts if s < job.records or s == 0]
    following = first + _PAGES * _RESULT_ROWS
    body: dict[str, Any] = {
        "resultPages": [
            {"resultUrl": f"{base}/results?maxRecords={_RESULT_ROWS}&locator={_locator(s)}"} for s in listed
        ],
        "done": following >= job.records,
    }
    if not body["done"]:
        body["nextRecordsUrl"] = f"{base}/resultPages?locator={_locator(following)}"
    return body


@guarded
async def listed(request: Request) -> Response:
    """``GET jobs/query``: all jobs, a thousand per page."""
    query = request.query_params
    kind, mode = query.get("jobType"), query.get("concurrencyMode", "Parallel").lower()
    if kind is not None and kind not in _JOB_TYPES:
        raise ApiError(400, "INVALIDJOB", f"jobType is {kind!r}; it is one of {', '.join(_JOB_TYPES)}")
    locator = query.get("queryLocator", "")
    if locator and not locator.isdigit():
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    ours = kind in (None, "V2Query") and mode == "parallel"
    if query.get("isPkChunkingEnabled", "").lower() == "true":
        ours = False
    found = _queries(request).jobs.all() if ours else []
    first = int(locator or 0)
    more = first + PAGE < len(found)
    base = f"/services/data/v{request.path_params['version']}/jobs/query"
    body = {
        "done": not more,
        "records": [{**job_json(j, full=False), "jobType": "V2Query"} for j in found[first : first + PAGE]],
        "nextRecordsUrl": f"{base}?queryLocator={first + PAGE}" if more else None,
    }
    return to_response(Answer(200, body), request.headers)


_BASE = "/services/data/v{version}/jobs/query"
ROUTES = [
    Route(f"{_BASE}{path}{slash}", handler, methods=[method])
    for method, path, handler in (
        ("POST", "", create),
        ("GET", "", listed),
        ("PATCH", "/{job}", patch),
        ("GET", "/{job}", info),
        ("DELETE", "/{job}", remove),
        ("GET", "/{job}/{file}", result),
    )
    for slash in ("", "/")
]
