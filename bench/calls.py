"""The cheapest safe way to send N rows of the benchmark's table, in API calls; polls included, at most 3 a job.

Composite: five Collections of 200 in one call, answered row by row at once: ceil(N / 1,000).
Bulk job:  create, upload, close, at most 3 polls, and for creates the result file that tells the Ids: 7, for updates 6.
           (A multipart job saves two calls but its 100,000 characters hold no more rows than two Composites.)
Jobs hold 90 MB of CSV: a create of this table takes about 225 bytes, an update of two fields about 40.
"""

from __future__ import annotations

COUNTS = (1, 50, 200, 1_000, 2_000, 10_000, 100_000, 1_000_000)
CREATE_BYTES, UPDATE_BYTES, JOB_BYTES = 262, 60, 90_000_000


def composite(rows: int) -> int:
    """Five Collections a call."""
    return -(-rows // 1000)


def creates(rows: int) -> int:
    """Calls of the cheapest way for N new records."""
    return min(composite(rows), 7 * -(-rows * CREATE_BYTES // JOB_BYTES))


def updates(rows: int) -> int:
    """Calls of the cheapest way for N known records with a changed field or two."""
    return min(composite(rows), 6 * -(-rows * UPDATE_BYTES // JOB_BYTES))
