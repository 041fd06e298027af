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
from sfsync.errors import InterruptedRunError


class Stop:
    """Whether the user asked to stop. `sending` is set when the first request may go out."""

    def __init__(self, talker: Talker, grace_s: float | None = None) -> None:
        self.sending = False
        self._talker = talker
        self._grace_s = grace_s
        self._asked = False

    def requested(self) -> bool:
        return self._asked

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked or not self.sending:
            raise KeyboardInterrupt
        self._asked = True
        if self._grace_s is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, max(self._grace_s, 0.001))  # 0 would mean never
        # From a thread of its own: the handler may have interrupted whoever holds the lock of the events.
        threading.Thread(target=self._talker.log, args=("warning", self._text()), daemon=True).start()

    def on_alarm(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def _text(self) -> str:
        text = (
            "Stopping: the current request is finished and recorded. Jobs that the org has taken go on there,"
            " and the next run reads them first. Ctrl-C again stops at once"
        )
        return f"{text}." if self._grace_s is None else f"{text}, and so do {self._grace_s:g} s."


@contextmanager
def stopping(talker: Talker, grace_s: float | None = None) -> Iterator[Stop]:
    """Take SIGINT and SIGTERM for the time of a run, where this is the main thread.

    grace_s: after the first of them the run has so long, then it stops as if a second one had come.

    Raises:
        InterruptedRunError: the second one came while rows were being sent.
    """
    stop = Stop(talker, grace_s)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    takes = {signal.SIGINT: stop.on_signal, signal.SIGTERM: stop.on_signal}
    if grace_s is not None and hasattr(signal, "SIGALRM"):
        takes[signal.SIGALRM] = stop.on_alarm
    before = {number: signal.signal(number, handler) for number, handler in takes.items()}
    try:
        yield stop
    except (KeyboardInterrupt, InterruptedRunError):
        if not stop.requested():
            raise
        raise InterruptedRunError(
            "stopped at once, in the middle of what was under way",
            fix="nothing is lost: it is written down what was under way, and the next run first asks the org for it",
        ) from None
    finally:
        if grace_s is not None and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
