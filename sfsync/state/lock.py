"""Who may write the state file: an operating-system lock beside it, with a note that says who holds it.

Owns:      `<state>.lock`, the lease from `acquire` to `release`, its signs of life, and waiting for somebody else's.
Does not:  open the state, or judge whether a dead owner left work behind.
Invariant: on one machine the operating system's lock alone decides; an owner on another machine, whose lock may not
           be seen here, is believed while it gives signs of life. Who lost the lease is told so by `check`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sfsync.errors import SfsyncError, StateLockedError
from sfsync.ports import Clock, writing
from sfsync.state.holder import (
    HEARTBEAT_S,
    Holder,
    Watch,
    ago,
    host_name,
    locked_error,
    read_holder,
    this_machine,
    user_name,
    write_holder,
)

TELL_EVERY_S = 30.0
"""Between two lines of somebody who waits."""

LOOK_EVERY_S = 1.0

T = TypeVar("T")


def _nobody(text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a state that somebody else holds, and who hears about it."""

    seconds: float = 0.0
    tell: Callable[[str], None] = _nobody


NONE = Patience()


def patiently(clock: Clock, patience: Patience, attempt: Callable[[], T]) -> T:
    """Try until nobody holds the state any more, or patience ends.

    Raises:
        StateLockedError: that of the last attempt.
    """
    start = clock.monotonic()
    told = -TELL_EVERY_S
    while True:
        try:
            return attempt()
        except StateLockedError as error:
            waited = clock.monotonic() - start
            if waited >= patience.seconds:
                if patience.seconds:
                    raise StateLockedError(f"{error.what}; waited {_span(waited)}", fix=error.fix) from None
                raise
            if waited - told >= TELL_EVERY_S:
                told = waited
                patience.tell(f"waiting: {error.what}; gives up in {_span(patience.seconds - waited)}")
        clock.sleep(min(LOOK_EVERY_S, patience.seconds - waited))


class StateLock:
    """A lease on one state file, held by this process from `acquire` to `release`."""

    def __init__(self, state: Path, clock: Clock) -> None:
        from filelock import FileLock

        self._state = state
        self._clock = clock
        self._watch = Watch(clock)
        path = state.with_name(state.name + ".lock")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path, mode=0o600, thread_local=False)
        self._mine: Holder | None = None
        self._ending = threading.Event()
        self._beating: threading.Thread | None = None
        self.before: Holder | None = None
        """Whose lease was never given back, of the one before."""

    def acquire(self, command: str, *, force: bool = False) -> Holder:
        """Take the lease or say who has it.

        Args:
            force: take it from an owner on another machine, too, although it seems to live.

        Raises:
            StateLockedError: another process holds it.
        """
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise locked_error(self._state, read_holder(self._state), self._clock) from None
        before = read_holder(self._state)
        if before is not None and self._watch.alive(before) and not force:
            self._lock.release()
            raise locked_error(self._state, before, self._clock)
        now = self._clock.now().isoformat(timespec="seconds")
        self._mine = Holder(
            command=command,
            owner=user_name(),
            host=host_name(),
            pid=os.getpid(),
            since=now,
            epoch=(before.epoch if before else 0) + 1,
            seen=now,
            machine=this_machine(),
        )
        self.before = before if before is not None and not before.released else None
        try:
            write_holder(self._state, self._mine)
        except BaseException:
            self._lock.release()
            raise
        self._ending.clear()
        self._beating = threading.Thread(target=self._beat, name="sfsync: lease", daemon=True)
        self._beating.start()
        return self._mine

    def check(self) -> None:
        """See that the lease is still ours.

        Raises:
            StateLockedError: another session has taken it, which only happens where it did not see our lock.
        """
        holder = read_holder(self._state)
        if self._mine is not None and holder is not None and not holder.same_lease(self._mine):
            raise taken_over(str(self._state), f" by {holder}")

    def release(self) -> None:
        """Give the lease back; safe to call twice."""
        if self._mine is not None:
            self._ending.set()
            if self._beating is not None:
                self._beating.join()
            self._sign(released=True)
            self._mine = None
        self._lock.release()

    def _beat(self) -> None:
        while not self._ending.wait(HEARTBEAT_S) and self._sign():
            pass

    def _sign(self, *, released: bool = False) -> bool:
        """Give a sign of life, or the last one; False where the note is somebody else's by now."""
        mine, holder = self._mine, read_holder(self._state)
        if mine is None or (holder is not None and not holder.same_lease(mine)):
            return False
        if self._state.parent.exists():
            with suppress(SfsyncError):  # a full disk must not end the run for this; the next sign may pass
                seen = self._clock.now().isoformat(timespec="seconds")
                write_holder(self._state, replace(mine, seen=seen, released=released))
        return True


def current_holder(state: Path, clock: Clock) -> Holder | None:
    """Who holds the lease now; None when nobody does, however the file itself is locked."""
    from filelock import FileLock, Timeout

    lock = FileLock(state.with_name(state.name + ".lock"), mode=0o600)
    try:
        with lock.acquire(timeout=0):
            holder = read_holder(state)
            return holder if holder is not None and Watch(clock).alive(holder) else None
    except Timeout:
        return read_holder(state)


def taken_over(state: str, by: str = "") -> StateLockedError:
    """What a session is told that lost its lease while it worked."""
    return StateLockedError(
        f"the state {state} was taken over{by} while this one was working",
        fix="nothing more is sent; look at `sfsync history`, then run again",
    )


def _span(seconds: float) -> str:
    return ago(seconds).removesuffix(" ago")
