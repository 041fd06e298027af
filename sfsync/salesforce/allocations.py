"""What the org allows in a day beside API calls, and how much of it is used: the limits that sfsync can meet.

Owns:      which entries of the limits resource concern sfsync, and reading them.
Does not:  judge what is left (jobs/debug), or keep an account of it (state/ledger).
Source:    REST API Developer Guide, "Limits".
"""

from __future__ import annotations

from dataclasses import dataclass

from sfsync.salesforce.door import Door, unreadable

_NAMES = {
    "DailyApiRequests": "API calls",
    "DailyBulkApiBatches": "Bulk batches",
    "DailyBulkApiRequests": "Bulk batches",  # before API version 49
    "DailyBulkV2QueryJobs": "Bulk query jobs",
    "DailyBulkV2QueryFileStorageMB": "MB of Bulk query results",
    "DataStorageMB": "MB of data storage",
}
"""Calls and batches of every run, query jobs and their results of large matches, storage of what is created."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """One limit of the whole org. what: as people say it; used may pass the maximum."""

    name: str
    what: str
    used: int
    maximum: int

    @property
    def left(self) -> int:
        return max(0, self.maximum - self.used)


def fetch_allocations(door: Door) -> tuple[Allocation, ...]:
    """The limits that sfsync can meet, in the order of `_NAMES`, as far as the org names them: one counted call.

    Raises:
        SalesforceError, NoAnswerError: as of any call; a user without "View Setup and Configuration" is refused.
    """
    answer = door.call("GET", door.data_path("limits"), kind="limits")
    body = answer.json()
    try:
        entries = {
            name: (int(body[name]["Max"]), int(body[name]["Remaining"])) for name in _NAMES if name in body
        }
    except (KeyError, TypeError, ValueError):
        raise unreadable(answer, "is no list of limits") from None
    return tuple(
        Allocation(name, _NAMES[name], maximum - left, maximum) for name, (maximum, left) in entries.items()
    )
