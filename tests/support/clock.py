"""A clock whose pauses pass at once: what is waited for moves its own time, not the world's."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

REAL_SLEEP_S = 0.02


class QuickClock:
    """Tells the true date (plus an offset); a monotonic time that pauses move forward."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset
        self._skipped = 0.0
        self._guard = threading.Lock()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        real = min(seconds, REAL_SLEEP_S)
        time.sleep(real)
        with self._guard:
            self._skipped += seconds - real
