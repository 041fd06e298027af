"""simple-salesforce over the door, for describe and SOQL: counted, renewed and timed like every other call.

Owns:      what simple-salesforce takes for its session.
Does not:  write: that goes by the door itself.
Invariant: the door's errors come through, so simple-salesforce never sees a refusal nor signs in again.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
from simple_salesforce import Salesforce

from sfsync.errors import InternalError
from sfsync.salesforce.door import Door


def salesforce(door: Door) -> Salesforce:
    """A client of the door's org."""
    return Salesforce(
        session_id="set-by-the-door",
        instance_url=door.token.instance_url,
        version=door.version,
        session=_ThroughDoor(door),
        object_pairs_hook=dict,
    )


class _ThroughDoor(requests.Session):
    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door

    def request(self, method: str | bytes, url: str | bytes, *_: object, **kwargs: Any) -> requests.Response:
        prepared = requests.Request(str(method), str(url), params=kwargs.get("params")).prepare()
        parts = urlsplit(prepared.url or "")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        kind = "query" if "/query" in parts.path else "describe" if "/sobjects" in parts.path else "rest"
        if str(method).upper() != "GET":
            raise InternalError(f"{method!s} {parts.path}: writes do not go through simple-salesforce")
        answer = self._door.call("GET", path, kind=kind)
        response = requests.Response()
        response.status_code, response.url = answer.status, str(url)
        response.headers.update(answer.headers)
        response._content = answer.body
        response.encoding = "utf-8"
        return response
