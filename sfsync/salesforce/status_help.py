"""One line of help for a group of refused rows.

Owns:      which row of the table of status codes a group of refused rows stands for, without looking at each row in Python; the
           words for what sfsync refuses itself, and for what it does about each action.
Does not:  hold the table (status_table), or group anything itself (state counts, jobs ask).
Invariant: every code has a help, also one that nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping

from sfsync.salesforce.status_actions import Action
from sfsync.salesforce.status_table import TABLE, UNKNOWN

UNPROCESSED = "The Bulk job ended before it came to this row, or no result tells of it: tried on every run."

OWN: Mapping[str, str] = {
    "DUPLICATE_VALUE": "The key stands in several rows of the model and none of them is sent: make it unique there.",
    "INVALID_TYPE_ON_FIELD_IN_RECORD": "The value is not of the field's type: convert it in the model.",
    "MALFORMED_ID": "Not an Id of Salesforce (15 or 18 characters): check the column that is mapped.",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": (
        "The value is not in the picklist: use one of the values in the message, or have it added in the org."
    ),
}
"""Help for what sfsync itself refuses, where the org's code means something else here."""

WHAT_WE_DO: Mapping[Action, str] = {
    Action.RETRY_NOW: "tried again in the same run, after a pause; else on the next run",
    Action.RETRY_SMALLER: "tried again in the same run in smaller groups, one at a time; else on the next run",
    Action.ISOLATE: "halves find the rows that are too much; the others pass, these are rejected and held",
    Action.NEXT_RUN: "`failed`; tried on every run",
    Action.FIX: "`rejected`; held until the row, the sync or the org changes, or `sfsync retry`",
    Action.NEW_TOKEN: "signs in again and repeats the call once; else the run ends and the next goes on",
    Action.IN_DOUBT: "`in_doubt`; the next run finds out before it sends anything",
    Action.LIMIT_DAILY: "`deferred`; the run ends and the next goes on there",
    Action.LIMIT_CONCURRENT: "tried again in the same run after a pause, in smaller groups; else on the next run",
    Action.ROLLED_BACK: "`stopped`; not applied, and sent again by the next run",
    Action.GONE: "`gone`; `on_gone` decides in the next plan",
    Action.CONVERTED: "a lead is `converted` and not tried again; rows of other objects are `rejected`, and held",
    Action.ALREADY_DELETED: "`already_deleted`: done",
}
"""For people: what becomes of a row."""

_ACTION = {"upsert": "create", "update": "update", "delete": "delete", "undelete": "undelete"}


def help_of(code: str, *, ours: bool = False, cause: int = -1) -> str:
    """The help of a code.

    Args:
        ours: sfsync itself refused the rows, before anything was sent.
        cause: what `cause_sql` answered for them.
    """
    if ours and code in OWN:
        return OWN[code]
    if cause >= 0:
        return TABLE[cause].help
    if code == "UNPROCESSED":
        return UNPROCESSED
    plain = (
        row
        for row in TABLE
        if row.code == code.upper() and not (row.operation or row.message or row.no_field)
    )
    return next(plain, UNKNOWN).help


def cause_sql(table: str) -> str:
    """SQL expression over a relation with `decided_by, action, code, field, message`: the number of the row of the table
    whose help is for just this operation or text; -1 where the code alone tells."""
    cases = []
    for number, row in enumerate(TABLE):
        if not (row.operation or row.message or row.no_field):
            continue
        fits = [f"{table}.code = '{row.code}'"]
        if row.operation is not None:
            fits.append(f"{table}.action = '{_ACTION[row.operation]}'")
        if row.message is not None:
            fits.append(f"{table}.message ILIKE '{row.message}'")
        if row.no_field:
            fits.append(f"lower(coalesce({table}.field, '')) IN ('', 'id')")
        cases.append(f"WHEN {' AND '.join(fits)} THEN {number}")
    return f"CASE WHEN {table}.decided_by = 'sfsync' THEN -1 {' '.join(cases)} ELSE -1 END"
