"""Bulk API 2.0 ingest: one function per call of a job's life.

Owns:      paths, bodies and JobInfo.
Does not:  poll, wait, split, or read result files (they go to disk whole and into SQL from there).
Invariant: CSV is streamed from disk and results are streamed to disk; lines end with LF, cells are split by commas.
Source:    Bulk API 2.0 Developer Guide, "Ingest".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

from sfsync.errors import InternalError
from sfsync.records import Operation
from sfsync.salesforce.door import Answer, Door, unreadable
from sfsync.salesforce.limits import MAX_BULK_BYTES, MAX_MULTIPART_CHARACTERS
from sfsync.salesforce.status_codes import ErrorColumns

_CSV = "text/csv; charset=UTF-8"
_CONTROL_S = 120.0
"""Longest wait for calls that only read or move a job's state: the org answers these at once or not at all."""


class JobState(StrEnum):
    """Where a job stands; the last three are final."""

    OPEN = "Open"
    UPLOAD_COMPLETE = "UploadComplete"
    IN_PROGRESS = "InProgress"
    JOB_COMPLETE = "JobComplete"
    FAILED = "Failed"
    ABORTED = "Aborted"

    @property
    def final(self) -> bool:
        return self in (JobState.JOB_COMPLETE, JobState.FAILED, JobState.ABORTED)


class ResultFile(StrEnum):
    """The three answers of a job, by the path that serves them."""

    SUCCESSFUL = "successfulResults"
    FAILED = "failedResults"
    UNPROCESSED = "unprocessedrecords"


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as the org tells it. processed includes failed; counts are None where the call does not give them."""

    id: str
    state: JobState
    object: str
    operation: str
    external_id: str | None = None
    created_date: str | None = None
    processed: int | None = None
    failed: int | None = None
    retries: int | None = None
    total_ms: int | None = None
    error: str | None = None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> JobInfo:
        """Raises KeyError or ValueError if the body is no job."""
        return cls(
            id=str(body["id"]),
            state=JobState(body["state"]),
            object=str(body["object"]),
            operation=str(body["operation"]),
            external_id=body.get("externalIdFieldName"),
            created_date=body.get("createdDate"),
            processed=body.get("numberRecordsProcessed"),
            failed=body.get("numberRecordsFailed"),
            retries=body.get("retries"),
            total_ms=body.get("totalProcessingTime"),
            error=body.get("errorMessage"),
        )


HARD_DELETE = "hardDelete"
"""A delete that goes past the recycle bin; only jobs can do it."""


def create_job(
    door: Door,
    operation: Operation | str,
    object_name: str,
    external_id: str | None = None,
    *,
    batches: int = 0,
    rule: str | None = None,
) -> JobInfo:
    """Open a job that waits for its CSV.

    Args:
        batches: what its rows will count as, booked now (`limits.bulk_batches`).
        rule: Id of the assignment rule that its rows go through.
    """
    return _job(
        door.call(
            "POST",
            _path(door),
            kind="bulk",
            body=_job_body(operation, object_name, external_id, rule),
            timeout_s=_CONTROL_S,
            batches=batches,
        )
    )


def create_multipart(
    door: Door,
    operation: Operation | str,
    object_name: str,
    csv: bytes | Path,
    external_id: str | None = None,
    *,
    batches: int = 0,
    rule: str | None = None,
) -> JobInfo:
    """Create, fill and close a job in one call: at most 100,000 characters of CSV. batches, rule: as for `create_job`."""
    data = csv.read_bytes() if isinstance(csv, Path) else csv
    characters = len(data.decode())
    if characters > MAX_MULTIPART_CHARACTERS:
        raise InternalError(
            f"a multipart job of {characters:,} characters; the limit is {MAX_MULTIPART_CHARACTERS:,}"
        )
    mark = uuid4().hex  # 122 random bits: not in the data
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="job"\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n'
        f"{_job_body(operation, object_name, external_id, rule)}\r\n"
        f'--{mark}\r\nContent-Disposition: form-data; name="content"; filename="content.csv"\r\n'
        f"Content-Type: {_CSV}\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{mark}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    return _job(door.call("POST", _path(door), kind="bulk", body=body, headers=headers, batches=batches))


def upload(door: Door, job_id: str, csv: Path) -> str:
    """Stream the CSV of an open job; once per job. Returns the job's Id."""
    size = csv.stat().st_size
    if size > MAX_BULK_BYTES:
        raise InternalError(f"a job of {size:,} bytes; at most {MAX_BULK_BYTES:,} are sent")
    door.call("PUT", _path(door, job_id, "batches"), kind="upload", body=csv, headers={"Content-Type": _CSV})
    return job_id


