"""The org's allocations: API calls, Bulk batches and query jobs of the last 24 hours.

Owns:      counting in a rolling window, the limit header, the body of /limits.
Does not:  decide which requests count (gate).
Invariant: a call older than 24 hours is free again; nothing resets at midnight.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

DAY_S = 86_400.0
DAILY_CALLS = 15_000
DAILY_BATCHES = 15_000
DAILY_QUERY_JOBS = 10_000
_OTHERS = {
    "ActiveScratchOrgs": 3,
    "ConcurrentAsyncGetReportInstances": 200,
    "ConcurrentSyncReportRuns": 20,
    "DailyAsyncApexExecutions": 250_000,
    "DailyBulkV2QueryFileStorageMB": 976_562,
    "DailyDurableStreamingApiEvents": 10_000,
    "DailyGenericStreamingApiEvents": 10_000,
    "DailyStreamingApiEvents": 10_000,
    "DailyWorkflowEmails": 1_000,
    "DataStorageMB": 1_024,
    "FileStorageMB": 1_024,
    "HourlyAsyncReportRuns": 1_200,
    "HourlyODataCallout": 1_000,
    "HourlySyncReportRuns": 500,
    "HourlyTimeBasedWorkflow": 1_000,
    "MassEmail": 10,
    "SingleEmail": 15,
}


class Window:
    """A counter that forgets after 24 hours, to the minute."""

    def __init__(self, maximum: int, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._minutes: deque[tuple[float, int]] = deque()
        self._used = 0
        self.maximum = maximum

    @property
    def used(self) -> int:
        with self._lock:
            self._forget()
            return self._used

    @property
    def remaining(self) -> int:
        return max(0, self.maximum - self.used)

    def take(self, count: int = 1) -> bool:
        """Count, unless that would pass the maximum."""
        with self._lock:
            self._forget()
            if self._used + count > self.maximum:
                return False
            self._add(self._now(), count)
            return True

    def spend(self, count: int) -> None:
        """Count what somebody else takes: at most what is left."""
        with self._lock:
            self._forget()
            taken = min(count, self.maximum - self._used)
            if taken > 0:
                self._add(self._now(), taken)

    def restore(self, used: int, at: float | None = None) -> None:
        """Add what was used before: at a moment of the past, or now."""
        with self._lock:
            self._add(self._now() if at is None else at, used)

    def set(self, maximum: int, used: int) -> None:
        """Begin anew with these figures."""
        with self._lock:
            self._minutes.clear()
            self._used = 0
            self.maximum = maximum
            if used:
                self._add(self._now(), used)

    def _add(self, at: float, count: int) -> None:
        minute = at - at % 60
        if self._minutes and self._minutes[-1][0] == minute:
            self._minutes[-1] = (minute, self._minutes[-1][1] + count)
        else:
            self._minutes.append((minute, count))
        self._used += count

    def _forget(self) -> None:
        edge = self._now() - DAY_S
        while self._minutes and self._minutes[0][0] < edge - 60:
            self._used -= self._minutes.popleft()[1]


class Limits:
    """All allocations of the org."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.calls = Window(DAILY_CALLS, now)
        self.batches = Window(DAILY_BATCHES, now)
        self.query_jobs = Window(DAILY_QUERY_JOBS, now)

    def reset(self) -> None:
        """The figures of a fresh org."""
        self.calls.set(DAILY_CALLS, 0)
        self.batches.set(DAILY_BATCHES, 0)
        self.query_jobs.set(DAILY_QUERY_JOBS, 0)

    def header(self) -> str:
        """The value of Sforce-Limit-Info."""
        return f"api-usage={self.calls.used}/{self.calls.maximum}"

    def body(self) -> dict[str, Any]:
        """What GET /limits answers."""
        entries = {name: {"Max": maximum, "Remaining": maximum} for name, maximum in _OTHERS.items()}
        entries["DailyApiRequests"] = {"Max": self.calls.maximum, "Remaining": self.calls.remaining}
        entries["DailyBulkApiBatches"] = {"Max": self.batches.maximum, "Remaining": self.batches.remaining}
        entries["DailyBulkV2QueryJobs"] = {
            "Max": self.query_jobs.maximum,
            "Remaining": self.query_jobs.remaining,
        }
        return dict(sorted(entries.items()))
