"""Misbehaviour of an answer: lost, late, cut, garbled, or another one altogether.

Owns:      what a rule about requests does to the request it meets, and how a body is cut or garbled.
Does not:  choose the rule (faults), or sign, count and note the request (gate).
Invariant: `lost_before_commit`, `status`, `maintenance` and `sign_in_refused` leave the work undone; every other fault
           has it done.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sfsync.local_org.fault_rules import Rule
from sfsync.local_org.transport import cut, hang_up

AT_THE_DOOR = frozenset({"lost_before_commit", "maintenance", "sign_in_refused"})
"""Faults that act before a token is looked at or a call is counted."""

_MAINTENANCE_HTML = (
    "<html><head><title>Scheduled maintenance</title></head>"
    "<body><h1>We are down for maintenance.</h1><p>Please try again in a few minutes.</p></body></html>"
)
_MAINTENANCE = [{"message": "The server is temporarily unavailable", "errorCode": "SERVER_UNAVAILABLE"}]
Body = Callable[[bytes], bytes]


async def act(
    rule: Rule, app: ASGIApp, scope: Scope, receive: Receive, send: Send, note: Callable[[], None]
) -> None:
    """Do to this request what the rule says. note: writes its line in the journal, if an answer never ends."""
    match rule.fault:
        case "lost_before_commit":
            note()
            await cut(scope)
        case "lost_after_commit":
            await app(scope, receive, _swallow)
            note()
            await cut(scope)
        case "maintenance":
            body = _MAINTENANCE_HTML if rule.html else json.dumps(_MAINTENANCE)
            await _say(send, 503, body, {})
        case "sign_in_refused":
            refusal = {"error": rule.error, "error_description": rule.description}
            await _say(send, 400, json.dumps(refusal), {})
        case "status":
            await _say(send, rule.status, rule.body, dict(rule.headers))
        case "slow" if rule.before_work:
            await _held_up(rule.seconds, app, scope, receive, send)
        case "slow":
            await _later(rule.seconds, app, scope, receive, send)
        case "cut_answer" if rule.looks_whole:
            await _changed(lambda body: _looks_whole(body, rule.share), app, scope, receive, send)
        case "cut_answer":
            await _broken_off(rule.share, app, scope, receive, send, note)
        case "garbled" if rule.edit is not None:
            edit = rule.edit
            await _changed(lambda body: edited(body, edit), app, scope, receive, send)
        case "garbled":
            await app(scope, receive, _swallow)
            await _say(send, 200, rule.body, {})
        case _:  # expired_token has acted by now
            await app(scope, receive, send)


async def _swallow(message: Message) -> None:
    """An answer that nobody will read."""


async def _say(send: Send, status: int, body: str, headers: dict[str, str]) -> None:
    html = body.lstrip().startswith("<")
    content = body.encode()
    kind = "text/html;charset=UTF-8" if html else "application/json;charset=UTF-8"
    named = {
        "content-type": kind,
        **{k.lower(): v for k, v in headers.items()},
        "content-length": str(len(content)),
    }
    raw = [(k.encode(), v.encode()) for k, v in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})


async def _heard(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """Have the work done; the start of the answer and its whole body."""
    start: Message = {}
    body = bytearray()

    async def hear(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, hear)
    return start, bytes(body)


async def _held_up(seconds: float, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Take the whole request in and work on it later, even if its client has given up by then."""
    taken = [await receive()]
    while taken[-1].get("more_body", False):
        taken.append(await receive())
    await asyncio.sleep(seconds)

    async def again() -> Message:
        return taken.pop(0) if taken else await receive()

    await app(scope, again, send)


async def _later(seconds: float, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    start, body = await _heard(app, scope, receive)
    await asyncio.sleep(seconds)
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _header(start: Message, name: bytes) -> bytes:
    return next((bytes(v) for k, v in start.get("headers", ()) if k.lower() == name), b"")


async def _changed(change: Body, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Give a changed body with a Content-Length that fits it, packed as the true one was."""
    start, body = await _heard(app, scope, receive)
    packed = _header(start, b"content-encoding") == b"gzip"
    made = change(gzip.decompress(body) if packed else body)
    if packed:
        made = gzip.compress(made)
    kept = [(k, v) for k, v in start.get("headers", ()) if k.lower() != b"content-length"]
    await send({**start, "headers": [*kept, (b"content-length", str(len(made)).encode())]})
    await send({"type": "http.response.body", "body": made})


async def _broken_off(
    share: float, app: ASGIApp, scope: Scope, receive: Receive, send: Send, note: Callable[[], None]
) -> None:
    """Promise the whole body, give a share of it, and close the connection."""
    start, body = await _heard(app, scope, receive)
    kept = [(k, v) for k, v in start.get("headers", ()) if k.lower() != b"content-length"]
    await send({**start, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body[: int(len(body) * share)], "more_body": True})
    note()
    await hang_up(scope)


def _looks_whole(body: bytes, share: float) -> bytes:
    """A share of the body; of CSV, whole records, at least the header."""
    wanted = int(len(body) * share)
    if body.lstrip()[:1] in (b"{", b"[", b"<", b""):
        return body[:wanted]
    end = first = 0
    quotes = 0
    for line in body.splitlines(keepends=True):
        end += len(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:  # not inside a cell
            if end > wanted and first:
                return body[:first]
            first = end
    return body[:first]


def edited(body: bytes, edit: str) -> bytes:
    """A Composite's or a Collection's answer with one thing wrong; any other answer as it is.

    Args:
        edit: result_missing (of the last reference), result_doubled (the second reference is named as the first, or the
            only one comes twice), items_fewer (the last row's result is not there), no_status (of the first reference).
    """
    try:
        answer = json.loads(body)
    except ValueError:
        return body
    parts = answer.get("compositeResponse") if isinstance(answer, dict) else None
    if isinstance(answer, list) and edit == "items_fewer":
        answer = answer[:-1]
    elif isinstance(parts, list) and parts:
        _edit(parts, edit)
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()


def _edit(parts: list[dict[str, Any]], edit: str) -> None:
    if edit == "result_missing":
        parts.pop()
    elif edit == "result_doubled":
        if len(parts) == 1:
            parts.append(parts[0])
        else:
            parts[1]["referenceId"] = parts[0]["referenceId"]
    elif edit == "no_status":
        parts[0].pop("httpStatusCode", None)
    else:
        listed = next((p for p in parts if isinstance(p.get("body"), list) and p["body"]), None)
        if listed is not None:
            listed["body"] = listed["body"][:-1]
