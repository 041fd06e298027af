"""The note beside a locked state: who works with it, since when, and when it last gave a sign of life.

Owns:      `<state>.holder.json`: reading, writing, and judging whether its owner still lives.
Does not:  lock anything (lock does).
Invariant: a note that cannot be read counts as none; whether an owner on this machine lives only its lock tells.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from sfsync.errors import StateLockedError
from sfsync.ports import Clock, write_private

FORMAT = 1

HEARTBEAT_S = 10.0
"""Between two signs of life of an owner."""

EXPIRY_S = 60.0
"""Without a sign of life for so long, an owner on another machine counts as dead."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""One for all containers of a machine, which share its locks; where there is none, the host's name stands for it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """What the note says."""

    command: str
    owner: str
    host: str
    pid: int
    since: str  # ISO 8601, UTC
    epoch: int
    format: int = FORMAT
    seen: str = ""  # ISO 8601, UTC: the last sign of life
    machine: str = ""
    released: bool = False  # given back: nobody holds the state

    def __str__(self) -> str:
        return f"`sfsync {self.command}` of {self.owner}@{self.host}, process {self.pid}, since {self.since}"

    @property
    def last_seen(self) -> datetime:
        return datetime.fromisoformat(self.seen or self.since)

    @property
    def is_here(self) -> bool:
        """Whether its process is, or was, one of this machine, whose locks tell the truth about it."""
        mine = this_machine()
        return self.machine == mine if self.machine and mine else self.host == host_name()

    def same_lease(self, other: Holder) -> bool:
        """Whether both notes are of one lease, whatever else they say."""
        return (self.epoch, self.pid, self.machine, self.since) == (
            other.epoch,
            other.pid,
            other.machine,
            other.since,
        )

    def seen_text(self, clock: Clock) -> str:
        """``last seen 2026-07-22T09:00:10+00:00, 8 s ago``."""
        age = (clock.now() - self.last_seen).total_seconds()
        return f"last seen {self.seen or self.since}, {ago(age)}"


def note_of(state: Path) -> Path:
    """Where the note of a state file is."""
    return state.with_name(state.name + ".holder.json")


def read_holder(state: Path) -> Holder | None:
    """The last note left beside a state file, None when there is none that can be read."""
    try:
        body = json.loads(note_of(state).read_text("utf-8"))
        known = {field.name for field in fields(Holder)}
        holder = Holder(**{name: value for name, value in body.items() if name in known})
        if not isinstance(holder.epoch, int) or holder.last_seen.tzinfo is None:
            return None
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return holder


def write_holder(state: Path, holder: Holder) -> None:
    """Put the note beside a state file."""
    write_private(note_of(state), json.dumps(asdict(holder)))


class Watch:
    """Judges owners on other machines by their signs of life; clocks that differ do not mislead it for long."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lease: Holder | None = None
        self._since = 0.0

    def alive(self, holder: Holder) -> bool:
        """Whether to reckon with an owner whose lock this machine does not see."""
        if holder.released or holder.is_here:
            return False
        now = self._clock.monotonic()
        if holder != self._lease:  # a new sign of life, or the first look
            self._lease, self._since = holder, now
        age = (self._clock.now() - holder.last_seen).total_seconds()
        return age < EXPIRY_S and now - self._since < EXPIRY_S


def locked_error(state: Path, holder: Holder | None, clock: Clock) -> StateLockedError:
    """The one error for a state that somebody else holds."""
    if holder is None:
        who = "open in another process, such as `sfsync plan`, `sfsync status` or a DuckDB shell"
        fix = "wait until it ends, then try again; --wait 10m waits for it"
    else:
        who = f"held by {holder}; {holder.seen_text(clock)}"
        fix = (
            "wait until it ends, then try again; --wait 10m waits for it;"
            " what to do about one that never ends, `sfsync state unlock` says"
        )
    return StateLockedError(f"the state {state} is {who}", fix=fix)


def ago(seconds: float) -> str:
    """``8 s ago``, ``12 min ago``, ``3 h ago``, ``5 days ago``."""
    if seconds < -1:
        return "in the future: the clocks of the machines differ"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{max(seconds, 0) / size:.0f} {unit} ago"
    return f"{seconds / 86_400:.0f} days ago"


def this_machine() -> str:
    """What tells this machine from others until it starts anew; '' where it does not say."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def host_name() -> str:
    import socket  # late: only a writer says where it is

    return socket.gethostname()


def user_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
