"""The partner SOAP API, as far as REST has no twin of it: one call with a list of Ids.

Owns:      the envelope, its session header, reading results and faults.
Does not:  decide which call (recycle_bin), count or renew (door).
Invariant: nothing is read out of XML that has a document type: no entity is ever expanded. A fault becomes the error that
           REST would give for it, with the status that REST would have.
Source:    SOAP API Developer Guide, "undelete()", "SessionHeader", "LimitInfoHeader", "API Fault Element".
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from sfsync.errors import scrub
from sfsync.salesforce.door import CLIENT, Answer, Door, unreadable
from sfsync.salesforce.failures import Refusal, SalesforceError, refusal_of, shorten

_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_PARTNER = "urn:partner.soap.sforce.com"
_HEADERS = {"Accept": "text/xml", "Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '""'}
_STATUS = {"INVALID_SESSION_ID": 401, "SERVER_UNAVAILABLE": 503, "UNKNOWN_EXCEPTION": 500}
"""HTTP statuses that REST has for these; every fault comes with 500. The others are about the whole call: 403."""


@dataclass(frozen=True, slots=True)
class IdResult:
    """What became of one Id. refusal: why not, None for a success."""

    id: str | None
    refusal: Refusal | None


def call_with_ids(door: Door, name: str, ids: Sequence[str]) -> tuple[Answer, list[IdResult]]:
    """Send one counted call; a result for each Id, in order.

    Raises:
        SalesforceError: the call was refused whole.
        NoAnswerError: no usable answer: what was asked may have been done.
    """

    def body(token: str) -> bytes:
        return _request(name, ids, token)

    path = f"/services/Soap/u/{door.version}"
    answer = door.call("POST", path, kind="soap", body=body, headers=_HEADERS, refusing=_refusal)
    root = _parsed(answer.body)
    if root is None or root.find(f"{{{_ENVELOPE}}}Body/{{{_PARTNER}}}{name}Response") is None:
        raise unreadable(answer, f"is no {name}Response")
    _tell_usage(door, root)
    return answer, [_result(one) for one in root.iter(f"{{{_PARTNER}}}result")]


def _request(name: str, ids: Sequence[str], token: str) -> bytes:
    listed = "".join(f"<p:ids>{escape(one)}</p:ids>" for one in ids)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="{_ENVELOPE}" xmlns:p="{_PARTNER}"><e:Header>'
        f"<p:SessionHeader><p:sessionId>{escape(token)}</p:sessionId></p:SessionHeader>"
        f"<p:CallOptions><p:client>{escape(CLIENT)}</p:client></p:CallOptions></e:Header>"
        f"<e:Body><p:{name}>{listed}</p:{name}></e:Body></e:Envelope>"
    ).encode()


def _parsed(body: bytes) -> ET.Element | None:
    """The root; None for what is no XML in UTF-8, or has a document type, which no answer of an org has."""
    try:
        text = body.decode("utf-8")
        return None if "<!DOCTYPE" in text else ET.fromstring(text)
    except (UnicodeDecodeError, ET.ParseError, ValueError):
        return None


def _result(element: ET.Element) -> IdResult:
    record = element.findtext(f"{{{_PARTNER}}}id") or None
    if element.findtext(f"{{{_PARTNER}}}success") == "true":
        return IdResult(record, None)
    error = element.find(f"{{{_PARTNER}}}errors")
    if error is None:
        return IdResult(record, Refusal("UNKNOWN", ""))
    fields = tuple(one.text for one in error.iter(f"{{{_PARTNER}}}fields") if one.text)
    code = error.findtext(f"{{{_PARTNER}}}statusCode") or "UNKNOWN"
    return IdResult(record, Refusal(code, error.findtext(f"{{{_PARTNER}}}message") or "", fields))


def _tell_usage(door: Door, root: ET.Element) -> None:
    """The org's own count of calls, which stands in the SOAP header instead of an HTTP header."""
    for info in root.iter(f"{{{_PARTNER}}}limitInfo"):
        used, maximum = (info.findtext(f"{{{_PARTNER}}}{part}") or "" for part in ("current", "limit"))
        is_calls = info.findtext(f"{{{_PARTNER}}}type") == "API REQUESTS"
        if is_calls and used.isdecimal() and maximum.isdecimal() and int(maximum) > 0:
            door.saw(int(used), int(maximum))


def _refusal(request: str, status: int, headers: Mapping[str, str], body: bytes) -> SalesforceError:
    """The error of a fault; of anything else (a gateway's page) what it would be for REST."""
    root = _parsed(body)
    fault = None if root is None else root.find(f"{{{_ENVELOPE}}}Body/{{{_ENVELOPE}}}Fault")
    if fault is None:
        return refusal_of(request, status, headers, body)
    said = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in fault.iter()}
    code = (said.get("exceptionCode") or said.get("faultcode") or "UNKNOWN").rpartition(":")[2]
    # A fault about the session shows the token that it was sent.
    message = shorten(scrub(said.get("exceptionMessage") or said.get("faultstring") or ""))
    return SalesforceError(
        f"{request}: {code}: {message}", status=_STATUS.get(code, 403), refusals=(Refusal(code, message),)
    )
