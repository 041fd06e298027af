"""What the platform allows, and how much of it the org says is used.

Owns:      the documented sizes of each way to send, Usage, and reading the `Sforce-Limit-Info` header.
Does not:  keep accounts (state/ledger does) or talk to an org.
Source:    REST API, Bulk API 2.0 and Limits Quick Reference guides, versions 66 and 67.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

NEWEST_API_VERSION = 67.0
"""The newest version whose behaviour this program was built against."""

MAX_COLLECTION_ROWS = 200
MAX_COMPOSITE_COLLECTIONS = 5
MAX_COMPOSITE_QUERIES = 5
MAX_COMPOSITE_REQUESTS = 25

MOST_KEYS_A_QUERY = 400
"""Values that one query names, at most; its URL ends most lists sooner."""

MAX_UNDELETE_IDS = 200
"""Of one call. Source: SOAP API Developer Guide, "undelete()"."""

MAX_REQUEST_BYTES = 50 * 1024 * 1024
MAX_MULTIPART_CHARACTERS = 100_000
"""CSV characters in a Bulk job that is created, filled and closed by one request."""

MAX_BULK_BYTES = 100 * 1000 * 1000
"""CSV bytes a job, as recommended: 150 MB hold after base64."""

MAX_BULK_RECORD_CHARACTERS = 400_000
BULK_BATCH_ROWS = 10_000
"""Rows that the platform counts as one of the daily Bulk batches."""

MAX_BULK_BATCHES_PER_DAY = 15_000
"""In any 24 hours, of the whole org, Bulk API 1.0 and 2.0 together. No answer's header tells how many are used."""

CALL_TIMEOUT_S = 600
"""The platform ends a call after ten minutes."""

_USAGE = re.compile(r"\bapi-usage=(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls the whole org has used of its rolling 24 hours, as one answer told."""

    used: int
    maximum: int
    seen_at: datetime


def bulk_batches(rows: int) -> int:
    """Daily Bulk batches that a job of so many rows is counted as."""
    return -(-rows // BULK_BATCH_ROWS)


def parse_usage(header: str | None, seen_at: datetime) -> Usage | None:
    """Read ``Sforce-Limit-Info: api-usage=1234/115000; per-app-api-usage=...``; None if it says nothing."""
    # "per-app-api-usage" holds the same words: only the org's own count is wanted.
    match = _USAGE.search((header or "").replace("per-app-api-usage", "per-app"))
    if match is None or int(match[2]) <= 0:
        return None
    return Usage(int(match[1]), int(match[2]), seen_at)
