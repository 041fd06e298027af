"""`sfsync state unlock`: take away the lease of an owner that is gone, and say who that was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfsync.errors import StateError, StateLockedError
from sfsync.jobs.session import Options, Session
from sfsync.ports import Clock
from sfsync.state.holder import EXPIRY_S, Holder, read_holder
from sfsync.state.journal import open_intents, raise_epoch
from sfsync.state.store import StateStore


@dataclass(frozen=True, slots=True)
class UnlockResult:
    """What was found. held_by: None when nobody had the lease."""

    path: str
    held_by: str | None
    seen: str | None
    on_this_machine: bool
    open_requests: int


def state_unlock_command(options: Options, *, force: bool = False) -> UnlockResult:
    """Take the lease from an owner that gives no sign of life; it can begin nothing any more, should it come back.

    Args:
        force: also from one on another machine that seems to live.

    Raises:
        StateError: there is no state.
        StateLockedError: its owner lives.
    """
    with Session(options, "state unlock") as session:
        path, clock = session.state_path, session.clock
        if not path.exists():
            raise StateError(f"there is no state at {path}", fix="look at --target and --project-dir")
        store = StateStore(session.db, path, clock, session.command)
        try:
            store.write(force=force)
            left = store.left_by
            if left is not None:
                with session.db.transaction():
                    raise_epoch(store)
            return UnlockResult(
                path=str(path),
                held_by=None if left is None else str(left),
                seen=None if left is None else left.seen_text(clock),
                on_this_machine=left is not None and left.is_here,
                open_requests=len(open_intents(store)),
            )
        except StateLockedError as error:
            holder = read_holder(path)
            raise (
                _alive(path, holder, clock) if holder is not None and not holder.released else error
            ) from None
        finally:
            store.close()


def _alive(path: Path, holder: Holder, clock: Clock) -> StateLockedError:
    if holder.is_here:
        return StateLockedError(
            f"the state {path} is really held by {holder}; {holder.seen_text(clock)}: that process lives on this machine",
            fix=f"wait until it ends, or end it: kill {holder.pid}; the lease is then free by itself, and the next run"
            " first finds out what became of its requests",
        )
    return StateLockedError(
        f"the state {path} is held by {holder}; {holder.seen_text(clock)}: on another machine, and it seems to live",
        fix=f"wait: {EXPIRY_S:.0f} s after its last sign of life the lease is free by itself;"
        " only if you know that it has ended: sfsync state unlock --force",
    )
