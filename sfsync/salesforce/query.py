"""Asking the org in SOQL, through simple-salesforce over the door.

Owns:      pages of records, and values put into SOQL safely.
Does not:  keep records: a page is handed on and forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from sfsync.salesforce.door import Door, unreadable
from sfsync.salesforce.failures import NoAnswerError

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
    salesforce = door.salesforce()
    try:
        page = salesforce.query(statement)
        while True:
            yield page["records"]
            if page["done"]:
                return
            page = salesforce.query_more(page["nextRecordsUrl"], identifier_is_url=True)
    except (ValueError, KeyError, TypeError):
        raise NoAnswerError("GET query: the answer is no page of records", sent=True) from None


def count(door: Door, statement: str) -> int:
    """The answer to a ``SELECT count() FROM ...``; one counted call."""
    return int(_page(door, _first(door, statement))["totalSize"])


def pages(door: Door, statement: str) -> Iterator[list[Record]]:
    """The same as `query`, with every number as the digits that the org sent: a float would lose some of 18."""
    path: str | None = _first(door, statement)
    while path is not None:
        page = _page(door, path)
        yield page["records"]
        path = None if page["done"] else page["nextRecordsUrl"]


_PAGE_KEYS = {"totalSize", "records", "done"}


def _first(door: Door, statement: str) -> str:
    return f"{door.data_path('query')}?q={quote(statement)}"


def _page(door: Door, path: str) -> Record:
    answer = door.call("GET", path, kind="query")
    try:
        page = json.loads(answer.body, parse_float=str, parse_int=str)
    except ValueError:
        raise unreadable(answer, "is not JSON") from None
    if not isinstance(page, dict) or not set(page) >= _PAGE_KEYS:
        raise unreadable(answer, "is no page of records")
    if not page["done"] and "nextRecordsUrl" not in page:
        raise unreadable(answer, "does not say where its next page is")
    return page
