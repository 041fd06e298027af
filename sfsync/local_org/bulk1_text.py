"""How Bulk API 1.0 speaks: jobInfo, batchInfo and errors as XML and as JSON, and what a client sends of them.

Owns:      names and order of the elements, both forms of an answer, reading a job from either.
Does not:  decide anything (bulk1).
Invariant: both forms say the same; an answer's elements stand in the order of the schema.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from sfsync.local_org import bulk1_jobs as states
from sfsync.local_org.bulk1_jobs import Batch, ClassicJob

NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"
Info = dict[str, Any]


class ClassicError(Exception):
    """A call that is refused: an exception code of Bulk API 1.0 and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def job_info(job: ClassicJob, batches: Iterable[Batch]) -> Info:
    """A job as answers show it."""
    listed = list(batches)
    count = {state: sum(1 for b in listed if b.state == state) for state in (states.QUEUED, states.RUNNING)}
    ended = (states.COMPLETED, states.FAILED)
    spent = sum(b.total_ms for b in listed)
    return {
        "id": job.id,
        "operation": job.operation,
        "object": job.object,
        "createdById": job.created_by,
        "createdDate": job.created,
        "systemModstamp": job.modified,
        "state": job.state,
        "externalIdFieldName": job.external_id,
        "concurrencyMode": job.concurrency,
        "contentType": job.content_type,
        "numberBatchesQueued": count[states.QUEUED],
        "numberBatchesInProgress": count[states.RUNNING],
        "numberBatchesCompleted": sum(1 for b in listed if b.state == states.COMPLETED),
        "numberBatchesFailed": sum(1 for b in listed if b.state == states.FAILED),
        "numberBatchesTotal": len(listed),
        "numberRecordsProcessed": sum(b.processed for b in listed if b.state in ended),
        "numberRetries": 0,
        "apiVersion": float(job.api_version),
        "numberRecordsFailed": sum(b.failed for b in listed if b.state in ended),
        "totalProcessingTime": spent,
        "apiActiveProcessingTime": spent,
        "apexProcessingTime": 0,
    }


def batch_info(batch: Batch) -> Info:
    """A batch as answers show it."""
    return {
        "id": batch.id,
        "jobId": batch.job,
        "state": batch.state,
        "stateMessage": batch.message,
        "createdDate": batch.created,
        "systemModstamp": batch.modified,
        "numberRecordsProcessed": batch.processed,
        "numberRecordsFailed": batch.failed,
        "totalProcessingTime": batch.total_ms,
        "apiActiveProcessingTime": batch.total_ms,
        "apexProcessingTime": 0,
    }


def xml_of(name: str, info: Mapping[str, Any] | list[Info], inner: str = "") -> bytes:
    """One object, or a list of them below `name`, each as the element `inner`. What is absent is left out."""
    if isinstance(info, list):
        body = "".join(f"<{inner}>{_elements(item)}</{inner}>" for item in info)
    else:
        body = _elements(info)
    return f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{NAMESPACE}">{body}</{name}>'.encode()


def _elements(info: Mapping[str, Any]) -> str:
    return "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in info.items() if v is not None)


def json_of(info: Mapping[str, Any] | list[Info], inner: str = "") -> bytes:
    """The same as JSON: dates with an offset, states in one word."""
    if isinstance(info, list):
        return json.dumps({inner: [_plain(item) for item in info]}).encode()
    return json.dumps(_plain(info)).encode()


def _plain(info: Mapping[str, Any]) -> Info:
    found = dict(info)
    for name in ("createdDate", "systemModstamp"):
        if name in found:
            found[name] = str(found[name]).removesuffix("Z") + "+0000"
    if found.get("state") == states.SKIPPED:
        found["state"] = "NotProcessed"
    return found


def read_info(raw: bytes, *, as_json: bool) -> Mapping[str, Any]:
    """What a client sends of a job.

    Raises:
        ClassicError: no such document.
    """
    if as_json:
        try:
            body = json.loads(raw)
        except ValueError as error:
            raise ClassicError("InvalidJob", f"Unable to parse Job: {error}") from None
        if not isinstance(body, Mapping):
            raise ClassicError("InvalidJob", "Unable to parse Job: the body is no JSON object")
        return body
    try:
        text = raw.decode("utf-8")
        if "<!DOCTYPE" in text:
            raise ClassicError("InvalidJob", "Unable to parse Job: a DOCTYPE is not taken")
        root = ET.fromstring(text)
    except (UnicodeDecodeError, ET.ParseError, ValueError) as error:
        raise ClassicError("InvalidJob", f"Unable to parse Job: {error}") from None
    if root.tag != f"{{{NAMESPACE}}}jobInfo":
        raise ClassicError("InvalidJob", f"Unable to parse Job: the root is jobInfo of {NAMESPACE}")
    return {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root}
