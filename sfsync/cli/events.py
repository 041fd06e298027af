"""What a command says while it works, on standard error: text lines, progress bars, or JSON lines.

Owns:      the three implementations of ports.Events, and choosing one.
Does not:  write reports or decide what is worth saying (the rooms do).
Invariant: may be called from any thread; never writes to standard output; never fails a run.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from sfsync.cli.screen import is_terminal, screen_of
from sfsync.cli.shell import json_line, shown
from sfsync.errors import scrub
from sfsync.report.words import plural

EVERY_S = 5.0
"""Between two progress lines of one task where there is no terminal."""


class Talker(Protocol):
    """Events with a beginning and an end."""

    def log(self, level: str, message: str, **fields: Any) -> None: ...
    def progress(self, task: str, done: int, total: int | None, **fields: Any) -> None: ...
    def close(self) -> None: ...


@contextmanager
def talking(log_format: str) -> Iterator[Talker]:
    """The events of one command; whatever it shows is taken down at the end."""
    stream = sys.stderr
    talker: Talker
    if log_format == "json":
        talker = JsonTalker(stream)
    elif is_terminal(stream) and os.environ.get("TERM") != "dumb":
        talker = BarTalker(stream)
    else:
        talker = LineTalker(stream)
    try:
        yield talker
    finally:
        talker.close()


class _Throttle:
    """Says which progress is worth a line: the last one, and one of a task every few seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last: dict[str, tuple[float, int]] = {}

    def lets(self, task: str, done: int, total: int | None) -> bool:
        now = time.monotonic()
        at, before = self._last.setdefault(task, (now, -1))
        if done == before or (done != total and now - at < self._every_s):
            return False
        self._last[task] = (now, done)
        return True


class LineTalker:
    """Plain lines, few of them: CI logs, files."""

    def __init__(self, stream: TextIO, *, every_s: float = EVERY_S) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._throttle = _Throttle(every_s)
        self._color = screen_of(stream).color
        self._verbose = bool(os.environ.get("SFSYNC_DEBUG"))

    def log(self, level: str, message: str, **fields: Any) -> None:
        if level == "debug" and not self._verbose:
            return
        with self._lock:
            self._write(log_text(level, message, color=self._color))

    def progress(self, task: str, done: int, total: int | None, **fields: Any) -> None:
        with self._lock:
            if self._throttle.lets(task, done, total):
                self._write(progress_text(task, done, total, fields))

    def close(self) -> None:
        return

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # nobody listens; the run goes on
            return


class JsonTalker(LineTalker):
    """One JSON object a line: {time, level, message, ...fields}."""

    def log(self, level: str, message: str, **fields: Any) -> None:
        if level == "debug" and not self._verbose:
            return
        with self._lock:
            self._write(json_line(level, message, fields))

    def progress(self, task: str, done: int, total: int | None, **fields: Any) -> None:
        with self._lock:
            if self._throttle.lets(task, done, total):
                told = {"event": "progress", "task": task, "done": done, "total": total} | fields
                self._write(json_line("info", progress_text(task, done, total, fields), told))


class BarTalker:
    """A bar for each task, lines above them; drawn by rich from the first progress on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._lines = LineTalker(stream)
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def log(self, level: str, message: str, **fields: Any) -> None:
        with self._lock:
            if self._bars is None:
                self._lines.log(level, message, **fields)
            elif level != "debug" or os.environ.get("SFSYNC_DEBUG"):
                from rich.text import Text

                color = screen_of(self._stream).color
                self._bars.console.print(
                    Text.from_ansi(log_text(level, message, color=color)), soft_wrap=True
                )

    def progress(self, task: str, done: int, total: int | None, **fields: Any) -> None:
        with self._lock:
            if self._bars is None:
                self._bars = _bars(self._stream)
                self._bars.start()
            if task not in self._tasks:
                self._tasks[task] = self._bars.add_task(shown(task), total=total, counts="")
            self._bars.update(
                self._tasks[task], completed=done, total=total, counts=_counts(done, total, fields)
            )

    def close(self) -> None:
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
                self._bars = None


def _bars(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[counts]}", markup=False),
        TimeElapsedColumn(),
        console=Console(file=stream, no_color=not screen_of(stream).color),
        transient=True,
        expand=True,
        refresh_per_second=8,
    )


def _counts(done: int, total: int | None, fields: dict[str, Any]) -> str:
    rows = f"{done:,} rows" if total is None else f"{done:,}/{total:,} rows"
    more = [
        plural(value, name.removesuffix("s"))
        for name, value in fields.items()
        if isinstance(value, int) and value
    ]
    return ", ".join([rows, *more])


def progress_text(task: str, done: int, total: int | None, fields: dict[str, Any]) -> str:
    """``contacts: 1,200 of 5,000 rows, 7 calls``."""
    return f"{shown(task)}: {_counts(done, total, fields).replace('/', ' of ', 1)}"


def log_text(level: str, message: str, *, color: bool) -> str:
    """A log line; warnings and errors say what they are."""
    text = shown(scrub(message))
    if level not in ("warning", "error"):
        return text
    head = f"{level.capitalize()}:"
    if color:
        head = f"\x1b[{'33' if level == 'warning' else '31'};1m{head}\x1b[0m"
    return f"{head} {text}"
