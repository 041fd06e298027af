"""The account of API calls and Bulk batches: what this project spent in any rolling 24 hours, and what the org has left.

Owns:      the tables ledger and usage, the project's allowance, the refusal of a call that would pass it.
Does not:  send anything, or decide what is deferred (push does, by asking `allowance` first).
Invariant: a call is booked before it is sent; what finishes work already begun is booked but never refused.

The org tells with each answer how many calls all its users have spent, but nothing of Bulk batches: of these only the
project's own are governed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sfsync.engine.duckdb import DuckDB
from sfsync.errors import ApiLimitError
from sfsync.state.store import CONTROL, StateStore, utc

WINDOW = timedelta(hours=24)
DEFAULT_SHARE = 0.25
"""Without settings the project uses a quarter of the org's daily maximum and leaves a quarter free for everybody."""

BELIEVED = timedelta(minutes=10)
"""After this long the org's last word refuses no call any more: what others spend comes back, and only a call can tell."""

READ_AGAIN = timedelta(minutes=1)
"""After this long the account is summed up anew."""

FINISHING = frozenset({"poll", "result", "close", "upload"})
"""Kinds of calls that finish a job already begun; refusing them would waste what was spent."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The target's `api_limit`; None means the default share of the org's maximum. daily_batches: None is no limit."""

    daily_calls: int | None = None
    keep_free_calls: int | None = None
    keep_free_share: float | None = None
    daily_batches: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The account at one moment. Unknown values are None until the org has answered once."""

    spent: int  # this project's calls in the last 24 hours
    allowed: int | None  # this project's ceiling for 24 hours
    left_in_org: int | None  # maximum less what was last seen used, less our calls since
    maximum: int | None
    keep_free: int | None
    seen_at: datetime | None
    batches: int = 0  # Bulk batches this project started in the last 24 hours
    batches_allowed: int | None = None  # this project's ceiling for 24 hours
    believed: bool = True  # what the org said last is young enough to refuse a call

    @property
    def available_batches(self) -> int | None:
        """Bulk batches that may still be started now; None: no limit."""
        return None if self.batches_allowed is None else max(0, self.batches_allowed - self.batches)

    @property
    def available(self) -> int | None:
        """Calls that may still be sent now; None while the org's maximum and any own limit are unknown."""
        rooms = []
        if self.allowed is not None:
            rooms.append(self.allowed - self.spent)
        if self.left_in_org is not None and self.keep_free is not None and self.believed:
            rooms.append(self.left_in_org - self.keep_free)
        return max(0, min(rooms)) if rooms else None


@dataclass(slots=True)
class _Account:
    """What the table says, and what was booked here since it was read."""

    read_at: datetime
    held: bool  # read while nobody else could write
    spent: int
    since: int  # calls since the org's last word
    batches: int


