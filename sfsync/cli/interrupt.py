"""Ctrl-C while rows are being sent: first a wish, then an order.

Owns:      the signal handlers of `run` and `retry`.
Does not:  stop anything itself; push asks between requests.
Invariant: before the first request Ctrl-C ends the command at once, since nothing was sent.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sfsync.cli.events import Talker


class Stop:
    """Whether the user asked to stop. `sending` is set when the first request may go out."""

    def __init__(self, talker: Talker) -> None:
        self.sending = False
        self._talker = talker
        self._asked = False

    def requested(self) -> bool:
        return self._asked

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked or not self.sending:
            raise KeyboardInterrupt
        self._asked = True
        # From a thread of its own: the handler may have interrupted whoever holds the lock of the events.
        message = "Stopping: the current request is finished and recorded. Ctrl-C again stops at once."
        threading.Thread(target=self._talker.log, args=("warning", message), daemon=True).start()


@contextmanager
def stopping(talker: Talker) -> Iterator[Stop]:
    """Take SIGINT and SIGTERM for the time of a run, where this is the main thread."""
    stop = Stop(talker)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
