"""Asking the org in SOQL, through simple-salesforce over the door.

Owns:      pages of records, and values put into SOQL safely.
Does not:  keep records: a page is handed on and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sfsync.salesforce.door import Door
from sfsync.salesforce.failures import NoAnswerError

Record = dict[str, Any]


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
