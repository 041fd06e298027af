"""Requests that want an answer only if something has changed since a moment: describes and single records.

Owns:      `Last-Modified`, `If-Modified-Since` (304) and `If-Unmodified-Since` (412) of reads.
Does not:  make the answers (rows).
Invariant: what is answered 304 is what the same user was answered before, to the byte.

A describe has no date of its own: its date is when this process first answered so. It may be later than the truth, never
earlier, so that a client reads once too often at worst.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from weakref import WeakKeyDictionary

from sfsync.local_org.answers import Answer, ApiError, json_text
from sfsync.local_org.ask import Ask
from sfsync.local_org.people import CURRENT
from sfsync.local_org.store import Store

_LOCK = threading.Lock()
_SHOWN: WeakKeyDictionary[Store, dict[tuple[str | None, str], tuple[bytes, float]]] = WeakKeyDictionary()
"""Of each org: who was shown which resource, its digest, and since when it looks like that."""


def if_changed(ask: Ask, answer: Answer, changed: datetime | None = None) -> Answer:
    """The answer, or that nothing has changed. changed: when, if the resource knows it.

    Raises:
        ApiError: 412, it has changed after `If-Unmodified-Since`.
    """
    moment = changed if changed is not None else _since(ask, answer)
    moment = moment.replace(microsecond=0)
    headers = {**answer.headers, "Last-Modified": format_datetime(moment, usegmt=True)}
    after, before = _date(ask.headers, "if-modified-since"), _date(ask.headers, "if-unmodified-since")
    if before is not None and moment > before:
        text = f"The resource was changed after {ask.headers['if-unmodified-since']}"
        raise ApiError(412, "PRECONDITION_FAILED", text)
    if after is not None and moment <= after:
        return Answer(304, None, headers)
    return Answer(answer.status, answer.body, headers)


def _since(ask: Ask, answer: Answer) -> datetime:
    digest = hashlib.blake2b(json_text(answer.body).encode(), digest_size=16).digest()
    key = (CURRENT.get(), f"{ask.base}/{ask.path}")
    with _LOCK:
        shown = _SHOWN.setdefault(ask.org.store, {})
        if key not in shown or shown[key][0] != digest:
            # The next whole second: what was answered within this one was perhaps still the other.
            shown[key] = (digest, time.time() + 1 if key in shown else time.time())
        return datetime.fromtimestamp(shown[key][1], UTC)


def _date(headers: Mapping[str, str], name: str) -> datetime | None:
    """The date of a header; one that is none asks for nothing."""
    try:
        found = parsedate_to_datetime(headers[name])
    except (KeyError, ValueError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
