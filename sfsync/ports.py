"""What rooms are handed rather than find: clock, events, workspace, and the counter of API calls.

Owns:      the protocols, and the plain implementations that touch nothing but the machine's clock and folders.
Does not:  decide anything.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sfsync.errors import SfsyncError
from sfsync.records import Intent


class Clock(Protocol):
    """Time and waiting, so that tests own both."""

    def now(self) -> datetime:
        """The current instant, UTC, with its zone."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; may be cut short by `KeyboardInterrupt`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Events(Protocol):
    """Where rooms report progress and log lines; the CLI shows them, a library user may collect them."""

    def log(self, level: str, message: str, **fields: Any) -> None:
        """level: debug | info | warning | error. fields: short values for the JSON log."""
        ...

    def progress(self, task: str, done: int, total: int | None, **fields: Any) -> None:
        """task: a stable name such as 'contacts: update'; done and total in rows."""
        ...


class NoEvents:
    """Reports to nobody."""

    def log(self, level: str, message: str, **fields: Any) -> None: ...

    def progress(self, task: str, done: int, total: int | None, **fields: Any) -> None: ...


class CallLedger(Protocol):
    """The account of API calls that the door asks before each request and tells after it."""

    def reserve(self, kind: str, calls: int = 1, batches: int = 0) -> None:
        """Book calls before they are sent, and the Bulk batches that the org will make of what they carry.

        Raises:
            ApiLimitError: the project's budget or the org's free share would be passed; nothing was booked.
        """
        ...

    def observe(self, used: int, maximum: int) -> None:
        """Take in the org's own count from ``Sforce-Limit-Info: api-usage=used/maximum``."""
        ...


class Journal(Protocol):
    """Where it is written down what will be sent before it is sent, so that a crash cannot hide it."""

    def begin(self, intents: Iterable[Intent]) -> tuple[int, ...]:
        """Write intents down; the numbers by which they are taken out.

        Raises:
            StateLockedError: another process has taken over: nothing may be begun any more.
        """
        ...

    def started(self, number: int, job_id: str) -> None:
        """Note the Bulk job that an intent led to."""
        ...

    def left(self, numbers: Sequence[int]) -> None:
        """Note that the jobs of intents were still at work when they were last looked at: the next run does."""
        ...

    def ended(self, numbers: Sequence[int]) -> None:
        """Take intents out whose rows' outcomes are recorded, or whose request was surely never worked on."""
        ...


class UncountedLedger:
    """Books nothing: for commands that have no state to book in."""

    def reserve(self, kind: str, calls: int = 1, batches: int = 0) -> None: ...

    def observe(self, used: int, maximum: int) -> None: ...


_OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of one project, and the only place that writes artifacts: whole files, by rename.

    Spool files hold clear text of rows: mode 0600, removed at the end of a run.
    """

    project: Path
    target: Path  # artifacts, not in git
    private: Path  # .sfsync: state, seeds, spool, caches; not in git

    def write_artifact(self, name: str, text: str) -> Path:
        """Write target/<name> whole or not at all and return its path."""
        path = self.target / name
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return write_private(path, text, mode=0o644)

    def write_artifacts(self, name: str, files: Mapping[str, str]) -> None:
        """Leave target/<name> with exactly these files: path below target/ -> text. What is there already stays."""
        if _files_in(self.target / name) != {str(self.target / path) for path in files}:
            self.drop_artifacts(name)
        for path, text in files.items():
            if not _says(self.target / path, text):
                self.write_artifact(path, text)

    def drop_artifacts(self, name: str) -> None:
        """Remove target/<name> and everything in it, so that nothing stale stays beside what is written next."""
        shutil.rmtree(self.target / name, ignore_errors=True)

    def new_spool(self, run_id: str) -> Path:
        """Make an empty folder for one run's clear-text files (mode 0700), and clear away those of killed runs."""
        with writing(self.private):
            self.private.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(
                PermissionError
            ):  # lent by another user (a volume, a cache); the files in it are private
                self.private.chmod(0o700)
        for left in (self.private / "spool").glob("*"):
            if not _in_use(left):
                shutil.rmtree(left, ignore_errors=True)
        path = self.private / "spool" / run_id
        with writing(path):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path / _OWNER, str(os.getpid()))
        return path

    def drop_spool(self, run_id: str) -> None:
        """Remove the run's folder and everything in it."""
        shutil.rmtree(self.private / "spool" / run_id, ignore_errors=True)


def _files_in(folder: Path) -> set[str]:
    """Every file below a folder; a link stands for itself, and so is no file that was meant."""
    found: set[str] = set()
    for parent, folders, files in os.walk(folder):
        found.update(os.path.join(parent, name) for name in files)  # noqa: PTH118 - a thousand Paths cost more
        found.update(f"{parent}{os.sep}{name}{os.sep}" for name in folders if Path(parent, name).is_symlink())
    return found


def _says(path: Path, text: str) -> bool:
    """Whether a file holds this text, to the byte."""
    try:
        return path.read_bytes() == text.encode() and not path.is_symlink()
    except (OSError, UnicodeEncodeError):
        return False


def write_private(path: Path, text: str, *, mode: int = 0o600, durable: bool = False) -> Path:
    """Write a file by temporary file and rename, so that a reader never meets half of it.

    durable: it is on disk on return, and a power cut leaves the old or the new text.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as handle:
            handle.write(text)
            if durable:
                handle.flush()
                os.fsync(handle.fileno())
        temporary.replace(path)
        if durable and os.name == "posix":
            _sync_folder(path.parent)
    return path


def _sync_folder(folder: Path) -> None:
    """Have a rename in a folder on disk; file systems that cannot are left alone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into an error that names the place.

    Raises:
        SfsyncError: no right, no space, or a read-only folder.
    """
    try:
        yield
    except OSError as error:
        raise SfsyncError(
            f"cannot write {path}: {error.strerror or error}",
            fix="sfsync keeps its state, its work files and target/ in the project folder: make it writable",
        ) from None


def _in_use(spool: Path) -> bool:
    """Whether the process that made a spool still lives. A folder without a note is being made just now."""
    try:
        os.kill(int((spool / _OWNER).read_text("utf-8")), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True
    return True


Environment = Mapping[str, str]