class StateLedger:
    """A `CallLedger` kept in the state. Safe to use from several threads."""

    def __init__(self, store: StateStore, limits: Limits, run_id: str) -> None:
        self._store = store
        self._limits = limits
        self._run_id = run_id
        self._guard = threading.Lock()
        self._seen: tuple[datetime, int, int] | None = None
        self._kept: datetime | None = None  # when what was seen was last written down
        self._flushed: object = None  # what was known at the last flush
        self._account: _Account | None = None
        self._db: DuckDB | None = None
        self.calls = 0
        self._kinds: dict[str, int] = {}

    @property
    def kinds(self) -> dict[str, int]:
        """Calls of this run by kind."""
        with self._guard:
            return dict(self._kinds)

    def reserve(self, kind: str, calls: int = 1, batches: int = 0) -> None:
        with self._guard:
            budget = self._budget()
            if kind not in FINISHING:
                _check(budget, calls, batches)
            self._store.write()
            self._book(kind, calls, batches)
            self.calls += calls
            self._kinds[kind] = self._kinds.get(kind, 0) + calls

    def observe(self, used: int, maximum: int) -> None:
        with self._guard:
            self._seen = (self._store.clock.now(), used, maximum)
            if self._account is not None:
                self._account.since = 0

    def check(self, calls: int) -> None:
        """See that so many calls are allowed; none is booked.

        Raises:
            ApiLimitError: they are not.
        """
        with self._guard:
            _check(self._budget(), calls, 0)

    def budget(self) -> Budget:
        """The account now."""
        with self._guard:
            return self._budget()

    def by_hour(self) -> tuple[int, ...]:
        """This project's calls in each of the last 24 hours; the last of them ends now."""
        now = self._store.clock.now().astimezone(UTC).replace(tzinfo=None)
        found = self._store.db.execute(
            f"SELECT greatest(date_sub('hour', minute, ?), 0) AS ago, sum(calls) FROM {CONTROL}.ledger"
            " WHERE minute > ? GROUP BY ago",
            [now, now - WINDOW],
        )
        calls = {int(ago): int(n) for ago, n in found}
        return tuple(calls.get(ago, 0) for ago in reversed(range(24)))

    def flush(self) -> None:
        """Keep the last seen usage and drop what is older than two windows. At the end of a command."""
        with self._guard:
            if self._store.writable and self._flushed != (self._seen, self.calls):
                before = self._store.clock.now() - 2 * WINDOW
                db = self._cursor()
                with db.transaction():
                    self._save_usage(db)
                    db.execute(f"DELETE FROM {CONTROL}.ledger WHERE minute < ?", [before])
                self._flushed = (self._seen, self.calls)

    def close(self) -> None:
        """Flush, and close the ledger's own session."""
        self.flush()
        if self._db is not None:
            self._db.close()
            self._db = None

    def _book(self, kind: str, calls: int, batches: int) -> None:
        now = self._store.clock.now()
        db = self._cursor()
        db.execute(
            f"INSERT INTO {CONTROL}.ledger (minute, run_id, kind, calls, batches) VALUES (?, ?, ?, ?, ?)",
            [now, self._run_id, kind, calls, batches],
        )
        # What others spent is not needed to the second: a run that is killed loses a minute of it, and none of its own.
        if self._kept is None or abs(now - self._kept) >= READ_AGAIN:
            with db.transaction():
                self._save_usage(db)
        if self._account is not None:
            self._account.spent += calls
            self._account.since += calls
            self._account.batches += batches

    def _save_usage(self, db: DuckDB) -> None:
        if self._seen is not None:
            db.execute(f"DELETE FROM {CONTROL}.usage")
            db.execute(f"INSERT INTO {CONTROL}.usage VALUES (?, ?, ?)", list(self._seen))
            self._kept = self._store.clock.now()

    def _cursor(self) -> DuckDB:
        if self._db is None:
            self._db = self._store.db.cursor()
        return self._db

    def _budget(self) -> Budget:
        now = self._store.clock.now()
        account = self._account
        # Meanwhile only what gets older than the window drops out of it.
        if account is None or not account.held or abs(now - account.read_at) >= READ_AGAIN:
            account = self._account = self._read(now)
        since = account.since if self._seen is not None else 0
        budget = make_budget(self._limits, account.spent, self._seen, since, account.batches)
        return budget if self._seen is None else replace(budget, believed=now - self._seen[0] < BELIEVED)

    def _read(self, now: datetime) -> _Account:
        # Threads that book never touch the session of the thread that records.
        db = self._cursor() if self._store.writable else self._store.db
        if self._seen is None:
            rows = db.execute(f"SELECT seen_at, used, maximum FROM {CONTROL}.usage")
            self._seen = (utc(rows[0][0]), *rows[0][1:]) if rows else None
        found = db.execute(
            "SELECT coalesce(sum(calls), 0), coalesce(sum(calls) FILTER (WHERE minute > ?), 0),"
            f" coalesce(sum(batches), 0) FROM {CONTROL}.ledger WHERE minute > ?",
            [self._seen[0] if self._seen else now, now - WINDOW],
        )
        return _Account(now, self._store.writable, *(int(value) for value in found[0]))


def make_budget(
    limits: Limits, spent: int, seen: tuple[datetime, int, int] | None, since: int, batches: int = 0
) -> Budget:
    """Work out the account from the settings, our own 24 hours, and the org's last word (when, used, maximum)."""
    maximum = seen[2] if seen else None
    allowed = limits.daily_calls
    if allowed is None and maximum is not None:
        allowed = int(maximum * DEFAULT_SHARE)
    keep_free = limits.keep_free_calls
    if keep_free is None and maximum is not None:
        share = DEFAULT_SHARE if limits.keep_free_share is None else limits.keep_free_share
        keep_free = int(maximum * share)
    left = None if seen is None else max(0, seen[2] - seen[1] - since)
    at = seen[0] if seen else None
    return Budget(spent, allowed, left, maximum, keep_free, at, batches, limits.daily_batches)


_FIX = (
    "wait: the window is the last 24 hours, not midnight; or raise `api_limit` of the target in profiles.yml"
    " (daily_calls, keep_free)"
)


def _check(budget: Budget, calls: int, batches: int) -> None:
    room, batch_room = budget.available, budget.available_batches
    if room is not None and calls > room:
        raise ApiLimitError(_refusal(budget, calls), fix=_FIX)
    if batch_room is not None and batches > batch_room:
        raise ApiLimitError(
            f"the Bulk limit of this project is reached: {budget.batches:,} of {budget.batches_allowed:,} batches"
            f" were used in the last 24 hours, and {batches:,} more are needed",
            fix="wait: the window is the last 24 hours, not midnight; or send by Collections (push.api: collections)",
        )


def _refusal(budget: Budget, calls: int) -> str:
    if budget.allowed is not None and budget.spent + calls > budget.allowed:
        return (
            f"the API limit of this project is reached: {budget.spent:,} of {budget.allowed:,} calls"
            " were used in the last 24 hours"
        )
    return (
        f"only {budget.left_in_org:,} API calls are left in the org, and {budget.keep_free:,} are kept free"
        " for everybody else"
    )
