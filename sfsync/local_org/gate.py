"""The one door every request passes: faults, tokens, versions, limits, the journal.

Owns:      what is asked of a request before its handler runs, and what is noted after.
Does not:  know a resource.
Invariant: a request below /services/data/vNN.0/ is counted once, journaled once, and never answered unsigned; its
           line is in the journal before its client can know that it has ended. One in SOAP or of Bulk 1.0 is too: their
           own routes look at the token and count.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import anyio.to_thread
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sfsync.local_org.answers import Answer, ApiError, not_found, session_expired, to_response
from sfsync.local_org.fault_acts import AT_THE_DOOR, act
from sfsync.local_org.fault_rules import Rule
from sfsync.local_org.journal import Journal, Line
from sfsync.local_org.org import Org
from sfsync.local_org.people import CURRENT

OLDEST, NEWEST = 42, 67
"""API versions offered: from the first that has all resources of this org, sObject Collections being the youngest."""

_RETIRED = 30
"""The newest version that the platform itself has retired; what is between is alive there, but not offered here."""

SOAP = "/services/Soap/"
ASYNC = "/services/async/"
"""Where Bulk API 1.0 is; as in SOAP, its token is not in the header Authorization, and its errors look otherwise."""

MAX_HEAD = 16_384
"""Bytes of a request's URI, and of URI and headers together; Limits Quick Reference, "API Request Limits"."""

PAGE = "/_local/page"
"""Where the org's web page is: it asks for the user name and password itself."""

_OURS = ("/", "/favicon.ico")  # beside what is below /_local: no client of Salesforce asks for these
_DATA = re.compile(r"/services/data/v(\d+)\.(\d+)(/.*)?")
_KINDS = (
    ("token", re.compile(r"/services/oauth2/token")),
    ("identity", re.compile(r"/services/oauth2/|/id/")),
    ("describe", re.compile(r"/services/data/v[\d.]+/sobjects(/[^/]+(/describe)?)?/?$")),
    ("collections", re.compile(r"/services/data/v[\d.]+/composite/sobjects")),
    ("composite", re.compile(r"/services/data/v[\d.]+/composite")),
    ("query", re.compile(r"/services/data/v[\d.]+/(query|queryAll)\b")),
    ("bulk", re.compile(r"/services/data/v[\d.]+/jobs/|/services/async/")),
    ("rows", re.compile(r"/services/data/v[\d.]+/sobjects/")),
    ("limits", re.compile(r"/services/data/v[\d.]+/limits")),
    ("versions", re.compile(r"/services/data/?$")),
    ("soap", re.compile(r"/services/Soap/")),
)


def kind_of(method: str, path: str) -> str:
    """The journal's word for what a request is about."""
    found = next((kind for kind, pattern in _KINDS if pattern.match(path)), "other")
    return "rows" if found == "describe" and method != "GET" else found


class _Entry:
    """A request's line in the journal, written once: before the last byte of its answer, or at the latest at its end."""

    def __init__(self, journal: Journal, number: int, method: str, path: str) -> None:
        self._journal, self._number, self._method, self._path = journal, number, method, path
        self._written = False
        self.status = 0
        self.counted = False
        self.limited = False  # refused because the day's calls are used up

    def write(self) -> None:
        if self._written:
            return
        self._written = True
        now = datetime.now(UTC).replace(tzinfo=None)
        kind = kind_of(self._method, self._path)
        self._journal.add(Line(self._number, now, self._method, self._path, self.status, kind, self.counted))


