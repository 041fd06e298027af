"""A run in a process of its own, which may kill itself (SIGKILL) at a chosen moment.

Processes are forked from a server that has the package loaded, so that one costs a tenth of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.clock import QuickClock

PRELOAD = ["sfsync.jobs.run", "sfsync.jobs.recovery", "sfsync.push.push", "duckdb", "tests.support.clock"]
HELD_UP_S = 0.25
"""How long a request that is on its way lives on: it has arrived, and the org holds it up for longer."""

_FORKS = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Order:
    """What such a process does, and when it dies: at one of all its moments by number, at a named point, or never."""

    folder: Path
    offset: timedelta = timedelta()
    die_at: int | None = None
    point: str | None = None
    undo: str | None = None
    most_characters: int | None = None
    """Of a job that one call makes, in place of the platform's 100,000."""


def start(order: Order) -> Any:
    """Begin; the process has an exit code when it has been joined: a run's own, or -9."""
    _FORKS.set_forkserver_preload(PRELOAD)
    process = _FORKS.Process(target=_run, args=(order,), daemon=True)
    process.start()
    return process


def end(process: Any) -> int:
    """Wait for it."""
    process.join(120)
    assert process.exitcode is not None, "a run does not end"
    code = int(process.exitcode)
    process.close()
    return code


def _run(order: Order) -> None:
    from sfsync.errors import SfsyncError
    from sfsync.jobs.run import RunOptions, run_command
    from sfsync.jobs.session import Options
    from sfsync.plan import cost
    from sfsync.push import jobs

    if order.most_characters is not None:
        cost.MAX_MULTIPART_CHARACTERS = jobs.MAX_MULTIPART_CHARACTERS = order.most_characters
    if order.die_at is not None or order.point is not None:
        _Watch(order.die_at, order.point).install()
    try:
        options = Options(project_dir=order.folder, env={}, clock=QuickClock(order.offset))
        result = run_command(options, RunOptions(undo=order.undo))
    except SfsyncError as error:
        sys.exit(error.exit_code)
    sys.exit(result.exit_code)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


WRITES = {
    "composite": "write",
    "soap": "write",
    "collections": "write",
    "bulk": "create",
    "poll": "poll",
    "result": "result",
}
"""Kinds of calls, in the words of the points: "after write", "after create", "after upload", "after close" ..."""


@dataclass
class _Watch:
    """Counts the moments of a process, and ends it at the one that was asked for."""

    left: int | None
    point: str | None
    guard: threading.Lock = field(default_factory=threading.Lock)

    def moment(self, name: str) -> None:
        with self.guard:
            if name == self.point:
                _die()
            if self.left is not None:
                self.left -= 1
                if not self.left:
                    _die()

    def install(self) -> None:
        from sfsync.jobs.record import StateRecorder
        from sfsync.salesforce.door import Door
        from sfsync.salesforce.transport import Transport
        from sfsync.state import history
        from sfsync.state.journal import StateJournal
        from sfsync.state.ledger import StateLedger

        self.around(StateJournal, "begin", "before intent", "after intent")
        self.around(StateJournal, "started", "-", "-")
        self.around(StateJournal, "ended", "in the transaction", "-")
        self.around(StateRecorder, "record", "before record", "after record")
        self.around(StateLedger, "reserve", "-", "-")
        self.around(history, "begin", "-", "-")
        self.around(history, "end", "-", "-")
        self._around_calls(Door)
        self._around_requests(Transport)

    def around(self, owner: Any, name: str, before: str, after: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def outer(*args: Any, **kwargs: Any) -> Any:
            self.moment(before)
            try:
                return inner(*args, **kwargs)
            finally:
                self.moment(after)

        setattr(owner, name, outer)

    def _around_calls(self, door: Any) -> None:
        inner: Callable[..., Any] = door.call

        def outer(*args: Any, **kwargs: Any) -> Any:
            kind = kwargs["kind"]
            self.moment("-")
            answer = inner(*args, **kwargs)
            self.moment("after " + WRITES.get(kind, kind))
            return answer

        door.call = outer

    def _around_requests(self, transport: Any) -> None:
        """ "sent: PART": while a request to PART is on its way; "no answer: PART": once its connection was reset."""
        inner: Callable[..., Any] = transport.exchange

        def outer(this: Any, request: Any) -> Any:
            self.moment("-")
            shown = f"{request.method} {request.url}"
            about, _, part = (self.point or "").partition(": ")
            method, _, path = part.partition(" ")
            meant = bool(part) and request.method == method and path in shown
            if meant and about == "sent":
                threading.Timer(HELD_UP_S, _die).start()
            try:
                return inner(this, request)
            except Exception:
                if meant and about == "no answer":
                    _die()
                raise
            finally:
                self.moment("-")

        transport.exchange = outer
