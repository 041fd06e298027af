"""Who may write the state file: an operating-system lock beside it, with a note that says who holds it.

Owns:      `<state>.lock`: the lock itself and the JSON note (owner, host, pid, since, epoch, format).
Does not:  open the state, or judge whether a dead owner left work behind.
Invariant: the note is only believed while the lock is held by somebody.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from sfsync.errors import StateLockedError
from sfsync.ports import Clock, write_private, writing

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Holder:
    """What the note beside a locked state says."""

    command: str
    owner: str
    host: str
    pid: int
    since: str  # ISO 8601, UTC
    epoch: int
    format: int = FORMAT

    def __str__(self) -> str:
        return f"`sfsync {self.command}` of {self.owner}@{self.host}, process {self.pid}, since {self.since}"


class StateLock:
    """A lease on one state file, held by this process from `acquire` to `release`."""

    def __init__(self, state: Path, clock: Clock) -> None:
        from filelock import FileLock

        self._state = state
        self._note = state.with_name(state.name + ".holder.json")
        self._clock = clock
        path = state.with_name(state.name + ".lock")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path, mode=0o600)

    def acquire(self, command: str) -> Holder:
        """Take the lease or say who has it.

        Raises:
            StateLockedError: another process holds it.
        """
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise locked_error(self._state, read_holder(self._state)) from None
        import socket  # late: only a writer says where it is

        before = read_holder(self._state)
        holder = Holder(
            command=command,
            owner=_user(),
            host=socket.gethostname(),
            pid=os.getpid(),
            since=self._clock.now().isoformat(timespec="seconds"),
            epoch=(before.epoch if before else 0) + 1,
        )
        write_private(self._note, json.dumps(asdict(holder)))
        return holder

    def release(self) -> None:
        """Give the lease back; safe to call twice."""
        self._lock.release()


def read_holder(state: Path) -> Holder | None:
    """The last note left beside a state file, None when there is none that can be read."""
    try:
        body = json.loads(state.with_name(state.name + ".holder.json").read_text("utf-8"))
        return Holder(**body)
    except (OSError, ValueError, TypeError):
        return None


def current_holder(state: Path) -> Holder | None:
    """Who holds the lease now; None when nobody does, however the file itself is locked."""
    from filelock import FileLock, Timeout

    lock = FileLock(state.with_name(state.name + ".lock"), mode=0o600)
    try:
        with lock.acquire(timeout=0):
            return None
    except Timeout:
        return read_holder(state)


def locked_error(state: Path, holder: Holder | None) -> StateLockedError:
    """The one error for a state that somebody else holds."""
    who = (
        f"held by {holder}"
        if holder
        else "open in another process, such as `sfsync plan`, `sfsync status` or a DuckDB shell"
    )
    return StateLockedError(f"the state {state} is {who}", fix="wait until it ends, then try again")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
