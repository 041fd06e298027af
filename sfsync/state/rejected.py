"""Rows that did not go through: who refused them, why, and since when. What the next plan calls held starts here.

Owns:      the table `rejected`: one line per (sync, key) that is refused at the moment.
Does not:  compute digests or judge codes (diff and push hand both in).
Invariant: a key that goes through, or leaves the model, leaves this table.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sfsync.engine.dialect import quote_literal as literal
from sfsync.state.store import CONTROL, StateStore, utc

TABLE = f"{CONTROL}.rejected"

ROW = "coalesce({0}.key, chr(30) || {0}.digest)"
"""What tells one refused row from another: its key, or its digest where it has no usable key. Never NULL, so that
engines join on it by hash."""

INCOMING = (
    "key VARCHAR, digest VARCHAR, decided_by VARCHAR, action VARCHAR, code VARCHAR, field VARCHAR,"
    " message VARCHAR, identity VARCHAR, transient BOOLEAN"
)
"""Columns of a relation of refusals; `identity` is the JSON object of identity fields, masked where pii."""

_JUDGED_ALIKE = "(r.decided_by = 'sfsync' AND o.decided_by = 'sfsync' AND o.digest = r.digest AND o.code = r.code) IS TRUE"


@dataclass(frozen=True, slots=True)
class Refused:
    """One line of the table, as people and programs read it."""

    key: str | None
    identity: str
    action: str
    code: str
    field: str | None
    message: str
    attempts: int
    run_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Cause:
    """Refused rows that are alike in what is the matter with them."""

    code: str
    field: str | None
    ours: bool  # sfsync itself refused them
    number: int  # what the expression of the caller answered
    rows: int
    samples: tuple[Refused, ...]


def record_refusals(
    store: StateStore, sync: str, rows: str, run_id: str, not_the_row: Collection[str] = ()
) -> None:
    """Put refusals in, counting attempts of keys already there. rows: a relation with INCOMING's columns.

    A row that sfsync itself refuses again in the same form was held, not tried: its attempts stay. Of passing reasons
    the runs in a row count in which the row failed in the same form, each once. Rows without a usable key (null or
    double) are told apart by their digest.

    Args:
        not_the_row: codes that say nothing of the row itself (the org was away): they do not count.
    """
    db = store.db
    codes = ", ".join(literal(code) for code in not_the_row) or "''"
    same = f"o.sync = ? AND {ROW.format('o')} = {ROW.format('r')}"
    db.execute(
        "CREATE OR REPLACE TEMP TABLE sfsync_refused AS"
        f" SELECT r.*, CASE WHEN r.transient AND (NOT o.transient OR o.digest <> r.digest) THEN 1 ELSE greatest(1, coalesce(o.attempts, 0)"
        f" + CASE WHEN {_JUDGED_ALIKE} OR (r.transient AND o.run_id = ?) OR r.code IN ({codes}) THEN 0 ELSE 1 END) END AS attempts,"
        " coalesce(o.first_at, ?::TIMESTAMP) AS first_at"
        f" FROM (SELECT DISTINCT ON (key, CASE WHEN key IS NULL THEN digest END) * FROM {rows}) r"
        f" LEFT JOIN {TABLE} o ON {same}",
        [run_id, store.clock.now(), sync],
    )
    db.execute(
        f"DELETE FROM {TABLE} AS o WHERE o.sync = ?"
        f" AND {ROW.format('o')} IN (SELECT {ROW.format('r')} FROM sfsync_refused AS r)",
        [sync],
    )
    db.execute(
        f"INSERT INTO {TABLE} SELECT ?, key, digest, decided_by, action, code, field, message, identity, attempts,"
        " transient, FALSE, ?, first_at, ? FROM sfsync_refused",
        [sync, run_id, store.clock.now()],
    )
    db.execute("DROP TABLE sfsync_refused")


def any_of(store: StateStore, sync: str) -> bool:
    """Whether any row of a sync is refused: most have none, and to plan the other statements costs more."""
    return bool(store.db.value(f"SELECT EXISTS (FROM {TABLE} WHERE sync = ?)", [sync]))


def clear(store: StateStore, sync: str, keys: str) -> None:
    """Take out the keys that went through. keys: a relation with `_key`."""
    if not any_of(store, sync):
        return
    store.db.execute(f"DELETE FROM {TABLE} WHERE sync = ? AND key IN ({_among(keys)})", [sync, sync])


def _among(keys: str) -> str:
    """The refused keys of a sync that are in a relation with `_key`, which may be as large as a first load.

    A plain IN would hold the relation in memory; a join holds its smaller side. One parameter: the sync.
    """
    return f"SELECT m.key FROM {TABLE} AS m JOIN {keys} AS k ON k._key = m.key WHERE m.sync = ?"


def keep_only(store: StateStore, sync: str, rows: str) -> None:
    """Drop what sfsync itself refused earlier and did not refuse now. rows: a relation with `key, digest`."""
    store.db.execute(
        f"DELETE FROM {TABLE} AS o WHERE o.sync = ? AND o.decided_by = 'sfsync'"
        f" AND {ROW.format('o')} NOT IN (SELECT {ROW.format('r')} FROM {rows} AS r)",
        [sync],
    )


def release(store: StateStore, syncs: list[str]) -> int:
    """Let the next plan try the org-refused rows of these syncs again; return how many were let go."""
    marks = ", ".join("?" for _ in syncs)
    where = f"sync IN ({marks}) AND decided_by = 'org' AND NOT released"
    count = int(store.db.value(f"SELECT count(*) FROM {TABLE} WHERE {where}", syncs))
    store.db.execute(f"UPDATE {TABLE} SET released = TRUE WHERE {where}", syncs)
    return count


def causes(
    store: StateStore, syncs: Sequence[str], cause: str, *, run_id: str | None = None, each: int = 0
) -> dict[str, list[Cause]]:
    """Refused rows of syncs, grouped by what is the matter, most rows first.

    Args:
        cause: SQL expression over a row `r` that tells apart what one code and field may mean.
        run_id: only what this run found refused.
        each: rows of each group to show.
    """
    marks = ", ".join("?" for _ in syncs)
    where = f"r.sync IN ({marks})" + ("" if run_id is None else " AND r.run_id = ?")
    asked = [*syncs, *([] if run_id is None else [run_id])]
    groups = "sync, code, field, decided_by, cause"
    told = f"SELECT r.*, {cause} AS cause FROM {TABLE} AS r WHERE {where}"
    shown: dict[tuple[Any, ...], list[Refused]] = {}
    if each:
        for row in store.db.execute(
            f"SELECT {groups}, key, identity, action, code, field, message, attempts, run_id, last_at FROM ({told}) AS t"
            f" QUALIFY row_number() OVER (PARTITION BY {groups} ORDER BY key, digest) <= {each} ORDER BY key, digest",
            asked,
        ):
            shown.setdefault(row[:5], []).append(_refused(row[5:]))
    found: dict[str, list[Cause]] = {}
    for row in store.db.execute(
        f"SELECT {groups}, count(*) FROM ({told}) AS t GROUP BY {groups} ORDER BY count(*) DESC, code, field, cause",
        asked,
    ):
        sync, code, field, decided_by, number, rows = row
        one = Cause(code, field, decided_by == "sfsync", number, rows, tuple(shown.get(row[:5], ())))
        found.setdefault(sync, []).append(one)
    return found


def of_key(store: StateStore, sync: str, key: str) -> tuple[str, datetime, Refused] | None:
    """(who decided, since when, the line) of one key; None if it is not refused."""
    rows = store.db.execute(
        "SELECT decided_by, first_at, key, identity, action, code, field, message, attempts, run_id, last_at"
        f" FROM {TABLE} WHERE sync = ? AND key = ?",
        [sync, key],
    )
    return (rows[0][0], utc(rows[0][1]), _refused(rows[0][2:])) if rows else None


def counts(store: StateStore) -> dict[str, int]:
    """How many rows each sync has refused at the moment."""
    return dict(store.db.execute(f"SELECT sync, count(*) FROM {TABLE} GROUP BY sync"))


def failing(store: StateStore) -> dict[str, tuple[int, int]]:
    """Of each sync: rows that fail for passing reasons, and in how many runs in a row the worst of them did."""
    found = store.db.execute(
        f"SELECT sync, count(*), max(attempts) FROM {TABLE} WHERE decided_by = 'org' AND transient GROUP BY sync"
    )
    return {sync: (rows, runs) for sync, rows, runs in found}


def forget_others(store: StateStore, sync: str, pending: str) -> None:
    """Drop org-refused rows that are no difference any more. pending: a relation with `_key` of what still is one."""
    store.db.execute(
        f"DELETE FROM {TABLE} WHERE sync = ? AND decided_by = 'org' AND key NOT IN ({_among(pending)})",
        [sync, sync],
    )


def _refused(row: tuple[Any, ...]) -> Refused:
    *rest, at = row
    key, identity, action, code, field, message, attempts, run_id = rest
    return Refused(key, identity, action, code, field, message, attempts, run_id, utc(at))
