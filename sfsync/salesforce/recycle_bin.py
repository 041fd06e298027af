"""Deleted records, back with their own Ids.

Owns:      undelete in the form of a Collections answer, and telling records that are there from those that are lost.
Does not:  know XML (soap), or decide what becomes of a row (status_codes, push).
Invariant: an Id that the org does not bring back was looked for before it counts as lost: a person, or a call of ours that
           was never answered, may have brought it back before. Where looking fails, it is in doubt. An answer with another
           record's result in the place of one is no answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from sfsync.errors import ApiLimitError, InternalError
from sfsync.salesforce.door import Answer, Door, unreadable
from sfsync.salesforce.failures import NO_ANSWER, NoAnswerError, SalesforceError
from sfsync.salesforce.limits import MAX_UNDELETE_IDS
from sfsync.salesforce.status_table import NOT_IN_BIN

if TYPE_CHECKING:
    from sfsync.salesforce.soap import IdResult

_ID_CHARACTERS = 15

_IDS_A_QUERY = 300
"""In a URL of at most 16,384 bytes an Id with its quotes takes 25."""


def undelete(door: Door, object_: str, ids: Sequence[str]) -> Answer:
    """Bring records of one object back: one counted call, one more where some are not in the bin.

    Returns:
        An answer whose body is that of a Collections request: a JSON array with a result for each Id, in order.

    Raises:
        SalesforceError, NoAnswerError, ApiLimitError: of the first call; nothing is known, or nothing was done. Also
            NoAnswerError: the results are not those of the Ids asked for, in their order.
    """
    from sfsync.salesforce import soap  # XML only for those who bring something back

    if not 0 < len(ids) <= MAX_UNDELETE_IDS:
        raise InternalError(f"undelete takes 1 to {MAX_UNDELETE_IDS} Ids, not {len(ids)}")
    answer, results = soap.call_with_ids(door, "undelete", ids)
    if len(results) != len(ids):
        raise unreadable(answer, f"has {len(results)} results for {len(ids)} Ids")
    pairs = list(zip(ids, results, strict=True))
    if odd := [one for one, result in pairs if not _is_about(one, result)]:
        raise unreadable(answer, f"has another record's result in the place of {odd[0]}")
    lost = [one for one, result in pairs if result.refusal and result.refusal.code in NOT_IN_BIN]
    there, doubt = _looked_for(door, object_, lost)
    items: list[dict[str, Any]] = []
    for one, result in pairs:
        refusal = result.refusal
        if refusal is None or one in there:
            items.append({"id": one, "success": True, "errors": []})
            continue
        code, message = refusal.code, refusal.message
        if doubt and code in NOT_IN_BIN:
            code, message = NO_ANSWER, f"{message}; whether it is in the org could not be asked: {doubt}"
        error = {"statusCode": code, "message": message, "fields": refusal.fields}
        items.append({"id": one, "success": False, "errors": [error]})
    return replace(answer, body=json.dumps(items).encode())


def _is_about(asked: str, result: IdResult) -> bool:
    """Whether a result can be that of an Id: a success names it, a refusal names it or nothing."""
    if result.id is None:
        return result.refusal is not None
    # The last three of 18 characters only check the first 15.
    return result.id[:_ID_CHARACTERS] == asked[:_ID_CHARACTERS]


def _looked_for(door: Door, object_: str, ids: Sequence[str]) -> tuple[frozenset[str], str | None]:
    """Which of the Ids are in the org, or why that is not known."""
    try:
        return (live_ids(door, object_, ids) if ids else frozenset()), None
    except (ApiLimitError, NoAnswerError, SalesforceError) as error:
        return frozenset(), error.what


def live_ids(door: Door, object_: str, ids: Iterable[str]) -> frozenset[str]:
    """Those of the Ids whose records are in the org and not in its bin; a counted call for every 300."""
    from sfsync.salesforce.query import pages

    found: set[str] = set()
    for some in _portions(one for one in ids if one.isalnum()):
        listed = ",".join(f"'{one}'" for one in some)
        for page in pages(door, f"SELECT Id FROM {object_} WHERE Id IN ({listed})"):
            found.update(str(record["Id"]) for record in page)
    return frozenset(found)


def _portions(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while some := list(islice(rest, _IDS_A_QUERY)):
        yield some