class Gate:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, org: Org) -> None:
        self.app, self.org = app, org
        self.last_seen = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.last_seen = time.monotonic()
        path = scope["path"]
        if path.startswith("/_local") or path in _OURS:
            await self._local(scope, receive, send)
            return
        method = _method(scope)
        scope["org.request"] = number = self.org.journal.next_number()
        scope["org.entry"] = entry = _Entry(self.org.journal, number, method, path)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._own_headers(entry, path)]
            elif not message.get("more_body", False):
                entry.write()
            await send(message)

        if (refused := _too_long(scope)) is not None:
            await refused(scope, receive, noting)
            entry.write()
            return
        try:
            self.org.limits.calls.spend(self.org.faults.beside(method, path))
            rule = self.org.faults.take(method, path)
            refusal = (
                None if rule is not None and rule.fault in AT_THE_DOOR else self._admit(scope, rule, entry)
            )
            if refusal is not None:
                await to_response(refusal, {})(scope, receive, noting)
            elif rule is not None:
                await act(rule, self.app, scope, receive, noting, entry.write)
            else:
                await self.app(scope, receive, noting)
        finally:
            entry.write()

    def _own_headers(self, entry: _Entry, path: str) -> list[tuple[bytes, bytes]]:
        found = [(b"date", formatdate(self.org.now(), usegmt=True).encode())]
        # An answer in SOAP tells the allocation in its own header.
        if (entry.counted or entry.limited) and not path.startswith(SOAP):
            found.append((b"sforce-limit-info", self.org.limits.header().encode()))
        return found

    def _admit(self, scope: Scope, rule: Rule | None, entry: _Entry) -> Answer | None:
        """Look at token, version and allocation, and count the call; the refusal if there is one."""
        try:
            self._check(scope, rule)
            entry.counted = _DATA.match(scope["path"]) is not None
            if entry.counted and not self.org.limits.calls.take():
                entry.counted, entry.limited = False, True
                raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        except ApiError as refusal:
            return refusal.answer()
        return None

    def _check(self, scope: Scope, rule: Rule | None) -> None:
        """Token and version.

        Raises:
            ApiError: 401, 404 or 410.
        """
        path = scope["path"]
        if path.startswith((SOAP, ASYNC)):  # their own routes look at the token, and count the call
            scope["org.expired"] = rule is not None and rule.fault == "expired_token"
            return
        matched = _DATA.match(path)
        needs_token = matched is not None or path.startswith("/id/") or path.rstrip("/").endswith("/userinfo")
        if not needs_token:
            return
        header = _header(scope, b"authorization")
        if rule is not None and rule.fault == "expired_token":
            self.org.auth.revoke((header or "").partition(" ")[2].strip())
        scope["org.user"] = user = self.org.auth.user_of(header)
        if user is None:
            raise session_expired()
        CURRENT.set(user)
        if matched is None:
            return
        major, minor = int(matched[1]), matched[2]
        if 7 <= major <= _RETIRED and minor == "0":
            raise ApiError(
                410, "GONE", f"API version {major}.0 has been retired; the oldest supported one is {OLDEST}.0"
            )
        if minor != "0" or not OLDEST <= major <= NEWEST:
            raise not_found()

    async def _local(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in _OURS or path == PAGE or path.startswith(f"{PAGE}/"):
            await self.app(scope, receive, send)
            return
        header = _header(scope, b"authorization")
        own_key = (
            f"Bearer {self.org.identity.client_secret}"  # no token needed, so that looking leaves no trace
        )
        if self.org.auth.user_of(header) is None and not hmac.compare_digest(header or "", own_key):
            await to_response(session_expired().answer(), {})(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def keep_journal(self) -> None:
        """Write waiting lines to the file; called every second and at the end."""
        await anyio.to_thread.run_sync(self.org.journal.flush)


def _too_long(scope: Scope) -> Response | None:
    """What the web server in front of the platform answers to a request whose head is too long."""
    uri = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) + 1
    if uri > MAX_HEAD:
        status, reason = 414, "URI Too Long"
    elif uri + sum(len(k) + len(v) + 4 for k, v in scope["headers"]) > MAX_HEAD:
        status, reason = 431, "Request Header Fields Too Large"
    else:
        return None
    body = f"<h1>Bad Message {status}</h1><pre>reason: {reason}</pre>"
    return Response(body, status_code=status, media_type="text/html")


def _method(scope: MutableMapping[str, Any]) -> str:
    """The method, or the one that `?_HttpMethod=` puts in place of POST."""
    method = str(scope["method"])
    found = re.search(rb"(?:^|&)_HttpMethod=([A-Z]+)", scope.get("query_string", b""))
    if method == "POST" and found:
        method = scope["method"] = found[1].decode()
    return method


def _header(scope: Scope, name: bytes) -> str | None:
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == name), None)