def close(door: Door, job_id: str) -> JobInfo:
    """Tell the org that the upload is complete; processing starts only now."""
    return _patch(door, job_id, JobState.UPLOAD_COMPLETE)


def abort(door: Door, job_id: str) -> JobInfo:
    """Stop a job; rows already written stay written."""
    return _patch(door, job_id, JobState.ABORTED)


def job_info(door: Door, job_id: str) -> JobInfo:
    """Ask for one job, counts included."""
    return _job(door.call("GET", _path(door, job_id), kind="poll", timeout_s=_CONTROL_S))


def list_jobs(door: Door) -> Iterator[JobInfo]:
    """All Bulk 2.0 ingest jobs of the whole org, a call per thousand, in no set order, without counts."""
    path: str | None = _path(door) + "?jobType=V2Ingest"
    while path is not None:
        answer = door.call("GET", path, kind="bulk", timeout_s=_CONTROL_S)
        body = answer.json()
        if not isinstance(body, dict) or not isinstance(body.get("records"), list):
            raise unreadable(answer, "is no list of jobs")
        for record in body["records"]:
            yield _read(answer, record)
        path = None if body.get("done", True) else body.get("nextRecordsUrl")


def download_results(door: Door, job_id: str, kind: ResultFile, path: Path) -> Answer:
    """Stream one result file to `path` (mode 0600), which exists only once it is complete."""
    return door.call(
        "GET", _path(door, job_id, kind), kind="result", headers={"Accept": "text/csv"}, to_file=path
    )


def error_columns(cell: str) -> ErrorColumns:
    """SQL of the parts of `sf__Error` (``CODE:message:FIELDS --``), for DuckDB; messages hold colons themselves."""
    tail = r"'(?s)^([^:]*):(.*):([^:]*)--\s*$'"
    whole = f"regexp_matches({cell}, {tail})"
    return ErrorColumns(
        code=f"trim(split_part({cell}, ':', 1))",
        message=f"CASE WHEN {whole} THEN regexp_extract({cell}, {tail}, 2) "
        f"ELSE substring({cell}, strpos({cell} || ':', ':') + 1) END",
        fields=f"replace(trim(regexp_extract({cell}, {tail}, 3)), ' ', '')",
    )


def delete_job(door: Door, job_id: str) -> None:
    """Remove a finished or closed job and its data from the org."""
    door.call("DELETE", _path(door, job_id), kind="bulk")


def _path(door: Door, *parts: str) -> str:
    return door.data_path("/".join(("jobs/ingest", *parts)))


def _job_body(operation: Operation | str, object_name: str, external_id: str | None, rule: str | None) -> str:
    if (operation is Operation.UPSERT) != (external_id is not None):
        raise InternalError(f"a Bulk {operation} with external id field {external_id}")
    body = {
        "object": object_name,
        "operation": "insert" if operation is Operation.CREATE else str(operation),
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    if external_id is not None:
        body["externalIdFieldName"] = external_id
    if rule is not None:
        body["assignmentRuleId"] = rule
    return json.dumps(body)


def _patch(door: Door, job_id: str, state: JobState) -> JobInfo:
    return _job(
        door.call(
            "PATCH",
            _path(door, job_id),
            kind="close",
            body=json.dumps({"state": str(state)}),
            timeout_s=_CONTROL_S,
        )
    )


def _job(answer: Answer) -> JobInfo:
    return _read(answer, answer.json())


def _read(answer: Answer, body: Any) -> JobInfo:
    try:
        return JobInfo.from_json(body)
    except (KeyError, TypeError, ValueError):
        raise unreadable(answer, "describes no Bulk job") from None
