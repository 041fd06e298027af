"""Several conversations with the org at one time, each written as if it were alone.

Owns:      which exchanges are under way, pauses, what ends a push early, and the rule that nothing new begins then.
Does not:  know what is sent, or decide what is repeated.
Invariant: a lane's own code runs in the caller's thread; only the `run` of a `Call` runs elsewhere, and at most
           `context.threads` of them at one time. Calls of one lane never overlap.

A lane is a generator: it yields a `Call` and gets its answer, or its error, back at that place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sfsync.push.context import PushContext

LONGEST_SLEEP_S = 1.0
"""Ctrl-C is looked for after each."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One exchange with the org. begins: it sends rows or opens a job; False: it finishes what was begun."""

    sync: str  # whose account it is put on
    run: Callable[[], Any]
    begins: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Time to let pass. begins: before a call that begins something."""

    seconds: float
    begins: bool = True


Talk = Generator[Call | Pause, Any, T]
"""What a lane is made of: yields work, returns T."""


class ClosingError(Exception):
    """Raised inside a lane instead of a call: the push is ending and nothing new begins."""


class LimitReachedError(Exception):
    """No API call may be spent, or no Bulk batch started, any more; rows without an outcome are deferred."""

    def __init__(self, reason: str = "the API limit of this run is reached") -> None:
        super().__init__(reason)


class NoBatchesError(LimitReachedError):
    """No Bulk batch may be started any more; what goes by Collections is none of it."""

    def __init__(self) -> None:
        super().__init__("the Bulk batches that this project may start in 24 hours are used up")


class StopPushError(Exception):
    """Nothing more can be sent in this run; the text says why."""


def call(sync: str, run: Callable[[], T], *, begins: bool = True) -> Talk[T]:
    """One exchange, with the type of its answer."""
    answer: T = yield Call(sync, run, begins)
    return answer


def run_lanes(context: PushContext, lanes: Sequence[Talk[None]]) -> None:
    """Carry all lanes to their ends, the first ones preferred where requests are scarce.

    After a wish to stop, or the failure of one lane, no lane begins anything new; what is under way is finished.

    Raises:
        Exception: the first failure of a lane, after the last lane has ended.
    """
    _Lanes(context, lanes).run()


@dataclass(slots=True)
class _Lane:
    rank: int
    talk: Talk[None]
    wants: Call | Pause | None = None  # None: not begun
    left_s: float = 0.0  # of a pause


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any
    error: BaseException | None
    calls: int  # booked by this exchange
    started: datetime
    ended: datetime


class _Lanes:
    def __init__(self, context: PushContext, lanes: Sequence[Talk[None]]) -> None:
        self._context = context
        self._ready = [_Lane(rank, talk) for rank, talk in enumerate(lanes)]
        self._running: dict[Future[_Answer], _Lane] = {}
        self._pausing: list[_Lane] = []
        self._failure: Exception | None = None

    def run(self) -> None:
        while self._ready or self._running or self._pausing:
            self._start_ready()
            if self._running:
                self._wait_for_answers()
            elif self._pausing:
                self._sleep()
        if self._failure is not None:
            raise self._failure

    def _closing(self) -> bool:
        return self._failure is not None or self._context.stop_requested()

    def _start_ready(self) -> None:
        while self._ready and len(self._running) < self._context.threads:
            lane = min(self._ready, key=lambda one: one.rank)
            self._ready.remove(lane)
            wants = lane.wants
            begins = wants is None or wants.begins
            if begins and self._closing():
                if wants is None:
                    lane.talk.close()
                else:
                    self._resume(lane, error=ClosingError())
            elif isinstance(wants, Call):
                self._running[_start(self._context, wants)] = lane
            else:
                self._resume(lane)

    def _resume(self, lane: _Lane, value: Any = None, error: BaseException | None = None) -> None:
        """Let a lane go on until it wants something."""
        try:
            lane.wants = lane.talk.send(value) if error is None else lane.talk.throw(error)
        except (StopIteration, ClosingError):
            return
        except Exception as failure:  # raised again when the other lanes have ended
            self._failure = self._failure or failure
            return
        if isinstance(lane.wants, Pause):
            lane.left_s = lane.wants.seconds
            self._pausing.append(lane)
        else:
            self._ready.append(lane)

    def _wait_for_answers(self) -> None:
        """Until an exchange or a pause has ended."""
        clock = self._context.clock
        before = clock.monotonic()
        longest = min((lane.left_s for lane in self._pausing), default=None)
        done, _ = wait(self._running, longest, FIRST_COMPLETED)
        for future in sorted(done, key=lambda one: self._running[one].rank):
            lane, answer = self._running.pop(future), future.result()
            assert isinstance(lane.wants, Call)  # noqa: S101
            self._context.charge(lane.wants.sync, answer.calls, answer.started, answer.ended)
            self._resume(lane, answer.value, answer.error)
        self._pass(clock.monotonic() - before)

    def _sleep(self) -> None:
        clock = self._context.clock
        seconds = min(LONGEST_SLEEP_S, *(lane.left_s for lane in self._pausing))
        before = clock.monotonic()
        if seconds > 0:
            clock.sleep(seconds)
        self._pass(max(seconds, clock.monotonic() - before))

    def _pass(self, seconds: float) -> None:
        """Take time off every pause; wake the lanes whose pause is over, or leads to what must not begin.

        A wish to stop ends all pauses: who has begun something sees at once how to leave it.
        """
        if not self._pausing:
            return
        pausing, self._pausing = self._pausing, []
        closing = self._closing()
        for lane in pausing:
            lane.left_s = 0.0 if self._context.stop_requested() else lane.left_s - seconds
            if closing and lane.wants is not None and lane.wants.begins:
                self._resume(lane, error=ClosingError())
            elif lane.left_s <= 0:
                self._resume(lane)
            else:
                self._pausing.append(lane)


def _start(context: PushContext, wanted: Call) -> Future[_Answer]:
    """Run a call in a thread of its own: a daemon, so that a second Ctrl-C does not wait for the org."""
    future: Future[_Answer] = Future()

    def work() -> None:
        booked, started = context.tally.mine(), context.clock.now()
        value, error = None, None
        try:
            value = wanted.run()
        except BaseException as caught:  # raised again inside the lane
            error = caught
        calls = context.tally.mine() - booked
        future.set_result(_Answer(value, error, calls, started, context.clock.now()))

    threading.Thread(target=work, name=f"sfsync: {wanted.sync}", daemon=True).start()
    return future
