"""Bulk API 1.0, as much of it as clients of this day still use: jobs, batches, results; CSV and JSON.

Owns:      every call under ``/services/async``: token, version, checks of what is asked, answers and errors.
Does not:  process rows (bulk1_worker), keep jobs (bulk1_jobs), or spell answers (bulk1_text).
Invariant: each call is counted once; an error has a code of Bulk API 1.0, in the form in which the client speaks.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from sfsync.local_org import bulk1_jobs as states
from sfsync.local_org.bulk1_jobs import Batch, ClassicJob, ClassicJobs
from sfsync.local_org.bulk1_text import ClassicError, batch_info, job_info, json_of, read_info, xml_of
from sfsync.local_org.bulk1_worker import ClassicWorker, result_file, upload_file
from sfsync.local_org.bulk_intake import IntakeError, receive
from sfsync.local_org.gate import NEWEST, OLDEST
from sfsync.local_org.org import Org
from sfsync.local_org.people import CURRENT
from sfsync.local_org.store import Store

MAX_BATCH = 10_000_000  # bytes of a batch; Bulk API guide, "Bulk API Limits"
_MAX_INFO = 100_000
_OPERATIONS = ("insert", "update", "upsert", "delete", *states.QUERIES)
_MODES = {"0": "Parallel", "1": "Serial", "Parallel": "Parallel", "Serial": "Serial"}
_SENT = ("application/json", "application/xml", "text/csv")
_CALLS = tuple(
    (method, re.compile(pattern), name)
    for method, pattern, name in (
        ("POST", r"job", "create"),
        ("POST", r"job/(\w+)", "change"),
        ("GET", r"job/(\w+)", "show_job"),
        ("POST", r"job/(\w+)/batch", "add"),
        ("GET", r"job/(\w+)/batch", "list_batches"),
        ("GET", r"job/(\w+)/batch/(\w+)", "show_batch"),
        ("GET", r"job/(\w+)/batch/(\w+)/request", "show_request"),
        ("GET", r"job/(\w+)/batch/(\w+)/result", "show_result"),
        ("GET", r"job/(\w+)/batch/(\w+)/result/(\w+)", "show_records"),
    )
)


@dataclass(frozen=True, slots=True)
class _Classic:
    jobs: ClassicJobs
    worker: ClassicWorker


_MAKING = threading.Lock()
_OPEN: WeakKeyDictionary[Store, _Classic] = WeakKeyDictionary()


def stop(org: Org) -> None:
    """End the worker after the batch it is saving."""
    found = _OPEN.pop(org.store, None)
    if found is not None:
        found.worker.stop()


def _open(org: Org) -> _Classic:
    """The jobs of this org, opened at the first call."""
    with _MAKING:
        if org.store not in _OPEN:
            jobs = ClassicJobs(org.store, org.now)
            worker = ClassicWorker(org.store, jobs, org.faults, org.seen_by)
            org.store.on_reset.append(jobs.clear)
            worker.start()
            _OPEN[org.store] = _Classic(jobs, worker)
        return _OPEN[org.store]


async def answer(request: Request) -> Response:
    """Any call: to its handler, and a refusal to its form."""
    try:
        user = _admit(request)
        path = request.path_params["path"].strip("/")
        for method, pattern, name in _CALLS:
            if method == request.method and (matched := pattern.fullmatch(path)):
                call = _Call(request, await run_in_threadpool(_open, request.app.state.org), user)
                found: Response = await getattr(call, name)(*matched.groups())
                return found
        raise ClassicError("InvalidUrl", f"Destination URL not found: {request.method} {request.url.path}")
    except ClassicError as error:
        body = {"exceptionCode": error.code, "exceptionMessage": error.message}
        return _spoken(request, "error", body, status=400)
    except IntakeError as error:
        return _spoken(
            request,
            "error",
            {"exceptionCode": "ClientInputError", "exceptionMessage": error.message},
            status=400,
        )


def _admit(request: Request) -> str:
    """The user behind the session; the call is counted.

    Raises:
        ClassicError: a dead session, an unknown version, no calls left.
    """
    org: Org = request.app.state.org
    token = request.headers.get("x-sfdc-session", "")
    if request.scope.get("org.expired"):  # the rule of a fault file: this token dies now
        org.auth.revoke(token)
    user = org.auth.user_of(f"Bearer {token}")
    if user is None:
        raise ClassicError("InvalidSessionId", "Invalid session id")
    CURRENT.set(user)
    version = request.path_params["version"]
    if version not in {f"{number}.0" for number in range(OLDEST, NEWEST + 1)}:
        raise ClassicError("InvalidVersion", f"Unsupported API version: {version}")
    entry = request.scope["org.entry"]
    entry.counted = org.limits.calls.take()
    if not entry.counted:
        entry.limited = True
        raise ClassicError("ExceededQuota", "TotalRequests Limit exceeded.")
    return user


def _speaks_json(request: Request) -> bool:
    kind = request.headers.get("content-type") or request.headers.get("accept", "")
    return "json" in kind.lower()


def _spoken(request: Request, name: str, info: Any, inner: str = "", *, status: int = 200) -> Response:
    """An answer in the form of the request."""
    if _speaks_json(request):
        return Response(json_of(info, inner), status_code=status, media_type="application/json")
    return Response(xml_of(name, info, inner), status_code=status, media_type="application/xml")


@dataclass(frozen=True, slots=True)
class _Call:
    """One call at work."""

    request: Request
    classic: _Classic
    user: str

    @property
    def _org(self) -> Org:
        found: Org = self.request.app.state.org
        return found

    async def _job(self, job_id: str) -> ClassicJob:
        job = await run_in_threadpool(self.classic.jobs.job, job_id)
        if job is None:
            raise ClassicError("InvalidJob", f"Unable to find job for id: {job_id}")
        return job

    async def _batch(self, job_id: str, batch_id: str) -> tuple[ClassicJob, Batch]:
        job = await self._job(job_id)
        batch = await run_in_threadpool(self.classic.jobs.batch, job.id, batch_id)
        if batch is None:
            raise ClassicError("InvalidBatch", f"Unable to find batch for id: {batch_id}")
        return job, batch

    async def _info(self) -> Any:
        raw = b""
        async for block in self.request.stream():
            raw += block
            if len(raw) > _MAX_INFO:
                raise ClassicError("InvalidJob", f"Unable to parse Job: more than {_MAX_INFO} bytes")
        return read_info(raw, as_json=_speaks_json(self.request))

    async def create(self) -> Response:
        """``POST job``"""
        asked = _asked(self._org, await self._info())
        version = self.request.path_params["version"]

        def make() -> ClassicJob:
            return self.classic.jobs.create(**asked, api_version=version, created_by=self.user)

        job = await run_in_threadpool(make)
        return _spoken(self.request, "jobInfo", job_info(job, ()), status=201)

    async def change(self, job_id: str) -> Response:
        """``POST job/{id}``: close or abort it."""
        state = (await self._info()).get("state")
        job = await self._job(job_id)
        if state not in (states.CLOSED, states.ABORTED):
            raise ClassicError("InvalidJob", f"state is {state!r}; it is Closed or Aborted")
        if not await run_in_threadpool(self.classic.jobs.close, job.id, str(state)):
            raise ClassicError("InvalidJobState", f"Job is {job.state}: it cannot become {state}")
        return await self.show_job(job.id)

    async def show_job(self, job_id: str) -> Response:
        """``GET job/{id}``"""
        job = await self._job(job_id)
        batches = await run_in_threadpool(self.classic.jobs.batches, job.id)
        return _spoken(self.request, "jobInfo", job_info(job, batches))

    async def add(self, job_id: str) -> Response:
        """``POST job/{id}/batch``: rows or a query, streamed to disk and queued."""
        job = await self._job(job_id)
        kind = self.request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind not in _SENT:
            raise ClassicError("InvalidBatch", f"Content-Type is {kind!r}; it is one of {', '.join(_SENT)}")
        if job.state != states.OPEN:
            raise ClassicError("InvalidJobState", f"Job is {job.state}: batches are taken while it is Open")
        if not self._org.limits.batches.take():
            raise ClassicError("ExceededQuota", "ApiBatchItems Limit exceeded.")
        jobs = self.classic.jobs
        batch_id = await run_in_threadpool(jobs.new_batch_id)
        path = upload_file(jobs.folder(job.id), batch_id)
        encoding = self.request.headers.get("content-encoding", "").lower()
        facts = await receive(self.request.stream(), path, encoding=encoding)
        too_long = (
            f"InvalidBatch : {facts.bytes} bytes; the limit is {MAX_BATCH}"
            if facts.bytes > MAX_BATCH
            else None
        )
        number = int(self.request.scope["org.request"])
        batch = await run_in_threadpool(jobs.add, job, batch_id, number, too_long)
        if batch is None:
            path.unlink(missing_ok=True)
            raise ClassicError("InvalidJobState", "Job is not Open any more")
        if batch.state == states.QUEUED:
            self.classic.worker.submit(batch)
        return _spoken(self.request, "batchInfo", batch_info(batch), status=201)

    async def list_batches(self, job_id: str) -> Response:
        """``GET job/{id}/batch``"""
        job = await self._job(job_id)
        batches = await run_in_threadpool(self.classic.jobs.batches, job.id)
        return _spoken(self.request, "batchInfoList", [batch_info(b) for b in batches], "batchInfo")

    async def show_batch(self, job_id: str, batch_id: str) -> Response:
        """``GET job/{id}/batch/{id}``"""
        return _spoken(self.request, "batchInfo", batch_info((await self._batch(job_id, batch_id))[1]))

    async def show_request(self, job_id: str, batch_id: str) -> Response:
        """``GET …/request``: the upload, byte for byte."""
        job, batch = await self._batch(job_id, batch_id)
        return _file(job, upload_file(self.classic.jobs.folder(job.id), batch.id))

    async def show_result(self, job_id: str, batch_id: str) -> Response:
        """``GET …/result``: what became of each row, in the order of the upload; of a query the list of its results."""
        job, batch = await self._batch(job_id, batch_id)
        self._must_be_complete(batch)
        if job.operation not in states.QUERIES:
            return _file(job, result_file(self.classic.jobs.folder(job.id), batch.id))
        if job.content_type == "JSON":
            return Response(f'["{batch.result}"]', media_type="application/json")
        return Response(xml_of("result-list", {"result": batch.result}), media_type="application/xml")

    async def show_records(self, job_id: str, batch_id: str, result_id: str) -> Response:
        """``GET …/result/{id}``: the records of a query."""
        job, batch = await self._batch(job_id, batch_id)
        self._must_be_complete(batch)
        if batch.result is None or result_id not in (batch.result, batch.result[:15]):
            raise ClassicError("InvalidBatch", f"Unable to find result for id: {result_id}")
        return _file(job, result_file(self.classic.jobs.folder(job.id), batch.id))

    @staticmethod
    def _must_be_complete(batch: Batch) -> None:
        if batch.state != states.COMPLETED:
            raise ClassicError("InvalidBatch", f"Batch not completed: it is {batch.state}")


def _file(job: ClassicJob, path: Path) -> Response:
    return FileResponse(
        path, media_type="application/json" if job.content_type == "JSON" else "text/csv; charset=UTF-8"
    )


def _asked(org: Org, info: Any) -> dict[str, str | None]:
    """What a job is asked to be.

    Raises:
        ClassicError: it cannot be that.
    """
    operation, kind = info.get("operation"), str(info.get("contentType") or "XML")
    if operation == "hardDelete":
        raise ClassicError("FeatureNotEnabled", "hardDelete is not enabled for this user: use delete")
    if operation not in _OPERATIONS:
        raise ClassicError("InvalidJob", f"operation is {operation!r}; it is one of {', '.join(_OPERATIONS)}")
    sobject = org.seen.object(str(info.get("object") or ""))
    if sobject is None:
        raise ClassicError(
            "InvalidEntity", f"Entity '{info.get('object')}' is not supported by the Bulk API."
        )
    if kind not in ("CSV", "JSON"):
        raise ClassicError("FeatureNotEnabled", f"contentType is {kind}; the local org takes CSV and JSON")
    mode = _MODES.get(str(info.get("concurrencyMode") or "Parallel"))
    if mode is None:
        raise ClassicError(
            "InvalidJob", f"concurrencyMode is {info['concurrencyMode']!r}; it is Parallel or Serial"
        )
    key = None
    if operation == "upsert":
        named = str(info.get("externalIdFieldName") or "")
        field = sobject.field(named)
        if field is None or not (field.external_id or field.id_lookup or field.name == "Id"):
            text = f"External ID was not found for {sobject.name}. An External ID must be specified for upsert: {named!r}"
            raise ClassicError("InvalidJob", text)
        key = field.name
    return {
        "object": sobject.name,
        "operation": str(operation),
        "external_id": key,
        "concurrency": mode,
        "content_type": kind,
    }
