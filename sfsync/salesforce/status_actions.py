"""What can come next for a row or a call that an org refused, and the form of the table that says so.

Owns:      Action, StatusCode.
Does not:  know a code (status_table).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfsync.records import Operation


class Action(StrEnum):
    """What comes next for a row (or for a call that was refused whole)."""

    RETRY_NOW = "retry_now"  # the same again in this run, after a pause
    RETRY_SMALLER = "retry_smaller"  # the same rows in smaller groups, one group at a time
    ISOLATE = "isolate"  # a few rows of the group are too much for it: halves find them, the others pass
    NEXT_RUN = "next_run"  # nothing to be done now; not held, tried on every run
    FIX = "fix"  # a person must change data, rights or rules: held until something changes
    NEW_TOKEN = "new_token"
    IN_DOUBT = "in_doubt"  # may have been done: look before repeating
    LIMIT_DAILY = "limit_daily"  # no calls left: the run ends, the rest is deferred
    LIMIT_CONCURRENT = "limit_concurrent"  # too many long calls at once: pause, then smaller groups
    ROLLED_BACK = (
        "rolled_back"  # taken back with another row of its all-or-none request: sent again by the next run
    )
    GONE = "gone"  # the record we knew is not there any more
    CONVERTED = "converted"  # a lead that is none any more: not written from now on
    ALREADY_DELETED = "already_deleted"  # a delete that found nothing to do: success


@dataclass(frozen=True, slots=True)
class StatusCode:
    """A row of the table. operation None: any. message: an SQL ILIKE pattern that the org's text must fit, or None.

    no_field: only when the org names no field, or just Id: the error is about the record itself.
    """

    code: str
    operation: Operation | None
    message: str | None
    action: Action
    help: str
    no_field: bool = False
