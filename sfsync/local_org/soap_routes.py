"""The part of the partner SOAP API that REST has no twin of: undelete, emptyRecycleBin, merge, convertLead; and login.

Owns:      envelopes in and out, the session in the SOAP header, the limit of Ids a call.
Does not:  touch records (undelete, fates), or sign anybody in (soap_login).
Invariant: a call but login is signed by its SessionHeader alone and counted once; a refusal of the whole call is a Fault with
           HTTP status 500. Source: SOAP API Developer Guide, "undelete()", "emptyRecycleBin()", "API Fault Element".
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sfsync.local_org.gate import NEWEST, OLDEST
from sfsync.local_org.org import Org
from sfsync.local_org.people import CURRENT
from sfsync.local_org.soap_fates import converted, merged
from sfsync.local_org.soap_login import log_in
from sfsync.local_org.soap_text import ENVELOPE, INSTANCE, PARTNER, FaultError, fault_text
from sfsync.local_org.undelete import empty, undelete
from sfsync.local_org.writing import Result

MAX_IDS = 200
_MAX_BODY = 1 << 20
_FATES: dict[str, Callable[[Org, ET.Element], str]] = {"merge": merged, "convertLead": converted}
Work = Callable[[Org, Sequence[str], int], list[Result]]
_WORK: dict[str, Work] = {
    "undelete": undelete,
    "emptyRecycleBin": lambda org, ids, request: empty(org, ids),
}


async def partner(request: Request) -> Response:
    """POST /services/Soap/u/NN.0"""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
    try:
        body = await anyio.to_thread.run_sync(_answer, request, bytes(raw[: _MAX_BODY + 1]))
    except FaultError as fault:
        return Response(fault_text(fault), status_code=500, media_type="text/xml;charset=UTF-8")
    return Response(body, media_type="text/xml;charset=UTF-8")


def _answer(request: Request, raw: bytes) -> str:
    org: Org = request.app.state.org
    root = _parsed(raw)
    version = str(request.path_params["version"])
    body = root.find(f"{{{ENVELOPE}}}Body")
    call = body[0] if body is not None and len(body) else None
    name = call.tag.rpartition("}")[2] if call is not None else ""
    if name == "login" and call is not None:
        origin = f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"
        return log_in(org, root, call, version, origin)
    session = next((e.text for e in root.iter(f"{{{PARTNER}}}sessionId")), None) or ""
    if request.scope.get("org.expired"):  # the rule of a fault file: this token dies now
        org.auth.revoke(session)
    user = org.auth.user_of(f"Bearer {session}")
    CURRENT.set(user)
    if user is None:
        text = f"Invalid Session ID found in SessionHeader: Illegal Session. Session not found, missing session key: {session}"
        raise FaultError("INVALID_SESSION_ID", text)
    if version not in {f"{number}.0" for number in range(OLDEST, NEWEST + 1)}:
        raise FaultError("UNSUPPORTED_API_VERSION", f"Unsupported API version: {version}")
    entry = request.scope["org.entry"]
    entry.counted = org.limits.calls.take()
    if not entry.counted:
        raise FaultError("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    if call is None or call.tag != f"{{{PARTNER}}}{name}" or name not in (*_WORK, *_FATES):
        raise FaultError(
            "Client", f"No operation available for request {call.tag if call is not None else ''}"
        )
    if name in _FATES:
        return _envelope(org, name, _FATES[name](org, call))
    ids = [(element.text or "").strip() for element in call.iter(f"{{{PARTNER}}}ids")]
    if len(ids) > MAX_IDS:
        text = f"record limit reached. cannot submit more than {MAX_IDS} records into this call"
        raise FaultError("EXCEEDED_ID_LIMIT", text)
    results = _WORK[name](org, ids, request.scope["org.request"])
    return _envelope(org, name, "".join(map(_result, results)))


def _envelope(org: Org, name: str, inside: str) -> str:
    used, maximum = org.limits.calls.used, org.limits.calls.maximum
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{ENVELOPE}" xmlns="{PARTNER}"'
        f' xmlns:xsi="{INSTANCE}"><soapenv:Header><LimitInfoHeader><limitInfo><current>{used}</current>'
        f"<limit>{maximum}</limit><type>API REQUESTS</type></limitInfo></LimitInfoHeader></soapenv:Header>"
        f"<soapenv:Body><{name}Response>{inside}</{name}Response></soapenv:Body>"
        "</soapenv:Envelope>"
    )


def _parsed(raw: bytes) -> ET.Element:
    """The envelope.

    Raises:
        FaultError: no XML, too much of it, or a document type: nobody needs one, and entities can be bombs.
    """
    try:
        text = raw.decode("utf-8")
        if len(raw) > _MAX_BODY or "<!DOCTYPE" in text:
            raise FaultError("Client", "a DOCTYPE or a body of more than a megabyte is not taken")
        return ET.fromstring(text)
    except (UnicodeDecodeError, ET.ParseError, ValueError) as error:
        raise FaultError("Client", f"the body is no XML: {error}") from None


def _result(result: Result) -> str:
    if result.success:
        return f"<result><id>{escape(result.id or '')}</id><success>true</success></result>"
    fields = "".join(f"<fields>{escape(name)}</fields>" for name in result.fields)
    return (
        f"<result><errors>{fields}<message>{escape(result.message or '')}</message>"
        f'<statusCode>{escape(result.code or "")}</statusCode></errors><id xsi:nil="true"/><success>false</success></result>'
    )


ROUTES = [
    Route("/services/Soap/u/{version}", partner, methods=["POST"]),
    Route("/services/Soap/u/{version}/{org_id}", partner, methods=["POST"]),  # the serverUrl of a login
]
