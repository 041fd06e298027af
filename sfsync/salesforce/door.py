"""The one counted way to the org: every request that costs an API call passes here.

Owns:      the current token and its renewal, the account of calls (reserved before, observed after), default headers,
           the API version, and the org's answers as values or typed errors.
Does not:  wait, or try again: the one repeat is after a renewed token, when the org has surely done nothing.
Invariant: no request is sent that the ledger did not allow; every limit header that comes back is told to it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfsync import __version__
from sfsync.errors import AuthError, OrgError
from sfsync.ports import CallLedger, Clock
from sfsync.records import OLDEST_API_VERSION
from sfsync.salesforce.auth import Desk, sign_in
from sfsync.salesforce.failures import NoAnswerError, SalesforceError, refusal_of
from sfsync.salesforce.limits import NEWEST_API_VERSION, Usage, parse_usage
from sfsync.salesforce.login import Login, Token
from sfsync.salesforce.logins import Logins
from sfsync.salesforce.transport import READ_TIMEOUT_S, Body, Reply, Request, Transport

CLIENT = f"sfsync/{__version__}"
WRITE_HEADERS: Mapping[str, str] = {"Sforce-Auto-Assign": "FALSE", "Sforce-Mru": "updateMru=false"}
"""Sent with every write: no assignment rules unless asked for, and no 'recently used' lists filled by a machine."""

Refusing = Callable[[str, int, Mapping[str, str], bytes], SalesforceError]
"""Makes an error of an answer that is no success: the request as messages show it, status, headers, body."""

_EXPIRED = frozenset({"INVALID_SESSION_ID", "INVALIDSESSIONID"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer with a status below 300. `path` holds the body when it went to a file."""

    request: str  # method and path, for messages
    status: int
    headers: Mapping[str, str]
    body: bytes
    path: Path | None
    elapsed_s: float

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The parsed body.

        Raises:
            NoAnswerError: not JSON: an answer began, so a write is in doubt.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise unreadable(self, "is not JSON") from None


def unreadable(answer: Answer, why: str) -> NoAnswerError:
    """An answer that says success in a form nobody can read: what was asked may have been done."""
    return NoAnswerError(f"{answer.request}: the answer {why}", sent=True, status=answer.status)


