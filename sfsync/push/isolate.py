"""Finds the few rows that are too much for a trigger: groups of them in halves, until who fails again is alone.

Owns:      which rows go again together, and what a row is that fails alone.
Does not:  send (collections) or know which errors these are (salesforce/status_codes).
Invariant: a group is half of one that failed, so the number of rounds is bounded; a row alone is never sent again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sfsync.diff.stage import run_table
from sfsync.push.context import PushContext
from sfsync.records import Operation
from sfsync.salesforce.limits import MAX_COLLECTION_ROWS
from sfsync.salesforce.status_actions import Action

MOST_ROWS = 20_000
"""Of one planned call or job; what is beyond waits for the next run."""

Groups = list[list[int]]
"""Ordinals of rows that go together."""


def first_groups(context: PushContext, sync: str, operation: Operation, within: str) -> Groups:
    """The rows that failed so, in their order, in groups of half of what a request carries, or of their number."""
    found = _failed(context, sync, operation, f"{within} ORDER BY _ord LIMIT {MOST_ROWS}")
    size = max(1, min(MAX_COLLECTION_ROWS, len(found)) // 2)
    return [found[start : start + size] for start in range(0, len(found), size)]


def next_groups(context: PushContext, sync: str, operation: Operation, sent: Groups) -> Groups:
    """Halves of the groups that failed again; rows that fail alone are refused, since smaller they cannot go."""
    tried = [row for rows in sent for row in rows]
    again = set(_failed(context, sync, operation, among(tried, "_ord")))
    alone = [rows[0] for rows in sent if len(rows) == 1 and rows[0] in again]
    if alone:
        _refuse(context, sync, operation, alone)
    groups: Groups = []
    for rows in sent:
        left = [row for row in rows if row in again]
        if len(rows) > 1 and left:
            middle = (len(left) + 1) // 2
            groups += [half for half in (left[:middle], left[middle:]) if half]
    return groups


def forget(context: PushContext, sync: str, operation: Operation, rows: Sequence[int]) -> None:
    """Take out the outcomes of rows that are about to go again."""
    where = f"_op = '{operation}' AND {among(rows, '_ord')}"
    context.db.execute(f"DELETE FROM {run_table('outcome', sync)} WHERE {where}")
    context.done[sync] = context.done.get(sync, 0) - len(rows)


def among(rows: Sequence[int], column: str = "rowid") -> str:
    """SQL condition of these rows."""
    return f"{column} IN ({', '.join(map(str, rows))})"


def _failed(context: PushContext, sync: str, operation: Operation, where: str) -> list[int]:
    outcomes = run_table("outcome", sync)
    rows = context.db.execute(
        f"SELECT _ord FROM {outcomes} WHERE _op = '{operation}' AND outcome = 'failed'"
        f" AND action = '{Action.ISOLATE}' AND {where}"
    )
    return [row for (row,) in rows]


def _refuse(context: PushContext, sync: str, operation: Operation, rows: Sequence[int]) -> None:
    """These rows fail in any company and in none: the next runs hold them, until something changes."""
    part = context.next_part()
    context.db.execute(
        f"UPDATE {run_table('outcome', sync)} SET outcome = 'rejected', _part = {part}"
        f" WHERE _op = '{operation}' AND {among(rows, '_ord')}"
    )
    context.recorder.record(context.syncs[sync], operation, part)
