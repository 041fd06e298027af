"""merge() and convertLead() of the partner SOAP API.

Owns:      their elements in and out.
Does not:  do either (fates), or sign and count the call (soap_routes).
Source:    SOAP API Developer Guide, "merge()", "convertLead()".
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from xml.sax.saxutils import escape

from sfsync.local_org.columns import RefusedWriteError
from sfsync.local_org.fates import convert, merge
from sfsync.local_org.org import Org
from sfsync.local_org.soap_text import FaultError

_MAX = 200  # requests of one call


def merged(org: Org, call: ET.Element) -> str:
    """The results of ``<merge><request>...``, one for each request."""
    return "".join(_each(_merge, org, one) for one in _requests(call, "request"))


def converted(org: Org, call: ET.Element) -> str:
    """The results of ``<convertLead><leadConverts>...``, one for each lead."""
    return "".join(_each(_convert, org, one) for one in _requests(call, "leadConverts"))


def _requests(call: ET.Element, name: str) -> list[ET.Element]:
    found = [element for element in call if _local(element) == name]
    if len(found) > _MAX:
        raise FaultError("EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {_MAX} records into this call")  # fmt: skip
    return found


def _each(work: Callable[[Org, ET.Element], str], org: Org, asked: ET.Element) -> str:
    try:
        return f"<result>{work(org, asked)}<success>true</success></result>"
    except RefusedWriteError as refusal:
        return (
            f"<result><errors><message>{escape(refusal.message)}</message><statusCode>{refusal.code}</statusCode></errors>"
            "<success>false</success></result>"
        )


def _merge(org: Org, asked: ET.Element) -> str:
    master = next((e for e in asked if _local(e) == "masterRecord"), None)
    given = {_local(e): (e.text or "").strip() for e in master} if master is not None else {}
    if strange := sorted(set(given) - {"type", "Id"}):
        raise FaultError("INVALID_FIELD", f"a masterRecord of this org takes type and Id, not {strange[0]}")
    others = [(e.text or "").strip() for e in asked if _local(e) == "recordToMergeIds"]
    done = merge(org, given.get("type", ""), given.get("Id", ""), others)
    listed = "".join(f"<mergedRecordIds>{record}</mergedRecordIds>" for record in done.losers)
    related = "".join(f"<updatedRelatedIds>{record}</updatedRelatedIds>" for record in done.related)
    return f"<id>{done.master}</id>{listed}{related}"


def _convert(org: Org, asked: ET.Element) -> str:
    given = {_local(e): (e.text or "").strip() for e in asked}
    none_wanted = given.get("doNotCreateOpportunity") == "true"
    done = convert(
        org,
        given.get("leadId", ""),
        account=given.get("accountId") or None,
        contact=given.get("contactId") or None,
        opportunity=None if none_wanted else given.get("opportunityName", ""),
        status=given.get("convertedStatus") or None,
    )
    opportunity = f"<opportunityId>{done.opportunity}</opportunityId>" if done.opportunity else ""
    return (
        f"<accountId>{done.account}</accountId><contactId>{done.contact}</contactId><leadId>{done.lead}</leadId>"
        f"{opportunity}"
    )


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