class Door:
    """A connection to one org for one user, shared by threads."""

    def __init__(
        self,
        login: Login,
        *,
        transport: Transport,
        ledger: CallLedger,
        clock: Clock,
        api_version: str | None = None,
        logins: Logins | None = None,
    ) -> None:
        self._login, self._transport, self._clock = login, transport, clock
        self._desk = Desk(transport, clock, logins)
        self._ledger = ledger
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._version = api_version
        self.usage: Usage | None = None
        """The org's own count as last seen by this connection."""

    @property
    def token(self) -> Token:
        """The current token; signs in at first use.

        Raises:
            AuthError, NoAnswerError: sign-in failed.
        """
        return self._current(None)

    @property
    def version(self) -> str:
        """The API version used, e.g. ``67.0``: the configured one, else the newest that both sides know (not counted)."""
        if self._version is None:
            self._version = choose_version(self.versions())
        return self._version

    def check_version(self) -> None:
        """See that the org offers the version in use; not counted.

        Raises:
            OrgError: it does not.
        """
        offered = self.versions()
        if self.version not in offered:
            raise OrgError(
                f"the org does not offer API version {self.version}; it offers {offered[0]} to {offered[-1]}",
                fix="set `api_version` in profiles.yml to one of these, or leave it out for the newest",
            )

    def use_ledger(self, ledger: CallLedger) -> None:
        """Count in this ledger from now on: the state that keeps it may be opened only once the org is known."""
        self._ledger = ledger

    def versions(self) -> tuple[str, ...]:
        """The API versions the org offers, oldest first. Needs no token and is not counted."""
        answer = self._answer(Request("GET", self._url("/services/data"), _JSON))
        found = answer.json()
        if not isinstance(found, list) or not all(isinstance(v, dict) and "version" in v for v in found):
            raise unreadable(answer, "is no list of API versions")
        return tuple(sorted((str(v["version"]) for v in found), key=float))

    def data_path(self, path: str) -> str:
        """The full path of a resource, e.g. ``composite/sobjects`` -> ``/services/data/v67.0/composite/sobjects``."""
        return f"/services/data/v{self.version}/{path}"

    def call(
        self,
        method: str,
        path: str,
        *,
        kind: str,
        body: Body | Callable[[str], bytes] = None,
        headers: Mapping[str, str] | None = None,
        to_file: Path | None = None,
        timeout_s: float = READ_TIMEOUT_S,
        batches: int = 0,
        refusing: Refusing = refusal_of,
    ) -> Answer:
        """Send one counted request.

        Args:
            path: from the root, e.g. `data_path("limits")`; may carry a query.
            kind: what the ledger books it under.
            body: text and bytes are sent as they are, a file is streamed. A function makes the body of the token, where
                an API wants it there instead of in a header.
            timeout_s: longest silence before and inside the answer; the default outlasts the platform's own limit.
            to_file: where a successful body goes (mode 0600); it exists only once it is complete.
            batches: daily Bulk batches that the request leads to, booked with it.
            refusing: reads what the org says when it refuses.

        Raises:
            ApiLimitError: the budget does not allow it; nothing was sent.
            SalesforceError: the org answered and refused.
            NoAnswerError: no usable answer; see its `sent`.
        """
        token = self.token
        sent = {**_JSON, "Sforce-Call-Options": f"client={CLIENT}", **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Type", "application/json; charset=UTF-8")
        for attempt in (1, 2):
            # A request whose token had expired did nothing, so the repeat starts no further batches.
            self._ledger.reserve(kind, 1, batches if attempt == 1 else 0)
            if callable(body):
                data: Body = body(token.access_token)
            else:
                data, sent["Authorization"] = body, f"Bearer {token.access_token}"
            request = Request(method, token.instance_url + path, sent, data, to_file, timeout_s)
            try:
                return self._answer(request, refusing)
            except SalesforceError as error:
                if attempt == 2 or error.status != 401 or error.code not in _EXPIRED:
                    raise
                token = self._current(token)
        raise AssertionError("unreachable")  # pragma: no cover

    def uncounted(self, path: str) -> Answer:
        """GET a resource outside of the data API (userinfo), which the platform does not count."""
        token = self.token
        headers = {**_JSON, "Authorization": f"Bearer {token.access_token}"}
        return self._answer(Request("GET", token.instance_url + path, headers))

    def close(self) -> None:
        """Close idle connections. The token stays valid: other runs of this app may share it."""
        self._transport.close()

    def _url(self, path: str) -> str:
        return self.token.instance_url + path

    def _answer(self, request: Request, refusing: Refusing = refusal_of) -> Answer:
        started = self._clock.monotonic()
        reply = self._transport.exchange(request)
        self._observe(reply)
        if reply.status >= 300:
            raise refusing(request.shown, reply.status, reply.headers, reply.body)
        elapsed = self._clock.monotonic() - started
        return Answer(request.shown, reply.status, reply.headers, reply.body, reply.path, elapsed)

    def _observe(self, reply: Reply) -> None:
        usage = parse_usage(reply.headers.get("Sforce-Limit-Info"), self._clock.now())
        if usage is not None:
            self.saw(usage.used, usage.maximum)

    def saw(self, used: int, maximum: int) -> None:
        """Take in what the org says of its calls, wherever an answer says it."""
        self.usage = Usage(used, maximum, self._clock.now())
        self._ledger.observe(used, maximum)

    def _current(self, stale: Token | None) -> Token:
        """The token, renewed once for all threads that found the same one stale."""
        with self._lock:
            if self._token is not None and self._token is not stale:
                return self._token
            token = sign_in(self._login, self._desk)
            if stale is not None and token.org_id != stale.org_id:
                raise AuthError(
                    f"signing in again led to org {token.org_id} instead of {stale.org_id}",
                    fix="check `domain`: it must not move between orgs during a run",
                )
            self._token = token
            return token


_JSON = {"Accept": "application/json"}


def choose_version(offered: tuple[str, ...]) -> str:
    """The newest version that both the org and this program know. offered: oldest first.

    Raises:
        OrgError: there is none.
    """
    known = [v for v in offered if OLDEST_API_VERSION <= float(v) <= NEWEST_API_VERSION]
    if known:
        return max(known, key=float)
    found = f"API versions {offered[0]} to {offered[-1]}" if offered else "no API version"
    newer = bool(offered) and float(offered[0]) > NEWEST_API_VERSION
    raise OrgError(
        f"the org offers {found}; sfsync works with {OLDEST_API_VERSION} to {NEWEST_API_VERSION}",
        fix="install a newer sfsync, or set `api_version` in profiles.yml to one the org offers"
        if newer
        else "check that `domain` is a Salesforce org: every one of them offers newer versions",
    )


def open_door(
    login: Login,
    *,
    ledger: CallLedger,
    clock: Clock,
    ca_file: Path | None = None,
    threads: int = 4,
    api_version: str | None = None,
    logins: Logins | None = None,
) -> Door:
    """A door with its own connections; signs in at first use. logins: those that are kept on this machine."""
    transport = Transport(ca_file=ca_file, connections=threads + 1)
    return Door(
        login, transport=transport, ledger=ledger, clock=clock, api_version=api_version, logins=logins
    )
