"""How a conversation with an org can fail, as typed errors that keep what push/retry needs to decide.

Owns:      NoAnswerError, SalesforceError, and turning an answer that is no success into one.
Does not:  decide what is tried again (status_codes classifies, push/retry decides).
Invariant: a NoAnswerError says whether the request can have reached the org; in doubt it never says no.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sfsync.errors import OrgError, OrgUnavailableError

NOT_SENT = "NOT_SENT"
NO_ANSWER = "NO_ANSWER"

_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_ECHO = re.compile(r"\b(VALUE_\w+ value|from value|String value) .*?(?= or request| at \[line|$)", re.DOTALL)
_MAX_SHOWN = 500


class NoAnswerError(OrgUnavailableError):
    """No usable answer came back.

    sent: False only when surely nothing reached the org; True when an answer began; None when nobody can know.
    A write with ``sent`` other than False is in doubt.
    """

    def __init__(
        self, what: str, *, sent: bool | None, fix: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(what, fix=fix, code=NOT_SENT if sent is False else NO_ANSWER, status=status)
        self.sent = sent

    @property
    def in_doubt(self) -> bool:
        """Whether the org may have done what was asked."""
        return self.sent is not False


@dataclass(frozen=True, slots=True)
class Refusal:
    """One element of the org's error array."""

    code: str
    message: str
    fields: tuple[str, ...] = ()


class SalesforceError(OrgError):
    """The org answered and refused the whole call.

    `code` is the org's own, or ``HTTP_503`` and the like when an answer carried none. `message` is the org's own text
    and may echo values of rows. `limit` is "daily" or "concurrent" for REQUEST_LIMIT_EXCEEDED, else None.
    """

    code: str
    status: int

    def __init__(
        self,
        what: str,
        *,
        status: int,
        refusals: tuple[Refusal, ...],
        retry_after_s: float | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what, fix=fix, code=refusals[0].code, status=status)
        self.refusals = refusals
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        return self.refusals[0].message

    @property
    def fields(self) -> tuple[str, ...]:
        return self.refusals[0].fields

    @property
    def in_doubt(self) -> bool:
        """Whether the org may have done what was asked: a gateway can answer for work that goes on behind it."""
        return self.status >= 500

    @property
    def limit(self) -> str | None:
        return limit_kind(self.code, self.message)


def limit_kind(code: str | None, message: str) -> str | None:
    """Tell the two limits that share a code apart; an unknown text counts as the daily one, the safe reading."""
    if code != "REQUEST_LIMIT_EXCEEDED":
        return None
    return "concurrent" if "concurrent" in message.lower() else "daily"


def refusal_of(request: str, status: int, headers: Mapping[str, str], body: bytes) -> SalesforceError:
    """Turn an answer that is no success into an error. request: method and path, as a message shows them."""
    refusals = _refusals(body)
    if refusals is None:
        refusals = (Refusal(f"HTTP_{status}", _plain(body) or "an empty body"),)
        what = (
            f"{request} was answered by HTTP {status} without Salesforce's own error: {refusals[0].message}"
        )
    else:
        first = refusals[0]
        what = f"Salesforce refused {request}: {shorten(_quiet(first.message))} ({first.code}, HTTP {status})"
    return SalesforceError(
        what,
        status=status,
        refusals=refusals,
        retry_after_s=_seconds(headers.get("Retry-After")),
        fix=_fix(status, refusals[0], headers),
    )


def _refusals(body: bytes) -> tuple[Refusal, ...] | None:
    """Read the error array of REST, or the lone object that some endpoints answer; None if it is neither."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    items = parsed if isinstance(parsed, list) else [parsed]
    found = tuple(
        _refusal(i) for i in items if isinstance(i, dict) and (i.get("errorCode") or i.get("error"))
    )
    return found or None


def _refusal(item: Mapping[str, Any]) -> Refusal:
    code = str(item.get("errorCode") or item.get("error"))
    message = str(item.get("message") or item.get("error_description") or "")
    fields = item.get("fields")
    return Refusal(code, message, tuple(str(f) for f in fields) if isinstance(fields, list) else ())


def _fix(status: int, first: Refusal, headers: Mapping[str, str]) -> str | None:
    if 300 <= status < 400 and headers.get("Location"):
        return (
            f"the host redirects to {headers['Location'].split('?')[0]}: "
            "set `domain` to the org's own My Domain host, without a proxy in between"
        )
    if status == 420:
        return "the host is not known at Salesforce's edge: check `domain`; a deleted scratch org or sandbox answers so"
    fixes = {
        "API_DISABLED_FOR_ORG": "the edition or the user's profile has no API access: an admin must enable 'API Enabled'",
        "API_CURRENTLY_DISABLED": "the user's profile has no API access: an admin must enable 'API Enabled'",
        "GONE": "this API version is retired: raise or remove `api_version` in the profile",
        "UNSUPPORTED_API_VERSION": "raise or remove `api_version` in the profile",
        "REQUEST_LIMIT_EXCEEDED": "the org has no API calls left, or too many long ones run at once: try again later",
    }
    return fixes.get(first.code)


def _plain(body: bytes) -> str:
    """What a person needs of an HTML or text body: its title, or its first words."""
    text = body[:20_000].decode("utf-8", "replace")
    title = _TITLE.search(text)
    if title is not None:
        return "HTML page titled '" + shorten(html.unescape(" ".join(title[1].split()))) + "'"
    return shorten(" ".join(re.sub(r"<[^>]*>", " ", text).split()))


def _quiet(message: str) -> str:
    """Take the value of a row out of a parser's message: which field it stood in, and so if it is pii, is not known."""
    return _ECHO.sub(r"\1 ***", message)


def shorten(text: str) -> str:
    """At most 500 characters, so that an echoed value does not fill a screen."""
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; the form with a date is left aside, since Salesforce's edge does not use it."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
