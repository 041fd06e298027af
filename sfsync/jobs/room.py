"""How much room the org's daily limits leave: a part of `sfsync debug`."""

from __future__ import annotations

from sfsync.errors import SfsyncError
from sfsync.jobs.rights import Check
from sfsync.salesforce.allocations import Allocation, fetch_allocations
from sfsync.salesforce.door import Door
from sfsync.salesforce.failures import SalesforceError

SCARCE = 0.1
"""Share of a limit below which what is left is worth a warning."""

_WAIT = "see in the org's Setup, System Overview, what uses it; the window is the last 24 hours, not midnight"
_ROOM = (
    "delete what is not needed and empty the recycle bin, or buy storage: a full org refuses each new record"
)


def allocation_checks(door: Door, limits: list[Allocation]) -> list[Check]:
    """One line for each limit that sfsync can meet, which `limits` takes in; calls alone where they may not be read."""
    try:
        limits.extend(fetch_allocations(door))
    except SfsyncError as error:
        if not isinstance(error, SalesforceError) or error.status not in (403, 404):
            return [*_calls(door), Check("limits", None, str(error), error.fix)]
        what = "not to be read by this user, who lacks 'View Setup and Configuration'; no run needs it"
        return [*_calls(door), Check("limits", True, what)]
    return [_check(item) for item in limits]


def _calls(door: Door) -> list[Check]:
    """What every answer's header tells."""
    usage = door.usage
    if usage is None:
        return []
    return [_check(Allocation("DailyApiRequests", "API calls", usage.used, usage.maximum))]


def _check(item: Allocation) -> Check:
    detail = f"{item.left:,} of {item.maximum:,} left in the org ({item.used:,} used)"
    if item.left >= item.maximum * SCARCE:
        return Check(item.what, True, detail)
    return Check(item.what, None, detail, _ROOM if item.name == "DataStorageMB" else _WAIT)
