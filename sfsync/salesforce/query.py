"""Asking the org in SOQL, through simple-salesforce over the door.

Owns:      pages of records, and values put into SOQL safely.
Does not:  keep records: a page is handed on and forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast
from urllib.parse import quote

from sfsync.salesforce.door import Answer, Door, unreadable
from sfsync.salesforce.failures import NoAnswerError, refusal_of

Record = dict[str, Any]
PAGE = 2000
"""Records of a page, unless the org makes it smaller for wide ones.

Source: REST API Developer Guide, "Query Options Header".
"""


def soql(template: str, *values: object, **named: object) -> str:
    """Fill ``{}`` and ``{name}`` with values quoted for SOQL; ``{name:literal}`` only for names we made ourselves."""
    from simple_salesforce.format import format_soql

    return str(format_soql(template, *values, **named))


def query(door: Door, statement: str) -> Iterator[list[Record]]:
    """Yield the records of a query page by page (up to 2,000 each), one counted call a page.

    Raises:
        SalesforceError: MALFORMED_QUERY, INVALID_FIELD, INVALID_TYPE and the like.
        NoAnswerError: no usable answer.
    """
    from sfsync.salesforce.reading import salesforce  # half a second: only for those who ask

    client = salesforce(door)
    try:
        page = client.query(statement)
        while True:
            yield page["records"]
            if page["done"]:
                return
            page = client.query_more(page["nextRecordsUrl"], identifier_is_url=True)
    except (ValueError, KeyError, TypeError):
        raise NoAnswerError("GET query: the answer is no page of records", sent=True) from None


def count(door: Door, statement: str, kind: str = "query", *, deleted: bool = False) -> int:
    """The answer to a ``SELECT count() FROM ...``; one counted call. deleted: with records in the recycle bin."""
    return int(_page(door, _first(door, statement, deleted=deleted), kind)["totalSize"])


def pages(
    door: Door, statement: str, kind: str = "query", *, deleted: bool = False
) -> Iterator[list[Record]]:
    """The same as `query`, with every number as the digits that the org sent: a float would lose some of 18."""
    path: str | None = _first(door, statement, deleted=deleted)
    while path is not None:
        page = _page(door, path, kind)
        yield page["records"]
        path = None if page["done"] else page["nextRecordsUrl"]


def several(door: Door, statements: Sequence[str], kind: str, *, deleted: bool = False) -> list[Record]:
    """All records of up to five queries, in the form of `pages`; one counted call, and one for each page more.

    Raises:
        SalesforceError: of the first query that the org refuses.
        NoAnswerError: no usable answer.
    """
    parts = [
        {"method": "GET", "url": _first(door, statement, deleted=deleted), "referenceId": f"q{number}"}
        for number, statement in enumerate(statements)
    ]
    body = json.dumps({"allOrNone": False, "collateSubrequests": False, "compositeRequest": parts})
    answer = door.call("POST", door.data_path("composite"), kind=kind, body=body)
    found: list[Record] = []
    answered: set[str] = set()
    for part in _parts(answer):
        status, page = part["httpStatusCode"], part["body"]
        answered.add(part["referenceId"])
        if int(status) >= 300:
            raise refusal_of(answer.request, int(status), {}, json.dumps(page).encode())
        _check_page(answer, page)
        found += page["records"]
        while not page["done"]:
            page = _page(door, page["nextRecordsUrl"], kind)
            found += page["records"]
    if len(answered) != len(statements):
        raise unreadable(answer, f"has {len(answered)} results for {len(statements)} queries")
    return found


def _parts(answer: Answer) -> list[Record]:
    try:
        parts = json.loads(answer.body, parse_float=str, parse_int=str)["compositeResponse"]
        if all(set(part) >= {"httpStatusCode", "body", "referenceId"} for part in parts):
            return list(parts)
    except (ValueError, TypeError, KeyError):
        pass
    raise unreadable(answer, "is no answer to several queries")


_PAGE_KEYS = {"totalSize", "records", "done"}


def _first(door: Door, statement: str, *, deleted: bool = False) -> str:
    return f"{door.data_path('queryAll' if deleted else 'query')}?q={quote(statement)}"


def _page(door: Door, path: str, kind: str = "query") -> Record:
    answer = door.call("GET", path, kind=kind)
    try:
        page = json.loads(answer.body, parse_float=str, parse_int=str)
    except ValueError:
        raise unreadable(answer, "is not JSON") from None
    _check_page(answer, page)
    return cast(Record, page)


def _check_page(answer: Answer, page: Any) -> None:
    if not isinstance(page, dict) or not set(page) >= _PAGE_KEYS:
        raise unreadable(answer, "is no page of records")
    if not page["done"] and "nextRecordsUrl" not in page:
        raise unreadable(answer, "does not say where its next page is")
