"""Writing rows by sObject Collections, alone or five in one Composite call.

Owns:      paths, methods, headers and bodies of these calls, and their documented sizes.
Does not:  encode records (encode does, in SQL), judge answers row by row, or count rows it cannot see.
Invariant: the text of the records is sent exactly as it was given; nothing is parsed and written again.
Source:    REST API Developer Guide, "sObject Collections" and "Composite".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sfsync.errors import InternalError
from sfsync.records import Operation
from sfsync.salesforce.door import WRITE_HEADERS, Answer, Door
from sfsync.salesforce.failures import Refusal, SalesforceError
from sfsync.salesforce.limits import MAX_COLLECTION_ROWS, MAX_COMPOSITE_COLLECTIONS, MAX_REQUEST_BYTES


@dataclass(frozen=True, slots=True)
class Collection:
    """One Collections request of at most 200 rows.

    records: the text of a JSON array of records, or of its inside without the brackets (upsert, update).
    ids: record Ids (delete; undelete, which recycle_bin sends).
    """

    operation: Operation
    object: str
    rows: int
    records: str = ""
    ids: tuple[str, ...] = ()
    external_id: str | None = None  # field of the upsert key
    reference_id: str = "r0"  # names the answer inside a Composite; letters, digits and _
    headers: Mapping[str, str] = field(default_factory=lambda: WRITE_HEADERS)
    all_or_none: bool = False  # the rows of this request are saved together or not at all

    def __post_init__(self) -> None:
        if not 0 < self.rows <= MAX_COLLECTION_ROWS:
            raise InternalError(
                f"a Collections request carries 1 to {MAX_COLLECTION_ROWS} rows, not {self.rows}"
            )
        if self.operation in (Operation.DELETE, Operation.UNDELETE) and len(self.ids) != self.rows:
            raise InternalError(f"{self.operation} of {self.rows} rows was given {len(self.ids)} Ids")
        if (self.operation is Operation.UPSERT) != (self.external_id is not None):
            raise InternalError(f"{self.operation} with external id field {self.external_id}")

    @property
    def method(self) -> str:
        return {Operation.DELETE: "DELETE", Operation.CREATE: "POST"}.get(self.operation, "PATCH")

    @property
    def resource(self) -> str:
        """The resource below the versioned root, with the Ids of a delete in its query."""
        if self.operation is Operation.DELETE:
            return f"composite/sobjects?ids={','.join(self.ids)}&allOrNone={self._all_or_none}"
        if self.operation is Operation.UPSERT:
            return f"composite/sobjects/{self.object}/{self.external_id}"
        return "composite/sobjects"

    @property
    def body(self) -> str | None:
        """The JSON text, or None for a delete."""
        if self.operation is Operation.DELETE:
            return None
        records = self.records if self.records.startswith("[") else f"[{self.records}]"
        return f'{{"allOrNone":{self._all_or_none},"records":{records}}}'

    @property
    def _all_or_none(self) -> str:
        return "true" if self.all_or_none else "false"


class ReferenceInTextError(SalesforceError):
    """A text holds ``@{``, which a Composite would resolve as a reference: these rows must go by Collections alone.

    Raised before anything is sent or booked; status_codes asks for smaller groups, and one request alone is no Composite.
    """

    def __init__(self, object_name: str) -> None:
        code = "REFERENCE_IN_TEXT"
        what = f"a text of {object_name} holds '@{{', which a Composite request takes for a reference"
        super().__init__(what, status=400, refusals=(Refusal(code, what),))


def send_collection(door: Door, request: Collection, *, to_file: Path | None = None) -> Answer:
    """Send one Collections request: one API call. The answer is a JSON array, one result per row in request order."""
    body = request.body
    data = None if body is None else _sized(body)
    path = door.data_path(request.resource)
    return door.call(
        request.method, path, kind="collections", body=data, headers=request.headers, to_file=to_file
    )


def write_headers(
    *, allow_save: bool = False, assignment_rule: bool | str = False, update_mru: bool = False
) -> Mapping[str, str]:
    """The headers of a write: WRITE_HEADERS, but for what is asked for.

    Source: REST API Developer Guide, "Assignment Rule Header", "Duplicate Rule Header", "MRU Header".
    """
    headers = dict(WRITE_HEADERS)
    if assignment_rule:
        headers["Sforce-Auto-Assign"] = "TRUE" if assignment_rule is True else assignment_rule
    if update_mru:
        headers["Sforce-Mru"] = "updateMru=true"
    if allow_save:
        headers["Sforce-Duplicate-Rule-Header"] = "allowSave=true"
    return headers


def send_composite(door: Door, requests: Sequence[Collection], *, to_file: Path | None = None) -> Answer:
    """Send up to five Collections in one API call. Raises ReferenceInTextError for rows that no Composite can carry.

    The answer is ``{"compositeResponse": [{"referenceId", "httpStatusCode", "body"}]}`` in no promised order: each
    `reference_id` must be its own. A refused subrequest has an error array for a body and does not touch the others.
    """
    if not 0 < len(requests) <= MAX_COMPOSITE_COLLECTIONS:
        raise InternalError(
            f"a Composite carries 1 to {MAX_COMPOSITE_COLLECTIONS} Collections, not {len(requests)}"
        )
    if len({r.reference_id for r in requests}) != len(requests):
        raise InternalError("two Collections of one Composite share a reference id")
    for request in requests:
        if "@{" in request.records:
            raise ReferenceInTextError(request.object)
    parts = ",".join(_subrequest(door, r) for r in requests)
    body = f'{{"allOrNone":false,"collateSubrequests":false,"compositeRequest":[{parts}]}}'
    path = door.data_path("composite")
    return door.call(
        "POST", path, kind="composite", body=_sized(body), headers=WRITE_HEADERS, to_file=to_file
    )


def _subrequest(door: Door, request: Collection) -> str:
    # The headers of the whole call do not reach its parts.
    headers = json.dumps(dict(request.headers))
    url = json.dumps(door.data_path(request.resource))
    body = "" if request.body is None else f',"body":{request.body}'
    return (
        f'{{"method":"{request.method}","url":{url},"referenceId":"{request.reference_id}",'
        f'"httpHeaders":{headers}{body}}}'
    )


def _sized(body: str) -> bytes:
    data = body.encode()
    if len(data) > MAX_REQUEST_BYTES:
        raise InternalError(
            f"a request body of {len(data):,} bytes; the platform takes {MAX_REQUEST_BYTES:,}"
        )
    return data
