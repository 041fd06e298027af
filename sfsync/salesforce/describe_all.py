"""Many objects described by few calls: the list of all that could be synced, and 25 describes in a call.

Owns:      which objects of an org records can be written to at all, and asking for 25 describes in one counted call.
Does not:  decide whether the calls are worth it, or cache anything (jobs).
Source:    REST API Developer Guide, "Describe Global", "Composite" (which counts as one call; a batch may not).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sfsync.child_objects import SHADOWS
from sfsync.contract import SObject
from sfsync.errors import OrgError
from sfsync.salesforce.door import Answer, Door, unreadable
from sfsync.salesforce.failures import SalesforceError, refusal_of
from sfsync.salesforce.limits import MAX_COMPOSITE_REQUESTS

KIND = "describe"
_NO_RECORDS = ("__e", "__b", "__x", "__mdt")
"""Events, big objects, external objects and custom metadata: their records are not written as others are."""

_SHADOW = re.compile(rf"(.+?)(?:__)?(?:{'|'.join(SHADOWS)})")


def writable_names(door: Door) -> tuple[str, ...]:
    """The objects that a sync could write, sorted: one counted call.

    Raises:
        SalesforceError, NoAnswerError: as of any call.
    """
    answer = door.call("GET", door.data_path("sobjects"), kind=KIND)
    body = answer.json()
    try:
        found = {str(item["name"]): item for item in body["sobjects"]}
    except (KeyError, TypeError):
        raise unreadable(answer, "is no list of objects") from None
    return tuple(sorted(name for name, item in found.items() if is_writable(name, item, set(found))))


def is_writable(name: str, item: dict[str, Any], names: set[str]) -> bool:
    """Whether records of an object can be written. item: its line of the list; names: all that are in it."""
    if not item.get("queryable") or not (item.get("createable") or item.get("updateable")):
        return False
    if item.get("deprecatedAndHidden") or name.endswith(_NO_RECORDS) or item.get("associateEntityType"):
        return False
    shadow = _SHADOW.fullmatch(name)
    return shadow is None or not {shadow[1], f"{shadow[1]}__c"} & names


def calls_for(objects: int) -> int:
    """What describing so many objects costs."""
    return -(-objects // MAX_COMPOSITE_REQUESTS)


def describe_many(door: Door, names: Sequence[str], told: Callable[[int], None]) -> Iterator[SObject]:
    """The describes of these objects, in order; one that this user cannot see is left out.

    Args:
        told: hears how many objects are done.

    Raises:
        SalesforceError, NoAnswerError: as of any call, or the org refused a single describe.
    """
    for first in range(0, len(names), MAX_COMPOSITE_REQUESTS):
        some = names[first : first + MAX_COMPOSITE_REQUESTS]
        asked = [
            {"method": "GET", "url": door.data_path(f"sobjects/{name}/describe"), "referenceId": f"d{number}"}
            for number, name in enumerate(some)
        ]
        body = json.dumps({"allOrNone": False, "collateSubrequests": False, "compositeRequest": asked})
        answer = door.call("POST", door.data_path("composite"), kind=KIND, body=body)
        for name, result in zip(some, _results(answer, len(some)), strict=True):
            found = _described(name, result)
            if found is not None:
                yield found
        told(first + len(some))


def _results(answer: Answer, wanted: int) -> list[dict[str, Any]]:
    """The results in the order of the questions."""
    body = answer.json()
    results = body.get("compositeResponse") if isinstance(body, dict) else None
    try:
        told = {item["referenceId"]: item for item in results or []}
        return [told[f"d{number}"] for number in range(wanted)]
    except (KeyError, TypeError):
        raise unreadable(answer, f"does not hold the results of {wanted} describes") from None


def _described(name: str, result: dict[str, Any]) -> SObject | None:
    try:
        status, body = int(result["httpStatusCode"]), result["body"]
        if status < 300:
            return SObject.from_describe(body)
    except (ValueError, KeyError, TypeError):
        raise OrgError(
            f"the describe of {name} that came with others is no describe",
            fix="run it again; nothing was written",
        ) from None
    if status == 404:
        return None
    refused: SalesforceError = refusal_of(
        f"GET sobjects/{name}/describe", status, {}, json.dumps(body).encode()
    )
    raise refused
